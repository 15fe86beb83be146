//! A log on a simulated disk, and messages to put into it.

use galgo_storage::checkpoint::LogCheckpoint;
use galgo_storage::disk::create_dir_synced;
use galgo_storage::disk::sim::{SimDisk, SplitMix};
use galgo_storage::file_cache::FileCache;
use galgo_storage::log::{
    AppendBatch, AppendError, BatchSource, Evidence, IndexCache, JournaledBatch, JournaledLog,
    LocateRequest, Log, LogOptions, LogReader, ReadError, RecoveryReport,
};
use galgo_wire::batch::{MessageHeader, MessagesView, checksum};
use galgo_wire::id::{Offset, Timestamp};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const DIR: &str = "/data/partitions/0000000000000001";

/// What stays while logs come and go.
pub(crate) struct Rig {
    pub(crate) disk: SimDisk,
    pub(crate) options: LogOptions,
    pub(crate) evidence: Evidence,
    files: Arc<FileCache>,
}

impl Rig {
    pub(crate) fn new(seed: u64) -> Self {
        Self::on(SimDisk::new(seed))
    }

    /// Small segments and a small interval, so that little data has many of both.
    pub(crate) fn on(disk: SimDisk) -> Self {
        let options = LogOptions {
            dir: PathBuf::from(DIR),
            segment_bytes: 4_000,
            index_interval_bytes: 400,
            indexes: Arc::new(IndexCache::new(1 << 16)),
            name: Arc::default(),
        };
        let partitions = options.dir.parent().unwrap();
        create_dir_synced(&disk, partitions).unwrap();
        let files = FileCache::new(Arc::new(disk.clone()), 8);
        Self { disk, options, evidence: Evidence::default(), files }
    }

    /// Forgets open files, as a new process would.
    pub(crate) fn restart(&mut self) {
        self.files = FileCache::new(Arc::new(self.disk.clone()), 8);
        self.options.indexes = Arc::new(IndexCache::new(1 << 16));
    }

    pub(crate) fn create(&self) -> Log {
        let disk = Arc::new(self.disk.clone());
        Log::create(disk, Arc::clone(&self.files), self.options.clone())
    }

    pub(crate) fn recover(
        &mut self,
        known: &LogCheckpoint,
        journal: &[Journaled],
    ) -> (Log, RecoveryReport) {
        self.try_recover(known, journal).expect("the log is recovered")
    }

    pub(crate) fn try_recover(
        &mut self,
        known: &LogCheckpoint,
        journal: &[Journaled],
    ) -> Result<(Log, RecoveryReport), galgo_storage::log::LogRecoverError> {
        self.restart();
        let batches = (0..).zip(journal);
        let batches = batches.map(|(place, journaled)| JournaledBatch {
            base_offset: Offset::new(journaled.base),
            place,
        });
        let high_watermark = journal.iter().map(|it| it.high_watermark).max().unwrap_or_default();
        let journal = JournaledLog {
            batches: batches.collect(),
            high_watermark: Offset::new(high_watermark),
            source: &InMemory(journal),
        };
        let disk = Arc::new(self.disk.clone());
        let files = Arc::clone(&self.files);
        Log::recover(disk, files, self.options.clone(), known.clone(), journal, self.evidence)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        Path::new(DIR).join(name)
    }
}

/// A batch in a journal.
#[derive(Debug, Clone)]
pub(crate) struct Journaled {
    pub(crate) base: u64,
    pub(crate) high_watermark: u64,
    pub(crate) bytes: Vec<u8>,
}

struct InMemory<'a>(&'a [Journaled]);

impl BatchSource for InMemory<'_> {
    fn messages(&self, batch: JournaledBatch) -> io::Result<Vec<u8>> {
        Ok(self.0[usize::try_from(batch.place).unwrap()].bytes.clone())
    }
}

/// One message as the server stores it.
pub(crate) fn message(offset: u64, timestamp: u64, payload: &[u8]) -> Vec<u8> {
    let header = MessageHeader {
        id: u128::from(offset) + 1,
        offset: Offset::new(offset),
        timestamp: Timestamp::new(timestamp),
        payload_length: u32::try_from(payload.len()).unwrap(),
        ..MessageHeader::default()
    };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(payload);
    let sum = checksum(&bytes);
    bytes[..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Messages of random sizes up to `payload_max`, one after the other.
pub(crate) fn messages(
    random: &mut SplitMix,
    first: u64,
    timestamp: u64,
    sizes: (u64, u64),
) -> Vec<Vec<u8>> {
    let (count, payload_max) = sizes;
    let made = (0..count).map(|at| {
        let payload = vec![random.below(256) as u8; random.below(payload_max) as usize];
        message(first + at, timestamp, &payload)
    });
    made.collect()
}

pub(crate) fn append(log: &mut Log, batch: &[Vec<u8>]) -> Result<(), AppendError> {
    let bytes = batch.concat();
    let header = MessageHeader::read(&bytes).unwrap();
    log.append(AppendBatch {
        base_offset: header.offset,
        count: u32::try_from(batch.len()).unwrap(),
        timestamp: header.timestamp,
        bytes: &bytes,
        walked: None,
    })
}

pub(crate) fn sync(log: &mut Log) -> std::io::Result<()> {
    let dirty = log.dirty();
    dirty.sync()?;
    log.synced(&dirty);
    Ok(())
}

/// Reads everything of a request, verified or not as the server would.
pub(crate) fn read(
    reader: &LogReader,
    from: u64,
    limits: (u32, u64),
    upto: Offset,
) -> Result<Vec<Vec<u8>>, ReadError> {
    let (count_max, bytes_max) = limits;
    let request = LocateRequest { from: Offset::new(from), count_max, bytes_max, upto };
    let located = reader.locate(request)?;
    let mut found = Vec::new();
    for slice in &located.slices {
        let bytes = if slice.verified {
            let mut bytes = vec![0; slice.len as usize];
            slice.file.read_exact_at(&mut bytes, slice.position).unwrap();
            bytes
        } else {
            reader.read_verified(slice)?
        };
        let before = found.len();
        for message in MessagesView::new(&bytes) {
            found.push(message.unwrap().bytes.to_vec());
        }
        assert_eq!(found.len() - before, slice.count as usize);
    }
    assert_eq!(found.len(), located.count as usize);
    assert_eq!(found.iter().map(|message| message.len() as u64).sum::<u64>(), located.bytes);
    Ok(found)
}

/// All messages that can be read, stepping over fences; the fences are returned, too.
pub(crate) fn read_all(reader: &LogReader, upto: Offset) -> (Vec<Vec<u8>>, Vec<(u64, u64)>) {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut fences = Vec::new();
    let mut next = reader.start().get();
    while next < upto.get() {
        match read(reader, next, (7, 1_500), upto) {
            Ok(messages) => {
                assert!(!messages.is_empty(), "nothing at {next} below {upto}");
                next += messages.len() as u64;
                found.extend(messages);
            }
            Err(ReadError::Damaged { from, to }) => {
                assert!(to.get() > next, "a fence {from} to {to} does not end behind {next}");
                // Messages before the damage can be read once it is known.
                if from.get() <= next {
                    fences.push((from.get(), to.get()));
                    next = to.get();
                }
            }
            Err(error) => panic!("not readable at {next}: {error}"),
        }
    }
    (found, fences)
}

pub(crate) fn offset_of(message: &[u8]) -> u64 {
    u64::from_le_bytes(message[24..32].try_into().unwrap())
}

pub(crate) fn timestamp_of(message: &[u8]) -> u64 {
    u64::from_le_bytes(message[32..40].try_into().unwrap())
}
