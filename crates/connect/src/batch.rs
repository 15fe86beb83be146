//! What is delivered in one step: the rows made of a run of messages.

use std::ops::Range;

use bytes::Bytes;
use galgo::{HeaderError, UserHeaders};

use crate::place::{Place, Position};

/// What is delivered of a message: one row for each output of the last transform, none where it was filtered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it comes from.
    pub place: Place,
    /// The id of the message.
    pub id: u128,
    /// When the message was stored, in microseconds since the Unix epoch.
    pub time: u64,
    /// When its sender made it, by the sender's clock, in microseconds since the Unix epoch.
    pub origin_time: u64,
    /// Its headers as they are in the log; empty if it has none. [`Row::headers`] reads them.
    pub headers_block: Bytes,
    /// What the payload is.
    pub form: Form,
    /// What is delivered: what the last transform made, or the payload as it was sent.
    pub payload: Bytes,
}

/// What a payload is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A document of JSON, whole.
    Json,
    /// Text in UTF-8.
    Text,
    /// Bytes of which nothing is known.
    Bytes,
}

impl Row {
    /// Bytes it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.headers_block.len() + self.payload.len()
    }

    /// Its headers.
    ///
    /// # Errors
    /// What another client sent as headers is none.
    pub fn headers(&self) -> Result<UserHeaders, HeaderError> {
        match self.headers_block.is_empty() {
            true => Ok(UserHeaders::new()),
            false => UserHeaders::from_bytes(&self.headers_block),
        }
    }
}

/// The rows of the messages from one offset to another. Messages that were filtered, dead-lettered or skipped are in the
/// range, too, and have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    begin: u64,
    end: Position,
    rows: Vec<Row>,
}

impl Batch {
    /// The rows of the messages from `begin` to before the position `end`.
    ///
    /// # Panics
    /// When a row is of a message outside of that, or they are not in order.
    #[must_use]
    pub fn new(begin: u64, end: Position, rows: Vec<Row>) -> Self {
        assert!(begin <= end.next, "INV-PREFIX: a batch ends behind its begin");
        assert!(
            rows.is_sorted_by(|one, other| one.place < other.place),
            "INV-PREFIX: rows are in order"
        );
        let within = |row: &Row| (begin..end.next).contains(&row.place.offset);
        assert!(rows.iter().all(within), "INV-PREFIX: rows are of messages in the batch");
        Self { begin, end, rows }
    }

    /// The offset of its first message, which is where the target has to be.
    #[must_use]
    pub fn begin(&self) -> u64 {
        self.begin
    }

    /// Where the target is behind it.
    #[must_use]
    pub fn end(&self) -> &Position {
        &self.end
    }

    /// The offsets of its messages.
    #[must_use]
    pub fn offsets(&self) -> Range<u64> {
        self.begin..self.end.next
    }

    /// What is to be delivered, in order.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Leaves out the messages with rows at these places, with all their rows; tells how many rows those are.
    pub(crate) fn leave_out(&mut self, places: &[Place]) -> usize {
        assert!(places.is_sorted(), "INV-DELIVERED: messages that are left out are named in order");
        let count = self.rows.len();
        let is_named = |row: &Row| {
            places.binary_search_by_key(&row.place.offset, |place| place.offset).is_ok()
        };
        self.rows.retain(|row| !is_named(row));
        count - self.rows.len()
    }

    /// Leaves out what is in front of `next`, which the target has already.
    pub(crate) fn skip_to(&mut self, next: u64) {
        assert!(self.offsets().contains(&next), "INV-PREFIX: what is left begins in the batch");
        self.begin = next;
        self.rows.retain(|row| row.place.offset >= next);
    }

    /// Splits it behind the message in its middle, counted in rows.
    ///
    /// # Errors
    /// The batch itself, when its rows are of one message only.
    pub(crate) fn split(self) -> Result<(Self, Self), Self> {
        let offset_of = |row: &Row| row.place.offset;
        let (Some(first), Some(last)) =
            (self.rows.first().map(offset_of), self.rows.last().map(offset_of))
        else {
            return Err(self);
        };
        if first == last {
            return Err(self);
        }
        let middle = self.rows.get(self.rows.len() / 2 - 1).map_or(first, offset_of);
        // All rows of a message stay together; those of the last one are left for the second half.
        let upto = if middle == last { first } else { middle };
        self.split_before(upto + 1)
    }

    /// Splits it behind the last message that has rows in front of an offset.
    ///
    /// # Errors
    /// The batch itself, when one of the halves would have no rows.
    pub(crate) fn split_before(self, offset: u64) -> Result<(Self, Self), Self> {
        let count = self.rows.partition_point(|row| row.place.offset < offset);
        if count == 0 || count == self.rows.len() {
            return Err(self);
        }
        let mut rows = self.rows;
        let behind = rows.split_off(count);
        let Some(end) = rows.last() else { unreachable!("there is a row in front of the offset") };
        let between = Position {
            next: end.place.offset + 1,
            last_id: end.id,
            last_time: end.time,
            topic_made_at: self.end.topic_made_at,
        };
        let halves =
            (Self::new(self.begin, between, rows), Self::new(between.next, self.end, behind));
        assert_eq!(
            halves.0.end.next, halves.1.begin,
            "INV-PREFIX: nothing is between the halves of a batch"
        );
        Ok(halves)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(offset: u64, part: u32) -> Row {
        let payload = Bytes::from(format!("{offset}.{part}"));
        Row {
            place: Place { offset, part },
            id: offset.into(),
            time: offset,
            origin_time: offset,
            headers_block: Bytes::new(),
            form: Form::Text,
            payload,
        }
    }

    pub(crate) fn position(next: u64) -> Position {
        let last = next.saturating_sub(1);
        Position { next, topic_made_at: 7, last_id: last.into(), last_time: last }
    }

    #[test]
    fn a_batch_is_split_between_messages_until_each_is_alone() {
        let rows = vec![row(3, 0), row(5, 0), row(5, 1), row(5, 2), row(9, 0)];
        let mut parts = vec![Batch::new(2, position(12), rows.clone())];
        let mut whole = Vec::new();
        while let Some(batch) = parts.pop() {
            match batch.split() {
                Ok((first, second)) => parts.extend([second, first]),
                Err(batch) => whole.push(batch),
            }
        }
        let offsets: Vec<_> = whole.iter().map(Batch::offsets).collect();
        assert_eq!(offsets, [2..4, 4..6, 6..12], "INV-PREFIX: nothing between them is left out");
        let kept: Vec<Row> = whole.iter().flat_map(|batch| batch.rows().to_vec()).collect();
        assert_eq!(kept, rows);
        assert_eq!(
            *whole[0].end(),
            Position { next: 4, topic_made_at: 7, last_id: 3, last_time: 3 }
        );
    }

    #[test]
    fn what_the_target_has_already_is_left_out() {
        let mut batch = Batch::new(2, position(12), vec![row(3, 0), row(5, 0), row(5, 1)]);
        batch.skip_to(5);
        assert_eq!((batch.begin(), batch.rows().len()), (5, 2));
        assert_eq!(batch.leave_out(&[Place { offset: 5, part: 1 }]), 2, "all of it or nothing");
        assert_eq!(batch.rows(), []);
        assert!(Batch::new(2, position(12), Vec::new()).split().is_err());
    }
}
