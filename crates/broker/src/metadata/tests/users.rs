//! Users and tokens in the metadata: random commands about them, what must hold after each, and their
//! rules one by one.

use std::collections::{BTreeMap, BTreeSet};

use galgo_wire::command::UserStatus;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{StreamId, Timestamp, TopicId, UserId};
use galgo_wire::name::TokenName;
use galgo_wire::permission::{Permissions, StreamPermissions, TopicPermissions};

use proptest::prelude::*;

use super::world::{Step, number, stream_name, user_name};
use crate::metadata::jwts::Jwt;
use crate::metadata::record::Record;
use crate::metadata::users::{NewUser, USERS_MAX};
use crate::metadata::{HashedToken, State, TokenHash, UserMetadata, UserSerial};

const NOW: Timestamp = Timestamp::new(5);
const TOKENS_MAX: u32 = 3;

/// The record of a step about users and tokens.
pub(super) fn prepare(state: &State, step: &Step, now: Timestamp) -> Result<Record, ErrorCode> {
    let later = |us: u64| Timestamp::new(now.get() + us);
    match *step {
        Step::UpdateUser { id, name, active } => {
            let status =
                active.map(|on| if on { UserStatus::Active } else { UserStatus::Inactive });
            let name = name.map(user_name);
            state.prepare_update_user(&number(id), name.as_ref(), status)
        }
        Step::SetPermissions { id, on } => {
            let permissions = on.map(|(stream, topic)| topic_permissions(stream, topic));
            state.prepare_permissions(&number(id), permissions.as_ref())
        }
        Step::SetPassword { id } => {
            let (id, _) = state.existing_user(&number(id))?;
            let (hash, ends_tokens) =
                (format!("hash of {}", now.get()), now.get().is_multiple_of(2));
            Ok(state.prepare_password(id, hash, ends_tokens).1)
        }
        Step::DeleteUser { id } => state.prepare_delete_user(&number(id)),
        Step::CreateToken { user, name, lives_us } => {
            let (id, _) = state.existing_user(&number(user))?;
            let token =
                HashedToken { hash: token_hash(now.get()), expires_at: lives_us.map(later) };
            state.prepare_create_token(id, &token_name(name), token, TOKENS_MAX)
        }
        Step::DeleteToken { user, name } => {
            let (id, _) = state.existing_user(&number(user))?;
            state.prepare_delete_token(id, token_name(name).as_str())
        }
        Step::RevokeJwt { user, jti, lives_us, void } => {
            let (user, found) = state.existing_user(&number(user))?;
            let (serial, jti) = (found.serial, u128::from(jti));
            let jwt = Jwt { user, serial, jti, expires_at: later(lives_us) };
            match void {
                true => Ok(Record::VoidJwts { serial, last: jti }),
                false => state.prepare_revoke_jwt(&jwt),
            }
        }
        Step::ForgetExpired if state.has_expired(now) => Ok(Record::ForgetExpired { until: now }),
        _ => Err(ErrorCode::Error),
    }
}

/// A command about users or tokens.
pub(super) fn step() -> impl Strategy<Value = Step> {
    let (id, name) = (|| 0u8..4, || 0u8..4);
    let lives = prop::sample::select(vec![1_u64, 5, 1_000]);
    prop_oneof![
        (id(), prop::option::of(name()), any::<Option<bool>>())
            .prop_map(|(id, name, active)| Step::UpdateUser { id, name, active }),
        (id(), prop::option::of((0u8..3, 0u8..4)))
            .prop_map(|(id, on)| Step::SetPermissions { id, on }),
        id().prop_map(|id| Step::SetPassword { id }),
        id().prop_map(|id| Step::DeleteUser { id }),
        (id(), name(), prop::option::of(lives.clone()))
            .prop_map(|(user, name, lives_us)| Step::CreateToken { user, name, lives_us }),
        (id(), name()).prop_map(|(user, name)| Step::DeleteToken { user, name }),
        (id(), 0u8..4, lives, any::<bool>()).prop_map(|(user, jti, lives_us, void)| {
            Step::RevokeJwt { user, jti, lives_us, void }
        }),
        Just(Step::ForgetExpired),
    ]
}

