//! Opens the broker as the configuration says, and tells what it found.

use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use galgo_broker::environment::{SystemClock, SystemRandom};
use galgo_broker::metadata::prepare::TopicDefaults;
use galgo_broker::partition::DeduplicationBounds;
use galgo_broker::shard::ShardOptions;
use galgo_broker::upkeep::RetentionOptions;
use galgo_broker::vault::VaultError;
use galgo_broker::{
    AccessOptions, Broker, BrokerOptions, Causes, GroupOptions, LogBounds, OpenError, OpenReport,
    RecoveredLog, ThrottleOptions,
};
use galgo_storage::data_dir::{DataDir, DataDirError};
use galgo_storage::disk::RealDisk;
use galgo_storage::metadata_log::MetadataLogError;
use galgo_wire::index::{to_u32, to_usize};
use galgo_wire::measure;

use super::show_generated;
use crate::config::{self, Config, RootAccount, RootUserSource};
use crate::process_limits::memory::FIXED_BYTES;
use crate::{ServeError, runtime_file};

/// Memory for the indexes of segments that are read.
const INDEX_CACHE_BYTES: usize = 16 << 20;
const _: () = assert!(
    INDEX_CACHE_BYTES as u64 + galgo_broker::HASHES_AT_ONCE_MAX as u64 * (32 << 20) < FIXED_BYTES,
    "the cache of indexes and the hashes are counted in what a server needs besides"
);

/// Most bytes of one journal bundle; the shard lowers it to what a journal file takes.
const BUNDLE_BYTES_MAX: usize = 8 << 20;

/// Bytes written outside of the journal after which a checkpoint is due: what a start after a crash has
/// to read again, about a second of it.
const CHECKPOINT_BYTES: u64 = 1 << 30;
const _: () = assert!(
    BUNDLE_BYTES_MAX as u64 * 8 < CHECKPOINT_BYTES,
    "a checkpoint is worth its syncs only behind many bundles"
);

/// A broker that is about to be opened.
pub(super) struct BrokerOpening<'a> {
    root: &'a RootAccount,
    options: BrokerOptions,
    claimed: Option<DataDir>,
}

impl<'a> BrokerOpening<'a> {
    /// Gets everything ready; a data directory that was used before is locked, a new one not made yet.
    pub(super) fn begin(
        config: &Config,
        root: &'a RootAccount,
        file_limit: u64,
    ) -> Result<Self, ServeError> {
        let options = BrokerOptions {
            encryption: super::keys::keys(config)?,
            ..broker_options(config, root, file_limit)
        };
        let mut opening = Self { root, options, claimed: None };
        let options = &opening.options;
        let is_new = DataDir::is_new(&*options.disk, &options.data_dir)
            .map_err(|error| opening.refusal(error.into()))?;
        if !is_new {
            opening.claim()?;
        }
        Ok(opening)
    }

    fn claim(&mut self) -> Result<(), ServeError> {
        let claimed = Broker::claim(&self.options).map_err(|error| self.refusal(error))?;
        runtime_file::remove(claimed.path())?;
        self.claimed = Some(claimed);
        Ok(())
    }

    fn refusal(&self, error: OpenError) -> ServeError {
        refusal(&self.options.data_dir, error)
    }

    /// Opens the broker, made anew if it has to be, prints a generated password if it was used, and logs
    /// what recovery did.
    pub(super) fn finish(mut self) -> Result<Arc<Broker>, ServeError> {
        if self.claimed.is_none() {
            self.claim()?;
        }
        let Self { root, options, claimed } = self;
        let Some(claimed) = claimed else { unreachable!("it was claimed just now") };
        let data_dir = options.data_dir.clone();
        let (broker, report) =
            Broker::open_claimed(claimed, options).map_err(|error| refusal(&data_dir, error))?;
        if report.created {
            show_generated(root);
        } else {
            note_unused(root);
            note_open_to_others(&data_dir);
        }
        log_report(&report);
        Ok(broker)
    }
}

/// Says that others than the owner can read what is there, as it was made by an earlier version.
fn note_open_to_others(data_dir: &Path) {
    let mode = |path: &Path| fs::metadata(path).map(|metadata| metadata.mode() & 0o077);
    let is_open = |path: &Path| mode(path).is_ok_and(|others| others != 0);
    // A directory that is closed closes everything in it.
    if is_open(data_dir) && is_open(&data_dir.join("identity")) {
        let data_dir = data_dir.display();
        tracing::warn!(
            %data_dir,
            "the data directory is open to others than its owner: run chmod -R go= on it"
        );
    }
}

/// Says that a given root user counted for nothing, so that nobody wonders why it cannot log in.
fn note_unused(root: &RootAccount) {
    let given_by = match root.source {
        RootUserSource::Environment => "GALGO_ROOT_USERNAME and GALGO_ROOT_PASSWORD",
        RootUserSource::Dev => "--dev",
        RootUserSource::Generated => return,
    };
    tracing::info!(
        given_by,
        "the data directory has a root user already: the given name and password are not used"
    );
}

