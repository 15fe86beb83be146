//! What ends a login ends it everywhere: a new password, a reset, a deactivation. And who may end whose.
//!
//! Once a password that was stolen was good for as long as its thief stayed connected, or kept exchanging
//! the token of its login over HTTP for another one: a new password, and even a deactivation, kept only new
//! logins out, and who was in could make a personal access token. Now a user gets another serial with each
//! of them, and a login is good exactly while it carries its user's.

use galgo_broker::metadata::jwts::Jwt;
use galgo_broker::{Outcome, Session};
use galgo_wire::command::*;
use galgo_wire::name::{Password, Secret, TokenName};
use galgo_wire::permission::{
    GlobalPermissions, Permissions, StreamFlags, StreamPermissions, TopicPermissions,
};
use galgo_wire::{ErrorCode, PollingStrategy, StreamId, Timestamp, TopicId};

use crate::requests::{create_group, create_stream, create_topic, id, poll};
use crate::rig::{Connection, PASSWORD, Rig, login};

const GONE: ErrorCode = ErrorCode::Unauthenticated;

fn password(text: &str) -> Password {
    Password::parse(text).unwrap()
}

fn change(user: &str, current: &str, new: &str) -> ChangePassword {
    let current = Secret::parse(current).unwrap();
    ChangePassword { user: id(user), current, new: password(new) }
}

fn reset(user: &str, new: &str) -> ResetPassword {
    ResetPassword { user: id(user), new: password(new) }
}

fn set_status(user: &str, status: UserStatus) -> UpdateUser {
    UpdateUser { user: id(user), username: None, status: Some(status) }
}

fn deactivate(user: &str) -> UpdateUser {
    set_status(user, UserStatus::Inactive)
}

fn create(name: &str, permissions: Permissions) -> CreateUser {
    let LoginUser { username, password, .. } = login(name, PASSWORD);
    let permissions = Some(permissions);
    CreateUser { username, password, status: UserStatus::Active, permissions }
}

fn global(flags: GlobalPermissions) -> Permissions {
    Permissions { global: flags, ..Permissions::default() }
}

/// May manage users and nothing else.
fn manager() -> Permissions {
    global(GlobalPermissions { manage_users: true, ..GlobalPermissions::default() })
}

fn logged_in(rig: &Rig, name: &str, password: &str) -> Connection {
    let mut connection = rig.connect();
    connection.call(&login(name, password)).unwrap();
    connection
}

/// The HTTP login of whoever is logged in there, as the API has it.
fn jwt(session: &Session) -> Jwt {
    let (user, serial) = (session.user().unwrap(), session.user_serial().unwrap());
    Jwt { user, serial, jti: 9, expires_at: Timestamp::new(u64::MAX) }
}

fn is_good(rig: &Rig, jwt: &Jwt) -> bool {
    let mut session = rig.broker.connect_unlisted(rig.connect().session.peer());
    let acts = rig.broker.authenticate_as(&mut session, jwt.user, jwt.serial).is_ok();
    assert_eq!(acts, rig.broker.is_jwt_good(jwt.user, jwt.serial, jwt.jti));
    assert!(acts || rig.broker.revoke_jwt(jwt).is_err(), "it is exchanged for no other");
    acts
}

fn join_group(group: &str) -> JoinConsumerGroup {
    JoinConsumerGroup { stream: id("s"), topic: id("t"), group: id(group) }
}

fn get_group(group: &str) -> GetConsumerGroup {
    GetConsumerGroup { stream: id("s"), topic: id("t"), group: id(group) }
}

/// How many connections are shown as logged in.
fn listed(root: &mut Connection) -> usize {
    let clients = root.call(&GetClients {}).unwrap();
    clients.iter().filter(|client| client.user_id.is_some()).count()
}

