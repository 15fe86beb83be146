//! The server as a whole: its connections and its snapshot.

use galgo::{SnapshotCompression, SnapshotKind};
use galgo_wire::command::system::Transport;

use crate::place::{Carrier, Place};

pub(crate) async fn a_connection_knows_what_carries_it(place: &Place) {
    let (client, other) = (place.root().await, place.root().await);
    let me = client.me().await.unwrap();
    let carrier = match place.carrier {
        Carrier::Tcp | Carrier::TcpTls | Carrier::TcpMutualTls => Transport::Tcp,
        Carrier::Quic => Transport::Quic,
        Carrier::WebSocket | Carrier::WebSocketTls => Transport::WebSocket,
    };
    assert_eq!(me.client.transport, carrier);
    assert!(me.client.address.starts_with("127.0.0.1:"), "{}", me.client.address);
    let found = other.client_info(me.client.client_id.get()).await.unwrap().unwrap();
    assert_eq!(found.client, me.client);
    assert_eq!(other.clients().await.unwrap().len(), 2);
    assert_eq!(client.stats().await.unwrap().clients_count, 2);
}

pub(crate) async fn a_snapshot_is_an_archive(place: &Place) {
    let client = place.root().await;
    let kinds = [SnapshotKind::Test, SnapshotKind::ServerConfig];
    let archive = client.snapshot(SnapshotCompression::Deflated, &kinds).await.unwrap();
    assert!(archive.starts_with(b"PK"), "{} bytes", archive.len());
}
