//! Consumer groups: made, shown with members that joined over a connection, and deleted.

use galgo_testkit::frames::Wire;
use serde_json::json;

use crate::server::{PASSWORD, TestServer, USERNAME};

const GROUPS: &str = "/streams/s/topics/t/consumer-groups";

/// The body of a failure without a code of its own.
fn missing() -> serde_json::Value {
    json!({"id": 404, "code": "not_found", "reason": "Resource not found", "field": null})
}

/// A connection that is logged in.
fn connect(server: &TestServer) -> Wire {
    let mut wire = Wire::connect(server.tcp());
    assert_eq!(wire.login(USERNAME, PASSWORD), 0);
    wire
}

#[test]
fn a_group_lives_from_creation_to_deletion() {
    let server = TestServer::start();
    let root = server.with_topic(3);
    let none = root.get(GROUPS);
    assert_eq!((none.status, none.json()), (200, json!([])));
    let created = root.post(GROUPS, &json!({"name": "g"}));
    let group = json!({"id": 0, "name": "g", "partitions_count": 3, "members_count": 0});
    let mut details = group.clone();
    details["members"] = json!([]);
    assert_eq!((created.status, created.json()), (201, details.clone()));
    for name in ["g", "0"] {
        let shown = root.get(&format!("{GROUPS}/{name}"));
        assert_eq!((shown.status, shown.json()), (200, details.clone()), "{name}");
    }
    assert_eq!(root.get(GROUPS).json(), json!([group]));

    let again = root.post(GROUPS, &json!({"name": "g"}));
    assert_eq!(again.error(), (400, 5004));
    assert_eq!(again.json()["field"], "name");
    assert_eq!(root.post(GROUPS, &json!({"name": ""})).error(), (400, 5005));
    assert_eq!(root.post(GROUPS, &json!({"name": "x".repeat(256)})).error(), (400, 5005));
    assert_eq!(root.post(GROUPS, &json!({})).status, 422);

    let gone = root.delete(&format!("{GROUPS}/g"));
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    let again = root.delete(&format!("{GROUPS}/g"));
    assert_eq!(again.error(), (404, 5000));
    assert_eq!(again.json()["code"], "consumer_group_id_not_found");
    assert_eq!(root.get(&format!("{GROUPS}/g")).error(), (404, 5000), "not the generic body");
    assert_eq!(root.get(GROUPS).json(), json!([]));
}

#[test]
fn what_is_missing_is_told_apart() {
    let server = TestServer::start();
    let root = server.with_topic(1);
    let name = json!({"name": "g"});
    for (topic, code) in [("/streams/x/topics/t", 1009), ("/streams/s/topics/x", 2010)] {
        let groups = format!("{topic}/consumer-groups");
        let list = root.get(&groups);
        assert_eq!((list.status, list.json()), (404, missing()), "{topic}");
        assert_eq!(root.get(&format!("{groups}/g")).error(), (404, 5000), "{topic}");
        assert_eq!(root.post(&groups, &name).error(), (404, code), "{topic}");
        assert_eq!(root.delete(&format!("{groups}/g")).error(), (404, code), "{topic}");
    }
}

#[test]
fn members_are_shown_with_their_partitions_until_they_are_gone() {
    let server = TestServer::start();
    let root = server.with_topic(3);
    assert_eq!(root.post(GROUPS, &json!({"name": "g"})).status, 201);
    // JOIN_CONSUMER_GROUP of group "g" of topic "t" of stream "s".
    let join = [2, 1, b's', 2, 1, b't', 2, 1, b'g'];
    let mut first = connect(&server);
    assert_eq!(first.status(604, &join), 0);
    let expected = json!({
        "id": 0, "name": "g", "partitions_count": 3, "members_count": 1,
        "members": [{"id": 0, "partitions_count": 3, "partitions": [0, 1, 2]}],
    });
    assert_eq!(root.get(&format!("{GROUPS}/g")).json(), expected);
    let mut second = connect(&server);
    assert_eq!(second.status(604, &join), 0);
    let shared = root.get(&format!("{GROUPS}/g")).json();
    assert_eq!((&shared["members_count"], &shared["members"][1]["id"]), (&json!(2), &json!(1)));
    assert_eq!(root.get(GROUPS).json()[0]["members_count"], 2);

    let clients = root.get("/clients").json();
    assert_eq!(clients[0]["consumer_groups_count"], 1);
    let client = root.get(&format!("/clients/{}", clients[0]["client_id"])).json();
    let place = json!([{"stream_id": 0, "topic_id": 0, "group_id": 0}]);
    assert_eq!(client["consumer_groups"], place);
    assert_eq!(root.get("/stats").json()["consumer_groups_count"], 1);

    assert_eq!(root.delete(&format!("{GROUPS}/0")).status, 204);
    let clients = root.get("/clients").json();
    assert_eq!(clients[0]["consumer_groups_count"], 0, "members leave with their group");
    assert_eq!(first.status(605, &join), 5000);
}
