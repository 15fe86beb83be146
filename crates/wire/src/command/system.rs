//! The server itself: liveness, statistics, cluster, connections, snapshot.

use crate::error_code::ErrorCode;
use crate::id::{ClientId, GroupId, PartitionId, StreamId, Timestamp, TopicId, UserId};
use crate::index::{to_u8, to_u32};
#[cfg(feature = "json")]
use crate::json::{ByPartition, KnownVersion, Size};
use crate::layout::{byte_enum, command, layout, shown};
use crate::permission::{Action, Right};
use crate::primitive::{Payload, Reader, put_length32};
use serde::{Serialize, Serializer};

command! {
    /// Tells the server that the client is alive.
    pub struct Ping -> ();
    right: Right::Public;
}

command! {
    /// Shows the statistics of the server.
    pub struct GetStats -> Stats;
    right: Right::Server(Action::ReadServers);
}

command! {
    /// Asks for an archive of diagnostics; "all" stands alone.
    pub struct GetSnapshot -> Snapshot {
        /// How the archive is compressed.
        compression: SnapshotCompression,
        /// What it holds.
        kinds: SnapshotKinds,
    }
    right: |_this| Right::Server(Action::ReadServers);
}

command! {
    /// Shows the nodes of the cluster.
    pub struct GetClusterMetadata -> ClusterMetadata;
    right: Right::LoggedIn;
}

command! {
    /// Asks for the caller's own connection.
    pub struct GetMe -> ClientDetails;
    right: Right::LoggedIn;
}

command! {
    /// Asks for one connection; id 0 is refused.
    pub struct GetClient -> Option<ClientDetails> {
        /// The connection.
        client_id: ClientId,
    }
    right: |_this| Right::Server(Action::ReadServers);
}

command! {
    /// Lists the connections; requests over HTTP are none.
    pub struct GetClients -> Vec<Client>;
    right: Right::Server(Action::ReadServers);
}

layout! {
    /// Statistics of the server.
    #[derive(Clone, Debug, Default, PartialEq, Serialize)]
    pub struct Stats {
        /// Id of the process.
        process_id: u32,
        /// Share of one core the process uses, in percent.
        cpu_usage: f32,
        /// Load of the machine, in percent.
        total_cpu_usage: f32,
        /// Resident memory of the process.
        memory_usage: u64 => Size,
        /// Memory of the machine.
        total_memory: u64 => Size,
        /// Memory left.
        available_memory: u64 => Size,
        /// Microseconds since the start.
        run_time: u64,
        /// When the server started, in microseconds since the Unix epoch.
        start_time: Timestamp,
        /// Bytes the process read.
        read_bytes: u64 => Size,
        /// Bytes the process wrote.
        written_bytes: u64 => Size,
        /// Bytes of all messages.
        messages_size_bytes: u64 => Size,
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
        #[serde(rename = "iggy_server_version")]
        server_version: String,
        /// The version as a number: major · 1,000,000 + minor · 1,000 + patch. Unknown is 0,
        /// and null over HTTP.
        #[serde(rename = "iggy_server_semver")]
        server_semver: u32 => KnownVersion,
        /// Cache statistics by `stream-topic-partition`.
        cache_metrics: Vec<CacheMetrics> as CacheMetricsList => ByPartition,
        /// Threads of the process.
        threads_count: u32,
        /// Bytes left on the volume of the data directory.
        free_disk_space: u64 => Size,
        /// Bytes of that volume.
        total_disk_space: u64 => Size,
    }
    json;
}

layout! {
    /// How well a partition's cache does.
    #[derive(Clone, Debug, Default, PartialEq, Serialize)]
    pub struct CacheMetrics {
        /// The stream.
        stream_id: StreamId,
        /// The topic.
        topic_id: TopicId,
        /// The partition.
        partition_id: PartitionId,
        /// Reads it answered.
        hits: u64,
        /// Reads it did not.
        misses: u64,
        /// Share of the reads it answered.
        hit_ratio: f32,
    }
    json: hits misses hit_ratio / stream_id topic_id partition_id;
}

/// A count, and so many values.
macro_rules! counted {
    ($codec:ident of $type:ty, $entry_bytes:literal) => {
        struct $codec;

        impl $codec {
            fn encode(values: &[$type], out: &mut Vec<u8>) {
                put_length32(out, values.len());
                for value in values {
                    value.encode(out);
                }
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Vec<$type>, ErrorCode> {
                let count = reader.u32()?;
                let mut values = Vec::with_capacity(reader.capacity(count, $entry_bytes));
                for _ in 0..count {
                    values.push(<$type>::decode(reader)?);
                }
                Ok(values)
            }
        }
    };
}

counted! { CacheMetricsList of CacheMetrics, 32 }
counted! { ClusterNodes of ClusterNode, 18 }
counted! { Memberships of Membership, 12 }

layout! {
    /// The cluster as clients see it.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct ClusterMetadata {
        /// Name of the cluster.
        name: String,
        /// Its nodes.
        nodes: Vec<ClusterNode> as ClusterNodes,
    }
    json;
}

layout! {
    /// One node.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct ClusterNode {
        /// Its name.
        name: String,
        /// Its address, without a port.
        ip: String,
        /// Where it listens.
        endpoints: Endpoints,
        /// Its role.
        role: NodeRole,
        /// How it is.
        status: NodeStatus,
    }
    json;
}