/// INV-LOGIN-ENDED.
#[test]
fn a_new_password_ends_every_login_but_that_of_the_connection_that_changed_it() {
    let rig = Rig::new();
    let mut root = rig.root();
    let mut own = logged_in(&rig, "nobody", PASSWORD);
    let mut stolen = logged_in(&rig, "nobody", PASSWORD);
    let over_http = jwt(&stolen.session);
    assert!(is_good(&rig, &over_http));

    own.call(&change("nobody", PASSWORD, "better")).unwrap();
    assert!(!is_good(&rig, &over_http));
    assert!(!stolen.session.is_authenticated(), "also as far as transports go");
    assert_eq!(stolen.call(&GetMe {}).unwrap_err(), GONE);
    let token = CreateToken { name: TokenName::parse("kept").unwrap(), expiry_us: 0 };
    assert_eq!(stolen.call(&token).unwrap_err(), GONE);
    assert_eq!(stolen.call(&Ping {}), Ok(()), "the connection stays");
    assert!(own.call(&GetMe {}).is_ok());
    assert!(own.call(&token).is_ok());
    assert_eq!(listed(&mut root), 2);
    assert!(is_good(&rig, &jwt(&own.session)), "a login from now on is good");
    stolen.call(&login("nobody", "better")).unwrap();
    assert!(stolen.call(&GetMe {}).is_ok(), "and so is one over the same connection");

    // By somebody else, with the password: nobody is logged in then. And so it is after a crash.
    root.call(&change("nobody", "better", "best")).unwrap();
    assert_eq!(own.call(&GetMe {}).unwrap_err(), GONE);
    let before = jwt(&logged_in(&rig, "nobody", "best").session);
    drop((root, own, stolen));
    let rig = rig.kill();
    assert!(is_good(&rig, &before) && !is_good(&rig, &over_http));
}

#[test]
fn a_change_that_fails_ends_nothing() {
    let rig = Rig::new();
    let (mut root, mut nobody) = (rig.root(), logged_in(&rig, "nobody", PASSWORD));
    let over_http = jwt(&nobody.session);
    assert!(root.call(&change("nobody", "wrong", "better")).is_err());
    assert!(root.call(&reset("ghost", "better")).is_err());
    assert!(root.call(&set_status("nobody", UserStatus::Active)).is_ok());
    assert!(nobody.call(&GetMe {}).is_ok() && is_good(&rig, &over_http));
}

#[test]
fn a_reset_ends_logins_tokens_memberships_and_waits() {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic("s", "t", 1)).unwrap();
    root.call(&create_group("g")).unwrap();
    let poller = GlobalPermissions {
        poll_messages: true,
        read_topics: true,
        ..GlobalPermissions::default()
    };
    root.call(&create("reader", global(poller))).unwrap();
    let mut reader = logged_in(&rig, "reader", PASSWORD);
    let name = TokenName::parse("laptop").unwrap();
    let token = reader.call(&CreateToken { name, expiry_us: 0 }).unwrap().token;
    let mut member = rig.connect();
    member.call(&LoginWithToken { token: token.clone() }).unwrap();
    member.call(&join_group("g")).unwrap();
    let command = PollWaiting {
        poll: PollMessages { stream: id("s"), ..poll("t", 0, PollingStrategy::First) },
        wait: u64::MAX,
        count_min: 1,
    };
    let Outcome::Wait(waiting) = member.submit(&command) else { panic!("it waits") };
    assert_eq!(root.call(&get_group("g")).unwrap().unwrap().group.members_count, 1);

    root.call(&reset("reader", "better")).unwrap();
    assert_eq!(root.call(&get_group("g")).unwrap().unwrap().group.members_count, 0);
    assert!(waiting.has_news());
    let ended = waiting.resume(&rig.broker, &mut member.session);
    assert_eq!(member.finish(ended).unwrap_err(), GONE);
    assert_eq!(member.call(&join_group("g")).unwrap_err(), GONE);
    assert_eq!(reader.call(&GetMe {}).unwrap_err(), GONE);
    let by_token = rig.connect().call(&LoginWithToken { token });
    assert_eq!(by_token.unwrap_err(), ErrorCode::ResourceNotFound);
    assert!(rig.connect().call(&login("reader", PASSWORD)).is_err());
    let mut reader = logged_in(&rig, "reader", "better");
    assert_eq!(reader.call(&GetTokens {}), Ok(Vec::new()));
}

