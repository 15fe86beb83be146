//! Numbers of files and frames as indexes into memory, and parts of memory that are there for sure.
//!
//! INV-NOT-EMPTY: what our own code says is there is never answered with nothing where it is not: that would go on as
//! wrong data. Only bytes from outside are looked up with `get`.

use std::slice::SliceIndex;

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

/// A number of things in memory as the 32 bits that formats and frames have for it.
///
/// # Panics
/// When there are 2³² or more, which no list or text here may have: what comes from outside was compared with a limit
/// long before.
#[inline]
#[must_use]
#[track_caller]
pub fn to_u32(count: impl TryInto<u32>) -> u32 {
    let Ok(count) = count.try_into() else {
        unreachable!("INV-NOT-EMPTY: nothing that is counted here has 2^32 parts")
    };
    count
}

/// As [`to_u32`], for the 8 bits that formats have for a short text or list.
///
/// # Panics
/// When there are 256 or more, which nothing may have that is made with one of these limits in view.
#[inline]
#[must_use]
#[track_caller]
pub fn to_u8(count: usize) -> u8 {
    let Ok(count) = count.try_into() else {
        unreachable!("INV-NOT-EMPTY: nothing behind a count of one byte has 256 parts")
    };
    count
}

/// As [`to_u32`], for the 16 bits that formats have for a text or list.
///
/// # Panics
/// When there are 65,536 or more, which nothing may have that is made with one of these limits in view.
#[inline]
#[must_use]
#[track_caller]
pub fn to_u16(count: usize) -> u16 {
    let Ok(count) = count.try_into() else {
        unreachable!("INV-NOT-EMPTY: nothing behind a count of two bytes has 65,536 parts")
    };
    count
}

/// The part of `all` that is there by `invariant`.
///
/// # Panics
/// With the invariant's sentence when it is not.
#[inline]
#[must_use]
#[track_caller]
pub fn part<'a, T, R: SliceIndex<[T], Output = [T]>>(
    all: &'a [T],
    range: R,
    invariant: &'static str,
) -> &'a [T] {
    let found = all.get(range);
    assert!(found.is_some(), "{invariant}");
    found.unwrap_or_default()
}

/// As [`part`], to be changed.
///
/// # Panics
/// With the invariant's sentence when it is not there.
#[inline]
#[must_use]
#[track_caller]
pub fn part_mut<'a, T, R: SliceIndex<[T], Output = [T]>>(
    all: &'a mut [T],
    range: R,
    invariant: &'static str,
) -> &'a mut [T] {
    let found = all.get_mut(range);
    assert!(found.is_some(), "{invariant}");
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// INV-NOT-EMPTY.
    #[test]
    fn counts_are_what_they_are_or_stop() {
        assert_eq!(to_u32(u32::MAX as usize), u32::MAX);
        assert!(std::panic::catch_unwind(|| to_u32(1_u64 << 32)).is_err());
        assert_eq!((to_u8(255), to_u16(65_535)), (u8::MAX, u16::MAX));
        assert!(std::panic::catch_unwind(|| to_u8(256)).is_err());
        assert!(std::panic::catch_unwind(|| to_u16(65_536)).is_err());
    }

    #[test]
    fn a_part_is_there_or_the_invariant_is_told() {
        let mut all = [1, 2, 3];
        assert_eq!(part(&all, 1.., "INV"), [2, 3]);
        part_mut(&mut all, ..1, "INV")[0] = 9;
        assert_eq!((all[0], to_usize(u64::MAX)), (9, usize::MAX));
        let told = std::panic::catch_unwind(|| part(&[1], 2.., "INV-NOT-EMPTY: it is there").len());
        let told = told.unwrap_err().downcast::<String>().unwrap();
        assert_eq!(*told, "INV-NOT-EMPTY: it is there");
    }
}
