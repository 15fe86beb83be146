//! The moments at which something is due on a connection although nothing arrives.
//!
//! A request that stays half received loses its connection, however it trickles in.

use std::time::Duration;

use tokio::time::Instant;

use super::Clock;

/// How often a connection looks for memory it no longer needs.
const SHRINK_EVERY: Duration = Duration::from_secs(2);

/// Bytes a half-received request must bring to earn one more second.
const BYTES_PER_SECOND_MIN: u64 = 64 << 10;

/// How long a connection may take for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For a whole request, once its first byte is here.
    pub(crate) frame: Duration,
    /// For a login, if there is a limit.
    pub(crate) login: Option<Duration>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Close: a request stayed half received.
    Frame,
    /// Close: nobody logged in.
    Login,
    /// Look for memory to give back.
    Shrink,
    /// Answer the poll that waits.
    Wait,
}

/// A request that is being received.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    since: Instant,
    bytes: u64,
}

/// What is due when.
#[derive(Debug)]
pub(crate) struct Deadlines {
    patience: Patience,
    /// When a login is due, while there is none.
    login: Option<Instant>,
    shrink: Option<Instant>,
    /// When the wait of a poll is over.
    wait: Option<Instant>,
    arrival: Option<Arrival>,
    over: bool,
}

impl Deadlines {
    /// Those of a connection that was opened at `now`.
    pub(crate) fn new(patience: Patience, now: Instant) -> Self {
        let login = patience.login.map(|login| now + login);
        Self { patience, login, shrink: None, wait: None, arrival: None, over: false }
    }

    /// Tells whether the connection waits for the rest of a request.
    pub(crate) fn waits_for_rest(&mut self, waits: bool, clock: Clock) {
        if waits {
            self.arrival.get_or_insert_with(|| Arrival { since: clock(), bytes: 0 });
        } else {
            self.arrival = None;
        }
    }

    /// Counts bytes that were received.
    pub(crate) fn received(&mut self, bytes: usize) {
        if let Some(arrival) = &mut self.arrival {
            arrival.bytes += bytes as u64;
        }
    }

    /// Tells that the server kept the peer waiting for so long.
    pub(crate) fn held_up(&mut self, time: Duration) {
        if let Some(arrival) = &mut self.arrival {
            arrival.since += time;
        }
    }

    /// Tells that a request is here, or gone, as a whole.
    pub(crate) fn request_complete(&mut self) {
        self.arrival = None;
    }

    /// Tells whether somebody is logged in; a logout gives the time for a login anew.
    pub(crate) fn logged_in(&mut self, logged_in: bool, clock: Clock) {
        if logged_in {
            self.login = None;
        } else if self.login.is_none() {
            self.login = self.patience.login.map(|login| clock() + login);
        }
    }

    /// Tells whether there is memory that may be given back.
    pub(crate) fn holds_memory(&mut self, holds: bool, clock: Clock) {
        if !holds {
            self.shrink = None;
        } else if self.shrink.is_none() {
            self.shrink = Some(clock() + SHRINK_EVERY);
        }
    }

    /// Tells when the wait of a poll is over, if one waits.
    pub(crate) fn waits_until(&mut self, due: Option<Instant>) {
        self.wait = due;
    }

    /// Nothing is due any more, whatever is told from now on.
    pub(crate) fn none(&mut self) {
        self.over = true;
    }

    /// The next moment something is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        [self.frame(), self.login, self.shrink, self.wait].into_iter().flatten().min()
    }

    /// What is due at `now`, the most urgent first.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Due> {
        if self.over {
            return None;
        }
        let passed = |moment: Option<Instant>| moment.is_some_and(|moment| moment <= now);
        if passed(self.frame()) {
            Some(Due::Frame)
        } else if passed(self.login) {
            Some(Due::Login)
        } else if passed(self.shrink) {
            self.shrink = None;
            Some(Due::Shrink)
        } else if passed(self.wait) {
            Some(Due::Wait)
        } else {
            None
        }
    }

    fn frame(&self) -> Option<Instant> {
        let Arrival { since, bytes } = self.arrival?;
        let earned = Duration::from_secs(bytes / BYTES_PER_SECOND_MIN);
        Some(since + self.patience.frame + earned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { frame: Duration::from_secs(30), login: Some(Duration::from_secs(60)) };

    #[test]
    fn a_trickle_does_not_keep_a_request_alive_but_a_stream_does() {
        let now = Instant::now();
        let mut deadlines = Deadlines::new(PATIENCE, now);
        deadlines.logged_in(true, Instant::now);
        assert_eq!(deadlines.next(), None);
        deadlines.waits_for_rest(true, Instant::now);
        for _ in 0..1000 {
            deadlines.received(1);
        }
        assert_eq!(deadlines.due(now + Duration::from_secs(29)), None);
        assert_eq!(deadlines.due(now + Duration::from_secs(31)), Some(Due::Frame));
        deadlines.received(1 << 20);
        deadlines.held_up(Duration::from_millis(1));
        assert_eq!(deadlines.due(now + Duration::from_secs(31)), None);
        assert_eq!(deadlines.due(now + Duration::from_secs(47)), Some(Due::Frame));
        deadlines.request_complete();
        assert_eq!(deadlines.due(now + Duration::from_secs(1000)), None);
    }

    #[test]
    fn a_login_ends_the_wait_for_it_and_a_logout_begins_it_again() {
        let now = Instant::now();
        let mut deadlines = Deadlines::new(PATIENCE, now);
        deadlines.logged_in(false, Instant::now);
        assert_eq!(deadlines.next(), Some(now + Duration::from_secs(60)));
        assert_eq!(deadlines.due(now + Duration::from_secs(60)), Some(Due::Login));
        deadlines.logged_in(true, Instant::now);
        assert_eq!(deadlines.next(), None);
        deadlines.logged_in(false, Instant::now);
        assert!(deadlines.next() > Some(now + Duration::from_secs(59)));
    }

    #[test]
    fn memory_is_looked_for_again_only_while_there_is_some() {
        let now = Instant::now();
        let mut deadlines = Deadlines::new(Patience { login: None, ..PATIENCE }, now);
        deadlines.holds_memory(true, Instant::now);
        assert_eq!(deadlines.due(now), None);
        assert_eq!(deadlines.due(now + Duration::from_secs(3)), Some(Due::Shrink));
        assert_eq!(deadlines.next(), None);
        deadlines.holds_memory(true, Instant::now);
        deadlines.holds_memory(false, Instant::now);
        assert_eq!(deadlines.next(), None);
    }
}
