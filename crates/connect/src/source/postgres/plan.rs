//! How to begin: decided from the cursor, the slot and the settings alone.
//!
//! INV-NO-GAP: changes that are neither in the topic nor in the slot are never passed over in silence: the source stops with the words
//! "changes are missing".

use serde::Deserialize;

use super::bookmark::Bookmark;
use super::lsn::PgLsn;
use super::slot::SlotState;

/// When tables are copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Copying {
    /// When the pipeline is new.
    #[default]
    Once,
    /// Not at all.
    Never,
    /// When the pipeline is new, and when changes are missing.
    Again,
}

/// The database cluster, as it names itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClusterId {
    pub(super) system: String,
    pub(super) timeline: u32,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SlotPlan {
    /// Go on behind the bookmark.
    GoOn(Bookmark),
    /// Read the slot from its begin.
    FromSlot(PgLsn),
    /// Make a slot and read it.
    NewSlot,
    /// Make a slot and copy the tables.
    NewCopy {
        /// Remove the slot that is there.
        instead: bool,
        /// What was told before is void.
        clears: bool,
    },
    /// Copy the tables once more, with the slot that is there.
    CopyAgain(PgLsn),
    /// Stop: why changes are missing.
    Missing(String),
}

/// Decides.
pub(super) fn plan(
    bookmark: Option<Bookmark>,
    slot: Option<&SlotState>,
    copying: Copying,
    cluster: &ClusterId,
) -> SlotPlan {
    let missing = |why: String| match copying {
        Copying::Again => SlotPlan::NewCopy { instead: slot.is_some(), clears: true },
        Copying::Once | Copying::Never => SlotPlan::Missing(why),
    };
    let usable = match slot {
        None => None,
        Some(SlotState { is_lost: false, confirmed: Some(confirmed), .. }) => Some(*confirmed),
        Some(_) => return missing("the server threw away what it kept for the slot".to_owned()),
    };
    match (bookmark, usable) {
        (None, None) if copying == Copying::Never => SlotPlan::NewSlot,
        (None, None) => SlotPlan::NewCopy { instead: false, clears: false },
        (None, Some(confirmed)) if copying == Copying::Never => SlotPlan::FromSlot(confirmed),
        (None, Some(confirmed)) => SlotPlan::CopyAgain(confirmed),
        (Some(_), None) => missing("the slot is not there any more".to_owned()),
        (Some(bookmark), Some(confirmed)) => match behind(&bookmark, confirmed, cluster) {
            Some(why) => missing(why),
            None if bookmark.copying && copying != Copying::Never => SlotPlan::CopyAgain(confirmed),
            None => SlotPlan::GoOn(Bookmark { copying: false, ..bookmark }),
        },
    }
}

/// Why a slot does not go on where the bookmark is.
fn behind(bookmark: &Bookmark, confirmed: PgLsn, cluster: &ClusterId) -> Option<String> {
    let Bookmark { system, timeline, lsn, .. } = bookmark;
    if *system != cluster.system {
        return Some("the database is another one than before".to_owned());
    }
    if *timeline != cluster.timeline {
        return Some(format!(
            "the server is on timeline {}, and was on {timeline}: places in its log do not compare",
            cluster.timeline
        ));
    }
    (confirmed > *lsn)
        .then(|| format!("the slot goes on at {confirmed}, and what came from it ends at {lsn}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterId {
        ClusterId { system: "7412".to_owned(), timeline: 1 }
    }

    fn bookmark(lsn: u64) -> Bookmark {
        let ClusterId { system, timeline } = cluster();
        Bookmark { system, timeline, lsn: PgLsn(lsn), inside: None, copy: None, copying: false }
    }

    fn slot(confirmed: u64) -> SlotState {
        SlotState {
            plugin: "pgoutput".to_owned(),
            is_of_this_database: true,
            confirmed: Some(PgLsn(confirmed)),
            is_lost: false,
            reader: None,
            retained: 0,
        }
    }

    #[test]
    fn a_pipeline_that_is_new_copies_unless_it_never_does() {
        let new = |slot: Option<&SlotState>, copying| plan(None, slot, copying, &cluster());
        for copying in [Copying::Once, Copying::Again] {
            assert_eq!(new(None, copying), SlotPlan::NewCopy { instead: false, clears: false });
            assert_eq!(new(Some(&slot(5)), copying), SlotPlan::CopyAgain(PgLsn(5)));
        }
        assert_eq!(new(None, Copying::Never), SlotPlan::NewSlot);
        assert_eq!(new(Some(&slot(5)), Copying::Never), SlotPlan::FromSlot(PgLsn(5)));
    }

    #[test]
    fn it_goes_on_where_it_was_and_a_copy_that_was_interrupted_begins_again() {
        let at = |bookmark, copying| plan(Some(bookmark), Some(&slot(5)), copying, &cluster());
        assert_eq!(at(bookmark(5), Copying::Once), SlotPlan::GoOn(bookmark(5)));
        assert_eq!(at(bookmark(9), Copying::Again), SlotPlan::GoOn(bookmark(9)));
        let copying = Bookmark { copying: true, ..bookmark(5) };
        assert_eq!(at(copying.clone(), Copying::Once), SlotPlan::CopyAgain(PgLsn(5)));
        assert_eq!(at(copying, Copying::Never), SlotPlan::GoOn(bookmark(5)));
    }

    #[test]
    fn changes_that_are_missing_stop_it_or_are_made_up_for_by_a_new_copy() {
        let lost = SlotState { is_lost: true, ..slot(5) };
        let elsewhere = Bookmark { system: "1".to_owned(), ..bookmark(5) };
        let later = Bookmark { timeline: 2, ..bookmark(5) };
        for (bookmark, slot) in [
            (Some(bookmark(9)), None),
            (Some(bookmark(9)), Some(lost.clone())),
            (Some(bookmark(4)), Some(slot(5))),
            (Some(elsewhere), Some(slot(5))),
            (Some(later), Some(slot(5))),
            (Some(Bookmark { copying: true, ..bookmark(4) }), None),
            (None, Some(lost)),
        ] {
            for copying in [Copying::Once, Copying::Never] {
                let stopped = plan(bookmark.clone(), slot.as_ref(), copying, &cluster());
                assert!(
                    matches!(stopped, SlotPlan::Missing(_)),
                    "INV-NO-GAP: {bookmark:?} {slot:?}"
                );
            }
            let again = plan(bookmark.clone(), slot.as_ref(), Copying::Again, &cluster());
            assert_eq!(again, SlotPlan::NewCopy { instead: slot.is_some(), clears: true });
        }
    }
}
