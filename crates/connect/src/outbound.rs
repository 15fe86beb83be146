//! A pipeline from topics into another system.
//!
//! Each topic is read as a member of the group that has the pipeline's name, so that the same file, started again
//! anywhere, shares the partitions out; each partition that comes is a [`Lane`].

mod once;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use galgo::{ActiveMember, Client, ConsumeError, Identifier, MemberChange, PartitionReader};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::backoff::Backoff;
use crate::config::file::GalgoServer;
use crate::failure::Failure;
use crate::galgo_log::GalgoLog;
use crate::lane::{Lane, LaneEnd, LaneSettings};
use crate::outbound::once::TopicEnds;
use crate::place::LaneName;
use crate::sink::SinkSpec;
use crate::status::PipelineStatus;

/// Opens connections to servers, with the logins of whoever runs the process.
#[async_trait]
pub trait Dial: Send + Sync {
    /// Connects and logs in; the connection is opened again by itself when it breaks.
    ///
    /// # Errors
    /// [`Failure::Away`], and [`Failure::Refused`] for a login that is no good.
    async fn dial(&self, server: &GalgoServer) -> Result<Client, Failure>;
}

/// How a pipeline ended.
#[derive(Debug, PartialEq, Eq)]
pub enum PipelineEnd {
    /// It was told to stop.
    Stopped,
    /// It has come to the end it found when it began.
    Complete,
    /// Something is missing that somebody has to make, or a right.
    Refused {
        /// What.
        reason: String,
        /// What to do about it.
        advice: String,
    },
    /// It was tried for as long as its file says.
    GaveUp(Failure),
    /// A lane stands, and whoever asked for one run does not want to wait.
    Stands(String),
}

impl PipelineEnd {
    /// How both ended: the first that says why it went no further, else whether one was told to stop.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Complete, other) | (Self::Stopped, other @ Self::Refused { .. }) => other,
            (Self::Stopped, other @ (Self::GaveUp(_) | Self::Stands(_))) => other,
            (first, _) => first,
        }
    }
}

/// A pipeline that runs.
pub struct Outbound {
    /// Its name, and that of its group.
    pub name: String,
    /// The target.
    pub to: Box<dyn SinkSpec>,
    /// What its lanes share.
    pub settings: Arc<LaneSettings>,
    /// Opens connections.
    pub dial: Arc<dyn Dial>,
    /// What it tells.
    pub status: Arc<PipelineStatus>,
    /// Turns true when it is to stop.
    pub stop: watch::Receiver<bool>,
    /// Whether it ends where the topics end when it begins.
    pub once: bool,
    /// How long the target may take to make whole what it keeps open.
    pub stop_timeout: Duration,
}

impl Outbound {
    /// Runs it to its end.
    pub async fn run(mut self) -> PipelineEnd {
        if let Err(end) = self.prepare().await {
            return end;
        }
        // Turns true when it is told to stop, and when one of its lanes has given up.
        let (halt, halted) = watch::channel(false);
        let mut stop = std::mem::replace(&mut self.stop, halted);
        let halt = Arc::new(halt);
        let this = Arc::new(self);
        let mut topics = JoinSet::new();
        for topic in this.settings.from.topics.clone() {
            let (pipeline, halt) = (Arc::clone(&this), Arc::clone(&halt));
            topics.spawn(TopicRun { pipeline, halt, topic, lanes: JoinSet::new() }.run());
        }
        let mut all = PipelineEnd::Complete;
        loop {
            let ended = tokio::select! {
                biased;
                ended = topics.join_next() => ended,
                _ = stop.wait_for(|stop| *stop), if !*halt.borrow() => {
                    halt.send_replace(true);
                    continue;
                }
            };
            let Some(ended) = ended else { break };
            all = all.and(joined(ended));
        }
        this.finish().await;
        all
    }

