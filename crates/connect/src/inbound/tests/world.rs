//! An origin that is scripted, and a Galgo in memory.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::FutureExt as _;
use galgo::{Message, UserHeaders};
use parking_lot::Mutex;

use super::*;
use crate::batch::Form;
use crate::config::file::GalgoServer;
use crate::dead_letter::Letter;
use crate::failure::Finding;
use crate::inbound::leader::CursorSeat;
use crate::inbound::topic::{Acknowledgement, NotStored};
use crate::log::memory::{MemoryLog, MemoryPartition};
use crate::sink::Promise;
use crate::source::{Beginning, Chunk, Cursor, Incoming, Source};
use crate::transform::Transforms;

/// Messages of a chunk.
pub(super) const CHUNK: u64 = 3;

/// An origin that numbers its messages, and the topic they go to.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Payloads of the origin.
    pub(super) messages: Vec<Bytes>,
    /// What the origin has forgotten, as it was told that it may.
    pub(super) settled: u64,
    /// Numbers in the order in which they were stored first.
    pub(super) stored: Vec<u64>,
    pub(super) repeats: u64,
    pub(super) dead: Vec<(u64, String)>,
    /// Numbers that nobody waits for.
    pub(super) skipped: BTreeSet<u64>,
    /// Acknowledgements and reads that fail from now on.
    pub(super) acks_fail: u32,
    pub(super) reads_fail: u32,
    /// What the server takes at once; all of it when it is not said.
    pub(super) request_bytes: Option<usize>,
    pub(super) finished: u32,
}

impl Memory {
    /// Whether everything in front of a place has come to where it was to.
    fn is_safe(&self, upto: u64) -> bool {
        let dead = |number: &u64| self.dead.iter().any(|(dead, _)| dead == number);
        let skipped = |number: &u64| self.skipped.contains(number);
        (0..upto).all(|number| self.stored.contains(&number) || dead(&number) || skipped(&number))
    }
}

