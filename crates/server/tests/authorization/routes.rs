//! The request of the API that is a case, for the commands that have a route.

use galgo_wire::command::CommandCode;
use serde_json::{Value, json};

use crate::cases::{Case, Missing};
use crate::client::{Answer, Http};
use crate::requests::PASSWORD;
use crate::server::topic;

const TOPIC: &str = "/streams/{stream}/topics/{topic}";

/// A route, what a request says beside its path, and the status of a success.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    /// As the description of the API writes it.
    pub(crate) path: String,
    query: &'static str,
    body: Option<Value>,
    pub(crate) success: u16,
}

fn get(path: &str) -> Option<Route> {
    Some(Route { method: "GET", path: path.to_owned(), query: "", body: None, success: 200 })
}

fn delete(path: &str) -> Option<Route> {
    Some(Route { method: "DELETE", success: 204, ..get(path)? })
}

fn put(path: &str, body: Value) -> Option<Route> {
    Some(Route { method: "PUT", body: Some(body), success: 204, ..get(path)? })
}

fn patch(path: &str, body: Value) -> Option<Route> {
    Some(Route { method: "PATCH", ..put(path, body)? })
}

fn post(success: u16, path: &str, body: Value) -> Option<Route> {
    Some(Route { method: "POST", body: Some(body), success, ..get(path)? })
}

fn with(query: &'static str, route: Option<Route>) -> Option<Route> {
    Some(Route { query, ..route? })
}

/// The route of a command, or nothing for one that has none.
pub(crate) fn route(code: CommandCode) -> Option<Route> {
    use CommandCode as C;
    let user = |name: &str, rest: Value| {
        let mut body = json!({"username": name, "password": PASSWORD});
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        body
    };
    match code {
        C::Ping => get("/ping"),
        C::GetStats => get("/stats"),
        C::GetSnapshot => {
            post(200, "/snapshot", json!({"compression": "Stored", "snapshot_types": ["Test"]}))
        }
        C::GetClusterMetadata => get("/cluster/metadata"),
        C::GetClient => get("/clients/{client_id}"),
        C::GetClients => get("/clients"),
        C::GetUser => get("/users/{user}"),
        C::GetUsers => get("/users"),
        C::CreateUser => post(200, "/users", user("brand new", json!({"status": "active"}))),
        C::DeleteUser => delete("/users/{user}"),
        C::UpdateUser => put("/users/{user}", json!({})),
        C::UpdatePermissions => put("/users/{user}/permissions", json!({"permissions": null})),
        C::ChangePassword => {
            let wrong = json!({"current_password": "not the password", "new_password": PASSWORD});
            put("/users/{user}/password", wrong)
        }
        C::ResetPassword => put("/users/{user}/password/reset", json!({"new_password": PASSWORD})),
        C::LoginUser => post(200, "/users/login", user("root", json!({}))),
        C::LogoutUser => delete("/users/logout"),
        C::GetTokens => get("/personal-access-tokens"),
        C::CreateToken => {
            post(200, "/personal-access-tokens", json!({"name": "token", "expiry": 0}))
        }
        C::DeleteToken => delete("/personal-access-tokens/{name}"),
        C::LoginWithToken => {
            post(200, "/personal-access-tokens/login", json!({"token": "no token at all"}))
        }
        C::GetStream => get("/streams/{stream}"),
        C::GetStreams => get("/streams"),
        C::CreateStream => post(200, "/streams", json!({"name": "new"})),
        C::DeleteStream => delete("/streams/{stream}"),
        C::UpdateStream => put("/streams/{stream}", json!({"name": "s"})),
        C::PurgeStream => delete("/streams/{stream}/purge"),
        C::GetTopics => get("/streams/{stream}/topics"),
        C::CreateTopic => post(200, "/streams/{stream}/topics", topic("new", 1)),
        _ => route_of_topic(code),
    }
}

fn route_of_topic(code: CommandCode) -> Option<Route> {
    use CommandCode as C;
    let at = |rest: &str| format!("{TOPIC}{rest}");
    match code {
        C::GetTopic => get(TOPIC),
        C::UpdateTopic => put(TOPIC, topic("t", 1)),
        C::DeleteTopic => delete(TOPIC),
        C::PurgeTopic => delete(&at("/purge")),
        C::GetTopicConfig => get(&at("/options")),
        C::ConfigureTopic => patch(&at("/options"), json!({})),
        C::CreatePartitions => post(201, &at("/partitions"), json!({"partitions_count": 1})),
        C::DeletePartitions => with("?partitions_count=1", delete(&at("/partitions"))),
        C::DeleteSegments => with("?segments_count=0", delete(&at("/partitions/{partition_id}"))),
        C::PollMessages => with("?consumer_id=reader&kind=first", get(&at("/messages"))),
        C::SendMessages => {
            let to = json!({"kind": "partition_id", "value": "AAAAAA=="});
            let body = json!({"partitioning": to, "messages": [{"payload": "eA=="}]});
            post(201, &at("/messages"), body)
        }
        C::FlushUnsavedBuffer => get(&at("/messages/flush/{partition_id}/{fsync}")),
        C::GetConsumerOffset => {
            with("?consumer_id=matrix&partition_id=0", get(&at("/consumer-offsets")))
        }
        C::StoreConsumerOffset => {
            let body = json!({"offset": 0, "consumer_id": "matrix", "partition_id": 0});
            put(&at("/consumer-offsets"), body)
        }
        C::DeleteConsumerOffset => delete(&at("/consumer-offsets/{consumer_id}")),
        C::GetConsumerGroup => get(&at("/consumer-groups/{group}")),
        C::GetConsumerGroups => get(&at("/consumer-groups")),
        C::CreateConsumerGroup => post(201, &at("/consumer-groups"), json!({"name": "g2"})),
        C::DeleteConsumerGroup => delete(&at("/consumer-groups/{group}")),
        _ => None,
    }
}

impl Route {
    /// Sends the request of a case.
    pub(crate) fn request(&self, http: &Http, case: &Case) -> Answer {
        let named =
            |there: &'static str, missing| if case.missing == missing { "none" } else { there };
        let path = self
            .path
            .replace("{stream}", named("s", Missing::Outer))
            .replace("{topic}", named("t", Missing::Topic))
            .replace("{group}", named("g", Missing::Group))
            .replace("{user}", named("other", Missing::Outer))
            .replace("{client_id}", "4294967295")
            .replace("{name}", "token")
            .replace("{partition_id}", "0")
            .replace("{fsync}", "true")
            .replace("{consumer_id}", "matrix");
        http.request(self.method, &format!("{path}{}", self.query), self.body.as_ref())
    }
}
