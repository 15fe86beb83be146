//! The suite finds what is wrong with a target, and nothing in one that is right.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::yield_now;

use super::*;
use crate::batch::Batch;
use crate::failure::{Failure, Finding};
use crate::place::Position;
use crate::sink::{Promise, Sink};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Moves the position, then stores the rows.
    PositionFirst,
    /// Does not look where the lane is.
    NoCompare,
    /// Leaves out what it does not take, and says nothing.
    DropsBad,
    /// Says what is in the row it does not take.
    Talks,
    /// Stores rows from behind.
    Reversed,
}

#[derive(Default)]
struct Stored {
    rows: Vec<(String, u64)>,
    positions: HashMap<LaneName, Position>,
}

#[derive(Clone)]
struct Memory {
    stored: Arc<Mutex<Stored>>,
    flaw: Flaw,
}

fn read(payload: &[u8]) -> Option<(String, u64)> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    Some((value["lane"].as_str()?.to_owned(), value["number"].as_u64()?))
}

#[async_trait]
impl Sink for Memory {
    async fn position(&mut self, lane: &LaneName) -> Result<Option<Position>, Failure> {
        Ok(self.stored.lock().positions.get(lane).copied())
    }

    async fn write(&mut self, lane: &LaneName, batch: &Batch) -> Result<(), Failure> {
        yield_now().await;
        let (mut rows, mut bad) = (Vec::new(), Vec::new());
        for row in batch.rows() {
            match read(&row.payload) {
                Some(row) => rows.push(row),
                None => bad.push(row),
            }
        }
        if let (Some(first), false) = (bad.first(), self.flaw == Flaw::DropsBad) {
            let reason = match self.flaw {
                Flaw::Talks => format!("bad: {:?}", first.payload),
                _ => "bad".to_owned(),
            };
            return Err(Failure::Bad { places: bad.iter().map(|row| row.place).collect(), reason });
        }
        if self.flaw == Flaw::Reversed {
            rows.reverse();
        }
        let next = self.stored.lock().positions.get(lane).map_or(batch.begin(), |at| at.next);
        if next != batch.begin() && self.flaw != Flaw::NoCompare {
            return Err(Failure::Moved);
        }
        if self.flaw == Flaw::PositionFirst {
            self.stored.lock().positions.insert(lane.clone(), *batch.end());
            yield_now().await;
        }
        {
            let mut stored = self.stored.lock();
            stored.rows.extend(rows);
            stored.positions.insert(lane.clone(), *batch.end());
        }
        yield_now().await;
        Ok(())
    }
}

#[async_trait]
impl SinkSpec for Memory {
    fn promise(&self) -> Promise {
        Promise::ExactlyOnce
    }

    fn needs_json(&self) -> bool {
        true
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    async fn prepare(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn check(&self, _: &[Row]) -> Result<Vec<Finding>, Failure> {
        Ok(Vec::new())
    }

    fn preview(&self, _: &LaneName, _: &Row) -> Result<String, String> {
        Ok(String::new())
    }
}

#[async_trait]
impl ReadBack for Memory {
    async fn numbers(&self, lane: &LaneName) -> Result<Vec<u64>, String> {
        let (stored, name) = (self.stored.lock(), lane.to_string());
        Ok(stored
            .rows
            .iter()
            .filter(|(lane, _)| *lane == name)
            .map(|(_, number)| *number)
            .collect())
    }

    fn poison(&self, _: &Row) -> Option<Bytes> {
        Some(Bytes::from(format!("{{ {MARK}")))
    }
}

fn tried(flaw: Flaw) -> Result<(), BrokenPromise> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
    let memory = Memory { stored: Arc::default(), flaw };
    runtime.block_on(conformance(&memory, &memory))
}

#[test]
fn a_target_that_keeps_its_promises_passes_and_each_flaw_is_found() {
    assert_eq!(tried(Flaw::None), Ok(()));
    let found = |flaw| tried(flaw).unwrap_err().case;
    assert_eq!(
        found(Flaw::PositionFirst),
        "a connection that is killed while it waits",
        "INV-ONE-STEP"
    );
    assert_eq!(found(Flaw::NoCompare), "a batch that is written twice", "INV-ONE-STEP");
    assert_eq!(found(Flaw::DropsBad), "messages that are not taken", "INV-DELIVERED");
    assert_eq!(found(Flaw::Talks), "messages that are not taken", "INV-MUTE");
    assert_eq!(found(Flaw::Reversed), "all messages, in order");
}
