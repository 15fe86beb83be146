//! A program as an origin: `[from.exec]`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use toml::Table;

use crate::config::value::Span;
use crate::config::{ConfigError, Surroundings, settings};
use crate::exec::{
    ChildProgram, EXIT_PATIENCE, Launch, LaunchKeys, NoLine, ProgramInput, ProgramLines, SaidLine,
};
use crate::failure::{Failure, Finding};
use crate::kind::SourceKind;
use crate::secret::SecretSource;
use crate::sink::Promise;
use crate::source::{Beginning, Chunk, Cursor, Incoming, Source, SourceSpec};

/// This kind.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "exec",
    promise: "at least once; what has an id is stored once within the window of deduplication",
    example: EXAMPLE,
    read,
};

const SECTION: &str = "from.exec";

const EXAMPLE: &str = r#"[from.exec]
# The program and what it is called with; it runs in the folder of this file.
command = ["python3", "ticker_source.py"]
# What it is told at its start.
settings = { every_seconds = 1 }
# Added to its environment, read again at each start: { env = "NAME" } or { file = "PATH" }.
# env = { API_TOKEN = { file = "/run/secrets/api" } }
# It is ended, and started again, when it takes longer to be ready or to read a line.
timeout = "60s"
"#;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExecSourceSettings {
    command: Vec<String>,
    #[serde(default)]
    settings: Table,
    #[serde(default)]
    env: BTreeMap<String, SecretSource>,
    timeout: Option<Span>,
}

fn read(table: Table, surroundings: &Surroundings) -> Result<Box<dyn SourceSpec>, ConfigError> {
    let ExecSourceSettings { command, settings, env, timeout } = settings(SECTION, table)?;
    let keys = LaunchKeys { command, settings, env, timeout };
    Ok(Box::new(ExecOrigin(Launch::new(SECTION, keys, surroundings)?)))
}

#[derive(Clone, Debug)]
struct ExecOrigin(Launch);

#[async_trait]
impl SourceSpec for ExecOrigin {
    fn promise(&self) -> Promise {
        Promise::AtLeastOnce
    }

    fn keeps_cursor(&self) -> bool {
        true
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(ExecSource { launch: self.0.clone(), running: None, once: false })
    }

    async fn check(&self) -> Result<Vec<Finding>, Failure> {
        Ok(self.0.check())
    }
}

#[derive(Debug)]
struct RunningOrigin {
    program: ChildProgram,
    input: ProgramInput,
    lines: ProgramLines,
}

#[derive(Debug)]
struct ExecSource {
    launch: Launch,
    running: Option<RunningOrigin>,
    once: bool,
}

impl ExecSource {
    /// Ends the program because of what it did.
    fn away(&mut self, what: &str) -> Failure {
        self.running = None;
        Failure::away(format!("the program {what}"))
    }
}

#[async_trait]
impl Source for ExecSource {
    async fn begin(&mut self, beginning: Beginning) -> Result<(), Failure> {
        self.running = None;
        self.once = beginning.once;
        let position = beginning.cursor.map_or(Value::Null, |Cursor(position)| position);
        let more = vec![("position", position), ("once", beginning.once.into())];
        let (program, input, lines, _) = ChildProgram::greet(&self.launch, more).await?;
        self.running = Some(RunningOrigin { program, input, lines });
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Failure> {
        loop {
            let Some(running) = &mut self.running else {
                return Err(Failure::away("the program does not run"));
            };
            let line = match running.lines.next().await {
                Ok(line) => line,
                Err(none) => {
                    // Asked again, it says the same: so this may be given up, too.
                    let is_end = matches!(none, NoLine::End);
                    let why = running.program.why(none).await;
                    if is_end && self.once && running.program.exit_code() == Some(Ok(0)) {
                        return Ok(None);
                    }
                    return Err(self.away(&why));
                }
            };
            match chunk(&line) {
                Ok(chunk) if chunk.messages.is_empty() && chunk.cursor.0.is_null() => {}
                Ok(chunk) => return Ok(Some(chunk)),
                Err(what) => return Err(self.away(&what)),
            }
        }
    }

    async fn settled(&mut self, cursor: &Cursor) -> Result<(), Failure> {
        let Some(running) = &mut self.running else {
            return Err(Failure::away("the program does not run"));
        };
        let line = format!("{}\n", json!({ "settled": cursor.0 }));
        let sent = running.input.send(line.as_bytes(), self.launch.timeout).await;
        match sent {
            Ok(()) => Ok(()),
            // One that came to its end needs to know nothing more.
            Err(_) if running.program.exit(EXIT_PATIENCE).await.is_some() => Ok(()),
            Err(what) => Err(self.away(&what)),
        }
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        let Some(RunningOrigin { program, input, lines }) = self.running.take() else {
            return Ok(());
        };
        match program.stop(input, lines).await {
            Some(_) => Ok(()),
            None => {
                Err(Failure::away("the program did not end when it was told to, and was killed"))
            }
        }
    }
}

/// A line as messages.
fn chunk(line: &[u8]) -> Result<Chunk, String> {
    let said = SaidLine::parse(line)?;
    let Some(messages) = said.messages else {
        return Err("wrote a line without messages".to_owned());
    };
    let messages: Result<Vec<Incoming>, String> =
        messages.into_iter().map(crate::exec::SaidMessage::into_incoming).collect();
    Ok(Chunk { messages: messages?, cursor: Cursor(said.position) })
}
