//! A pipeline from another system into a topic.
//!
//! INV-ACKED-FIRST: an origin is told of a place only when Galgo has acknowledged everything in front of it, and, where the
//! pipeline keeps the cursor, when the cursor is stored.
//!
//! What is in flight is bounded by the budget. Whatever fails, the origin is begun again behind what was settled last; what comes a
//! second time has the same id, and a topic with deduplication drops it.

mod leader;
mod send;
mod source_loop;
#[cfg(test)]
mod tests;
pub(crate) mod topic;

use std::sync::Arc;
use std::time::Duration;

use galgo::{Client, Deduplication, Identifier, TopicOptions};
use tokio::sync::watch;
use toml::Value;

use crate::backoff::Backoff;
use crate::budget::MemoryBudget;
use crate::config::file::{BadChoice, GalgoTopic};
use crate::dead_letter::DeadTopic;
use crate::failure::Failure;
use crate::inbound::leader::Leader;
use crate::inbound::send::{SendPace, Sender};
use crate::inbound::source_loop::{LoopEnd, SourceLoop};
use crate::inbound::topic::{GalgoTarget, TargetPath, TargetTopic};
use crate::outbound::{Dial, PipelineEnd, refused_or_away};
use crate::place::LaneName;
use crate::shape::Shaper;
use crate::source::SourceSpec;
use crate::status::{LaneActivity, LaneStatus, PipelineStatus};
use crate::transform::Expression;

/// The stream of the topics that keep cursors.
pub const CURSOR_STREAM: &str = "galgo-connect";
/// Between two looks at what somebody has to mend.
const LONG_PAUSE: Duration = Duration::from_secs(60);

/// A pipeline that runs.
pub struct Inbound {
    /// Its name.
    pub name: String,
    /// The origin.
    pub from: Box<dyn SourceSpec>,
    /// The topic.
    pub to: GalgoTopic,
    /// What is made of messages.
    pub shape: Shaper,
    /// What is done with messages that cannot be made sense of.
    pub on_bad: BadChoice,
    /// Where they go then.
    pub dead: Option<Arc<dyn DeadTopic>>,
    /// How much may be in flight.
    pub budget: MemoryBudget,
    /// Opens connections.
    pub dial: Arc<dyn Dial>,
    /// What it tells.
    pub status: Arc<PipelineStatus>,
    /// Turns true when it is to stop.
    pub stop: watch::Receiver<bool>,
    /// Whether it ends where the origin ends when it begins.
    pub once: bool,
    /// How long the origin may take to end when nothing more is read.
    pub stop_timeout: Duration,
}

