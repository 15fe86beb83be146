//! Users: what their commands answer, and what changes at once for who is logged in.

use galgo_wire::command::*;
use galgo_wire::name::{Password, Secret, Username};
use galgo_wire::permission::{GlobalPermissions, Permissions, StreamFlags, StreamPermissions};
use galgo_wire::{ErrorCode, StreamId, UserId};

use crate::requests::{create_stream, delete_stream, get_stream, id, purge_stream};
use crate::rig::{PASSWORD, Rig, START_US, login};

fn create(name: &str) -> CreateUser {
    let LoginUser { username, password, .. } = login(name, PASSWORD);
    CreateUser { username, password, status: UserStatus::Active, permissions: None }
}

fn delete(user: &str) -> DeleteUser {
    DeleteUser { user: id(user) }
}

fn rename(user: &str, name: &str) -> UpdateUser {
    UpdateUser { user: id(user), username: Some(Username::parse(name).unwrap()), status: None }
}

fn set_status(user: &str, status: UserStatus) -> UpdateUser {
    UpdateUser { user: id(user), username: None, status: Some(status) }
}

fn allow(user: &str, permissions: Option<Permissions>) -> UpdatePermissions {
    UpdatePermissions { user: id(user), permissions }
}

fn change_password(user: &str, current: &str, new: &str) -> ChangePassword {
    let current = Secret::parse(current).unwrap();
    ChangePassword { user: id(user), current, new: Password::parse(new).unwrap() }
}

fn read_streams() -> Option<Permissions> {
    let global = GlobalPermissions { read_streams: true, ..GlobalPermissions::default() };
    Some(Permissions { global, ..Permissions::default() })
}

#[test]
fn a_created_user_is_shown_listed_and_logs_in_also_after_a_restart() {
    let rig = Rig::new();
    let mut root = rig.root();
    let created =
        root.call(&CreateUser { permissions: read_streams(), ..create("alice") }).unwrap();
    assert_eq!(created.user.id, UserId::new(3));
    assert_eq!(created.user.created_at.get(), START_US);
    assert_eq!(created.user.status, UserStatus::Active);
    assert_eq!(created.permissions, read_streams());
    let get = GetUser { user: id("alice") };
    assert_eq!(root.call(&get).unwrap(), Some(created.clone()));
    assert_eq!(root.call(&GetUser { user: id("3") }).unwrap(), Some(created.clone()));
    assert_eq!(root.call(&GetUser { user: id("4") }).unwrap(), None);
    let names = |users: Vec<User>| -> Vec<String> {
        users.iter().map(|user| user.username.to_string()).collect()
    };
    let listed = names(root.call(&GetUsers {}).unwrap());
    assert_eq!(listed, ["root", "nobody", "sleeper", "alice"]);
    drop(root);

    let rig = rig.restart();
    assert_eq!(names(rig.root().call(&GetUsers {}).unwrap()), listed);
    let mut alice = rig.connect();
    assert_eq!(alice.call(&login("alice", PASSWORD)).unwrap().user_id, created.user.id);
    assert_eq!(alice.call(&GetStreams {}), Ok(Vec::new()));
}

#[test]
fn a_taken_name_is_refused_and_one_of_digits_logs_in() {
    let rig = Rig::new();
    let mut root = rig.root();
    assert_eq!(root.call(&create("nobody")).unwrap_err(), ErrorCode::UserAlreadyExists);
    let created = root.call(&create("1234")).unwrap();
    let logged_in = rig.connect().call(&login("1234", PASSWORD)).unwrap();
    assert_eq!(logged_in.user_id, created.user.id);
    assert_eq!(root.call(&rename("nobody", "1234")), Err(ErrorCode::UserAlreadyExists));
    assert_eq!(root.call(&rename("nobody", "nobody")), Ok(()), "its own name");
    assert_eq!(root.call(&rename("nobody", "somebody")), Ok(()));
    assert_eq!(root.call(&create("nobody")).unwrap().user.id, UserId::new(4));
}

