//! The cases.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;

use super::kill::Killed;
use super::{BrokenPromise, MARK, ReadBack};
use crate::batch::{Batch, Form, Row};
use crate::failure::Failure;
use crate::gate::Gate;
use crate::lane::deliver::{DeadLetters, Delivery, DeliveryEnd, OnBad, RowCounts};
use crate::place::{LaneName, Place, Position};
use crate::sink::{Promise, Sink, SinkSpec, Sinks};
use crate::status::LaneStatus;

/// Messages of a lane.
const MESSAGES: u64 = 60;
/// Messages of a batch.
const BATCH: u64 = 12;

const _: () = assert!(MESSAGES.is_multiple_of(BATCH), "whole batches are tried");
const _: () = assert!(MESSAGES / BATCH > 2, "a batch is tried that has others around it");

/// No write waits more often.
const WAITS_MAX: usize = 300;
/// Tries until something is taken that is to be taken in the end.
const TRIES_MAX: usize = 200;

pub(super) struct Trial<'a> {
    spec: &'a dyn SinkSpec,
    back: &'a dyn ReadBack,
    lanes: AtomicU32,
}

/// How often a number may be there.
#[derive(Clone, Copy)]
enum ExpectedTimes {
    Once,
    /// Once, and again for each of these batches.
    AndBatches(usize),
}

impl<'a> Trial<'a> {
    pub(super) fn new(spec: &'a dyn SinkSpec, back: &'a dyn ReadBack) -> Self {
        Self { spec, back, lanes: AtomicU32::new(0) }
    }

    pub(super) async fn prepare(&self) -> Result<(), BrokenPromise> {
        for _ in 0..2 {
            self.spec.prepare().await.map_err(|failure| BrokenPromise {
                case: "prepared twice",
                what: failure.to_string(),
            })?;
        }
        Ok(())
    }

