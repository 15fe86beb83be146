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
    ("get", "/features"),
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
    ("get", "/streams/{stream}/topics/{topic}/settings"),
    ("get", "/streams/{stream}/topics/{topic}/outline"),
    ("get", "/streams/{stream}/topics/{topic}/retention"),
    ("get", "/streams/{stream}/topics/{topic}/retention/plan"),
    ("get", "/streams/{stream}/topics/{topic}/offsets"),
    ("delete", "/streams/{stream}/topics/{topic}/purge"),
    ("post", "/streams/{stream}/topics/{topic}/partitions"),
    ("delete", "/streams/{stream}/topics/{topic}/partitions"),
    ("delete", "/streams/{stream}/topics/{topic}/partitions/{partition_id}"),
    ("get", "/streams/{stream}/topics/{topic}/partitions/{partition_id}/messages"),
    ("post", "/streams/{stream}/topics/{topic}/partitions/{partition_id}/rescue"),
    ("post", "/streams/{stream}/topics/{topic}/batches"),
    ("get", "/streams/{stream}/topics/{topic}/messages"),
    ("post", "/streams/{stream}/topics/{topic}/messages"),
    ("get", "/streams/{stream}/topics/{topic}/messages/flush/{partition_id}/{fsync}"),
    ("get", "/streams/{stream}/topics/{topic}/consumer-groups"),
    ("post", "/streams/{stream}/topics/{topic}/consumer-groups"),
    ("get", "/streams/{stream}/topics/{topic}/consumer-groups/{group}"),
    ("delete", "/streams/{stream}/topics/{topic}/consumer-groups/{group}"),
    ("get", "/streams/{stream}/topics/{topic}/consumer-offsets"),
    ("put", "/streams/{stream}/topics/{topic}/consumer-offsets"),
    ("put", "/streams/{stream}/topics/{topic}/consumer-offsets/{consumer_id}"),
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

/// Whoever generates a client from the description gets one that can call every route.
#[test]
fn every_part_of_a_path_is_a_parameter_and_every_reference_leads_somewhere() {
    let server = TestServer::start();
    let text = server.http().get("/openapi.json").text();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let (mut ids, mut count) = (std::collections::BTreeSet::new(), 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        let parts = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parts: Vec<&str> = parts.collect();
        for (method, operation) in item.as_object().unwrap() {
            let none = Vec::new();
            let parameters = operation["parameters"].as_array().unwrap_or(&none);
            let named = parameters.iter().filter(|parameter| parameter["in"] == "path");
            let named: Vec<&str> = named.map(|named| named["name"].as_str().unwrap()).collect();
            assert_eq!(named, parts, "{method} {path}");
            assert!(operation["summary"].is_string(), "{method} {path}");
            ids.insert(operation["operationId"].as_str().unwrap().to_owned());
            count += 1;
        }
    }
    assert_eq!(ids.len(), count, "operations have names of their own");
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}
