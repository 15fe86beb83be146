//! Opens a broker: the data directory, the metadata, the shard, the partitions.

mod report;
mod shard;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use galgo_storage::data_dir::anchors::Anchors;
use galgo_storage::data_dir::{DataDir, Identity};
use galgo_storage::disk::Disk;
use galgo_storage::file_cache::FileCache;
use galgo_storage::journal::{JournalOptions, Lsn};
use galgo_storage::lock::{Ranked, RankedRw};
use galgo_storage::log::LogRecoverError as LogError;
use galgo_storage::log::{IndexCache, LogName, PartitionName, RecoveryReport};
use galgo_storage::metadata_log::{Doubt, MetadataLog};
use galgo_wire::command::{Durability, UserStatus};
use galgo_wire::consumer::ConsumerKind;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{PartitionId, PartitionUid, ShardId, StreamId, Timestamp, TopicId, UserId};
use galgo_wire::name::{Password, StreamName, TopicName, Username};
use galgo_wire::permission::Permissions;

use super::evidence::Incomplete;
use super::groups::{GroupOptions, GroupTimes};
use super::ledger::Ledger;
use super::stored::{ReadOptions, StoredMetadata, anchor, append, settle};
use super::{Broker, ListenAddresses, Shards, StartTimes};
use crate::access::guard::{AccessOptions, LoginGuard};
use crate::access::password::hash_password;
use crate::catalog::Catalog;
use crate::catalog::groups::offset_owner;
use crate::clients::Clients;
use crate::environment::{Clock, Random};
use crate::group::Moment;
use crate::metadata::prepare::TopicDefaults;
use crate::metadata::record::Record;
use crate::metadata::users::NewUser;
use crate::metadata::{Consequence, State, TopicPlace};
use crate::partition::{DeduplicationBounds, IdKey, Partition};
use crate::shard::{
    OffsetOwner, RecoveredPartition, RecoveredShard, Removals, ShardMember, ShardOptions,
};
use crate::stats::Counters;
use crate::stats::process::{ProcessReader, SystemNames};
use crate::trail::Trail;
use crate::upkeep::{Retention, RetentionOptions};
use crate::vault::{KeyRing, Vault};

/// Sizes of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// A segment of this size or more is sealed before the next append.
    pub segment_bytes: u64,
    /// Log bytes for each index entry.
    pub index_interval_bytes: u32,
    /// Memory for the indexes of segments that are read.
    pub index_cache_bytes: usize,
    /// Segment files that may be open at once.
    pub open_files_max: usize,
}

/// Sizes of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalBounds {
    /// Bytes of each file.
    pub file_bytes: u64,
    /// Files there may be; at least 2.
    pub files_max: u32,
}

impl JournalBounds {
    /// Those of the journal in `data_dir`, of which everything up to `checkpoint` is in a checkpoint.
    pub(super) fn options(&self, data_dir: &DataDir, checkpoint: Lsn) -> JournalOptions {
        let Self { file_bytes, files_max } = *self;
        // Frames of another server's journal do not fit.
        let salt = data_dir.identity().node_id as u64;
        JournalOptions { checkpoint, file_bytes, files_max, salt }
    }
}

/// The first user, made when there is none.
#[derive(Clone, Debug)]
pub struct FirstUser {
    /// Its name.
    pub username: Username,
    /// Its password; hashed before it is stored.
    pub password: Password,
}

/// What a broker is opened from.
pub struct BrokerOptions {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives random numbers.
    pub random: Arc<dyn Random>,
    /// The data directory; made when missing.
    pub data_dir: PathBuf,
    /// The first user of a new data directory; not looked at later.
    pub root: FirstUser,
    /// Sizes of logs.
    pub bounds: LogBounds,
    /// Sizes of the journal.
    pub journal: JournalBounds,
    /// Bounds and thresholds of group commit.
    pub shard: ShardOptions,
    /// What topics get where their creator leaves the choice.
    pub defaults: TopicDefaults,
    /// What logins and tokens are held to.
    pub access: AccessOptions,
    /// How much of the past topics with deduplication know.
    pub deduplication: DeduplicationBounds,
    /// How long groups wait for their members.
    pub groups: GroupOptions,
    /// Whether and how often retention looks for what is due.
    pub retention: RetentionOptions,
    /// The keys for encryption at rest; the default has none.
    pub encryption: KeyRing,
}

