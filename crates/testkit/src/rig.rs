//! A broker on a simulated disk without threads: rounds of commit and sync run when a test says so.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};

use galgo_broker::broker::JournalBounds;
use galgo_broker::broker::OpenError;
use galgo_broker::environment::ManualEnvironment;
use galgo_broker::metadata::prepare::TopicDefaults;
use galgo_broker::metadata::record::Record;
use galgo_broker::metadata::{UserMetadata, UserSerial};
use galgo_broker::partition::DeduplicationBounds;
use galgo_broker::shard::{Rounds, ShardOptions};
use galgo_broker::upkeep::RetentionOptions;
use galgo_broker::vault::KeyRing;
use galgo_broker::{
    AccessOptions, Answer, Broker, BrokerOptions, FirstUser, GroupOptions, Job, LogBounds,
    OpenReport, Outcome, Peer, Reply, Session, Slice,
};
use galgo_storage::disk::sim::SimDisk;
use galgo_storage::metadata_log::{MetadataDirs, MetadataLog};
use galgo_wire::batch::NewMessage;
use galgo_wire::command::{
    Command, CommandCode, PollMessages, PolledHeader, Transport, UserStatus,
};
use galgo_wire::id::{Timestamp, UserId};
use galgo_wire::name::{Password, Username};
use galgo_wire::options::{Age, Expiry, OptionChoices, SizeLimit};
use galgo_wire::{ErrorCode, PartitioningRef, Payload};

use crate::requests::Polled;
pub use crate::requests::{PASSWORD, login, send_payload};

/// When the brokers of these tests start, in microseconds.
pub const START_US: u64 = 1_000_000_000;
/// Batches of more bytes than this skip the journal.
pub const JOURNAL_BATCH_BYTES_MAX: u32 = 1_000;
/// Behind so many bytes outside of the journal a checkpoint is due.
pub const CHECKPOINT_BYTES: u64 = 1 << 20;
/// A segment of this size is full.
pub const SEGMENT_BYTES: u64 = 4_000;
/// How long a topic keeps messages that does not say.
pub const EXPIRY_DEFAULT_US: u64 = 3_600_000_000;
/// How large a topic may grow that does not say.
pub const SIZE_DEFAULT_BYTES: u64 = 1 << 40;

/// How often retention looks.
pub const RETENTION_INTERVAL_US: u64 = 60_000_000;
pub const DATA_DIR: &str = "/data";

/// What topics get where a command leaves the choice.
pub fn defaults() -> TopicDefaults {
    let options = OptionChoices {
        message_expiry: Some(Expiry::from_us(EXPIRY_DEFAULT_US)),
        max_size: Some(SizeLimit::from_bytes(SIZE_DEFAULT_BYTES)),
        retention_hold_for: Some(Age::from_us(HOLD_FOR_US)),
        ..OptionChoices::of_servers()
    };
    TopicDefaults { options, segment_bytes: SEGMENT_BYTES }
}

/// A broker, its disk and its clock.
pub struct Rig {
    pub broker: Arc<Broker>,
    pub environment: Arc<ManualEnvironment>,
    pub disk: SimDisk,
    pub report: OpenReport,
    rounds: std::sync::Mutex<Rounds>,
}

/// How long groups hold messages.
pub const HOLD_FOR_US: u64 = 7 * 86_400_000_000;
/// How long what consumers store is kept without them.
pub const OFFSETS_EXPIRE_AFTER_US: u64 = 7 * 86_400_000_000;

/// How long a clock that was set forward has to hold.
pub const CLOCK_WAIT_US: u64 = 3_600_000_000;

impl Default for Rig {
    fn default() -> Self {
        Self::new()
    }
}

impl Rig {
    /// A new broker with the users `root`, `nobody` (no permissions) and `sleeper` (inactive), who
    /// share [`PASSWORD`].
    pub fn new() -> Self {
        Self::open(new_disk())
    }

    /// As [`Rig::new`], with these options for groups.
    pub fn with_groups(groups: GroupOptions) -> Self {
        Self::open_as(new_disk(), PASSWORD, |options| BrokerOptions { groups, ..options }).unwrap()
    }

