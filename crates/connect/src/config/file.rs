//! What a whole file says: one pipeline.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};

use crate::config::value::{ByteSize, Span};
use crate::config::{ConfigError, Surroundings, settings};
use crate::kind::{self, SinkKind, SourceKind};
use crate::secret::SecretSource;
use crate::sink::SinkSpec;
use crate::source::SourceSpec;
use crate::transform::{PayloadFormat, TransformSettings};

/// The longest name of a pipeline: it is the name of a group and part of a topic's name.
const NAME_BYTES_MAX: usize = 100;

/// A pipeline as its file describes it; nothing is opened.
pub struct PipelineFile {
    /// Its name: that of its group, of its positions and in its metrics.
    pub name: String,
    /// Where messages come from and where they go.
    pub direction: Direction,
    /// What is made of them on the way, one after the other.
    pub transforms: Vec<TransformSettings>,
    /// How much is delivered at once.
    pub batch: BatchSettings,
    /// What is done when it does not work.
    pub errors: ErrorSettings,
}

/// Which end is the topic.
pub enum Direction {
    /// From topics into another system.
    Out {
        /// Which topics.
        from: GalgoOrigin,
        /// The kind of the target.
        kind: &'static SinkKind,
        /// The target.
        to: Box<dyn SinkSpec>,
    },
    /// From another system into a topic.
    In {
        /// The kind of the origin.
        kind: &'static SourceKind,
        /// The origin.
        from: Box<dyn SourceSpec>,
        /// Which topic.
        to: GalgoTopic,
    },
}

/// How the server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GalgoServer {
    /// Its connection string; the usual address on this machine if it is not said.
    pub server: Option<String>,
    /// A profile of the tool in its place.
    pub profile: Option<String>,
    /// A token to log in with.
    pub token: Option<SecretSource>,
}

/// `[from.galgo]`: topics to read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GalgoOrigin {
    /// The connection string of the server.
    #[serde(default)]
    server: Option<String>,
    /// A profile in its place.
    #[serde(default)]
    profile: Option<String>,
    /// A token to log in with.
    #[serde(default)]
    token: Option<SecretSource>,
    /// The stream.
    pub stream: String,
    /// Its topics.
    pub topics: Vec<String>,
    /// Where the very first run begins: `first`, `next`, or a time.
    #[serde(default)]
    pub start: StartAt,
    /// How payloads are encoded.
    #[serde(default)]
    pub format: PayloadFormat,
    /// What to do when the topic was made again.
    #[serde(default)]
    pub on_new_topic: OnNewTopic,
    /// What to do when messages that were not delivered are gone.
    #[serde(default)]
    pub on_gap: OnGap,
    /// How long this process may be silent before others take its partitions over.
    #[serde(default)]
    session_timeout: Option<Span>,
}

/// `[to.galgo]`: the topic to write.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GalgoTopic {
    #[serde(default)]
    server: Option<String>,
    #[serde(default)]
    profile: Option<String>,
    #[serde(default)]
    token: Option<SecretSource>,
    /// The stream.
    pub stream: String,
    /// The topic.
    pub topic: String,
    /// Makes it with these options if it is not there.
    #[serde(default)]
    pub create: Option<Table>,
    /// Which partition a message goes to: an expression that gives a key.
    #[serde(default)]
    pub key: Option<String>,
    /// The id of a message: an expression, or `@message_id` for that of the origin, which is the default.
    #[serde(default)]
    pub id: Option<String>,
    /// How payloads of the origin are encoded, for transforms.
    #[serde(default)]
    pub format: PayloadFormat,
}

/// Where the very first run begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// With the first message there is.
    #[default]
    First,
    /// With the next message that comes.
    Next,
    /// With the first message of this time or later, in microseconds since the Unix epoch.
    Time(u64),
}

/// What to do when the topic is another one of the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNewTopic {
    /// The lane stands, and says so.
    #[default]
    Stop,
    /// It begins anew with the first message.
    Restart,
}

/// What to do when messages that were not delivered are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnGap {
    /// The lane stands, and says so.
    #[default]
    Stop,
    /// It goes on behind them, and counts them.
    Continue,
}