/// What a broker is put together from, all of it open.
struct Opened {
    data_dir: DataDir,
    shards: Shards,
    removals: Arc<Removals>,
    vault: Option<Arc<Vault>>,
    catalog: Catalog,
    log: MetadataLog,
    files: Arc<FileCache>,
    indexes: Arc<IndexCache>,
    counters: Arc<Counters>,
    id_key: IdKey,
    anchors: Anchors,
}

/// Where a partition belongs.
struct Belongs<'a> {
    stream: &'a StreamName,
    topic: &'a TopicName,
    partition: PartitionId,
    durability: Durability,
}

use shard::{check_shards, shard_recovery};

pub use report::{OfflineLog, OpenError, OpenReport, RecoveredLog};

/// See [`Broker::claim`].
pub(super) fn claim(options: &BrokerOptions) -> Result<DataDir, OpenError> {
    // Only a directory that is new gets it; one that has an identity keeps its own.
    let fresh =
        Identity { cluster_id: options.random.next_u128(), node_id: options.random.next_u128() };
    Ok(DataDir::open(&*options.disk, &options.data_dir, fresh)?)
}

/// See [`Broker::open_claimed`].
pub(super) fn open_claimed(
    data_dir: DataDir,
    mut options: BrokerOptions,
) -> Result<(Arc<Broker>, OpenReport), OpenError> {
    let disk = Arc::clone(&options.disk);
    let keys = std::mem::take(&mut options.encryption);
    let random = &*options.random;
    let reading = ReadOptions { keys, random, doubt: Doubt::Refuse };
    let StoredMetadata { vault, log, mut state, dirs, unreadable } =
        StoredMetadata::read_for_server(&disk, &data_dir, reading)?;
    // INV-REPEAT: up to here everything was only read, or made where nothing was. What refuses a start is looked for
    // before anything is changed, so that another version or another key finds what this one found.
    check_shards(&state)?;
    let files = FileCache::new(Arc::clone(&options.disk), options.bounds.open_files_max);
    let indexes = Arc::new(IndexCache::new(options.bounds.index_cache_bytes));
    let counters = Arc::new(Counters::default());
    let mut recovery = shard_recovery(
        &options,
        &data_dir,
        &files,
        &indexes,
        Arc::clone(&counters),
        vault.clone(),
    )?;
    let removals = Arc::clone(&recovery.removals);
    recovery.unreadable = unreadable;
    recovery.synced = synced_uids(&state);
    recovery.names = names(&state);
    let mut report = OpenReport::default();
    let mut settled = None;
    let partitions_dir = data_dir.partitions_dir();
    let recovered = recovery.open(&state.live_uids(), |spoken| {
        // The journal is open and not replayed: what it speaks of shows whether the metadata has lost something
        // (INV-EVIDENCE), and once the logs are brought in line with it there is no way back.
        Incomplete::refuse(&state, &dirs, &partitions_dir, spoken)?;
        // Behind every reason to refuse, and before the first change of a log: a cut in the metadata must be durable
        // before partitions go by what is left.
        settled = Some(settle(&*disk, log, vault.as_deref(), &state)?);
        Ok::<_, OpenError>(())
    })?;
    let Some((mut log, found)) = settled else {
        unreachable!("INV-EVIDENCE: a shard opens only behind the look at what it speaks of")
    };
    (report.metadata_cut_bytes, report.metadata_repaired) = (found.cut_bytes, found.repaired);
    // Before the first send: an id that was derived has to come out the same after a restart.
    let id_key = id_key(&mut log, vault.as_deref(), &mut state, &*options.random)?;
    let anchors = anchor(&*disk, &data_dir)?;
    let RecoveredShard { shard, partitions, unknown } = recovered;
    report.unknown = unknown;
    report.unknown.retain(|name| !is_being_removed(name, &state));
    let shards = Shards::new([(ShardId::FIRST, shard)]);
    let catalog = open_catalog(state, &shards, partitions, &mut report);
    let root = options.root.clone();
    let opened = Opened {
        data_dir,
        shards,
        removals,
        vault,
        catalog,
        log,
        files,
        indexes,
        counters,
        id_key,
        anchors,
    };
    let broker = assemble(opened, options);
    report.created = create_root(&broker, &root)?;
    Ok((Arc::new(broker), report))
}

