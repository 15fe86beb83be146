//! A run from its start to its summary.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use crate::bench::load::channel::{Channel, Frame, Take};
use crate::bench::load::consumer::{self, Consumer};
use crate::bench::load::course::Course;
use crate::bench::load::frames::{Frames, Load};
use crate::bench::load::host::Host;
use crate::bench::load::plan::{Extent, Kind, Place, Plan, share};
use crate::bench::load::polls::{self, Poll};
use crate::bench::load::producer::{self, Producer};
use crate::bench::load::recorder::{Live, Recorder};
use crate::bench::load::stage::{Names, Stage};
use crate::bench::load::summary::{FORMAT, LatencyFacts, PlanFacts, ServerFacts, Summary, Work};
use crate::bench::load::usage::Watch;
use crate::bench::scratch;
use crate::connect::without_credentials;
use crate::failure::{Failure, Outcome};
use crate::interrupt::StopFlag;
use crate::noun::settings::Durability;
use crate::output::{Output, measure};
use crate::progress::Progress;

/// How often the moving line and the memory are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Requests in flight while messages are written that are to be read.
const PRELOAD_IN_FLIGHT: usize = 4;

/// About the size of a request that writes them.
const PRELOAD_REQUEST_BYTES: f64 = 1e6;
const PRELOAD_REQUEST_MESSAGES: f64 = 1000.0;

/// How to run a plan.
#[derive(Debug)]
pub(crate) struct Options {
    /// The plan.
    pub(crate) plan: Plan,
    /// Whether what was made stays on the server.
    pub(crate) keep: bool,
    /// The durability of the topics, if not the server's default.
    pub(crate) durability: Option<Durability>,
    /// Where its data is.
    pub(crate) dir: PathBuf,
    /// Where remarks go.
    pub(crate) output: Output,
}

/// Puts `host` under the load of a plan.
///
/// # Errors
/// The server cannot be reached, refuses, or breaks off. What the user ends early is no error.
pub(crate) fn run(host: &Host, options: &Options, stop: &StopFlag) -> Outcome<Summary> {
    let plan = &options.plan;
    if plan.in_flight > 1 && plan.kind.sends() && !host.pipelines() {
        return Err(Failure::usage("over QUIC a connection has one request in flight")
            .hint("leave out --in-flight, or take another --transport"));
    }
    if options.keep && host.is_fresh() {
        return Err(Failure::usage(
            "--keep makes no sense for a server that is gone after the run",
        )
        .hint("name a server with --server"));
    }
    if host.is_fresh() && scratch::is_in_memory(&options.dir) {
        options.output.remark(&format!(
            "warning: {} is in memory, where a sync costs nothing; use --dir with a disk",
            options.dir.display()
        ));
    }
    let names = Names::unique();
    let mut stage = Stage::open(&host.target)?;
    stage.build(options, &names, stop)?;
    let waits = plan.prefers_waiting() && stage.can_wait()?;
    let bench = Bench { host, options, names: &names, stop, waits, places: plan.places() };
    let server = host.process_id(|| stage.process_id());
    let mut summary = bench.measure(server)?;
    if options.keep {
        summary.kept_streams = stage.keep();
    }
    // The streams of a fresh server go with it.
    if host.is_fresh() {
        stage.keep();
    }
    stage.clear()?;
    Ok(summary)
}

struct Bench<'a> {
    host: &'a Host,
    options: &'a Options,
    names: &'a Names,
    stop: &'a StopFlag,
    /// Whether polls wait on the server.
    waits: bool,
    places: Vec<Place>,
}

/// What the workers and the thread that watches them share.
struct Together {
    start: Barrier,
    course: OnceLock<Course>,
    is_unready: AtomicBool,
    /// To look for signals while there is no course yet.
    preparation: Course,
}

/// Who does what.
#[derive(Clone, Copy)]
enum Role {
    Producer(u32),
    Consumer(u32),
}

/// The records of both sides, and what it all cost.
struct Result {
    sent: Recorder,
    received: Recorder,
    server: Option<Watch>,
    client: Watch,
    ended: Instant,
}

