//! Tokens: given, exchanged, revoked, and what they are good for elsewhere.

use serde_json::{Value, json};

use crate::client::{Answer, Http};
use crate::server::{PASSWORD, TestServer, USERNAME};

fn refresh(http: &Http, token: &str) -> Answer {
    http.post("/users/refresh-token", &json!({"token": token}))
}

fn token_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["access_token"]["token"].as_str().unwrap().to_owned()
}

/// A part of a token, read without looking at its signature.
fn part(token: &str, at: usize) -> Value {
    use base64::Engine as _;
    let text = token.split('.').nth(at).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_login_gives_a_token_that_says_whose_it_is() {
    let server = TestServer::start();
    let body = json!({"username": USERNAME, "password": PASSWORD, "version": "1", "context": ""});
    let answer = server.http().post("/users/login", &body);
    let identity = answer.json();
    let token = token_of(&answer);
    let claims = part(&token, 1);
    assert_eq!(part(&token, 0), json!({"typ": "JWT", "alg": "HS256"}));
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!("iggy.apache.org"), &json!("iggy.apache.org"))
    );
    assert_eq!((&claims["sub"], &claims["nbf"]), (&json!("0"), &claims["iat"]));
    assert_eq!(claims["exp"].as_u64().unwrap(), claims["iat"].as_u64().unwrap() + 3600);
    assert_eq!(claims["jti"].as_str().unwrap().as_bytes()[14], b'7', "a UUID of version 7");
    let expected = json!({
        "user_id": 0, "access_token": {"token": token, "expiry": claims["exp"]},
    });
    assert_eq!(identity, expected);
}

#[test]
fn a_wrong_login_is_400_and_never_says_what_was_wrong() {
    let server = TestServer::start();
    let login = |username: &str, password: &str| {
        let body = json!({"username": username, "password": password});
        server.http().post("/users/login", &body)
    };
    let wrong = login(USERNAME, "something else");
    assert_eq!(wrong.error(), (400, 42));
    assert_eq!(wrong.json()["code"], "invalid_credentials");
    assert_eq!(login("nobody", PASSWORD).json(), wrong.json());
    assert_eq!(login("", "").json(), wrong.json(), "lengths are not looked at");
    let bad = server.http().post("/users/login", &json!({"username": USERNAME}));
    assert_eq!(bad.status, 422);
}

/// INV-GUARD.
#[test]
fn only_public_paths_answer_without_a_token() {
    let server = TestServer::start();
    let nobody = server.http();
    assert_eq!((nobody.get("/").status, nobody.get("/").text()), (200, "Iggy API".to_owned()));
    assert_eq!(nobody.get("/ping").text(), "pong");
    assert_eq!(nobody.get("/metrics").status, 200);
    assert_eq!(nobody.get("/openapi.json").status, 200);
    for path in ["/streams", "/nowhere", "/ping/", "/ui", "/users/login/x"] {
        let refused = nobody.get(path);
        assert_eq!((refused.status, refused.body.len()), (401, 0), "{path}");
        let refused = nobody.with("no.good.token").get(path);
        assert_eq!((refused.status, refused.body.len()), (401, 0), "{path}");
    }
    let root = server.root();
    for path in ["/nowhere", "/ui"] {
        assert_eq!((root.get(path).status, root.get(path).body.len()), (404, 0), "{path}");
    }
    let wrong_method = root.request("PATCH", "/streams", None);
    assert_eq!((wrong_method.status, wrong_method.body.len()), (405, 0));
}

#[test]
fn a_token_is_exchanged_once() {
    let server = TestServer::start();
    let nobody = server.http();
    let old = server.root().token.unwrap();
    let new = token_of(&refresh(&nobody, &old));
    assert_eq!(nobody.with(&new).get("/streams").status, 200);
    let used = nobody.with(&old).get("/streams");
    assert_eq!((used.status, used.body.len()), (401, 0));
    let again = refresh(&nobody, &old);
    assert_eq!(again.error(), (401, 78));
    assert_eq!(refresh(&nobody, "nonsense").error(), (401, 78));
    assert_eq!(refresh(&nobody, "").error(), (401, 78));
}