#[test]
fn a_deactivated_user_is_logged_in_nowhere_and_its_old_logins_do_not_come_back() {
    let rig = Rig::new();
    let (mut root, mut nobody) = (rig.root(), logged_in(&rig, "nobody", PASSWORD));
    let name = TokenName::parse("laptop").unwrap();
    let token = nobody.call(&CreateToken { name, expiry_us: 0 }).unwrap().token;
    let over_http = jwt(&nobody.session);
    root.call(&deactivate("nobody")).unwrap();
    assert_eq!(nobody.call(&GetMe {}).unwrap_err(), GONE);
    assert!(!is_good(&rig, &over_http));
    let inactive = ErrorCode::UserInactive;
    assert_eq!(rig.connect().call(&login("nobody", PASSWORD)).unwrap_err(), inactive);
    let by_token = || rig.connect().call(&LoginWithToken { token: token.clone() });
    assert_eq!(by_token().unwrap_err(), inactive);
    root.call(&deactivate("nobody")).unwrap();

    root.call(&set_status("nobody", UserStatus::Active)).unwrap();
    assert_eq!(nobody.call(&GetMe {}).unwrap_err(), GONE);
    assert!(!is_good(&rig, &over_http));
    assert!(by_token().is_ok(), "tokens are there again");
    assert!(rig.connect().call(&login("nobody", PASSWORD)).is_ok());
}

#[test]
fn somebody_can_always_manage_users() {
    let rig = Rig::new();
    let mut root = rig.root();
    let refused = ErrorCode::CannotChangePermissions;
    assert_eq!(root.call(&deactivate("root")), Err(refused));
    let sleeper = CreateUser { status: UserStatus::Inactive, ..create("asleep", manager()) };
    root.call(&sleeper).unwrap();
    assert_eq!(root.call(&deactivate("root")), Err(refused), "who is inactive manages nobody");
    root.call(&create("chief", manager())).unwrap();
    root.call(&deactivate("root")).unwrap();

    let mut chief = logged_in(&rig, "chief", PASSWORD);
    let none = UpdatePermissions { user: id("chief"), permissions: None };
    assert_eq!(chief.call(&none), Err(refused));
    let other = global(GlobalPermissions { read_users: true, ..GlobalPermissions::default() });
    let other = UpdatePermissions { user: id("chief"), permissions: Some(other) };
    assert_eq!(chief.call(&other), Err(refused));
    assert_eq!(chief.call(&deactivate("chief")), Err(refused));
    let gone = chief.call(&DeleteUser { user: id("chief") });
    assert_eq!(gone, Err(ErrorCode::CannotDeleteUser));
    let same = UpdatePermissions { user: id("chief"), permissions: Some(manager()) };
    assert_eq!(chief.call(&same), Ok(()));
    chief.call(&set_status("root", UserStatus::Active)).unwrap();
    chief.call(&none).unwrap();
}

/// Setting the password of somebody is logging in as them: it must not be a way to more rights.
#[test]
fn nobody_sets_the_password_of_who_may_do_more_or_ones_own() {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic("s", "t", 1)).unwrap();
    root.call(&create("chief", manager())).unwrap();
    let sender = TopicPermissions { send_messages: true, ..TopicPermissions::default() };
    let mut in_stream = StreamPermissions::default();
    in_stream.topics.insert(TopicId::new(0), sender);
    let mut in_topic = Permissions::default();
    in_topic.streams.insert(StreamId::new(0), in_stream.clone());
    root.call(&create("sender", in_topic)).unwrap();
    let mut chief = logged_in(&rig, "chief", PASSWORD);
    let refused = Err(ErrorCode::Unauthorized);
    for user in ["root", "sender", "chief"] {
        assert_eq!(chief.call(&reset(user, "mine now")), refused, "{user}");
    }
    assert_eq!(chief.call(&reset("nobody", "a new one")), Ok(()));
    assert_eq!(chief.call(&reset("ghost", "a new one")), Err(ErrorCode::ResourceNotFound));
    assert_eq!(root.call(&reset("root", "mine now")), refused, "one's own takes the current one");
    assert_eq!(root.call(&reset("sender", "a new one")), Ok(()));

    // What a flag further up allows reaches as far as the flag below.
    let flags = StreamFlags { send_messages: true, ..StreamFlags::default() };
    let mut wider = manager();
    wider.streams.insert(StreamId::new(0), StreamPermissions { flags, ..in_stream });
    root.call(&UpdatePermissions { user: id("chief"), permissions: Some(wider) }).unwrap();
    assert_eq!(chief.call(&reset("sender", "another one")), Ok(()));
    let mut nobody = logged_in(&rig, "nobody", "a new one");
    assert_eq!(nobody.call(&reset("sender", "mine now")), refused);
}
