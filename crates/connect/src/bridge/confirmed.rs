//! What of a batch that failed the target took nevertheless.
//!
//! A target without positions is given a batch again when a part of it failed. What it has confirmed need not be sent again as long as
//! this process remembers it; after a kill it is.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;

use crate::batch::Batch;
use crate::place::{LaneName, Place};

/// Shared by all connections to a target: a batch may be tried again on another one.
#[derive(Debug, Default)]
pub(crate) struct Confirmed(Mutex<HashMap<LaneName, TakenPlaces>>);

#[derive(Debug, Default)]
struct TakenPlaces {
    /// Of another topic of the same name nothing is taken.
    topic_made_at: u64,
    places: BTreeSet<Place>,
}

impl Confirmed {
    /// Begins with a batch: what is in front of it is not asked about any more. Tells which of its places are taken.
    pub(crate) fn begin(&self, lane: &LaneName, batch: &Batch) -> BTreeSet<Place> {
        let mut lanes = self.0.lock();
        let Some(taken) = lanes.get_mut(lane) else { return BTreeSet::new() };
        if taken.topic_made_at != batch.end().topic_made_at {
            lanes.remove(lane);
            return BTreeSet::new();
        }
        taken.places = taken.places.split_off(&Place { offset: batch.begin(), part: 0 });
        assert!(
            taken.places.first().is_none_or(|place| place.offset >= batch.begin()),
            "INV-PREFIX: what is in front of a batch is delivered and not asked for any more"
        );
        taken.places.clone()
    }

    /// The target has taken a row.
    pub(crate) fn add(&self, lane: &LaneName, topic_made_at: u64, place: Place) {
        let mut lanes = self.0.lock();
        let taken = match lanes.get_mut(lane) {
            Some(taken) => taken,
            None => lanes.entry(lane.clone()).or_default(),
        };
        if taken.topic_made_at != topic_made_at {
            *taken = TakenPlaces { topic_made_at, places: BTreeSet::new() };
        }
        taken.places.insert(place);
    }

    /// The whole batch is delivered: nobody asks again.
    pub(crate) fn forget(&self, lane: &LaneName) {
        self.0.lock().remove(lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::{position, row};

    #[test]
    fn what_was_taken_is_known_until_the_batch_is_delivered() {
        let lane =
            LaneName { pipeline: "p".into(), stream: "s".into(), topic: "t".into(), partition: 0 };
        let confirmed = Confirmed::default();
        let batch = Batch::new(3, position(9), vec![row(3, 0), row(4, 0), row(5, 1)]);
        assert!(confirmed.begin(&lane, &batch).is_empty());
        for place in [row(1, 0).place, row(4, 0).place, row(5, 1).place] {
            confirmed.add(&lane, 7, place);
        }
        let taken = confirmed.begin(&lane, &batch);
        assert_eq!(Vec::from_iter(taken), [row(4, 0).place, row(5, 1).place]);
        confirmed.forget(&lane);
        assert!(confirmed.begin(&lane, &batch).is_empty());
        confirmed.add(&lane, 6, row(4, 0).place);
        assert!(confirmed.begin(&lane, &batch).is_empty(), "it was of an older topic");
    }
}
