//! Users: what comes back, what is refused, and what becomes of their tokens.

use serde_json::{Value, json};

use crate::server::TestServer;

fn flags(names: &[&str], on: &[&str]) -> Value {
    names
        .iter()
        .map(|name| ((*name).to_owned(), json!(on.contains(name))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Permissions with these global flags, and a stream of its own for sending.
fn permissions(on: &[&str]) -> Value {
    let global = [
        "manage_servers",
        "read_servers",
        "manage_users",
        "read_users",
        "manage_streams",
        "read_streams",
        "manage_topics",
        "read_topics",
        "poll_messages",
        "send_messages",
    ];
    let stream = [
        "manage_stream",
        "read_stream",
        "manage_topics",
        "read_topics",
        "poll_messages",
        "send_messages",
    ];
    let topic = ["manage_topic", "read_topic", "poll_messages", "send_messages"];
    let mut one = flags(&stream, &["read_stream"]);
    one["topics"] = json!({"4": flags(&topic, &["send_messages"])});
    json!({"global": flags(&global, on), "streams": {"3": one}})
}

fn user(name: &str, permissions: &Value) -> Value {
    json!({
        "username": name, "password": "secret", "status": "active", "permissions": permissions,
    })
}

#[test]
fn a_user_lives_from_creation_to_deletion() {
    let server = TestServer::start();
    let root = server.root();
    let granted = permissions(&["read_users"]);
    let created = root.post("/users", &user("alice", &granted));
    assert_eq!(created.status, 200, "{}", created.text());
    let shown = created.json();
    let expected = json!({
        "id": 1, "created_at": shown["created_at"], "status": "active", "username": "alice",
        "permissions": granted,
    });
    assert_eq!(shown, expected);
    assert_eq!(root.get("/users/alice").json(), expected);
    assert_eq!(root.get("/users/1").json(), expected);
    assert_eq!(root.get("/users").json()[1]["username"], "alice");

    assert_eq!(root.post("/users", &user("alice", &Value::Null)).error(), (400, 46));
    assert_eq!(root.post("/users", &user("al", &Value::Null)).error(), (400, 43));
    let mut bad = user("bob", &Value::Null);
    bad["password"] = json!("x");
    assert_eq!(root.post("/users", &bad).error(), (400, 44));
    bad.as_object_mut().unwrap().remove("status");
    assert_eq!(root.post("/users", &bad).status, 422);

    assert_eq!(root.put("/users/alice", &json!({})).status, 204);
    assert_eq!(root.put("/users/alice", &json!({"username": "iggy"})).error(), (400, 46));
    assert_eq!(root.put("/users/nobody", &json!({})).error(), (404, 20));
    assert_eq!(root.put("/users/alice/permissions", &json!({"permissions": null})).status, 204);
    assert_eq!(root.get("/users/alice").json()["permissions"], Value::Null);
    assert_eq!(root.put("/users/0/permissions", &json!({"permissions": null})).error(), (400, 49));
    let change = |current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new});
        root.put("/users/alice/password", &body)
    };
    assert_eq!(change("wrong", "secret2").error(), (400, 42));
    assert_eq!(change("secret", "x").error(), (400, 44));
    assert_eq!(change("secret", "secret2").status, 204);
    assert_eq!(server.http().login("alice", "secret2").get("/ping").status, 200);
    assert_eq!(root.put("/users/alice", &json!({"status": "inactive"})).status, 204);
    let refused =
        server.http().post("/users/login", &json!({"username": "alice", "password": "secret2"}));
    assert_eq!(refused.error(), (400, 47));
    assert_eq!(root.delete("/users/0").error(), (400, 48));
    assert_eq!(root.delete("/users/alice").status, 204);
    assert_eq!(root.delete("/users/alice").error(), (404, 20));
    assert_eq!(root.get("/users/alice").error(), (404, 404));
}

/// Ids of users are given out again. A token names the account by a serial number as well, so the token
/// of a deleted user may do nothing, whoever has the id now.
///
/// INV-TOKEN-USER.
#[test]
fn the_token_of_a_deleted_user_never_acts_for_the_next_one() {
    let server = TestServer::start();
    let root = server.root();
    root.post("/users", &user("alice", &permissions(&["read_servers"])));
    let alice = server.http().login("alice", "secret");
    assert_eq!(alice.get("/stats").status, 200);
    root.delete("/users/alice");
    assert_eq!(alice.get("/stats").error(), (403, 41));
    let again = root.post("/users", &user("mallory", &permissions(&["read_servers"]))).json();
    assert_eq!(again["id"], 1);
    assert_eq!(alice.get("/stats").error(), (403, 41));
    let token = json!({"token": alice.token});
    assert_eq!(server.http().post("/users/refresh-token", &token).error(), (401, 78));
}
