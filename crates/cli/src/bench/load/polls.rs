//! The requests of a consumer: polls of its partitions in turn, or of its group.

use galgo::{Identifier, PollingStrategy};
use galgo_wire::command::extensions::PollWaiting;
use galgo_wire::command::{Command, CommandCode, JoinConsumerGroup, PollMessages};
use galgo_wire::consumer::Consumer;
use galgo_wire::frame::put_request;
use galgo_wire::id::{Offset, PartitionId};
use galgo_wire::primitive::Payload as _;

use crate::bench::load::channel::POLLED_HEAD_BYTES;
use crate::bench::load::plan::Place;
use crate::bench::load::stage::{GROUP, Names};
use crate::failure::{Failure, Outcome};

/// What a consumer reads from: a partition, or a topic as a member of its group.
#[derive(Debug)]
pub(crate) struct Poll {
    request: PollMessages,
    /// The offset to ask for next; a group's are kept by the server.
    pub(crate) next: u64,
    /// Whether nothing more can come.
    pub(crate) is_drained: bool,
    frame: Vec<u8>,
    waits: bool,
}

/// How long a poll waits; short, so that the end of the run is seen in time.
const WAIT_MICROS: u64 = 100_000;

impl Poll {
    /// Reads one partition from its start.
    pub(crate) fn partition(names: &Names, place: Place, count: u32) -> Outcome<Self> {
        let (stream, topic) = names.of(place)?;
        Ok(Self::of(PollMessages {
            consumer: Consumer::new(Identifier::Numeric(1)),
            stream,
            topic,
            partition_id: Some(PartitionId::new(place.partition)),
            strategy: PollingStrategy::Offset(Offset::new(0)),
            count,
            auto_commit: false,
        }))
    }

    /// Reads what the group gives to this connection.
    pub(crate) fn group(names: &Names, place: Place, count: u32) -> Outcome<Self> {
        let (stream, topic) = names.of(place)?;
        Ok(Self::of(PollMessages {
            consumer: Consumer::group(group()?),
            stream,
            topic,
            partition_id: None,
            strategy: PollingStrategy::Next,
            count,
            auto_commit: true,
        }))
    }

    fn of(request: PollMessages) -> Self {
        Self { request, next: 0, is_drained: false, frame: Vec::new(), waits: false }
    }

    /// Lets the server answer when there is a message, and not before.
    pub(crate) fn waiting(mut self) -> Self {
        self.waits = true;
        self
    }

    /// The bytes of the next poll.
    pub(crate) fn frame(&mut self) -> Outcome<&[u8]> {
        if self.request.partition_id.is_some() {
            self.request.strategy = PollingStrategy::Offset(Offset::new(self.next));
        }
        self.frame.clear();
        let (request, frame) = (&self.request, &mut self.frame);
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
        put.map_err(|_| Failure::usage("a poll does not fit a request"))?;
        Ok(&self.frame)
    }
}

/// The request that makes a connection a member of the group of a topic.
pub(crate) fn join(names: &Names, place: Place) -> Outcome<Vec<u8>> {
    let (stream, topic) = names.of(place)?;
    let join = JoinConsumerGroup { stream, topic, group: group()? };
    let mut out = Vec::new();
    put_request(&mut out, CommandCode::JoinConsumerGroup.as_u32(), |out| join.encode(out))
        .map_err(|_| Failure::usage("a group's name does not fit a request"))?;
    Ok(out)
}

fn group() -> Outcome<Identifier> {
    GROUP.parse().map_err(|_| Failure::usage(format!("`{GROUP}` is not a name")))
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
        let place = Place { stream: 0, topic: 0, partition: 3 };
        let mut poll = Poll::partition(&Names::new("b"), place, 10).unwrap();
        let first = poll.frame().unwrap().to_vec();
        poll.next = 10;
        let second = poll.frame().unwrap().to_vec();
        assert_eq!(first.len(), second.len());
        assert_ne!(first, second);
        assert_eq!(poll.frame().unwrap(), second);
    }
}
