//! Requests as the bytes of the wire, built before the load starts.

use std::time::Duration;

use galgo::{Identifier, Partitioning, PollingStrategy};
use galgo_wire::batch::{BatchBuilder, NewMessage};
use galgo_wire::command::{
    Command, CommandCode, Compression, CreateStream, CreateTopic, LoginUser, MaxTopicSize,
    MessageExpiry, Ping, PollMessages, PollWaiting,
};
use galgo_wire::consumer::Consumer;
use galgo_wire::frame::put_request;
use galgo_wire::id::{Offset, PartitionId, Timestamp};
use galgo_wire::limits::{MESSAGE_HEADER_BYTES, POLLED_HEADER_BYTES};

use crate::bench::plan::Batch;
use crate::connect::{DEV_PASSWORD, DEV_USERNAME};
use crate::failure::{Failure, Outcome};

/// The stream of every run.
const STREAM: &str = "bench";

/// Logs in at a server started with `--dev`.
pub(crate) fn login() -> Outcome<Vec<u8>> {
    frame(&LoginUser {
        username: name(DEV_USERNAME)?,
        password: name(DEV_PASSWORD)?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        context: String::new(),
    })
}

/// Asks whether the server is there.
pub(crate) fn ping() -> Outcome<Vec<u8>> {
    frame(&Ping)
}

/// Creates the stream of the run.
pub(crate) fn create_stream() -> Outcome<Vec<u8>> {
    frame(&CreateStream { name: name(STREAM)? })
}

/// Creates a topic in it.
pub(crate) fn create_topic(topic: &str, partitions: u32) -> Outcome<Vec<u8>> {
    frame(&CreateTopic {
        stream: identifier(STREAM)?,
        partitions_count: partitions,
        compression: Compression::None,
        message_expiry: MessageExpiry::SERVER_DEFAULT,
        max_topic_size: MaxTopicSize::SERVER_DEFAULT,
        replication_factor: 0,
        name: name(topic)?,
    })
}

/// Sends a batch to a partition.
pub(crate) fn send(topic: &str, partition: u32, batch: Batch) -> Outcome<Vec<u8>> {
    let payload = vec![b'x'; batch.message_bytes as usize];
    let message = NewMessage {
        id: 0,
        payload: &payload,
        user_headers: &[],
        origin_timestamp: Timestamp::new(1),
    };
    let mut builder = BatchBuilder::new();
    for _ in 0..batch.messages {
        builder.push(&message).map_err(|error| Failure::io(format!("a bench batch: {error}")))?;
    }
    let (stream, topic) = (identifier(STREAM)?, identifier(topic)?);
    let place = Partitioning::PartitionId(PartitionId::new(partition));
    let mut out = Vec::new();
    put_request(&mut out, CommandCode::SendMessages.as_u32(), |out| {
        builder.encode_send(stream.borrowed(), topic.borrowed(), place.borrowed(), out);
    })
    .map_err(unencodable)?;
    Ok(out)
}

/// Reads a batch of a partition, from an offset.
pub(crate) fn poll(topic: &str, partition: u32, offset: u32, batch: Batch) -> Outcome<Vec<u8>> {
    frame(&poll_of(topic, partition, offset, batch)?)
}

/// The same, waiting so long for the first message when there is none.
pub(crate) fn poll_waiting(
    topic: &str,
    partition: u32,
    offset: u32,
    batch: Batch,
    wait: Duration,
) -> Outcome<Vec<u8>> {
    let poll = poll_of(topic, partition, offset, batch)?;
    let wait = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
    frame(&PollWaiting { poll, wait, count_min: 1 })
}

fn poll_of(topic: &str, partition: u32, offset: u32, batch: Batch) -> Outcome<PollMessages> {
    Ok(PollMessages {
        consumer: Consumer::new(Identifier::Numeric(1)),
        stream: identifier(STREAM)?,
        topic: identifier(topic)?,
        partition_id: Some(PartitionId::new(partition)),
        strategy: PollingStrategy::Offset(Offset::new(u64::from(offset))),
        count: batch.messages,
        auto_commit: false,
    })
}

/// Bytes of the answer to such a poll.
pub(crate) fn polled_bytes(batch: Batch) -> u64 {
    let message_bytes = MESSAGE_HEADER_BYTES as u64 + u64::from(batch.message_bytes);
    POLLED_HEADER_BYTES as u64 + u64::from(batch.messages) * message_bytes
}

fn frame<C: Command>(command: &C) -> Outcome<Vec<u8>> {
    let mut out = Vec::new();
    put_request(&mut out, C::CODE.as_u32(), |out| command.encode(out)).map_err(unencodable)?;
    Ok(out)
}

fn identifier(text: &str) -> Outcome<Identifier> {
    text.parse().map_err(|_| Failure::usage(format!("`{text}` is not a name")))
}

fn name<N: std::str::FromStr>(text: &str) -> Outcome<N> {
    text.parse().map_err(|_| Failure::usage(format!("`{text}` is not a name")))
}

fn unencodable(code: galgo::ErrorCode) -> Failure {
    Failure::io(format!("a bench request does not fit a frame: {code}"))
}
