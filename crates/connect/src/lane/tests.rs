//! Whole lanes between a log and a target in memory: killed, purged, overtaken, taken away.

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::batch::Form;
use crate::config::file::{Direction, OnGap, OnNewTopic, PipelineFile};
use crate::dead_letter::Letter;
use crate::log::memory::{MemoryLog, MemoryPartition};
use crate::place::{Place, Position};
use crate::shape::Shaped;
use crate::sink::Sink;
use crate::transform::BadMessage;

/// A target in memory; one that keeps positions moves them with the rows.
#[derive(Debug, Default)]
struct Memory {
    rows: Vec<(Place, Bytes)>,
    position: Option<Position>,
    keeps_positions: bool,
    /// Answers from the last to the first; takes when there are none.
    failures: Vec<Failure>,
}

struct Wire(Arc<Mutex<Memory>>);

#[async_trait]
impl Sink for Wire {
    async fn position(&mut self, _: &LaneName) -> Result<Option<Position>, Failure> {
        Ok(self.0.lock().position)
    }

    async fn write(&mut self, _: &LaneName, batch: &Batch) -> Result<(), Failure> {
        tokio::task::yield_now().await;
        let mut memory = self.0.lock();
        if let Some(failure) = memory.failures.pop() {
            return Err(failure);
        }
        if memory.position.is_some_and(|at| at.next != batch.begin()) {
            return Err(Failure::Moved);
        }
        memory.rows.extend(batch.rows().iter().map(|row| (row.place, row.payload.clone())));
        if memory.keeps_positions {
            memory.position = Some(*batch.end());
        }
        Ok(())
    }

    async fn set_position(&mut self, _: &LaneName, position: &Position) -> Result<(), Failure> {
        self.0.lock().position = Some(*position);
        Ok(())
    }
}

/// "drop" is filtered, "bad" is bad, "two" becomes two rows, all else stays.
struct Words;

#[async_trait]
impl Shape for Words {
    async fn shape(&self, _: &LaneName, messages: &[LogMessage]) -> Vec<Shaped> {
        let each = |message: &LogMessage| match &*message.payload {
            b"drop" => Ok(vec![]),
            b"bad" => Err(BadMessage { reason: "is no word".to_owned() }),
            b"two" => Ok(vec![(Form::Text, message.payload.clone()); 2]),
            _ => Ok(vec![(Form::Text, message.payload.clone())]),
        };
        messages.iter().map(each).collect()
    }
}

#[derive(Default)]
struct Letters(Mutex<Vec<String>>);

#[async_trait]
impl DeadTopic for Letters {
    async fn store(&self, letters: &[Letter]) -> Result<(), String> {
        let said = |letter: &Letter| {
            let message = letter.message();
            let header = |name| message.user_headers().get(name).map(ToString::to_string).unwrap();
            format!("{} {}", header("galgo.dead.offset"), header("galgo.dead.reason"))
        };
        self.0.lock().extend(letters.iter().map(said));
        Ok(())
    }
}

struct World {
    partition: Arc<Mutex<MemoryPartition>>,
    memory: Arc<Mutex<Memory>>,
    letters: Arc<Letters>,
    from: GalgoOrigin,
    on_bad: BadChoice,
    status: Arc<LaneStatus>,
}

fn name() -> LaneName {
    let text = |text: &str| text.to_owned();
    LaneName { pipeline: text("p"), stream: text("s"), topic: text("t"), partition: 0 }
}

fn origin() -> GalgoOrigin {
    let table = "stream = 's'\ntopics = ['t']".parse().unwrap();
    crate::config::settings("from.galgo", table).unwrap()
}

impl World {
    fn new(keeps_positions: bool, words: &[&str]) -> Self {
        let mut partition = MemoryPartition { topic_made_at: 5, ..MemoryPartition::default() };
        words.iter().for_each(|word| partition.append(word.as_bytes().to_vec()));
        Self {
            partition: Arc::new(Mutex::new(partition)),
            memory: Arc::new(Mutex::new(Memory { keeps_positions, ..Memory::default() })),
            letters: Arc::default(),
            from: origin(),
            on_bad: BadChoice::DeadLetter,
            status: Arc::new(LaneStatus::new(name())),
        }
    }

