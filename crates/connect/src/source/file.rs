//! Files: `[from.file]`.
//!
//! Files are read line by line as they grow, and known again by their inode and first line when they are renamed. There is no watching:
//! they are looked at four times a second.
//!
//! INV-FILE-LINE: only whole lines are handed on, each with an id made of the file, the place in it and the line itself, so that
//! what is read again has the same id, and what is not, another.

mod followed;
mod follower;
mod pattern;
mod records;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::task::JoinHandle;
use toml::Table;

use self::followed::{LineFormat, LineReading};
use self::follower::{FILES_MAX, FollowStart, Follower, FollowerLook, failure};
use self::pattern::Pattern;
use crate::config::value::ByteSize;
use crate::config::{ConfigError, Surroundings, settings};
use crate::failure::{Failure, Finding};
use crate::kind::SourceKind;
use crate::sink::Promise;
use crate::source::{Beginning, Chunk, Cursor, Source, SourceSpec};

/// This kind.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "file",
    promise: "exactly once within the window of deduplication: the id is made of the file and the place in it",
    example: EXAMPLE,
    read,
};

const SECTION: &str = "from.file";

const EXAMPLE: &str = r#"[from.file]
# Files on a local disk; * and ? in any part of the path, relative to this file.
path = "/var/log/app/*.log"
# "lines" (text), "ndjson" (a document of JSON in each line) or "csv" (with a header; records become objects).
format = "lines"
# Of csv: what divides the cells.
# delimiter = ","
# Of the very first run: "first" reads what is there, "end" only what comes.
start = "first"
# The longest line, at most 64MB, and what is done with a longer one: "stop" or "skip".
line_bytes_max = "1MiB"
on_long = "stop"
"#;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Bytes of the longest line that may be asked for: about what a message may have.
const LINE_BYTES_LIMIT: u64 = 64_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSourceSettings {
    path: PathBuf,
    #[serde(default)]
    format: FormatName,
    delimiter: Option<char>,
    #[serde(default)]
    start: FileStartAt,
    line_bytes_max: Option<ByteSize>,
    #[serde(default)]
    on_long: OnLong,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FormatName {
    #[default]
    Lines,
    Ndjson,
    Csv,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileStartAt {
    #[default]
    First,
    End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnLong {
    #[default]
    Stop,
    Skip,
}

fn read(table: Table, surroundings: &Surroundings) -> Result<Box<dyn SourceSpec>, ConfigError> {
    read_spec(table, surroundings).map(|spec| Box::new(spec) as Box<dyn SourceSpec>)
}

fn read_spec(table: Table, surroundings: &Surroundings) -> Result<FileOrigin, ConfigError> {
    let read: FileSourceSettings = settings(SECTION, table)?;
    let fault = |what: &str| ConfigError { at: format!("[{SECTION}]"), what: what.to_owned() };
    let format = match (read.format, read.delimiter) {
        (FormatName::Lines, None) => LineFormat::Lines,
        (FormatName::Ndjson, None) => LineFormat::Ndjson,
        (FormatName::Csv, delimiter) => {
            let delimiter = u8::try_from(delimiter.unwrap_or(','))
                .ok()
                .filter(|byte| byte.is_ascii() && !b"\"\r\n".contains(byte));
            let delimiter =
                delimiter.ok_or_else(|| fault("delimiter is one character of ASCII"))?;
            LineFormat::Csv { delimiter }
        }
        (_, Some(_)) => return Err(fault("delimiter is of format = \"csv\" only")),
    };
    let at_end = read.start == FileStartAt::End;
    if at_end && read.format == FormatName::Csv {
        return Err(fault("start = \"end\" is not for csv, which begins with a header"));
    }
    let line_bytes_max = read.line_bytes_max.map_or(1 << 20, |size| size.0);
    if !(1..=LINE_BYTES_LIMIT).contains(&line_bytes_max) {
        return Err(fault("line_bytes_max is at most 64MB, and more than nothing"));
    }
    let pattern = Pattern::new(&surroundings.path(&read.path))
        .ok_or_else(|| fault("path is no path of files"))?;
    let reading = LineReading { format, line_bytes_max, skip_long: read.on_long == OnLong::Skip };
    Ok(FileOrigin { pattern, reading, at_end })
}

#[derive(Clone, Debug)]
struct FileOrigin {
    pattern: Pattern,
    reading: LineReading,
    at_end: bool,
}

#[async_trait]
impl SourceSpec for FileOrigin {
    fn promise(&self) -> Promise {
        Promise::ExactlyOnce
    }

    fn keeps_cursor(&self) -> bool {
        true
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(FileSource { origin: self.clone(), state: FollowerState::Idle })
    }

    async fn check(&self) -> Result<Vec<Finding>, Failure> {
        let pattern = self.pattern.clone();
        let checked = tokio::task::spawn_blocking(move || check(&pattern)).await;
        checked.map_err(|error| Failure::away(format!("the check ended: {error}")))?
    }
}

fn check(pattern: &Pattern) -> Result<Vec<Finding>, Failure> {
    let shown = pattern.shown().display();
    let listed = pattern.files();
    let files = listed.map_err(|error| failure("list the folders of", pattern.shown(), &error))?;
    let mut findings = Vec::new();
    match files.len() {
        0 => findings.push(Finding::warning(
            format!("{shown} means no file now"),
            "nothing, if some will come; else correct path",
        )),
        count if count > FILES_MAX => findings.push(Finding::fault(
            format!("{shown} means {count} files, and {FILES_MAX} at most are followed"),
            "make it mean fewer, or share them out among several pipelines",
        )),
        count => findings.push(Finding::good(format!("{shown} means {count} files"))),
    }
    for path in files {
        if let Err(error) = std::fs::File::open(&path) {
            let text = format!("{} cannot be read: {error}", path.display());
            findings.push(Finding::fault(text, "let the user that runs galgo connect read it"));
        }
    }
    Ok(findings)
}

/// The files are in here, or on a thread that looks at them; so nothing is lost when a wait for it is given up.
enum FollowerState {
    Idle,
    Ready(Box<Follower>),
    Looking(JoinHandle<(Box<Follower>, Result<FollowerLook, Failure>)>),
}

struct FileSource {
    origin: FileOrigin,
    state: FollowerState,
}

#[async_trait]
impl Source for FileSource {
    async fn begin(&mut self, beginning: Beginning) -> Result<(), Failure> {
        self.state = FollowerState::Idle;
        let FileOrigin { pattern, reading, at_end } = self.origin.clone();
        let start = FollowStart { cursor: beginning.cursor, once: beginning.once, at_end };
        let begun =
            tokio::task::spawn_blocking(move || Follower::begin(pattern, reading, &start)).await;
        let follower =
            begun.map_err(|error| Failure::away(format!("the start ended: {error}")))??;
        self.state = FollowerState::Ready(Box::new(follower));
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Failure> {
        loop {
            let looking = match &mut self.state {
                FollowerState::Looking(looking) => looking,
                FollowerState::Ready(_) => {
                    if let FollowerState::Ready(mut follower) =
                        std::mem::replace(&mut self.state, FollowerState::Idle)
                    {
                        self.state =
                            FollowerState::Looking(tokio::task::spawn_blocking(move || {
                                let look = follower.look();
                                (follower, look)
                            }));
                    }
                    continue;
                }
                FollowerState::Idle => return Err(Failure::away("it has not begun")),
            };
            let looked = looking.await;
            // From here to the return there is no wait, so what was read is handed on or still here.
            let (follower, look) = match looked {
                Ok(looked) => looked,
                Err(error) => {
                    self.state = FollowerState::Idle;
                    return Err(Failure::away(format!("the look ended: {error}")));
                }
            };
            self.state = FollowerState::Ready(follower);
            match look? {
                FollowerLook::Chunk(chunk) => return Ok(Some(chunk)),
                FollowerLook::End => return Ok(None),
                FollowerLook::Nothing => tokio::time::sleep(LOOK).await,
            }
        }
    }

    async fn settled(&mut self, _: &Cursor) -> Result<(), Failure> {
        // Files forget nothing; the cursor is kept by the pipeline.
        Ok(())
    }
}
