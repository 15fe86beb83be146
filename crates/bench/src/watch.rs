//! Watches a run while its workers work, and gathers what they did.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::course::Course;
use crate::crew::{LoadWorker, Records, Together};
use crate::error::{BenchError, Outcome};
use crate::observer::{Observer, SoFar};
use crate::plan::{LoadPlan, RunLength};
use crate::recorder::Recorder;
use crate::stop::StopFlag;
use crate::usage::ProcessWatch;

/// How often the observer is told and memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The thread that watches a run.
pub(crate) struct Watcher<'a> {
    /// The load.
    pub(crate) plan: &'a LoadPlan,
    /// The wish to stop.
    pub(crate) stop: &'a StopFlag,
    /// The process of the server, where its costs can be told.
    pub(crate) server: Option<u32>,
    /// Whom to tell.
    pub(crate) observer: &'a dyn Observer,
}

impl Watcher<'_> {
    /// Starts the course, watches until all threads are done, and gathers what they did.
    pub(crate) fn watch(
        &self,
        together: &Together,
        workers: Vec<LoadWorker<'_>>,
    ) -> Outcome<Records> {
        let Self { plan, observer, .. } = *self;
        together.start.wait();
        let course = together.course.get_or_init(|| Course::begin(plan, self.stop.clone()));
        if together.is_unready.load(Ordering::Relaxed) {
            course.fail();
        }
        together.start.wait();
        let mut meters = Meters {
            server: self.server.map(ProcessWatch::new),
            client: ProcessWatch::new(std::process::id()),
            has_begun: false,
            ended: None,
        };
        meters.look(course);
        // What a warm-up does is not part of a total.
        observer.begins(match plan.length {
            RunLength::Messages(messages) if plan.warm_up.is_zero() => Some(messages),
            _ => None,
        });
        while workers.iter().any(|worker| !worker.thread.is_finished()) {
            std::thread::sleep(meters.pause(course));
            meters.look(course);
            let side = workers.iter().filter(|worker| worker.sends() == plan.kind.sends());
            observer.goes_on(so_far(course, side));
        }
        observer.ends();
        let ended = meters.end();
        let new = || Recorder::new(course.counted_from, Arc::default());
        let (mut sent, mut received) = (new()?, new()?);
        let mut failed = None;
        for worker in workers {
            let side = if worker.sends() { &mut sent } else { &mut received };
            match worker.thread.join() {
                Ok(Ok(recorder)) => side.merge(&recorder)?,
                Ok(Err(error)) => failed = failed.or(Some(error)),
                Err(_) => failed = Some(BenchError::machine("a thread of the load panicked")),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => {
                Ok(Records { sent, received, server: meters.server, client: meters.client, ended })
            }
        }
    }
}

fn so_far<'a>(course: &Course, workers: impl Iterator<Item = &'a LoadWorker<'a>>) -> SoFar {
    let (messages, bytes) = workers.fold((0, 0), |(messages, bytes), worker| {
        let (more, more_bytes) = worker.live.so_far();
        (messages + more, bytes + more_bytes)
    });
    let now = Instant::now();
    SoFar {
        messages,
        bytes,
        elapsed: now.saturating_duration_since(course.epoch),
        is_warm_up: now < course.counted_from,
    }
}

/// What looks at the processes while the run is on.
struct Meters {
    server: Option<ProcessWatch>,
    client: ProcessWatch,
    has_begun: bool,
    ended: Option<Instant>,
}

impl Meters {
    fn look(&mut self, course: &Course) {
        let now = Instant::now();
        if !self.has_begun && now >= course.counted_from {
            self.has_begun = true;
            self.each(ProcessWatch::begin);
        } else if self.has_begun && self.ended.is_none() && course.is_over(now) {
            self.end();
        } else if self.ended.is_none() {
            self.each(ProcessWatch::look);
        }
    }

    /// Until the next look; the first and the last of the counted time are looks of their own, so that costs are
    /// those of that time.
    fn pause(&self, course: &Course) -> Duration {
        let next = match (self.has_begun, self.ended) {
            (false, _) => Some(course.counted_from),
            (true, None) => course.end,
            (true, Some(_)) => None,
        };
        let left = next.map(|next| next.saturating_duration_since(Instant::now()));
        left.filter(|left| !left.is_zero()).map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY))
    }

    fn end(&mut self) -> Instant {
        if let Some(ended) = self.ended {
            return ended;
        }
        self.each(ProcessWatch::end);
        *self.ended.insert(Instant::now())
    }

    fn each(&mut self, what: fn(&mut ProcessWatch)) {
        self.server.iter_mut().for_each(what);
        what(&mut self.client);
    }
}