/// What must hold after any command.
pub(super) fn check(before: &State, state: &State) {
    let named: BTreeMap<_, _> = state.users.iter().map(|(id, u)| (u.name.as_str(), id)).collect();
    assert_eq!(named.len(), state.users.len(), "two users share a name");
    assert_eq!(named.len(), state.user_names.len(), "an old name is still known");
    for (name, id) in named {
        assert_eq!(state.user_named(name).map(|(id, _)| id), Some(*id));
    }
    let mut tokens = 0;
    for id in state.users.keys() {
        for (_, token) in state.tokens_of(*id) {
            assert_eq!(state.token(&token.hash).map(|(owner, ..)| owner), Some(*id));
            tokens += 1;
        }
        assert!(state.tokens_of(*id).count() <= TOKENS_MAX as usize);
    }
    assert_eq!(tokens, state.token_owners.len(), "a token without an owner");
    let serials: BTreeSet<_> = state.users.values().map(|user| user.serial).collect();
    for (serial, jti) in state.revoked_jwts.keys() {
        assert!(serials.contains(serial), "an ended login of nobody");
        let void = state.void_jwts.get(serial);
        assert!(void.is_none_or(|last| jti > last), "an ended login that is void, too");
    }
    assert!(state.void_jwts.keys().all(|serial| serials.contains(serial)));
    assert!(serials.last().is_none_or(|last| last.get() < state.next_user_serial));
    let managed = |state: &State| state.users.values().any(UserMetadata::manages_users);
    assert!(!managed(before) || managed(state), "INV-MANAGER");
    check_permissions(before, state);
}

/// Permissions about a stream or topic that is gone are gone, too.
fn check_permissions(before: &State, state: &State) {
    for (stream, was) in &before.streams {
        let Some(now) = state.streams.get(stream) else {
            let holds = |held: &Permissions| held.streams.contains_key(stream);
            assert!(!permissions(state).any(holds), "permissions in a deleted stream");
            continue;
        };
        for topic in was.topics.keys().filter(|topic| !now.topics.contains_key(topic)) {
            let holds = |held: &Permissions| {
                held.streams.get(stream).is_some_and(|held| held.topics.contains_key(topic))
            };
            assert!(!permissions(state).any(holds), "permissions in a deleted topic");
        }
    }
}

fn permissions(state: &State) -> impl Iterator<Item = &Permissions> {
    state.users.values().filter_map(|user| user.permissions.as_ref())
}

fn topic_permissions(stream: u8, topic: u8) -> Permissions {
    let mut permissions = Permissions::default();
    let mut in_stream = StreamPermissions::default();
    in_stream.topics.insert(TopicId::new(u32::from(topic)), TopicPermissions::ALL);
    permissions.streams.insert(StreamId::new(u32::from(stream)), in_stream);
    permissions
}

fn token_name(number: u8) -> TokenName {
    TokenName::parse(&format!("token{number}")).unwrap()
}

fn token_hash(seed: u64) -> TokenHash {
    let mut hash = [7; 32];
    hash[..8].copy_from_slice(&seed.to_le_bytes());
    TokenHash(hash)
}

fn create(state: &mut State, name: u8) -> UserId {
    let user = NewUser {
        name: user_name(name),
        password_hash: "hash".to_owned(),
        status: UserStatus::Active,
        permissions: None,
        now: NOW,
    };
    let (id, record) = state.prepare_create_user(user).unwrap();
    state.apply(&record).unwrap();
    id
}

#[test]
fn an_id_is_reused_and_a_serial_is_not() {
    let mut state = State::default();
    create(&mut state, 0);
    let id = create(&mut state, 1);
    state.apply(&Record::DeleteUser { id }).unwrap();
    let state = &mut State::from_snapshot(&state.to_snapshot()).unwrap();
    assert_eq!(create(state, 2), id);
    assert_eq!(state.users[&id].serial, UserSerial::new(2), "INV-META-SERIAL");
}

