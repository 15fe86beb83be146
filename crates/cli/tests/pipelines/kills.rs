//! Kills: of the connector, of the target, of Galgo, and a copy that freezes while it writes.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;

use crate::galgo::{Connector, Rig, wait_for};
use crate::target::{Target, assert_once, assert_order, exactly_once};
use crate::{PARTITIONS, kills, messages, seed};

/// A pipeline under test.
struct Trial {
    rig: Rig,
    target: Box<dyn Target>,
    file: std::path::PathBuf,
    name: String,
    /// Messages of each partition.
    numbers: std::ops::Range<u64>,
    random: StdRng,
}

/// Does the same to each kind of target that keeps a position.
fn each(test: &str, mut what: impl FnMut(&mut Trial)) {
    let folder = tempfile::tempdir().unwrap();
    let seed = seed();
    for (at, target) in exactly_once(folder.path()).into_iter().enumerate() {
        let rig = Rig::start();
        let section = target.section();
        let kind = section.lines().next().unwrap_or_default().trim_matches(['[', ']']);
        let name = format!("{test} {kind}");
        let file = rig.pipeline("orders", &section);
        let numbers = 0..messages() / u64::from(PARTITIONS);
        let random = StdRng::seed_from_u64(seed ^ at as u64);
        let mut trial = Trial { rig, target, file, name, numbers, random };
        what(&mut trial);
        trial.finish();
    }
}

impl Trial {
    fn pause(&mut self, upto_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.random.random_range(50..upto_ms)));
    }

    /// As many copies as may write into the target at once.
    fn copies(&self) -> Vec<Option<Connector>> {
        (0..if self.target.is_shared() { 2 } else { 1 })
            .map(|_| Some(self.rig.run(&self.file, &[])))
            .collect()
    }

    /// A last run has nothing to mend; then everything is there once.
    fn finish(&mut self) {
        self.rig.run_once(&self.file).assert_well();
        let rows = self.target.rows();
        if !self.target.is_shared() {
            assert_order(&self.name, &rows);
        }
        assert_once(&self.name, rows, self.numbers.clone());
        self.rig.assert_mute();
        println!("{}: {} rows, each once", self.name, self.numbers.end * u64::from(PARTITIONS));
    }

    fn is_all_there(&self) -> Option<()> {
        let rows = self.target.rows().len() as u64;
        (rows >= self.numbers.end * u64::from(PARTITIONS)).then_some(())
    }

    /// Sends a part of the messages: that of a round.
    fn send_part(&self, round: u64, rounds: u64) {
        let all = self.numbers.end;
        self.rig.send(all * round / rounds..all * (round + 1) / rounds);
    }
}

/// INV-ONE-STEP, INV-DELIVERED.
#[test]
fn connectors_that_are_killed_lose_nothing_and_repeat_nothing() {
    each("connector killed", |trial| {
        let mut copies = trial.copies();
        for round in 0..kills() {
            trial.send_part(round, kills());
            trial.pause(900);
            let victim = trial.random.random_range(0..copies.len());
            copies[victim].take().unwrap().kill();
            copies[victim] = Some(trial.rig.run(&trial.file, &[]));
        }
        wait_for("all is delivered without a step by hand", || trial.is_all_there());
    });
}

#[test]
fn targets_and_servers_that_are_killed_lose_nothing_and_repeat_nothing() {
    each("target and Galgo killed", |trial| {
        let mut copies = trial.copies();
        for round in 0..kills() {
            trial.send_part(round, kills());
            trial.pause(500);
            if round % 2 == 0 && trial.target.kill() {
                trial.pause(500);
                trial.target.start_again();
            } else {
                trial.rig.kill_server();
                trial.pause(300);
                trial.rig.start_server();
            }
        }
        wait_for("all is delivered without a step by hand", || trial.is_all_there());
        for copy in copies.iter_mut().flatten() {
            assert!(copy.is_running(), "{}: {}", trial.name, copy.said());
        }
    });
}

#[test]
fn a_copy_that_freezes_while_it_writes_is_replaced_and_repeats_nothing() {
    each("copy frozen", |trial| {
        if !trial.target.is_shared() {
            trial.send_part(0, 1);
            return;
        }
        let frozen = trial.rig.run(&trial.file, &[]);
        trial.send_part(0, 2);
        trial.pause(300);
        frozen.signal(Signal::STOP);
        let other = trial.rig.run(&trial.file, &[]);
        trial.send_part(1, 2);
        wait_for("the other copy takes over", || trial.is_all_there());
        frozen.signal(Signal::CONT);
        // What it had under way comes to nothing.
        std::thread::sleep(Duration::from_secs(2));
        drop((frozen, other));
    });
}

#[test]
fn a_stop_in_the_middle_is_orderly_and_in_time() {
    each("stopped", |trial| {
        for round in 0..2 {
            let mut copy = trial.rig.run(&trial.file, &[]);
            trial.send_part(round, 2);
            trial.pause(400);
            copy.signal(Signal::TERM);
            let status = copy.wait();
            assert!(status.success(), "{}: {status} {}", trial.name, copy.said());
        }
    });
}