/// Puts together what was opened.
fn assemble(opened: Opened, options: BrokerOptions) -> Broker {
    let Opened { mut catalog, data_dir, shards, .. } = opened;
    let trail = Arc::new(Trail::new(Arc::clone(&options.clock)));
    catalog.trail = Some(Arc::clone(&trail));
    let started_us = StartTimes {
        wall_us: options.clock.now().get(),
        monotonic_us: options.clock.monotonic_us(),
    };
    // Users may have gone while their positions were only in the journal; an id that is given again must not get
    // what was stored under it.
    catalog.disown_offsets();
    let retention = Retention::new(
        options.retention,
        &*options.clock,
        &*options.disk,
        &data_dir,
        newest(&catalog),
    );
    // Before anything can be stored: positions carry the time that does not leap.
    shards.set_now(retention.steady(&*options.clock));
    let clients = Arc::new(Clients::new(Arc::clone(&options.clock), options.groups));
    let ledger = Ledger {
        catalog: RankedRw::new(catalog),
        log: Ranked::new(opened.log),
        vault: opened.vault,
        clients: Arc::clone(&clients),
        shards,
        removals: opened.removals,
        removing: Ranked::new(()),
        disk: options.disk,
        data_dir,
        anchors: opened.anchors,
        files: opened.files,
        indexes: opened.indexes,
        bounds: options.bounds,
    };
    Broker {
        ledger,
        clock: options.clock,
        random: options.random,
        clients,
        groups: GroupTimes::new(options.groups),
        defaults: options.defaults,
        access: options.access,
        guard: LoginGuard::new(options.access.throttle),
        trail,
        cleaned_us: AtomicU64::new(started_us.monotonic_us),
        deduplication: options.deduplication,
        endpoints: RankedRw::new(ListenAddresses::default()),
        process: ProcessReader::default(),
        names: SystemNames::read(),
        snapshot_sources: RankedRw::new(None),
        retention,
        id_key: opened.id_key,
        started_us,
        counters: opened.counters,
    }
}

/// Makes the root user of a new data directory; tells whether it did.
fn create_root(broker: &Broker, root: &FirstUser) -> Result<bool, OpenError> {
    if broker.catalog().state.users.contains_key(&UserId::ROOT) {
        return Ok(false);
    }
    let hash = hash_password(root.password.as_str(), broker.random.next_u128())
        .map_err(|_| OpenError::Root(ErrorCode::InvalidPassword))?;
    let user = NewUser {
        name: root.username.clone(),
        password_hash: hash,
        status: UserStatus::Active,
        permissions: Some(Permissions::root()),
        now: broker.clock.now(),
    };
    let made = broker.ledger.change(|state| state.prepare_create_user(user));
    let id = made.map_err(OpenError::Root)?;
    // Commands know root by its id alone: it keeps its rights and cannot be deleted.
    assert!(id == UserId::ROOT, "the lowest id is free while there is no root user");
    Ok(true)
}

/// The key of ids; made where there is none, and durable before an id is derived with it.
fn id_key(
    log: &mut MetadataLog,
    vault: Option<&Vault>,
    state: &mut State,
    random: &dyn Random,
) -> Result<IdKey, OpenError> {
    if let Some(key) = state.id_key {
        return Ok(key);
    }
    let key = IdKey::new(random.next_u128());
    // Durable before it is used: an id of a message that was acknowledged must not be derived anew under another
    // key, or a message that is sent again would be stored twice.
    append(log, vault, state, &Record::SetIdKey { key })?;
    Ok(key)
}

/// When data was last written, or read by a consumer that stores its place, as far as known.
fn newest(catalog: &Catalog) -> Option<Timestamp> {
    let newest = catalog.partitions().map(|partition| partition.newest_time()).max();
    let active =
        catalog.partitions().filter_map(|partition| partition.positions().last_activity()).max();
    newest.max(active).filter(|newest| *newest > Timestamp::ZERO)
}

