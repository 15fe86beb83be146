//! A broker on a simulated disk, driven by hand: no threads, no real time.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use galgo_storage::disk::sim::SimDisk;
use galgo_storage::retention::RetentionLimits;
use galgo_wire::batch::{BatchBuilder, MessagesView, NewMessage};
use galgo_wire::command::{
    AskedOptions, Command, CommandCode, Compression, ConfigureTopic, CreateStream, CreateTopic,
    CreateTopicWith, Deduplication, DeleteSegments, DeleteTopic, Durability, MaxTopicSize,
    MessageExpiry, Payload, PollMessages, PurgeTopic, StoreConsumerOffset, TopicOption, Transport,
};
use galgo_wire::consumer::{ConsumerIdentity, PartitioningRef, PollingStrategy};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Offset, PartitionId, UserId};
use galgo_wire::identifier::{Identifier, IdentifierRef};
use galgo_wire::name::{Password, StreamName, TopicName, Username};
use galgo_wire::options::{Age, OptionChoices};
use galgo_wire::primitive::Reader;

use super::model::Model;
use crate::access::guard::AccessOptions;
use crate::broker::{Broker, BrokerOptions, FirstUser, GroupOptions, JournalBounds, LogBounds};
use crate::clients::Peer;
use crate::environment::ManualEnvironment;
use crate::metadata::UserSerial;
use crate::metadata::prepare::TopicDefaults;
use crate::outcome::{Answer, Outcome, Reply, Slice};
use crate::partition::DeduplicationBounds;
use crate::partition::Partition;
use crate::session::{Principal, Session};
use crate::shard::{OffsetOwner, Rounds, ShardOptions};
use crate::upkeep::{RetentionOptions, rules_of};
use crate::vault::KeyRing;

/// Batches of more bytes than this skip the journal.
pub(super) const JOURNAL_BATCH_BYTES_MAX: u32 = 700;
/// The first user there ever was.
const ROOT: Principal = Principal {
    user: UserId::ROOT,
    serial: UserSerial::new(0),
    address: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
};
/// A segment of this size is full: a few batches, so that segments are sealed and removed in a short run.
const SEGMENT_BYTES: u64 = 600;
/// Partitions of every topic of the workload.
pub(super) const PARTITIONS: u32 = 3;

/// A broker and a logged-in session.
pub(super) struct Rig {
    pub(super) broker: Arc<Broker>,
    pub(super) session: Session,
    pub(super) environment: Arc<ManualEnvironment>,
    rounds: Rounds,
}

impl Rig {
    /// A disk with a data directory, a root user and a stream, cleanly shut down. Made once: hashing
    /// the root's password takes longer than a whole run.
    pub(super) fn template() -> SimDisk {
        let disk = SimDisk::new(7);
        let mut rig = Self::open(&disk, 1);
        let create = CreateStream { name: StreamName::parse("s").unwrap() };
        rig.call(&create).unwrap();
        rig.broker.shutdown().unwrap();
        disk
    }

    pub(super) fn open(disk: &SimDisk, seed: u64) -> Self {
        Self::open_result(disk, seed).unwrap_or_else(|error| panic!("open: {error}"))
    }

    pub(super) fn try_open(disk: &SimDisk, seed: u64) -> Option<Self> {
        Self::open_result(disk, seed).ok()
    }

    pub(super) fn open_result(disk: &SimDisk, seed: u64) -> Result<Self, crate::broker::OpenError> {
        let environment = Arc::new(ManualEnvironment::new(1_000_000 * (seed + 1), seed));
        let (broker, _) =
            Broker::open(BrokerOptions { encryption: keys(seed), ..options(disk, &environment) })?;
        let address = ([127, 0, 0, 1], 1).into();
        let mut session = broker.connect(Peer { address, transport: Transport::Tcp });
        session.log_in(ROOT);
        Ok(Self { broker, session, environment, rounds: Rounds::default() })
    }

