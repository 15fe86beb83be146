//! Random values of every wire type, from a seed, for the property tests.

use proptest::prelude::*;

/// A stream of random numbers that a seed fixes.
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (SplitMix64).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn between(&mut self, min: usize, max: usize) -> usize {
        min + self.below(max - min + 1)
    }

    /// A text of `min` to `max` bytes, some of it beyond ASCII.
    pub(crate) fn text(&mut self, min: usize, max: usize) -> String {
        let len = if self.below(4) == 0 {
            self.between(min, max)
        } else {
            self.between(min, max.min(min + 8))
        };
        let mut text = String::new();
        while text.len() < len {
            let left = len - text.len();
            text.push(match self.below(6) {
                0 if left >= 2 => 'é',
                1 if left >= 4 => '🐕',
                2 => '/',
                _ => (b'a' + self.below(26) as u8) as char,
            });
        }
        text
    }

    pub(crate) fn bytes(&mut self, min: usize, max: usize) -> Vec<u8> {
        let len = self.between(min, max);
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A type that can make a random value of itself.
pub(crate) trait Sample: Sized {
    fn sample(source: &mut Draws) -> Self;
}

macro_rules! integers {
    ($($name:ident)*) => {$(
        impl Sample for $name {
            fn sample(source: &mut Draws) -> Self {
                match source.below(8) {
                    0 => 0,
                    1 => Self::MAX,
                    _ => source.next() as Self,
                }
            }
        }
    )*};
}

integers! { u8 u16 u32 u64 }

impl Sample for bool {
    fn sample(source: &mut Draws) -> Self {
        source.below(2) == 1
    }
}

impl Sample for f32 {
    fn sample(source: &mut Draws) -> Self {
        source.below(100_000) as f32 / 100.0
    }
}

impl Sample for String {
    fn sample(source: &mut Draws) -> Self {
        source.text(0, 40)
    }
}

impl Sample for () {
    fn sample(_: &mut Draws) -> Self {}
}

impl<T: Sample> Sample for Option<T> {
    fn sample(source: &mut Draws) -> Self {
        bool::sample(source).then(|| T::sample(source))
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(source: &mut Draws) -> Self {
        (0..source.below(4)).map(|_| T::sample(source)).collect()
    }
}

/// Sources of any seed.
pub(crate) fn sources() -> impl Strategy<Value = u64> {
    any::<u64>().no_shrink()
}
