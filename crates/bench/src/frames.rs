//! The requests of a producer, built before the run.
//!
//! A producer sends the same few frames again and again; ids are left to the server. Only a
//! latency run writes into them: when each message was due.

use std::time::Duration;

use bytes::Bytes;
use galgo_wire::batch::{BatchBuilder, MessagesView, NewMessage};
use galgo_wire::command::CommandCode;
use galgo_wire::consumer::Partitioning;
use galgo_wire::frame::RequestHeader;
use galgo_wire::id::{PartitionId, Timestamp};
use galgo_wire::identifier::Identifier;
use galgo_wire::index::{part, part_mut};
use galgo_wire::limits::REQUEST_HEADER_BYTES;

use crate::channel::PreparedFrame;
use crate::error::{BenchError, Outcome};
use crate::plan::{LoadKind, LoadPlan, STAMP_BYTES, Sizes, Spot};
use crate::stage::StreamNames;

/// Bytes of different payloads a producer has.
const VARIETY_BYTES: f64 = 4e6;

/// Different requests it has at most, where sizes are a range.
const VARIETY_MAX: f64 = 256.0;

/// A frame up to this size has its body to itself.
const JOINED_BYTES_MAX: usize = 4096;

/// All frames of a producer that lie in one piece may have so many bytes.
const JOINED_TOTAL_BYTES_MAX: usize = 8 << 20;
const _: () = assert!(JOINED_BYTES_MAX < JOINED_TOTAL_BYTES_MAX, "some frames are joined");

/// One request to be sent.
#[derive(Debug)]
struct PreparedRequest {
    head: Bytes,
    body: Bytes,
    messages: u32,
    payload_bytes: u64,
}

/// The amounts of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Amounts {
    /// Messages.
    pub(crate) messages: u64,
    /// Bytes of their payloads.
    pub(crate) bytes: u64,
}

/// The requests of a producer, in turn.
#[derive(Debug)]
pub(crate) struct PreparedFrames {
    requests: Vec<PreparedRequest>,
    next: usize,
    stamps: Option<StampedBody>,
}

/// A body that is written into before it is sent.
#[derive(Debug)]
struct StampedBody {
    body: Vec<u8>,
    /// Where in it the payloads begin.
    places: Vec<usize>,
}

/// What goes into the frames of a producer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Bytes of a payload.
    pub(crate) sizes: Sizes,
    /// Messages in a request.
    pub(crate) batch: u32,
    /// Whether each payload begins with when it was due.
    pub(crate) is_stamped: bool,
    /// What makes the sizes of one producer other than those of the next.
    pub(crate) seed: u64,
}

impl Load {
    /// What producer `number` of a plan sends.
    pub(crate) fn of(plan: &LoadPlan, number: u32) -> Self {
        Self {
            // One body serves all requests of a latency run, so it has one of the sizes.
            sizes: plan.sizes,
            batch: plan.batch,
            is_stamped: plan.kind == LoadKind::Latency,
            seed: u64::from(number) + 1,
        }
    }

    fn variety(self) -> usize {
        if self.sizes.min == self.sizes.max || self.is_stamped {
            return 1;
        }
        let request_bytes = self.sizes.mean().max(1.0) * f64::from(self.batch);
        (VARIETY_BYTES / request_bytes).clamp(4.0, VARIETY_MAX) as usize
    }
}

impl PreparedFrames {
    /// Builds frames to all of `places`.
    pub(crate) fn build(names: &StreamNames, places: &[Spot], load: Load) -> Outcome<Self> {
        assert!(!places.is_empty(), "each producer has a place to send to");
        let mut sizes = Lengths { state: load.seed, sizes: load.sizes };
        let batches: Vec<BatchBuilder> =
            (0..load.variety()).map(|_| batch(&mut sizes, load.batch)).collect::<Outcome<_>>()?;
        let bodies: Vec<Bytes> = batches
            .iter()
            .map(|batch| {
                let (indexes, messages) = batch.parts();
                Bytes::from([indexes, messages].concat())
            })
            .collect();
        let all = places.len().max(bodies.len());
        let largest = bodies.iter().map(Bytes::len).max().unwrap_or_default();
        let joins = !load.is_stamped
            && (largest <= JOINED_BYTES_MAX || largest * all <= JOINED_TOTAL_BYTES_MAX);
        let pairs = places.iter().cycle().zip(batches.iter().zip(&bodies).cycle());
        let requests = pairs.take(all).map(|(place, (batch, body))| {
            let mut head = head(names, *place, batch)?;
            let (_, messages) = batch.parts();
            let headers = batch.len() as usize * galgo_wire::batch::MESSAGE_HEADER_BYTES;
            let payload_bytes = (messages.len() - headers) as u64;
            let mut body = body.clone();
            if joins {
                head.extend_from_slice(&body);
                body = Bytes::new();
            }
            Ok(PreparedRequest { head: head.into(), body, messages: batch.len(), payload_bytes })
        });
        let requests = requests.collect::<Outcome<Vec<_>>>()?;
        assert!(requests.len() == all, "every place and every body has a request");
        let stamps = match (load.is_stamped, batches.first()) {
            (true, Some(batch)) => Some(StampedBody::of(batch)),
            _ => None,
        };
        Ok(Self { requests, next: 0, stamps })
    }