#[test]
fn who_is_unknown_cannot_be_changed() {
    let rig = Rig::new();
    let mut root = rig.root();
    let unknown = Err(ErrorCode::ResourceNotFound);
    assert_eq!(root.call(&delete("ghost")), unknown);
    assert_eq!(root.call(&rename("ghost", "phantom")), unknown);
    let nothing = UpdateUser { user: id("ghost"), username: None, status: None };
    assert_eq!(root.call(&nothing), unknown);
    assert_eq!(root.call(&allow("ghost", None)), unknown);
    assert_eq!(root.call(&change_password("ghost", PASSWORD, "another")), unknown);
    let nothing = UpdateUser { user: id("nobody"), username: None, status: None };
    assert_eq!(root.call(&nothing), Ok(()));
}

#[test]
fn root_stays_what_it_is_but_for_name_status_and_password() {
    let rig = Rig::new();
    let mut root = rig.root();
    assert_eq!(root.call(&delete("root")), Err(ErrorCode::CannotDeleteUser));
    assert_eq!(root.call(&delete("0")), Err(ErrorCode::CannotDeleteUser));
    assert_eq!(root.call(&allow("root", None)), Err(ErrorCode::CannotChangePermissions));
    let last = Err(ErrorCode::CannotChangePermissions);
    assert_eq!(root.call(&set_status("root", UserStatus::Inactive)), last, "INV-MANAGER");
    root.call(&CreateUser { permissions: Some(Permissions::root()), ..create("admin2") }).unwrap();
    assert_eq!(root.call(&change_password("root", PASSWORD, "better")), Ok(()));
    assert_eq!(root.call(&rename("root", "admin")), Ok(()));
    assert_eq!(rig.connect().call(&login("admin", "better")).unwrap().user_id, UserId::ROOT);
    assert_eq!(root.call(&set_status("admin", UserStatus::Inactive)), Ok(()));
    let refused = rig.connect().call(&login("admin", "better"));
    assert_eq!(refused.unwrap_err(), ErrorCode::UserInactive);
    assert_eq!(root.call(&GetStreams {}), Err(ErrorCode::Unauthenticated), "its logins end");
}

#[test]
fn permissions_change_at_once_for_who_is_logged_in() {
    let rig = Rig::new();
    let (mut root, mut nobody) = (rig.root(), rig.connect());
    nobody.call(&login("nobody", PASSWORD)).unwrap();
    assert_eq!(nobody.call(&GetStreams {}), Err(ErrorCode::Unauthorized));
    root.call(&allow("nobody", read_streams())).unwrap();
    assert_eq!(nobody.call(&GetStreams {}), Ok(Vec::new()));
    root.call(&allow("nobody", None)).unwrap();
    assert_eq!(nobody.call(&GetStreams {}), Err(ErrorCode::Unauthorized));
}

/// In the classic server permissions outlive what they are about, so whoever could read a deleted stream
/// could read the next one with its id.
#[test]
fn the_next_stream_with_an_id_inherits_no_permissions() {
    let rig = Rig::new();
    let (mut root, mut nobody) = (rig.root(), rig.connect());
    nobody.call(&login("nobody", PASSWORD)).unwrap();
    root.call(&create_stream("s")).unwrap();
    let mut held = Permissions::default();
    let in_stream = StreamPermissions { flags: StreamFlags::ALL, ..StreamPermissions::default() };
    held.streams.insert(StreamId::new(0), in_stream);
    root.call(&allow("nobody", Some(held))).unwrap();
    assert_eq!(nobody.call(&purge_stream("s")), Ok(()));
    root.call(&delete_stream("s")).unwrap();
    assert_eq!(root.call(&create_stream("t")).unwrap().stream.id, StreamId::new(0));
    assert_eq!(nobody.call(&get_stream("t")).unwrap_err(), ErrorCode::Unauthorized);
}

#[test]
fn a_password_is_changed_with_the_current_one_whoever_asks() {
    let rig = Rig::new();
    let (mut root, mut nobody) = (rig.root(), rig.connect());
    nobody.call(&login("nobody", PASSWORD)).unwrap();
    let wrong = Err(ErrorCode::InvalidCredentials);
    assert_eq!(nobody.call(&change_password("nobody", "guess", "better")), wrong);
    assert_eq!(root.call(&change_password("nobody", "guess", "better")), wrong);
    assert_eq!(nobody.call(&change_password("nobody", PASSWORD, "better")), Ok(()));
    assert!(rig.connect().call(&login("nobody", PASSWORD)).is_err());
    rig.connect().call(&login("nobody", "better")).unwrap();
    assert_eq!(root.call(&change_password("nobody", "better", "best")), Ok(()));
    let mut nobody = rig.connect();
    nobody.call(&login("nobody", "best")).unwrap();
    let denied = nobody.call(&change_password("root", PASSWORD, "mine"));
    assert_eq!(denied, Err(ErrorCode::Unauthorized));
}

