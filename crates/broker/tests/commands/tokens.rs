//! Personal access tokens and revoked HTTP logins.

use galgo_broker::metadata::jwts::Jwt;
use galgo_wire::command::*;
use galgo_wire::name::{Name, TokenName, TokenText};
use galgo_wire::{ErrorCode, Timestamp, UserId};

use crate::rig::{Connection, PASSWORD, Rig, START_US, login};

const MINUTE_US: u64 = 60_000_000;

fn create(name: &str, expiry_us: u64) -> CreateToken {
    CreateToken { name: TokenName::parse(name).unwrap(), expiry_us }
}

fn with(token: &TokenText) -> LoginWithToken {
    LoginWithToken { token: token.clone() }
}

fn delete(name: &str) -> DeleteToken {
    DeleteToken { name: Name::parse(name).unwrap() }
}

fn names(caller: &mut Connection) -> Vec<String> {
    caller.call(&GetTokens {}).unwrap().iter().map(|token| token.name.to_string()).collect()
}

#[test]
fn a_token_logs_in_as_its_owner_also_after_a_crash_and_is_not_kept_as_text() {
    let rig = Rig::new();
    let mut root = rig.root();
    let token = root.call(&create("backup", 0)).unwrap().token;
    assert_eq!(token.as_str().len(), 68);
    let holds = |rig: &Rig| {
        let files = rig.disk.files().into_iter();
        let mut bytes = files.flat_map(|(path, _)| rig.disk.contents(&path));
        bytes.any(|bytes| bytes.windows(68).any(|part| part == token.as_str().as_bytes()))
    };
    assert!(!holds(&rig), "INV-TOKEN-HASH");
    drop(root);
    let rig = rig.kill();
    let mut caller = rig.connect();
    assert_eq!(caller.call(&with(&token)).unwrap().user_id, UserId::ROOT);
    let listed = caller.call(&GetTokens {}).unwrap();
    assert_eq!(listed[0].expiry_at, None);
    assert_eq!(names(&mut caller), ["backup"]);
}

#[test]
fn an_unknown_token_is_not_found() {
    let rig = Rig::new();
    let mut caller = rig.connect();
    for text in ["x", "no token at all"] {
        let refused = caller.call(&with(&TokenText::parse(text).unwrap())).unwrap_err();
        assert_eq!(refused, ErrorCode::ResourceNotFound);
    }
    assert!(!caller.session.is_authenticated());
}

#[test]
fn names_are_unique_for_each_user_and_have_their_lengths() {
    let rig = Rig::new();
    let (mut root, mut nobody) = (rig.root(), rig.connect());
    nobody.call(&login("nobody", PASSWORD)).unwrap();
    root.call(&create("backup", 0)).unwrap();
    let taken = root.call(&create("backup", 5)).unwrap_err();
    assert_eq!(taken, ErrorCode::PersonalAccessTokenAlreadyExists);
    nobody.call(&create("backup", 0)).unwrap();
    for name in ["ab", &"x".repeat(31)] {
        let mut payload = vec![u8::try_from(name.len()).unwrap()];
        payload.extend_from_slice(name.as_bytes());
        payload.extend_from_slice(&[0; 8]);
        let refused = root.call_bytes(CommandCode::CreateToken, &payload);
        assert_eq!(refused, Err(ErrorCode::InvalidPersonalAccessTokenName));
    }
    assert_eq!(nobody.call(&delete("other")), Err(ErrorCode::ResourceNotFound));
    assert_eq!(nobody.call(&delete("backup")), Ok(()));
    assert_eq!(names(&mut root), ["backup"], "only one's own is deleted");
}

#[test]
fn a_user_has_no_more_than_a_hundred_tokens() {
    let rig = Rig::new();
    let mut root = rig.root();
    for number in 0..100 {
        root.call(&create(&format!("token {number}"), 0)).unwrap();
    }
    let full = ErrorCode::PersonalAccessTokensLimitReached;
    assert_eq!(root.call(&create("one more", 0)).unwrap_err(), full);
    assert_eq!(root.call(&create("token 0", 0)).unwrap_err(), full, "checked before the name");
    root.call(&delete("token 0")).unwrap();
    root.call(&create("one more", 0)).unwrap();
}

#[test]
fn an_expired_token_is_refused_at_once_and_listed_until_it_is_cleaned_away() {
    let rig = Rig::new();
    let mut root = rig.root();
    let token = root.call(&create("short", 1_000)).unwrap().token;
    root.call(&create("never", u64::MAX)).unwrap();
    let expiry = root.call(&GetTokens {}).unwrap().iter().map(|token| token.expiry_at).max();
    assert_eq!(expiry, Some(Some(Timestamp::new(START_US + 1_000))));
    rig.connect().call(&with(&token)).unwrap();
    rig.environment.advance_us(1_000);
    let refused = rig.connect().call(&with(&token)).unwrap_err();
    assert_eq!(refused, ErrorCode::PersonalAccessTokenExpired);
    rig.broker.tick();
    assert_eq!(names(&mut root), ["never", "short"]);
    rig.environment.advance_us(MINUTE_US);
    rig.broker.tick();
    assert_eq!(names(&mut root), ["never"]);
    let refused = rig.connect().call(&with(&token)).unwrap_err();
    assert_eq!(refused, ErrorCode::ResourceNotFound);
    drop(root);
    assert_eq!(names(&mut rig.kill().root()), ["never"]);
}

#[test]
fn who_logged_in_with_a_token_outlives_it() {
    let rig = Rig::new();
    let mut nobody = rig.connect();
    nobody.call(&login("nobody", PASSWORD)).unwrap();
    let token = nobody.call(&create("backup", 0)).unwrap().token;
    let mut caller = rig.connect();
    caller.call(&with(&token)).unwrap();
    nobody.call(&delete("backup")).unwrap();
    assert_eq!(caller.call(&GetTokens {}), Ok(Vec::new()), "it stays logged in");
    assert_eq!(rig.connect().call(&with(&token)).unwrap_err(), ErrorCode::ResourceNotFound);
}

#[test]
fn a_revoked_login_stays_revoked_over_a_crash_until_it_would_have_ended() {
    let rig = Rig::new();
    let (jti, other) = (u128::MAX - 5, 7);
    let serial = rig.root().session.user_serial().unwrap();
    let expires_at = Timestamp::new(START_US + 10);
    let jwt = Jwt { user: UserId::ROOT, serial, jti, expires_at };
    rig.broker.revoke_jwt(&jwt).unwrap();
    assert!(rig.broker.is_jwt_revoked(serial, jti));
    assert!(!rig.broker.is_jwt_revoked(serial, other));
    assert_eq!(rig.broker.log_out_jwt(&jwt, jti), Err(ErrorCode::InvalidAccessToken));
    let rig = rig.kill();
    assert!(rig.broker.is_jwt_revoked(serial, jti));
    rig.environment.advance_us(MINUTE_US);
    rig.broker.tick();
    assert!(!rig.broker.is_jwt_revoked(serial, jti));
}
