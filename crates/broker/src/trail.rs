//! What strangers and users tried and were refused, as lines of the log.
//!
//! Somebody outside can cause any number of these, so the log is bounded, not the attempts: the first of a
//! kind from an address is a line at once, those that follow within a minute are one more line with their
//! number and the last of them.
//!
//! INV-TRAIL-BOUND: however often and from however many addresses, there are at most [`SOURCES_MAX`] lines
//! at once and as many each minute.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::environment::Clock;
use galgo_storage::lock::{Ranked, rank};

/// Most kinds and addresses that are told apart at once.
pub const SOURCES_MAX: usize = 256;

/// How long what follows a line is counted before it is told.
pub const INTERVAL_US: u64 = 60_000_000;

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The fixed phrase of its line; with the address it tells what is counted together.
    pub phrase: &'static str,
    /// Where it came from.
    pub address: IpAddr,
    /// Whose name was given, or who is logged in.
    pub user: Option<Box<str>>,
    /// The name of the stream it was about.
    pub stream: Option<Box<str>>,
    /// The name of the topic it was about.
    pub topic: Option<Box<str>>,
    /// What was in the way.
    pub reason: Box<str>,
}

/// Writes refusals to the log.
pub struct Trail {
    clock: Arc<dyn Clock>,
    table: Ranked<{ rank::TRAIL }, TrailTable>,
}

#[derive(Default)]
struct TrailTable {
    sources: BTreeMap<(&'static str, IpAddr), TrailSource>,
    /// Refusals from sources that found no room.
    others: u64,
    others_since_us: u64,
}

struct TrailSource {
    since_us: u64,
    /// Refusals since its last line.
    untold: u64,
    last: Refusal,
}

impl Refusal {
    /// A refusal of `phrase` from `address`, because of `reason`.
    #[must_use]
    pub fn new(phrase: &'static str, address: IpAddr, reason: &str) -> Self {
        let reason = reason.into();
        Self { phrase, address, user: None, stream: None, topic: None, reason }
    }

    fn tell(&self, count: u64) {
        tracing::warn!(
            user = self.user.as_deref(),
            address = %self.address,
            stream = self.stream.as_deref(),
            topic = self.topic.as_deref(),
            reason = &*self.reason,
            count,
            "{}",
            self.phrase
        );
    }
}

impl Trail {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, table: Ranked::default() }
    }

    /// Takes note of a refusal: a line of the log, at once or with others.
    pub fn note(&self, refusal: Refusal) {
        let now_us = self.clock.monotonic_us();
        // The lock is free again when the line is written: others are refused meanwhile.
        if self.table.lock().note(&refusal, now_us) {
            refusal.tell(1);
        }
    }

    /// Tells what was counted for long enough; all of it when `at_once`.
    pub(crate) fn tell(&self, at_once: bool) {
        let now_us = self.clock.monotonic_us();
        let (due, others) = self.table.lock().due(now_us, at_once);
        for (refusal, count) in due {
            refusal.tell(count);
        }
        if others > 0 {
            tracing::warn!(
                count = others,
                "further refusals, from more addresses than are told apart"
            );
        }
    }
}

impl TrailTable {
    /// Whether the refusal is a line of its own, now.
    fn note(&mut self, refusal: &Refusal, now_us: u64) -> bool {
        let key = (refusal.phrase, site(refusal.address));
        if let Some(source) = self.sources.get_mut(&key) {
            source.untold += 1;
            source.last = refusal.clone();
            return false;
        }
        // INV-TRAIL-BOUND: from more addresses than this there is one line for all, however many
        // they are.
        if self.sources.len() >= SOURCES_MAX {
            self.others_since_us = if self.others == 0 { now_us } else { self.others_since_us };
            self.others += 1;
            return false;
        }
        let source = TrailSource { since_us: now_us, untold: 0, last: refusal.clone() };
        self.sources.insert(key, source);
        assert!(
            self.sources.len() <= SOURCES_MAX,
            "INV-TRAIL-BOUND: what is told apart is bounded"
        );
        true
    }

    fn due(&mut self, now_us: u64, at_once: bool) -> (Vec<(Refusal, u64)>, u64) {
        let is_due = |since_us| at_once || now_us.saturating_sub(since_us) >= INTERVAL_US;
        let mut due = Vec::new();
        self.sources.retain(|_, source| {
            if !is_due(source.since_us) {
                return true;
            }
            // One that was quiet for so long makes room for another.
            let goes_on = source.untold > 0;
            if goes_on {
                due.push((source.last.clone(), std::mem::take(&mut source.untold)));
                source.since_us = now_us;
            }
            goes_on
        });
        let others = match is_due(self.others_since_us) {
            true => std::mem::take(&mut self.others),
            false => 0,
        };
        (due, others)
    }
}

/// Addresses that are taken for one: the 64 bits of an IPv6 address that a site gets.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        // A site chooses the lower half as it likes: told apart by it, one of them would fill the
        // table.
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

impl std::fmt::Debug for Trail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trail").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: u32, user: &str) -> Refusal {
        let address = IpAddr::V4(address.into());
        Refusal { user: Some(user.into()), ..Refusal::new("login refused", address, "wrong") }
    }

    /// A guesser could fill the disk with a line for each guess.
    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        let mut table = TrailTable::default();
        assert!(table.note(&refusal(1, "root"), 0));
        for guess in 0..1_000 {
            assert!(!table.note(&refusal(1, "root"), guess));
        }
        assert!(!table.note(&refusal(1, "admin"), 1_000));
        assert!(table.note(&refusal(2, "root"), 1_000), "another address is another line");
        assert_eq!(table.due(INTERVAL_US - 1, false), (Vec::new(), 0));
        assert_eq!(table.due(INTERVAL_US, false), (vec![(refusal(1, "admin"), 1_001)], 0));
        assert!(!table.note(&refusal(1, "root"), INTERVAL_US + 1), "it goes on");
        assert_eq!(table.due(2 * INTERVAL_US, false), (vec![(refusal(1, "root"), 1)], 0));
        assert_eq!(table.due(3 * INTERVAL_US, false), (Vec::new(), 0));
        assert!(table.sources.is_empty());
        assert!(table.note(&refusal(1, "root"), 3 * INTERVAL_US), "after a minute without");
    }

    /// INV-TRAIL-BOUND.
    #[test]
    fn more_addresses_than_are_told_apart_are_counted() {
        let mut table = TrailTable::default();
        let told = (0..10_000).filter(|from| table.note(&refusal(*from, "root"), 5)).count();
        assert_eq!(told, SOURCES_MAX);
        assert_eq!(table.due(INTERVAL_US + 5, false), (Vec::new(), 10_000 - SOURCES_MAX as u64));
    }

    #[test]
    fn the_addresses_of_a_site_are_one() {
        let mut table = TrailTable::default();
        let from = |text: &str| Refusal::new("login refused", text.parse().unwrap(), "wrong");
        assert!(table.note(&from("2001:db8:0:1::1"), 0));
        assert!(!table.note(&from("2001:db8:0:1::2"), 0));
        assert!(table.note(&from("2001:db8:0:2::1"), 0));
        assert_eq!(table.due(0, true).0.len(), 1, "a stop tells what is left");
    }
}
