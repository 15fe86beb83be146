//! Slows, then refuses, guessing at logins. Pure: time is handed in.
//!
//! Failed logins are counted per source address and per user name. Beyond some free ones the next attempt
//! has to wait, longer with every failure; beyond some more it is refused until a window without a
//! counted failure has passed.
//!
//! INV-THROTTLE-OTHERS: failing on purpose shuts nobody else out who has been here before. An address
//! from which a user has logged in is held to its own failures, not to those of others at that user;
//! logins over loopback and from elsewhere are counted apart; what comes over loopback is not counted by
//! address, as everything on the machine, proxies included, shares that one.
//! INV-THROTTLE-BACK: a successful login takes back the failures of that user from that address and no
//! others, so that nobody clears the way for guessing at others by logging in as oneself in between.
//! INV-THROTTLE-UNKNOWN: whether a user exists makes no difference.
//! INV-THROTTLE-BOUND: at most [`ENTRIES_MAX`] counts and as many known addresses are kept.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// Most counts that are kept, and most known addresses.
pub const ENTRIES_MAX: usize = 10_000;

// A failure counts for an address, a user and a pair.
const _: () = assert!(ENTRIES_MAX > 3, "one who fails is counted before others make room for it");

/// How guessing at logins is slowed and refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleOptions {
    /// Failures without any consequence.
    pub free_failures: u32,
    /// What the attempt after those has to wait; doubles with every further failure.
    pub delay_first_us: u64,
    /// The longest wait.
    pub delay_max_us: u64,
    /// Failures after which attempts are refused.
    pub failures_max: u32,
    /// Time without a failure after which all is forgotten.
    pub window_us: u64,
}

impl Default for ThrottleOptions {
    fn default() -> Self {
        Self {
            free_failures: 10,
            delay_first_us: 100_000,
            delay_max_us: 5_000_000,
            failures_max: 50,
            window_us: 300_000_000,
        }
    }
}

/// Who tries to log in, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    address: IpAddr,
    source: ThrottleSource,
    user: Option<Box<str>>,
}

/// Addresses that are taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ThrottleSource {
    Loopback,
    /// An IPv4 address, or the 64 bits of an IPv6 address that a site gets as one.
    Site(IpAddr),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ThrottleKey {
    Source(ThrottleSource),
    User { name: Box<str>, loopback: bool },
    Pair(Box<str>, ThrottleSource),
}

/// Failures in a row, none further than a window from the one before.
#[derive(Clone, Copy, Debug)]
struct Count {
    failures: u32,
    last_us: u64,
}

/// What may be done about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clearance {
    /// It may go on.
    Now,
    /// It may be tried again after this many microseconds.
    After(u64),
    /// It is refused.
    Refused,
}

/// The counts.
#[derive(Debug)]
pub struct Throttle {
    options: ThrottleOptions,
    counts: BTreeMap<ThrottleKey, Count>,
    /// From where users have logged in, and when last.
    known: BTreeMap<(Box<str>, ThrottleSource), u64>,
}

impl Subject {
    /// An attempt from `address`, at a user by name or at any by token.
    #[must_use]
    pub fn new(address: IpAddr, user: Option<&str>) -> Self {
        Self { address, source: ThrottleSource::of(address), user: user.map(Into::into) }
    }

    /// From where.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// At whom; `None` for a token, which may be anybody's.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    fn pair(&self) -> Option<(Box<str>, ThrottleSource)> {
        self.user.clone().map(|name| (name, self.source))
    }
}

impl ThrottleSource {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address.is_loopback() => Self::Loopback,
            IpAddr::V6(address) => {
                // A site chooses the lower half as it likes, so that counting by address would count nothing.
                let site = address.to_bits() >> 64 << 64;
                Self::Site(Ipv6Addr::from_bits(site).into())
            }
            address => Self::Site(address),
        }
    }
}

impl Throttle {
    /// Nobody has failed yet.
    #[must_use]
    pub fn new(options: ThrottleOptions) -> Self {
        Self { options, counts: BTreeMap::new(), known: BTreeMap::new() }
    }

    /// Whether an attempt may go on at `now_us`.
    #[must_use]
    pub fn admit(&self, subject: &Subject, now_us: u64) -> Clearance {
        let keys = self.keys_of(subject);
        // Held to all of them, so the strictest counts.
        keys.iter().map(|key| self.admit_key(key, now_us)).max().unwrap_or(Clearance::Now)
    }

    /// Counts a failure.
    pub fn failed(&mut self, subject: &Subject, now_us: u64) {
        let mut keys = self.keys_of(subject);
        // What a success takes back later is counted apart (INV-THROTTLE-BACK).
        keys.extend(subject.pair().map(|(name, source)| ThrottleKey::Pair(name, source)));
        for key in keys {
            let failures = self.live(&key, now_us).map_or(0, |count| count.failures);
            let count = Count { failures: failures.saturating_add(1), last_us: now_us };
            self.counts.insert(key, count);
        }
        self.bound(now_us);
    }

