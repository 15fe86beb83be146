//! Messages that were delivered and are not acknowledged yet.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// In the order they came, by a number of our own. `R` is what a message is acknowledged by.
#[derive(Debug)]
pub(crate) struct HeldMessages<R>(Mutex<Inner<R>>);

#[derive(Debug)]
struct Inner<R> {
    messages: VecDeque<HeldMessage<R>>,
    bytes: usize,
    last: u64,
}

#[derive(Debug)]
struct HeldMessage<R> {
    number: u64,
    reply: R,
    bytes: usize,
}

impl<R> Default for HeldMessages<R> {
    fn default() -> Self {
        Self(Mutex::new(Inner { messages: VecDeque::new(), bytes: 0, last: 0 }))
    }
}

impl<R: Clone> HeldMessages<R> {
    /// Holds one more; tells its number.
    pub(crate) fn hold(&self, reply: R, bytes: usize) -> u64 {
        let mut inner = self.0.lock();
        inner.last += 1;
        inner.bytes += bytes;
        let number = inner.last;
        assert!(
            inner.messages.back().is_none_or(|before| before.number < number),
            "INV-ACKED-FIRST: what comes later has a higher number"
        );
        inner.messages.push_back(HeldMessage { number, reply, bytes });
        number
    }

    /// Lets go of all up to a number; tells what they are acknowledged by.
    pub(crate) fn release(&self, upto: u64) -> Vec<R> {
        let mut inner = self.0.lock();
        let count = inner.messages.partition_point(|message| message.number <= upto);
        let released: Vec<HeldMessage<R>> = inner.messages.drain(..count).collect();
        let bytes: usize = released.iter().map(|message| message.bytes).sum();
        assert!(bytes <= inner.bytes, "INV-CONNECT-BUDGET: what is released was held");
        inner.bytes -= bytes;
        assert!(
            !inner.messages.is_empty() || inner.bytes == 0,
            "INV-CONNECT-BUDGET: nothing that is held has no bytes"
        );
        released.into_iter().map(|message| message.reply).collect()
    }

    /// What all of them are acknowledged by.
    pub(crate) fn replies(&self) -> Vec<R> {
        self.0.lock().messages.iter().map(|message| message.reply.clone()).collect()
    }

    /// How many they are.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().messages.len()
    }

    /// Their bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.lock().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_released_is_all_up_to_a_number() {
        let held = HeldMessages::<&str>::default();
        for (number, reply) in (1..).zip(["a", "b", "c"]) {
            assert_eq!(held.hold(reply, 10), number);
        }
        assert_eq!((held.count(), held.bytes()), (3, 30));
        assert_eq!(held.release(2), ["a", "b"]);
        assert!(held.release(2).is_empty());
        assert_eq!(held.replies(), ["c"]);
        assert_eq!((held.count(), held.bytes()), (1, 10));
        held.release(u64::MAX);
        assert_eq!((held.count(), held.bytes()), (0, 0));
    }
}
