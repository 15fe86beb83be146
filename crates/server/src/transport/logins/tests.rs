//! Who has the next turn.
//!
//! All logins stood in one line. With 300 connections that guessed at new names, each of which costs as much
//! as a right login, whoever logged in rightly waited for all of them: 7 to 31 seconds.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::rc::Rc;

use super::*;

#[derive(Debug, Clone, PartialEq)]
struct Test {
    name: &'static str,
    gone: Rc<Cell<bool>>,
}

impl Waiter for Test {
    fn is_gone(&self) -> bool {
        self.gone.get()
    }
}

fn waiter(name: &'static str) -> Test {
    Test { name, gone: Rc::default() }
}

fn address(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

fn stranger(number: u8) -> Hashing {
    Hashing { known: false, address: address(number) }
}

fn known(number: u8) -> Hashing {
    Hashing { known: true, address: address(number) }
}

/// A queue with all turns taken.
fn busy() -> LoginQueue<Test> {
    let mut queue = LoginQueue::default();
    for _ in 0..HASHES_AT_ONCE_MAX {
        assert_eq!(queue.ask(stranger(1), waiter("at work")), Ok(Asked::Now));
    }
    queue
}

fn next(queue: &mut LoginQueue<Test>) -> &'static str {
    queue.pass().map_or("nobody", |waiter| waiter.name)
}

/// INV-LOGIN-LANE.
#[test]
fn a_known_user_is_next_however_many_strangers_wait() {
    let mut queue = busy();
    for _ in 0..300 {
        assert_eq!(queue.ask(stranger(1), waiter("stranger")), Ok(Asked::Waits));
    }
    for _ in 0..50 {
        queue.ask(known(1), waiter("known")).unwrap();
        assert_eq!(next(&mut queue), "known", "after one that is at work");
        assert_eq!(next(&mut queue), "stranger");
    }
}

#[test]
fn known_users_do_not_keep_strangers_out() {
    let mut queue = busy();
    for _ in 0..100 {
        queue.ask(known(1), waiter("known")).unwrap();
    }
    queue.ask(stranger(2), waiter("stranger")).unwrap();
    let order: Vec<_> = (0..6).map(|_| next(&mut queue)).collect();
    assert_eq!(order, ["known", "known", "known", "known", "stranger", "known"]);
}

/// INV-LOGIN-FAIR.
#[test]
fn strangers_take_turns_by_address() {
    let mut queue = busy();
    for _ in 0..300 {
        queue.ask(stranger(1), waiter("guesser")).unwrap();
    }
    queue.ask(stranger(2), waiter("newcomer")).unwrap();
    assert_eq!((next(&mut queue), next(&mut queue)), ("guesser", "newcomer"));
}

/// INV-LOGIN-BOUND.
#[test]
fn a_full_queue_says_so_and_one_address_does_not_fill_it() {
    let mut queue = busy();
    let mut taken: HashMap<u8, usize> = HashMap::new();
    for from in 1..=3 {
        while queue.ask(stranger(from), waiter("stranger")).is_ok() {
            *taken.entry(from).or_default() += 1;
        }
    }
    assert_eq!(taken.get(&1), Some(&STRANGERS_OF_ONE_MAX));
    assert_eq!(taken.values().sum::<usize>(), STRANGERS_WAITING_MAX);
    assert_eq!(queue.ask(stranger(9), waiter("stranger")), Err(Full));
    for _ in 0..KNOWN_WAITING_MAX {
        assert_eq!(queue.ask(known(1), waiter("known")), Ok(Asked::Waits), "a lane of its own");
    }
    assert_eq!(queue.ask(known(1), waiter("known")), Err(Full));
}

#[test]
fn who_went_away_takes_no_turn_and_no_room() {
    let mut queue = busy();
    let gone = waiter("gone");
    for _ in 0..STRANGERS_OF_ONE_MAX {
        queue.ask(stranger(1), gone.clone()).unwrap();
        queue.ask(stranger(2), gone.clone()).unwrap();
    }
    gone.gone.set(true);
    assert_eq!(queue.ask(stranger(3), waiter("here")), Ok(Asked::Waits));
    assert_eq!((next(&mut queue), next(&mut queue)), ("here", "nobody"));
}

async fn is_pending(mut future: std::pin::Pin<&mut impl Future>) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

/// INV-LOGIN-TURNS.
#[tokio::test]
async fn a_turn_passes_on_also_when_who_waited_for_it_is_gone() {
    let logins = Logins::default();
    let mut held = Vec::new();
    for _ in 0..HASHES_AT_ONCE_MAX {
        held.push(logins.turn(stranger(1)).await.unwrap());
    }
    let mut given_up = Box::pin(logins.turn(stranger(1)));
    assert!(is_pending(given_up.as_mut()).await);
    let mut waiting = Box::pin(logins.turn(known(1)));
    assert!(is_pending(waiting.as_mut()).await);
    drop(given_up);
    held.pop();
    drop(waiting.await.unwrap());
    drop(held);
    assert_eq!(logins.0.lock().at_work, 0, "all turns are free again");
}
