//! The JSON of what classic clients know, byte for byte.

use galgo_wire::command::*;
use galgo_wire::json::{AsJson, Json};
use galgo_wire::permission::{GlobalPermissions, Permissions, StreamPermissions};
use galgo_wire::{
    ClientId, GroupId, GroupName, Name, Offset, PartitionId, StreamId, StreamName, Timestamp,
    TopicId, TopicName, UserId,
};

fn text(value: &impl Json) -> String {
    serde_json::to_string(&AsJson(value)).unwrap()
}

fn topic() -> Topic {
    Topic {
        id: TopicId::new(2),
        created_at: Timestamp::new(3),
        partitions_count: 1,
        message_expiry: MessageExpiry::NEVER,
        compression: Compression::Gzip,
        max_topic_size: MaxTopicSize::new(4),
        replication_factor: 5,
        size: 138,
        messages_count: 6,
        name: TopicName::parse("t").unwrap(),
    }
}

const TOPIC: &str = r#"{"id":2,"created_at":3,"name":"t","size":"138 B","message_expiry":18446744073709551615,"compression_algorithm":"gzip","max_topic_size":4,"replication_factor":5,"messages_count":6,"partitions_count":1"#;

#[test]
fn streams_and_topics_with_what_is_in_them() {
    let stream = Stream {
        id: StreamId::new(1),
        created_at: Timestamp::new(2),
        topics_count: 1,
        size: u64::MAX,
        messages_count: 3,
        name: StreamName::parse("ä\"").unwrap(),
    };
    let head = r#"{"id":1,"created_at":2,"name":"ä\"","size":"18446744073709551615 B","messages_count":3,"topics_count":1"#;
    assert_eq!(text(&stream), format!("{head}}}"));
    let details = StreamDetails { stream, topics: vec![topic()] };
    assert_eq!(text(&details), format!("{head},\"topics\":[{TOPIC}}}]}}"));

    let partition = Partition {
        id: PartitionId::new(0),
        created_at: Timestamp::new(1),
        segments_count: 2,
        current_offset: Offset::new(3),
        size: 0,
        messages_count: 4,
    };
    let shown = r#"{"id":0,"created_at":1,"segments_count":2,"current_offset":3,"size":"0 B","messages_count":4}"#;
    let details = TopicDetails { topic: topic(), partitions: vec![partition] };
    assert_eq!(text(&details), format!("{TOPIC},\"partitions\":[{shown}]}}"));
}

#[test]
fn groups_offsets_and_options() {
    let name = GroupName::parse("g").unwrap();
    let group = ConsumerGroup { id: GroupId::new(1), partitions_count: 2, members_count: 1, name };
    let member = GroupMember::new(7, vec![PartitionId::new(0), PartitionId::new(1)]);
    let shown = r#"{"id":1,"name":"g","partitions_count":2,"members_count":1,"members":[{"id":7,"partitions_count":2,"partitions":[0,1]}]}"#;
    assert_eq!(text(&ConsumerGroupDetails { group, members: vec![member] }), shown);
    let (partition_id, current_offset) = (PartitionId::new(1), Offset::new(2));
    let offset = ConsumerOffset { partition_id, current_offset, stored_offset: Offset::new(1) };
    let shown = r#"{"partition_id":1,"current_offset":2,"stored_offset":1}"#;
    assert_eq!(text(&offset), shown);
    let (name, value) = ("durability".to_owned(), "os".to_owned());
    let shown = r#"[{"name":"durability","value":"os","default":true}]"#;
    assert_eq!(text(&vec![ResolvedOption { name, value, default: true }]), shown);
}

