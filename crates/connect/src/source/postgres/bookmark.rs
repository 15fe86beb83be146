//! How far a slot is read: the cursor of the source, small, whatever is in flight.

use serde::{Deserialize, Serialize};

use super::lsn::PgLsn;
use super::visible::VisibleXids;
use crate::source::Cursor;

/// Where to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bookmark {
    /// Of which database cluster.
    pub(super) system: String,
    /// On which timeline of it.
    pub(super) timeline: u32,
    /// What is behind the last transaction that is settled to its end.
    pub(super) lsn: PgLsn,
    /// The transaction behind it of which a part is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) inside: Option<Inside>,
    /// The copy that was made, as long as there may be changes that are in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) copy: Option<CopyMark>,
    /// The tables are being copied, and the copy has to begin again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) copying: bool,
}

/// A place in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inside {
    /// Where its commit is.
    pub(super) commit: PgLsn,
    /// Its changes that are settled, counted as the server sends them.
    pub(super) done: u64,
}

/// A copy of the tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CopyMark {
    /// What is in it.
    pub(super) snapshot: VisibleXids,
    /// All that is in it was committed in front of this place.
    pub(super) before: PgLsn,
    /// Whether changes of all tables that are in it are left out; otherwise only those of tables whose rows have no key.
    pub(super) all: bool,
}

impl Bookmark {
    pub(super) fn parse(cursor: &Cursor) -> Result<Self, String> {
        Self::deserialize(&cursor.0).map_err(|error| error.to_string())
    }

    pub(super) fn cursor(&self) -> Cursor {
        let Ok(value) = serde_json::to_value(self) else {
            unreachable!("text and numbers are always JSON")
        };
        Cursor(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookmark_is_short_and_comes_back() {
        let plain = Bookmark {
            system: "7412".to_owned(),
            timeline: 1,
            lsn: PgLsn(0x16B_3748),
            inside: None,
            copy: None,
            copying: false,
        };
        let cursor = plain.cursor();
        assert_eq!(cursor.0.to_string(), r#"{"system":"7412","timeline":1,"lsn":"0/16B3748"}"#);
        assert_eq!(Bookmark::parse(&cursor), Ok(plain.clone()));
        let copy = CopyMark { snapshot: "5:9:6,8".parse().unwrap(), before: PgLsn(9), all: true };
        let full = Bookmark {
            inside: Some(Inside { commit: PgLsn(7), done: 3 }),
            copy: Some(copy),
            copying: true,
            ..plain
        };
        assert_eq!(Bookmark::parse(&full.cursor()), Ok(full));
        assert!(Bookmark::parse(&Cursor(serde_json::json!({"offset": 3}))).is_err());
    }
}
