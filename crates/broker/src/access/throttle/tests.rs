//! The throttle against a model that keeps the whole story and counts anew each time, and its promises
//! one by one.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

const OPTIONS: ThrottleOptions = ThrottleOptions {
    free_failures: 3,
    delay_first_us: 100,
    delay_max_us: 1_000,
    failures_max: 8,
    window_us: 10_000,
};

fn at(address: &str, user: &str) -> Subject {
    Subject::new(address.parse().unwrap(), Some(user))
}

fn fail(throttle: &mut Throttle, subject: &Subject, times: u32, now_us: u64) {
    for _ in 0..times {
        throttle.failed(subject, now_us);
    }
}

#[test]
fn failures_are_free_then_slow_then_refused_until_the_window_is_over() {
    let mut throttle = Throttle::new(OPTIONS);
    let subject = at("10.0.0.1", "alice");
    let mut waits = Vec::new();
    for _ in 0..10 {
        waits.push(throttle.admit(&subject, 50));
        throttle.failed(&subject, 50);
    }
    let after = Clearance::After;
    let free = [Clearance::Now; 3];
    let slow = [after(100), after(200), after(400), after(800), after(1_000)];
    let refused = [Clearance::Refused; 2];
    assert_eq!(waits, [&free[..], &slow, &refused].concat());
    assert_eq!(throttle.admit(&subject, 50 + 9_999), Clearance::Refused);
    assert_eq!(throttle.admit(&subject, 50 + 10_000), Clearance::Now);
}

#[test]
fn a_wait_ends() {
    let mut throttle = Throttle::new(OPTIONS);
    let subject = at("10.0.0.1", "alice");
    fail(&mut throttle, &subject, 4, 1_000);
    assert_eq!(throttle.admit(&subject, 1_050), Clearance::After(150));
    assert_eq!(throttle.admit(&subject, 1_200), Clearance::Now);
}

#[test]
fn one_address_is_held_to_its_failures_at_all_users_and_a_user_to_those_from_everywhere() {
    let mut throttle = Throttle::new(OPTIONS);
    for number in 0..8 {
        throttle.failed(&at("10.0.0.1", &format!("user{number}")), 0);
    }
    assert_eq!(throttle.admit(&at("10.0.0.1", "alice"), 0), Clearance::Refused);
    assert_eq!(throttle.admit(&at("10.0.0.2", "alice"), 0), Clearance::Now);
    for number in 0..8 {
        throttle.failed(&at(&format!("10.0.1.{number}"), "bob"), 0);
    }
    assert_eq!(throttle.admit(&at("10.0.0.2", "bob"), 0), Clearance::Refused);
    assert_eq!(throttle.admit(&at("10.0.0.2", "alice"), 0), Clearance::Now);
    let token = Subject::new("10.0.0.1".parse().unwrap(), None);
    assert_eq!(throttle.admit(&token, 0), Clearance::Refused);
}

#[test]
fn others_shut_nobody_out_who_has_logged_in_from_there_before() {
    let mut throttle = Throttle::new(OPTIONS);
    let home = at("10.0.0.1", "alice");
    throttle.succeeded(&home, 0);
    fail(&mut throttle, &at("66.6.6.6", "alice"), 20, 5);
    assert_eq!(throttle.admit(&home, 5), Clearance::Now, "INV-THROTTLE-OTHERS");
    assert_eq!(throttle.admit(&at("10.0.0.2", "alice"), 5), Clearance::Refused);
    assert_eq!(throttle.admit(&at("127.0.0.1", "alice"), 5), Clearance::Now, "loopback is apart");
    fail(&mut throttle, &home, 20, 5);
    assert_eq!(throttle.admit(&home, 5), Clearance::Refused, "its own failures count");
}

#[test]
fn loopback_is_counted_by_user_and_not_by_address() {
    let mut throttle = Throttle::new(OPTIONS);
    throttle.succeeded(&at("127.0.0.1", "alice"), 0);
    fail(&mut throttle, &at("127.0.0.1", "alice"), 20, 0);
    assert_eq!(throttle.admit(&at("::1", "alice"), 0), Clearance::Refused);
    assert_eq!(throttle.admit(&at("127.0.0.1", "bob"), 0), Clearance::Now);
    assert_eq!(throttle.admit(&at("10.0.0.1", "alice"), 0), Clearance::Now);
}

#[test]
fn a_login_takes_back_its_own_failures_and_no_others() {
    let mut throttle = Throttle::new(OPTIONS);
    let (own, other) = (at("10.0.0.1", "mallory"), at("10.0.0.1", "alice"));
    fail(&mut throttle, &own, 3, 0);
    assert_eq!(throttle.len(), 3);
    throttle.succeeded(&own, 0);
    assert!(throttle.is_empty(), "all was its own");
    for now_us in 0..8 {
        throttle.failed(&other, now_us);
        throttle.succeeded(&own, now_us);
    }
    assert_eq!(throttle.admit(&own, 8), Clearance::Refused, "INV-THROTTLE-BACK");
}

