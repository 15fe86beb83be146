//! Which transactions a snapshot sees.
//!
//! The server writes a snapshot as `xmin:xmax:xip,…` with 64-bit numbers; a change has the lower 32 bits of its number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What `pg_current_snapshot()` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VisibleXids {
    /// All below are over.
    min: u64,
    /// None from here on is over.
    max: u64,
    /// Those in between that are not over, in order.
    open: Vec<u64>,
}

/// That a text is no snapshot: what a snapshot may have in it of the text, and `?` for the rest (INV-MUTE).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a snapshot of PostgreSQL: {0}")]
pub(super) struct NoSnapshot(String);

impl NoSnapshot {
    fn of(text: &str) -> Self {
        let known = |c: char| c.is_ascii_digit() || c == ':' || c == ',';
        Self(text.chars().take(200).map(|c| if known(c) { c } else { '?' }).collect())
    }
}

impl VisibleXids {
    /// Whether what the transaction did is in the snapshot; `xid` without its epoch, which is the one that brings it nearest, as
    /// no two transactions at a time are further apart than half of all numbers.
    pub(super) fn contains(&self, xid: u32) -> bool {
        let xid = nearest(xid, self.max);
        xid < self.min || (xid < self.max && self.open.binary_search(&xid).is_err())
    }
}

/// The number with these lower 32 bits that is nearest to another.
fn nearest(low: u32, to: u64) -> u64 {
    let distance = low.wrapping_sub((to & u64::from(u32::MAX)) as u32).cast_signed();
    to.saturating_add_signed(distance.into())
}

impl FromStr for VisibleXids {
    type Err = NoSnapshot;

    fn from_str(text: &str) -> Result<Self, NoSnapshot> {
        let mut parts = text.split(':');
        let (Some(min), Some(max), Some(open), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoSnapshot::of(text));
        };
        let number = |part: &str| part.parse::<u64>().map_err(|_| NoSnapshot::of(text));
        let open = open.split(',').filter(|text| !text.is_empty()).map(number);
        let snapshot =
            Self { min: number(min)?, max: number(max)?, open: open.collect::<Result<_, _>>()? };
        let sorted = snapshot.open.is_sorted();
        (sorted && snapshot.min <= snapshot.max)
            .then_some(snapshot)
            .ok_or_else(|| NoSnapshot::of(text))
    }
}

impl fmt::Display for VisibleXids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open: Vec<String> = self.open.iter().map(u64::to_string).collect();
        write!(f, "{}:{}:{}", self.min, self.max, open.join(","))
    }
}

impl Serialize for VisibleXids {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VisibleXids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_sees_what_was_over() {
        let snapshot: VisibleXids = "100:110:101,105".parse().unwrap();
        assert_eq!(snapshot.to_string(), "100:110:101,105");
        let seen: Vec<u32> = (98..113).filter(|xid| snapshot.contains(*xid)).collect();
        assert_eq!(seen, [98, 99, 100, 102, 103, 104, 106, 107, 108, 109]);
        let none_open: VisibleXids = "100:100:".parse().unwrap();
        assert!(none_open.contains(99) && !none_open.contains(100));
    }

    /// Transaction numbers have come round: without the epoch, 4294967290 would seem to be in the far future of 5.
    #[test]
    fn the_epoch_is_the_one_that_is_nearest() {
        let epoch = 3_u64 << 32;
        let snapshot: VisibleXids =
            format!("{}:{}:{}", epoch - 10, epoch + 5, epoch - 10).parse().unwrap();
        assert!(!snapshot.contains(u32::MAX - 9), "it is open");
        assert!(snapshot.contains(u32::MAX - 8) && snapshot.contains(4));
        assert!(!snapshot.contains(5));
        assert!(snapshot.contains(u32::MAX / 2 + 100), "long over");
    }

    #[test]
    fn other_text_is_no_snapshot() {
        let error = "1:secret".parse::<VisibleXids>().unwrap_err().to_string();
        assert_eq!(error, "it is not a snapshot of PostgreSQL: 1:??????", "INV-MUTE");
        for text in ["", "1:2", "1:2:3:4", "a:2:", "3:2:", "1:9:5,4", "1:9:x", "-1:2:"] {
            assert!(text.parse::<VisibleXids>().is_err(), "{text}");
        }
    }
}