    /// Has the target make whole what it keeps open, now that nothing more is written.
    async fn finish(&self) {
        let finishing = tokio::time::timeout(self.stop_timeout, self.settings.sinks.finish());
        let pipeline = &self.name;
        match finishing.await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                tracing::warn!(pipeline, reason = %failure, "target is left as after a kill; the next run goes on there");
            }
            Err(_) => {
                tracing::warn!(
                    pipeline,
                    "target takes too long to finish; the next run goes on there"
                );
            }
        }
    }

    /// Finds the target ready, or waits until it is.
    async fn prepare(&self) -> Result<(), PipelineEnd> {
        let mut backoff = Backoff::default();
        let mut is_news = true;
        loop {
            let failure = match self.to.prepare().await {
                Ok(()) => {
                    self.status.set_there(true);
                    self.status.set_trouble(None);
                    return Ok(());
                }
                Err(Failure::Refused { reason, advice }) => {
                    return Err(PipelineEnd::Refused { reason, advice });
                }
                Err(failure) => failure,
            };
            if std::mem::take(&mut is_news) {
                let pipeline = &self.name;
                tracing::warn!(pipeline, reason = %failure, "target is away; it is tried until it is there");
            }
            self.status.set_trouble(Some(failure.to_string()));
            self.pause(backoff.pause(None)).await?;
        }
    }

    /// Waits, unless it is to stop.
    async fn pause(&self, pause: Duration) -> Result<(), PipelineEnd> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Err(PipelineEnd::Stopped),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }
}

/// A topic of a pipeline.
struct TopicRun {
    pipeline: Arc<Outbound>,
    /// Ends the whole pipeline.
    halt: Arc<watch::Sender<bool>>,
    topic: String,
    lanes: JoinSet<(u32, LaneEnd)>,
}

/// What a topic has to see to.
enum TopicEvent {
    Stop,
    Change(Result<Box<MemberChange>, ConsumeError>),
    Lane(u32, LaneEnd),
    Look,
}

impl TopicRun {
    async fn run(mut self) -> PipelineEnd {
        let pipeline = Arc::clone(&self.pipeline);
        let mut backoff = Backoff::default();
        let mut is_news = true;
        loop {
            let failure = match self.join().await {
                Ok(joined) => return self.follow(joined).await,
                Err(Failure::Refused { reason, advice }) => {
                    self.halt.send_replace(true);
                    return PipelineEnd::Refused { reason, advice };
                }
                Err(failure) => failure,
            };
            if std::mem::take(&mut is_news) {
                let (name, topic) = (&pipeline.name, &self.topic);
                tracing::warn!(pipeline = name, topic, reason = %failure, "server is away; it is tried until it is there");
            }
            pipeline.status.set_trouble(Some(failure.to_string()));
            if let Err(end) = pipeline.pause(backoff.pause(None)).await {
                return end;
            }
        }
    }

    /// Connects and joins the group.
    async fn join(&self) -> Result<Joined, Failure> {
        let Outbound { name, settings, dial, status, once, .. } = &*self.pipeline;
        let from = &settings.from;
        let invalid = |what: &str, error: String| {
            Failure::refused(format!("{what}: {error}"), "correct the file")
        };
        let stream = from.stream.parse::<Identifier>();
        let stream = stream.map_err(|error| invalid("stream", error.to_string()))?;
        let topic = self.topic.parse::<Identifier>();
        let topic = topic.map_err(|error| invalid("topic", error.to_string()))?;
        let server = from.server();
        // Whatever is asked on the connection of a member ends its wait for messages, so there are two.
        let (client, side) = tokio::try_join!(dial.dial(&server), dial.dial(&server))?;
        let ends = match once {
            true => Some(TopicEnds::find(&side, &stream, &topic, name).await?),
            false => None,
        };
        let member = client
            .group_member(&stream, &topic)
            .group(name)
            .session_timeout(from.session_timeout())
            .batch_bytes(settings.batch.bytes.bytes())
            .join()
            .await
            .map_err(|error| not_joined(&error))?;
        status.set_trouble(None);
        Ok(Joined { member, side, stream, topic, ends })
    }

