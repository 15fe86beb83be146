//! The kinds of value a configuration key can have: how each is written and shown.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use galgo_wire::measure::{parse_bytes, show_bytes};
use galgo_wire::options::{OptionChoices, OptionRow};
use jsonwebtoken::Algorithm;
use tracing_subscriber::EnvFilter;

use crate::telemetry::log::is_mistyped_level;

/// A type a configuration key may have.
///
/// A type that holds a secret must show itself redacted: [`Value::show`] is what the runtime file gets.
pub(crate) trait Value: Sized {
    /// What values look like, completing "expected …".
    const EXPECTED: &'static str;

    /// Whether values are never shown.
    const SECRET: bool = false;

    /// Reads a value as written in the file, the environment or a flag.
    fn parse(text: &str) -> Option<Self>;

    /// The value as a TOML literal that [`Value::parse`] reads back.
    fn show(&self) -> String;
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(pub(crate) u64);

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimeSpan(pub(crate) Duration);

/// A length of time, or none: `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeLimit(pub(crate) Option<Duration>);

/// A number of files, or none: `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenFiles(pub(crate) Option<u32>);

/// Texts separated by commas; there may be none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextList(pub(crate) String);

impl Deref for TextList {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Which log lines are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFilter(String);

impl LogFilter {
    /// The level that holds where nothing was chosen.
    pub(crate) fn info() -> Self {
        Self("info".to_owned())
    }
}

impl Deref for LogFilter {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A path, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OptionalPath(pub(crate) Option<PathBuf>);

/// Whether a client must show a certificate where authorities for them are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientCertificates {
    /// It must.
    Required,
    /// It may; one that is shown must be good.
    Optional,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Pretty on a terminal, plain lines elsewhere.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// A text nobody gets to see; it may be empty.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<redacted>")
    }
}

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JwtAlgorithm(pub(crate) Algorithm);

/// The algorithms tokens may be signed with.
const JWT_ALGORITHMS: [(&str, Algorithm); 6] = [
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
];

impl JwtAlgorithm {
    /// Whether one secret text signs and checks.
    pub(crate) fn is_symmetric(self) -> bool {
        matches!(self.0, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
    }
}

impl Value for Secret {
    const EXPECTED: &'static str = "a text";
    const SECRET: bool = true;

    fn parse(text: &str) -> Option<Self> {
        Some(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        quoted(if self.0.is_empty() { "" } else { "<redacted>" })
    }
}

impl Value for JwtAlgorithm {
    const EXPECTED: &'static str = "HS256, HS384, HS512, RS256, RS384 or RS512";

    fn parse(text: &str) -> Option<Self> {
        let found = JWT_ALGORITHMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, algorithm)| Self(*algorithm))
    }

    fn show(&self) -> String {
        let found = JWT_ALGORITHMS.iter().find(|(_, algorithm)| *algorithm == self.0);
        quoted(found.map_or("HS256", |(name, _)| name))
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    const EXPECTED: &'static str = "a whole number";

    fn parse(text: &str) -> Option<Self> {
        text.replace('_', "").parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    const EXPECTED: &'static str = "a text that is not empty";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn show(&self) -> String {
        quoted(self)
    }
}

impl Value for TextList {
    const EXPECTED: &'static str = "texts separated by commas, or none";

    fn parse(text: &str) -> Option<Self> {
        Some(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        quoted(&self.0)
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }

    fn show(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Value for OptionalPath {
    const EXPECTED: &'static str = "a path, or \"\" for none";

    fn parse(text: &str) -> Option<Self> {
        Some(Self((!text.is_empty()).then(|| PathBuf::from(text))))
    }

    fn show(&self) -> String {
        quoted(&self.0.as_ref().map_or_else(Default::default, |path| path.to_string_lossy()))
    }
}

impl Value for ClientCertificates {
    const EXPECTED: &'static str = "\"required\" or \"optional\"";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "required" => Some(Self::Required),
            "optional" => Some(Self::Optional),
            _ => None,
        }
    }

    fn show(&self) -> String {
        quoted(match self {
            Self::Required => "required",
            Self::Optional => "optional",
        })
    }
}

impl Value for SocketAddr {
    const EXPECTED: &'static str =
        "an IP address and a port, such as \"127.0.0.1:8090\" or \"[::1]:8090\"";

    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("localhost:") {
            Some(port) => Some(Self::from(([127, 0, 0, 1], port.parse().ok()?))),
            None => text.parse().ok(),
        }
    }

    fn show(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size, such as \"64 KiB\", \"1 GiB\" or a number of bytes";

    fn parse(text: &str) -> Option<Self> {
        parse_bytes(text).ok().map(Self)
    }

    fn show(&self) -> String {
        quoted(&show_bytes(self.0))
    }
}

impl Value for TimeSpan {
    const EXPECTED: &'static str = "a time longer than zero, such as \"500ms\", \"30s\" or \"1h\"";

    fn parse(text: &str) -> Option<Self> {
        parse_span(text).map(Self)
    }

    fn show(&self) -> String {
        quoted(&humantime::format_duration(self.0).to_string())
    }
}

impl Value for TimeLimit {
    const EXPECTED: &'static str = "\"never\" or a time, such as \"30s\", \"12h\" or \"7days\"";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "never" => Some(Self(None)),
            _ => parse_span(text).map(|span| Self(Some(span))),
        }
    }

    fn show(&self) -> String {
        match self.0 {
            None => quoted("never"),
            Some(span) => TimeSpan(span).show(),
        }
    }
}

impl Value for OpenFiles {
    const EXPECTED: &'static str = "\"auto\" or a whole number";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self(None)),
            _ => u32::parse(text).map(|files| Self(Some(files))),
        }
    }

    fn show(&self) -> String {
        self.0.map_or_else(|| quoted("auto"), |files| files.to_string())
    }
}

impl Value for LogFilter {
    const EXPECTED: &'static str = "\"error\", \"warn\", \"info\", \"debug\", \"trace\", \"off\", or a filter like \"info,galgo_storage=debug\"";

    fn parse(text: &str) -> Option<Self> {
        let is_filter = EnvFilter::try_new(text).is_ok() && !is_mistyped_level(text);
        is_filter.then(|| Self(text.to_owned()))
    }

    fn show(&self) -> String {
        quoted(&self.0)
    }
}

impl Value for LogFormat {
    const EXPECTED: &'static str = "\"auto\", \"pretty\" or \"json\"";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "pretty" => Some(Self::Pretty),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn show(&self) -> String {
        quoted(match self {
            Self::Auto => "auto",
            Self::Pretty => "pretty",
            Self::Json => "json",
        })
    }
}

/// How an option that is derived from others is written while nobody chose.
const DERIVED: &str = "auto";

/// Sets the option `name` of topics that do not choose it; tells whether the text is a value of it.
pub(super) fn choose(choices: &mut OptionChoices, name: &str, text: &str) -> bool {
    let Some(row) = OptionRow::of(name) else { return false };
    let chosen = (!row.derived || text != DERIVED).then_some(text);
    row.choose(choices, chosen)
}

/// The option `name` as it is written.
pub(super) fn show_choice(choices: &OptionChoices, name: &str) -> String {
    let chosen = OptionRow::of(name).and_then(|row| row.chosen(choices));
    quoted(chosen.as_deref().unwrap_or(DERIVED))
}

fn parse_span(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|span| !span.is_zero())
}

/// `text` as a TOML basic string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
