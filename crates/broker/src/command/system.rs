//! Statistics, the cluster, connections.

use galgo_wire::command::{
    Client, ClientDetails, ClusterMetadata, ClusterNode, Endpoints, FeatureFlags, Features,
    GetClient, GetClients, GetClusterMetadata, GetFeatures, GetSnapshot, GetStats, NodeRole,
    NodeStatus, Stats,
};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{ClientId, Timestamp};
use galgo_wire::index::to_u32;

use super::{authorize, offload, payload};
use crate::broker::Broker;
use crate::clients::ClientEntry;
use crate::outcome::{Job, Outcome, Reply};
use crate::session::Session;
use crate::snapshot;

/// The level of the protocol this server speaks, as clients of it show it.
const PROTOCOL_VERSION: &str = "0.8.0";
const PROTOCOL_SEMVER: u32 = 8000;

/// Tells that the client is there.
pub(super) fn ping(session: &Session) -> Outcome {
    if let Some(registration) = session.registration() {
        // Also of one that is not logged in: a ping is a sign of life and no more.
        registration.ping();
    }
    Outcome::done(Reply::Empty)
}

/// Counts of everything, and what the system says of the process.
pub(super) fn stats(broker: &Broker, session: &Session, command: &GetStats) -> Outcome {
    let answer = || {
        authorize(broker, session, command)?;
        Ok(payload(&collect(broker)))
    };
    answer().into()
}

fn collect(broker: &Broker) -> Stats {
    let now_us = broker.clock.monotonic_us();
    // Before the catalog is locked: this reads files of the system.
    let process = broker.process.read(now_us, &broker.data_dir());
    let catalog = broker.catalog();
    let topics: usize = catalog.state.streams.values().map(|stream| stream.topics.len()).sum();
    let mut stats = Stats {
        process_id: std::process::id(),
        cpu_usage: process.cpu_percent,
        total_cpu_usage: process.total_cpu_percent,
        memory_usage: process.memory_bytes,
        total_memory: process.total_memory_bytes,
        available_memory: process.available_memory_bytes,
        run_time: now_us.saturating_sub(broker.started_us.monotonic_us),
        start_time: Timestamp::new(broker.started_us.wall_us),
        read_bytes: process.read_bytes,
        written_bytes: process.written_bytes,
        streams_count: to_u32(catalog.state.streams.len()),
        topics_count: to_u32(topics),
        clients_count: broker.clients.count(),
        consumer_groups_count: to_u32(catalog.groups().count()),
        hostname: broker.names.hostname.clone(),
        os_name: broker.names.os_name.clone(),
        os_version: broker.names.os_version.clone(),
        kernel_version: broker.names.kernel_version.clone(),
        server_version: PROTOCOL_VERSION.to_owned(),
        server_semver: PROTOCOL_SEMVER,
        threads_count: process.threads,
        free_disk_space: process.free_disk_bytes,
        total_disk_space: process.total_disk_bytes,
        ..Stats::default()
    };
    for partition in catalog.partitions() {
        let counts = partition.stats();
        stats.partitions_count += 1;
        stats.segments_count += counts.segments;
        stats.messages_count += counts.messages;
        stats.messages_size_bytes += counts.bytes;
    }
    stats
}

/// An archive of diagnostics.
pub(super) fn snapshot(broker: &Broker, session: &Session, command: GetSnapshot) -> Outcome {
    if let Err(code) = authorize(broker, session, &command) {
        return Outcome::done(Reply::Error(code));
    }
    offload(Job::Report, move |broker, _| {
        // Cloned, so that the lock is not held while an archive is made.
        let sources = broker.snapshot_sources.read().clone();
        let kinds = command.kinds.as_slice();
        let archive = snapshot::archive(command.compression, kinds, sources.as_deref());
        archive.map(Reply::Bytes).map_err(|error| {
            tracing::warn!(%error, "snapshot not packed");
            ErrorCode::SnapshotFileCompletionFailed
        })
    })
}

/// One node: this one. More would make clients look for a leader.
pub(super) fn cluster(broker: &Broker, session: &Session, command: &GetClusterMetadata) -> Outcome {
    let answer = || {
        authorize(broker, session, command)?;
        let endpoints = broker.endpoints.read().clone();
        let node = ClusterNode {
            name: "galgo-node".to_owned(),
            ip: endpoints.ip,
            endpoints: Endpoints {
                tcp: endpoints.tcp_port,
                quic: endpoints.quic_port,
                http: endpoints.http_port,
                websocket: endpoints.websocket_port,
            },
            role: NodeRole::Leader,
            status: NodeStatus::Healthy,
        };
        Ok(payload(&ClusterMetadata { name: "single-node".to_owned(), nodes: vec![node] }))
    };
    answer().into()
}

/// The caller's own connection. One that is no more in the table is closed.
pub(super) fn me(session: &Session) -> Outcome {
    let answer = || {
        session.caller()?;
        let id = session.client_id();
        Ok(session.entry().map(|entry| payload(&client_details(id, &entry))))
    };
    match answer() {
        Ok(Some(reply)) => Outcome::done(reply),
        Ok(None) => Outcome::done(Reply::Close(ErrorCode::ClientNotFound)),
        Err(code) => Outcome::done(Reply::Error(code)),
    }
}

/// Any connection; empty when there is none of that id.
pub(super) fn client(broker: &Broker, session: &Session, command: &GetClient) -> Outcome {
    let answer = || {
        authorize(broker, session, command)?;
        // 0 is what sessions have that nobody sees.
        if command.client_id == ClientId::new(0) {
            return Err(ErrorCode::InvalidClientId);
        }
        let found = broker.clients.get(command.client_id);
        Ok(payload(&found.map(|entry| client_details(command.client_id, &entry))))
    };
    answer().into()
}

/// All connections, ordered by id.
pub(super) fn clients(broker: &Broker, session: &Session, command: &GetClients) -> Outcome {
    let answer = || {
        authorize(broker, session, command)?;
        let clients = broker.clients.list();
        let clients: Vec<Client> =
            clients.iter().map(|(id, entry)| client_info(*id, entry)).collect();
        Ok(payload(&clients))
    };
    answer().into()
}

/// The extensions to the classic protocol that this server understands.
pub(super) fn features(broker: &Broker, session: &Session, command: &GetFeatures) -> Outcome {
    let answer = || {
        authorize(broker, session, command)?;
        Ok(payload(&Features {
            flags: FeatureFlags::ALL,
            server_name: "galgo".to_owned(),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    };
    answer().into()
}

fn client_info(id: ClientId, entry: &ClientEntry) -> Client {
    Client {
        client_id: id,
        user_id: entry.user,
        transport: entry.peer.transport,
        address: entry.peer.address.to_string(),
        consumer_groups_count: to_u32(entry.groups.len()),
    }
}

fn client_details(id: ClientId, entry: &ClientEntry) -> ClientDetails {
    ClientDetails { client: client_info(id, entry), consumer_groups: entry.groups.clone() }
}
