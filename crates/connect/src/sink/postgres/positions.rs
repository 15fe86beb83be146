//! The rows of lanes in `galgo_positions`, in the schema of the table.

use uuid::Uuid;

use super::catalog::text;
use crate::failure::Failure;
use crate::place::{LaneName, Position};
use crate::postgres::session::{PgSession, TextRow};
use crate::postgres::trouble::PgError;
use crate::table::name::TableName;
use crate::table::positions::{PositionNumbers, StoredPosition, damaged};

const COLUMNS: &str =
    "pipeline, stream, topic, partition, next, topic_made_at, last_id, last_time, target";
const IS_LANE: &str =
    "pipeline = $1::text AND stream = $2::text AND topic = $3::text AND partition = $4::bigint";

/// The statement that makes the table.
pub(super) fn create(positions: &TableName) -> String {
    format!(
        "CREATE TABLE {} (pipeline text NOT NULL, stream text NOT NULL, topic text NOT NULL, partition bigint NOT NULL, \
         next bigint NOT NULL, topic_made_at bigint NOT NULL, last_id uuid NOT NULL, last_time bigint NOT NULL, \
         target text NOT NULL, moved_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (pipeline, stream, topic, partition))",
        positions.sql()
    )
}

/// A lane and a position as values of a statement.
struct Values {
    lane: [String; 4],
    position: [String; 4],
}

impl Values {
    fn of(lane: &LaneName, position: &Position) -> Result<Self, Failure> {
        let PositionNumbers { next, topic_made_at, last_time } = PositionNumbers::of(position)?;
        let LaneName { pipeline, stream, topic, partition } = lane;
        let last_id = Uuid::from_u128(position.last_id).to_string();
        Ok(Self {
            lane: [pipeline.clone(), stream.clone(), topic.clone(), partition.to_string()],
            position: [next.to_string(), topic_made_at.to_string(), last_id, last_time.to_string()],
        })
    }

    /// `$1` to `$8`, and one more.
    fn with<'a>(&'a self, more: &'a str) -> Vec<Option<&'a str>> {
        let all = self.lane.iter().chain(&self.position).map(String::as_str).chain([more]);
        all.map(Some).collect()
    }
}

/// Where a lane is.
pub(super) async fn read(
    session: &mut PgSession,
    positions: &TableName,
    lane: &LaneName,
) -> Result<Option<TextRow>, PgError> {
    let sql = format!(
        "SELECT next, topic_made_at, last_time, last_id, target FROM {} WHERE {IS_LANE}",
        positions.sql()
    );
    let partition = lane.partition.to_string();
    let values =
        [&lane.pipeline, &lane.stream, &lane.topic, &partition].map(|text| Some(text.as_str()));
    Ok(session.run_with(&sql, &values).await?.rows.into_iter().next())
}

/// What a row says.
///
/// # Errors
/// [`Failure::Refused`] for numbers that no lane has.
pub(super) fn stored(row: &TextRow, lane: &LaneName) -> Result<StoredPosition, Failure> {
    let number = |index| text(Some(row), index).and_then(|text| text.parse::<i64>().ok());
    let read = || {
        let numbers =
            PositionNumbers { next: number(0)?, topic_made_at: number(1)?, last_time: number(2)? };
        let last_id: Uuid = text(Some(row), 3)?.parse().ok()?;
        let position = numbers.position(last_id.as_u128())?;
        Some(StoredPosition { position, target: text(Some(row), 4)?.to_owned() })
    };
    read().ok_or_else(|| damaged(lane))
}

/// How a lane is moved.
pub(super) struct Move {
    sql: String,
    values: Values,
    last: String,
}

impl Move {
    /// From the begin of a batch to its end, and only from there; a lane without a row makes it, and only if there is none.
    pub(super) fn of_batch(
        target: &Places<'_>,
        lane: &LaneName,
        batch: &crate::batch::Batch,
        is_fresh: bool,
    ) -> Result<Self, Failure> {
        if is_fresh {
            return Self::insert(target, lane, batch.end(), "NOTHING");
        }
        let begin = PositionNumbers::of(&Position { next: batch.begin(), ..*batch.end() })?.next;
        let sql = format!(
            "UPDATE {} SET next = $5::bigint, topic_made_at = $6::bigint, last_id = $7::uuid, last_time = $8::bigint, \
             moved_at = now() WHERE {IS_LANE} AND next = $9::bigint",
            target.positions.sql()
        );
        Ok(Self { sql, values: Values::of(lane, batch.end())?, last: begin.to_string() })
    }

    /// To a place, wherever it is.
    pub(super) fn anyway(
        target: &Places<'_>,
        lane: &LaneName,
        position: &Position,
    ) -> Result<Self, Failure> {
        let update = "UPDATE SET next = excluded.next, topic_made_at = excluded.topic_made_at, last_id = excluded.last_id, \
                      last_time = excluded.last_time, target = excluded.target, moved_at = now()";
        Self::insert(target, lane, position, update)
    }

    fn insert(
        target: &Places<'_>,
        lane: &LaneName,
        position: &Position,
        on_conflict: &str,
    ) -> Result<Self, Failure> {
        let sql = format!(
            "INSERT INTO {} ({COLUMNS}) VALUES ($1::text, $2::text, $3::text, $4::bigint, $5::bigint, $6::bigint, $7::uuid, \
             $8::bigint, $9::text) ON CONFLICT (pipeline, stream, topic, partition) DO {on_conflict}",
            target.positions.sql()
        );
        Ok(Self { sql, values: Values::of(lane, position)?, last: target.table.to_string() })
    }

    /// Whether it was moved.
    pub(super) async fn make(&self, session: &mut PgSession) -> Result<bool, PgError> {
        let answer = session.run_with(&self.sql, &self.values.with(&self.last)).await?;
        Ok(matches!(answer.done.as_str(), "UPDATE 1" | "INSERT 0 1"))
    }
}

/// Where positions are, and of which table.
pub(super) struct Places<'a> {
    pub(super) positions: &'a TableName,
    pub(super) table: &'a TableName,
}
