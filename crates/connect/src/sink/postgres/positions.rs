//! The rows of lanes in `galgo_positions`, in the schema of the table.

use postgres_protocol::escape::escape_literal;
use uuid::Uuid;

use super::catalog::text;
use crate::failure::Failure;
use crate::place::{LaneName, Position};
use crate::postgres::session::{PgSession, StatementAnswer, TextRow};
use crate::postgres::trouble::PgError;
use crate::table::name::TableName;
use crate::table::positions::{PositionNumbers, StoredPosition, damaged};

const COLUMNS: &str =
    "pipeline, stream, topic, partition, next, topic_made_at, last_id, last_time, target";

/// The statement that makes the table.
pub(super) fn create(positions: &TableName) -> String {
    format!(
        "CREATE TABLE {} (pipeline text NOT NULL, stream text NOT NULL, topic text NOT NULL, partition bigint NOT NULL, \
         next bigint NOT NULL, topic_made_at bigint NOT NULL, last_id uuid NOT NULL, last_time bigint NOT NULL, \
         target text NOT NULL, moved_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (pipeline, stream, topic, partition))",
        positions.sql()
    )
}

/// That a row is the lane's.
fn is_lane(lane: &LaneName) -> String {
    let LaneName { pipeline, stream, topic, partition } = lane;
    let [pipeline, stream, topic] = [pipeline, stream, topic].map(|name| escape_literal(name));
    format!(
        "pipeline = {pipeline} AND stream = {stream} AND topic = {topic} AND partition = {partition}"
    )
}

/// Where a lane is.
pub(super) async fn read(
    session: &mut PgSession,
    positions: &TableName,
    lane: &LaneName,
) -> Result<Option<TextRow>, PgError> {
    let sql = format!(
        "SELECT next, topic_made_at, last_time, last_id, target FROM {} WHERE {}",
        positions.sql(),
        is_lane(lane)
    );
    Ok(session.run(&sql).await?.rows.into_iter().next())
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

/// How a lane is moved: a statement with its values in it, so that it may be said together with others, which are given up all
/// together when one of them fails.
pub(super) struct Move {
    pub(super) sql: String,
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
        let PositionNumbers { next, topic_made_at, last_time } = PositionNumbers::of(batch.end())?;
        let last_id = Uuid::from_u128(batch.end().last_id);
        let sql = format!(
            "UPDATE {} SET next = {next}, topic_made_at = {topic_made_at}, last_id = '{last_id}', last_time = {last_time}, \
             moved_at = now() WHERE {} AND next = {begin}",
            target.positions.sql(),
            is_lane(lane)
        );
        Ok(Self { sql })
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
        let PositionNumbers { next, topic_made_at, last_time } = PositionNumbers::of(position)?;
        let last_id = Uuid::from_u128(position.last_id);
        let LaneName { pipeline, stream, topic, partition } = lane;
        let table = target.table.to_string();
        let [pipeline, stream, topic, table] =
            [pipeline, stream, topic, &table].map(|name| escape_literal(name));
        let sql = format!(
            "INSERT INTO {} ({COLUMNS}) VALUES ({pipeline}, {stream}, {topic}, {partition}, {next}, {topic_made_at}, '{last_id}', \
             {last_time}, {table}) ON CONFLICT (pipeline, stream, topic, partition) DO {on_conflict}",
            target.positions.sql()
        );
        Ok(Self { sql })
    }

    /// Whether it was moved, from what the server says of the statement.
    pub(super) fn is_made(answer: &StatementAnswer) -> bool {
        matches!(answer.done.as_str(), "UPDATE 1" | "INSERT 0 1")
    }

    /// Moves it; tells whether it was moved.
    pub(super) async fn make(&self, session: &mut PgSession) -> Result<bool, PgError> {
        Ok(Self::is_made(&session.run(&self.sql).await?))
    }
}

/// Where positions are, and of which table.
pub(super) struct Places<'a> {
    pub(super) positions: &'a TableName,
    pub(super) table: &'a TableName,
}