#[test]
fn without_permissions_a_user_reads_itself_and_nobody_else() {
    let rig = Rig::new();
    let mut nobody = rig.connect();
    nobody.call(&login("nobody", PASSWORD)).unwrap();
    let get = |user: &str| GetUser { user: id(user) };
    assert_eq!(nobody.call(&get("nobody")).unwrap().unwrap().user.id, UserId::new(1));
    assert_eq!(nobody.call(&get("1")).unwrap().unwrap().permissions, None);
    assert_eq!(nobody.call(&get("root")), Err(ErrorCode::Unauthorized));
    assert_eq!(nobody.call(&get("ghost")), Ok(None), "as every other read");
    assert_eq!(nobody.call(&GetUsers {}), Err(ErrorCode::Unauthorized));
    assert_eq!(nobody.call(&delete("ghost")), Err(ErrorCode::Unauthorized), "rights come first");
}

/// A user id is given again, so a connection that outlives its user must not become the next one.
#[test]
fn the_connection_of_a_deleted_user_never_acts_as_the_next_with_its_id() {
    let rig = Rig::new();
    let (mut root, mut nobody) = (rig.root(), rig.connect());
    nobody.call(&login("nobody", PASSWORD)).unwrap();
    let (user, serial) = (nobody.session.user().unwrap(), nobody.session.user_serial().unwrap());
    assert_eq!(root.call(&GetClients {}).unwrap().len(), 2);
    root.call(&delete("nobody")).unwrap();
    assert_eq!(root.call(&GetClients {}).unwrap().len(), 1, "its connections leave the table");
    let permissions = Some(Permissions::root());
    let heir = root.call(&CreateUser { permissions, ..create("heir") }).unwrap();
    assert_eq!(heir.user.id, user, "the id is given again");

    assert_eq!(nobody.call(&Ping {}), Ok(()));
    assert_eq!(nobody.call(&GetStreams {}), Err(ErrorCode::Unauthorized));
    assert_eq!(nobody.call(&create_stream("mine")).unwrap_err(), ErrorCode::Unauthorized);
    let own = GetUser { user: id("heir") };
    assert_eq!(nobody.call(&own), Err(ErrorCode::Unauthorized), "it is not the heir");
    let mut unlisted = rig.connection(rig.broker.connect_unlisted(nobody.session.peer()));
    let refused = rig.broker.authenticate_as(&mut unlisted.session, user, serial);
    assert_eq!(refused, Err(ErrorCode::InvalidAccessToken));
    for command in [CommandCode::GetMe, CommandCode::LogoutUser] {
        let outcome = nobody.submit_bytes(command, &[]);
        let closed: galgo_broker::Outcome = galgo_broker::Outcome::Answer(galgo_broker::Answer {
            after: None,
            reply: galgo_broker::Reply::Close(ErrorCode::ClientNotFound),
        });
        assert_eq!(format!("{outcome:?}"), format!("{closed:?}"));
    }
}

#[test]
fn an_unlisted_session_is_seen_by_nobody_and_acts_as_its_user() {
    let rig = Rig::new();
    let mut root = rig.root();
    let (user, serial) = (root.session.user().unwrap(), root.session.user_serial().unwrap());
    let mut unlisted = rig.connection(rig.broker.connect_unlisted(root.session.peer()));
    assert_eq!(unlisted.call(&GetStreams {}), Err(ErrorCode::Unauthenticated));
    rig.broker.authenticate_as(&mut unlisted.session, user, serial).unwrap();
    assert_eq!(unlisted.call(&GetStreams {}), Ok(Vec::new()));
    assert_eq!(root.call(&GetClients {}).unwrap().len(), 1);
}
