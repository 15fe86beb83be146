//! Who gets memory, who waits, and that somebody always gets on.

use futures_util::FutureExt as _;

use super::*;

const MIB: usize = 1 << 20;
const BYTES: BudgetBytes = BudgetBytes { all: 5 << 20, user: 3 << 20, request: 1 << 20 };

fn user(number: u32) -> Option<UserId> {
    Some(UserId::new(number))
}

impl Budget {
    /// Bytes nobody has, the last resort aside.
    pub(crate) fn free_bytes(&self) -> usize {
        self.all.shared.available_permits() * UNIT_BYTES as usize
    }
}

#[test]
fn a_grant_goes_back_when_dropped() {
    let budget = Budget::new(BYTES);
    let allowance = budget.allowance(None);
    let mut grant = Grant::default();
    assert!(allowance.try_grow(&mut grant, 4 * MIB));
    assert!(allowance.is_tight());
    assert_eq!(budget.free_bytes(), 0);
    drop(grant);
    assert!(!allowance.is_tight());
    assert_eq!(budget.free_bytes(), 4 * MIB);
}

#[test]
fn a_grant_grows_by_what_is_missing() {
    let budget = Budget::new(BYTES);
    let allowance = budget.allowance(user(1));
    let mut grant = Grant::default();
    for bytes in [1, MIB, MIB / 2, 2 * MIB] {
        assert!(allowance.try_grow(&mut grant, bytes));
    }
    assert_eq!(budget.free_bytes(), 2 * MIB);
    assert!(!grant.is_last_resort());
}

#[test]
fn a_grant_that_shrinks_gives_back_what_it_no_longer_covers() {
    let budget = Budget::new(BYTES);
    let allowance = budget.allowance(user(1));
    let mut grant = Grant::default();
    assert!(allowance.try_grow(&mut grant, 2 * MIB));
    allowance.shrink(&mut grant, MIB);
    assert_eq!(budget.free_bytes(), 3 * MIB);
    allowance.shrink(&mut grant, 2 * MIB);
    assert_eq!(budget.free_bytes(), 3 * MIB, "it does not grow that way");
    assert!(allowance.try_grow(&mut grant, 3 * MIB), "the user's share is used up");
    assert!(grant.is_last_resort());
    allowance.shrink(&mut grant, 5 * MIB / 2);
    assert!(grant.is_last_resort(), "the share is too small without");
    allowance.shrink(&mut grant, MIB);
    assert!(!grant.is_last_resort());
    assert!(allowance.try_grow(&mut Grant::default(), MIB));
    drop(grant);
    assert_eq!(budget.free_bytes(), 4 * MIB);
}

/// An answer takes its share at once, so that one under the last resort has nothing else: it kept that
/// however small it turned out to be.
#[test]
fn a_grant_that_shrinks_does_without_the_last_resort_when_it_can() {
    let budget = Budget::new(BYTES);
    let (one, two) = (budget.allowance(user(1)), budget.allowance(user(2)));
    let (mut first, mut second, mut last) = Default::default();
    assert!(one.try_grow(&mut first, 2 * MIB) && two.try_grow(&mut second, 2 * MIB));
    assert!(two.try_grow(&mut last, MIB));
    assert!(last.all.last_resort.is_some() && last.user.last_resort.is_some());
    two.shrink(&mut last, MIB / 2);
    assert!(last.all.last_resort.is_some(), "nothing else is left to cover it");
    drop(first);
    two.shrink(&mut last, MIB / 4);
    assert!(last.all.last_resort.is_none() && last.user.last_resort.is_some());
    drop(second);
    two.shrink(&mut last, MIB / 8);
    assert!(!last.is_last_resort());
    assert_eq!(budget.free_bytes(), 4 * MIB - MIB / 8);
}

/// What the last resort of all lets through beyond the user's share is not to stay without it (INV-FAIR).
#[test]
fn a_grant_beyond_the_share_of_its_user_keeps_the_last_resort_of_all() {
    let budget = Budget::new(BYTES);
    let (one, two) = (budget.allowance(user(1)), budget.allowance(user(2)));
    let (mut other, mut beyond) = Default::default();
    assert!(one.try_grow(&mut other, 3 * MIB) && two.try_grow(&mut beyond, 2 * MIB));
    assert!(beyond.all.last_resort.is_some() && beyond.user.last_resort.is_none());
    assert!(two.try_grow(&mut beyond, 5 * MIB));
    drop(other);
    two.shrink(&mut beyond, 3 * MIB);
    assert!(beyond.all.last_resort.is_some());
    two.shrink(&mut beyond, MIB);
    assert!(!beyond.is_last_resort());
    assert_eq!(budget.free_bytes(), 3 * MIB);
}

/// INV-LAST-RESORT.
#[test]
fn of_requests_that_hold_what_each_other_needs_one_gets_on() {
    let budget = Budget::new(BYTES);
    let allowance = budget.allowance(None);
    let mut grants: Vec<Grant> = (0..4).map(|_| Grant::default()).collect();
    for grant in &mut grants {
        assert!(allowance.try_grow(grant, MIB));
    }
    let mut went_on = 0;
    while let Some(mut grant) = grants.pop() {
        assert!(allowance.try_grow(&mut grant, 2 * MIB), "nobody is before it");
        went_on += 1;
        if went_on == 1 {
            assert!(grant.is_last_resort());
            // While it is being received, the others wait.
            assert!(!grants.iter_mut().any(|other| allowance.try_grow(other, 3 * MIB)));
        }
    }
    assert_eq!(went_on, 4);
}