#[test]
fn users_and_what_they_may_do() {
    let user = User {
        id: UserId::new(1),
        created_at: Timestamp::new(2),
        status: UserStatus::Inactive,
        username: Name::parse("ann").unwrap(),
    };
    let head = r#"{"id":1,"created_at":2,"status":"inactive","username":"ann""#;
    let nothing = UserDetails { user: user.clone(), permissions: None };
    assert_eq!(text(&nothing), format!("{head},\"permissions\":null}}"));
    let global = GlobalPermissions { read_streams: true, ..GlobalPermissions::default() };
    let flags = r#""global":{"manage_servers":false,"read_servers":false,"manage_users":false,"read_users":false,"manage_streams":false,"read_streams":true,"manage_topics":false,"read_topics":false,"poll_messages":false,"send_messages":false}"#;
    let mut permissions = Permissions { global, ..Permissions::default() };
    let some = UserDetails { user, permissions: Some(permissions.clone()) };
    assert_eq!(text(&some), format!("{head},\"permissions\":{{{flags},\"streams\":null}}}}"));
    permissions.streams.insert(StreamId::new(3), StreamPermissions::default());
    let stream = r#""manage_stream":false,"read_stream":false,"manage_topics":false,"read_topics":false,"poll_messages":false,"send_messages":false"#;
    let shown = format!("{{{flags},\"streams\":{{\"3\":{{{stream},\"topics\":null}}}}}}");
    assert_eq!(text(&permissions), shown);
    assert_eq!(serde_json::from_str::<Permissions>(&shown).unwrap(), permissions);
    let without = format!("{{{flags}}}");
    let read: Permissions = serde_json::from_str(&without).unwrap();
    assert!(read.streams.is_empty() && read.global.read_streams);

    let name = Name::parse("laptop").unwrap();
    assert_eq!(text(&Token { name, expiry_at: None }), r#"{"name":"laptop","expiry_at":null}"#);
}

#[test]
fn connections_the_cluster_and_statistics() {
    let client = Client {
        client_id: ClientId::new(9),
        user_id: None,
        transport: Transport::WebSocket,
        address: "127.0.0.1:1".to_owned(),
        consumer_groups_count: 1,
    };
    let (stream_id, topic_id, group_id) = (StreamId::new(1), TopicId::new(2), GroupId::new(3));
    let groups = vec![Membership { stream_id, topic_id, group_id }];
    let shown = r#"{"client_id":9,"user_id":null,"address":"127.0.0.1:1","transport":"ws","consumer_groups_count":1,"consumer_groups":[{"stream_id":1,"topic_id":2,"group_id":3}]}"#;
    assert_eq!(text(&ClientDetails { client, consumer_groups: groups }), shown);

    let node = ClusterNode {
        name: "n".to_owned(),
        ip: "::1".to_owned(),
        endpoints: Endpoints { tcp: 1, quic: 0, http: 2, websocket: 0 },
        role: NodeRole::Leader,
        status: NodeStatus::Healthy,
    };
    let shown = r#"{"name":"c","nodes":[{"name":"n","ip":"::1","endpoints":{"tcp":1,"quic":0,"http":2,"websocket":0},"role":"leader","status":"healthy"}]}"#;
    assert_eq!(text(&ClusterMetadata { name: "c".to_owned(), nodes: vec![node] }), shown);

    let (stream_id, topic_id, partition_id) =
        (StreamId::new(1), TopicId::new(2), PartitionId::new(3));
    let cache =
        CacheMetrics { stream_id, topic_id, partition_id, hits: 4, misses: 5, hit_ratio: 0.5 };
    let stats =
        Stats { cpu_usage: 1.5, memory_usage: 7, cache_metrics: vec![cache], ..Stats::default() };
    let shown = r#"{"process_id":0,"cpu_usage":1.5,"total_cpu_usage":0.0,"memory_usage":"7 B","total_memory":"0 B","available_memory":"0 B","run_time":0,"start_time":0,"read_bytes":"0 B","written_bytes":"0 B","messages_size_bytes":"0 B","streams_count":0,"topics_count":0,"partitions_count":0,"segments_count":0,"messages_count":0,"clients_count":0,"consumer_groups_count":0,"hostname":"","os_name":"","os_version":"","kernel_version":"","iggy_server_version":"","iggy_server_semver":null,"cache_metrics":{"1-2-3":{"hits":4,"misses":5,"hit_ratio":0.5}},"threads_count":0,"free_disk_space":"0 B","total_disk_space":"0 B"}"#;
    assert_eq!(text(&stats), shown);
    let known = Stats { server_semver: 8_000, ..Stats::default() };
    assert!(text(&known).contains(r#""iggy_server_semver":8000,"#));
}