/// As `REVOKED_JWTS_PER_USER_MAX` has it.
const EXCHANGES_MAX: usize = 1_000;

#[test]
fn an_account_that_exchanges_tokens_without_end_is_stopped_and_nobody_else() {
    let server = TestServer::start();
    let nobody = server.http();
    let root = server.root();
    let user = json!({"username": "greedy", "password": "a password", "status": "active"});
    assert_eq!(root.post("/users", &user).status, 200);
    let login = || {
        let body = json!({"username": "greedy", "password": "a password"});
        token_of(&server.http().post("/users/login", &body))
    };
    let kept = login();
    let mut token = login();
    for _ in 0..EXCHANGES_MAX {
        token = token_of(&refresh(&nobody, &token));
    }
    let refused = refresh(&nobody, &token);
    assert_eq!(refused.error(), (400, 76), "{}", refused.text());
    assert!(refused.text().contains("too many"), "{}", refused.text());
    let root_token = token_of(&refresh(&nobody, root.token.as_ref().unwrap()));
    assert_eq!(nobody.with(&root_token).get("/streams").status, 200);

    let user_of = |token: &str| nobody.with(token).get("/personal-access-tokens").status;
    assert_eq!((user_of(&token), user_of(&kept)), (200, 200), "the token stays good");
    assert_eq!(nobody.with(&token).delete("/users/logout").status, 204);
    assert_eq!((user_of(&token), user_of(&kept)), (401, 401), "the logout ends all of them");
    let fresh = login();
    assert_eq!(user_of(&fresh), 200);
    assert_eq!(user_of(&token_of(&refresh(&nobody, &fresh))), 200);
}

#[test]
fn a_logout_ends_its_token_and_no_other() {
    let server = TestServer::start();
    let (first, second) = (server.root(), server.root());
    let out = first.delete("/users/logout");
    assert_eq!((out.status, out.body.len()), (204, 0));
    assert_eq!(first.get("/streams").status, 401);
    assert_eq!(second.get("/streams").status, 200);
}

#[test]
fn tokens_outlive_the_process_whether_the_secret_is_configured_or_not() {
    let secret = ("GALGO_HTTP_JWT_ENCODING_SECRET", "a secret that stays the same for ever");
    for settings in [&[][..], &[secret]] {
        let mut server = TestServer::with(settings);
        let (kept, revoked) = (server.root(), server.root());
        assert_eq!(revoked.delete("/users/logout").status, 204);
        server.restart();
        let with =
            |http: &Http| server.http().with(http.token.as_ref().unwrap()).get("/streams").status;
        assert_eq!(with(&kept), 200);
        assert_eq!(with(&revoked), 401, "what was revoked stays revoked");
    }
}

#[test]
fn the_secret_is_the_servers_own_and_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut server = TestServer::start();
    let token = server.root().token.unwrap();
    let path = server.data_dir().join("http-token-key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read(&path).unwrap().len(), 64);
    let other = TestServer::start();
    assert_eq!(other.http().with(&token).get("/streams").status, 401);
    server.stop();
    std::fs::write(&path, "cut").unwrap();
    server.restart();
    assert_eq!(server.http().with(&token).get("/streams").status, 401);
    assert_eq!(server.root().get("/streams").status, 200);
}

