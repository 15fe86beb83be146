//! What a command costs is what its row of the table says.

use std::collections::BTreeSet;

use galgo_broker::{Answer, Outcome};
use galgo_wire::command::{CommandCode, Cost};

use crate::cases::{Missing, cases};
use crate::held::Held;
use crate::matrix::World;

/// The costs that an outcome can be of.
fn possible(outcome: &Outcome) -> &'static [Cost] {
    match outcome {
        Outcome::Answer(Answer { after: None, .. }) => {
            &[Cost::Memory, Cost::Commit, Cost::Disk, Cost::Wait, Cost::Change, Cost::Hash]
        }
        Outcome::Answer(Answer { after: Some(_), .. }) => &[Cost::Commit, Cost::Disk, Cost::Wait],
        Outcome::Offload(job) | Outcome::Delay(_, job) if job.hashing().is_some() => &[Cost::Hash],
        // A send may have to wait for what its partition stored lately to be read.
        Outcome::Offload(_) | Outcome::Delay(..) => {
            &[Cost::Commit, Cost::Disk, Cost::Wait, Cost::Change]
        }
        Outcome::Wait(_) => &[Cost::Wait],
    }
}

#[test]
fn a_command_needs_what_its_row_says_and_nothing_dearer() {
    let mut world = World::new();
    let mut dear = BTreeSet::new();
    for case in cases().iter().filter(|case| case.missing == Missing::Nothing) {
        world.restore(Held::Nothing);
        let root = &mut world.root;
        let outcome = root.submit_bytes(case.code, &case.payload);
        let cost = case.code.cost();
        assert!(possible(&outcome).contains(&cost), "{:?} is {cost:?}: {outcome:?}", case.code);
        if !matches!(outcome, Outcome::Answer(Answer { after: None, .. })) {
            dear.insert(case.code);
        }
        let _ = root.finish(outcome);
        if !root.session.is_authenticated() {
            world.root = world.rig.root();
        }
    }
    for code in CommandCode::ALL {
        if matches!(code.cost(), Cost::Change | Cost::Hash) {
            assert!(dear.contains(code), "{code:?} does its work on the thread of the connection");
        }
    }
}
