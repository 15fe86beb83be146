//! Which kinds of targets and origins there are: one line each, in the order they are shown in.

use toml::Table;

use crate::config::{ConfigError, Surroundings};
use crate::sink::SinkSpec;
use crate::source::SourceSpec;

/// Reads a section of a target.
pub type ReadSink = fn(Table, &Surroundings) -> Result<Box<dyn SinkSpec>, ConfigError>;
/// Reads a section of an origin.
pub type ReadSource = fn(Table, &Surroundings) -> Result<Box<dyn SourceSpec>, ConfigError>;

/// A kind of target.
#[derive(Clone, Copy, Debug)]
pub struct SinkKind {
    /// What stands behind `to.` in a file.
    pub name: &'static str,
    /// What it promises, and how, in a sentence.
    pub promise: &'static str,
    /// A section with every key, commented: what `galgo connect new` prints. It can be read back.
    pub example: &'static str,
    /// Reads the section.
    pub read: ReadSink,
}

/// A kind of origin.
#[derive(Clone, Copy, Debug)]
pub struct SourceKind {
    /// What stands behind `from.` in a file.
    pub name: &'static str,
    /// What it promises, and how, in a sentence.
    pub promise: &'static str,
    /// A section with every key, commented: what `galgo connect new` prints. It can be read back.
    pub example: &'static str,
    /// Reads the section.
    pub read: ReadSource,
}

/// The kinds that are in a build only with the feature of their name.
const WITH_FEATURES: [&str; 2] = ["mqtt", "redis"];

/// How a build is made that has a kind which this one has not, if there is one.
#[must_use]
pub fn how_to_build(kind: &str) -> Option<String> {
    let is_there = sinks().iter().any(|it| it.name == kind);
    (WITH_FEATURES.contains(&kind) && !is_there).then(|| {
        format!("this build does not have it: cargo build --release --features connect-{kind}")
    })
}

/// The kinds of targets of this build.
#[must_use]
pub fn sinks() -> &'static [SinkKind] {
    &[
        crate::sink::postgres::KIND,
        crate::sink::sqlite::KIND,
        crate::sink::file::KIND,
        crate::sink::exec::KIND,
        crate::sink::http::KIND,
        crate::sink::rabbitmq::KIND,
        crate::sink::nats::KIND,
        #[cfg(feature = "mqtt")]
        crate::sink::mqtt::KIND,
        #[cfg(feature = "redis")]
        crate::sink::redis::KIND,
    ]
}

/// The kinds of origins of this build.
#[must_use]
pub fn sources() -> &'static [SourceKind] {
    &[
        crate::source::file::KIND,
        crate::source::postgres::KIND,
        crate::source::exec::KIND,
        crate::source::http::KIND,
        crate::source::rabbitmq::KIND,
        crate::source::nats::KIND,
        #[cfg(feature = "mqtt")]
        crate::source::mqtt::KIND,
        #[cfg(feature = "redis")]
        crate::source::redis::KIND,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_in_the_build_or_it_is_said_how_to_get_it() {
        for kind in WITH_FEATURES {
            let is_origin = sources().iter().any(|it| it.name == kind);
            let is_target = sinks().iter().any(|it| it.name == kind);
            assert_eq!(is_origin, is_target, "{kind}");
            assert_eq!(how_to_build(kind).is_none(), is_target, "{kind}");
        }
        assert_eq!((how_to_build("sqlite"), how_to_build("nowhere")), (None, None));
    }
}
