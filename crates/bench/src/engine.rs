//! A run: workers that begin together, what watches them, and the summary of what they did.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::Duration;

use galgo::Durability;

use crate::channel::{Channel, PreparedFrame};
use crate::consumer::{self, LoadConsumer};
use crate::course::Course;
use crate::crew::{LoadWorker, Records, Role, Together};
use crate::error::{BenchError, Outcome};
use crate::frames::{Load, PreparedFrames};
use crate::host::Host;
use crate::observer::Observer;
use crate::plan::{LoadKind, LoadPlan, Spot, share};
use crate::polls::{self, LoadPoll};
use crate::producer::{self, LoadProducer};
use crate::recorder::{Live, Recorder};
use crate::stage::StreamNames;
use crate::stop::StopFlag;
use crate::summary::{FORMAT, LatencyFacts, PlanFacts, RunSummary, ServerFacts, WorkDone};
use crate::watch::Watcher;

/// Puts a host under the load of a plan, any number of times.
#[derive(Debug)]
pub struct Engine<'a> {
    /// What takes the load.
    pub(crate) host: &'a Host,
    /// The load.
    pub(crate) plan: &'a LoadPlan,
    /// All partitions.
    pub(crate) spots: Vec<Spot>,
    /// What the streams are called; they are there.
    pub(crate) names: &'a StreamNames,
    /// The wish to stop.
    pub(crate) stop: &'a StopFlag,
    /// The process of the server, where its costs can be told.
    pub(crate) server: Option<u32>,
    waits: bool,
    durability: Option<Durability>,
}

/// A worker that waits for the start.
enum Ready {
    Producer(u32, Box<dyn Channel>, PreparedFrames),
    Consumer(u32, Box<dyn Channel>, Vec<LoadPoll>),
}

impl<'a> Engine<'a> {
    /// Puts `host` under the load of `plan`, over streams that are there.
    pub fn new(
        host: &'a Host,
        plan: &'a LoadPlan,
        names: &'a StreamNames,
        stop: &'a StopFlag,
    ) -> Self {
        Self {
            host,
            plan,
            spots: plan.places(),
            names,
            stop,
            server: host.process_id(|| None),
            waits: false,
            durability: None,
        }
    }

    /// Whether polls wait on the server when there is nothing.
    #[must_use]
    pub fn waits(mut self, waits: bool) -> Self {
        self.waits = waits;
        self
    }

    /// Takes note of what the topics promise, for the summary.
    #[must_use]
    pub fn durability(mut self, durability: Option<Durability>) -> Self {
        self.durability = durability;
        self
    }

    /// Takes note of the process of a server that is not the run's own.
    pub(crate) fn server(mut self, process: Option<u32>) -> Self {
        self.server = process;
        self
    }

    /// Sends each request of each producer `times` times, all producers at once; nothing is counted.
    ///
    /// # Errors
    /// The first error of any producer, or the wish to stop.
    pub fn prime(&self, times: u32) -> Outcome {
        let course = &Course::begin(self.plan, self.stop.clone());
        let primed = |number| {
            let (mut channel, mut frames) = self.producer(number, course)?;
            (0..times).try_for_each(|_| {
                self.stop.check()?;
                send_each(channel.as_mut(), &mut frames, course)
            })
        };
        std::thread::scope(|scope| {
            let begin = |number| scope.spawn(move || primed(number));
            let threads: Vec<_> = (0..self.plan.senders()).map(begin).collect();
            threads.into_iter().try_for_each(|thread| match thread.join() {
                Ok(done) => done,
                Err(_) => Err(BenchError::machine("a thread of the load panicked")),
            })
        })
    }