    pub fn open(disk: SimDisk) -> Self {
        Self::open_with(disk, PASSWORD)
    }

    /// Opens with this password for a root user that has to be made.
    pub fn open_with(disk: SimDisk, root_password: &str) -> Self {
        Self::open_as(disk, root_password, |options| options).unwrap()
    }

    /// As [`Rig::new`], with other options.
    pub fn with_options(change: impl FnOnce(BrokerOptions) -> BrokerOptions) -> Self {
        Self::open_as(new_disk(), PASSWORD, change).unwrap()
    }

    /// Opens with these keys for encryption at rest.
    pub fn open_sealed(disk: SimDisk, keys: KeyRing) -> Result<Self, OpenError> {
        Self::open_as(disk, PASSWORD, |options| BrokerOptions { encryption: keys, ..options })
    }

    /// Opens what a killed process would leave, in the same run of the system: its clocks go on.
    pub fn kill_alone(self) -> Self {
        let disk = self.disk.kill_image();
        Self::open_in(self.environment, disk, PASSWORD, |options| options).unwrap()
    }

    /// Opens on a disk that may fail.
    pub fn try_open(disk: SimDisk) -> Result<Self, OpenError> {
        Self::open_as(disk, PASSWORD, |options| options)
    }

    fn open_as(
        disk: SimDisk,
        root_password: &str,
        change: impl FnOnce(BrokerOptions) -> BrokerOptions,
    ) -> Result<Self, OpenError> {
        Self::open_in(Arc::new(ManualEnvironment::new(START_US, 7)), disk, root_password, change)
    }

    fn open_in(
        environment: Arc<ManualEnvironment>,
        disk: SimDisk,
        root_password: &str,
        change: impl FnOnce(BrokerOptions) -> BrokerOptions,
    ) -> Result<Self, OpenError> {
        let root = FirstUser {
            username: Username::parse("root").unwrap(),
            password: Password::parse(root_password).unwrap(),
        };
        let (broker, report) = Broker::open(change(options(&disk, &environment, root)))?;
        Ok(Self { broker, environment, disk, report, rounds: std::sync::Mutex::default() })
    }

    /// A new connection, logged in as root.
    pub fn root(&self) -> Connection {
        let mut connection = self.connect();
        let root = connection.call(&login("root", PASSWORD)).unwrap();
        assert_eq!(root.user_id, UserId::ROOT);
        connection
    }

    /// A new connection, anonymous.
    pub fn connect(&self) -> Connection {
        static PORT: AtomicU16 = AtomicU16::new(2_000);
        let port = PORT.fetch_add(1, Ordering::Relaxed);
        self.connect_from(Peer {
            address: ([127, 0, 0, 1], port).into(),
            transport: Transport::Tcp,
        })
    }

    pub fn connect_from(&self, peer: Peer) -> Connection {
        self.connection(self.broker.connect(peer))
    }

    /// A connection that is this session.
    pub fn connection(&self, session: Session) -> Connection {
        let (broker, environment) = (Arc::clone(&self.broker), Arc::clone(&self.environment));
        Connection { broker, environment, session }
    }

    /// One round of the committer; tells whether it had anything to do.
    pub fn commit_round(&mut self) -> bool {
        self.broker.shards().first().commit_round(self.rounds.get_mut().unwrap())
    }

    /// One round of a sync worker; tells whether it had anything to do.
    pub fn sync_round(&self) -> bool {
        self.broker.shards().first().sync_round()
    }

    /// Shuts down in order and opens again.
    pub fn restart(self) -> Self {
        self.broker.shutdown().unwrap();
        self.kill()
    }

    /// Opens what a killed process would leave.
    pub fn kill(self) -> Self {
        Self::open(self.disk.kill_image())
    }

    /// Opens what a power cut would leave.
    pub fn cut_power(self, seed: u64) -> Self {
        Self::open(self.disk.power_cut_image(seed))
    }

    /// The files of partitions.
    pub fn partition_files(&self) -> Vec<PathBuf> {
        let files = self.disk.files().into_iter().map(|(path, _)| path);
        files.filter(|path| path.starts_with("/data/partitions")).collect()
    }
}