/// As for answers: each takes all it needs at once.
#[test]
fn of_large_shares_there_are_as_many_as_fit_and_the_next_one_waits() {
    let budget = Budget::new(BudgetBytes { all: 16 << 20, user: 8 << 20, request: 4 << 20 });
    let take = |number| budget.take(user(number), 4 * MIB).now_or_never();
    let first: Vec<Grant> = [1, 1, 2, 2].into_iter().filter_map(take).collect();
    assert_eq!(first.len(), 4);
    assert!(take(3).is_none(), "there is no more");
    let mut waiting = Box::pin(budget.take(user(3), 4 * MIB));
    assert!((&mut waiting).now_or_never().is_none());
    drop(first);
    assert!(waiting.now_or_never().is_some());
    let own = [take(1), take(1)];
    assert!(own.iter().all(Option::is_some) && take(1).is_none(), "the user has no more");
    assert!(take(2).is_some());
}

#[test]
fn one_user_can_not_take_it_all() {
    let budget = Budget::new(BYTES);
    let greedy = budget.allowance(user(1));
    let mut held = Vec::new();
    loop {
        let mut grant = Grant::default();
        if !greedy.try_grow(&mut grant, MIB) {
            break;
        }
        held.push(grant);
    }
    assert_eq!(held.len(), 3, "the share, and the last resort of the user");
    assert!(greedy.is_tight());
    let other = budget.allowance(user(2));
    assert!(other.try_grow(&mut Grant::default(), MIB));
    // All connections of a user share one pool.
    assert!(!budget.allowance(user(1)).try_grow(&mut Grant::default(), MIB));
    held.clear();
    assert!(greedy.try_grow(&mut Grant::default(), MIB));
}

#[tokio::test]
async fn whoever_has_the_last_resort_of_all_waits_for_no_user() {
    let budget = Budget::new(BudgetBytes { all: 2 << 20, ..BYTES });
    let allowance = budget.allowance(user(1));
    let (mut first, mut last) = (Grant::default(), Grant::default());
    assert!(allowance.try_grow(&mut first, MIB));
    assert!(allowance.try_grow(&mut last, MIB / 2));
    assert!(last.is_last_resort());
    let mut third = Grant::default();
    assert!(budget.allowance(user(2)).grow(&mut third, MIB).now_or_never().is_none());
    // The rest of the user's share goes to others meanwhile.
    let _ = allowance.try_grow(&mut first, 2 * MIB);
    assert!(allowance.grow(&mut last, MIB).now_or_never().is_some());
    drop(last);
    assert!(budget.allowance(user(2)).grow(&mut third, MIB).now_or_never().is_some());
}

/// A connection whose user changed kept the grant of the one before; to let it grow was a panic, which
/// took the connection down without an answer.
#[test]
fn a_grant_of_one_user_becomes_that_of_the_next() {
    let budget = Budget::new(BYTES);
    let (one, two) = (budget.allowance(user(1)), budget.allowance(user(2)));
    let mut grant = Grant::default();
    assert!(one.try_grow(&mut grant, MIB));
    assert!(two.try_grow(&mut grant, 2 * MIB));
    assert_eq!(budget.free_bytes(), 2 * MIB);
    assert!(!one.is_tight() && two.is_tight(), "the first user has it back");
    assert!(budget.allowance(None).try_grow(&mut grant, 3 * MIB));
}

#[test]
fn users_who_left_are_forgotten() {
    let budget = Budget::new(BYTES);
    for number in 0..100 {
        drop(budget.allowance(user(number)));
    }
    assert_eq!(budget.users.lock().unwrap().len(), 1);
}

#[test]
fn a_grant_goes_over_to_the_next_user_of_its_connection() {
    let budget = Budget::new(BYTES);
    let mut grant = Grant::default();
    assert!(budget.allowance(user(1)).try_grow(&mut grant, MIB));
    let next = budget.allowance(user(2));
    assert!(next.try_grow(&mut grant, 2 * MIB));
    assert_eq!(budget.free_bytes(), 2 * MIB);
    // The second user's share is used up, the first one's is whole.
    assert!(next.is_tight());
    let mut other = Grant::default();
    assert!(budget.allowance(user(1)).try_grow(&mut other, 2 * MIB));
    assert!(!other.is_last_resort());
}

#[test]
fn a_share_counts_for_as_long_as_its_grant_lives() {
    let budget = Budget::new(BYTES);
    let grant = budget.take(user(1), 2 * MIB).now_or_never().unwrap();
    let mut more = Grant::default();
    assert!(budget.allowance(user(1)).try_grow(&mut more, MIB));
    assert!(more.is_last_resort(), "the share is used up by the grant that is still there");
    drop((grant, more));
    assert!(!budget.allowance(user(1)).is_tight());
}
