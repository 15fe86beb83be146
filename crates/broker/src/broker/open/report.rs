//! What opening a broker found and did, and why it did not open.

use std::path::PathBuf;

use galgo_storage::data_dir::DataDirError;
use galgo_storage::log::RecoveryReport;
use galgo_storage::metadata_log::MetadataLogError;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{PartitionId, PartitionUid};
use galgo_wire::name::{StreamName, TopicName};

use crate::broker::evidence::Incomplete;
use crate::shard::ShardRecoverError;
use crate::vault::VaultError;

/// What recovery found and did in one partition.
#[derive(Debug)]
pub struct RecoveredLog {
    /// The stream it is in.
    pub stream: StreamName,
    /// The topic it is in.
    pub topic: TopicName,
    /// Its number in the topic.
    pub partition: PartitionId,
    /// The name of its directory.
    pub uid: PartitionUid,
    /// What was found and done.
    pub report: RecoveryReport,
}

/// A partition whose log could not be opened.
#[derive(Debug)]
pub struct OfflineLog {
    /// The stream it is in.
    pub stream: StreamName,
    /// The topic it is in.
    pub topic: TopicName,
    /// Its number in the topic.
    pub partition: PartitionId,
    /// The name of its directory.
    pub uid: PartitionUid,
    /// Why.
    pub error: galgo_storage::log::LogRecoverError,
}

/// What opening found and did.
#[derive(Debug, Default)]
pub struct OpenReport {
    /// Whether the data directory was new, so that the root user was made.
    pub created: bool,
    /// Bytes of an unfinished metadata record that were cut off.
    pub metadata_cut_bytes: u64,
    /// Files of the metadata that were damaged and got back from their second copy what they had lost.
    pub metadata_repaired: Vec<PathBuf>,
    /// Partitions whose logs needed more than opening.
    pub recovered: Vec<RecoveredLog>,
    /// Partitions whose logs could not be opened; all others can be used.
    pub offline: Vec<OfflineLog>,
    /// Names in the directory of partitions that belong to nobody; left alone.
    pub unknown: Vec<String>,
    /// Partitions that are open.
    pub partitions: usize,
}

/// Why a broker did not open. Nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory is locked, foreign, newer or not accessible.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The metadata log cannot be read.
    #[error("the metadata cannot be read")]
    Metadata(#[from] MetadataLogError),
    /// A metadata record is not known or does not fit.
    #[error("metadata record {index} does not fit: {why}")]
    Record {
        /// Which, counted from the snapshot.
        index: usize,
        /// What is wrong.
        why: String,
    },
    /// A part of the data directory is missing or empty, and the rest of it is there.
    #[error("{} is missing or empty, and the rest of the data directory is there", path.display())]
    Gone {
        /// The directory that is missing.
        path: PathBuf,
        /// Its second copy, if that is there.
        copy: Option<PathBuf>,
    },
    /// A partition's directory was made for another partition or by another server.
    #[error("{} belongs to {owner}: it was copied there", dir.display())]
    NotOurs {
        /// The directory.
        dir: PathBuf,
        /// To whom it belongs.
        owner: String,
    },
    /// Records of the metadata are lost.
    #[error("the metadata is incomplete: nothing in it created {0}")]
    Incomplete(Incomplete),
    /// The keys do not fit the data directory.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The shard did not open.
    #[error(transparent)]
    Shard(#[from] ShardRecoverError),
    /// Partitions are on a shard that this node does not have.
    #[error("partitions are on shard {shard}, which is not on this node: it is part of a cluster")]
    NotHere {
        /// The shard.
        shard: u32,
    },
    /// A directory or file could not be prepared.
    #[error("{what} could not be prepared")]
    Prepare {
        /// Which.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The root user could not be made.
    #[error("the root user could not be created: {0}")]
    Root(ErrorCode),
}
