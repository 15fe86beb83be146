//! The columns of the table say what they said as lists of their own, and agree with one another.

use super::*;

/// What to do about a row that is new or was changed.
const LISTS: &str =
    "if the row of the table is as it is meant to be, write its code into this list";

fn codes(has: impl Fn(CommandCode) -> bool) -> Vec<u32> {
    let mut codes: Vec<_> =
        CommandCode::ALL.iter().filter(|code| has(**code)).map(|code| code.as_u32()).collect();
    codes.sort_unstable();
    codes
}

#[test]
fn what_may_be_sent_again_is_what_changes_nothing_the_second_time() {
    let safe = codes(|code| code.repeat() == Repeat::Safe);
    let expected = [
        1, 10, 11, 12, 20, 21, 22, 31, 32, 36, 38, 41, 44, 102, 120, 121, 200, 201, 300, 301, 600,
        601, 604, 10_000, 10_003, 10_004, 10_007, 10_009, 10_010, 10_011, 10_013, 10_110, 10_111,
        10_190,
    ];
    assert_eq!(safe, expected, "{LISTS}");
    let depends = codes(|code| code.repeat() == Repeat::Depends);
    assert_eq!(depends, [100, 101, 10_005, 10_006, 10_100], "{LISTS}");
}

#[test]
fn only_sends_and_one_store_of_an_offset_follow_on() {
    let follows = codes(|code| code.order() == Order::Follows);
    assert_eq!(follows, [101, 121, 10_100]);
    for code in CommandCode::ALL {
        assert_eq!(CommandCode::follows_on(code.as_u32()), follows.contains(&code.as_u32()));
        // What follows on is answered by the same commits as what it follows, or the answers would wait for it.
        assert!(code.order() == Order::Waits || code.cost() == Cost::Commit, "{code}");
    }
    assert!(!CommandCode::follows_on(9_999));
}

#[test]
fn only_the_two_sends_carry_messages() {
    assert_eq!(codes(|code| CommandCode::carries_messages(code.as_u32())), [101, 10_100]);
    assert!(!CommandCode::carries_messages(9_999));
}

#[test]
fn only_ping_and_logins_need_no_login_and_their_rights_say_so_too() {
    fn check<C: Command + Sample>() {
        let public = C::sample(&mut Draws::new(1)).right() == Right::Public;
        assert_eq!(public, !C::CODE.needs_login(), "{}", C::CODE);
    }
    for_each_command!(check);
    assert_eq!(codes(|code| !code.needs_login()), [1, 38, 44]);
}

#[test]
fn what_reads_alone_may_always_be_sent_again() {
    for code in CommandCode::ALL {
        let name = format!("{code:?}");
        if name.starts_with("Get") || name.starts_with("List") || name.starts_with("Plan") {
            assert_eq!(code.repeat(), Repeat::Safe, "{name}");
            assert!(matches!(code.cost(), Cost::Memory | Cost::Disk), "{name}");
        }
    }
}

/// INV-ONCE.
#[test]
fn every_command_has_a_route_or_a_reason_and_no_two_have_the_same_route() {
    let mut taken = std::collections::BTreeMap::new();
    for code in CommandCode::ALL {
        match code.route() {
            HttpRoute::At(method, path) => {
                assert!(path.starts_with('/') && !path.ends_with('/'), "{code}: {path}");
                assert_eq!(taken.insert((method, path), code), None, "{code}: {method} {path}");
            }
            HttpRoute::With(other) => {
                assert!(matches!(other.route(), HttpRoute::At(..)), "{code} by way of {other}");
            }
            HttpRoute::Nowhere(reason) => assert!(reason.len() > 10, "{code}: {reason}"),
        }
    }
}