    fn lane(&self, upto: Option<u64>) -> (Lane, watch::Sender<bool>) {
        let (stop, stopped) = watch::channel(false);
        let settings = LaneSettings {
            from: self.from.clone(),
            batch: BatchSettings { messages: 4, ..BatchSettings::default() },
            shape: Arc::new(Words),
            sinks: Arc::new(Sinks::new(vec![Box::new(Wire(Arc::clone(&self.memory)))])),
            gate: Arc::default(),
            on_bad: self.on_bad,
            dead: Some(Arc::clone(&self.letters) as _),
            retry_for: None,
            budget: MemoryBudget::new(1 << 20),
        };
        let partition = Arc::clone(&self.partition);
        let lane = Lane {
            name: name(),
            log: Box::new(MemoryLog::of(partition)),
            settings: Arc::new(settings),
            status: Arc::clone(&self.status),
            stop: stopped,
            upto,
        };
        (lane, stop)
    }

    /// Runs a lane to an end, or for a time, after which its process is killed.
    fn run(&self, upto: Option<u64>, time: Duration) -> Option<LaneEnd> {
        let (lane, _stop) = self.lane(upto);
        runtime().block_on(async { tokio::time::timeout(time, lane.run()).await.ok() })
    }

    fn delivered(&self) -> Vec<(u64, u32)> {
        self.memory.lock().rows.iter().map(|(place, _)| (place.offset, place.part)).collect()
    }