/// `[batch]`: what ends a batch, the first of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSettings {
    /// So many messages.
    pub messages: u32,
    /// So many bytes.
    pub bytes: ByteSize,
    /// So long a wait for more.
    pub linger: Span,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self { messages: 1_000, bytes: ByteSize(1 << 20), linger: Span(Duration::from_millis(100)) }
    }
}

/// `[errors]`: what is done when it does not work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ErrorSettings {
    /// With messages that the target does not take.
    pub on_bad: BadChoice,
    /// The topic for them, `STREAM/TOPIC`.
    pub dead_letter: Option<String>,
    /// How long a batch is tried before the pipeline ends; for ever if it is not said.
    pub retry_for: Option<Span>,
    /// How long a lane with something to deliver may stand still before the process says that it is not ready.
    pub stalled_after: Option<Span>,
}

/// What is done with messages that the target does not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadChoice {
    /// Their lane stands in front of them.
    #[default]
    Pause,
    /// They go to another topic.
    DeadLetter,
    /// They are left out.
    Skip,
}

/// The keys that stand in no section, and the sections.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    name: String,
    from: Table,
    to: Table,
    #[serde(default)]
    transform: Vec<TransformSettings>,
    #[serde(default)]
    batch: BatchSettings,
    #[serde(default)]
    errors: ErrorSettings,
}

