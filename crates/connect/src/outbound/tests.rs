//! The end of a pipeline: its target is told once, and not waited for without end.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::batch::{Batch, Row};
use crate::budget::MemoryBudget;
use crate::config::file::{BadChoice, BatchSettings, GalgoOrigin};
use crate::failure::Finding;
use crate::place::Position;
use crate::shape::Shaper;
use crate::sink::{Promise, Sink, Sinks};
use crate::transform::Transforms;

/// A target that counts how often it is finished, and may never come to an end.
#[derive(Clone, Default)]
struct Counting {
    finished: Arc<AtomicU32>,
    hangs: bool,
}

#[async_trait]
impl Sink for Counting {
    async fn position(&mut self, _: &LaneName) -> Result<Option<Position>, Failure> {
        Ok(None)
    }

    async fn write(&mut self, _: &LaneName, _: &Batch) -> Result<(), Failure> {
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        self.finished.fetch_add(1, Ordering::Relaxed);
        match self.hangs {
            true => std::future::pending().await,
            // One that fails does not keep the others from being finished.
            false => Err(Failure::away("the disk is full")),
        }
    }
}

#[async_trait]
impl SinkSpec for Counting {
    fn promise(&self) -> Promise {
        Promise::AtLeastOnce
    }

    fn needs_json(&self) -> bool {
        false
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    async fn prepare(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn check(&self, _: &[Row]) -> Result<Vec<Finding>, Failure> {
        Ok(Vec::new())
    }

    fn preview(&self, _: &LaneName, _: &Row) -> Result<String, String> {
        Ok(String::new())
    }
}

struct NoServer;

#[async_trait]
impl Dial for NoServer {
    async fn dial(&self, _: &GalgoServer) -> Result<Client, Failure> {
        Err(Failure::refused("wrong password", "correct it"))
    }
}

/// Runs a pipeline of these topics to a server that refuses it.
async fn run(target: &Counting, topics: &[&str], stop_timeout: Duration) -> PipelineEnd {
    let from = "stream = 's'\ntopics = ['t']".parse().unwrap();
    let mut from: GalgoOrigin = crate::config::settings("from.galgo", from).unwrap();
    from.topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let sinks = (0..3).map(|_| target.sink()).collect();
    let (format, transforms) = (from.format, Transforms::default());
    let settings = LaneSettings {
        from,
        batch: BatchSettings::default(),
        shape: Arc::new(Shaper { format, transforms, needs_json: false }),
        sinks: Arc::new(Sinks::new(sinks)),
        gate: Arc::default(),
        on_bad: BadChoice::Pause,
        dead: None,
        retry_for: None,
        budget: MemoryBudget::new(1 << 20),
    };
    let (_running, stop) = watch::channel(false);
    let pipeline = Outbound {
        name: "p".to_owned(),
        to: Box::new(target.clone()),
        settings: Arc::new(settings),
        dial: Arc::new(NoServer),
        status: Arc::new(PipelineStatus::new("p", "galgo", "counting")),
        stop,
        once: true,
        stop_timeout,
    };
    pipeline.run().await
}

#[tokio::test(start_paused = true)]
async fn each_connection_is_finished_once_however_the_pipeline_ends() {
    let target = Counting::default();
    assert_eq!(run(&target, &[], Duration::from_secs(20)).await, PipelineEnd::Complete);
    assert_eq!(target.finished.load(Ordering::Relaxed), 3);
    let end = run(&target, &["t", "u"], Duration::from_secs(20)).await;
    assert!(matches!(end, PipelineEnd::Refused { .. }), "{end:?}");
    assert_eq!(target.finished.load(Ordering::Relaxed), 6);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_does_not_finish_is_left() {
    let target = Counting { hangs: true, ..Counting::default() };
    let begun = tokio::time::Instant::now();
    assert_eq!(run(&target, &[], Duration::from_secs(7)).await, PipelineEnd::Complete);
    assert_eq!(begun.elapsed(), Duration::from_secs(7));
}

#[test]
fn the_worst_end_of_a_topic_is_that_of_the_pipeline() {
    let stands = || PipelineEnd::Stands("t/0".to_owned());
    let end = PipelineEnd::Complete.and(PipelineEnd::Stopped).and(stands());
    assert_eq!(end, stands());
    assert_eq!(stands().and(PipelineEnd::Stopped).and(PipelineEnd::Complete), stands());
    assert_eq!(PipelineEnd::Complete.and(PipelineEnd::Complete), PipelineEnd::Complete);
}