    /// How many different ones there are.
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// The next frame, due at this time from the start of the run.
    pub(crate) fn next(&mut self, due: Duration) -> Option<(PreparedFrame<'_>, Amounts)> {
        let index = self.next;
        self.next = (index + 1) % self.requests.len().max(1);
        let request = self.requests.get(index)?;
        let amounts =
            Amounts { messages: u64::from(request.messages), bytes: request.payload_bytes };
        let frame = match &mut self.stamps {
            Some(stamped) => {
                stamped.stamp(due);
                PreparedFrame { head: &request.head, body: &stamped.body, whole: None }
            }
            None => PreparedFrame {
                head: &request.head,
                body: &request.body,
                whole: request.body.is_empty().then_some(&request.head),
            },
        };
        Some((frame, amounts))
    }
}

impl StampedBody {
    fn of(batch: &BatchBuilder) -> Self {
        let (indexes, messages) = batch.parts();
        let mut at = indexes.len();
        let places = MessagesView::new(messages).flatten().map(|message| {
            let payload = at + galgo_wire::batch::MESSAGE_HEADER_BYTES;
            at += message.bytes.len();
            payload
        });
        Self { places: places.collect(), body: [indexes, messages].concat() }
    }

    fn stamp(&mut self, due: Duration) {
        let stamp = nanos(due).to_le_bytes();
        for place in &self.places {
            let room = *place..*place + stamp.len();
            part_mut(&mut self.body, room, "a place is one of this body").copy_from_slice(&stamp);
        }
    }
}

/// A time in nanoseconds; the largest number, five centuries, stands for all that is longer.
pub(crate) fn nanos(time: Duration) -> u64 {
    // No run of a load and no answer takes so long.
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// When a message was due, from the start of the run; `None` when it is no message of a latency run.
pub(crate) fn stamp_of(payload: &[u8]) -> Option<Duration> {
    let stamp = payload.first_chunk::<{ STAMP_BYTES as usize }>()?;
    Some(Duration::from_nanos(u64::from_le_bytes(*stamp)))
}

/// A batch of messages of the next sizes.
fn batch(sizes: &mut Lengths, messages: u32) -> Outcome<BatchBuilder> {
    let payload = vec![b'x'; sizes.sizes.max as usize];
    let mut builder = BatchBuilder::new();
    for _ in 0..messages {
        let message = NewMessage {
            payload: part(&payload, ..sizes.next(), "no size is above the largest"),
            origin_timestamp: Timestamp::new(1),
            ..NewMessage::default()
        };
        builder.push(&message).map_err(|error| BenchError::usage(format!("a request: {error}")))?;
    }
    Ok(builder)
}

/// Everything of a frame that stands before its messages.
fn head(names: &StreamNames, place: Spot, batch: &BatchBuilder) -> Outcome<Vec<u8>> {
    let (stream, topic): (Identifier, Identifier) = names.of(place)?;
    let partition = Partitioning::PartitionId(PartitionId::new(place.partition));
    let mut head = vec![0; REQUEST_HEADER_BYTES];
    batch.encode_send_head(stream.borrowed(), topic.borrowed(), partition.borrowed(), &mut head);
    let payload_len = head.len() - REQUEST_HEADER_BYTES + batch.bytes();
    let payload_len = u32::try_from(payload_len)
        .map_err(|_| BenchError::usage("the messages of a request do not fit one"))?;
    let header = RequestHeader { code: CommandCode::SendMessages.as_u32(), payload_len };
    let Some(room) = head.first_chunk_mut() else {
        unreachable!("a head begins with room for its header");
    };
    *room = header.to_bytes();
    Ok(head)
}

/// Sizes drawn evenly from a range; the same for the same seed.
#[derive(Debug)]
struct Lengths {
    state: u64,
    sizes: Sizes,
}

impl Lengths {
    fn next(&mut self) -> usize {
        // A step of splitmix64.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let span = u64::from(self.sizes.max - self.sizes.min) + 1;
        (u64::from(self.sizes.min) + mixed % span) as usize
    }
}

#[cfg(test)]
mod tests;
