//! A program that runs: its input, its output, its end.
//!
//! Part of INV-EXEC-BOUND: it has a process group of its own, which is killed as a whole when it is dropped.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Launch;
use super::lines::{self, LINE_BYTES_MAX, NoLine, ProgramLines};
use super::protocol::{SaidLine, hello};
use crate::failure::Failure;

/// How long a program may take to end when it was told to.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of a program may follow that of its output.
pub(crate) const EXIT_PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

const _: () = assert!(
    LOOK.as_millis() < EXIT_PATIENCE.as_millis(),
    "INV-EXEC-BOUND: a program that ends by itself is seen to"
);
const _: () = assert!(
    EXIT_PATIENCE.as_millis() < STOP_PATIENCE.as_millis(),
    "INV-EXEC-BOUND: one that is asked to stop has longer than one that has ended"
);

/// A program; killed with all it has started when this is dropped.
#[derive(Debug)]
pub(crate) struct ChildProgram {
    child: Option<Child>,
    group: Pid,
}

/// Its input. Gone once a line could not be written whole: no other may follow.
#[derive(Debug)]
pub(crate) struct ProgramInput(Option<pipe::Sender>);

impl ChildProgram {
    /// Starts it and gives its input and output.
    ///
    /// # Errors
    /// [`Failure::Refused`]: there is no such program, or a secret is missing.
    pub(crate) fn start(launch: &Launch) -> Result<(Self, ProgramInput, ProgramLines), Failure> {
        let Some((program, arguments)) = launch.command.split_first() else {
            unreachable!("a command begins with a program")
        };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&launch.folder).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, secret) in &launch.secrets {
            let text = secret.read().map_err(|error| {
                Failure::refused(error.to_string(), format!("the program needs it as {name}"))
            })?;
            command.env(name, text.reveal());
        }
        let mut child = command.spawn().map_err(|error| {
            Failure::refused(
                format!("{program} cannot be started in {}: {error}", launch.folder.display()),
                "correct command: a list of the program and what it is called with",
            )
        })?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let (Some(group), Some(stdin), Some(stdout), Some(stderr)) = (id, stdin, stdout, stderr)
        else {
            unreachable!("a child has an id and the pipes it was given")
        };
        let program = Self { child: Some(child), group };
        let broken = |error: io::Error| Failure::away(format!("no pipe to the program: {error}"));
        let input = pipe::Sender::from_owned_fd(OwnedFd::from(stdin)).map_err(broken)?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout)).map_err(broken)?;
        let words = pipe::Receiver::from_owned_fd(OwnedFd::from(stderr)).map_err(broken)?;
        tokio::spawn(lines::log(words, launch.pipeline.clone()));
        Ok((program, ProgramInput(Some(input)), ProgramLines::new(output)))
    }

    /// Starts it, greets it and waits until it is ready.
    ///
    /// # Errors
    /// As [`ChildProgram::start`]; [`Failure::Away`] with what it did instead.
    pub(crate) async fn greet(
        launch: &Launch,
        more: Vec<(&str, serde_json::Value)>,
    ) -> Result<(Self, ProgramInput, ProgramLines, SaidLine), Failure> {
        let (mut program, mut input, mut lines) = Self::start(launch)?;
        let line = hello(launch, more);
        let ready = async {
            input.send(line.as_bytes(), launch.timeout).await?;
            match timeout(launch.timeout, lines.next()).await {
                Ok(line) => Ok(line),
                Err(_) => Err(format!("is not ready after {:?}", launch.timeout)),
            }
        };
        let said = match ready.await {
            Ok(Ok(line)) => SaidLine::parse(&line).and_then(|said| match said.ready {
                Some(_) => Ok(said),
                None => Err("wrote something else than ready first".to_owned()),
            }),
            Ok(Err(none)) => Err(program.why(none).await),
            // A program that ends at once closes its input, too; its end says more.
            Err(what) => Err(program.exit(EXIT_PATIENCE).await.unwrap_or(what)),
        };
        match said {
            Ok(said) => Ok((program, input, lines, said)),
            Err(what) => Err(Failure::away(format!("the program {what}"))),
        }
    }

    /// Why there is no line, in words that follow "the program".
    pub(crate) async fn why(&mut self, none: NoLine) -> String {
        match none {
            NoLine::End => {
                let ended = self.exit(EXIT_PATIENCE).await;
                ended.unwrap_or_else(|| "closed its output".to_owned())
            }
            NoLine::TooLong => format!("wrote a line of more than {LINE_BYTES_MAX} bytes"),
            NoLine::Io(error) => format!("cannot be read: {error}"),
        }
    }

    /// How it has ended, in words that follow "the program"; waits for that. It stays to be collected, so that its number is nobody else's.
    pub(crate) async fn exit(&mut self, patience: Duration) -> Option<String> {
        let until = Instant::now() + patience;
        loop {
            if let Some(code) = self.exit_code() {
                return Some(match code {
                    Ok(code) => format!("ended with exit code {code}"),
                    Err(signal) => format!("was ended by signal {signal}"),
                });
            }
            if Instant::now() >= until {
                return None;
            }
            sleep(LOOK).await;
        }
    }

    /// Its exit code, or the signal that ended it; `None` while it runs.
    pub(crate) fn exit_code(&self) -> Option<Result<i32, i32>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.group), options).ok()??;
        let signal = status.terminating_signal();
        Some(status.exit_status().ok_or(signal.unwrap_or(0)))
    }

    /// Tells it to stop, and waits for that; tells how it ended, `None` if it had to be killed.
    pub(crate) async fn stop(self, mut input: ProgramInput, lines: ProgramLines) -> Option<String> {
        // One that does not read ends with the end of its patience.
        let _ = input.send(b"{\"stop\":{}}\n", STOP_PATIENCE).await;
        drop(input);
        self.wait(lines).await
    }

    /// Waits for its end, which it was told to come to.
    pub(crate) async fn wait(mut self, mut lines: ProgramLines) -> Option<String> {
        let until = Instant::now() + STOP_PATIENCE;
        // What it still says is nothing anybody waits for, but it must not hang in saying it.
        while let Ok(Ok(_)) = timeout_at(until, lines.next()).await {}
        self.exit(until.saturating_duration_since(Instant::now())).await
    }

    fn kill(&mut self) {
        // Fails only if nobody of the group is left.
        let _ = kill_process_group(self.group, Signal::KILL);
        if let Some(mut child) = self.child.take() {
            // It is dead; this collects it, and does not hold up whoever drops it.
            std::thread::spawn(move || child.wait());
        }
    }
}

impl Drop for ChildProgram {
    fn drop(&mut self) {
        self.kill();
    }
}

impl ProgramInput {
    /// Writes a line with its end.
    ///
    /// # Errors
    /// In words that follow "the program".
    pub(crate) async fn send(&mut self, line: &[u8], patience: Duration) -> Result<(), String> {
        // Given back when the line is whole: half a line, when the wait is given up, is the last one.
        let Some(mut to) = self.0.take() else { return Err("was given half a line".to_owned()) };
        match timeout(patience, to.write_all(line)).await {
            Ok(Ok(())) => {
                self.0 = Some(to);
                Ok(())
            }
            Ok(Err(error)) => Err(format!("does not read its input: {error}")),
            Err(_) => Err(format!("has not read its input for {patience:?}")),
        }
    }
}
