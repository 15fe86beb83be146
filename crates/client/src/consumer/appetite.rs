//! How many messages a poll asks for. Pure.
//!
//! The protocol bounds a poll by count alone, but messages may have a hundred bytes or sixty
//! million. So the count follows the sizes seen: it starts small, grows while replies are small, and
//! shrinks when they are not. A reply is not much over the bytes asked for, as long as
//! messages do not grow a lot from one batch to the next.

use galgo_wire::index::{to_u32, to_usize};

/// What the first poll asks for.
const COUNT_FIRST: u32 = 64;
/// How fast the count grows, and shrinks when a reply was too large to be read.
const FACTOR: u32 = 4;
const _: () =
    assert!(FACTOR > 1 && COUNT_FIRST >= FACTOR, "it can grow, and shrink, from the first");

/// The count of the next poll.
#[derive(Debug, Clone)]
pub(super) struct Appetite {
    count: u32,
    count_max: u32,
    bytes_enough: usize,
}

impl Appetite {
    /// Never more than `count_max` messages, nor, by expectation, more than `bytes_enough`.
    pub(super) fn new(count_max: u32, bytes_enough: usize) -> Self {
        assert!(count_max > 0, "a poll asks for a message at least");
        Self { count: count_max.min(COUNT_FIRST), count_max, bytes_enough }
    }

    /// The count to ask for.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Notes that a reply had so many messages and bytes.
    pub(super) fn fed(&mut self, messages: usize, bytes: usize) {
        if messages == 0 {
            return;
        }
        let size = bytes.div_ceil(messages).max(1);
        let grown = self.count.saturating_mul(FACTOR);
        let enough = (self.bytes_enough / size).min(to_usize(grown));
        self.count = to_u32(enough).clamp(1, self.count_max);
    }

    /// Notes that a reply was too large; `false`: a smaller one cannot be asked for.
    pub(super) fn choked(&mut self) -> bool {
        let can_shrink = self.count > 1;
        self.count = (self.count / FACTOR).max(1);
        can_shrink
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_grows_to_its_bound_while_messages_are_small() {
        let mut appetite = Appetite::new(1_000, 1 << 20);
        let mut counts = vec![];
        for _ in 0..4 {
            counts.push(appetite.count());
            appetite.fed(appetite.count() as usize, appetite.count() as usize * 100);
        }
        assert_eq!(counts, [64, 256, 1_000, 1_000]);
        assert_eq!(Appetite::new(10, 1 << 20).count(), 10);
    }

    #[test]
    fn the_count_shrinks_when_messages_are_large() {
        let mut appetite = Appetite::new(1_000, 1 << 20);
        appetite.fed(64, 64 << 18);
        assert_eq!(appetite.count(), 4);
        appetite.fed(4, 4 << 26);
        assert_eq!(appetite.count(), 1, "one message at least");
        appetite.fed(0, 0);
        appetite.fed(1, 100);
        assert_eq!(appetite.count(), 4);
    }

    #[test]
    fn a_reply_too_large_to_be_read_leads_to_smaller_ones() {
        let mut appetite = Appetite::new(10, 1 << 20);
        assert!(appetite.choked() && appetite.choked());
        assert_eq!(appetite.count(), 1);
        assert!(!appetite.choked());
    }
}
