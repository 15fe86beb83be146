//! Delivery into a target that does everything a target can do.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::batch::Row;
use crate::batch::tests::{position, row};
use crate::place::Position;
use crate::sink::Sink;

/// What the target does when it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Takes,
    Away,
    Refuses,
    /// Is lost before, or after it took the batch.
    Lost {
        took: bool,
    },
    /// Somebody else writes so many messages first, or it is restored to what it was so many messages ago.
    Ahead(u64),
    Back(u64),
}

/// A target that keeps rows and a position in one step.
#[derive(Debug, Default)]
struct Target {
    rows: BTreeMap<Place, Row>,
    next: u64,
    /// What it does, in turn; it takes when there is nothing left.
    answers: Vec<Answer>,
    /// Messages it does not take, and whether it says which.
    bad: Vec<u64>,
    names: bool,
    /// Whether it names the first one only.
    names_one: bool,
    /// Every row there is: what somebody else would write.
    all: Vec<Row>,
    written_twice: u64,
}

impl Target {
    fn store(&mut self, batch: &Batch) {
        for row in batch.rows() {
            if self.rows.insert(row.place, row.clone()).is_some() {
                self.written_twice += 1;
            }
        }
        self.next = batch.end().next;
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        let answer = self.answers.pop().unwrap_or(Answer::Takes);
        match answer {
            Answer::Away => return Err(Failure::away("refused")),
            Answer::Refuses => {
                let (reason, advice) = ("no such table".to_owned(), "make it".to_owned());
                return Err(Failure::Refused { reason, advice });
            }
            Answer::Lost { took: false } => {
                return Err(Failure::Unknown { reason: "reset".to_owned() });
            }
            Answer::Ahead(count) => {
                let upto = self.next + count;
                let theirs =
                    self.all.iter().filter(|row| (self.next..upto).contains(&row.place.offset));
                self.rows.extend(theirs.map(|row| (row.place, row.clone())));
                self.next = upto;
            }
            Answer::Back(count) => {
                self.next = self.next.saturating_sub(count);
                self.rows.retain(|place, _| place.offset < self.next);
            }
            Answer::Takes | Answer::Lost { took: true } => {}
        }
        if self.next != batch.begin() {
            return Err(Failure::Moved);
        }
        let bad =
            batch.rows().iter().map(|row| row.place).filter(|it| self.bad.contains(&it.offset));
        let places: Vec<Place> = match self.names_one {
            true => bad.take(1).collect(),
            false => bad.collect(),
        };
        if !places.is_empty() {
            let reason = "wrong type".to_owned();
            return Err(match self.names {
                true => Failure::Bad { places, reason },
                false => Failure::Batch { reason },
            });
        }
        self.store(batch);
        match answer {
            Answer::Lost { .. } => Err(Failure::Unknown { reason: "reset".to_owned() }),
            _ => Ok(()),
        }
    }
}

struct Connection(Arc<Mutex<Target>>);

#[async_trait]
impl Sink for Connection {
    async fn position(&mut self, _: &LaneName) -> Result<Option<Position>, Failure> {
        Ok(Some(position(self.0.lock().next)))
    }

    async fn write(&mut self, _: &LaneName, batch: &Batch) -> Result<(), Failure> {
        self.0.lock().write(batch)
    }
}

#[derive(Default)]
struct Buried(Mutex<Vec<u64>>);

#[async_trait]
impl DeadLetters for Buried {
    async fn bury(&self, _: &LaneName, offsets: &[u64], reason: &str) -> Result<(), String> {
        assert_eq!(reason, "wrong type");
        self.0.lock().extend(offsets);
        Ok(())
    }
}

struct Rig {
    target: Arc<Mutex<Target>>,
    stop: watch::Sender<bool>,
    delivery: Delivery,
}

fn rig(target: Target, on_bad: OnBad) -> Rig {
    let target = Arc::new(Mutex::new(target));
    let (stop, stopped) = watch::channel(false);
    let lane = LaneName {
        pipeline: "p".to_owned(),
        stream: "s".to_owned(),
        topic: "t".to_owned(),
        partition: 0,
    };
    let sinks = Arc::new(Sinks::new(vec![Box::new(Connection(Arc::clone(&target)))]));
    let (gate, counts) = (Arc::default(), RowCounts::default());
    let status = Arc::new(LaneStatus::new(lane.clone()));
    let delivery = Delivery {
        lane,
        sinks,
        gate,
        on_bad,
        retry_for: None,
        waits_for_people: true,
        stop: stopped,
        counts,
        status,
        done: watch::Sender::new(0),
    };
    Rig { target, stop, delivery }
}

/// A batch of the messages 0 to 9: the third and the fifth are filtered, the seventh has three rows.
fn ten() -> Batch {
    let rows = (0..10).flat_map(|offset| match offset {
        2 | 4 => vec![],
        6 => (0..3).map(|part| row(6, part)).collect(),
        offset => vec![row(offset, 0)],
    });
    Batch::new(0, position(10), rows.collect())
}