#[test]
fn an_ipv6_site_is_one_address_and_mapped_ipv4_is_ipv4() {
    let source = |text: &str| ThrottleSource::of(text.parse::<IpAddr>().unwrap());
    assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
    assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
    assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
    assert_eq!(source("::ffff:127.0.0.1"), ThrottleSource::Loopback);
    assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
}

#[test]
fn memory_is_bounded_and_who_failed_most_is_kept() {
    let mut throttle = Throttle::new(OPTIONS);
    let worst = at("10.0.0.1", "alice");
    fail(&mut throttle, &worst, 8, 0);
    for number in 0..u32::try_from(ENTRIES_MAX).unwrap() {
        let address = IpAddr::from((number + (11 << 24)).to_be_bytes());
        let subject = Subject::new(address, Some(&format!("user{number}")));
        throttle.failed(&subject, 1);
        throttle.succeeded(&Subject::new(address, Some("bob")), 1);
        assert!(throttle.len() <= ENTRIES_MAX, "INV-THROTTLE-BOUND");
    }
    assert!(throttle.known.len() <= ENTRIES_MAX, "INV-THROTTLE-BOUND");
    assert_eq!(throttle.admit(&worst, 1), Clearance::Refused);
}

/// What happened: who, from where, whether it was right, when.
#[derive(Clone, Debug)]
struct Event {
    address: IpAddr,
    user: Option<&'static str>,
    right: bool,
    at_us: u64,
}

/// Failures that count for a key, each still with its user and address.
#[derive(Default)]
struct Story {
    failures: Vec<Event>,
}

impl Story {
    /// The failures that match, if the last is in the window, from the end back to the first gap.
    fn count(&self, now_us: u64, matches: impl Fn(&Event) -> bool) -> (u32, u64) {
        let mut next_us = now_us;
        let mut found = (0, 0);
        for failure in self.failures.iter().rev().filter(|failure| matches(failure)) {
            if next_us - failure.at_us >= OPTIONS.window_us {
                break;
            }
            next_us = failure.at_us;
            found = (found.0 + 1, found.1.max(failure.at_us));
        }
        found
    }

    fn expected(&self, event: &Event) -> Clearance {
        let loopback = event.address.is_loopback();
        let by_address = self.count(event.at_us, |it| !loopback && it.address == event.address);
        let by_user = self.count(event.at_us, |it| {
            let same = event.user.is_some() && it.user == event.user;
            same && it.address.is_loopback() == loopback
        });
        [by_address, by_user].into_iter().map(|count| admission(count, event.at_us)).max().unwrap()
    }
}

fn admission((failures, last_us): (u32, u64), now_us: u64) -> Clearance {
    let delay_us = [0, 0, 0, 100, 200, 400, 800, 1_000][failures.min(7) as usize];
    match last_us + delay_us {
        _ if failures >= 8 => Clearance::Refused,
        due if due > now_us && delay_us > 0 => Clearance::After(due - now_us),
        _ => Clearance::Now,
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let address = prop::sample::select(vec!["127.0.0.1", "10.0.0.1", "10.0.0.2"]);
    let user = prop::sample::select(vec![Some("alice"), Some("bob"), None]);
    let pause = prop::sample::select(vec![0_u64, 1, 150, 900, 9_999, 10_000]);
    let event = (address, user, prop::bool::weighted(0.1), pause);
    prop::collection::vec(event, 1..80).prop_map(|events| {
        let mut now_us = 0;
        let told = events.into_iter().map(|(address, user, right, pause)| {
            now_us += pause;
            Event { address: address.parse().unwrap(), user, right, at_us: now_us }
        });
        told.collect()
    })
}

proptest! {
    /// Without successes, which the tests above look at one by one, the counts are what the whole story
    /// says.
    #[test]
    fn the_throttle_says_what_the_whole_story_says(events in events()) {
        let mut throttle = Throttle::new(OPTIONS);
        let mut story = Story::default();
        for event in events {
            let subject = Subject::new(event.address, event.user);
            let said = throttle.admit(&subject, event.at_us);
            prop_assert_eq!(said, story.expected(&event), "{:?}", event);
            if said == Clearance::Now && !event.right {
                throttle.failed(&subject, event.at_us);
                story.failures.push(event);
            }
        }
    }

    /// Whatever happened, one window of silence forgets it, and a known user is held to its address alone.
    #[test]
    fn silence_forgets_and_the_known_are_held_to_their_own(events in events()) {
        let mut throttle = Throttle::new(OPTIONS);
        let mut last_us = 0;
        let home = at("10.9.9.9", "alice");
        throttle.succeeded(&home, 0);
        for event in &events {
            let subject = Subject::new(event.address, event.user);
            if event.right {
                throttle.succeeded(&subject, event.at_us);
            } else {
                throttle.failed(&subject, event.at_us);
            }
            last_us = event.at_us;
            prop_assert_eq!(throttle.admit(&home, last_us), Clearance::Now);
        }
        for event in &events {
            let subject = Subject::new(event.address, event.user);
            prop_assert_eq!(throttle.admit(&subject, last_us + 10_000), Clearance::Now);
        }
    }
}