    /// Takes back the failures of a user that has now logged in, and remembers from where it has.
    pub fn succeeded(&mut self, subject: &Subject, now_us: u64) {
        let Some((name, source)) = subject.pair() else { return };
        let pair = ThrottleKey::Pair(name.clone(), source);
        // INV-THROTTLE-BACK: only its own. An attacker who logs in as itself in between clears nothing of what it did to
        // others.
        let own = self.live(&pair, now_us).map_or(0, |count| count.failures);
        self.counts.remove(&pair);
        for key in self.keys_of(subject) {
            if let Some(count) = self.counts.get_mut(&key) {
                count.failures = count.failures.saturating_sub(own);
                if count.failures == 0 {
                    self.counts.remove(&key);
                }
            }
        }
        // INV-THROTTLE-OTHERS: from now on this address is held to its own failures.
        self.known.insert((name, source), now_us);
        if self.known.len() > ENTRIES_MAX {
            let oldest = self.known.iter().min_by_key(|(_, at)| **at);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                unreachable!("INV-THROTTLE-BOUND: a table that is too full has an oldest entry")
            };
            self.known.remove(&oldest);
        }
        assert!(self.known.len() <= ENTRIES_MAX, "INV-THROTTLE-BOUND: known addresses are bounded");
    }

    /// Whether the user has logged in from there before, and has not failed there beyond what is free since.
    #[must_use]
    pub fn is_known(&self, subject: &Subject, now_us: u64) -> bool {
        let Some(pair) = subject.pair() else { return false };
        let failures = |(name, source): (Box<str>, ThrottleSource)| {
            self.live(&ThrottleKey::Pair(name, source), now_us).map_or(0, |count| count.failures)
        };
        // Where no failure is free, whoever has not failed at all is known all the same.
        self.known.contains_key(&pair) && failures(pair) < self.options.free_failures.max(1)
    }

    /// How many counts are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether nothing is counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// What an attempt is held to: its address, and its user unless that was here before.
    fn keys_of(&self, subject: &Subject) -> Vec<ThrottleKey> {
        let mut keys = Vec::with_capacity(3);
        let loopback = subject.source == ThrottleSource::Loopback;
        // Proxies on the machine bring everybody's attempts from there: one guesser would shut out all.
        if !loopback {
            keys.push(ThrottleKey::Source(subject.source));
        }
        // Everybody shares loopback, so having been there says nothing.
        if let Some(pair) = subject.pair()
            && (loopback || !self.known.contains_key(&pair))
        {
            keys.push(ThrottleKey::User { name: pair.0, loopback });
        }
        keys
    }

    fn admit_key(&self, key: &ThrottleKey, now_us: u64) -> Clearance {
        let Some(count) = self.live(key, now_us) else { return Clearance::Now };
        if count.failures >= self.options.failures_max {
            return Clearance::Refused;
        }
        // People mistype: the first ones cost nothing.
        let Some(beyond) = count.failures.checked_sub(self.options.free_failures) else {
            return Clearance::Now;
        };
        let factor = 2_u64.saturating_pow(beyond);
        let delay = self.options.delay_first_us.saturating_mul(factor);
        let due = count.last_us.saturating_add(delay.min(self.options.delay_max_us));
        match due.checked_sub(now_us) {
            None | Some(0) => Clearance::Now,
            Some(wait) => Clearance::After(wait),
        }
    }

    fn live(&self, key: &ThrottleKey, now_us: u64) -> Option<Count> {
        let count = self.counts.get(key).copied()?;
        (now_us.saturating_sub(count.last_us) < self.options.window_us).then_some(count)
    }

    /// Makes room: first what is past its window goes, then what has failed least and longest ago.
    fn bound(&mut self, now_us: u64) {
        if self.counts.len() <= ENTRIES_MAX {
            return;
        }
        // What is past its window says nothing any more. Of the rest, the least failed go: an attacker who fills the table
        // with new names does not get its own count out of it.
        let window = self.options.window_us;
        self.counts.retain(|_, count| now_us.saturating_sub(count.last_us) < window);
        while self.counts.len() > ENTRIES_MAX {
            let least = self.counts.iter().min_by_key(|(_, count)| (count.failures, count.last_us));
            let Some(least) = least.map(|(key, _)| key.clone()) else {
                unreachable!("INV-THROTTLE-BOUND: of too many counts one is the least")
            };
            self.counts.remove(&least);
        }
        assert!(self.counts.len() <= ENTRIES_MAX, "INV-THROTTLE-BOUND: counts are bounded");
    }
}

#[cfg(test)]
mod tests;
