//! How many messages are sent ahead, so that they have about so many bytes.

/// Before sizes are known.
const COUNT_FIRST: u16 = 8;
/// More does not make it faster.
const COUNT_MAX: u16 = 5_000;
/// A message has at least so many bytes in memory.
const MESSAGE_BYTES_MIN: usize = 256;

const _: () = assert!(0 < COUNT_FIRST && COUNT_FIRST <= COUNT_MAX, "0 stands for no limit");

/// The number of messages sent ahead, as it follows from their sizes.
#[derive(Debug)]
pub(super) struct Prefetch {
    bytes: usize,
    count: u16,
    /// The mean size, of which later messages weigh more.
    mean: usize,
    /// Messages seen since the number was last changed.
    seen: usize,
}

impl Prefetch {
    /// For so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes, count: COUNT_FIRST, mean: 0, seen: 0 }
    }

    /// How many are sent ahead.
    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// A message came.
    pub(super) fn seen(&mut self, size: usize) {
        let size = size.max(MESSAGE_BYTES_MIN);
        self.mean = match self.seen {
            0 if self.mean == 0 => size,
            _ => (self.mean / 8).saturating_mul(7).saturating_add(size / 8),
        };
        self.seen += 1;
    }

    /// Changes the number if it is far from what it should be; tells whether it did.
    pub(super) fn retune(&mut self) -> bool {
        let right =
            (self.bytes / self.mean.max(MESSAGE_BYTES_MIN)).clamp(1, usize::from(COUNT_MAX));
        let count = usize::from(self.count);
        // Few larger ones show at once, or memory would be used up; that all are small needs to be seen.
        let is_far = right.saturating_mul(2) <= count || (right >= count * 2 && self.seen >= count);
        if is_far {
            let Ok(right) = u16::try_from(right) else {
                unreachable!("it is no more than {COUNT_MAX}")
            };
            assert!(right > 0, "INV-CONNECT-BUDGET: 0 stands for no limit");
            self.count = right;
            self.seen = 0;
        }
        is_far
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_follows_the_sizes_and_rests() {
        let mut prefetch = Prefetch::new(8 << 20);
        assert!(!prefetch.retune(), "nothing is known yet");
        for _ in 0..8 {
            prefetch.seen(2_000);
        }
        assert!(prefetch.retune());
        assert!((4_000..=5_000).contains(&prefetch.count()), "{}", prefetch.count());
        for _ in 0..5_000 {
            prefetch.seen(2_100);
        }
        assert!(!prefetch.retune(), "near enough");
        for _ in 0..40 {
            prefetch.seen(4 << 20);
        }
        assert!(prefetch.retune(), "large ones show at once");
        assert!(prefetch.count() <= 3, "{}", prefetch.count());
        for _ in 0..20 {
            prefetch.seen(100 << 20);
        }
        prefetch.retune();
        assert_eq!(prefetch.count(), 1, "one is always sent, whatever its size");
    }
}