fn open_catalog(
    state: State,
    shards: &Shards,
    mut recovered: BTreeMap<PartitionUid, RecoveredPartition>,
    report: &mut OpenReport,
) -> Catalog {
    let effects: Vec<_> =
        topics(&state).map(|(s, t)| Consequence::TopicChanged(TopicPlace::new(s, t))).collect();
    let durability: BTreeMap<PartitionUid, _> =
        places(&state).map(|(uid, place)| (uid, place.durability)).collect();
    // First, as the logs are moved into the partitions below.
    let not_synced = report.take_from(&state, &mut recovered);
    let groups: BTreeSet<OffsetOwner> = state
        .streams
        .values()
        .flat_map(|stream| stream.topics.values())
        .flat_map(|topic| topic.groups.values().map(|group| offset_owner(group.serial)))
        .collect();
    let mut catalog = Catalog::default();
    catalog.state = state;
    // Nobody is in a group yet, so that no time matters.
    let at = Moment { now_us: 0, due_us: 0 };
    let closed = catalog.perform(&effects, at, &mut |known| {
        let (uid, shard) = (known.uid, shards.of(known.shard));
        let durability = durability.get(&uid).copied().unwrap_or(Durability::Fsync);
        report.partitions += 1;
        let Some(found) = recovered.remove(&uid) else {
            unreachable!("INV-CATALOG: every live partition was recovered")
        };
        let RecoveredPartition { log, mut offsets, .. } = found;
        // A group that was deleted may have positions left: they were in the journal when it went. Its number is never
        // given again, so nobody would ever ask for them.
        let known =
            |owner: OffsetOwner| owner.kind != ConsumerKind::Group || groups.contains(&owner);
        let forgot = offsets.retain(known);
        let partition = Partition::new(uid, Arc::clone(shard), log, offsets, durability);
        let partition = Arc::new(partition);
        // INV-FENCE: what a failed sync may have lost is not told by looking, so it stays closed: only
        // another start tells.
        if not_synced.contains(&uid) {
            ShardMember::stays_offline(&*partition);
        }
        if partition.is_offline() {
            // INV-CARRY: every checkpoint has to keep what the journal holds of it.
            Partition::touch(&partition);
        }
        if forgot {
            // The next checkpoint is to forget the offsets of deleted groups, too.
            Partition::touch(&partition);
        }
        partition
    });
    assert!(
        closed.partitions.is_empty() && closed.groups.is_empty(),
        "INV-CATALOG: what was not open is not closed"
    );
    catalog
}

impl OpenReport {
    /// Takes out what was found of each log; tells those whose sync failed.
    fn take_from(
        &mut self,
        state: &State,
        recovered: &mut BTreeMap<PartitionUid, RecoveredPartition>,
    ) -> BTreeSet<PartitionUid> {
        let mut not_synced = BTreeSet::new();
        for (uid, place) in places(state) {
            let why = recovered.get_mut(&uid).and_then(|found| found.offline.take());
            if matches!(why, Some(LogError::Sync { .. })) {
                not_synced.insert(uid);
            }
            self.offline.extend(why.map(|error| OfflineLog {
                stream: place.stream.clone(),
                topic: place.topic.clone(),
                partition: place.partition,
                uid,
                error,
            }));
            let done = recovered.get_mut(&uid).and_then(|found| found.report.take());
            self.recovered.extend(done.filter(|done| *done != RecoveryReport::default()).map(
                |report| RecoveredLog {
                    stream: place.stream.clone(),
                    topic: place.topic.clone(),
                    partition: place.partition,
                    uid,
                    report,
                },
            ));
        }
        not_synced
    }
}

/// All partitions, with what they belong to.
fn places(state: &State) -> impl Iterator<Item = (PartitionUid, Belongs<'_>)> {
    let topics = state
        .streams
        .values()
        .flat_map(|stream| stream.topics.values().map(move |topic| (&stream.name, topic)));
    topics.flat_map(|(stream, topic)| {
        (0..).zip(&topic.partitions).map(move |(number, partition)| {
            let settings = &topic.settings;
            let place = Belongs {
                stream,
                topic: &settings.name,
                partition: PartitionId::new(number),
                durability: settings.durability,
            };
            (partition.uid, place)
        })
    })
}

/// Partitions whose acknowledgements survive a power cut.
fn synced_uids(state: &State) -> BTreeSet<PartitionUid> {
    let synced = places(state).filter(|(_, place)| place.durability == Durability::Fsync);
    synced.map(|(uid, _)| uid).collect()
}

/// What partitions are called in the log.
fn names(state: &State) -> BTreeMap<PartitionUid, Arc<LogName>> {
    let named = places(state).map(|(uid, place)| {
        let (stream, topic) = (place.stream.to_string(), place.topic.to_string());
        let partition = place.partition.get();
        (uid, Arc::new(LogName::new(PartitionName { stream, topic, partition })))
    });
    named.collect()
}

/// Whether the removal of this directory is on record; the next tick goes on with it.
fn is_being_removed(name: &str, state: &State) -> bool {
    u64::from_str_radix(name, 16).is_ok_and(|uid| state.removals.contains(&PartitionUid::new(uid)))
}

fn topics(state: &State) -> impl Iterator<Item = (StreamId, TopicId)> + '_ {
    state.streams.iter().flat_map(|(s, stream)| stream.topics.keys().map(|t| (*s, *t)))
}

pub(super) fn prepare(
    what: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> OpenError {
    OpenError::Prepare { what, source: Box::new(source) }
}
