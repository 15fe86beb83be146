//! The request of the API that is a case, for the commands that have a route: where it goes is said by the table.

use galgo_wire::command::{CommandCode, HttpMethod, HttpRoute};
use serde_json::{Value, json};

use crate::cases::{Case, Missing};
use crate::client::{Answer, Http};
use crate::requests::PASSWORD;
use crate::server::topic;

/// A route, what a request says beside its path, and the status of a success.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    /// As the description of the API writes it.
    pub(crate) path: String,
    query: &'static str,
    body: Option<Value>,
    pub(crate) success: u16,
}

/// The route of a command, or nothing for one that has none of its own.
pub(crate) fn route(code: CommandCode) -> Option<Route> {
    let HttpRoute::At(method, path) = code.route() else { return None };
    let success = match (code, method) {
        (
            CommandCode::CreatePartitions
            | CommandCode::CreateConsumerGroup
            | CommandCode::SendMessages
            | CommandCode::SendWith,
            _,
        ) => 201,
        (CommandCode::StoreOffsetInLife, _) | (_, HttpMethod::Get | HttpMethod::Post) => 200,
        _ => 204,
    };
    let (method, path) = (method.name(), path.to_owned());
    Some(Route { method, path, query: query(code), body: body(code), success })
}

fn query(code: CommandCode) -> &'static str {
    match code {
        CommandCode::DeletePartitions => "?partitions_count=1",
        CommandCode::DeleteSegments => "?segments_count=0",
        CommandCode::PollMessages | CommandCode::PollInLife => "?consumer_id=reader&kind=first",
        CommandCode::GetConsumerOffset => "?consumer_id=matrix&partition_id=0",
        _ => "",
    }
}

fn body(code: CommandCode) -> Option<Value> {
    use CommandCode as C;
    let user = |name: &str, rest: Value| {
        let mut body = json!({"username": name, "password": PASSWORD});
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        body
    };
    Some(match code {
        C::GetSnapshot => json!({"compression": "Stored", "snapshot_types": ["Test"]}),
        C::CreateUser => user("brand new", json!({"status": "active"})),
        C::UpdateUser | C::ConfigureTopic => json!({}),
        C::UpdatePermissions => json!({"permissions": null}),
        C::ChangePassword => {
            json!({"current_password": "not the password", "new_password": PASSWORD})
        }
        C::ResetPassword => json!({"new_password": PASSWORD}),
        C::LoginUser => user("root", json!({})),
        C::CreateToken => json!({"name": "token", "expiry": 0}),
        C::LoginWithToken => json!({"token": "no token at all"}),
        C::CreateStream => json!({"name": "new"}),
        C::UpdateStream => json!({"name": "s"}),
        C::CreateTopic => topic("new", 1),
        C::UpdateTopic => topic("t", 1),
        C::CreatePartitions => json!({"partitions_count": 1}),
        C::SendMessages | C::SendWith => {
            let to = json!({"kind": "partition_id", "value": "AAAAAA=="});
            json!({"partitioning": to, "messages": [{"payload": "eA=="}]})
        }
        C::StoreConsumerOffset => {
            json!({"offset": 0, "consumer_id": "matrix", "partition_id": 0})
        }
        C::StoreOffsetInLife => json!({"offset": 0}),
        C::CreateConsumerGroup => json!({"name": "g2"}),
        _ => return None,
    })
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
