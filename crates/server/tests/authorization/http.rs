//! The walk over HTTP: status and body of every answer.

use std::collections::BTreeSet;

use galgo_wire::ErrorCode;
use galgo_wire::command::{CommandCode, CreateUser, DeleteUser};
use galgo_wire::permission::Permissions;

use crate::answers::check;
use crate::cases::{Case, cases, create_user};
use crate::client::Http;
use crate::held::{Held, expected};
use crate::requests::id;
use crate::routes::{Route, route};
use crate::table::{Asks, asks};
use crate::world::World;

/// Routes that are no commands, and are public.
const OTHERS: [(&str, &str); 6] = [
    ("get", "/"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("post", "/users/refresh-token"),
];

/// The cases that have a route, with it.
fn routed() -> Vec<(Route, Case)> {
    cases().into_iter().filter_map(|case| Some((route(case.code)?, case))).collect()
}

fn asks_nothing(case: &Case) -> bool {
    matches!(asks(case.code.as_u32()), Asks::Nothing)
}

#[test]
fn the_cases_have_every_route_there_is() {
    let world = World::new();
    let description = world.server.http().get("/openapi.json").json();
    let paths = description["paths"].as_object().unwrap().iter();
    let described: BTreeSet<(String, String)> = paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| (method.clone(), path.clone()))
        })
        .collect();
    let walked = routed().into_iter().map(|(route, _)| (route.method.to_lowercase(), route.path));
    let others = OTHERS.map(|(method, path)| (method.to_owned(), path.to_owned()));
    assert_eq!(walked.chain(others).collect::<BTreeSet<_>>(), described);
}

#[test]
fn over_http_each_flag_alone_allows_what_the_table_says_and_nothing_else() {
    let mut world = World::new();
    let mut caller = world.http();
    let routed = routed();
    for held in Held::all() {
        println!("{held:?}");
        world.prepare(held);
        for (route, case) in &routed {
            let answer = route.request(&caller, case);
            check(&answer, (route, case), expected(case, held));
            if answer.status >= 300 {
                continue;
            }
            match case.code {
                CommandCode::LogoutUser => caller = world.http(),
                code => world.repair(held, code),
            }
        }
    }
}

#[test]
fn over_http_nothing_but_a_ping_and_the_logins_is_answered_without_a_token() {
    let mut world = World::new();
    world.prepare(Held::Nothing);
    let nobody = world.server.http();
    let callers: [Http; 2] = [nobody.clone(), nobody.with("no.good.token")];
    for (route, case) in &routed() {
        for caller in &callers {
            let answer = route.request(caller, case);
            if asks_nothing(case) {
                check(&answer, (route, case), case.allowed);
            } else {
                let answer = (answer.status, answer.body.len());
                assert_eq!(answer, (401, 0), "{} {}", route.method, route.path);
            }
        }
    }
}

/// The id of a deleted user is given to the next one, whose rights its tokens must not get.
#[test]
fn over_http_the_token_of_a_deleted_user_is_good_for_nothing() {
    let mut world = World::new();
    world.prepare(Held::Nothing);
    let caller = world.http();
    let account = world.root(&galgo_wire::command::GetUser { user: id("caller") }).unwrap();
    world.root(&DeleteUser { user: id("caller") });
    let heir = CreateUser { permissions: Some(Permissions::root()), ..create_user("heir") };
    assert_eq!(world.root(&heir).user.id, account.user.id);
    for (route, case) in &routed() {
        // Logging out asks for no right.
        if case.code != CommandCode::LogoutUser && !asks_nothing(case) {
            let refused = Err(ErrorCode::Unauthorized);
            check(&route.request(&caller, case), (route, case), refused);
        }
    }
}
