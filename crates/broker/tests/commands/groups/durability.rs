//! Offsets of groups across restarts: a group keeps its own, and never sees those of a deleted one.

use super::{create, delete, lists, member, next, next_committed, seen, store, stored, with_group};
use crate::rig::{Connection, Rig};

/// Stops in every way there is, and opens again.
fn after_every_stop(make: impl Fn() -> Rig, check: impl Fn(Rig)) {
    let stops: [fn(Rig) -> Rig; 3] = [Rig::restart, Rig::kill, |rig| rig.cut_power(5)];
    for stop in stops {
        check(stop(make()));
    }
}

#[test]
fn group_goes_on_after_a_restart_where_it_has_committed() {
    let make = || {
        let (rig, root) = with_group(2);
        let mut member = member(&rig, "g");
        member.poll(&next_committed("g", Some(1))).unwrap();
        drop((member, root));
        rig
    };
    after_every_stop(make, |rig| {
        let mut root = rig.root();
        assert_eq!((stored(&mut root, "g", 0), stored(&mut root, "g", 1)), (None, Some(1)));
        assert_eq!(lists(&mut root), [] as [Vec<u32>; 0]);
        let mut member = member(&rig, "g");
        assert_eq!(seen(member.poll(&next("g", Some(1)))), (1, 4, vec![2, 3]));
    });
}

/// A group with an offset, deleted; then one with the same id and name.
fn replaced() -> (Rig, Connection) {
    let (rig, mut root) = with_group(1);
    let mut member = member(&rig, "g");
    member.call(&store("g", None, 3)).unwrap();
    root.call(&delete("g")).unwrap();
    assert_eq!(root.call(&create("g")).unwrap().group.id.get(), 0);
    assert_eq!(stored(&mut root, "g", 0), None);
    (rig, root)
}

#[test]
fn new_group_never_sees_the_offsets_of_a_deleted_one() {
    after_every_stop(
        || replaced().0,
        |rig| {
            assert_eq!(stored(&mut rig.root(), "g", 0), None);
            let mut member = member(&rig, "g");
            assert_eq!(seen(member.poll(&next("g", None))), (0, 4, vec![0, 1]));
        },
    );
}

#[test]
fn offset_of_a_group_deleted_right_before_a_crash_is_gone_for_good() {
    let (rig, mut root) = with_group(1);
    let mut first = member(&rig, "g");
    first.call(&store("g", None, 3)).unwrap();
    rig.broker.shards().first().checkpoint().unwrap();
    root.call(&delete("g")).unwrap();
    drop((root, first));
    let rig = rig.cut_power(9);
    let mut root = rig.root();
    root.call(&create("g")).unwrap();
    assert_eq!(stored(&mut root, "g", 0), None);
    // The first start forgot it, so that a later one has nothing to forget.
    drop(root);
    let mut root = rig.restart().root();
    assert_eq!(stored(&mut root, "g", 0), None);
}
