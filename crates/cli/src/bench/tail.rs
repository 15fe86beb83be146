//! Messages sent at a fixed rate, and how long each takes until its reader has it.
//!
//! A message counts from when the generator woke to send it, or from when it was due if the
//! answer before came too late for that. So a slow server pays for what had to wait behind it, and
//! the timer of the generator, which is no part of what is compared, is left out on both sides.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::bench::follow::Follower;
use crate::bench::worker::{Clock, Connection, Work, lost};
use crate::failure::{Failure, Outcome};
use crate::interrupt::StopFlag;

/// Longest wait for the last messages after all were sent.
const ARRIVAL_WAIT_MAX: Duration = Duration::from_secs(30);

/// When each message is due, and which of them count.
#[derive(Debug)]
struct Schedule {
    begun: Instant,
    interval: Duration,
    counted_from: Instant,
    end: Instant,
    messages: u32,
}

impl Schedule {
    fn new(rate: u32, clock: Clock) -> Self {
        let begun = Instant::now();
        let counted_from = begun + clock.warm_up;
        let messages = (clock.warm_up + clock.counted).as_secs_f64() * f64::from(rate);
        Self {
            begun,
            interval: Duration::from_secs_f64(1.0 / f64::from(rate.max(1))),
            counted_from,
            end: counted_from + clock.counted,
            messages: messages as u32,
        }
    }

    /// Waits until a message is due, and returns from when it counts.
    fn wait(&self, number: u32) -> Instant {
        let due = self.begun + self.interval * number;
        let early = due.saturating_duration_since(Instant::now());
        if early.is_zero() {
            return due;
        }
        std::thread::sleep(early);
        Instant::now()
    }

    fn count(&self, work: &mut Work, asked: Instant) {
        let arrived = Instant::now();
        work.requests += 1;
        if asked >= self.counted_from && asked < self.end {
            work.latencies.record(arrived.saturating_duration_since(asked));
        }
    }
}

/// Sends `frame`, of one message, at `rate` per second to the partition that `follower` reads.
pub(crate) fn tail(
    mut producer: Connection,
    mut follower: Follower,
    load: (&[u8], u32),
    clock: Clock,
    stop: &StopFlag,
) -> Outcome<Work> {
    let (frame, rate) = load;
    let schedule = Schedule::new(rate, clock);
    // When each message counts from, in nanoseconds since the beginning.
    let asked: Vec<AtomicU64> = (0..schedule.messages).map(|_| AtomicU64::new(0)).collect();
    let (schedule, asked) = (&schedule, &asked);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || read_all(&mut follower, schedule, asked, stop));
        let sent = send_all(&mut producer, frame, schedule, asked, stop);
        let read = reader.join().unwrap_or_else(|_| Err(Failure::io("a bench thread panicked")));
        stop.check()?;
        sent.and(read)
    })
}

fn send_all(
    producer: &mut Connection,
    frame: &[u8],
    schedule: &Schedule,
    asked: &[AtomicU64],
    stop: &StopFlag,
) -> Outcome {
    for (number, asked) in (0..).zip(asked) {
        if stop.is_set() {
            break;
        }
        let since = schedule.wait(number).saturating_duration_since(schedule.begun);
        asked.store(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
        producer.exchange(frame)?;
    }
    Ok(())
}

fn read_all(
    follower: &mut Follower,
    schedule: &Schedule,
    asked: &[AtomicU64],
    stop: &StopFlag,
) -> Outcome<Work> {
    let mut work = Work::none()?;
    let mut left = asked.iter();
    while left.len() > 0 && !stop.is_set() {
        if Instant::now() > schedule.end + ARRIVAL_WAIT_MAX {
            return Err(Failure::io("messages that were sent did not arrive"));
        }
        let count = follower.poll()?;
        for asked in left.by_ref().take(count as usize) {
            let since = Duration::from_nanos(asked.load(Ordering::Acquire));
            schedule.count(&mut work, schedule.begun + since);
        }
    }
    Ok(work)
}

/// Sends `frame` at `rate` per second to a bare echo, and waits for each to come back.
pub(crate) fn echo(
    mut connection: Connection,
    load: (&[u8], u32),
    clock: Clock,
    stop: &StopFlag,
) -> Outcome<Work> {
    let (frame, rate) = load;
    let schedule = Schedule::new(rate, clock);
    let mut work = Work::none()?;
    let mut back = vec![0; frame.len()];
    for number in 0..schedule.messages {
        stop.check()?;
        let asked = schedule.wait(number);
        let socket = connection.socket();
        socket.write_all(frame).map_err(|error| lost(&error))?;
        socket.read_exact(&mut back).map_err(|error| lost(&error))?;
        schedule.count(&mut work, asked);
    }
    Ok(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Clock =
        Clock { warm_up: Duration::from_millis(100), counted: Duration::from_millis(400) };

    #[test]
    fn a_schedule_has_the_messages_of_its_time() {
        let schedule = Schedule::new(1000, CLOCK);
        assert_eq!(schedule.messages, 500);
        assert_eq!(schedule.interval, Duration::from_millis(1));
    }

    #[test]
    fn a_late_message_counts_from_when_it_was_due() {
        let mut schedule = Schedule::new(1000, CLOCK);
        schedule.begun -= Duration::from_secs(10);
        assert_eq!(schedule.wait(3), schedule.begun + Duration::from_millis(3));
    }

    #[test]
    fn an_early_message_is_sent_when_it_is_due() {
        let schedule = Schedule::new(1000, CLOCK);
        assert!(schedule.wait(5) >= schedule.begun + Duration::from_millis(5));
    }

    #[test]
    fn what_is_sent_to_warm_up_is_no_latency() {
        let schedule = Schedule::new(1000, CLOCK);
        let mut work = Work::none().unwrap();
        schedule.count(&mut work, schedule.begun);
        schedule.count(&mut work, schedule.counted_from);
        schedule.count(&mut work, schedule.end);
        assert_eq!((work.requests, work.latencies.count()), (3, 1));
    }
}