    /// Runs the plan once.
    ///
    /// # Errors
    /// The host cannot be reached, refuses, or breaks off. What the user ends early is no error.
    pub fn measure(&self, observer: &dyn Observer) -> Outcome<RunSummary> {
        let preloaded = self.preload(observer)?;
        let started_at = format!("{:.0}", jiff::Timestamp::now());
        ask_for_exact_timers();
        let plan = self.plan;
        let workers = plan.senders() + plan.receivers();
        let together = Together {
            start: Barrier::new(workers as usize + 1),
            course: OnceLock::new(),
            is_unready: AtomicBool::new(false),
            preparation: Course::begin(plan, self.stop.clone()),
        };
        let records = std::thread::scope(|scope| {
            let producers = (0..plan.senders()).map(Role::Producer);
            let roles = producers.chain((0..plan.receivers()).map(Role::Consumer));
            let begin = |role| {
                let (live, together) = (Arc::new(Live::default()), &together);
                let its_own = Arc::clone(&live);
                let work = move || self.worker(role, preloaded, its_own, together);
                LoadWorker { role, live, thread: scope.spawn(work) }
            };
            let watcher = Watcher { plan, stop: self.stop, server: self.server, observer };
            watcher.watch(&together, roles.map(begin).collect())
        })?;
        let Some(course) = together.course.get() else {
            unreachable!("whoever watched a run began its course");
        };
        let read_nothing = plan.kind == LoadKind::Consume && records.received.requests == 0;
        if read_nothing && !course.is_interrupted() {
            return Err(BenchError::usage("everything was read before the counted time began")
                .hint("lower --warm-up, or raise --preload"));
        }
        Ok(self.summary(course, &records, started_at))
    }

    /// One thread: connects, waits for the others, works.
    fn worker(
        &self,
        role: Role,
        preloaded: u64,
        live: Arc<Live>,
        together: &Together,
    ) -> Outcome<Recorder> {
        let opened = self.prepare(role, &together.preparation);
        if opened.is_err() {
            together.is_unready.store(true, Ordering::Relaxed);
        }
        // First all are ready, then there is a course.
        together.start.wait();
        together.start.wait();
        let Some(course) = together.course.get() else {
            unreachable!("workers are let go when the course has begun");
        };
        let _alarm = FailOnPanic(course);
        let mut recorder = Recorder::new(course.counted_from, live)?;
        let worked = opened.and_then(|ready| self.work(ready, preloaded, course, &mut recorder));
        match worked {
            Ok(()) => Ok(recorder),
            // What the end of the run does to connections is no failure.
            Err(_) if course.is_interrupted() => Ok(recorder),
            Err(error) => {
                course.fail();
                Err(error)
            }
        }
    }

    fn prepare(&self, role: Role, course: &Course) -> Outcome<Ready> {
        match role {
            Role::Producer(number) => {
                let (mut channel, mut frames) = self.producer(number, course)?;
                if self.plan.primes {
                    send_each(channel.as_mut(), &mut frames, course)?;
                }
                Ok(Ready::Producer(number, channel, frames))
            }
            Role::Consumer(number) => {
                let mut channel = self.host.open(course)?;
                let mut polls = self.polls(number, channel.as_mut(), course)?;
                // One that waits on one partition would not see what comes to another.
                if self.waits && polls.len() == 1 {
                    polls = polls.into_iter().map(LoadPoll::waiting).collect();
                }
                Ok(Ready::Consumer(number, channel, polls))
            }
        }
    }

    /// The connection and the requests of a producer.
    fn producer(
        &self,
        number: u32,
        course: &Course,
    ) -> Outcome<(Box<dyn Channel>, PreparedFrames)> {
        let mine = share(number, self.plan.producers, self.spots.len());
        let spots: Vec<Spot> =
            mine.into_iter().filter_map(|index| self.spots.get(index).copied()).collect();
        let frames = PreparedFrames::build(self.names, &spots, Load::of(self.plan, number))?;
        Ok((self.host.open(course)?, frames))
    }

    /// What a consumer reads, in turn.
    fn polls(
        &self,
        number: u32,
        channel: &mut dyn Channel,
        course: &Course,
    ) -> Outcome<Vec<LoadPoll>> {
        let (plan, count) = (self.plan, self.plan.poll_count());
        if let Some(bytes) = self.host.ranges_of() {
            return Ok(vec![LoadPoll::ranges(bytes, count)]);
        }
        if plan.group {
            return self.join(number, channel, course);
        }
        share(number, plan.consumers, self.spots.len())
            .into_iter()
            .filter_map(|index| self.spots.get(index))
            .map(|spot| LoadPoll::partition(self.names, *spot, count))
            .collect()
    }