    /// A lane nothing was delivered of.
    fn lane(&self) -> LaneName {
        LaneName {
            pipeline: "conformance".to_owned(),
            stream: "conformance".to_owned(),
            topic: "trial".to_owned(),
            partition: self.lanes.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The messages from one offset to another: some have no row, some have two.
    fn batch(&self, lane: &LaneName, begin: u64, end: u64) -> Batch {
        let parts = |offset: u64| match offset % 7 {
            3 => 0,
            5 if !self.back.one_row_each() => 2,
            _ => 1,
        };
        let rows = (begin..end)
            .flat_map(|offset| (0..parts(offset)).map(move |part| Place { offset, part }))
            .map(|place| row(lane, place))
            .collect();
        Batch::new(begin, position(end), rows)
    }

    /// Delivers from where the target is, or from an offset, to the end, whatever it takes.
    async fn deliver(
        &self,
        case: &'static str,
        lane: &LaneName,
        begin: u64,
    ) -> Result<(), BrokenPromise> {
        let mut sink = self.spec.sink();
        let mut next = begin;
        let mut failure = None;
        for _ in 0..TRIES_MAX {
            if let Ok(Some(position)) = sink.position(lane).await {
                next = position.next;
            }
            while next < MESSAGES {
                let end = (next + BATCH).min(MESSAGES);
                match sink.write(lane, &self.batch(lane, next, end)).await {
                    Ok(()) => next = end,
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                }
            }
            if next >= MESSAGES {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        let what = failure.map_or("nothing was taken".to_owned(), |failure| failure.to_string());
        Err(BrokenPromise { case, what: format!("not delivered to its end: {what}") })
    }

    /// Compares what is there with what has to be.
    async fn expect(
        &self,
        case: &'static str,
        lane: &LaneName,
        without: &[Place],
        times: ExpectedTimes,
    ) -> Result<(), BrokenPromise> {
        let broken = |what: String| Err(BrokenPromise { case, what });
        let there = match self.back.numbers(lane).await {
            Ok(there) => there,
            Err(what) => return broken(what),
        };
        let all = self.batch(lane, 0, MESSAGES);
        let expected: Vec<u64> = all
            .rows()
            .iter()
            .map(|row| row.place)
            .filter(|place| !without.contains(place))
            .map(number)
            .collect();
        let mut seen = BTreeSet::new();
        let first: Vec<u64> = there.iter().copied().filter(|number| seen.insert(*number)).collect();
        if first != expected {
            return broken(format!("{lane} has {first:?}, and it should have {expected:?}"));
        }
        let repeats = there.len() - first.len();
        let most = match (times, self.spec.promise()) {
            (ExpectedTimes::AndBatches(count), Promise::AtLeastOnce) => count * 2 * BATCH as usize,
            _ => 0,
        };
        if repeats > most {
            return broken(format!("{lane} has {repeats} rows twice, and {most} may be"));
        }
        Ok(())
    }

    pub(super) async fn all_in_order(&self) -> Result<(), BrokenPromise> {
        const CASE: &str = "all messages, in order";
        let lane = self.lane();
        self.deliver(CASE, &lane, 0).await?;
        self.expect(CASE, &lane, &[], ExpectedTimes::Once).await?;
        let read = self.spec.sink().position(&lane).await;
        let expected = match self.spec.promise() {
            Promise::ExactlyOnce => Some(position(MESSAGES)),
            // It may know, or not.
            _ => return Ok(()),
        };
        match read {
            Ok(read) if read == expected => Ok(()),
            Ok(read) => Err(BrokenPromise {
                case: CASE,
                what: format!("the position is {read:?}, not {expected:?}"),
            }),
            Err(failure) => Err(BrokenPromise { case: CASE, what: failure.to_string() }),
        }
    }

    pub(super) async fn written_again(&self) -> Result<(), BrokenPromise> {
        const CASE: &str = "a batch that is written twice";
        let lane = self.lane();
        let mut sink = self.spec.sink();
        let _ = sink.position(&lane).await;
        let batch = self.batch(&lane, 0, BATCH);
        for turn in 0..2 {
            let written = sink.write(&lane, &batch).await;
            let fits = match (self.spec.promise(), turn) {
                (Promise::ExactlyOnce, 1) => matches!(written, Err(Failure::Moved)),
                _ => written.is_ok(),
            };
            if !fits {
                return Err(BrokenPromise {
                    case: CASE,
                    what: format!("write {turn} gave {written:?}"),
                });
            }
        }
        self.deliver(CASE, &lane, BATCH).await?;
        self.expect(CASE, &lane, &[], ExpectedTimes::AndBatches(1)).await
    }

    /// Two processes have the same lane.
    pub(super) async fn overtaken(&self) -> Result<(), BrokenPromise> {
        const CASE: &str = "somebody else delivers the same lane";
        if self.spec.promise() != Promise::ExactlyOnce {
            return Ok(());
        }
        let lane = self.lane();
        let (mut one, mut other) = (self.spec.sink(), self.spec.sink());
        for sink in [&mut one, &mut other] {
            let _ = sink.position(&lane).await;
        }
        let takes = |written: Result<(), Failure>, expected: bool| match (written, expected) {
            (Ok(()), true) | (Err(Failure::Moved), false) => Ok(()),
            (written, _) => {
                Err(BrokenPromise { case: CASE, what: format!("a write gave {written:?}") })
            }
        };
        takes(one.write(&lane, &self.batch(&lane, 0, 5)).await, true)?;
        takes(other.write(&lane, &self.batch(&lane, 0, 9)).await, false)?;
        takes(other.write(&lane, &self.batch(&lane, 5, 9)).await, true)?;
        takes(one.write(&lane, &self.batch(&lane, 5, BATCH)).await, false)?;
        // A batch whose messages were all filtered moves it, too.
        takes(one.write(&lane, &Batch::new(9, position(9), Vec::new())).await, true)?;
        let read = one.position(&lane).await;
        if read != Ok(Some(position(9))) {
            return Err(BrokenPromise { case: CASE, what: format!("the position is {read:?}") });
        }
        drop((one, other));
        self.deliver(CASE, &lane, 9).await?;
        self.expect(CASE, &lane, &[], ExpectedTimes::Once).await
    }

    pub(super) async fn bad_messages(&self) -> Result<(), BrokenPromise> {
        const CASE: &str = "messages that are not taken";
        let sample = row(&self.lane(), Place { offset: 0, part: 0 });
        if self.back.poison(&sample).is_none() {
            return Ok(());
        }
        let last = MESSAGES - 1;
        let kinds: [&[u64]; 4] = [&[0], &[20], &[last], &[0, 1, 21, 22, 40, last]];
        for bad in kinds {
            self.some_bad(CASE, |place: Place| bad.contains(&place.offset)).await?;
        }
        self.some_bad(CASE, |_| true).await
    }

    async fn some_bad(
        &self,
        case: &'static str,
        is_bad: impl Fn(Place) -> bool + Send + Sync,
    ) -> Result<(), BrokenPromise> {
        let lane = self.lane();
        let buried = Arc::new(Buried::default());
        let letters: Arc<dyn DeadLetters> = Arc::clone(&buried) as Arc<dyn DeadLetters>;
        // A pipeline whose sender is gone is one that stops.
        let (mut delivery, _running) = self.delivery(&lane, OnBad::DeadLetter(letters)).await;
        let mut bad = Vec::new();
        for begin in (0..MESSAGES).step_by(BATCH as usize) {
            let batch = self.batch(&lane, begin, begin + BATCH);
            let mut rows = batch.rows().to_vec();
            for row in rows.iter_mut().filter(|row| is_bad(row.place)) {
                if let Some(payload) = self.back.poison(row) {
                    row.payload = payload;
                    bad.push(row.place);
                }
            }
            let batch = Batch::new(begin, *batch.end(), rows);
            if let Err(end) = delivery.deliver(batch).await {
                return Err(BrokenPromise { case, what: format!("the delivery ended: {end:?}") });
            }
        }
        let dead = buried.0.lock().clone();
        if let Some((offset, reason)) = dead.iter().find(|(_, reason)| reason.contains(MARK)) {
            let what =
                format!("INV-MUTE: what is said of offset {offset} has a value in it: {reason}");
            return Err(BrokenPromise { case, what });
        }
        let dead: BTreeSet<u64> = dead.into_iter().map(|(offset, _)| offset).collect();
        let offsets: BTreeSet<u64> = bad.iter().map(|place| place.offset).collect();
        if dead != offsets {
            return Err(BrokenPromise {
                case,
                what: format!("set aside were {dead:?}, and bad are {offsets:?}"),
            });
        }
        self.expect(case, &lane, &bad, ExpectedTimes::AndBatches(TRIES_MAX)).await
    }

    async fn delivery(&self, lane: &LaneName, on_bad: OnBad) -> (Delivery, watch::Sender<bool>) {
        let mut sink = self.spec.sink();
        let _ = sink.position(lane).await;
        let (stop, stopped) = watch::channel(false);
        let sinks = Arc::new(Sinks::new(vec![sink]));
        let delivery = Delivery {
            lane: lane.clone(),
            sinks,
            gate: Arc::new(Gate::default()),
            on_bad,
            retry_for: Some(Duration::from_secs(60)),
            waits_for_people: true,
            stop: stopped,
            counts: RowCounts::default(),
            status: Arc::new(LaneStatus::new(lane.clone())),
            done: watch::Sender::new(0),
        };
        (delivery, stop)
    }

    pub(super) async fn stopped_in_the_middle(&self) -> Result<(), BrokenPromise> {
        const CASE: &str = "a stop in the middle";
        for waits in 0..6 {
            let lane = self.lane();
            let (mut delivery, stop) = self.delivery(&lane, OnBad::Pause).await;
            let mut next = 0;
            let deliver = async {
                while next < MESSAGES {
                    let end = next + BATCH;
                    match delivery.deliver(self.batch(&lane, next, end)).await {
                        Ok(()) => next = end,
                        Err(end) => return Some(end),
                    }
                }
                None
            };
            let stopper = async {
                for _ in 0..waits * 5 {
                    tokio::task::yield_now().await;
                }
                stop.send_replace(true);
            };
            let (end, ()) = tokio::join!(deliver, stopper);
            if !matches!(end, None | Some(DeliveryEnd::Stopped)) {
                return Err(BrokenPromise {
                    case: CASE,
                    what: format!("the delivery ended: {end:?}"),
                });
            }
            drop(delivery);
            self.deliver(CASE, &lane, next).await?;
            self.expect(CASE, &lane, &[], ExpectedTimes::Once).await?;
        }
        Ok(())
    }

    /// The write of the second batch is dropped after it waited n times, for every n.
    pub(super) async fn killed_at_every_wait(&self) -> Result<(), BrokenPromise> {
        const CASE: &str = "a connection that is killed while it waits";
        for waits in 0..WAITS_MAX {
            let lane = self.lane();
            let mut sink: Box<dyn Sink> = self.spec.sink();
            let _ = sink.position(&lane).await;
            if let Err(failure) = sink.write(&lane, &self.batch(&lane, 0, BATCH)).await {
                return Err(BrokenPromise { case: CASE, what: failure.to_string() });
            }
            let batch = self.batch(&lane, BATCH, 2 * BATCH);
            let written = Killed::after(waits, sink.write(&lane, &batch)).await;
            drop(sink);
            let next = if written == Some(Ok(())) { 2 * BATCH } else { BATCH };
            self.deliver(CASE, &lane, next).await?;
            self.expect(CASE, &lane, &[], ExpectedTimes::AndBatches(1)).await?;
            if written.is_some() {
                return Ok(());
            }
        }
        Err(BrokenPromise {
            case: CASE,
            what: format!("a write waited more than {WAITS_MAX} times"),
        })
    }
}

fn number(place: Place) -> u64 {
    place.offset * 10 + u64::from(place.part)
}

fn position(next: u64) -> Position {
    let last = next.saturating_sub(1);
    Position {
        next,
        topic_made_at: 1_700_000_000_000_000,
        last_id: last.into(),
        last_time: time(last),
    }
}

fn time(offset: u64) -> u64 {
    1_800_000_000_000_000 + offset
}

fn row(lane: &LaneName, place: Place) -> Row {
    let number = number(place);
    let payload = format!(r#"{{"lane":"{lane}","number":{number},"text":"{MARK}"}}"#);
    Row {
        place,
        id: place.offset.into(),
        time: time(place.offset),
        origin_time: time(place.offset),
        headers_block: Bytes::new(),
        form: Form::Json,
        payload: Bytes::from(payload),
    }
}

/// Dead letters, and why they are.
#[derive(Default)]
struct Buried(Mutex<Vec<(u64, String)>>);

#[async_trait]
impl DeadLetters for Buried {
    async fn bury(&self, _: &LaneName, offsets: &[u64], reason: &str) -> Result<(), String> {
        self.0.lock().extend(offsets.iter().map(|offset| (*offset, reason.to_owned())));
        Ok(())
    }
}