/// A connection with its session.
pub struct Connection {
    broker: Arc<Broker>,
    environment: Arc<ManualEnvironment>,
    pub session: Session,
}

impl Connection {
    /// Hands in a request; what comes of it is not waited for.
    pub fn submit<C: Command>(&mut self, command: &C) -> Outcome {
        self.submit_bytes(C::CODE, &command.to_bytes())
    }

    pub fn submit_bytes(&mut self, code: CommandCode, payload: &[u8]) -> Outcome {
        let mut payload = payload.to_vec();
        self.broker.submit(&mut self.session, code.as_u32(), &mut payload)
    }

    /// Runs a command to its end, commits included, and decodes the reply.
    pub fn call<C: Command>(&mut self, command: &C) -> Result<C::Reply, ErrorCode> {
        let outcome = self.submit(command);
        let bytes = self.finish(outcome)?;
        let reply = C::Reply::from_bytes(&bytes).expect("the wire crate reads the reply");
        assert_eq!(reply.to_bytes(), bytes, "the reply has bytes behind its end");
        assert_ne!(bytes.len(), 1, "classic clients do not read a payload of one byte");
        Ok(reply)
    }

    pub fn call_bytes(&mut self, code: CommandCode, bytes: &[u8]) -> Result<(), ErrorCode> {
        let outcome = self.submit_bytes(code, bytes);
        self.finish(outcome).map(|_| ())
    }

    pub fn poll(&mut self, command: &PollMessages) -> Result<Polled, ErrorCode> {
        self.call(command).map(|messages| Polled::read(&messages))
    }

    /// Stages a batch for a topic of stream `s`.
    pub fn submit_send(
        &mut self,
        topic: &str,
        partitioning: PartitioningRef<'_>,
        payloads: &[&str],
    ) -> Outcome {
        let payloads = payloads.iter().map(|text| text.as_bytes());
        let messages: Vec<_> =
            payloads.map(|payload| NewMessage { payload, ..NewMessage::default() }).collect();
        let payload = send_payload(topic, partitioning, &messages);
        let mut outcome = self.submit_bytes(CommandCode::SendMessages, &payload);
        // One that needs room among the open files goes on in a job, which here is run at once.
        while let Outcome::Offload(job) = outcome {
            outcome = job.run(&self.broker, &mut self.session);
        }
        outcome
    }

    /// Sends a batch to a topic of stream `s` and waits for the answer.
    pub fn send(
        &mut self,
        topic: &str,
        partitioning: PartitioningRef<'_>,
        payloads: &[&str],
    ) -> Result<(), ErrorCode> {
        let outcome = self.submit_send(topic, partitioning, payloads);
        let bytes = self.finish(outcome)?;
        assert!(bytes.is_empty(), "a send is answered without a payload");
        Ok(())
    }

    /// Runs a job of this connection once.
    pub fn run(&mut self, job: Job) -> Outcome {
        job.run(&self.broker, &mut self.session)
    }

    /// Waits for the answer, running what has to be run.
    pub fn finish(&mut self, outcome: Outcome) -> Result<Vec<u8>, ErrorCode> {
        match outcome {
            Outcome::Answer(Answer { after, reply }) => {
                if let Some(ticket) = after {
                    self.broker.drain();
                    ticket.outcome().expect("drained")?;
                }
                reply_bytes(reply)
            }
            Outcome::Delay(wait, job) => {
                self.environment.advance_us(u64::try_from(wait.as_micros()).unwrap());
                self.finish(Outcome::Offload(job))
            }
            Outcome::Wait(poll) => {
                let outcome = poll.finish(&self.broker, &mut self.session);
                self.finish(outcome)
            }
            Outcome::Offload(job) => {
                let outcome = job.run(&self.broker, &mut self.session);
                self.finish(outcome)
            }
        }
    }
}

