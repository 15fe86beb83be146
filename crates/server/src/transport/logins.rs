//! Turns for work that hashes a password: slow by design, so few at a time, and anybody may ask for it.
//!
//! Users that have logged in before from where they are have a lane of their own, which goes first. All
//! others, whoever guesses at names and passwords among them, take turns by the address they come from.
//!
//! INV-LOGIN-TURNS: no more hash at once than the broker allows.
//! INV-LOGIN-LANE: who is known waits for those at work, for known ones that came before, and for one stranger
//! after every [`KNOWN_IN_A_ROW`] of these; however many strangers wait.
//! INV-LOGIN-FAIR: strangers of one address wait for one of each other address for each of their own.
//! INV-LOGIN-BOUND: so many wait that the last has its turn within half a minute; who comes then is told at
//! once.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use galgo_broker::{HASHES_AT_ONCE_MAX, Hashing};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::transport::places::network;

/// Known users that have their turn before a stranger that waits.
const KNOWN_IN_A_ROW: u32 = 4;

/// Most known users that wait.
const KNOWN_WAITING_MAX: usize = 2_000;

/// Most strangers that wait.
const STRANGERS_WAITING_MAX: usize = 2_000;

/// Most of these from one address. Loopback is everybody behind a proxy, and gets all.
const STRANGERS_OF_ONE_MAX: usize = STRANGERS_WAITING_MAX / 2;
const _: () = assert!(KNOWN_IN_A_ROW > 1, "INV-LOGIN-LANE: who is known goes first");
const _: () = assert!(
    KNOWN_WAITING_MAX >= STRANGERS_WAITING_MAX && 0 < STRANGERS_OF_ONE_MAX,
    "INV-LOGIN-FAIR: strangers crowd out neither users nor each other"
);

/// The turns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logins(Arc<Mutex<LoginQueue<oneshot::Sender<LoginTurn>>>>);

/// A turn; it passes on when dropped.
#[derive(Debug)]
pub(crate) struct LoginTurn(Logins);

/// Too many wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Logins {
    /// Waits for the turn of `who`. Dropping the future gives up the place in the queue.
    ///
    /// # Errors
    /// [`Full`], at once.
    pub(crate) async fn turn(&self, who: Hashing) -> Result<LoginTurn, Full> {
        let (pass, passed) = oneshot::channel();
        match self.0.lock().ask(who, pass)? {
            Asked::Now => return Ok(LoginTurn(self.clone())),
            Asked::Waits => {}
        }
        // Whoever has a turn passes it on, so nobody that waits is left alone.
        passed.await.map_err(|_| Full)
    }
}

impl Drop for LoginTurn {
    fn drop(&mut self) {
        let next = self.0.0.lock().pass();
        if let Some(next) = next {
            // One that is gone by now drops the turn, which passes it on.
            let _ = next.send(Self(self.0.clone()));
        }
    }
}

/// Who waits, in which order.
#[derive(Debug)]
struct LoginQueue<W> {
    at_work: u32,
    known: VecDeque<W>,
    /// Known ones that had their turn since the last stranger, while one waited.
    in_a_row: u32,
    /// By address, in the order of their turns.
    strangers: VecDeque<(IpAddr, VecDeque<W>)>,
    strangers_waiting: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Now,
    Waits,
}

/// Someone who may have gone away.
trait Waiter {
    fn is_gone(&self) -> bool;
}

impl<T> Waiter for oneshot::Sender<T> {
    fn is_gone(&self) -> bool {
        self.is_closed()
    }
}

impl<W> Default for LoginQueue<W> {
    fn default() -> Self {
        Self {
            at_work: 0,
            known: VecDeque::new(),
            in_a_row: 0,
            strangers: VecDeque::new(),
            strangers_waiting: 0,
        }
    }
}

impl<W: Waiter> LoginQueue<W> {
    fn ask(&mut self, who: Hashing, waiter: W) -> Result<Asked, Full> {
        if self.at_work < HASHES_AT_ONCE_MAX {
            let is_free = self.known.is_empty() && self.strangers.is_empty();
            assert!(is_free, "INV-LOGIN-TURNS: somebody waits while a turn is free");
            self.at_work += 1;
            return Ok(Asked::Now);
        }
        if who.known {
            if self.known.len() >= KNOWN_WAITING_MAX {
                self.known.retain(|waiter| !waiter.is_gone());
            }
            if self.known.len() >= KNOWN_WAITING_MAX {
                return Err(Full);
            }
            self.known.push_back(waiter);
            return Ok(Asked::Waits);
        }
        if self.strangers_waiting >= STRANGERS_WAITING_MAX {
            self.forget_gone();
        }
        let from = network(who.address);
        let own = self.strangers.iter_mut().find(|(address, _)| *address == from);
        let own_len = own.as_ref().map_or(0, |(_, own)| own.len());
        let is_over_share = own_len >= STRANGERS_OF_ONE_MAX && !from.is_loopback();
        if is_over_share || self.strangers_waiting >= STRANGERS_WAITING_MAX {
            return Err(Full);
        }
        self.strangers_waiting += 1;
        match own {
            Some((_, own)) => own.push_back(waiter),
            None => self.strangers.push_back((from, VecDeque::from([waiter]))),
        }
        Ok(Asked::Waits)
    }

    /// Ends a turn, and gives it to who is next.
    fn pass(&mut self) -> Option<W> {
        let next = self.next();
        if next.is_none() {
            assert!(self.at_work > 0, "INV-LOGIN-TURNS: a turn ends once");
            self.at_work -= 1;
        }
        next
    }

    fn next(&mut self) -> Option<W> {
        let stranger_is_due = self.in_a_row >= KNOWN_IN_A_ROW;
        if !stranger_is_due && let Some(known) = self.next_known() {
            return Some(known);
        }
        self.in_a_row = 0;
        self.next_stranger().or_else(|| self.next_known())
    }

    fn next_known(&mut self) -> Option<W> {
        while let Some(waiter) = self.known.pop_front() {
            if !waiter.is_gone() {
                self.in_a_row = if self.strangers.is_empty() { 0 } else { self.in_a_row + 1 };
                return Some(waiter);
            }
        }
        None
    }

    fn next_stranger(&mut self) -> Option<W> {
        while let Some((from, mut waiting)) = self.strangers.pop_front() {
            let next = waiting.pop_front();
            self.strangers_waiting -= usize::from(next.is_some());
            if !waiting.is_empty() {
                self.strangers.push_back((from, waiting));
            }
            if let Some(waiter) = next.filter(|waiter| !waiter.is_gone()) {
                return Some(waiter);
            }
        }
        None
    }

    fn forget_gone(&mut self) {
        for (_, waiting) in &mut self.strangers {
            waiting.retain(|waiter| !waiter.is_gone());
        }
        self.strangers.retain(|(_, waiting)| !waiting.is_empty());
        self.strangers_waiting = self.strangers.iter().map(|(_, waiting)| waiting.len()).sum();
    }
}

#[cfg(test)]
mod tests;
