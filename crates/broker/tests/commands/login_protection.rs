//! Guessing at passwords: slowed, then refused, and nobody else pays for it.

use std::time::Duration;

use galgo_broker::{Answer, Outcome, Peer};
use galgo_wire::ErrorCode;
use galgo_wire::command::{GetStreams, LoginUser, Payload, Transport};

use crate::rig::{Connection, PASSWORD, Rig, login};

fn from(rig: &Rig, address: [u8; 4]) -> Connection {
    rig.connect_from(Peer { address: (address, 4_000).into(), transport: Transport::Tcp })
}

/// Fails once and tells how long it had to wait.
fn fail(rig: &Rig, caller: &mut Connection, attempt: &LoginUser) -> Duration {
    let mut waited = Duration::ZERO;
    let mut outcome = caller.submit(attempt);
    loop {
        outcome = match outcome {
            Outcome::Delay(wait, job) => {
                waited += wait;
                rig.environment.advance_us(u64::try_from(wait.as_micros()).unwrap());
                job.run(&rig.broker, &mut caller.session)
            }
            Outcome::Offload(job) => job.run(&rig.broker, &mut caller.session),
            outcome => {
                assert_eq!(caller.finish(outcome), Err(ErrorCode::InvalidCredentials));
                return waited;
            }
        }
    }
}

/// The test suites of classic clients fail on purpose, from loopback, a dozen times in a row.
#[test]
fn a_dozen_wrong_logins_are_hardly_slowed_and_the_right_one_is_good() {
    let rig = Rig::new();
    let mut caller = rig.connect();
    let waited: Duration = (0..12).map(|_| fail(&rig, &mut caller, &login("root", "wrong"))).sum();
    assert!(waited <= Duration::from_millis(500), "{waited:?}");
    caller.call(&login("root", PASSWORD)).unwrap();
    assert_eq!(fail(&rig, &mut caller, &login("root", "wrong")), Duration::ZERO, "forgotten");
    assert_eq!(caller.call(&GetStreams {}), Ok(Vec::new()));
}

#[test]
fn guessing_goes_slower_and_slower_and_ends_until_the_window_is_over() {
    let rig = Rig::new();
    let mut caller = from(&rig, [10, 0, 0, 1]);
    let attempt = login("root", "wrong");
    let waits: Vec<_> = (0..50).map(|_| fail(&rig, &mut caller, &attempt)).collect();
    assert!(waits.is_sorted());
    assert_eq!(waits[9..12], [0, 100, 200].map(Duration::from_millis), "ten are free");
    assert_eq!(waits[49], Duration::from_secs(5));
    let right = login("root", PASSWORD);
    assert_eq!(caller.call(&right).unwrap_err(), ErrorCode::InvalidCredentials, "refused");
    assert!(
        matches!(caller.submit(&right), Outcome::Answer(Answer { after: None, .. })),
        "without hashing anything"
    );
    rig.environment.advance_us(300_000_000);
    caller.call(&right).unwrap();
}

#[test]
fn a_user_that_does_not_exist_is_slowed_like_one_that_does() {
    let rig = Rig::new();
    let waits = |user: &str, last| -> Vec<Duration> {
        let mut caller = from(&rig, [10, 0, 1, last]);
        (0..13).map(|_| fail(&rig, &mut caller, &login(user, "wrong"))).collect()
    };
    assert_eq!(waits("root", 1), waits("ghost", 2), "INV-THROTTLE-UNKNOWN");
}

/// Whoever reaches the port can fail at any name. That must not lock its owner out.
#[test]
fn guessing_from_elsewhere_shuts_nobody_out_who_was_here_before() {
    let rig = Rig::new();
    from(&rig, [10, 0, 0, 1]).call(&login("root", PASSWORD)).unwrap();
    for number in 0..60 {
        fail(&rig, &mut from(&rig, [66, 6, number, 6]), &login("root", "wrong"));
    }
    let stranger = from(&rig, [10, 0, 0, 2]).call(&login("root", PASSWORD));
    assert_eq!(stranger.unwrap_err(), ErrorCode::InvalidCredentials);
    assert!(matches!(
        from(&rig, [10, 0, 0, 1]).submit(&login("root", PASSWORD)),
        Outcome::Offload(_)
    ));
    from(&rig, [10, 0, 0, 1]).call(&login("root", PASSWORD)).unwrap();
    rig.root();
}

/// INV-GUARD-LAST: many attempts that are made at once are let through one after the other.
#[test]
fn attempts_at_once_do_not_slip_through_together() {
    let rig = Rig::new();
    let mut callers: Vec<_> = (0..60).map(|_| from(&rig, [10, 0, 0, 1])).collect();
    let attempt = login("root", "wrong");
    let mut jobs = Vec::new();
    for caller in &mut callers {
        let Outcome::Offload(job) = caller.submit(&attempt) else { panic!("nothing failed yet") };
        jobs.push(job);
    }
    let mut verified = 0;
    for (caller, job) in callers.iter_mut().zip(jobs) {
        match job.run(&rig.broker, &mut caller.session) {
            Outcome::Answer(Answer { after: None, .. }) => verified += 1,
            Outcome::Delay(..) => {}
            outcome => panic!("{outcome:?}"),
        }
    }
    assert_eq!(verified, 10, "those that are free");
}

#[test]
fn guessing_at_the_current_password_is_held_to_the_same() {
    use galgo_wire::command::ChangePassword;
    use galgo_wire::name::Secret;
    let rig = Rig::new();
    let mut nobody = rig.connect();
    nobody.call(&login("nobody", PASSWORD)).unwrap();
    let guess = ChangePassword {
        user: crate::requests::id("nobody"),
        current: Secret::parse("guess").unwrap(),
        new: login("nobody", "mine").password,
    };
    let mut delayed = false;
    for _ in 0..50 {
        let outcome = nobody
            .submit_bytes(galgo_wire::command::CommandCode::ChangePassword, &guess.to_bytes());
        delayed |= matches!(outcome, Outcome::Delay(..));
        assert_eq!(nobody.finish(outcome), Err(ErrorCode::InvalidCredentials));
    }
    assert!(delayed);
    let right = ChangePassword { current: Secret::parse(PASSWORD).unwrap(), ..guess };
    assert_eq!(nobody.call(&right), Err(ErrorCode::InvalidCredentials), "refused");
    assert!(rig.connect().call(&login("root", PASSWORD)).is_ok(), "others are not concerned");
}
