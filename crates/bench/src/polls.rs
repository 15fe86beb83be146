//! The requests of a consumer: polls of its partitions in turn, or of its group.

use galgo_wire::command::extensions::PollWaiting;
use galgo_wire::command::{Command, CommandCode, JoinConsumerGroup, PollMessages};
use galgo_wire::consumer::{ConsumerIdentity, PollingStrategy};
use galgo_wire::frame::put_request;
use galgo_wire::id::{Offset, PartitionId};
use galgo_wire::identifier::Identifier;
use galgo_wire::primitive::Payload as _;

use crate::channel::POLLED_HEAD_BYTES;
use crate::course::LAST_ANSWER_WAIT_MAX;
use crate::error::{BenchError, Outcome};
use crate::plan::Spot;
use crate::stage::{GROUP, StreamNames};

/// Bytes of a request for a range: its length word, a position and a length.
pub const RANGE_REQUEST_BYTES: usize = 20;
const _: () = assert!(
    RANGE_REQUEST_BYTES == size_of::<u32>() + 2 * size_of::<u64>(),
    "a length word, a position and a length"
);

/// The request for `bytes` bytes from `position`, as a bare program that serves ranges takes it.
pub fn range_request(position: u64, bytes: u64) -> [u8; RANGE_REQUEST_BYTES] {
    let mut frame = [0; RANGE_REQUEST_BYTES];
    frame[..4].copy_from_slice(&16u32.to_le_bytes());
    frame[4..12].copy_from_slice(&position.to_le_bytes());
    frame[12..].copy_from_slice(&bytes.to_le_bytes());
    frame
}

/// What is asked for.
#[derive(Debug)]
enum PollKind {
    /// Messages of a partition or of a group.
    Messages(PollMessages),
    /// Ranges of so many bytes, each the answer to a poll for so many messages.
    Ranges { bytes: u64, messages: u32 },
}

/// What a consumer reads from: a partition, a topic as a member of its group, or a file, range by range.
#[derive(Debug)]
pub(crate) struct LoadPoll {
    asked: PollKind,
    /// The offset to ask for next; a group's are kept by the server.
    pub(crate) next: u64,
    /// Whether nothing more can come.
    pub(crate) is_drained: bool,
    frame: Vec<u8>,
    waits: bool,
}

/// How long a poll waits; short, so that the end of the run is seen in time.
const WAIT_MICROS: u64 = 100_000;
const _: () = assert!(
    (WAIT_MICROS as u128) * 10 < LAST_ANSWER_WAIT_MAX.as_micros(),
    "the last poll of a run is answered before it is given up"
);

impl LoadPoll {
    /// Reads one partition from its start.
    pub(crate) fn partition(names: &StreamNames, place: Spot, count: u32) -> Outcome<Self> {
        let (stream, topic) = names.of(place)?;
        Ok(Self::of(PollMessages {
            consumer: ConsumerIdentity::new(Identifier::Numeric(1)),
            stream,
            topic,
            partition_id: Some(PartitionId::new(place.partition)),
            strategy: PollingStrategy::Offset(Offset::new(0)),
            count,
            auto_commit: false,
        }))
    }

    /// Reads what the group gives to this connection.
    pub(crate) fn group(names: &StreamNames, place: Spot, count: u32) -> Outcome<Self> {
        let (stream, topic) = names.of(place)?;
        Ok(Self::of(PollMessages {
            consumer: ConsumerIdentity::group(group()?),
            stream,
            topic,
            partition_id: None,
            strategy: PollingStrategy::Next,
            count,
            auto_commit: true,
        }))
    }

    /// Reads a file in ranges, each of `messages` messages.
    pub(crate) fn ranges(bytes: u64, messages: u32) -> Self {
        Self {
            asked: PollKind::Ranges { bytes, messages },
            next: 0,
            is_drained: false,
            frame: Vec::new(),
            waits: false,
        }
    }

    fn of(request: PollMessages) -> Self {
        Self {
            asked: PollKind::Messages(request),
            next: 0,
            is_drained: false,
            frame: Vec::new(),
            waits: false,
        }
    }

    /// Lets the server answer when there is a message, and not before.
    pub(crate) fn waiting(mut self) -> Self {
        self.waits = true;
        self
    }

    /// The bytes of the next poll.
    pub(crate) fn frame(&mut self) -> Outcome<&[u8]> {
        let frame = &mut self.frame;
        frame.clear();
        let request = match &mut self.asked {
            PollKind::Messages(request) => request,
            PollKind::Ranges { bytes, messages } => {
                let number = self.next / u64::from((*messages).max(1));
                frame.extend_from_slice(&range_request(number * *bytes, *bytes));
                return Ok(&self.frame);
            }
        };
        if request.partition_id.is_some() {
            request.strategy = PollingStrategy::Offset(Offset::new(self.next));
        }
        let put = match self.waits {
            true => {
                let poll = request.clone();
                let waiting = PollWaiting { poll, wait: WAIT_MICROS, count_min: 1 };
                put_request(frame, PollWaiting::CODE.as_u32(), |out| waiting.encode(out))
            }
            false => {
                put_request(frame, CommandCode::PollMessages.as_u32(), |out| request.encode(out))
            }
        };
        put.map_err(|_| BenchError::usage("a poll does not fit a request"))?;
        Ok(&self.frame)
    }
}

/// The request that makes a connection a member of the group of a topic.
pub(crate) fn join(names: &StreamNames, place: Spot) -> Outcome<Vec<u8>> {
    let (stream, topic) = names.of(place)?;
    let join = JoinConsumerGroup { stream, topic, group: group()? };
    let mut out = Vec::new();
    put_request(&mut out, CommandCode::JoinConsumerGroup.as_u32(), |out| join.encode(out))
        .map_err(|_| BenchError::usage("a group's name does not fit a request"))?;
    Ok(out)
}

fn group() -> Outcome<Identifier> {
    GROUP.parse().map_err(|_| BenchError::usage(format!("`{GROUP}` is not a name")))
}

/// The number of messages that follow, by the front of an answer.
pub(crate) fn polled(head: [u8; POLLED_HEAD_BYTES]) -> u32 {
    let [.., a, b, c, d] = head;
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use galgo_wire::command::messages::PolledHeader;

    #[test]
    fn the_front_of_an_answer_is_understood() {
        let header = PolledHeader {
            partition_id: PartitionId::new(7),
            current_offset: Offset::new(1 << 40),
            count: 12,
        };
        assert_eq!(polled(header.to_array()), 12);
    }

    #[test]
    fn a_poll_moves_on() {
        let place = Spot { stream: 0, topic: 0, partition: 3 };
        let mut poll = LoadPoll::partition(&StreamNames::new("b"), place, 10).unwrap();
        let first = poll.frame().unwrap().to_vec();
        poll.next = 10;
        let second = poll.frame().unwrap().to_vec();
        assert_eq!(first.len(), second.len());
        assert_ne!(first, second);
        assert_eq!(poll.frame().unwrap(), second);
    }
}