pub fn reply_bytes(reply: Reply) -> Result<Vec<u8>, ErrorCode> {
    match reply {
        Reply::Empty => Ok(Vec::new()),
        Reply::Bytes(bytes) => Ok(bytes),
        Reply::Sent(sent) => Ok(sent.to_array().to_vec()),
        Reply::Error(code) | Reply::Close(code) => Err(code),
        Reply::Messages(messages) => {
            let mut bytes = messages.header.to_vec();
            let announced = messages.header.len() as u64 + messages.len;
            let (mut slices, mut rest) = (messages.slices, messages.rest);
            loop {
                for slice in std::mem::take(&mut slices) {
                    match slice {
                        Slice::Memory(more) => bytes.extend(more),
                        Slice::File { file, position, len } => {
                            let mut buffer = vec![0; usize::try_from(len).unwrap()];
                            assert_eq!(file.read_at(&mut buffer, position).unwrap(), buffer.len());
                            bytes.extend(buffer);
                        }
                    }
                }
                let Some(more) = rest else { break };
                let piece = more.read().unwrap();
                (slices, rest) = (piece.slices, piece.rest);
            }
            assert_eq!(announced, bytes.len() as u64);
            assert!(PolledHeader::from_bytes(&bytes).is_ok());
            Ok(bytes)
        }
    }
}

/// A disk with the users of [`Rig::new`].
fn new_disk() -> SimDisk {
    static TEMPLATE: OnceLock<SimDisk> = OnceLock::new();
    TEMPLATE.get_or_init(template).kill_image()
}

fn template() -> SimDisk {
    let disk = SimDisk::new(11);
    let rig = Rig::open(disk.clone());
    assert!(rig.report.created, "a new data directory gets a root user");
    rig.broker.shutdown().unwrap();
    drop(rig);
    // Commands that manage users are still to come, so the others are put into the log.
    let dirs = MetadataDirs { first: "/data/metadata".into(), copy: "/data/copy/metadata".into() };
    let (mut log, found) = MetadataLog::open(Arc::new(disk.clone()), &dirs).unwrap();
    let records = found.records.iter().map(|record| Record::from_bytes(record).unwrap());
    let root = records.into_iter().find_map(|record| match record {
        Record::CreateUser { user, .. } => Some(user),
        _ => None,
    });
    let root = root.expect("a new data directory has a root user");
    for (number, name, status) in
        [(1_u32, "nobody", UserStatus::Active), (2, "sleeper", UserStatus::Inactive)]
    {
        let user = UserMetadata {
            serial: UserSerial::new(u64::from(number)),
            name: Username::parse(name).unwrap(),
            password_hash: root.password_hash.clone(),
            status,
            created_at: Timestamp::new(START_US),
            permissions: None,
        };
        let record = Record::CreateUser { id: UserId::new(number), user };
        log.append(&record.to_bytes()).unwrap();
    }
    disk
}

fn options(disk: &SimDisk, environment: &Arc<ManualEnvironment>, root: FirstUser) -> BrokerOptions {
    BrokerOptions {
        disk: Arc::new(disk.clone()),
        clock: Arc::clone(environment) as _,
        random: Arc::clone(environment) as _,
        data_dir: PathBuf::from(DATA_DIR),
        root,
        bounds: LogBounds {
            segment_bytes: SEGMENT_BYTES,
            index_interval_bytes: 256,
            index_cache_bytes: 1 << 16,
            open_files_max: 16,
        },
        journal: JournalBounds { file_bytes: 32 << 10, files_max: 3 },
        shard: ShardOptions {
            journal_batch_bytes_max: JOURNAL_BATCH_BYTES_MAX,
            bundle_bytes_max: 8 << 10,
            checkpoint_bytes: CHECKPOINT_BYTES,
        },
        encryption: KeyRing::default(),
        deduplication: DeduplicationBounds { entries_max: 100, expiry_us: 60_000_000 },
        defaults: defaults(),
        access: AccessOptions::default(),
        groups: GroupOptions::default(),
        retention: RetentionOptions {
            enabled: true,
            interval_us: RETENTION_INTERVAL_US,
            clock_wait_us: CLOCK_WAIT_US,
            offsets_expire_after_us: OFFSETS_EXPIRE_AFTER_US,
        },
    }
}