    fn paused(&self) -> String {
        let report = self.status.report(0);
        assert_eq!(report.activity, LaneActivity::Paused);
        report.last_failure.unwrap()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

const LONG: Duration = Duration::from_secs(3_600);

#[test]
fn what_is_there_is_delivered_and_the_offset_of_the_group_follows() {
    let world = World::new(true, &["a", "drop", "two", "bad", "b", "drop"]);
    assert_eq!(world.run(Some(6), LONG), Some(LaneEnd::Reached));
    assert_eq!(world.delivered(), [(0, 0), (2, 0), (2, 1), (4, 0)]);
    assert_eq!(*world.letters.0.lock(), ["3 is no word"]);
    let position = world.memory.lock().position.unwrap();
    assert_eq!((position.next, position.topic_made_at, position.last_time), (6, 5, 6));
    assert_eq!(world.partition.lock().stored, Some(5));
    let report = world.status.report(0);
    assert_eq!((report.counts.delivered, report.counts.dead, report.filtered), (4, 1, 2));
}

/// INV-TARGET-TRUTH
#[test]
fn a_lane_begins_where_the_target_is_and_not_where_the_group_is() {
    let world = World::new(true, &["a", "b", "c"]);
    assert_eq!(world.run(Some(2), LONG), Some(LaneEnd::Reached));
    // The target is restored from a copy; the group has gone further.
    let first = Position { next: 1, topic_made_at: 5, last_id: 1, last_time: 1 };
    {
        let mut memory = world.memory.lock();
        memory.position = Some(first);
        memory.rows.truncate(1);
    }
    world.partition.lock().stored = Some(2);
    assert_eq!(world.run(Some(3), LONG), Some(LaneEnd::Reached));
    assert_eq!(world.delivered(), [(0, 0), (1, 0), (2, 0)], "the gap is filled");
}

/// A program keeps a number for each lane, and nothing of the topic.
#[test]
fn a_target_that_keeps_numbers_only_goes_on_with_its_number() {
    let world = World::new(true, &["a", "b", "c"]);
    world.memory.lock().position = Some(Position { next: 2, ..Position::default() });
    assert_eq!(world.run(Some(3), LONG), Some(LaneEnd::Reached));
    assert_eq!(world.delivered(), [(2, 0)]);
}

#[test]
fn a_target_without_positions_goes_on_behind_the_offset_of_the_group() {
    let world = World::new(false, &["a", "b", "c"]);
    world.partition.lock().stored = Some(0);
    assert_eq!(world.run(Some(3), LONG), Some(LaneEnd::Reached));
    assert_eq!(world.delivered(), [(1, 0), (2, 0)]);
}

#[test]
fn another_topic_of_the_name_stops_the_lane_or_begins_it_anew() {
    let mut world = World::new(true, &["a", "b"]);
    assert_eq!(world.run(Some(2), LONG), Some(LaneEnd::Reached));
    world.partition.lock().topic_made_at = 6;
    assert_eq!(world.run(None, LONG), None, "it waits for somebody");
    assert!(world.paused().contains("on_new_topic"), "{}", world.paused());
    assert_eq!(world.delivered().len(), 2, "INV-TARGET-TRUTH");
    world.from.on_new_topic = OnNewTopic::Restart;
    assert_eq!(world.run(Some(2), LONG), Some(LaneEnd::Reached));
    assert_eq!(world.delivered(), [(0, 0), (1, 0), (0, 0), (1, 0)]);
}

#[test]
fn a_purge_stops_the_lane_however_many_messages_came_since() {
    for words in [1, 2, 3, 9] {
        let world = World::new(true, &["a", "b"]);
        assert_eq!(world.run(Some(2), LONG), Some(LaneEnd::Reached));
        {
            let mut partition = world.partition.lock();
            partition.purge();
            (0..words).for_each(|_| partition.append("c"));
        }
        assert_eq!(world.run(None, LONG), None);
        assert!(world.paused().contains("purged"), "{words}: {}", world.paused());
        assert_eq!(world.delivered().len(), 2, "{words}");
    }
}

#[test]
fn a_purge_under_a_running_lane_is_noticed() {
    let world = World::new(true, &["a", "b"]);
    let (lane, _stop) = world.lane(None);
    runtime().block_on(async {
        let purge = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let mut partition = world.partition.lock();
            partition.purge();
            ["c"; 5].iter().for_each(|word| partition.append(*word));
        };
        let lane = tokio::time::timeout(LONG, lane.run());
        let (end, ()) = tokio::join!(lane, purge);
        assert!(end.is_err());
    });
    assert!(world.paused().contains("purged"), "{}", world.paused());
    assert_eq!(world.delivered().len(), 2);
}

#[test]
fn what_retention_took_is_told_and_counted() {
    let mut world = World::new(true, &["a", "b", "c", "d"]);
    assert_eq!(world.run(Some(1), LONG), Some(LaneEnd::Reached));
    world.partition.lock().messages.retain(|offset, _| *offset >= 3);
    assert_eq!(world.run(None, LONG), None);
    assert!(world.paused().contains("on_gap"), "{}", world.paused());
    world.from.on_gap = OnGap::Continue;
    assert_eq!(world.run(Some(4), LONG), Some(LaneEnd::Reached));
    assert_eq!(world.delivered().last(), Some(&(3, 0)));
    assert_eq!(world.status.report(0).gone, 2);
}

#[test]
fn a_bad_message_pauses_its_lane_with_all_in_front_of_it_delivered() {
    let mut world = World::new(true, &["a", "b", "bad", "c"]);
    world.on_bad = BadChoice::Pause;
    assert_eq!(world.run(None, LONG), None, "it waits for somebody");
    let why = Standstill::Bad { offset: 2, reason: "is no word".to_owned() };
    assert_eq!(world.run(Some(4), LONG), Some(LaneEnd::Stands(why)), "who runs once does not wait");
    assert_eq!(world.delivered(), [(0, 0), (1, 0)]);
    assert_eq!(world.memory.lock().position.unwrap().next, 2);
    assert_eq!(world.partition.lock().stored, Some(1), "lag and retention are right");
    assert!(world.paused().starts_with("message 2 is not taken: is no word"), "{}", world.paused());
    world.partition.lock().messages.get_mut(&2).unwrap().payload = Bytes::from_static(b"good");
    assert_eq!(world.run(Some(4), LONG), Some(LaneEnd::Reached));
    assert_eq!(world.delivered().len(), 4);
}

#[test]
fn a_lane_that_is_lost_or_stopped_ends() {
    let world = World::new(true, &["a"]);
    world.partition.lock().is_lost = true;
    assert_eq!(world.run(None, LONG), Some(LaneEnd::Lost));
    world.partition.lock().is_lost = false;
    let (lane, stop) = world.lane(None);
    let end = runtime().block_on(async {
        let stop = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            stop.send_replace(true);
        };
        tokio::join!(lane.run(), stop).0
    });
    assert_eq!(end, LaneEnd::Stopped);
    assert_eq!((world.delivered().len(), world.partition.lock().stored), (1, Some(0)));
}

