//! Snapshots: their words are written otherwise here than everywhere else.

use galgo_wire::command::{SnapshotCompression, SnapshotKind};
use serde::Deserialize;
use utoipa::ToSchema;

/// An archive of diagnostics.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct SnapshotRequest {
    /// How the archive is compressed.
    pub(in super::super) compression: Compression,
    /// What it holds; `All` stands alone.
    pub(in super::super) snapshot_types: Vec<Kind>,
}

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
pub(in super::super) enum Compression {
    Stored,
    Deflated,
    Bzip2,
    Zstd,
    Lzma,
    Xz,
}

/// A part of an archive.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
pub(in super::super) enum Kind {
    FilesystemOverview,
    ProcessList,
    ResourceUsage,
    Test,
    ServerLogs,
    ServerConfig,
    All,
}

impl From<Compression> for SnapshotCompression {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::Stored => Self::Stored,
            Compression::Deflated => Self::Deflated,
            Compression::Bzip2 => Self::Bzip2,
            Compression::Zstd => Self::Zstd,
            Compression::Lzma => Self::Lzma,
            Compression::Xz => Self::Xz,
        }
    }
}

impl From<Kind> for SnapshotKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::FilesystemOverview => Self::FilesystemOverview,
            Kind::ProcessList => Self::ProcessList,
            Kind::ResourceUsage => Self::ResourceUsage,
            Kind::Test => Self::Test,
            Kind::ServerLogs => Self::ServerLogs,
            Kind::ServerConfig => Self::ServerConfig,
            Kind::All => Self::All,
        }
    }
}