impl Inbound {
    /// Runs it to its end.
    pub async fn run(self) -> PipelineEnd {
        let lane = self.status.lane(&LaneName {
            pipeline: self.name.clone(),
            stream: self.to.stream.clone(),
            topic: self.to.topic.clone(),
            partition: 0,
        });
        let mut backoff = Backoff::default();
        let mut has_run = false;
        let pace = Arc::default();
        loop {
            let end = match self.attempt(&lane, &pace, &mut has_run).await {
                Ok(end) => return end,
                Err(failure) => failure,
            };
            let pause = match &end {
                Failure::Refused { reason, advice } if !has_run => {
                    let (reason, advice) = (reason.clone(), advice.clone());
                    return PipelineEnd::Refused { reason, advice };
                }
                Failure::Refused { .. } => LONG_PAUSE,
                Failure::Away { retry_after, .. } => backoff.pause(*retry_after),
                _ => backoff.pause(None),
            };
            tracing::warn!(pipeline = self.name, reason = %end, "pipeline waits and begins again");
            self.status.set_there(false);
            lane.holds(LaneActivity::Waiting, end.to_string());
            let mut stop = self.stop.clone();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return PipelineEnd::Stopped,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Connects, begins and goes on until something fails.
    async fn attempt(
        &self,
        lane: &LaneStatus,
        pace: &Arc<SendPace>,
        has_run: &mut bool,
    ) -> Result<PipelineEnd, Failure> {
        let client = self.dial.dial(&self.to.server()).await?;
        let path = self.ensure_topic(&client).await?;
        let target = GalgoTarget::open(&client, &path, &self.name, pace.batch_bytes()).await?;
        let leader = match self.from.keeps_cursor() {
            false => None,
            true => {
                let (mut stop, server) = (self.stop.clone(), self.to.server());
                let leading = Leader::elect(&*self.dial, &server, &self.name);
                Some(tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => return Ok(PipelineEnd::Stopped),
                    leader = leading => leader?,
                })
            }
        };
        self.go(Box::new(target), leader, lane, pace, has_run).await
    }

    /// Reads the origin until something fails.
    async fn go(
        &self,
        target: Box<dyn TargetTopic>,
        mut leader: Option<Leader>,
        lane: &LaneStatus,
        pace: &Arc<SendPace>,
        has_run: &mut bool,
    ) -> Result<PipelineEnd, Failure> {
        let key = compiled("key", self.to.key.as_deref())?;
        let id = match self.to.id.as_deref() {
            None | Some("@message_id") => None,
            other => compiled("id", other)?,
        };
        let sender = Sender { pipeline: self, target, key, id, pace: Arc::clone(pace) };
        let end = SourceLoop {
            pipeline: self,
            lane,
            source: self.from.source(),
            sender,
            leader: leader.as_mut(),
            has_run,
        }
        .run()
        .await;
        if let Some(leader) = leader {
            leader.step_down().await;
        }
        match end? {
            LoopEnd::Stopped => Ok(PipelineEnd::Stopped),
            LoopEnd::Complete => Ok(PipelineEnd::Complete),
            LoopEnd::Stands(why) if self.once => Ok(PipelineEnd::Stands(why)),
            LoopEnd::Stands(why) => {
                lane.holds(LaneActivity::Paused, why.clone());
                Err(Failure::Away { reason: why, retry_after: Some(LONG_PAUSE) })
            }
        }
    }

    /// Finds the topic, or makes it as the file says.
    async fn ensure_topic(&self, client: &Client) -> Result<TargetPath, Failure> {
        let name = |what: &str, text: &str| {
            text.parse::<Identifier>().map_err(|error| {
                Failure::refused(format!("{what} {text}: {error}"), "correct to.galgo in the file")
            })
        };
        let (stream, topic) = (name("stream", &self.to.stream)?, name("topic", &self.to.topic)?);
        match &self.to.create {
            Some(options) => {
                let options = topic_options(options)?;
                let ensured = client.ensure_topic(&stream, &topic, options).await;
                ensured.map_err(|error| refused_or_away(&error))?;
            }
            None => {
                let found = client.topic_outline(&stream, &topic).await;
                if found.map_err(|error| refused_or_away(&error))?.is_none() {
                    return Err(Failure::refused(
                        format!("there is no topic {}/{}", self.to.stream, self.to.topic),
                        "create it, or set create = { partitions = 1, deduplication = \"on\" } in [to.galgo]",
                    ));
                }
            }
        }
        Ok(TargetPath { stream, topic })
    }
}

/// The options of a topic as a file names them.
fn topic_options(table: &toml::Table) -> Result<TopicOptions, Failure> {
    let wrong =
        |what: String| Failure::refused(format!("to.galgo.create: {what}"), "correct the file");
    let mut options = TopicOptions::default();
    for (name, value) in table {
        options = match (name.as_str(), value) {
            ("partitions", Value::Integer(count)) => match u32::try_from(*count) {
                Ok(count) => options.partitions(count),
                Err(_) => return Err(wrong(format!("{count} is no number of partitions"))),
            },
            ("deduplication", Value::String(text)) if text == "on" => {
                options.deduplication(Deduplication::On)
            }
            ("deduplication", Value::String(text)) if text == "off" => {
                options.deduplication(Deduplication::Off)
            }
            (_, Value::String(text)) => options.set(name, text),
            (_, Value::Integer(number)) => options.set(name, &number.to_string()),
            (_, Value::Boolean(flag)) => options.set(name, &flag.to_string()),
            _ => return Err(wrong(format!("{name} has to be a text or a number"))),
        };
    }
    Ok(options)
}

fn compiled(what: &str, text: Option<&str>) -> Result<Option<Expression>, Failure> {
    let compile = |text: &str| {
        Expression::compile(text).map_err(|error| {
            Failure::refused(format!("to.galgo.{what}: {error}"), "correct the file")
        })
    };
    text.map(compile).transpose()
}