impl PipelineFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`], with the name of the file in front.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let at = |what: String| ConfigError { at: path.display().to_string(), what };
        let text = std::fs::read_to_string(path)
            .map_err(|error| at(format!("cannot be read: {error}")))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).map_err(|error| at(error.to_string()))
    }

    /// Reads the text of a file that is in a folder.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| ConfigError {
            at: place_of(text, &error),
            what: error.message().to_owned(),
        })?;
        let whole: Whole = settings("the file", table)?;
        check_name(&whole.name)?;
        let around = Surroundings { pipeline: whole.name.clone(), folder: folder.to_owned() };
        let (origin, target) =
            (EndSection::only("from", whole.from)?, EndSection::only("to", whole.to)?);
        let direction = match (origin.kind == "galgo", target.kind == "galgo") {
            (true, false) => out(origin, target, &around)?,
            (false, true) => inwards(origin, target, &around)?,
            (true, true) => {
                let what = "one of the two ends is another system; galgo mirror copies from topic to topic";
                return Err(ConfigError {
                    at: "[from.galgo] and [to.galgo]".to_owned(),
                    what: what.to_owned(),
                });
            }
            (false, false) => {
                let what = "one of the two ends has to be galgo: [from.galgo] or [to.galgo]";
                let at = format!("[from.{}] and [to.{}]", origin.kind, target.kind);
                return Err(ConfigError { at, what: what.to_owned() });
            }
        };
        whole.errors.check()?;
        let Whole { name, transform: transforms, batch, errors, .. } = whole;
        Ok(Self { name, direction, transforms, batch, errors })
    }
}

impl ErrorSettings {
    fn check(&self) -> Result<(), ConfigError> {
        let wrong =
            |what: &str| Err(ConfigError { at: "[errors]".to_owned(), what: what.to_owned() });
        match (self.on_bad, &self.dead_letter) {
            (BadChoice::DeadLetter, None) => {
                wrong("on_bad = \"dead-letter\" needs dead_letter = \"STREAM/TOPIC\"")
            }
            (BadChoice::Pause | BadChoice::Skip, Some(_)) => {
                wrong("dead_letter is used with on_bad = \"dead-letter\" only")
            }
            (_, Some(path))
                if !path
                    .split_once('/')
                    .is_some_and(|(stream, topic)| !stream.is_empty() && !topic.is_empty()) =>
            {
                wrong("dead_letter is written STREAM/TOPIC")
            }
            _ => Ok(()),
        }
    }
}

/// One of `[from.KIND]` and `[to.KIND]`.
struct EndSection {
    kind: String,
    table: Table,
}

impl EndSection {
    fn only(end: &str, sections: Table) -> Result<Self, ConfigError> {
        let mut sections = sections.into_iter();
        let (first, second) = (sections.next(), sections.next());
        let wrong = |what: String| ConfigError { at: format!("[{end}.KIND]"), what };
        match (first, second) {
            (Some((kind, Value::Table(table))), None) => Ok(Self { kind, table }),
            (Some((kind, _)), None) => Err(wrong(format!("{end}.{kind} has to be a section"))),
            (None, _) => Err(wrong("is missing".to_owned())),
            (Some((one, _)), Some((other, _))) => Err(wrong(format!(
                "there are two, {one} and {other}; a pipeline has one: make two files"
            ))),
        }
    }

    fn unknown<'a>(&self, end: &str, known: impl Iterator<Item = &'a str>) -> ConfigError {
        let names: Vec<_> = known.chain(["galgo"]).collect();
        let what = kind::how_to_build(&self.kind).unwrap_or_else(|| {
            format!("there is no such kind; the kinds are {}", names.join(", "))
        });
        ConfigError { at: format!("[{end}.{}]", self.kind), what }
    }
}

fn out(
    origin: EndSection,
    target: EndSection,
    around: &Surroundings,
) -> Result<Direction, ConfigError> {
    let from: GalgoOrigin = settings("from.galgo", origin.table)?;
    if from.topics.is_empty() {
        let what = "topics is empty; name at least one".to_owned();
        return Err(ConfigError { at: "[from.galgo]".to_owned(), what });
    }
    let Some(kind) = kind::sinks().iter().find(|kind| kind.name == target.kind) else {
        return Err(target.unknown("to", kind::sinks().iter().map(|kind| kind.name)));
    };
    let to = (kind.read)(target.table, around)?;
    Ok(Direction::Out { from, kind, to })
}

fn inwards(
    origin: EndSection,
    target: EndSection,
    around: &Surroundings,
) -> Result<Direction, ConfigError> {
    let to: GalgoTopic = settings("to.galgo", target.table)?;
    let Some(kind) = kind::sources().iter().find(|kind| kind.name == origin.kind) else {
        return Err(origin.unknown("from", kind::sources().iter().map(|kind| kind.name)));
    };
    let from = (kind.read)(origin.table, around)?;
    Ok(Direction::In { kind, from, to })
}

fn check_name(name: &str) -> Result<(), ConfigError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(fits) {
        let what = format!(
            "\"{name}\" is no name of a pipeline; it has 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' and '.'"
        );
        return Err(ConfigError { at: "name".to_owned(), what });
    }
    Ok(())
}

fn place_of(text: &str, error: &toml::de::Error) -> String {
    let line = |span: std::ops::Range<usize>| {
        text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
    };
    error.span().map_or("the file".to_owned(), |span| format!("line {}", line(span)))
}

impl GalgoOrigin {
    /// How the server is reached.
    #[must_use]
    pub fn server(&self) -> GalgoServer {
        let (server, profile, token) =
            (self.server.clone(), self.profile.clone(), self.token.clone());
        GalgoServer { server, profile, token }
    }

    /// How long this process may be silent before others take its partitions over. Default: 30 s.
    #[must_use]
    pub fn session_timeout(&self) -> Duration {
        self.session_timeout.map_or(Duration::from_secs(30), |span| span.0)
    }
}

impl GalgoTopic {
    /// How the server is reached.
    #[must_use]
    pub fn server(&self) -> GalgoServer {
        let (server, profile, token) =
            (self.server.clone(), self.profile.clone(), self.token.clone());
        GalgoServer { server, profile, token }
    }
}

impl<'de> Deserialize<'de> for StartAt {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "first" => Ok(Self::First),
            "next" => Ok(Self::Next),
            time => {
                let parsed = time.parse::<jiff::Timestamp>().ok();
                let micros = parsed.and_then(|at| u64::try_from(at.as_microsecond()).ok());
                micros.map(Self::Time).ok_or_else(|| {
                    serde::de::Error::custom(format!(
                        "\"{text}\" is no place to begin; write first, next, or a time: 2026-05-01T00:00:00Z"
                    ))
                })
            }
        }
    }
}

#[cfg(test)]
mod tests;
