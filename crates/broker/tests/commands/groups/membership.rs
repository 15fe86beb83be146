//! Groups come and go, and members with them.

use galgo_wire::ErrorCode;
use galgo_wire::command::*;

use super::{create, delete, get, join, leave, list, lists, member, memberships, next, with_group};
use crate::requests::{
    create_partitions, create_topic, delete_partitions, delete_stream, delete_topic, id,
    purge_topic,
};
use crate::rig::{PASSWORD, Rig, login};

#[test]
fn groups_get_the_lowest_free_id_and_a_name_of_their_own() {
    let (_rig, mut root) = with_group(3);
    let created = root.call(&create("h")).unwrap();
    assert_eq!((created.group.id.get(), created.group.name.as_str()), (1, "h"));
    assert_eq!((created.group.partitions_count, created.group.members_count), (3, 0));
    assert_eq!(root.call(&create("h")), Err(ErrorCode::ConsumerGroupNameAlreadyExists));
    assert_eq!(root.call(&get("1")), Ok(Some(created.clone())));
    assert_eq!(root.call(&get("h")), Ok(Some(created)));
    let names = |groups: Vec<ConsumerGroup>| -> Vec<_> {
        groups.iter().map(|group| (group.id.get(), group.name.as_str().to_owned())).collect()
    };
    assert_eq!(names(root.call(&list()).unwrap()), [(0, "g".to_owned()), (1, "h".to_owned())]);
    assert_eq!(root.call(&GetStats {}).unwrap().consumer_groups_count, 2);
    root.call(&delete("g")).unwrap();
    assert_eq!(root.call(&get("g")), Ok(None));
    assert_eq!(root.call(&create("i")).unwrap().group.id.get(), 0);
    root.call(&create_topic("s", "u", 1)).unwrap();
    let other = CreateConsumerGroup { topic: id("u"), ..create("h") };
    assert_eq!(root.call(&other).unwrap().group.id.get(), 0, "names and ids are a topic's own");
}

#[test]
fn missing_places_are_empty_for_the_getters_and_errors_for_the_others() {
    let (_rig, mut root) = with_group(1);
    let places = [
        ("x", "t", ErrorCode::StreamIdNotFound),
        ("s", "x", ErrorCode::TopicIdNotFound),
        ("s", "t", ErrorCode::ConsumerGroupIdNotFound),
    ];
    for (stream, topic, error) in places {
        let (stream, topic) = (|| id(stream), || id(topic));
        let get = GetConsumerGroup { stream: stream(), topic: topic(), group: id("x") };
        assert_eq!(root.call(&get), Ok(None));
        let join = JoinConsumerGroup { stream: stream(), topic: topic(), group: id("x") };
        assert_eq!(root.call(&join), Err(error));
        let leave = LeaveConsumerGroup { stream: stream(), topic: topic(), group: id("x") };
        assert_eq!(root.call(&leave), Err(error));
        let delete = DeleteConsumerGroup { stream: stream(), topic: topic(), group: id("x") };
        assert_eq!(root.call(&delete), Err(error));
        if error != ErrorCode::ConsumerGroupIdNotFound {
            let list = GetConsumerGroups { stream: stream(), topic: topic() };
            assert_eq!(root.call(&list), Ok(Vec::new()));
            let create = CreateConsumerGroup { stream: stream(), topic: topic(), ..create("y") };
            assert_eq!(root.call(&create), Err(error));
        }
    }
}

#[test]
fn group_commands_need_the_right_to_read_the_topic() {
    let (rig, _root) = with_group(1);
    let mut nobody = rig.connect();
    nobody.call(&login("nobody", PASSWORD)).unwrap();
    let refused = ErrorCode::Unauthorized;
    assert_eq!(nobody.call(&get("g")).err(), Some(refused));
    assert_eq!(nobody.call(&list()).err(), Some(refused));
    assert_eq!(nobody.call(&create("x")).err(), Some(refused));
    assert_eq!(nobody.call(&delete("g")), Err(refused));
    assert_eq!(nobody.call(&join("g")), Err(refused));
    assert_eq!(nobody.call(&leave("g")), Err(refused));
}

#[test]
fn members_share_the_partitions_and_are_shown_where_they_are() {
    let (rig, mut root) = with_group(6);
    let mut first = member(&rig, "g");
    first.call(&join("g")).unwrap();
    assert_eq!(lists(&mut root), [vec![0, 1, 2, 3, 4, 5]], "joining again changes nothing");
    let mut second = member(&rig, "0");
    assert_eq!(lists(&mut root), [vec![0, 1, 2], vec![5, 4, 3]]);
    assert_eq!(memberships(&mut first), [(0, 0, 0)]);
    root.call(&create("h")).unwrap();
    second.call(&join("h")).unwrap();
    assert_eq!(memberships(&mut second), [(0, 0, 0), (0, 0, 1)]);
    assert_eq!(root.call(&list()).unwrap()[0].members_count, 2);

    second.call(&leave("g")).unwrap();
    assert_eq!(second.call(&leave("g")), Err(ErrorCode::ConsumerGroupMemberNotFound));
    assert_eq!(memberships(&mut second), [(0, 0, 1)]);
    assert_eq!(lists(&mut root), [vec![0, 1, 2, 3, 4, 5]]);
    let ids =
        |group: ConsumerGroupDetails| -> Vec<_> { group.members.iter().map(|m| m.id).collect() };
    drop(first);
    second.call(&join("g")).unwrap();
    assert_eq!(ids(root.call(&get("g")).unwrap().unwrap()), [0]);
}

