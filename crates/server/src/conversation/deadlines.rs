//! The moments at which something is due on a connection although nothing arrives.
//!
//! A request that stays half received loses its connection, however it trickles in.

use std::time::Duration;

use galgo_wire::limits::CONTROL_PAYLOAD_BYTES_MAX;
use tokio::time::Instant;

use super::Clock;

/// How often a connection looks for memory it no longer needs.
const SHRINK_EVERY: Duration = Duration::from_secs(2);

/// How often a connection looks whether its login was ended by others, of which nothing tells it: rarely enough that
/// a hundred thousand idle ones cost next to nothing, and soon enough that a place is not kept for nobody for long.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const _: () = assert!(
    LOOK_EVERY.as_secs() > 10 * SHRINK_EVERY.as_secs(),
    "memory is worth a timer sooner than a login is"
);

/// Bytes a half-received request must bring to earn one more second.
const BYTES_PER_SECOND_MIN: u64 = 64 << 10;
const _: () = assert!(
    CONTROL_PAYLOAD_BYTES_MAX as u64 / BYTES_PER_SECOND_MIN < 5 * 60,
    "the largest request that is not a send keeps a connection busy for minutes at most"
);

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
    /// Tell whether somebody is still logged in.
    Look,
    /// Answer the poll that waits.
    Wait,
}

/// A request that is being received.
#[derive(Debug, Clone, Copy)]
struct HalfReceived {
    since: Instant,
    bytes: u64,
}

/// What is due when.
#[derive(Debug)]
pub(crate) struct Deadlines {
    patience: Patience,
    is_logged_in: bool,
    /// When a login is due, while there is none; while there is one, when to look whether it still is.
    login: Option<Instant>,
    shrink: Option<Instant>,
    /// When the wait of a poll is over.
    wait: Option<Instant>,
    arrival: Option<HalfReceived>,
    over: bool,
}

impl Deadlines {
    /// Those of a connection that was opened at `now`.
    pub(crate) fn new(patience: Patience, now: Instant) -> Self {
        let login = patience.login.map(|login| now + login);
        Self {
            patience,
            is_logged_in: false,
            login,
            shrink: None,
            wait: None,
            arrival: None,
            over: false,
        }
    }

    /// Tells whether the connection waits for the rest of a request.
    pub(crate) fn waits_for_rest(&mut self, waits: bool, clock: Clock) {
        if waits {
            self.arrival.get_or_insert_with(|| HalfReceived { since: clock(), bytes: 0 });
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

    /// Tells whether somebody is logged in; the end of a login gives the time for the next one anew.
    pub(crate) fn logged_in(&mut self, logged_in: bool, clock: Clock) {
        if logged_in != self.is_logged_in {
            self.is_logged_in = logged_in;
            let time = |login| if logged_in { LOOK_EVERY } else { login };
            self.login = self.patience.login.map(|login| clock() + time(login));
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
        } else if passed(self.login) && self.is_logged_in {
            self.login = Some(now + LOOK_EVERY);
            Some(Due::Look)
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
        Some(self.arrival?.due(self.patience.frame))
    }
}

impl HalfReceived {
    /// When it is given up, however it trickles in.
    fn due(self, patience: Duration) -> Instant {
        self.since + patience + Duration::from_secs(self.bytes / BYTES_PER_SECOND_MIN)
    }
}

/// For how long, in all, a connection with streams has not read them because it was busy itself.
#[derive(Debug, Default)]
pub(crate) struct ReadingPauses {
    paused_at: Option<Instant>,
    paused: Duration,
}

impl ReadingPauses {
    /// Nothing is read from now on.
    pub(crate) fn pauses(&mut self, now: Instant) {
        self.paused_at.get_or_insert(now);
    }

    /// Whether nothing is read.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused_at.is_some()
    }

    /// Streams are read again.
    pub(crate) fn goes_on(&mut self, now: Instant) {
        if let Some(paused_at) = self.paused_at.take() {
            self.paused += now.saturating_duration_since(paused_at);
        }
    }
}

/// Until when one request must have come on its stream.
#[derive(Debug)]
pub(crate) struct RequestClock {
    patience: Duration,
    arrival: HalfReceived,
    /// How much of the pauses it has been given.
    paused: Duration,
}

impl RequestClock {
    /// That of a request that begins at `now`.
    pub(crate) fn new(patience: Duration, now: Instant, reading: &ReadingPauses) -> Self {
        Self { patience, arrival: HalfReceived { since: now, bytes: 0 }, paused: reading.paused }
    }

    /// Counts bytes that were received.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.arrival.bytes += bytes as u64;
    }

    /// Tells that the server kept the peer waiting for so long.
    pub(crate) fn held_up(&mut self, time: Duration) {
        self.arrival.since += time;
    }

    /// When the request is given up, unless the server does not read until then.
    pub(crate) fn due(&mut self, reading: &ReadingPauses) -> Instant {
        // A pause is the server's time: whatever the peer sent in it stayed in front of a closed window.
        self.held_up(reading.paused.saturating_sub(self.paused));
        self.paused = reading.paused;
        self.arrival.due(self.patience)
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
        let mut deadlines = Deadlines::new(Patience { login: None, ..PATIENCE }, now);
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
        assert_eq!(deadlines.due(now + Duration::from_secs(59)), None);
        deadlines.logged_in(false, Instant::now);
        assert!(deadlines.next() > Some(now + Duration::from_secs(59)));
    }

    /// An idle connection whose login was ended by others was never told so, and kept its place until its peer left.
    #[test]
    fn a_connection_looks_now_and_then_whether_its_login_was_ended() {
        let now = Instant::now();
        let mut deadlines = Deadlines::new(PATIENCE, now);
        deadlines.logged_in(true, Instant::now);
        let first = deadlines.next().unwrap();
        assert_eq!(deadlines.due(first), Some(Due::Look));
        assert_eq!(deadlines.next(), Some(first + LOOK_EVERY), "and so on while it is idle");
        deadlines.logged_in(false, Instant::now);
        let due = deadlines.next().unwrap();
        assert_eq!(deadlines.due(due), Some(Due::Login));
        let forever = Patience { login: None, ..PATIENCE };
        let mut deadlines = Deadlines::new(forever, now);
        deadlines.logged_in(true, Instant::now);
        assert_eq!(deadlines.next(), None, "nothing would become of it");
    }

    /// A request on a stream was given up behind a job of half a minute: the peer was not at fault, as nobody read
    /// what it sent meanwhile.
    #[test]
    fn the_time_in_which_nobody_reads_is_not_the_peers() {
        let second = Duration::from_secs(1);
        let begun = Instant::now();
        let mut reading = ReadingPauses::default();
        let mut request = RequestClock::new(PATIENCE.frame, begun, &reading);
        assert_eq!(request.due(&reading), begun + 30 * second);
        reading.pauses(begun + 10 * second);
        reading.pauses(begun + 20 * second);
        reading.goes_on(begun + 50 * second);
        reading.goes_on(begun + 60 * second);
        assert_eq!(request.due(&reading), begun + 70 * second);
        assert_eq!(request.due(&reading), begun + 70 * second, "it is counted once");
        request.held_up(second);
        request.received(64 << 10);
        assert_eq!(request.due(&reading), begun + 72 * second);
        let later = RequestClock::new(PATIENCE.frame, begun + 80 * second, &reading).due(&reading);
        assert_eq!(later, begun + 110 * second, "what was before concerns no other request");
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
