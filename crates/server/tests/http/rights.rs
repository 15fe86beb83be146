//! Every route for a user who may do nothing: the answer is the broker's 403 or what it lets anyone see.

use serde_json::json;

use crate::server::{TestServer, topic};

#[test]
fn a_user_without_permissions_is_refused_on_every_route_that_asks_for_one() {
    let server = TestServer::start();
    let root = server.with_topic(1);
    let user = json!({"username": "nobody", "password": "secret", "status": "active"});
    assert_eq!(root.post("/users", &user).status, 200);
    let nobody = server.http().login("nobody", "secret");
    let t = "/streams/s/topics/t";
    let name = json!({"name": "x"});
    let rename = json!({"username": "other"});
    let none = json!({"permissions": null});
    let balanced = json!({"kind": "balanced", "value": ""});
    let send = json!({"partitioning": balanced, "messages": [{"payload": "YQ=="}]});
    let refused = [
        ("GET", "/stats".to_owned(), None),
        ("GET", "/clients".to_owned(), None),
        ("GET", "/clients/1".to_owned(), None),
        ("GET", "/users".to_owned(), None),
        ("GET", "/users/0".to_owned(), None),
        ("POST", "/users".to_owned(), Some(user)),
        ("PUT", "/users/0".to_owned(), Some(rename)),
        ("DELETE", "/users/0".to_owned(), None),
        ("PUT", "/users/0/permissions".to_owned(), Some(none)),
        ("GET", "/streams".to_owned(), None),
        ("POST", "/streams".to_owned(), Some(name.clone())),
        ("GET", "/streams/s".to_owned(), None),
        ("PUT", "/streams/s".to_owned(), Some(name.clone())),
        ("DELETE", "/streams/s".to_owned(), None),
        ("DELETE", "/streams/s/purge".to_owned(), None),
        ("GET", "/streams/s/topics".to_owned(), None),
        ("POST", "/streams/s/topics".to_owned(), Some(topic("u", 1))),
        ("GET", t.to_owned(), None),
        ("PUT", t.to_owned(), Some(topic("u", 1))),
        ("DELETE", t.to_owned(), None),
        ("DELETE", format!("{t}/purge"), None),
        ("GET", format!("{t}/options"), None),
        ("PATCH", format!("{t}/options"), Some(json!({"durability": "os"}))),
        ("GET", format!("{t}/settings"), None),
        ("GET", format!("{t}/outline"), None),
        ("GET", format!("{t}/retention"), None),
        ("GET", format!("{t}/retention/plan"), None),
        ("GET", format!("{t}/offsets"), None),
        ("POST", format!("{t}/partitions"), Some(json!({"partitions_count": 1}))),
        ("DELETE", format!("{t}/partitions?partitions_count=1"), None),
        ("GET", format!("{t}/messages"), None),
        ("GET", format!("{t}/partitions/0/messages"), None),
        ("POST", format!("{t}/messages"), Some(send.clone())),
        ("POST", format!("{t}/batches"), Some(send)),
        ("GET", format!("{t}/messages/flush/0/true"), None),
        ("GET", format!("{t}/consumer-offsets"), None),
        ("PUT", format!("{t}/consumer-offsets"), Some(json!({"offset": 0}))),
        ("PUT", format!("{t}/consumer-offsets/1"), Some(json!({"offset": 0}))),
        ("DELETE", format!("{t}/consumer-offsets/1"), None),
    ];
    for (method, path, body) in &refused {
        let answer = nobody.request(method, path, body.as_ref());
        assert_eq!(answer.error(), (403, 41), "{method} {path}");
        let anonymous = server.http().request(method, path, body.as_ref());
        assert_eq!((anonymous.status, anonymous.body.len()), (401, 0), "{method} {path}");
    }
    assert_eq!(nobody.get("/cluster/metadata").status, 200);
    assert_eq!(nobody.get("/features").status, 200);
    assert_eq!(nobody.get("/personal-access-tokens").json(), json!([]));
    assert_eq!(nobody.get("/users/nobody").json()["username"], "nobody");
    assert_eq!(root.get("/streams/s/topics/t").json()["messages_count"], 0);
}
