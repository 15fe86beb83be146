//! What a run needs on the server: its streams, topics and groups. Made before it, removed after it.

use galgo::{Client, ErrorCode, Identifier, TopicOptions};
use galgo_wire::command::extensions::FeatureFlags;
use tokio::runtime::Runtime;

use crate::bench::load::plan::Place;
use crate::bench::load::run::Options;
use crate::connect::{Target, without_credentials};
use crate::failure::{Failure, Outcome};
use crate::interrupt::StopFlag;
use crate::output::Output;

/// The consumer group of each topic.
pub(crate) const GROUP: &str = "bench";

/// What the streams of a run are called.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    /// Streams whose names begin so.
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// Names nobody else has.
    pub(crate) fn unique() -> Self {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        let (micros, process) = (since.as_micros(), std::process::id());
        Self::new(&format!("galgo-bench-{micros:x}-{process:x}"))
    }

    /// The stream and the topic of a place.
    pub(crate) fn of(&self, place: Place) -> Outcome<(Identifier, Identifier)> {
        Ok((identifier(&self.stream(place.stream))?, identifier(&topic(place.topic))?))
    }

    /// The name of a stream.
    pub(crate) fn stream(&self, number: u32) -> String {
        format!("{}-{number}", self.prefix)
    }
}

fn topic(number: u32) -> String {
    format!("topic-{number}")
}

fn identifier(name: &str) -> Outcome<Identifier> {
    name.parse().map_err(|_| Failure::usage(format!("`{name}` is not a name")))
}

/// What was made on a server; removed when dropped.
pub(crate) struct Stage {
    client: Client,
    made: Vec<String>,
    place: String,
    output: Output,
    // Dropped last: the client's tasks live on it.
    runtime: Runtime,
}

impl Stage {
    /// Connects to the server; nothing is made yet.
    pub(crate) fn open(target: &Target) -> Outcome<Self> {
        // A thread of its own answers the server's questions while the run is on.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| Failure::io(format!("cannot start a runtime: {error}")))?;
        let client = runtime.block_on(target.connect())?;
        let place = without_credentials(&target.url);
        Ok(Self { client, made: Vec::new(), place, output: target.output, runtime })
    }

    /// Makes the streams, topics and groups of `plan`.
    pub(crate) fn build(&mut self, options: &Options, names: &Names, stop: &StopFlag) -> Outcome {
        let plan = &options.plan;
        for stream in 0..plan.streams {
            stop.check()?;
            let name = names.stream(stream);
            // On the list first: a lost answer may mean that it is there.
            self.made.push(name.clone());
            let created = self.runtime.block_on(self.client.create_stream(&name));
            if let Err(error) = created {
                if error.code().is_some() {
                    self.made.pop();
                }
                return Err(explained(error.into()));
            }
            for number in 0..plan.topics {
                stop.check()?;
                self.topic(&name, &topic(number), options).map_err(explained)?;
            }
        }
        Ok(())
    }

    fn topic(&self, stream: &str, topic: &str, run: &Options) -> Outcome {
        let stream = identifier(stream)?;
        let mut options = TopicOptions::default().partitions(run.plan.partitions);
        if let Some(durability) = run.durability {
            options = options.durability(durability);
        }
        self.runtime.block_on(async {
            self.client.create_topic(&stream, topic, options).await?;
            if run.plan.group {
                let topic = identifier(topic)?;
                self.client.create_consumer_group(&stream, &topic, GROUP).await?;
            }
            Ok(())
        })
    }

    /// Whether polls may wait for messages.
    pub(crate) fn can_wait(&self) -> Outcome<bool> {
        let features = self.runtime.block_on(self.client.features())?;
        Ok(features.contains(FeatureFlags::WAITING_POLLS))
    }

    /// The process the server says it is, if it says so.
    pub(crate) fn process_id(&self) -> Option<u32> {
        // Whoever may not ask gets no figures about the process, and a load all the same.
        self.runtime.block_on(self.client.stats()).ok().map(|stats| stats.process_id)
    }

    /// Leaves everything where it is; returns the names of the streams.
    pub(crate) fn keep(&mut self) -> Vec<String> {
        std::mem::take(&mut self.made)
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) -> Outcome {
        let mut outcome = Ok(());
        for name in std::mem::take(&mut self.made) {
            let stream = identifier(&name)?;
            match self.runtime.block_on(self.client.delete_stream(&stream)) {
                Ok(()) => {}
                Err(error) if error.code() == Some(ErrorCode::StreamIdNotFound) => {}
                Err(error) => {
                    let what = format!("stream {name} is left on {}", self.place);
                    outcome = Err(Failure::from(error)
                        .while_doing(what)
                        .hint(format!("galgo stream delete {name} removes it")));
                }
            }
        }
        outcome
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(failure) = self.clear() {
            self.output.remark(&failure.to_string());
        }
    }
}

fn explained(failure: Failure) -> Failure {
    if failure.is_refusal(ErrorCode::Unauthorized) {
        return failure.hint(
            "a run makes streams of its own, so its user needs the right to manage streams; \
             galgo permission get shows what a user may do",
        );
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_places_apart() {
        let names = Names::unique();
        let at = |stream, topic| names.of(Place { stream, topic, partition: 0 }).unwrap();
        assert_ne!(at(0, 0).0, at(1, 0).0);
        assert_ne!(at(0, 0).1, at(0, 1).1);
        assert!(names.stream(3).starts_with("galgo-bench-") && names.stream(3).ends_with("-3"));
    }
}
