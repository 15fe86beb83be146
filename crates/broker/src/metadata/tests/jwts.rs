//! Ended HTTP logins: what one account may do to the table, and what it may not do to others.

use galgo_wire::command::UserStatus;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{Timestamp, UserId};

use super::world::user_name;
use crate::metadata::State;
use crate::metadata::jwts::{Jwt, REVOKED_JWTS_MAX, REVOKED_JWTS_PER_USER_MAX};
use crate::metadata::record::Record;
use crate::metadata::users::NewUser;

/// An id above all that are used here.
const NEWEST: u128 = 1_000_000_000;

fn create(state: &mut State, name: u8) -> UserId {
    let user = NewUser {
        name: user_name(name),
        password_hash: "hash".to_owned(),
        status: UserStatus::Active,
        permissions: None,
        now: Timestamp::new(5),
    };
    let (id, record) = state.prepare_create_user(user).unwrap();
    state.apply(&record).unwrap();
    id
}

fn jwt(state: &State, user: UserId, jti: usize) -> Jwt {
    let serial = state.users[&user].serial;
    Jwt { user, serial, jti: jti as u128, expires_at: Timestamp::new(100) }
}

/// Exchanges tokens until it is refused; how many that were.
fn exchange_all(state: &mut State, user: UserId) -> usize {
    for jti in 0.. {
        match state.prepare_revoke_jwt(&jwt(state, user, jti)) {
            Ok(record) => state.apply(&record).unwrap(),
            Err(code) => {
                assert_eq!(code, ErrorCode::CannotGenerateJwt);
                return jti;
            }
        };
    }
    unreachable!("it is refused before")
}

#[test]
fn an_account_that_ended_too_many_logins_still_logs_out_and_troubles_nobody() {
    let mut state = State::default();
    let (greedy, other) = (create(&mut state, 0), create(&mut state, 1));
    let count = exchange_all(&mut state, greedy);
    assert_eq!(count, REVOKED_JWTS_PER_USER_MAX, "INV-JWT-SHARE");
    let others = jwt(&state, other, 3);
    let record = state.prepare_revoke_jwt(&others).unwrap();
    state.apply(&record).unwrap();

    let last = jwt(&state, greedy, count + 1);
    let record = state.prepare_log_out(&last, NEWEST).unwrap();
    assert_eq!(record, Record::VoidJwts { serial: last.serial, last: NEWEST }, "INV-JWT-LOGOUT");
    state.apply(&record).unwrap();
    let state = State::from_snapshot(&state.to_snapshot()).unwrap();
    assert_eq!(state.revoked_jwts.len(), 1, "the mark stands for the others");
    for jti in [0, 1, last.jti, NEWEST] {
        assert!(state.is_jwt_revoked(last.serial, jti), "{jti}: what was ended stays so");
    }
    assert!(!state.is_jwt_revoked(last.serial, NEWEST + 1), "INV-JWT-VOID");
    assert!(state.is_jwt_revoked(others.serial, others.jti));
    assert!(!state.is_jwt_revoked(others.serial, 4));
    assert_eq!(state.prepare_log_out(&last, NEWEST), Err(ErrorCode::InvalidAccessToken));
    let next = Jwt { jti: NEWEST + 1, ..last };
    assert!(state.prepare_revoke_jwt(&next).is_ok());
}

#[test]
fn an_account_waits_until_what_it_ended_is_forgotten() {
    let mut state = State::default();
    let user = create(&mut state, 0);
    let count = exchange_all(&mut state, user);
    state.apply(&Record::ForgetExpired { until: Timestamp::new(100) }).unwrap();
    assert!(state.prepare_revoke_jwt(&jwt(&state, user, count)).is_ok());
}

#[test]
fn accounts_that_fill_the_table_together_leave_the_others_their_share() {
    let mut state = State::default();
    let other = create(&mut state, 0);
    let greedy = REVOKED_JWTS_MAX / REVOKED_JWTS_PER_USER_MAX;
    for name in 1..=u8::try_from(greedy).unwrap() {
        let user = create(&mut state, name);
        let serial = state.users[&user].serial;
        for jti in 0..REVOKED_JWTS_PER_USER_MAX as u128 {
            state.revoked_jwts.insert((serial, jti), Timestamp::new(100));
        }
    }
    assert_eq!(exchange_all(&mut state, other), REVOKED_JWTS_MAX / (greedy + 1));
    assert!(state.prepare_log_out(&jwt(&state, other, 5_000), NEWEST).is_ok());
}

#[test]
fn a_user_takes_its_ended_logins_along() {
    let mut state = State::default();
    create(&mut state, 0);
    let user = create(&mut state, 1);
    let gone = jwt(&state, user, 9);
    state.apply(&Record::VoidJwts { serial: gone.serial, last: 5 }).unwrap();
    state.apply(&state.prepare_revoke_jwt(&gone).unwrap()).unwrap();
    state.apply(&Record::DeleteUser { id: user }).unwrap();
    assert!(state.revoked_jwts.is_empty() && state.void_jwts.is_empty());
    assert_eq!(state.prepare_log_out(&gone, NEWEST), Err(ErrorCode::InvalidAccessToken));
}
