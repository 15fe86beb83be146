//! Everything crossed with everything, on the real binary, against a model.
//!
//! Promises break where two things meet that are right alone: a purge under a consumer, a full disk under a
//! pipelining producer, a clock that jumps under retention. A round takes one of each: something that happens,
//! a way to produce, a way to consume, a durability, clear or encrypted files, and in half of them kills the server
//! meanwhile. It runs them at once and compares what was acknowledged, what is stored and what was shown.
//!
//! `GALGO_CHAOS_ROUNDS` sets the number of rounds, `GALGO_CHAOS_SEED` their order and moments,
//! `GALGO_CHAOS_ONLY` the rounds whose story has all of these words, for example `purge,tail`.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod clock;
mod consuming;
mod event;
mod mirroring;
mod model;
mod producing;
mod round;
mod server;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use event::Event;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use round::{Course, Round};
use server::Server;

use crate::consuming::Reader;
use crate::producing::Writer;

const ROUNDS: u64 = 44;
/// Rounds that run at the same time, each with a server of its own.
const LANES: u64 = 4;

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Every combination, in an order of chance.
fn courses(random: &mut StdRng) -> Vec<Course> {
    let only = std::env::var("GALGO_CHAOS_ONLY").unwrap_or_default();
    let mut all = Vec::new();
    for event in Event::ALL {
        for writer in Writer::ALL {
            for reader in Reader::ALL {
                for flags in 0..8 {
                    let [syncs, encrypted, killed] = [1, 2, 4].map(|flag| flags & flag != 0);
                    // That is what happens there already.
                    if !killed || event != Event::Kill {
                        all.push(Course { event, writer, reader, syncs, encrypted, killed });
                    }
                }
            }
        }
    }
    all.retain(|course| only.split(',').all(|word| course.to_string().contains(word)));
    assert!(!all.is_empty(), "GALGO_CHAOS_ONLY={only} fits no round");
    all.shuffle(random);
    all
}

/// Each round is a story of its own; what broke is told with the seed that tells it again.
#[test]
fn no_promise_breaks_where_two_things_meet() {
    let seed = number_from_env("GALGO_CHAOS_SEED", rand::rng().next_u64());
    let rounds = number_from_env("GALGO_CHAOS_ROUNDS", ROUNDS);
    println!("GALGO_CHAOS_SEED={seed}, {rounds} rounds");
    let courses = Arc::new(courses(&mut StdRng::seed_from_u64(seed)));
    let next = Arc::new(AtomicU64::new(0));
    let lanes: Vec<_> = (0..LANES.min(rounds))
        .map(|_| {
            let (courses, next) = (Arc::clone(&courses), Arc::clone(&next));
            std::thread::spawn(move || run_lane(&courses, &next, (seed, rounds)))
        })
        .collect();
    let violations: Vec<String> = lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect();
    assert!(violations.is_empty(), "{} of {rounds} rounds broke a promise", violations.len());
}

fn run_lane(courses: &[Course], next: &AtomicU64, (seed, rounds): (u64, u64)) -> Vec<String> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let servers = [false, true].map(|encrypted| Mutex::new(Server::start(encrypted)));
    let mut violations = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= rounds {
            return violations;
        }
        let course = courses[number as usize % courses.len()];
        let server = &servers[usize::from(course.encrypted)];
        let random = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let result = Round::new(course, number, random).run(&runtime, server);
        if let Err(what) = result {
            let mut server = server.lock().unwrap();
            let kept = server.keep_evidence(number);
            println!("round {number} ({course}): {what}\n  server log: {}", kept.display());
            violations.push(what);
            *server = Server::start(course.encrypted);
        } else if number % 100 == 99 {
            println!("{} rounds, {} violations in this lane", number + 1, violations.len());
        }
    }
}