fn broker_options(config: &Config, root: &RootAccount, file_limit: u64) -> BrokerOptions {
    let storage = &config.storage;
    let open_files = config::open_files_for(config, file_limit);
    BrokerOptions {
        disk: Arc::new(RealDisk::new()),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        data_dir: config.general.data_dir.clone(),
        root: galgo_broker::FirstUser {
            username: root.username.clone(),
            password: root.password.clone(),
        },
        bounds: LogBounds {
            segment_bytes: storage.segment_bytes.0,
            index_interval_bytes: to_u32(storage.index_interval.0),
            index_cache_bytes: INDEX_CACHE_BYTES,
            open_files_max: to_usize(open_files),
        },
        journal: galgo_broker::broker::JournalBounds {
            file_bytes: storage.journal_file_bytes.0,
            files_max: storage.journal_files,
        },
        shard: ShardOptions {
            journal_batch_bytes_max: to_u32(storage.journal_batch_bytes.0),
            bundle_bytes_max: BUNDLE_BYTES_MAX,
            checkpoint_bytes: CHECKPOINT_BYTES,
        },
        encryption: galgo_broker::vault::KeyRing::default(),
        deduplication: DeduplicationBounds {
            entries_max: config.deduplication.max_entries as usize,
            expiry_us: micros(config.deduplication.expiry.0),
        },
        defaults: TopicDefaults {
            options: config.topic.clone(),
            segment_bytes: storage.segment_bytes.0,
        },
        access: access_options(config),
        groups: group_options(config),
        retention: RetentionOptions {
            enabled: config.retention.enabled,
            interval_us: micros(config.retention.interval.0),
            clock_wait_us: micros(config.retention.clock_wait.0),
            offsets_expire_after_us: config
                .retention
                .offsets_expire_after
                .0
                .map_or(u64::MAX, micros),
        },
    }
}

/// Microseconds, of which a part counts as one: 0 has a meaning of its own.
fn micros(span: Duration) -> u64 {
    measure::micros(span.saturating_add(Duration::from_nanos(999)))
}

fn group_options(config: &Config) -> GroupOptions {
    let (heartbeat, group) = (&config.heartbeat, &config.consumer_group);
    GroupOptions {
        rebalancing_timeout_us: micros(group.rebalancing_timeout.0),
        rebalancing_check_interval_us: micros(group.rebalancing_check_interval.0),
        heartbeat_interval_us: heartbeat.enabled.then(|| micros(heartbeat.interval.0)),
    }
}

fn access_options(config: &Config) -> AccessOptions {
    let (login, token) = (&config.login, &config.token);
    AccessOptions {
        tokens_per_user_max: token.per_user_max,
        clean_interval_us: micros(token.clean_interval.0),
        throttle: ThrottleOptions {
            free_failures: login.free_failures,
            delay_first_us: micros(login.delay.0),
            delay_max_us: micros(login.delay_max.0),
            failures_max: login.failures_max,
            window_us: micros(login.window.0),
        },
    }
}

/// Says in the server's terms why the broker did not open.
pub(crate) fn refusal(data_dir: &Path, error: OpenError) -> ServeError {
    let path = data_dir.to_owned();
    let shown = data_dir.display();
    match error {
        OpenError::Gone { copy: Some(_), .. } => {
            let next =
                format!("restore it from its second copy with galgo repair --data-dir {shown}");
            ServeError::DataDirRefused { path, reason: format!("{error}; {next}") }
        }
        OpenError::Gone { copy: None, .. } | OpenError::Incomplete(_) => {
            let next = format!(
                "restore it from a backup, or give up what is lost with galgo repair --accept-loss \
                 --data-dir {shown}"
            );
            ServeError::DataDirRefused { path, reason: format!("{error}; {next}") }
        }
        OpenError::NotOurs { .. } => {
            let next = "move it out of the data directory";
            ServeError::DataDirRefused { path, reason: format!("{error}; {next}") }
        }
        OpenError::Metadata(
            refused @ (MetadataLogError::Damaged { .. } | MetadataLogError::Differ { .. }),
        ) => ServeError::Damaged {
            path,
            reason: format!(
                "{refused}; nothing was changed: restore metadata/ and copy/metadata/ from a backup, or see \
                 galgo repair --dry-run --data-dir {shown}"
            ),
        },
        OpenError::DataDir(DataDirError::Locked { path, pid }) => {
            ServeError::DataDirLocked { path, pid }
        }
        OpenError::DataDir(
            refused @ (DataDirError::Newer { .. }
            | DataDirError::Unknown { .. }
            | DataDirError::Foreign { .. }
            | DataDirError::Mixed { .. }
            | DataDirError::Missing { .. }),
        ) => ServeError::DataDirRefused { path, reason: refused.to_string() },
        OpenError::DataDir(
            DataDirError::ReadOnly { path, source } | DataDirError::Disk { path, source },
        ) => match source.kind() {
            // Nothing is there that could be a directory, or something else is.
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::InvalidFilename => ServeError::DataDirUnusable { path, source },
            _ => ServeError::io(path, source),
        },
        OpenError::Vault(
            refused @ (VaultError::Missing { .. }
            | VaultError::Other { .. }
            | VaultError::Wrong { .. }),
        ) => ServeError::KeyNeeded { path, reason: refused.to_string() },
        error => match system_refusal(&error) {
            Some(SystemRefusal::Denied(kind)) => {
                ServeError::Permission { path, source: kind.into() }
            }
            Some(SystemRefusal::DiskFull) => {
                ServeError::DiskFull { path, reason: Causes(&error).to_string() }
            }
            None => ServeError::Damaged { path, reason: Causes(&error).to_string() },
        },
    }
}