#[test]
fn a_personal_access_token_works_on_every_transport() {
    let server = TestServer::start();
    let root = server.root();
    let created = root.post("/personal-access-tokens", &json!({"name": "laptop", "expiry": 0}));
    assert_eq!(created.status, 200);
    let text = created.json()["token"].as_str().unwrap().to_owned();
    let listed = root.get("/personal-access-tokens").json();
    assert_eq!(listed, json!([{"name": "laptop", "expiry_at": null}]));

    let login =
        |token: &str| server.http().post("/personal-access-tokens/login", &json!({"token": token}));
    let http = server.http().with(&token_of(&login(&text)));
    assert_eq!(http.get("/streams").status, 200);
    assert_eq!(login("unknown").error(), (404, 20));
    assert_eq!(login("").error(), (404, 20));

    // LOGIN_WITH_PERSONAL_ACCESS_TOKEN, then GET_STATS.
    let payload = [&[text.len() as u8], text.as_bytes()].concat();
    let answers = server.frames(&[(44, &payload), (10, &[])]);
    assert_eq!(answers.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [0, 0]);

    let again = json!({"name": "laptop", "expiry": u64::MAX});
    assert_eq!(root.post("/personal-access-tokens", &again).error(), (400, 51));
    let short = json!({"name": "ab", "expiry": 0});
    assert_eq!(root.post("/personal-access-tokens", &short).error(), (400, 50));
    let no_expiry = json!({"name": "desk", "expiry": null});
    assert_eq!(root.post("/personal-access-tokens", &no_expiry).status, 422);
    assert_eq!(root.delete("/personal-access-tokens/laptop").status, 204);
    assert_eq!(root.delete("/personal-access-tokens/laptop").error(), (404, 20));
    assert_eq!(login(&text).error(), (404, 20));
}

#[test]
fn a_token_made_over_tcp_logs_in_over_http() {
    let server = TestServer::start();
    let name = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let login = [name(USERNAME), name(PASSWORD), vec![0; 8]].concat();
    let create = [name("from-tcp"), vec![0; 8]].concat();
    let answers = server.frames(&[(38, &login), (42, &create)]);
    let (status, payload) = &answers[1];
    assert_eq!(*status, 0);
    let token = std::str::from_utf8(&payload[1..]).unwrap();
    let answer = server.http().post("/personal-access-tokens/login", &json!({"token": token}));
    assert_eq!(server.http().with(&token_of(&answer)).get("/streams").status, 200);
}

/// A stolen login over HTTP outlived the new password: its token was exchanged for another without end,
/// and so did a deactivated user, who could even make a personal access token.
///
/// INV-LOGIN-ENDED.
#[test]
fn a_new_password_a_reset_and_a_deactivation_end_every_token() {
    let server = TestServer::start();
    let root = server.root();
    let user = json!({"username": "anna", "password": "secret", "status": "active"});
    assert_eq!(root.post("/users", &user).status, 200);
    let login = |password: &str| server.http().login("anna", password);
    let ended = |http: &Http| {
        let token = http.token.as_ref().unwrap();
        let used = http.get("/personal-access-tokens");
        assert_eq!((used.status, used.body.len()), (401, 0));
        let made = json!({"name": "kept", "expiry": 0});
        assert_eq!(http.post("/personal-access-tokens", &made).status, 401);
        assert_eq!(refresh(&server.http(), token).error(), (401, 78));
        assert_eq!(http.delete("/users/logout").status, 401);
    };
    let stolen = login("secret");
    let change = json!({"current_password": "secret", "new_password": "better"});
    assert_eq!(login("secret").put("/users/anna/password", &change).status, 204);
    ended(&stolen);

    let (stolen, owned) = (login("better"), login("better"));
    let made = owned.post("/personal-access-tokens", &json!({"name": "own", "expiry": 0}));
    let token = made.json()["token"].clone();
    let reset = json!({"new_password": "best of all"});
    assert_eq!(owned.put("/users/anna/password/reset", &reset).error(), (403, 41));
    assert_eq!(owned.put("/users/0/password/reset", &reset).error(), (403, 41));
    assert_eq!(root.put("/users/anna/password/reset", &reset).status, 204);
    ended(&stolen);
    ended(&owned);
    let by_token = server.http().post("/personal-access-tokens/login", &json!({"token": token}));
    assert_eq!(by_token.error(), (404, 20), "a reset ends personal access tokens, too");

    let active = login("best of all");
    assert_eq!(root.put("/users/anna", &json!({"status": "inactive"})).status, 204);
    ended(&active);
    let body = json!({"username": "anna", "password": "best of all"});
    assert_eq!(server.http().post("/users/login", &body).error(), (400, 47));
    assert_eq!(root.put("/users/anna", &json!({"status": "active"})).status, 204);
    ended(&active);
    assert_eq!(login("best of all").get("/personal-access-tokens").status, 200);
}