    /// Another session on the same broker, for looking around.
    pub(super) fn reading(rig: &Self) -> Self {
        let address = ([127, 0, 0, 1], 2).into();
        let mut session = rig.broker.connect(Peer { address, transport: Transport::Tcp });
        session.log_in(ROOT);
        Self {
            broker: Arc::clone(&rig.broker),
            session,
            environment: Arc::clone(&rig.environment),
            rounds: Rounds::default(),
        }
    }

    /// Runs a command to its end, committing as needed.
    pub(super) fn call<C: Command>(&mut self, command: &C) -> Result<Vec<u8>, ErrorCode> {
        let mut payload = command.to_bytes();
        let outcome = self.broker.submit(&mut self.session, C::CODE.as_u32(), &mut payload);
        self.finish(outcome)
    }

    pub(super) fn finish(&mut self, outcome: Outcome) -> Result<Vec<u8>, ErrorCode> {
        match outcome {
            Outcome::Answer(Answer { after, reply }) => {
                if let Some(ticket) = after {
                    self.broker.drain();
                    ticket.outcome().unwrap_or(Err(ErrorCode::TaskTimeout))?;
                }
                reply_bytes(reply)
            }
            Outcome::Wait(poll) => {
                let outcome = poll.finish(&self.broker, &mut self.session);
                self.finish(outcome)
            }
            Outcome::Offload(job) | Outcome::Delay(_, job) => {
                let outcome = job.run(&self.broker, &mut self.session);
                self.finish(outcome)
            }
        }
    }

    /// Stages a batch; nothing is committed yet.
    pub(super) fn send(&mut self, topic: &str, partition: u32, payloads: &[Vec<u8>]) -> Outcome {
        let messages: Vec<_> =
            payloads.iter().map(|payload| NewMessage { payload, ..Default::default() }).collect();
        self.send_messages(topic, partition, &messages)
    }

    /// As [`Rig::send`], messages of `bytes` bytes with these ids.
    pub(super) fn send_ids(
        &mut self,
        topic: &str,
        partition: u32,
        ids: &[u128],
        bytes: usize,
    ) -> Outcome {
        let payload = vec![b'x'; bytes];
        let of_id = |id: &u128| NewMessage { id: *id, payload: &payload, ..Default::default() };
        let messages: Vec<_> = ids.iter().map(of_id).collect();
        self.send_messages(topic, partition, &messages)
    }