    /// Becomes a member of the groups of its topics.
    fn join(
        &self,
        number: u32,
        channel: &mut dyn Channel,
        course: &Course,
    ) -> Outcome<Vec<LoadPoll>> {
        let topics: Vec<Spot> =
            self.spots.iter().copied().filter(|spot| spot.partition == 0).collect();
        let mut polls = Vec::new();
        for index in share(number, self.plan.consumers, topics.len()) {
            let Some(topic) = topics.get(index) else { continue };
            let join = polls::join(self.names, *topic)?;
            channel.exchange(PreparedFrame::plain(&join), course)?;
            polls.push(LoadPoll::group(self.names, *topic, self.plan.poll_count())?);
        }
        Ok(polls)
    }

    fn work(
        &self,
        ready: Ready,
        preloaded: u64,
        course: &Course,
        recorder: &mut Recorder,
    ) -> Outcome {
        let plan = self.plan;
        match ready {
            Ready::Producer(number, channel, frames) => {
                let producer = LoadProducer {
                    channel,
                    frames,
                    pace: plan.pace(number),
                    counted_from: plan.counted_from,
                    in_flight_max: plan.in_flight as usize,
                    course,
                };
                producer::produce(producer, recorder)
            }
            Ready::Consumer(number, channel, polls) => {
                let reads_on_schedule = plan.kind == LoadKind::Consume;
                let consumer = LoadConsumer {
                    channel,
                    polls,
                    pace: if reads_on_schedule { plan.pace(number) } else { None },
                    kind: plan.kind,
                    in_group: plan.group,
                    pause: plan.pause(),
                    preloaded,
                    preloaded_in_each: preloaded / self.spots.len().max(1) as u64,
                    course,
                };
                consumer::consume(consumer, recorder)
            }
        }
    }

    fn summary(&self, course: &Course, records: &Records, started_at: String) -> RunSummary {
        let plan = self.plan;
        let (sent, received) = (&records.sent, &records.received);
        let last = sent.last.max(received.last).unwrap_or(course.counted_from);
        let end = match course.end {
            // Ended early: until then.
            Some(end) => end.min(records.ended.max(course.counted_from)),
            None => last,
        };
        let seconds = end.saturating_duration_since(course.counted_from).as_secs_f64();
        let bytes = sent.bytes + received.bytes;
        let requests = sent.requests + received.requests;
        let is_latency = plan.kind == LoadKind::Latency;
        RunSummary {
            format: FORMAT.to_owned(),
            kind: plan.kind,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            server: ServerFacts {
                url: self.host.shown().to_owned(),
                transport: self.host.carrier().to_owned(),
                durability: self.durability.map(|durability| durability.to_string()),
                fresh: self.host.is_fresh(),
                waiting_polls: self.waits,
                client_processors: std::thread::available_parallelism().map_or(1, usize::from),
            },
            plan: PlanFacts::of(plan),
            interrupted: course.is_interrupted(),
            seconds,
            sent: plan.kind.sends().then(|| WorkDone::of(sent, seconds, true)),
            received: plan.kind.receives().then(|| WorkDone::of(received, seconds, !is_latency)),
            end_to_end: if is_latency { LatencyFacts::of(&received.latencies) } else { None },
            server_usage: records.server.as_ref().and_then(|watch| watch.usage(bytes, requests)),
            client_usage: records.client.usage(bytes, requests),
            kept_streams: Vec::new(),
        }
    }
}

/// Sends each of some requests once.
fn send_each(channel: &mut dyn Channel, frames: &mut PreparedFrames, course: &Course) -> Outcome {
    for _ in 0..frames.len() {
        let Some((frame, _)) = frames.next(Duration::ZERO) else { break };
        channel.exchange(frame, course)?;
    }
    Ok(())
}

/// Ends the run when a worker panics: the others would wait for it.
struct FailOnPanic<'a>(&'a Course);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}

/// Asks Linux not to round the sleeps of the threads that are made from now on, which would count as latency.
fn ask_for_exact_timers() {
    // Where that is refused, latencies on a schedule are some 50 us too long.
    let _ = std::fs::write("/proc/self/timerslack_ns", "1");
}
