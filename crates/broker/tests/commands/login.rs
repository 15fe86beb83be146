//! Logging in and out.

use galgo_wire::command::{CommandCode, GetMe, GetStreams, LogoutUser, Payload, Ping};
use galgo_wire::{ErrorCode, UserId};

use crate::rig::{PASSWORD, Rig, login};

/// A login whose texts may be of any length.
fn raw_login(username: &str, password: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in [username, password] {
        bytes.push(u8::try_from(text.len()).unwrap());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(&[0; 8]);
    bytes
}

#[test]
fn a_login_answers_with_the_user_and_lasts_until_the_logout() {
    let rig = Rig::new();
    let mut caller = rig.connect();
    assert_eq!(caller.session.user(), None);
    assert_eq!(caller.call(&login("root", PASSWORD)).unwrap().user_id, UserId::ROOT);
    assert_eq!(caller.session.user(), Some(UserId::ROOT));
    assert_eq!(caller.call(&GetMe {}).unwrap().client.user_id, Some(UserId::ROOT));

    assert_eq!(caller.call(&LogoutUser {}), Ok(()));
    assert_eq!(caller.session.user(), None);
    assert_eq!(caller.call(&GetStreams {}), Err(ErrorCode::Unauthenticated));
    assert_eq!(caller.call(&Ping {}), Ok(()), "the connection stays");
    assert_eq!(caller.call(&LogoutUser {}), Err(ErrorCode::Unauthenticated));
    caller.call(&login("root", PASSWORD)).unwrap();
    assert_eq!(caller.call(&GetStreams {}), Ok(Vec::new()));
}

#[test]
fn a_wrong_name_and_a_wrong_password_cannot_be_told_apart() {
    let rig = Rig::new();
    let mut caller = rig.connect();
    let wrong = ErrorCode::InvalidCredentials;
    let attempts =
        [("root", "Secret"), ("root", "secret "), ("Root", PASSWORD), ("unknown", PASSWORD)];
    for (username, password) in attempts {
        assert_eq!(caller.call(&login(username, password)).unwrap_err(), wrong);
        assert_eq!(caller.session.user(), None);
    }
}

#[test]
fn an_inactive_user_is_told_before_the_password_is_looked_at() {
    let rig = Rig::new();
    let mut caller = rig.connect();
    for password in [PASSWORD, "wrong"] {
        let refused = caller.call(&login("sleeper", password)).unwrap_err();
        assert_eq!(refused, ErrorCode::UserInactive);
    }
    assert_eq!(caller.call(&login("nobody", PASSWORD)).unwrap().user_id, UserId::new(1));
}

#[test]
fn names_and_passwords_have_their_lengths() {
    let rig = Rig::new();
    let mut caller = rig.connect();
    let code = CommandCode::LoginUser;
    let mut attempt =
        |username: &str, password: &str| caller.call_bytes(code, &raw_login(username, password));
    let (long_name, long_password) = ("x".repeat(51), "x".repeat(101));
    assert_eq!(attempt("ab", PASSWORD), Err(ErrorCode::InvalidUsername));
    assert_eq!(attempt("", PASSWORD), Err(ErrorCode::InvalidUsername));
    assert_eq!(attempt(&long_name, PASSWORD), Err(ErrorCode::InvalidUsername));
    assert_eq!(attempt("root", "ab"), Err(ErrorCode::InvalidPassword));
    assert_eq!(attempt("root", ""), Err(ErrorCode::InvalidPassword));
    assert_eq!(attempt("root", &long_password), Err(ErrorCode::InvalidPassword));
    assert_eq!(attempt("ab", "ab"), Err(ErrorCode::InvalidUsername), "the name comes first");
    assert_eq!(
        attempt(&long_name[..50], &long_password[..100]),
        Err(ErrorCode::InvalidCredentials)
    );
    assert_eq!(attempt("root", PASSWORD), Ok(()));
}

#[test]
fn a_login_that_is_cut_off_is_an_invalid_command() {
    let rig = Rig::new();
    let mut caller = rig.connect();
    let bytes = login("root", PASSWORD).to_bytes();
    for cut in 0..bytes.len() {
        let answer = caller.call_bytes(CommandCode::LoginUser, &bytes[..cut]);
        assert_eq!(answer, Err(ErrorCode::InvalidCommand), "cut to {cut} bytes");
    }
    assert_eq!(caller.session.user(), None);
}

#[test]
fn a_failed_login_leaves_who_was_logged_in() {
    let rig = Rig::new();
    let mut root = rig.root();
    for (username, password) in
        [("root", "wrong"), ("unknown", PASSWORD), ("nobody", "wrong"), ("sleeper", PASSWORD)]
    {
        assert!(root.call(&login(username, password)).is_err());
        assert_eq!(root.call(&GetMe {}).unwrap().client.user_id, Some(UserId::ROOT));
    }
    assert_eq!(root.call(&GetStreams {}), Ok(Vec::new()));
}

#[test]
fn a_second_login_switches_the_user() {
    let rig = Rig::new();
    let mut caller = rig.root();
    caller.call(&login("nobody", PASSWORD)).unwrap();
    assert_eq!(caller.call(&GetMe {}).unwrap().client.user_id, Some(UserId::new(1)));
    assert_eq!(caller.call(&GetStreams {}), Err(ErrorCode::Unauthorized));
    caller.call(&login("root", PASSWORD)).unwrap();
    assert_eq!(caller.call(&GetStreams {}), Ok(Vec::new()));
}
