//! Time and randomness, handed in so that the core can run in a simulator.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use galgo_wire::id::Timestamp;
use rand::Rng;
use rustix::time::{ClockId, clock_gettime};

/// What tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since the Unix epoch.
    fn now(&self) -> Timestamp;

    /// Microseconds since some fixed moment; never goes back.
    fn monotonic_us(&self) -> u64;

    /// For how many microseconds the system has been running, suspended or not: the same for all processes,
    /// until it is started again.
    fn running_us(&self) -> u64;
}

/// What gives random numbers.
pub trait Random: Send + Sync + 'static {
    /// 128 unpredictable bits.
    fn next_u128(&self) -> u128;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where real time enters")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

/// A time in microseconds: 64 bits hold more than half a million years of them, so what is cut off of a clock that is
/// set to the end of time is of no use to anybody.
fn whole_us(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000).saturating_add(time.subsec_micros().into())
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where real time enters")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::new(whole_us(since))
    }

    fn monotonic_us(&self) -> u64 {
        whole_us(self.started.elapsed())
    }

    fn running_us(&self) -> u64 {
        // Elsewhere this clock of that name is the one that goes on while the system is suspended, or there is
        // no other.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const RUNNING: ClockId = ClockId::Boottime;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        const RUNNING: ClockId = ClockId::Monotonic;
        let since = Duration::try_from(clock_gettime(RUNNING)).unwrap_or_default();
        whole_us(since)
    }
}

/// The thread's cryptographic generator, seeded by the operating system.
#[derive(Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    #[expect(clippy::disallowed_methods, reason = "the one place where real randomness enters")]
    fn next_u128(&self) -> u128 {
        let mut generator = rand::rng();
        (u128::from(generator.next_u64()) << 64) | u128::from(generator.next_u64())
    }
}

/// Clock and randomness of a test: time moves when told, numbers follow from the seed.
#[derive(Debug)]
pub struct ManualEnvironment {
    now_us: AtomicU64,
    /// How far the wall clock is ahead of where it began to run; wraps, so that it may be behind.
    wall_us: AtomicU64,
    random: AtomicU64,
}

impl ManualEnvironment {
    /// Starts at `now_us` microseconds with the random sequence of `seed`.
    #[must_use]
    pub fn new(now_us: u64, seed: u64) -> Self {
        let (now_us, wall_us) = (AtomicU64::new(now_us), AtomicU64::new(0));
        Self { now_us, wall_us, random: AtomicU64::new(seed) }
    }

    /// Sets the wall clock forward or back; the monotonic clock does not notice.
    pub fn step_wall_us(&self, by_us: i64) {
        self.wall_us.fetch_add(by_us.cast_unsigned(), Ordering::Relaxed);
    }

    /// Moves the time forward.
    pub fn advance_us(&self, by_us: u64) {
        self.now_us.fetch_add(by_us, Ordering::Relaxed);
    }

    /// The next number of the sequence (SplitMix64).
    pub fn next_u64(&self) -> u64 {
        let mut z = self
            .random
            .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed)
            .wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl Clock for ManualEnvironment {
    fn now(&self) -> Timestamp {
        let wall_us = self.wall_us.load(Ordering::Relaxed);
        Timestamp::new(self.now_us.load(Ordering::Relaxed).wrapping_add(wall_us))
    }

    fn monotonic_us(&self) -> u64 {
        self.now_us.load(Ordering::Relaxed)
    }

    fn running_us(&self) -> u64 {
        self.now_us.load(Ordering::Relaxed)
    }
}

impl Random for ManualEnvironment {
    fn next_u128(&self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }
}
