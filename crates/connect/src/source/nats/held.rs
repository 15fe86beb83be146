//! Messages that were delivered and are not acknowledged yet.

use std::collections::VecDeque;

use async_nats::Subject;
use parking_lot::Mutex;

/// In the order they came, by a number of our own.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    messages: VecDeque<HeldMessage>,
    bytes: usize,
    last: u64,
}

#[derive(Debug)]
struct HeldMessage {
    number: u64,
    /// Where its acknowledgement goes.
    reply: Subject,
    bytes: usize,
}

impl Held {
    /// Holds one more; tells its number.
    pub(super) fn hold(&self, reply: Subject, bytes: usize) -> u64 {
        let mut inner = self.0.lock();
        inner.last += 1;
        inner.bytes += bytes;
        let number = inner.last;
        inner.messages.push_back(HeldMessage { number, reply, bytes });
        number
    }

    /// Lets go of all up to a number; tells where their acknowledgements go.
    pub(super) fn release(&self, upto: u64) -> Vec<Subject> {
        let mut inner = self.0.lock();
        let count = inner.messages.partition_point(|message| message.number <= upto);
        let released: Vec<HeldMessage> = inner.messages.drain(..count).collect();
        inner.bytes -= released.iter().map(|message| message.bytes).sum::<usize>();
        released.into_iter().map(|message| message.reply).collect()
    }

    /// Where the signs of life of all of them go.
    pub(super) fn replies(&self) -> Vec<Subject> {
        self.0.lock().messages.iter().map(|message| message.reply.clone()).collect()
    }

    /// How many they are.
    pub(super) fn count(&self) -> usize {
        self.0.lock().messages.len()
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.lock().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_released_is_all_up_to_a_number() {
        let held = Held::default();
        for (number, reply) in (1..).zip(["a", "b", "c"]) {
            assert_eq!(held.hold(reply.into(), 10), number);
        }
        assert_eq!((held.count(), held.bytes()), (3, 30));
        assert_eq!(held.release(2), ["a".into(), "b".into()] as [Subject; 2]);
        assert!(held.release(2).is_empty());
        assert_eq!(held.replies(), ["c".into()] as [Subject; 1]);
        assert_eq!((held.count(), held.bytes()), (1, 10));
        held.release(u64::MAX);
        assert_eq!((held.count(), held.bytes()), (0, 0));
    }
}
