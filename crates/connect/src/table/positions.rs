//! The table of positions: one row for each lane, in the database of the rows, so that both move in one step (INV-ONE-STEP).

use std::collections::HashSet;

use parking_lot::Mutex;

use super::name::TableName;
use crate::failure::Failure;
use crate::place::{LaneName, Position};

/// Its name.
pub(crate) const TABLE: &str = "galgo_positions";

/// Lanes whose row was looked for and not found: their first batch makes it. A lane that had a row makes none, so that a database
/// that was restored to before it is found out.
#[derive(Debug, Default)]
pub(crate) struct FreshLanes(Mutex<HashSet<LaneName>>);

impl FreshLanes {
    /// Notes whether a lane has a row.
    pub(crate) fn note(&self, lane: &LaneName, has_row: bool) {
        let mut fresh = self.0.lock();
        match has_row {
            true => fresh.remove(lane),
            false => fresh.insert(lane.clone()),
        };
    }

    /// Whether the lane makes its row.
    pub(crate) fn has(&self, lane: &LaneName) -> bool {
        self.0.lock().contains(lane)
    }
}

/// A lane's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredPosition {
    /// Where the lane goes on.
    pub(crate) position: Position,
    /// The table that its rows went to.
    pub(crate) target: String,
}

/// The numbers of a position as a database has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PositionNumbers {
    pub(crate) next: i64,
    pub(crate) topic_made_at: i64,
    pub(crate) last_time: i64,
}

impl PositionNumbers {
    /// The numbers of a position.
    ///
    /// # Errors
    /// [`Failure::Refused`] for numbers that no topic has.
    pub(crate) fn of(position: &Position) -> Result<Self, Failure> {
        let signed = |number: u64| {
            i64::try_from(number).map_err(|_| {
                Failure::refused(
                    "an offset or a time is beyond 63 bits",
                    "look at the topic: galgo topic get",
                )
            })
        };
        let Position { next, topic_made_at, last_time, .. } = *position;
        Ok(Self {
            next: signed(next)?,
            topic_made_at: signed(topic_made_at)?,
            last_time: signed(last_time)?,
        })
    }

    /// The position of these numbers.
    pub(crate) fn position(self, last_id: u128) -> Option<Position> {
        let number = |number: i64| u64::try_from(number).ok();
        Some(Position {
            next: number(self.next)?,
            topic_made_at: number(self.topic_made_at)?,
            last_id,
            last_time: number(self.last_time)?,
        })
    }
}

/// A row of the table that has a number in it which no lane has: somebody wrote it by hand.
pub(crate) fn damaged(lane: &LaneName) -> Failure {
    Failure::refused(
        format!("the row of {lane} in {TABLE} has a number that no position has"),
        format!(
            "set the position: galgo connect position FILE --partition {} --next N",
            lane.partition
        ),
    )
}

/// The position, if the lane delivered to this table.
///
/// # Errors
/// [`Failure::Refused`]: two files of one name write to different tables.
pub(crate) fn of_table(
    stored: StoredPosition,
    lane: &LaneName,
    table: &TableName,
) -> Result<Position, Failure> {
    match stored.target == table.to_string() {
        true => Ok(stored.position),
        false => Err(Failure::refused(
            format!(
                "pipeline {} delivers {lane} to table {}, and this file says {table}",
                lane.pipeline, stored.target
            ),
            "give one of the two files another name; or remove the position with galgo connect cleanup, to begin anew in this table",
        )),
    }
}
