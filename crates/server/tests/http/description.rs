//! `/openapi.json` describes the routes there are.

use std::collections::BTreeSet;

use galgo_wire::command::{CommandCode, HttpRoute};

use crate::server::TestServer;

/// The routes that are no command.
const OTHERS: [(&str, &str); 6] = [
    ("get", "/"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("post", "/users/refresh-token"),
];

/// Every route there is to be: those of the table of commands, and the others.
fn routes() -> BTreeSet<(String, String)> {
    let of_commands = CommandCode::ALL.iter().filter_map(|code| match code.route() {
        HttpRoute::At(method, path) => {
            Some((format!("{method:?}").to_lowercase(), path.to_owned()))
        }
        HttpRoute::With(_) | HttpRoute::Nowhere(_) => None,
    });
    let others = OTHERS.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned()));
    of_commands.chain(others).collect()
}

#[test]
fn every_route_of_the_protocol_is_described_with_what_can_go_wrong() {
    let server = TestServer::start();
    let document = server.http().get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    for (method, path) in routes().iter().filter(|(_, path)| path != "/openapi.json") {
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
    let paths = document["paths"].as_object().unwrap().iter();
    let described = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(|method| (method.clone(), path.clone()))
    });
    assert_eq!(
        described.collect::<BTreeSet<_>>(),
        routes(),
        "each command of the table, and no more"
    );
}

/// Whoever generates a client from the description gets one that can call every route.
#[test]
fn every_part_of_a_path_is_a_parameter_and_every_reference_leads_somewhere() {
    let server = TestServer::start();
    let text = server.http().get("/openapi.json").text();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let (mut ids, mut count) = (BTreeSet::new(), 0);
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