    /// Runs the lanes that the group gives to this process.
    async fn follow(&mut self, mut joined: Joined) -> PipelineEnd {
        let mut look = tokio::time::interval(Duration::from_secs(1));
        let mut reached = BTreeSet::new();
        let end = loop {
            match self.event(&mut joined.member, &mut look).await {
                TopicEvent::Stop => break PipelineEnd::Stopped,
                TopicEvent::Change(Ok(change)) => {
                    // The reader of one that is lost has said so to its lane.
                    if let MemberChange::Gained(reader) = *change {
                        self.begin(reader, &joined);
                    }
                }
                TopicEvent::Change(Err(error)) => {
                    let (pipeline, topic) = (&self.pipeline.name, &self.topic);
                    tracing::warn!(pipeline, topic, reason = %error, "partitions are not given out");
                    self.pipeline.status.set_trouble(Some(error.to_string()));
                }
                TopicEvent::Lane(partition, LaneEnd::Reached) => {
                    reached.insert(partition);
                }
                TopicEvent::Lane(_, LaneEnd::GaveUp(failure)) => {
                    break PipelineEnd::GaveUp(failure);
                }
                TopicEvent::Lane(partition, LaneEnd::Stands(why)) => {
                    break PipelineEnd::Stands(format!(
                        "{}/{}/{partition}: {why}",
                        joined.stream, joined.topic
                    ));
                }
                TopicEvent::Lane(_, LaneEnd::Lost | LaneEnd::Stopped) => {}
                TopicEvent::Look => {
                    if let Some(ends) = &joined.ends
                        && ends.are_reached(&joined.side, &self.pipeline, &reached).await
                    {
                        break PipelineEnd::Complete;
                    }
                }
            }
        };
        // Lanes that stand are not waited for when it runs once; one that gave up ends the others.
        if matches!(end, PipelineEnd::GaveUp(_)) {
            self.halt.send_replace(true);
        }
        // What is being written is waited for, so that the next process repeats nothing.
        while self.lanes.join_next().await.is_some() {}
        if let Err(error) = joined.member.close().await {
            tracing::debug!(reason = %error, "the group was not told; its server notices");
        }
        end
    }

    async fn event(
        &mut self,
        member: &mut ActiveMember,
        look: &mut tokio::time::Interval,
    ) -> TopicEvent {
        let mut stop = self.pipeline.stop.clone();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => TopicEvent::Stop,
            Some(ended) = self.lanes.join_next() => {
                let (partition, end) = joined(ended);
                TopicEvent::Lane(partition, end)
            }
            change = member.next_change() => TopicEvent::Change(change.map(Box::new)),
            _ = look.tick() => {
                self.pipeline.status.set_in_flight(self.pipeline.settings.budget.used());
                self.pipeline.status.set_there(self.pipeline.settings.gate.is_open());
                TopicEvent::Look
            }
        }
    }

    /// Starts the lane of a partition.
    fn begin(&mut self, reader: PartitionReader, joined: &Joined) {
        self.pipeline.status.set_trouble(None);
        let partition = reader.partition();
        let upto = joined.ends.as_ref().map(|ends| ends.of(partition));
        let name = LaneName {
            pipeline: self.pipeline.name.clone(),
            stream: self.pipeline.settings.from.stream.clone(),
            topic: self.topic.clone(),
            partition,
        };
        let log =
            GalgoLog::new(joined.side.clone(), joined.stream.clone(), joined.topic.clone(), reader);
        let lane = Lane {
            status: self.pipeline.status.lane(&name),
            name,
            log: Box::new(log),
            settings: Arc::clone(&self.pipeline.settings),
            stop: self.pipeline.stop.clone(),
            upto,
        };
        self.lanes.spawn(async move { (partition, lane.run().await) });
    }
}

/// A topic whose group this process is in.
struct Joined {
    member: ActiveMember,
    side: Client,
    stream: Identifier,
    topic: Identifier,
    ends: Option<TopicEnds>,
}

/// Why the group could not be joined.
fn not_joined(error: &ConsumeError) -> Failure {
    match error {
        ConsumeError::NoTopic { topic } => Failure::refused(
            format!("there is no topic {topic}"),
            "create it, or correct from.galgo in the file",
        ),
        ConsumeError::Setup(error) => {
            Failure::refused(error.to_string(), "correct from.galgo in the file")
        }
        ConsumeError::Poll(error) => refused_or_away(error),
        error => Failure::away(error.to_string()),
    }
}

/// Whether the server says no, or nothing.
pub(crate) fn refused_or_away(error: &galgo::CallError) -> Failure {
    match error.code() {
        Some(galgo::ErrorCode::Unauthorized | galgo::ErrorCode::Unauthenticated) => {
            Failure::refused(
                error.to_string(),
                "grant the user what `galgo connect check` lists, or use another login",
            )
        }
        _ => Failure::away(error.to_string()),
    }
}

/// What a task came to; its panic goes on here.
pub(crate) fn joined<T>(ended: Result<T, tokio::task::JoinError>) -> T {
    match ended {
        Ok(end) => end,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => unreachable!("a task of a pipeline is ended by its pipeline only"),
        },
    }
}