fn target() -> Target {
    Target { all: ten().rows().to_vec(), ..Target::default() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// INV-DELIVERED, INV-PREFIX and INV-ONE-STEP: whatever the target does, in the end it has each row once, and never one without
/// those in front of it.
fn check(answers: Vec<Answer>, bad: &[u64], names: bool) -> Result<(), TestCaseError> {
    let buried = Arc::new(Buried::default());
    let letters: Arc<dyn DeadLetters> = Arc::clone(&buried) as Arc<dyn DeadLetters>;
    let target = Target { answers, bad: bad.to_vec(), names, ..target() };
    let mut rig = rig(target, OnBad::DeadLetter(letters));
    let mut batch = ten();
    for _ in 0..100 {
        let end = runtime().block_on(rig.delivery.deliver(batch.clone()));
        match end {
            Ok(()) => break,
            Err(DeliveryEnd::Elsewhere(next)) => {
                // The lane reads on from there; what somebody else has written there may have been bad, too.
                prop_assert!(next <= 10, "nobody writes more than there is");
                let all = ten();
                let rows = all.rows().iter().filter(|row| row.place.offset >= next).cloned();
                batch = Batch::new(next, position(10), rows.collect());
            }
            Err(end) => return Err(TestCaseError::fail(format!("{end:?}"))),
        }
    }
    let target = rig.target.lock();
    prop_assert_eq!(target.next, 10);
    prop_assert_eq!(target.written_twice, 0);
    let mut dead = buried.0.lock().clone();
    dead.sort_unstable();
    dead.dedup();
    for row in ten().rows() {
        let is_there = target.rows.contains_key(&row.place);
        prop_assert!(is_there != dead.contains(&row.place.offset), "{:?}", row.place);
    }
    Ok(())
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        2 => Just(Answer::Takes),
        1 => Just(Answer::Away),
        1 => Just(Answer::Refuses),
        2 => any::<bool>().prop_map(|took| Answer::Lost { took }),
        1 => (0..4_u64).prop_map(Answer::Back),
    ]
}

proptest! {
    #[test]
    fn each_row_is_delivered_once_whatever_the_target_does(
        answers in prop::collection::vec(answer(), 0..20),
        bad in prop::collection::btree_set(0..10_u64, 0..4),
        names in any::<bool>(),
    ) {
        check(answers, &bad.into_iter().collect::<Vec<_>>(), names)?;
    }

    #[test]
    fn what_somebody_else_has_delivered_is_not_delivered_again(
        ahead in 0..=10_u64,
        before in prop::collection::vec(answer(), 0..5),
    ) {
        let answers = [before, vec![Answer::Ahead(ahead)]].concat();
        check(answers, &[], true)?;
    }
}

#[test]
fn a_lane_stands_in_front_of_the_message_and_goes_on_when_it_is_taken() {
    let mut rig = rig(Target { bad: vec![6], names: true, ..target() }, OnBad::Pause);
    runtime().block_on(async {
        let target = Arc::clone(&rig.target);
        let mended = async {
            tokio::time::sleep(Duration::from_secs(200)).await;
            let mut target = target.lock();
            assert_eq!(target.next, 6, "all in front of it is there");
            target.bad.clear();
        };
        let (end, ()) = tokio::join!(rig.delivery.deliver(ten()), mended);
        assert_eq!(end, Ok(()));
    });
    assert_eq!(rig.target.lock().rows.len(), ten().rows().len());
    assert_eq!(rig.delivery.counts.skipped, 0);
}

#[test]
fn a_message_that_the_target_does_not_name_is_found() {
    let mut rig = rig(Target { bad: vec![6, 9], ..target() }, OnBad::Skip);
    assert_eq!(runtime().block_on(rig.delivery.deliver(ten())), Ok(()));
    assert_eq!((rig.delivery.counts.skipped, rig.target.lock().rows.len()), (4, 6));
}

#[test]
fn a_message_with_several_bad_rows_is_set_aside_once_and_whole() {
    let buried = Arc::new(Buried::default());
    let letters = OnBad::DeadLetter(Arc::clone(&buried) as _);
    for on_bad in [letters, OnBad::Skip] {
        let mut rig =
            rig(Target { bad: vec![6, 7], names: true, names_one: true, ..target() }, on_bad);
        assert_eq!(runtime().block_on(rig.delivery.deliver(ten())), Ok(()));
        let counts = rig.delivery.counts;
        assert_eq!(counts.dead * 2 + counts.skipped, 4, "two messages, or their four rows");
        let rows = rig.target.lock().rows.len();
        assert_eq!((rows, counts.delivered), (6, 6));
    }
    assert_eq!(*buried.0.lock(), [6, 7]);
}

#[test]
fn a_stop_ends_a_pause_and_a_limit_ends_the_tries() {
    let mut rig = rig(Target { bad: vec![0], names: true, ..target() }, OnBad::Pause);
    runtime().block_on(async {
        let stop = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            rig.stop.send_replace(true);
        };
        let (end, ()) = tokio::join!(rig.delivery.deliver(ten()), stop);
        assert_eq!(end, Err(DeliveryEnd::Stopped));
    });
    let answers = vec![Answer::Away; 1_000];
    let mut rig = self::rig(Target { answers, ..target() }, OnBad::Pause);
    rig.delivery.retry_for = Some(Duration::from_secs(60));
    let end = runtime().block_on(rig.delivery.deliver(ten()));
    assert_eq!(end, Err(DeliveryEnd::GaveUp(Failure::away("refused"))));
    assert!(!rig.delivery.gate.is_open());
}