layout! {
    /// The ports of a node, 0 where it does not listen.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
    pub struct Endpoints {
        /// TCP.
        tcp: u16,
        /// QUIC.
        quic: u16,
        /// HTTP.
        http: u16,
        /// WebSocket.
        websocket: u16,
    }
    json "NodeEndpoints";
}

byte_enum! {
    /// The role of a node.
    pub enum NodeRole {
        /// Takes writes.
        Leader = 0 "leader",
        /// Follows the leader.
        Follower = 1 "follower",
    }
}

byte_enum! {
    /// How a node is.
    pub enum NodeStatus {
        /// Works.
        Healthy = 0 "healthy",
        /// Does not work yet.
        Starting = 1 "starting",
        /// Will stop working.
        Stopping = 2 "stopping",
        /// Cannot be reached.
        Unreachable = 3 "unreachable",
        /// Is being worked on.
        Maintenance = 4 "maintenance",
    }
}

byte_enum! {
    /// What carries a connection.
    pub enum Transport {
        /// TCP.
        Tcp = 1 "tcp",
        /// QUIC.
        Quic = 2 "quic",
        /// HTTP.
        Http = 3 "http",
        /// WebSocket.
        WebSocket = 4 "ws",
    }
}

layout! {
    /// A connection.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct Client {
        /// Its id.
        client_id: ClientId,
        /// Who is logged in.
        user_id: Option<UserId> as AnyUser,
        /// What carries it.
        transport: Transport,
        /// Its other end, `ip:port`.
        address: String,
        /// In how many consumer groups it is.
        consumer_groups_count: u32,
    }
    json: client_id user_id address transport consumer_groups_count;
}

shown! {
    /// A connection with its consumer groups.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct ClientDetails {
        /// The connection; its count of groups is that of the list.
        #[serde(flatten)]
        client: Client,
        /// The groups it is in.
        consumer_groups: Vec<Membership>,
    }
    json;
}

layout! {
    /// That a connection is in a consumer group.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
    pub struct Membership {
        /// The stream.
        stream_id: StreamId,
        /// The topic.
        topic_id: TopicId,
        /// The group.
        group_id: GroupId,
    }
    json;
}

impl Payload for ClientDetails {
    fn encode(&self, out: &mut Vec<u8>) {
        // The count is the last field of the client, so the list brings its own.
        let Client { client_id, user_id, transport, address, consumer_groups_count: _ } =
            &self.client;
        client_id.encode(out);
        AnyUser::encode(user_id, out);
        transport.encode(out);
        address.encode(out);
        Memberships::encode(&self.consumer_groups, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let client_id = ClientId::decode(reader)?;
        let user_id = AnyUser::decode(reader)?;
        let transport = Transport::decode(reader)?;
        let address = String::decode(reader)?;
        let consumer_groups = Memberships::decode(reader)?;
        let consumer_groups_count = to_u32(consumer_groups.len());
        let client = Client { client_id, user_id, transport, address, consumer_groups_count };
        Ok(Self { client, consumer_groups })
    }
}

/// A user, or the number that means nobody.
struct AnyUser;

impl AnyUser {
    fn encode(value: &Option<UserId>, out: &mut Vec<u8>) {
        value.unwrap_or(UserId::NONE).encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Option<UserId>, ErrorCode> {
        let user = UserId::decode(reader)?;
        Ok((user != UserId::NONE).then_some(user))
    }
}

byte_enum! {
    /// How a snapshot archive is compressed.
    pub enum SnapshotCompression {
        /// Not at all.
        Stored = 1 "stored",
        /// Deflate.
        Deflated = 2 "deflated",
        /// bzip2.
        Bzip2 = 3 "bzip2",
        /// Zstandard.
        Zstd = 4 "zstd",
        /// LZMA.
        Lzma = 5 "lzma",
        /// XZ.
        Xz = 6 "xz",
    }
}

byte_enum! {
    /// A part of a snapshot archive.
    pub enum SnapshotKind {
        /// The file system.
        FilesystemOverview = 1 "filesystem_overview",
        /// The processes.
        ProcessList = 2 "process_list",
        /// The use of resources.
        ResourceUsage = 3 "resource_usage",
        /// A line of text, for tests.
        Test = 4 "test",
        /// The logs of the server.
        ServerLogs = 5 "server_logs",
        /// The configuration of the server.
        ServerConfig = 6 "server_config",
        /// All but the test; stands alone.
        All = 100 "all",
    }
}

/// The parts of a snapshot archive; [`SnapshotKind::All`] stands alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotKinds(Vec<SnapshotKind>);

impl SnapshotKinds {
    /// Makes the list; `None` when "all" comes with others, or there are more than 255.
    #[must_use]
    pub fn new(kinds: Vec<SnapshotKind>) -> Option<Self> {
        let alone = kinds.len() == 1 || !kinds.contains(&SnapshotKind::All);
        (alone && u8::try_from(kinds.len()).is_ok()).then_some(Self(kinds))
    }

    /// The parts, in the order they were asked for.
    #[must_use]
    pub fn as_slice(&self) -> &[SnapshotKind] {
        &self.0
    }
}

impl Payload for SnapshotKinds {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(to_u8(self.0.len()));
        out.extend(self.0.iter().map(|kind| kind.as_u8()));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let count = reader.u8()?;
        let kinds = (0..count).map(|_| SnapshotKind::decode(reader)).collect::<Result<_, _>>()?;
        Self::new(kinds).ok_or(ErrorCode::InvalidCommand)
    }
}

/// The bytes of a snapshot archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(pub Vec<u8>);

impl Payload for Snapshot {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        Ok(Self(reader.rest().to_vec()))
    }
}

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}