/// What the system said no to, when the operator can do something about it.
enum SystemRefusal {
    Denied(io::ErrorKind),
    DiskFull,
}

/// The system's refusal somewhere below `error`, if there is one.
fn system_refusal(error: &dyn Error) -> Option<SystemRefusal> {
    let errors = Causes(error).sources().filter_map(|error| error.downcast_ref::<io::Error>());
    errors.map(io::Error::kind).find_map(|kind| match kind {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some(SystemRefusal::Denied(kind))
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(SystemRefusal::DiskFull),
        _ => None,
    })
}

fn log_report(report: &OpenReport) {
    if report.metadata_cut_bytes > 0 {
        let bytes = report.metadata_cut_bytes;
        tracing::warn!(bytes, "unfinished metadata record cut off: it was never acknowledged");
    }
    if !report.metadata_repaired.is_empty() {
        tracing::warn!(
            "the disk or the file system damaged metadata; all of it was restored from its second copy"
        );
    }
    report.recovered.iter().for_each(log_recovered);
    for offline in &report.offline {
        let (stream, topic) = (offline.stream.as_str(), offline.topic.as_str());
        tracing::error!(
            stream,
            topic,
            partition = offline.partition.get(),
            error = %Causes(&offline.error),
            "partition is offline: its log could not be opened. All others serve; what is acknowledged of it is \
             kept. Mend the disk or its files: it is tried again every few seconds. Or purge the topic to give it up"
        );
    }
    for name in &report.unknown {
        tracing::warn!(name, "directory of no known partition left alone");
    }
    tracing::info!(partitions = report.partitions, "data directory open");
}

fn log_recovered(recovered: &RecoveredLog) {
    let (stream, topic) = (recovered.stream.as_str(), recovered.topic.as_str());
    let (partition, done) = (recovered.partition.get(), &recovered.report);
    tracing::info!(
        stream,
        topic,
        partition,
        replayed_messages = done.replayed_messages,
        accepted_messages = done.accepted_messages,
        cut_bytes = done.cut_bytes,
        "partition recovered"
    );
    if done.cut_bytes > 0 {
        let bytes = done.cut_bytes;
        tracing::warn!(stream, topic, partition, bytes, "unfinished write at the end cut off");
    }
    for file in &done.kept_aside {
        let file = file.display();
        tracing::warn!(stream, topic, partition, %file, "bytes that could not be used kept aside");
    }
    for range in &done.fenced {
        let (from, to) = (range.from.get(), range.to.get().saturating_sub(1));
        tracing::error!(
            stream,
            topic,
            partition,
            from,
            to,
            "damaged messages: they cannot be read, all others can; their offsets are not given \
             again. Look at the disk, and restore them from a backup or a mirror if they matter"
        );
    }
}

#[cfg(test)]
mod tests {
    use galgo_broker::shard::ShardRecoverError;
    use galgo_storage::checkpoint::CheckpointStoreError;

    use super::*;

    #[test]
    fn a_full_disk_is_told_once_with_the_file_and_the_next_step() {
        let disk = |kind: io::ErrorKind| {
            let path = "/data/shards/b.ckpt".into();
            let source = CheckpointStoreError::Disk { path, source: kind.into() };
            let what = "the checkpoint";
            OpenError::Shard(ShardRecoverError::Write { what, source: Box::new(source) })
        };
        let full = refusal(Path::new("/data"), disk(io::ErrorKind::StorageFull));
        assert!(matches!(full, ServeError::DiskFull { .. }));
        assert_eq!(
            full.to_string(),
            "data directory /data: the checkpoint could not be written: checkpoint file \
             /data/shards/b.ckpt: no storage space; make room on that volume and start again: \
             nothing acknowledged is lost"
        );
        let denied = refusal(Path::new("/data"), disk(io::ErrorKind::PermissionDenied));
        assert!(matches!(denied, ServeError::Permission { .. }));
    }
}
