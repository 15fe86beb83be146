//! Numbers of files and frames as indexes into memory.

const _: () = assert!(
    usize::BITS >= u64::BITS,
    "indexes need 64 bits: a message is found by its position in a file"
);

/// The number as an index or a length in memory: it always fits.
#[inline]
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "an index has 64 bits at least; see the assertion"
)]
pub fn to_usize(number: impl Into<u64>) -> usize {
    number.into() as usize
}
