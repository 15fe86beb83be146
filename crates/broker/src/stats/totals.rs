//! What there is, counted when asked for, so that no number can drift from what it counts.

use std::collections::BTreeMap;

use galgo_wire::command::Transport;

use crate::catalog::Catalog;
use crate::clients::Clients;

/// Counts of everything the broker holds, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Streams.
    pub streams: u64,
    /// Topics.
    pub topics: u64,
    /// Partitions.
    pub partitions: u64,
    /// Segments.
    pub segments: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes of the messages as stored.
    pub bytes: u64,
    /// Ranges of messages that are damaged, as far as is known.
    pub damaged_ranges: u64,
    /// Partitions that take no writes.
    pub fenced_partitions: u64,
    /// Those of them whose logs could not be opened.
    pub offline_partitions: u64,
    /// Users.
    pub users: u64,
    /// Consumer groups.
    pub groups: u64,
    /// Connections by what carries them.
    pub connections: BTreeMap<Transport, u64>,
}

impl Totals {
    pub(crate) fn of(catalog: &Catalog, clients: &Clients) -> Self {
        let streams = &catalog.state.streams;
        let mut totals = Self {
            streams: streams.len() as u64,
            topics: streams.values().map(|stream| stream.topics.len() as u64).sum(),
            users: catalog.state.users.len() as u64,
            groups: catalog.groups().count() as u64,
            ..Self::default()
        };
        for partition in catalog.partitions() {
            let counts = partition.stats();
            totals.partitions += 1;
            totals.segments += u64::from(counts.segments);
            totals.messages += counts.messages;
            totals.bytes += counts.bytes;
            totals.damaged_ranges += partition.damaged_ranges();
            totals.fenced_partitions += u64::from(partition.fenced().is_some());
            totals.offline_partitions += u64::from(partition.is_offline());
        }
        for (_, client) in clients.list() {
            *totals.connections.entry(client.peer.transport).or_default() += 1;
        }
        totals
    }
}
