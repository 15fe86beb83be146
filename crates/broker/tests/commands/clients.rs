//! Connections as clients see them, and the cluster of one node.

use galgo_broker::{ListenAddresses, Peer};
use galgo_wire::command::{
    Client, ClientDetails, ClusterMetadata, ClusterNode, Endpoints, GetClient, GetClients,
    GetClusterMetadata, GetMe, NodeRole, NodeStatus, Payload, Transport,
};
use galgo_wire::{ClientId, ErrorCode, UserId};

use crate::rig::{PASSWORD, Rig, login};

fn peer(port: u16, transport: Transport) -> Peer {
    Peer { address: ([127, 0, 0, 1], port).into(), transport }
}

#[test]
fn me_is_the_caller() {
    let rig = Rig::new();
    let mut caller = rig.connect_from(peer(59_288, Transport::Tcp));
    caller.call(&login("root", PASSWORD)).unwrap();
    let expected = Client {
        client_id: ClientId::new(0xA810_ED62),
        user_id: Some(UserId::ROOT),
        transport: Transport::Tcp,
        address: "127.0.0.1:59288".to_owned(),
        consumer_groups_count: 0,
    };
    let me = caller.call(&GetMe {}).unwrap();
    assert_eq!(me, ClientDetails { client: expected, consumer_groups: Vec::new() });
    // The test vector of the protocol.
    let bytes =
        [&[0x62, 0xed, 0x10, 0xa8, 0, 0, 0, 0, 1, 15, 0, 0, 0][..], b"127.0.0.1:59288", &[0; 4]];
    assert_eq!(me.to_bytes(), bytes.concat());
    assert_eq!(caller.session.client_id(), me.client.client_id);
}

#[test]
fn clients_are_listed_from_connect_to_disconnect() {
    let rig = Rig::new();
    let mut root = rig.root();
    let anonymous = rig.connect_from(peer(7, Transport::WebSocket));
    let other = rig.connect_from(peer(8, Transport::Quic));
    let clients = root.call(&GetClients {}).unwrap();
    let mut expected =
        [root.session.client_id(), anonymous.session.client_id(), other.session.client_id()];
    expected.sort();
    let ids: Vec<_> = clients.iter().map(|client| client.client_id).collect();
    assert_eq!(ids, expected);
    let by_id = |id| clients.iter().find(|client| client.client_id == id).unwrap();
    let found = by_id(anonymous.session.client_id());
    assert_eq!((found.user_id, found.transport), (None, Transport::WebSocket));
    assert_eq!((found.address.as_str(), found.consumer_groups_count), ("127.0.0.1:7", 0));
    assert_eq!(by_id(other.session.client_id()).transport, Transport::Quic);
    assert_eq!(by_id(root.session.client_id()).user_id, Some(UserId::ROOT));

    let gone = GetClient { client_id: anonymous.session.client_id() };
    assert_eq!(root.call(&gone).unwrap().unwrap().client, *found);
    drop(anonymous);
    assert_eq!(root.call(&gone), Ok(None));
    assert_eq!(root.call(&GetClients {}).unwrap().len(), 2);
}

#[test]
fn a_client_id_of_0_is_refused_and_an_unknown_one_is_empty() {
    let rig = Rig::new();
    let mut root = rig.root();
    let zero = root.call(&GetClient { client_id: ClientId::new(0) });
    assert_eq!(zero, Err(ErrorCode::InvalidClientId));
    let unknown = ClientId::new(root.session.client_id().get() ^ 1);
    assert_eq!(root.call(&GetClient { client_id: unknown }), Ok(None));
}

#[test]
fn two_connections_from_one_address_have_two_ids() {
    let rig = Rig::new();
    let (one, two) =
        (rig.connect_from(peer(9, Transport::Tcp)), rig.connect_from(peer(9, Transport::Quic)));
    assert_ne!(one.session.client_id(), two.session.client_id());
    assert_eq!(rig.root().call(&GetClients {}).unwrap().len(), 3);
}

#[test]
fn the_cluster_is_this_node_at_its_bound_ports() {
    let rig = Rig::new();
    let mut root = rig.root();
    let node = |ip: &str, endpoints| ClusterMetadata {
        name: "single-node".to_owned(),
        nodes: vec![ClusterNode {
            name: "galgo-node".to_owned(),
            ip: ip.to_owned(),
            endpoints,
            role: NodeRole::Leader,
            status: NodeStatus::Healthy,
        }],
    };
    assert_eq!(root.call(&GetClusterMetadata {}).unwrap(), node("", Endpoints::default()));
    rig.broker.set_endpoints(ListenAddresses {
        ip: "127.0.0.1".to_owned(),
        tcp_port: 8090,
        quic_port: 0,
        http_port: 3000,
        websocket_port: 8092,
    });
    let endpoints = Endpoints { tcp: 8090, quic: 0, http: 3000, websocket: 8092 };
    assert_eq!(root.call(&GetClusterMetadata {}).unwrap(), node("127.0.0.1", endpoints));
}