/// INV-MEMBER-LISTED.
#[test]
fn whoever_disconnects_leaves_at_once() {
    let (rig, mut root) = with_group(6);
    let members: Vec<_> = (0..3).map(|_| member(&rig, "g")).collect();
    assert_eq!(lists(&mut root), [vec![0, 1], vec![5, 4], vec![2, 3]]);
    let mut members = members.into_iter();
    let first = members.next();
    drop(members);
    assert_eq!(lists(&mut root), [vec![0, 1, 2, 3, 4, 5]]);
    drop(first);
    assert_eq!(lists(&mut root), [] as [Vec<u32>; 0]);
}

#[test]
fn logout_keeps_the_membership() {
    let (rig, mut root) = with_group(1);
    let mut member = member(&rig, "g");
    member.call(&LogoutUser {}).unwrap();
    assert_eq!(lists(&mut root), [vec![0]]);
    member.call(&login("root", PASSWORD)).unwrap();
    assert_eq!(memberships(&mut member), [(0, 0, 0)]);
    assert!(member.poll(&next("g", None)).is_ok());
}

#[test]
fn members_leave_with_what_is_deleted() {
    for deleted in ["group", "topic", "stream"] {
        let (rig, mut root) = with_group(1);
        let mut member = member(&rig, "g");
        let (done, missing) = match deleted {
            "group" => (root.call(&delete("g")), ErrorCode::ConsumerGroupIdNotFound),
            "topic" => (root.call(&delete_topic("s", "t")), ErrorCode::TopicIdNotFound),
            _ => (root.call(&delete_stream("s")), ErrorCode::StreamIdNotFound),
        };
        done.unwrap();
        assert_eq!(memberships(&mut member), [], "{deleted}");
        assert_eq!(member.poll(&next("g", None)).err(), Some(missing));
        assert_eq!(member.call(&leave("g")), Err(missing));
        assert_eq!(root.call(&GetStats {}).unwrap().consumer_groups_count, 0);
    }
}

#[test]
fn group_with_a_used_id_begins_without_members() {
    let (rig, mut root) = with_group(2);
    let mut member = member(&rig, "g");
    root.call(&delete("g")).unwrap();
    assert_eq!(root.call(&create("g")).unwrap().group.id.get(), 0);
    assert_eq!(lists(&mut root), [] as [Vec<u32>; 0]);
    assert_eq!(member.poll(&next("g", None)).err(), Some(ErrorCode::ConsumerGroupMemberNotFound));
    drop(member);
    assert_eq!(lists(&mut root), [] as [Vec<u32>; 0]);
}

#[test]
fn partitions_that_come_and_go_are_shared_anew() {
    let (rig, mut root) = with_group(2);
    let _members: Vec<_> = (0..2).map(|_| member(&rig, "g")).collect();
    root.call(&create_partitions("s", "t", 3)).unwrap();
    assert_eq!(lists(&mut root), [vec![0, 2, 4], vec![1, 3]]);
    assert_eq!(root.call(&get("g")).unwrap().unwrap().group.partitions_count, 5);
    root.call(&delete_partitions("s", "t", 4)).unwrap();
    assert_eq!(lists(&mut root), [vec![0], vec![]]);
}

#[test]
fn purge_and_a_new_name_leave_members_where_they_are() {
    let (rig, mut root) = with_group(6);
    let mut members: Vec<_> = (0..2).map(|_| member(&rig, "g")).collect();
    let before = lists(&mut root);
    root.call(&purge_topic("s", "t")).unwrap();
    root.call(&crate::requests::update_topic("s", "t", "t")).unwrap();
    assert_eq!(lists(&mut root), before);
    assert_eq!(memberships(&mut members[0]), [(0, 0, 0)]);
}

#[test]
fn requests_that_are_not_of_a_listed_connection_cannot_join() {
    let (rig, mut root) = with_group(1);
    let peer = root.session.peer();
    let mut unlisted = rig.connection(rig.broker.connect_unlisted(peer));
    unlisted.call(&login("root", PASSWORD)).unwrap();
    assert_eq!(unlisted.call(&join("g")), Err(ErrorCode::StaleClient));
    assert_eq!(unlisted.poll(&next("g", None)).err(), Some(ErrorCode::StaleClient));
    assert_eq!(lists(&mut root), [] as [Vec<u32>; 0]);
}

#[test]
fn deleted_user_leaves_the_groups_of_its_connections() {
    let (rig, mut root) = with_group(2);
    let user = CreateUser {
        username: login("member", PASSWORD).username,
        password: login("member", PASSWORD).password,
        status: UserStatus::Active,
        permissions: Some(galgo_wire::permission::Permissions::root()),
    };
    root.call(&user).unwrap();
    let mut member = rig.connect();
    member.call(&login("member", PASSWORD)).unwrap();
    member.call(&join("g")).unwrap();
    root.call(&DeleteUser { user: id("member") }).unwrap();
    assert_eq!(lists(&mut root), [] as [Vec<u32>; 0]);
}

#[test]
fn groups_are_restored_without_their_members() {
    let (rig, mut root) = with_group(3);
    root.call(&create("h")).unwrap();
    root.call(&delete("g")).unwrap();
    let joined = member(&rig, "h");
    let before = root.call(&list()).unwrap();
    drop((joined, root));
    let rig: Rig = rig.cut_power(1);
    let mut root = rig.root();
    assert_eq!(
        root.call(&list()).unwrap(),
        [ConsumerGroup { members_count: 0, ..before[0].clone() }]
    );
    assert_eq!(root.call(&create("g")).unwrap().group.id.get(), 0);
}
