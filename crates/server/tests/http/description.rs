//! `/openapi.json` describes the routes there are.

use crate::server::TestServer;

/// The routes of the protocol, as the description writes them.
const ROUTES: &[(&str, &str)] = &[
    ("get", "/"),
    ("get", "/ping"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/metrics"),
    ("get", "/stats"),
    ("get", "/cluster/metadata"),
    ("get", "/clients"),
    ("get", "/clients/{client_id}"),
    ("post", "/snapshot"),
    ("post", "/users/login"),
    ("post", "/users/refresh-token"),
    ("delete", "/users/logout"),
    ("get", "/users"),
    ("post", "/users"),
    ("get", "/users/{user}"),
    ("put", "/users/{user}"),
    ("delete", "/users/{user}"),
    ("put", "/users/{user}/permissions"),
    ("put", "/users/{user}/password"),
    ("put", "/users/{user}/password/reset"),
    ("get", "/personal-access-tokens"),
    ("post", "/personal-access-tokens"),
    ("delete", "/personal-access-tokens/{name}"),
    ("post", "/personal-access-tokens/login"),
    ("get", "/streams"),
    ("post", "/streams"),
    ("get", "/streams/{stream}"),
    ("put", "/streams/{stream}"),
    ("delete", "/streams/{stream}"),
    ("delete", "/streams/{stream}/purge"),
    ("get", "/streams/{stream}/topics"),
    ("post", "/streams/{stream}/topics"),
    ("get", "/streams/{stream}/topics/{topic}"),
    ("put", "/streams/{stream}/topics/{topic}"),
    ("delete", "/streams/{stream}/topics/{topic}"),
    ("get", "/streams/{stream}/topics/{topic}/options"),
    ("patch", "/streams/{stream}/topics/{topic}/options"),
    ("delete", "/streams/{stream}/topics/{topic}/purge"),
    ("post", "/streams/{stream}/topics/{topic}/partitions"),
    ("delete", "/streams/{stream}/topics/{topic}/partitions"),
    ("delete", "/streams/{stream}/topics/{topic}/partitions/{partition_id}"),
    ("get", "/streams/{stream}/topics/{topic}/messages"),
    ("post", "/streams/{stream}/topics/{topic}/messages"),
    ("get", "/streams/{stream}/topics/{topic}/messages/flush/{partition_id}/{fsync}"),
    ("get", "/streams/{stream}/topics/{topic}/consumer-groups"),
    ("post", "/streams/{stream}/topics/{topic}/consumer-groups"),
    ("get", "/streams/{stream}/topics/{topic}/consumer-groups/{group}"),
    ("delete", "/streams/{stream}/topics/{topic}/consumer-groups/{group}"),
    ("get", "/streams/{stream}/topics/{topic}/consumer-offsets"),
    ("put", "/streams/{stream}/topics/{topic}/consumer-offsets"),
    ("delete", "/streams/{stream}/topics/{topic}/consumer-offsets/{consumer_id}"),
];

#[test]
fn every_route_of_the_protocol_is_described_with_what_can_go_wrong() {
    let server = TestServer::start();
    let document = server.http().get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    for (method, path) in ROUTES {
        let responses = &document["paths"][path][method]["responses"];
        assert!(responses.is_object(), "{method} {path}");
        if document["paths"][path][method]["security"].is_null() {
            assert!(responses["401"].is_object() && responses["403"].is_object(), "{path}");
        }
        if document["paths"][path][method]["requestBody"].is_object() {
            for status in ["400", "413", "415", "422"] {
                assert!(responses[status].is_object(), "{method} {path} {status}");
            }
        }
    }
    let described: usize = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|item| item.as_object().unwrap().len())
        .sum();
    assert_eq!(described, ROUTES.len() + 1, "the description itself is the only other route");
}