/// A mishap of the server or the target.
#[derive(Clone, Debug)]
enum Mishap {
    KilledAfter(u64),
    ServerAway(u32),
    Target(Failure),
    Restored(u64),
}

fn mishap() -> impl Strategy<Value = Mishap> {
    let failure = prop_oneof![
        Just(Failure::away("reset")),
        Just(Failure::refused("no right", "grant it")),
        Just(Failure::Unknown { reason: "reset".to_owned() }),
        Just(Failure::Moved),
    ];
    prop_oneof![
        (0..400_u64).prop_map(Mishap::KilledAfter),
        (1..5_u32).prop_map(Mishap::ServerAway),
        failure.prop_map(Mishap::Target),
        (0..5_u64).prop_map(Mishap::Restored),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// INV-DELIVERED, INV-PREFIX, INV-ONE-STEP and INV-TARGET-TRUTH, against a model of one line: what is delivered in the end is each
    /// row of each message, once and in order, but for the filtered and the dead.
    #[test]
    fn everything_is_delivered_once_and_in_order(
        words in prop::collection::vec(prop::sample::select(vec!["a", "drop", "two", "bad"]), 0..30),
        mishaps in prop::collection::vec(mishap(), 0..8),
    ) {
        let world = World::new(true, &words);
        let end = words.len() as u64;
        for mishap in mishaps {
            match mishap {
                Mishap::KilledAfter(millis) => drop(world.run(Some(end), Duration::from_millis(millis))),
                Mishap::ServerAway(times) => world.partition.lock().away = times,
                Mishap::Target(failure) => world.memory.lock().failures.push(failure),
                Mishap::Restored(count) => restore(&world, count),
            }
        }
        prop_assert_eq!(world.run(Some(end), LONG), Some(LaneEnd::Reached));
        let model = (0..).zip(&words).flat_map(|(offset, word)| match *word {
            "a" => vec![(offset, 0)],
            "two" => vec![(offset, 0), (offset, 1)],
            _ => vec![],
        });
        let model: Vec<(u64, u32)> = model.collect();
        prop_assert_eq!(world.delivered(), model);
        let letters = world.letters.0.lock().clone();
        for (offset, _) in (0_u64..).zip(&words).filter(|(_, word)| **word == "bad") {
            let letter = format!("{offset} is no word");
            prop_assert!(letters.contains(&letter), "{} is missing", letter);
        }
    }
}

/// The target is restored to a state of some messages ago.
fn restore(world: &World, count: u64) {
    let mut memory = world.memory.lock();
    let Some(now) = memory.position else { return };
    let next = now.next.saturating_sub(count);
    let partition = world.partition.lock();
    let last = next.checked_sub(1).and_then(|last| partition.messages.get(&last));
    memory.position = Some(Position {
        next,
        topic_made_at: now.topic_made_at,
        last_id: last.map_or(0, |message| message.id),
        last_time: last.map_or(0, |message| message.time),
    });
    memory.rows.retain(|(place, _)| place.offset < next);
}

#[test]
fn settings_of_the_file_reach_the_lane() {
    let text = "name = 'p'\n[from.galgo]\nstream = 's'\ntopics = ['t']\n[to.nowhere]\n";
    let error = PipelineFile::parse(text, Path::new("")).err().unwrap().to_string();
    assert!(error.starts_with("[to.nowhere]: there is no such kind; the kinds are "), "{error}");
    let _: fn(Direction) = |_| ();
}