    fn send_messages(
        &mut self,
        topic: &str,
        partition: u32,
        messages: &[NewMessage<'_>],
    ) -> Outcome {
        let mut batch = BatchBuilder::new();
        for message in messages {
            batch.push(message).unwrap();
        }
        let mut bytes = Vec::new();
        let partitioning = PartitioningRef::PartitionId(PartitionId::new(partition));
        let stream = IdentifierRef::Named("s");
        batch.encode_send(stream, IdentifierRef::Named(topic), partitioning, &mut bytes);
        let code = CommandCode::SendMessages.as_u32();
        let mut outcome = self.broker.submit(&mut self.session, code, &mut bytes);
        // One that needs room among the open files goes on in a job, which here is run at once.
        while let Outcome::Offload(job) = outcome {
            outcome = job.run(&self.broker, &mut self.session);
        }
        outcome
    }

    pub(super) fn store_offset(&mut self, topic: &str, partition: u32, offset: u64) -> Outcome {
        let command = StoreConsumerOffset {
            consumer: ConsumerIdentity::new(Identifier::Numeric(1)),
            stream: Identifier::named("s").unwrap(),
            topic: Identifier::named(topic).unwrap(),
            partition_id: Some(PartitionId::new(partition)),
            offset: Offset::new(offset),
        };
        let mut bytes = command.to_bytes();
        let code = CommandCode::StoreConsumerOffset.as_u32();
        self.broker.submit(&mut self.session, code, &mut bytes)
    }

    pub(super) fn create_topic(
        &mut self,
        name: &str,
        durability: Durability,
    ) -> Result<(), ErrorCode> {
        let kept = (u64::MAX, u64::MAX);
        self.create_configured(name, durability, None, kept)
    }

    pub(super) fn create_topic_with(
        &mut self,
        name: &str,
        durability: Durability,
        deduplication: Deduplication,
    ) -> Result<(), ErrorCode> {
        self.create_configured(name, durability, Some(deduplication), (u64::MAX, u64::MAX))
    }

    /// Creates a topic with an expiry and a largest size.
    pub(super) fn create_limited(
        &mut self,
        name: &str,
        durability: Durability,
        limits: (u64, u64),
    ) -> Result<(), ErrorCode> {
        self.create_configured(name, durability, None, limits)
    }

    fn create_configured(
        &mut self,
        name: &str,
        durability: Durability,
        deduplication: Option<Deduplication>,
        limits: (u64, u64),
    ) -> Result<(), ErrorCode> {
        let topic = CreateTopic {
            stream: Identifier::named("s").unwrap(),
            partitions_count: PARTITIONS,
            compression: Compression::None,
            message_expiry: MessageExpiry::new(limits.0),
            max_topic_size: MaxTopicSize::new(limits.1),
            replication_factor: 1,
            name: TopicName::parse(name).unwrap(),
        };
        let durability = Some(durability);
        let asked = AskedOptions { durability, deduplication, options: Vec::new() };
        self.call(&CreateTopicWith { topic, asked }).map(|_| ())
    }

    /// Sets an option of a topic by name.
    pub(super) fn configure(
        &mut self,
        name: &str,
        option: &str,
        value: &str,
    ) -> Result<(), ErrorCode> {
        let (stream, topic) = (Identifier::named("s").unwrap(), Identifier::named(name).unwrap());
        let options = vec![TopicOption { name: option.to_owned(), value: value.to_owned() }];
        self.call(&ConfigureTopic { stream, topic, options }).map(|_| ())
    }

    pub(super) fn delete_topic(&mut self, name: &str) -> Result<(), ErrorCode> {
        let (stream, topic) = (Identifier::named("s").unwrap(), Identifier::named(name).unwrap());
        self.call(&DeleteTopic { stream, topic }).map(|_| ())
    }

    pub(super) fn purge_topic(&mut self, name: &str) -> Result<(), ErrorCode> {
        let (stream, topic) = (Identifier::named("s").unwrap(), Identifier::named(name).unwrap());
        self.call(&PurgeTopic { stream, topic }).map(|_| ())
    }

    /// Stages the removal of the oldest segments; nothing is committed yet.
    pub(super) fn delete_segments(&mut self, topic: &str, partition: u32, count: u32) -> Outcome {
        let command = DeleteSegments {
            stream: Identifier::named("s").unwrap(),
            topic: Identifier::named(topic).unwrap(),
            partition_id: PartitionId::new(partition),
            segments_count: count,
        };
        let mut bytes = command.to_bytes();
        self.broker.submit(&mut self.session, CommandCode::DeleteSegments.as_u32(), &mut bytes)
    }

    /// The open partitions of a topic; none when it is missing.
    pub(super) fn partitions(&self, topic: &str) -> Vec<Arc<Partition>> {
        let catalog = self.broker.catalog();
        let found = catalog.find_topic(IdentifierRef::Named("s"), IdentifierRef::Named(topic));
        found.map(|found| found.open.partitions.clone()).unwrap_or_default()
    }

    /// What a topic keeps.
    pub(super) fn rules(&self, topic: &str) -> RetentionLimits {
        let catalog = self.broker.catalog();
        let found = catalog.find_topic(IdentifierRef::Named("s"), IdentifierRef::Named(topic));
        found.map(|found| rules_of(&found.topic.settings)).unwrap_or_default()
    }

    /// Where a partition starts for readers.
    pub(super) fn start(&self, topic: &str, partition: u32) -> u64 {
        self.partitions(topic)[partition as usize].start().get()
    }

    /// One round of the committer.
    pub(super) fn commit_round(&mut self) {
        self.broker.shards().first().commit_round(&mut self.rounds);
    }

    pub(super) fn has_topic(&self, topic: &str) -> bool {
        let catalog = self.broker.catalog();
        catalog.find_topic(IdentifierRef::Named("s"), IdentifierRef::Named(topic)).is_ok()
    }

    pub(super) fn stored_offset(&self, topic: &str, partition: u32) -> Option<u64> {
        let catalog = self.broker.catalog();
        let found =
            catalog.find_topic(IdentifierRef::Named("s"), IdentifierRef::Named(topic)).ok()?;
        let partition = found.open.partition(PartitionId::new(partition)).ok()?;
        let owner = OffsetOwner {
            kind: galgo_wire::consumer::ConsumerKind::Consumer,
            id: galgo_wire::id::ConsumerId::new(1),
        };
        partition.positions().get(owner).map(Offset::get)
    }

    /// All messages of a partition from `from`, checksums and offsets checked; an error ends it.
    pub(super) fn read_from(
        &mut self,
        topic: &str,
        partition: u32,
        from: u64,
    ) -> Result<Vec<(u64, Vec<u8>)>, ErrorCode> {
        let messages = self.read_messages(topic, partition, from)?;
        Ok(messages.into_iter().map(|(offset, _, payload)| (offset, payload)).collect())
    }

    /// The ids of all messages of a partition, in order.
    pub(super) fn read_ids(&mut self, topic: &str, partition: u32) -> Vec<u128> {
        let messages = self.read_messages(topic, partition, 0).unwrap();
        messages.into_iter().map(|(_, id, _)| id).collect()
    }

    fn read_messages(
        &mut self,
        topic: &str,
        partition: u32,
        from: u64,
    ) -> Result<Vec<(u64, u128, Vec<u8>)>, ErrorCode> {
        let mut found: Vec<(u64, u128, Vec<u8>)> = Vec::new();
        loop {
            let next = found.last().map_or(from, |(offset, ..)| offset + 1);
            let more = self.poll_from((topic, partition), next, 7)?;
            if more.is_empty() {
                return Ok(found);
            }
            found.extend(more);
        }
    }

    /// The message at this offset, or the first behind it; an error when it cannot be read.
    pub(super) fn read_one(
        &mut self,
        topic: &str,
        partition: u32,
        offset: u64,
    ) -> Result<Option<(u64, Vec<u8>)>, ErrorCode> {
        let found = self.poll_from((topic, partition), offset, 1)?;
        Ok(found.into_iter().next().map(|(offset, _, payload)| (offset, payload)))
    }

    fn poll_from(
        &mut self,
        (topic, partition): (&str, u32),
        from: u64,
        count: u32,
    ) -> Result<Vec<(u64, u128, Vec<u8>)>, ErrorCode> {
        let bytes = self.call(&PollMessages {
            consumer: ConsumerIdentity::new(Identifier::Numeric(1)),
            stream: Identifier::named("s").unwrap(),
            topic: Identifier::named(topic).unwrap(),
            partition_id: Some(PartitionId::new(partition)),
            strategy: PollingStrategy::Offset(Offset::new(from)),
            count,
            auto_commit: false,
        })?;
        let mut reader = Reader::new(&bytes);
        reader.bytes(16).unwrap();
        let messages = MessagesView::new(reader.rest()).map(|message| {
            let message = message.expect("a reply holds whole messages");
            assert!(message.verify(), "P-TRUTH: a message with a wrong checksum was served");
            let header = message.header;
            (header.offset.get(), header.id, message.payload.to_vec())
        });
        Ok(messages.collect())
    }

    /// After recovery the partitions take messages at the next offset, and keep them.
    pub(super) fn goes_on(mut self, model: &Model, story: &str) {
        for topic in model.topics() {
            if !self.has_topic(topic) {
                continue;
            }
            let start = self.start(topic, 0);
            let next = start + self.read_from(topic, 0, 0).unwrap().len() as u64;
            let outcome = self.send(topic, 0, &[b"after".to_vec()]);
            self.finish(outcome).unwrap_or_else(|code| panic!("{story}: send after: {code}"));
            let after = self.read_from(topic, 0, next).unwrap();
            assert_eq!(after, [(next, b"after".to_vec())], "{story}: P-ORDER");
        }
    }
}

fn reply_bytes(reply: Reply) -> Result<Vec<u8>, ErrorCode> {
    match reply {
        Reply::Empty => Ok(Vec::new()),
        Reply::Bytes(bytes) => Ok(bytes),
        Reply::Sent(sent) => Ok(sent.to_array().to_vec()),
        Reply::Error(code) | Reply::Close(code) => Err(code),
        Reply::Messages(messages) => {
            let mut bytes = messages.header.to_vec();
            let (mut slices, mut rest) = (messages.slices, messages.rest);
            loop {
                for slice in std::mem::take(&mut slices) {
                    match slice {
                        Slice::Memory(more) => bytes.extend(more),
                        Slice::File { file, position, len } => {
                            let mut buffer = vec![0; len as usize];
                            assert_eq!(file.read_at(&mut buffer, position).unwrap(), buffer.len());
                            bytes.extend(buffer);
                        }
                    }
                }
                let Some(more) = rest else { break };
                let piece = more.read().unwrap();
                (slices, rest) = (piece.slices, piece.rest);
            }
            Ok(bytes)
        }
    }
}

fn options(disk: &SimDisk, environment: &Arc<ManualEnvironment>) -> BrokerOptions {
    BrokerOptions {
        disk: Arc::new(disk.clone()),
        clock: Arc::clone(environment) as _,
        random: Arc::clone(environment) as _,
        data_dir: PathBuf::from("/data"),
        root: FirstUser {
            username: Username::parse("root").unwrap(),
            password: Password::parse("secret").unwrap(),
        },
        bounds: LogBounds {
            segment_bytes: SEGMENT_BYTES,
            index_interval_bytes: 256,
            index_cache_bytes: 1 << 16,
            open_files_max: 8,
        },
        journal: JournalBounds { file_bytes: 8 << 10, files_max: 3 },
        shard: ShardOptions {
            journal_batch_bytes_max: JOURNAL_BATCH_BYTES_MAX,
            bundle_bytes_max: 4 << 10,
            checkpoint_bytes: 1 << 20,
        },
        encryption: KeyRing::default(),
        deduplication: DeduplicationBounds { entries_max: 100, expiry_us: 60_000_000 },
        defaults: TopicDefaults {
            options: OptionChoices {
                retention_hold_for: Some(Age::NEVER),
                ..OptionChoices::of_servers()
            },
            segment_bytes: SEGMENT_BYTES,
        },
        access: AccessOptions::default(),
        groups: GroupOptions::default(),
        retention: RetentionOptions {
            enabled: true,
            interval_us: 1,
            clock_wait_us: 0,
            offsets_expire_after_us: u64::MAX,
        },
    }
}

thread_local! {
    static ENCRYPTED: Cell<bool> = const { Cell::new(false) };
}

/// From here on, brokers of this thread have a key, and every other seed uses it: what is sealed and
/// what is not comes to lie side by side.
pub(super) fn encrypt_every_other() {
    ENCRYPTED.set(true);
}

fn keys(seed: u64) -> KeyRing {
    if !ENCRYPTED.get() {
        return KeyRing::default();
    }
    let active = seed.is_multiple_of(2).then_some(1);
    KeyRing::parse("1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", active).unwrap()
}
