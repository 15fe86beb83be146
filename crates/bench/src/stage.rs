//! What a run needs on the server: its streams, topics and groups. Made before it, removed after it.

use galgo::{CallError, Client, Durability, ReconnectPolicy, TopicOptions};
use galgo_wire::command::extensions::FeatureFlags;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::identifier::Identifier;
use tokio::runtime::Runtime;

use crate::error::{BenchError, Outcome};
use crate::host::Host;
use crate::observer::Observer;
use crate::plan::{LoadPlan, Spot};
use crate::stop::StopFlag;

/// How often a connection that broke is opened again; a run is not worth a longer wait than a few seconds.
const RECONNECT_ATTEMPTS: u32 = 5;

/// The consumer group of each topic.
pub(crate) const GROUP: &str = "bench";

/// What the streams of a run are called.
#[derive(Clone, Debug)]
pub struct StreamNames {
    prefix: String,
}

impl StreamNames {
    /// Streams whose names begin so.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// Names nobody else has.
    pub fn unique() -> Self {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        let (micros, process) = (since.as_micros(), std::process::id());
        Self::new(&format!("galgo-bench-{micros:x}-{process:x}"))
    }

    /// The stream and the topic of a place.
    pub(crate) fn of(&self, place: Spot) -> Outcome<(Identifier, Identifier)> {
        Ok((identifier(&self.stream(place.stream))?, identifier(&topic(place.topic))?))
    }

    /// The name of a stream.
    pub fn stream(&self, number: u32) -> String {
        format!("{}-{number}", self.prefix)
    }
}

fn topic(number: u32) -> String {
    format!("topic-{number}")
}

fn identifier(name: &str) -> Outcome<Identifier> {
    name.parse().map_err(|_| BenchError::usage(format!("`{name}` is not a name")))
}

/// What was made on a server; removed when dropped.
pub struct Stage<'a> {
    client: Client,
    made: Vec<String>,
    place: String,
    observer: &'a dyn Observer,
    // Dropped last: the client's tasks live on it.
    runtime: Runtime,
}

impl<'a> Stage<'a> {
    /// Connects to the server; nothing is made yet.
    ///
    /// # Errors
    /// There is no server, or it does not let the load log in.
    pub fn open(host: &Host, observer: &'a dyn Observer) -> Outcome<Self> {
        let destination = host
            .destination()
            .ok_or_else(|| BenchError::usage("a bare program has no streams to be made"))?;
        // A thread of its own answers the server's questions while the run is on.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| BenchError::machine(format!("cannot start a runtime: {error}")))?;
        let reconnect = ReconnectPolicy::default().attempts(RECONNECT_ATTEMPTS);
        let client = runtime.block_on(destination.connect(reconnect))?;
        let place = destination.shown.clone();
        Ok(Self { client, made: Vec::new(), place, observer, runtime })
    }

    /// Makes the streams, topics and groups of `plan`.
    ///
    /// # Errors
    /// The server refuses, or it was time to stop.
    pub fn build(
        &mut self,
        plan: &LoadPlan,
        names: &StreamNames,
        durability: Option<Durability>,
        stop: &StopFlag,
    ) -> Outcome {
        let mut options = TopicOptions::default().partitions(plan.partitions);
        if let Some(durability) = durability {
            options = options.durability(durability);
        }
        for stream in 0..plan.streams {
            stop.check()?;
            let name = names.stream(stream);
            // On the list first: a lost answer may mean that it is there.
            self.made.push(name.clone());
            if let Err(error) = self.runtime.block_on(self.client.create_stream(&name)) {
                if error.code().is_some() {
                    self.made.pop();
                }
                return Err(explained(error));
            }
            for number in 0..plan.topics {
                stop.check()?;
                self.topic(&identifier(&name)?, &topic(number), &options, plan.group)?;
            }
        }
        Ok(())
    }

    fn topic(
        &self,
        stream: &Identifier,
        name: &str,
        options: &TopicOptions,
        group: bool,
    ) -> Outcome {
        let topic = identifier(name)?;
        let made = self.runtime.block_on(async {
            self.client.create_topic(stream, name, options.clone()).await?;
            if group {
                self.client.create_consumer_group(stream, &topic, GROUP).await?;
            }
            Ok(())
        });
        made.map_err(explained)
    }

    /// Whether polls may wait for messages.
    ///
    /// # Errors
    /// The connection broke.
    pub fn can_wait(&self) -> Outcome<bool> {
        let features = self.runtime.block_on(self.client.features())?;
        Ok(features.contains(FeatureFlags::WAITING_POLLS))
    }

    /// The process the server says it is, if it says so.
    pub(crate) fn process_id(&self) -> Option<u32> {
        // Whoever may not ask gets no figures about the process, and a load all the same.
        self.runtime.block_on(self.client.stats()).ok().map(|stats| stats.process_id)
    }

    /// Leaves everything where it is; returns the names of the streams.
    pub fn keep(&mut self) -> Vec<String> {
        std::mem::take(&mut self.made)
    }

    /// Removes everything.
    ///
    /// # Errors
    /// A stream is left on the server.
    pub fn clear(&mut self) -> Outcome {
        let mut outcome = Ok(());
        for name in std::mem::take(&mut self.made) {
            let stream = identifier(&name)?;
            match self.runtime.block_on(self.client.delete_stream(&stream)) {
                Ok(()) => {}
                Err(error) if error.code() == Some(ErrorCode::StreamIdNotFound) => {}
                Err(error) => {
                    let what = format!("stream {name} is left on {}", self.place);
                    outcome = Err(BenchError::from(error)
                        .while_doing(what)
                        .hint(format!("galgo stream delete {name} removes it")));
                }
            }
        }
        outcome
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            self.observer.remark(&format!("error: {error}"));
        }
    }
}

fn explained(error: CallError) -> BenchError {
    let is_right = error.code() == Some(ErrorCode::Unauthorized);
    let error = BenchError::from(error);
    if is_right {
        return error.hint(
            "a run makes streams of its own, so its user needs the right to manage streams; \
             galgo permission get shows what a user may do",
        );
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_places_apart() {
        let names = StreamNames::unique();
        let at = |stream, topic| names.of(Spot { stream, topic, partition: 0 }).unwrap();
        assert_ne!(at(0, 0).0, at(1, 0).0);
        assert_ne!(at(0, 0).1, at(0, 1).1);
        assert!(names.stream(3).starts_with("galgo-bench-") && names.stream(3).ends_with("-3"));
    }
}