#[test]
fn a_user_takes_its_tokens_along_and_the_next_one_has_none() {
    let mut state = State::default();
    create(&mut state, 0);
    let id = create(&mut state, 1);
    let token = HashedToken { hash: token_hash(1), expires_at: None };
    let record = state.prepare_create_token(id, &token_name(0), token, 1).unwrap();
    state.apply(&record).unwrap();
    let other = HashedToken { hash: token_hash(2), expires_at: None };
    let full = state.prepare_create_token(id, &token_name(0), other, 1);
    assert_eq!(full, Err(ErrorCode::PersonalAccessTokensLimitReached), "the limit comes first");
    let taken = state.prepare_create_token(id, &token_name(0), other, 2);
    assert_eq!(taken, Err(ErrorCode::PersonalAccessTokenAlreadyExists));
    state.apply(&Record::DeleteUser { id }).unwrap();
    assert_eq!(create(&mut state, 2), id);
    assert_eq!(state.tokens_of(id).count(), 0);
    assert!(state.token(&token.hash).is_none());
}

#[test]
fn what_expired_is_forgotten_and_nothing_else() {
    let mut state = State::default();
    let id = create(&mut state, 0);
    for (number, expires_at) in [(0, None), (1, Some(9)), (2, Some(10)), (3, Some(11))] {
        let expires_at = expires_at.map(Timestamp::new);
        let token = HashedToken { hash: token_hash(u64::from(number)), expires_at };
        state.apply(&Record::CreateToken { user: id, name: token_name(number), token }).unwrap();
    }
    for jti in 9..12 {
        let expires_at = Timestamp::new(jti);
        let (serial, jti) = (state.users[&id].serial, u128::from(jti));
        state.apply(&Record::RevokeJwt { serial, jti, expires_at }).unwrap();
    }
    assert!(!state.has_expired(Timestamp::new(8)));
    assert!(state.has_expired(Timestamp::new(9)));
    state.apply(&Record::ForgetExpired { until: Timestamp::new(10) }).unwrap();
    assert!(!state.has_expired(Timestamp::new(10)));
    let left: Vec<_> = state.tokens_of(id).map(|(name, _)| name.clone()).collect();
    assert_eq!(left, [token_name(0), token_name(3)]);
    assert_eq!(state.revoked_jwts.keys().map(|(_, jti)| *jti).collect::<Vec<_>>(), [11]);
    assert!(state.token(&token_hash(1)).is_none());
}

#[test]
fn permissions_end_with_the_stream_or_topic_they_are_about() {
    let mut state = State::default();
    create(&mut state, 0);
    let id = create(&mut state, 1);
    let (stream, record) = state.prepare_create_stream(&stream_name(0), NOW).unwrap();
    state.apply(&record).unwrap();
    let permissions = Some(topic_permissions(0, 0));
    state.apply(&Record::SetPermissions { id, permissions }).unwrap();
    state.apply(&Record::DeleteStream { id: stream }).unwrap();
    assert_eq!(state.users[&id].permissions, Some(Permissions::default()));
}

#[test]
fn there_is_a_most_of_users() {
    let mut state = State::default();
    create(&mut state, 0);
    let root = state.users[&UserId::ROOT].clone();
    for number in 1..u32::try_from(USERS_MAX).unwrap() {
        state.users.insert(UserId::new(number), root.clone());
    }
    assert_eq!(state.check_new_user(&user_name(1)), Err(ErrorCode::UsersLimitReached));
    assert_eq!(state.check_new_user(&user_name(0)), Err(ErrorCode::UserAlreadyExists));
}

#[test]
fn neither_a_password_nor_a_token_is_seen_in_a_record() {
    let token = HashedToken { hash: token_hash(1), expires_at: None };
    let shown =
        format!("{:?}", Record::CreateToken { user: UserId::ROOT, name: token_name(0), token });
    assert!(shown.contains("TokenHash") && !shown.contains("7, 7"), "INV-TOKEN-HASH");
}
