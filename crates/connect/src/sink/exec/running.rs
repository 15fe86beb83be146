//! A program that runs, and the batches that are with it.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc, oneshot};
use tokio::time::{Duration, timeout};

use crate::batch::Batch;
use crate::exec::{
    ChildProgram, Launch, ProgramInput, ProgramLines, SaidLine, batch_line, own_words,
};
use crate::failure::Failure;
use crate::place::{LaneName, Place};

/// Bytes of batches that are with the program at a time; a batch that is longer goes alone.
const WINDOW_BYTES: usize = 8 << 20;

const _: () = assert!(
    WINDOW_BYTES <= u32::MAX as usize && WINDOW_BYTES <= Semaphore::MAX_PERMITS,
    "the whole window can be asked for at once"
);

/// What became of a batch.
#[derive(Debug)]
pub(super) enum BatchAnswer {
    Done,
    /// It said why not.
    Failed(Failure),
    /// It has ended, and why, before it was given all of it.
    NotSent(String),
    /// It has ended, and why, before it answered.
    Ended(String),
}

/// What a program said of a batch.
#[derive(Debug)]
enum ProgramVerdict {
    Done,
    Away(String),
    Bad(BTreeSet<u64>, String),
}

/// What ends the program.
enum EndOrder {
    /// It did something that it may not, or nothing at all.
    Kill(String),
    Stop(oneshot::Sender<Option<String>>),
}

#[derive(Debug, Default)]
struct ProgramState {
    number: u64,
    waiting: BTreeMap<u64, oneshot::Sender<ProgramVerdict>>,
    positions: BTreeMap<String, u64>,
    ended: Option<String>,
}

/// A program that was ready.
#[derive(Debug)]
pub(super) struct RunningTarget {
    /// Whether it said where lanes go on, which it does if it stores that with what it delivers.
    pub(super) keeps_positions: bool,
    input: AsyncMutex<Option<ProgramInput>>,
    window: Semaphore,
    state: std::sync::Arc<Mutex<ProgramState>>,
    orders: mpsc::UnboundedSender<EndOrder>,
}

impl RunningTarget {
    pub(super) async fn start(launch: &Launch, positions: bool) -> Result<Self, Failure> {
        let (program, input, lines, said) = ChildProgram::greet(launch, Vec::new()).await?;
        let kept = said.ready.and_then(|ready| ready.positions);
        if positions && kept.is_none() {
            return Err(Failure::refused(
                "positions = true, but the program's ready has no positions",
                "have it write {\"ready\":{\"positions\":{..}}}, or set positions = false",
            ));
        }
        let keeps_positions = kept.is_some();
        let state = ProgramState { positions: kept.unwrap_or_default(), ..ProgramState::default() };
        let state = std::sync::Arc::new(Mutex::new(state));
        let (orders, received) = mpsc::unbounded_channel();
        let listener = ProgramListener { program, lines, state: std::sync::Arc::clone(&state) };
        tokio::spawn(listener.listen(received));
        let (input, window) = (AsyncMutex::new(Some(input)), Semaphore::new(WINDOW_BYTES));
        Ok(Self { keeps_positions, input, window, state, orders })
    }

    /// Why it does not run any more.
    pub(super) fn ended(&self) -> Option<String> {
        self.state.lock().ended.clone()
    }

    /// Where a lane goes on, as far as the program has told or shown.
    pub(super) fn position(&self, lane: &LaneName) -> Option<u64> {
        self.state.lock().positions.get(&lane.to_string()).copied()
    }

