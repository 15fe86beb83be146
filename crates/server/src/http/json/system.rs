//! The server itself: statistics, cluster, connections, snapshots.

use std::collections::BTreeMap;

use galgo_wire::command;
use galgo_wire::command::{SnapshotCompression, SnapshotKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Size;

/// Statistics of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct Stats {
    /// Id of the process.
    process_id: u32,
    /// Share of one core the process uses, in percent.
    cpu_usage: f32,
    /// Load of the machine, in percent.
    total_cpu_usage: f32,
    /// Resident memory of the process.
    memory_usage: Size,
    /// Memory of the machine.
    total_memory: Size,
    /// Memory left.
    available_memory: Size,
    /// Microseconds since the start.
    run_time: u64,
    /// When the server started, in microseconds since the Unix epoch.
    start_time: u64,
    /// Bytes the process read.
    read_bytes: Size,
    /// Bytes the process wrote.
    written_bytes: Size,
    /// Bytes of all messages.
    messages_size_bytes: Size,
    /// Streams.
    streams_count: u32,
    /// Topics.
    topics_count: u32,
    /// Partitions.
    partitions_count: u32,
    /// Segments.
    segments_count: u32,
    /// Messages.
    messages_count: u64,
    /// Connections.
    clients_count: u32,
    /// Consumer groups.
    consumer_groups_count: u32,
    /// Name of the machine.
    hostname: String,
    /// Name of the operating system.
    os_name: String,
    /// Version of the operating system.
    os_version: String,
    /// Version of its kernel.
    kernel_version: String,
    /// Version of the server, in the field classic clients read.
    iggy_server_version: String,
    /// The version as a number.
    #[schema(required = true)]
    iggy_server_semver: Option<u32>,
    /// Cache statistics by `stream-topic-partition`.
    cache_metrics: BTreeMap<String, CacheMetrics>,
    /// Threads of the process.
    threads_count: u32,
    /// Bytes left on the volume of the data directory.
    free_disk_space: Size,
    /// Bytes of that volume.
    total_disk_space: Size,
}

/// How well a partition's cache does.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct CacheMetrics {
    /// Reads it answered.
    hits: u64,
    /// Reads it did not.
    misses: u64,
    /// Share of the reads it answered.
    hit_ratio: f32,
}

/// The cluster as clients see it.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct ClusterMetadata {
    /// Name of the cluster.
    name: String,
    /// Its nodes.
    nodes: Vec<ClusterNode>,
}

/// One node.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct ClusterNode {
    /// Its name.
    name: String,
    /// Its address, without a port.
    ip: String,
    /// Where it listens.
    endpoints: NodeEndpoints,
    /// `leader` or `follower`.
    role: &'static str,
    /// `healthy`, `starting`, `stopping`, `unreachable` or `maintenance`.
    status: &'static str,
}

/// The ports of a node, 0 where it does not listen.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct NodeEndpoints {
    tcp: u16,
    quic: u16,
    http: u16,
    websocket: u16,
}

/// A connection.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct Client {
    /// Its id.
    client_id: u32,
    /// Who is logged in.
    #[schema(required = true)]
    user_id: Option<u32>,
    /// Its other end.
    address: String,
    /// What carries it: `tcp`, `quic` or `ws`.
    transport: &'static str,
    /// In how many consumer groups it is.
    consumer_groups_count: u32,
}

/// A connection with its consumer groups.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct ClientDetails {
    #[serde(flatten)]
    client: Client,
    /// The groups it is in.
    consumer_groups: Vec<Membership>,
}

/// That a connection is in a consumer group.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct Membership {
    stream_id: u32,
    topic_id: u32,
    group_id: u32,
}

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

impl From<command::Stats> for Stats {
    fn from(stats: command::Stats) -> Self {
        let cache_metrics = stats.cache_metrics.into_iter().map(|of| {
            let place = format!("{}-{}-{}", of.stream_id, of.topic_id, of.partition_id);
            let (hits, misses, hit_ratio) = (of.hits, of.misses, of.hit_ratio);
            (place, CacheMetrics { hits, misses, hit_ratio })
        });
        Self {
            process_id: stats.process_id,
            cpu_usage: stats.cpu_usage,
            total_cpu_usage: stats.total_cpu_usage,
            memory_usage: Size(stats.memory_usage),
            total_memory: Size(stats.total_memory),
            available_memory: Size(stats.available_memory),
            run_time: stats.run_time,
            start_time: stats.start_time.get(),
            read_bytes: Size(stats.read_bytes),
            written_bytes: Size(stats.written_bytes),
            messages_size_bytes: Size(stats.messages_size_bytes),
            streams_count: stats.streams_count,
            topics_count: stats.topics_count,
            partitions_count: stats.partitions_count,
            segments_count: stats.segments_count,
            messages_count: stats.messages_count,
            clients_count: stats.clients_count,
            consumer_groups_count: stats.consumer_groups_count,
            hostname: stats.hostname,
            os_name: stats.os_name,
            os_version: stats.os_version,
            kernel_version: stats.kernel_version,
            iggy_server_version: stats.server_version,
            iggy_server_semver: (stats.server_semver != 0).then_some(stats.server_semver),
            cache_metrics: cache_metrics.collect(),
            threads_count: stats.threads_count,
            free_disk_space: Size(stats.free_disk_space),
            total_disk_space: Size(stats.total_disk_space),
        }
    }
}

impl From<command::ClusterMetadata> for ClusterMetadata {
    fn from(cluster: command::ClusterMetadata) -> Self {
        let nodes = cluster.nodes.into_iter().map(|node| ClusterNode {
            name: node.name,
            ip: node.ip,
            endpoints: NodeEndpoints {
                tcp: node.endpoints.tcp,
                quic: node.endpoints.quic,
                http: node.endpoints.http,
                websocket: node.endpoints.websocket,
            },
            role: node.role.word(),
            status: node.status.word(),
        });
        Self { name: cluster.name, nodes: nodes.collect() }
    }
}

impl From<command::Client> for Client {
    fn from(client: command::Client) -> Self {
        Self {
            client_id: client.client_id.get(),
            user_id: client.user_id.map(u32::from),
            address: client.address,
            transport: client.transport.word(),
            consumer_groups_count: client.consumer_groups_count,
        }
    }
}

impl From<command::ClientDetails> for ClientDetails {
    fn from(details: command::ClientDetails) -> Self {
        let groups = details.consumer_groups.into_iter().map(|membership| Membership {
            stream_id: membership.stream_id.get(),
            topic_id: membership.topic_id.get(),
            group_id: membership.group_id.get(),
        });
        Self { client: details.client.into(), consumer_groups: groups.collect() }
    }
}
