//! Tries a program out: whether it keeps to the protocol, also when it is stopped, killed and told the same again.

mod origin;
mod target;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::{ChildProgram, Launch, NoLine, ProgramInput, ProgramLines, SaidLine};
use crate::failure::{Failure, Finding};

/// How to try a program out.
#[derive(Clone, Debug)]
pub struct Conformance {
    /// The program and what it is called with.
    pub command: Vec<String>,
    /// Where it runs.
    pub folder: PathBuf,
    /// What it is told at its start, as `settings` of the file are.
    pub settings: Value,
    /// How long each answer may take.
    pub timeout: Duration,
    /// What it is to be.
    pub role: ProgramRole,
}

/// What a program is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgramRole {
    /// An origin if it writes messages in its first two seconds, else a target.
    #[default]
    AsItSays,
    /// An origin: its first messages are waited for as every answer is.
    Origin,
}

/// Tries a program out where the process runs, without settings.
///
/// It is given messages of a stream `conform`, which it may store: point it at something that can be thrown away.
pub async fn conform(command: &[String]) -> Vec<Finding> {
    let conformance = Conformance {
        command: command.to_vec(),
        folder: PathBuf::from("."),
        settings: Value::Object(serde_json::Map::new()),
        timeout: Duration::from_secs(20),
        role: ProgramRole::default(),
    };
    conformance.run().await
}

impl Conformance {
    /// Tries it out. What it did wrong is in the findings, in the order in which it was found.
    pub async fn run(&self) -> Vec<Finding> {
        let mut report = ConformReport::default();
        if self.command.is_empty() {
            report.fault("there is no command", "name the program and what it is called with");
            return report.0;
        }
        let launch = Launch {
            command: self.command.clone(),
            folder: self.folder.clone(),
            secrets: Vec::new(),
            pipeline: "conform".to_owned(),
            settings: self.settings.clone(),
            timeout: self.timeout,
        };
        // What it did wrong is in the report already.
        let _ = try_out(&launch, self.role, &mut report).await;
        report.0
    }
}

/// Nothing more can be found out.
#[derive(Debug)]
struct Over;

/// What was found.
#[derive(Debug, Default)]
struct ConformReport(Vec<Finding>);

impl ConformReport {
    fn good(&mut self, text: impl Into<String>) {
        self.0.push(Finding::good(text));
    }

    fn warning(&mut self, text: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Finding::warning(text, advice));
    }

    fn fault(&mut self, text: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Finding::fault(text, advice));
    }

    fn over(&mut self, text: impl Into<String>, advice: impl Into<String>) -> Over {
        self.fault(text, advice);
        Over
    }
}

/// A program one talks to line by line.
struct ProgramTalk {
    program: ChildProgram,
    input: ProgramInput,
    lines: ProgramLines,
    /// The positions of its ready, if it keeps some.
    positions: Option<BTreeMap<String, u64>>,
    patience: Duration,
}

impl ProgramTalk {
    async fn begin(
        launch: &Launch,
        position: Value,
        report: &mut ConformReport,
    ) -> Result<Self, Over> {
        let more = vec![("position", position), ("once", false.into())];
        match ChildProgram::greet(launch, more).await {
            Ok((program, input, lines, said)) => {
                let positions = said.ready.and_then(|ready| ready.positions);
                Ok(Self { program, input, lines, positions, patience: launch.timeout })
            }
            Err(Failure::Refused { reason, advice }) => Err(report.over(reason, advice)),
            Err(failure) => Err(report.over(
                failure.to_string(),
                "its first line is {\"ready\":{}}, written and flushed when it has read hello",
            )),
        }
    }

    async fn tell(&mut self, line: &str, report: &mut ConformReport) -> Result<(), Over> {
        let sent = self.input.send(line.as_bytes(), self.patience).await;
        sent.map_err(|what| {
            report.over(
                format!("the program {what}"),
                "read lines until the input ends, whatever is in them",
            )
        })
    }

    /// Its next line, if there is one within this time.
    async fn hear(
        &mut self,
        patience: Duration,
        report: &mut ConformReport,
    ) -> Result<Option<SaidLine>, Over> {
        let line = match timeout(patience, self.lines.next()).await {
            Err(_) => return Ok(None),
            Ok(Ok(line)) => line,
            Ok(Err(none)) => {
                let advice = match none {
                    NoLine::End => {
                        "it runs until it is told to stop; what it said before is in the log"
                    }
                    _ => "write one document of JSON in each line",
                };
                let why = self.program.why(none).await;
                return Err(report.over(format!("the program {why}"), advice));
            }
        };
        SaidLine::parse(&line).map(Some).map_err(|what| {
            report.over(
                format!("the program {what}"),
                "write nothing but the protocol to standard output; anything else to standard error",
            )
        })
    }

    async fn stop(self, report: &mut ConformReport) {
        let Self { program, input, lines, .. } = self;
        match program.stop(input, lines).await {
            Some(how) if how == "ended with exit code 0" => {
                report.good("stop: it ended in time");
            }
            Some(how) => report.warning(
                format!("stop: the program {how}"),
                "end with exit code 0 when {\"stop\":{}} comes",
            ),
            None => report.fault(
                "stop: the program still ran after 10 s and was killed",
                "end when {\"stop\":{}} comes, or the input ends",
            ),
        }
    }
}

async fn try_out(
    launch: &Launch,
    role: ProgramRole,
    report: &mut ConformReport,
) -> Result<(), Over> {
    let mut talk = ProgramTalk::begin(launch, Value::Null, report).await?;
    report.good("hello: it is ready");
    // A target says nothing before it is asked.
    let patience = match role {
        ProgramRole::AsItSays => Duration::from_secs(2),
        ProgramRole::Origin => launch.timeout,
    };
    match talk.hear(patience, report).await? {
        Some(said) if said.messages.is_some() => origin::try_out(launch, talk, said, report).await,
        Some(_) => Err(report.over(
            "it wrote an answer to nothing",
            "a target answers batches only; an origin writes {\"messages\":[..],\"position\":..}",
        )),
        None if role == ProgramRole::Origin => Err(report.over(
            "it wrote no messages in time",
            "an origin writes {\"messages\":[..],\"position\":..} when it has some: give it some to read",
        )),
        None => target::try_out(launch, talk, report).await,
    }
}