    /// Gives it a batch and waits for its answer.
    pub(super) async fn write(
        &self,
        lane: &LaneName,
        batch: &Batch,
        patience: Duration,
    ) -> BatchAnswer {
        let bytes: usize = batch.rows().iter().map(crate::Row::bytes).sum();
        let Ok(share) = u32::try_from(bytes.min(WINDOW_BYTES)) else {
            unreachable!("a share is no more than the window")
        };
        let Ok(_share) = self.window.acquire_many(share).await else {
            unreachable!("nobody closes the window")
        };
        let (answer, answered) = oneshot::channel();
        let number = {
            let mut state = self.state.lock();
            if let Some(reason) = &state.ended {
                return BatchAnswer::NotSent(reason.clone());
            }
            state.number += 1;
            let number = state.number;
            let before = state.waiting.insert(number, answer);
            assert!(before.is_none(), "each batch has a number of its own");
            number
        };
        if let Err(reason) = self.send(batch_line(number, lane, batch).as_bytes(), patience).await {
            return BatchAnswer::NotSent(self.end(reason).await);
        }
        let verdict = match timeout(patience, answered).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => return BatchAnswer::Ended(self.ended().unwrap_or_default()),
            Err(_) => {
                let reason = format!("has not answered a batch for {patience:?}");
                return BatchAnswer::Ended(self.end(reason).await);
            }
        };
        match verdict {
            ProgramVerdict::Done => {
                let mut state = self.state.lock();
                state.positions.insert(lane.to_string(), batch.end().next);
                BatchAnswer::Done
            }
            ProgramVerdict::Away(reason) => BatchAnswer::Failed(Failure::away(reason)),
            ProgramVerdict::Bad(offsets, reason) if offsets.is_empty() => {
                BatchAnswer::Failed(Failure::Batch { reason })
            }
            ProgramVerdict::Bad(offsets, reason) => match places_of(batch, &offsets) {
                Some(places) => {
                    assert!(!places.is_empty(), "INV-PREFIX: bad messages are named");
                    BatchAnswer::Failed(Failure::Bad { places, reason })
                }
                None => {
                    let reason = "called messages bad that are not in the batch".to_owned();
                    BatchAnswer::Ended(self.end(reason).await)
                }
            },
        }
    }

    /// Tells it to stop and waits for its end.
    pub(super) async fn stop(&self) -> Result<(), Failure> {
        let (told, ended) = oneshot::channel();
        // Its input goes along, so that it is the last thing it reads.
        let stopped = match self.orders.send(EndOrder::Stop(told)) {
            Ok(()) => {
                let _ = self.send(b"{\"stop\":{}}\n", crate::exec::STOP_PATIENCE).await;
                drop(self.input.lock().await.take());
                ended.await.ok().flatten()
            }
            // It has ended by itself.
            Err(_) => return Ok(()),
        };
        stopped.map(drop).ok_or_else(|| {
            Failure::away(format!(
                "the program did not end within {:?} and was killed",
                crate::exec::STOP_PATIENCE
            ))
        })
    }

    async fn send(&self, line: &[u8], patience: Duration) -> Result<(), String> {
        // Whoever is in front may take as long, too.
        match timeout(patience * 2, self.input.lock()).await {
            Ok(mut input) => match input.as_mut() {
                Some(input) => input.send(line, patience).await,
                None => Err("was told to stop".to_owned()),
            },
            Err(_) => Err(format!("has not read its input for {:?}", patience * 2)),
        }
    }

    /// Ends it; tells why it ended, which may be something else that came first.
    async fn end(&self, reason: String) -> String {
        let mut state = self.state.lock();
        let first = state.ended.get_or_insert(reason).clone();
        state.waiting.clear();
        let _ = self.orders.send(EndOrder::Kill(first.clone()));
        first
    }
}

/// The places of all rows of these messages; `None` if one is not in the batch.
fn places_of(batch: &Batch, offsets: &BTreeSet<u64>) -> Option<Vec<Place>> {
    let places: Vec<Place> = batch
        .rows()
        .iter()
        .map(|row| row.place)
        .filter(|it| offsets.contains(&it.offset))
        .collect();
    let found: BTreeSet<u64> = places.iter().map(|place| place.offset).collect();
    (found == *offsets).then_some(places)
}

/// Reads what the program says; the program ends with it.
struct ProgramListener {
    program: ChildProgram,
    lines: ProgramLines,
    state: std::sync::Arc<Mutex<ProgramState>>,
}

impl ProgramListener {
    async fn listen(mut self, mut orders: mpsc::UnboundedReceiver<EndOrder>) {
        let reason = loop {
            tokio::select! {
                order = orders.recv() => match order {
                    // Nobody has it any more.
                    None => break "is not needed any more".to_owned(),
                    Some(EndOrder::Kill(reason)) => break reason,
                    Some(EndOrder::Stop(told)) => {
                        self.end("was told to stop");
                        let Self { program, lines, .. } = self;
                        let _ = told.send(program.wait(lines).await);
                        return;
                    }
                },
                line = self.lines.next() => {
                    let taken = match line {
                        Ok(line) => self.take(&line),
                        Err(none) => Err(self.program.why(none).await),
                    };
                    if let Err(reason) = taken {
                        break reason;
                    }
                }
            }
        };
        self.end(&reason);
    }

    fn end(&self, reason: &str) {
        let mut state = self.state.lock();
        state.ended.get_or_insert_with(|| reason.to_owned());
        state.waiting.clear();
    }

    /// Takes a line; what is wrong with it ends the program.
    fn take(&self, line: &[u8]) -> Result<(), String> {
        let said = SaidLine::parse(line)?;
        let reason = own_words(&said.reason);
        let (number, verdict) = match (said.done, said.away, said.bad) {
            (Some(number), None, None) => (number, ProgramVerdict::Done),
            (None, Some(number), None) => (number, ProgramVerdict::Away(reason)),
            (None, None, Some(number)) => {
                (number, ProgramVerdict::Bad(said.offsets.into_iter().collect(), reason))
            }
            _ => return Err("wrote a line that is neither done, away nor bad".to_owned()),
        };
        let Some(waiting) = self.state.lock().waiting.remove(&number) else {
            return Err(format!("answered batch {number}, which it was not given or has answered"));
        };
        // Who waited may have given up.
        let _ = waiting.send(verdict);
        Ok(())
    }
}