fn number_of(payload: &[u8]) -> u64 {
    let text = str::from_utf8(payload).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

#[derive(Clone)]
struct Scripted {
    memory: Arc<Mutex<Memory>>,
    keeps_cursor: bool,
    next: u64,
    once: bool,
}

#[async_trait]
impl SourceSpec for Scripted {
    fn promise(&self) -> Promise {
        Promise::ExactlyOnce
    }

    fn keeps_cursor(&self) -> bool {
        self.keeps_cursor
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(self.clone())
    }

    async fn check(&self) -> Result<Vec<Finding>, Failure> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Source for Scripted {
    async fn begin(&mut self, beginning: Beginning) -> Result<(), Failure> {
        let settled = self.memory.lock().settled;
        let cursor = beginning.cursor.map(|cursor| cursor.0.as_u64().unwrap());
        self.next = match self.keeps_cursor {
            true => cursor.unwrap_or(0),
            false => settled,
        };
        assert!(
            settled <= self.next,
            "INV-ACKED-FIRST: the origin forgot what is still to be read"
        );
        self.once = beginning.once;
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Failure> {
        // That there is no more is known at once, before anything is acknowledged.
        if self.next < self.memory.lock().messages.len() as u64 {
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
        let chunk = {
            let mut memory = self.memory.lock();
            if memory.reads_fail > 0 {
                memory.reads_fail -= 1;
                return Err(Failure::away("the origin is away"));
            }
            let end = (self.next + CHUNK).min(memory.messages.len() as u64);
            let messages: Vec<_> = (self.next..end)
                .map(|number| Incoming {
                    payload: memory.messages[number as usize].clone(),
                    form: Form::Text,
                    key: None,
                    id: Some(number.into()),
                    headers: UserHeaders::new(),
                    made_at: None,
                })
                .collect();
            Chunk { messages, cursor: Cursor(end.into()) }
        };
        if chunk.messages.is_empty() {
            return match self.once {
                true => Ok(None),
                false => std::future::pending().await,
            };
        }
        self.next += chunk.messages.len() as u64;
        Ok(Some(chunk))
    }

    async fn settled(&mut self, cursor: &Cursor) -> Result<(), Failure> {
        let upto = cursor.0.as_u64().unwrap();
        let mut memory = self.memory.lock();
        assert!(memory.is_safe(upto), "INV-ACKED-FIRST: {upto} is settled before it is stored");
        assert!(memory.settled <= upto, "cursors are settled in order");
        memory.settled = upto;
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        self.memory.lock().finished += 1;
        Ok(())
    }
}

/// A topic behind a producer that collects so many bytes.
struct MemoryTopic(Arc<Mutex<Outbox>>);

/// What was sent, in order.
struct Outbox {
    memory: Arc<Mutex<Memory>>,
    batch_bytes: usize,
    sent: Vec<Sent>,
    /// How many of them were decided about.
    decided: usize,
    /// Nothing is stored behind a failure until there was a flush, and what comes behind it hears of it.
    broken: Option<NotStored>,
}

struct Sent {
    number: u64,
    /// Of all that was sent together up to it.
    bytes: usize,
    batch: u64,
    verdict: Result<(), NotStored>,
}

impl Outbox {
    fn push(&mut self, payload: &[u8]) -> usize {
        let bytes = payload.len();
        let open = self.sent.last().filter(|_| self.decided < self.sent.len());
        let (batch, before) = match open {
            Some(last) if last.bytes + bytes <= self.batch_bytes => (last.batch, last.bytes),
            _ => (self.sent.len() as u64, 0),
        };
        let (number, bytes) = (number_of(payload), before + bytes);
        self.sent.push(Sent { number, bytes, batch, verdict: Ok(()) });
        self.sent.len() - 1
    }

    /// What a producer says of a message that comes behind one that failed. The server is quick: it has decided about each batch
    /// that is full.
    fn refusal(&mut self) -> Option<NotStored> {
        let open = self.sent.last().map(|last| last.batch);
        let full = self.sent.iter().filter(|sent| Some(sent.batch) != open).count();
        if let Some(last) = full.checked_sub(1) {
            let _ = self.decide(last);
        }
        match self.broken.clone()? {
            NotStored::Unfit(reason) => Some(NotStored::BehindUnfit(reason)),
            other => Some(other),
        }
    }

    /// The server decides about all that was sent up to one.
    fn decide(&mut self, upto: usize) -> Result<(), NotStored> {
        while self.decided <= upto {
            let (batch, number) = (self.sent[self.decided].batch, self.sent[self.decided].number);
            let together = self.sent.iter().filter(|sent| sent.batch == batch);
            let bytes = together.map(|sent| sent.bytes).max().unwrap();
            let mut memory = self.memory.lock();
            let away = || Err(NotStored::Failed(Failure::away("the server is away")));
            let verdict = if self.broken.is_some() {
                away()
            } else if memory.acks_fail > 0 {
                memory.acks_fail -= 1;
                away()
            } else if memory.request_bytes.is_some_and(|most| bytes > most) {
                Err(NotStored::Unfit("the request is too large".to_owned()))
            } else {
                match memory.stored.contains(&number) {
                    true => memory.repeats += 1,
                    false => memory.stored.push(number),
                }
                Ok(())
            };
            if let Err(why) = &verdict {
                self.broken.get_or_insert(why.clone());
            }
            self.sent[self.decided].verdict = verdict;
            self.decided += 1;
        }
        self.sent[upto].verdict.clone()
    }
}

#[async_trait]
impl TargetTopic for MemoryTopic {
    async fn send(
        &self,
        _: Option<&Bytes>,
        message: Message,
    ) -> Result<Acknowledgement, NotStored> {
        let mut outbox = self.0.lock();
        if let Some(refusal) = outbox.refusal() {
            return Err(refusal);
        }
        let place = outbox.push(message.payload());
        drop(outbox);
        let outbox = Arc::clone(&self.0);
        let acknowledged = async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            outbox.lock().decide(place)
        };
        Ok(acknowledged.boxed())
    }

    async fn flush(&self) {
        self.0.lock().broken = None;
    }
}

/// A place in the group of the partition of cursors.
struct MemorySeat {
    partition: Arc<Mutex<MemoryPartition>>,
    memory: Arc<Mutex<Memory>>,
    member: u32,
    /// A process that was stopped for a while hears nothing.
    is_frozen: bool,
}

#[async_trait]
impl CursorSeat for MemorySeat {
    async fn append(&mut self, record: Vec<u8>) -> Result<(), Failure> {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let read: serde_json::Value = serde_json::from_slice(&record).unwrap();
        let cursor = read["cursor"].as_u64().unwrap_or(0);
        let is_safe = self.memory.lock().is_safe(cursor);
        assert!(
            is_safe,
            "INV-ACKED-FIRST: cursor {cursor} is written before its messages are stored"
        );
        self.partition.lock().append(record);
        Ok(())
    }

    async fn lost(&mut self) -> Failure {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if !self.is_frozen && self.partition.lock().owner != self.member {
                return Failure::away("another process reads the origin now");
            }
        }
    }

    async fn leave(self: Box<Self>) {}
}

struct NoDial;

#[async_trait]
impl Dial for NoDial {
    async fn dial(&self, _: &GalgoServer) -> Result<Client, Failure> {
        Err(Failure::away("there is no server"))
    }
}

struct Letters(Arc<Mutex<Memory>>);

#[async_trait]
impl DeadTopic for Letters {
    async fn store(&self, letters: &[Letter]) -> Result<(), String> {
        for letter in letters {
            let message = letter.message();
            let reason = message.user_headers().get("galgo.dead.reason").unwrap().to_string();
            self.0.lock().dead.push((number_of(message.payload()), reason));
        }
        Ok(())
    }
}

pub(super) struct World {
    pub(super) memory: Arc<Mutex<Memory>>,
    pub(super) partition: Arc<Mutex<MemoryPartition>>,
    pace: Arc<SendPace>,
    keeps_cursor: bool,
    pub(super) on_bad: BadChoice,
    pub(super) stop: watch::Sender<bool>,
}

impl World {
    pub(super) fn new(keeps_cursor: bool, count: u64) -> Self {
        let messages = (0..count).map(|number| Bytes::from(number.to_string())).collect();
        Self {
            memory: Arc::new(Mutex::new(Memory { messages, ..Memory::default() })),
            partition: Arc::default(),
            pace: Arc::default(),
            keeps_cursor,
            on_bad: BadChoice::Pause,
            stop: watch::Sender::new(false),
        }
    }

    pub(super) fn inbound(&self, once: bool) -> Inbound {
        let to = "stream = 's'\ntopic = 't'\nformat = 'text'".parse().unwrap();
        let to: GalgoTopic = crate::config::settings("to.galgo", to).unwrap();
        let (memory, keeps_cursor) = (Arc::clone(&self.memory), self.keeps_cursor);
        let shape =
            Shaper { format: to.format, transforms: Transforms::default(), needs_json: false };
        Inbound {
            name: "p".to_owned(),
            from: Box::new(Scripted { memory, keeps_cursor, next: 0, once }),
            to,
            shape,
            on_bad: self.on_bad,
            dead: (self.on_bad == BadChoice::DeadLetter)
                .then(|| Arc::new(Letters(Arc::clone(&self.memory))) as _),
            budget: MemoryBudget::new(1 << 30),
            dial: Arc::new(NoDial),
            status: Arc::new(PipelineStatus::new("p", "scripted", "galgo")),
            stop: self.stop.subscribe(),
            once,
            stop_timeout: Duration::from_secs(20),
        }
    }

    pub(super) async fn leader(&self, is_frozen: bool) -> Result<Leader, Failure> {
        let (partition, memory) = (Arc::clone(&self.partition), Arc::clone(&self.memory));
        let log = MemoryLog::of(Arc::clone(&partition));
        let member = partition.lock().owner;
        let seat = MemorySeat { partition, memory, member, is_frozen };
        Leader::begin(Box::new(seat), Box::new(log)).await
    }

    /// One attempt.
    pub(super) async fn attempt(
        &self,
        inbound: &Inbound,
        is_frozen: bool,
    ) -> Result<PipelineEnd, Failure> {
        let outbox = Outbox {
            memory: Arc::clone(&self.memory),
            batch_bytes: self.pace.batch_bytes(),
            sent: Vec::new(),
            decided: 0,
            broken: None,
        };
        let target = MemoryTopic(Arc::new(Mutex::new(outbox)));
        let leader = match self.keeps_cursor {
            true => Some(self.leader(is_frozen).await?),
            false => None,
        };
        let lane = LaneStatus::new(LaneName {
            pipeline: "p".to_owned(),
            stream: "s".to_owned(),
            topic: "t".to_owned(),
            partition: 0,
        });
        inbound.go(Box::new(target), leader, &lane, &self.pace, &mut false).await
    }

    /// Runs it to an end, or for a time, after which its process is killed.
    pub(super) async fn run(&self, once: bool, time: Duration) -> Option<PipelineEnd> {
        let inbound = self.inbound(once);
        let attempts = async {
            loop {
                match self.attempt(&inbound, false).await {
                    Ok(end) => return end,
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        tokio::time::timeout(time, attempts).await.ok()
    }
}