impl Bench<'_> {
    fn plan(&self) -> &Plan {
        &self.options.plan
    }

    fn measure(&self, server: Option<u32>) -> Outcome<Summary> {
        let preloaded = self.preload()?;
        let started_at = format!("{:.0}", jiff::Timestamp::now());
        ask_for_exact_timers();
        let plan = self.plan();
        let workers = plan.senders() + plan.receivers();
        let together = Together {
            start: Barrier::new(workers as usize + 1),
            course: OnceLock::new(),
            is_unready: AtomicBool::new(false),
            preparation: Course::begin(plan, self.stop.clone()),
        };
        let result = std::thread::scope(|scope| {
            let producers = (0..plan.senders()).map(Role::Producer);
            let roles = producers.chain((0..plan.receivers()).map(Role::Consumer));
            let (mut threads, mut lives) = (Vec::new(), Vec::new());
            for role in roles {
                let live = Arc::new(Live::default());
                lives.push((role, Arc::clone(&live)));
                let together = &together;
                let work = move || self.worker(role, preloaded, live, together);
                threads.push((role, scope.spawn(work)));
            }
            self.watch(&together, threads, &lives, server)
        })?;
        let course = together.course.get().unwrap_or(&together.preparation);
        if plan.kind == Kind::Consume && result.received.requests == 0 && !course.is_interrupted() {
            return Err(Failure::usage("everything was read before the counted time began")
                .hint("lower --warm-up, or raise --preload"));
        }
        Ok(self.summary(course, &result, started_at))
    }

    /// Writes what consumers are to read; returns the number of messages.
    fn preload(&self) -> Outcome<u64> {
        let plan = self.plan();
        if plan.kind != Kind::Consume {
            return Ok(0);
        }
        let mean = plan.sizes.mean().max(1.0);
        let fitting = (PRELOAD_REQUEST_BYTES / mean).clamp(1.0, PRELOAD_REQUEST_MESSAGES) as u64;
        let wanted = plan.preload_per_partition();
        // Whole polls, so that each finds as much as it asks for.
        let polls = (fitting.min(wanted) / u64::from(plan.batch)).max(1) as u32;
        let batch = plan.batch * polls;
        let requests = wanted.div_ceil(batch.into());
        let total = requests * u64::from(batch) * self.places.len() as u64;
        self.options
            .output
            .remark(&format!("writing {} to be read", measure::counted(total, "message")));
        let course = Course::begin(plan, self.stop.clone());
        let mut channel = self.host.open(&course)?;
        let ahead = if self.host.pipelines() { PRELOAD_IN_FLIGHT } else { 1 };
        for place in &self.places {
            let load = Load { batch, is_stamped: false, ..Load::of(plan, place.partition) };
            let mut frames = Frames::build(self.names, std::slice::from_ref(place), load)?;
            let mut waiting = 0;
            for _ in 0..requests {
                self.stop.check()?;
                if let Some((frame, _)) = frames.next(Duration::ZERO) {
                    channel.send(frame, &course)?;
                    waiting += 1;
                }
                if waiting >= ahead {
                    channel.answer(None, Take::Discard, &course)?;
                    waiting -= 1;
                }
            }
            for _ in 0..waiting {
                channel.answer(None, Take::Discard, &course)?;
            }
        }
        Ok(total)
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
        let course = together.course.get().unwrap_or(&together.preparation);
        let _alarm = Alarm(course);
        let mut recorder = Recorder::new(course.counted_from, live)?;
        let worked = opened.and_then(|ready| self.work(ready, preloaded, course, &mut recorder));
        match worked {
            Ok(()) => Ok(recorder),
            // What the end of the run does to connections is no failure.
            Err(_) if course.is_interrupted() => Ok(recorder),
            Err(failure) => {
                course.fail();
                Err(failure)
            }
        }
    }

    fn prepare(&self, role: Role, course: &Course) -> Outcome<Ready> {
        let plan = self.plan();
        match role {
            Role::Producer(number) => {
                let mine = share(number, plan.producers, self.places.len());
                let places: Vec<Place> =
                    mine.into_iter().filter_map(|index| self.places.get(index).copied()).collect();
                let frames = Frames::build(self.names, &places, Load::of(plan, number))?;
                Ok(Ready::Producer(number, self.host.open(course)?, frames))
            }
            Role::Consumer(number) => {
                let mut channel = self.host.open(course)?;
                let mut polls: Vec<Poll> = match plan.group {
                    true => self.join(number, channel.as_mut(), course)?,
                    false => share(number, plan.consumers, self.places.len())
                        .into_iter()
                        .filter_map(|index| self.places.get(index))
                        .map(|place| Poll::partition(self.names, *place, plan.batch))
                        .collect::<Outcome<_>>()?,
                };
                // One that waits on one partition would not see what comes to another.
                if self.waits && polls.len() == 1 {
                    polls = polls.into_iter().map(Poll::waiting).collect();
                }
                Ok(Ready::Consumer(number, channel, polls))
            }
        }
    }

    /// Becomes a member of the groups of its topics.
    fn join(&self, number: u32, channel: &mut dyn Channel, course: &Course) -> Outcome<Vec<Poll>> {
        let plan = self.plan();
        let topics: Vec<Place> =
            self.places.iter().copied().filter(|place| place.partition == 0).collect();
        let mut polls = Vec::new();
        for index in share(number, plan.consumers, topics.len()) {
            let Some(topic) = topics.get(index) else { continue };
            let join = polls::join(self.names, *topic)?;
            channel.send(Frame::plain(&join), course)?;
            channel.answer(None, Take::Discard, course)?;
            polls.push(Poll::group(self.names, *topic, plan.batch)?);
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
        let plan = self.plan();
        match ready {
            Ready::Producer(number, channel, frames) => {
                let pace = plan.pace(number);
                let in_flight_max = plan.in_flight as usize;
                let producer = Producer { channel, frames, pace, in_flight_max, course };
                producer::produce(producer, recorder)
            }
            Ready::Consumer(number, channel, polls) => {
                let reads_on_schedule = plan.kind == Kind::Consume;
                let consumer = Consumer {
                    channel,
                    polls,
                    pace: if reads_on_schedule { plan.pace(number) } else { None },
                    kind: plan.kind,
                    in_group: plan.group,
                    pause: plan.pause(),
                    preloaded,
                    preloaded_in_each: preloaded / self.places.len().max(1) as u64,
                    course,
                };
                consumer::consume(consumer, recorder)
            }
        }
    }

    /// Starts the course, watches until all threads are done, and gathers what they did.
    fn watch(
        &self,
        together: &Together,
        threads: Vec<(Role, ScopedJoinHandle<'_, Outcome<Recorder>>)>,
        lives: &[(Role, Arc<Live>)],
        server: Option<u32>,
    ) -> Outcome<Result> {
        together.start.wait();
        let course = together.course.get_or_init(|| Course::begin(self.plan(), self.stop.clone()));
        if together.is_unready.load(Ordering::Relaxed) {
            course.fail();
        }
        together.start.wait();
        let mut meters = Meters {
            server: server.map(Watch::new),
            client: Watch::new(std::process::id()),
            has_begun: false,
            ended: None,
        };
        meters.look(course);
        let progress = self.progress();
        while threads.iter().any(|(_, thread)| !thread.is_finished()) {
            std::thread::sleep(LOOK_EVERY);
            meters.look(course);
            self.show(&progress, course, lives);
        }
        progress.finish();
        let ended = meters.end();
        let new = || Recorder::new(course.counted_from, Arc::default());
        let (mut sent, mut received) = (new()?, new()?);
        let mut failed = None;
        for (role, thread) in threads {
            let side = if matches!(role, Role::Producer(_)) { &mut sent } else { &mut received };
            match thread.join() {
                Ok(Ok(recorder)) => side.merge(&recorder)?,
                Ok(Err(failure)) => failed = failed.or(Some(failure)),
                Err(_) => failed = Some(Failure::io("a thread of the load panicked")),
            }
        }
        match failed {
            Some(failure) => Err(failure),
            None => {
                Ok(Result { sent, received, server: meters.server, client: meters.client, ended })
            }
        }
    }

    fn progress(&self) -> Progress {
        let plan = self.plan();
        let total = match plan.extent {
            Extent::Messages(messages) => Some(messages),
            Extent::Time(_) => None,
        };
        // What a warm-up does is not part of a total.
        let total = total.filter(|_| plan.warm_up.is_zero());
        Progress::start_load(self.options.output.format, total)
    }

    fn show(&self, progress: &Progress, course: &Course, lives: &[(Role, Arc<Live>)]) {
        let sends = self.plan().kind.sends();
        let side = lives.iter().filter(|(role, _)| matches!(role, Role::Producer(_)) == sends);
        let (messages, bytes) = side.fold((0, 0), |(messages, bytes), (_, live)| {
            let (more, more_bytes) = live.so_far();
            (messages + more, bytes + more_bytes)
        });
        progress.set(messages, || {
            let elapsed = course.epoch.elapsed();
            let speed = measure::bytes_per_second(measure::rate(bytes, elapsed));
            let messages = measure::per_second(measure::rate(messages, elapsed));
            let phase = if Instant::now() < course.counted_from { "warming up, " } else { "" };
            format!("{messages}  {speed}  {phase}{:.0} s", elapsed.as_secs_f64())
        });
    }

    fn summary(&self, course: &Course, result: &Result, started_at: String) -> Summary {
        let plan = self.plan();
        let (sent, received) = (&result.sent, &result.received);
        let last = sent.last.max(received.last).unwrap_or(course.counted_from);
        let end = match course.end {
            // Ended early: until then.
            Some(end) => end.min(result.ended.max(course.counted_from)),
            None => last,
        };
        let seconds = end.saturating_duration_since(course.counted_from).as_secs_f64();
        let bytes = sent.bytes + received.bytes;
        let requests = sent.requests + received.requests;
        let is_latency = plan.kind == Kind::Latency;
        Summary {
            format: FORMAT.to_owned(),
            kind: plan.kind,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            server: ServerFacts {
                url: without_credentials(&self.host.target.url),
                transport: self.host.carrier().to_owned(),
                durability: self.options.durability.map(|it| it.name().to_owned()),
                fresh: self.host.is_fresh(),
                waiting_polls: self.waits,
                client_processors: std::thread::available_parallelism().map_or(1, usize::from),
            },
            plan: PlanFacts::of(plan),
            interrupted: course.is_interrupted(),
            seconds,
            sent: plan.kind.sends().then(|| Work::of(sent, seconds, true)),
            received: plan.kind.receives().then(|| Work::of(received, seconds, !is_latency)),
            end_to_end: if is_latency { LatencyFacts::of(&received.latencies) } else { None },
            server_usage: result.server.as_ref().and_then(|watch| watch.usage(bytes, requests)),
            client_usage: result.client.usage(bytes, requests),
            kept_streams: Vec::new(),
        }
    }
}

/// A worker that waits for the start.
enum Ready {
    Producer(u32, Box<dyn Channel>, Frames),
    Consumer(u32, Box<dyn Channel>, Vec<Poll>),
}

/// Ends the run when a worker panics: the others would wait for it.
struct Alarm<'a>(&'a Course);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}

/// What looks at the processes while the run is on.
struct Meters {
    server: Option<Watch>,
    client: Watch,
    has_begun: bool,
    ended: Option<Instant>,
}

impl Meters {
    fn look(&mut self, course: &Course) {
        let now = Instant::now();
        if !self.has_begun && now >= course.counted_from {
            self.has_begun = true;
            self.each(Watch::begin);
        } else if self.has_begun && self.ended.is_none() && course.is_over(now) {
            self.end();
        } else if self.ended.is_none() {
            self.each(Watch::look);
        }
    }

    fn end(&mut self) -> Instant {
        if let Some(ended) = self.ended {
            return ended;
        }
        self.each(Watch::end);
        *self.ended.insert(Instant::now())
    }

    fn each(&mut self, what: fn(&mut Watch)) {
        self.server.iter_mut().for_each(what);
        what(&mut self.client);
    }
}

/// Asks Linux not to round the sleeps of the threads that are made from now on, which would count as latency.
fn ask_for_exact_timers() {
    // Where that is refused, latencies on a schedule are some 50 us too long.
    let _ = std::fs::write("/proc/self/timerslack_ns", "1");
}
