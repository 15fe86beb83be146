//! The writers of a round, and what they remember of every message.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use galgo::{Message, PartitionBy, ProduceError, Producer, Receipt};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::round::{PARTITIONS, PATIENCE, Place, TOPIC, connect, named, persist};

/// Messages a writer sends before it may end, and after what happens is over.
const MESSAGES_BEFORE: u32 = 60;
const MESSAGES_AFTER: u32 = 40;
/// Messages a writer sends at most, however long it takes.
const MESSAGES_MAX: u32 = 4_000;
const KEYS: u32 = 5;

/// A way to produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Several batches in flight to partitions by number.
    Pipelined,
    /// Messages with keys.
    Keyed,
    /// The server chooses.
    Balanced,
}

impl Writer {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Pipelined, Self::Keyed, Self::Balanced];
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pipelined => "pipelined",
            Self::Keyed => "keyed",
            Self::Balanced => "balanced",
        })
    }
}

/// What a producer did with one message.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// Its number, which is in its payload.
    pub(crate) number: u32,
    /// The lane whose order counts: a partition, a key, or the whole producer.
    pub(crate) lane: u32,
    /// Counts the failures that were told before it was accepted.
    pub(crate) session: u32,
    /// When it was handed over.
    pub(crate) accepted: u64,
    /// When its acknowledgement was there.
    pub(crate) acknowledged: Option<u64>,
}

/// The payload of the last message of a partition.
pub(crate) fn end_of(partition: u32) -> String {
    format!("end {partition}")
}

/// Sends until what happens is over and some more, and tells what became of each message.
pub(crate) async fn write(place: Arc<Place>, seed: u64) -> Result<Vec<Sent>, String> {
    let client = connect(&place.url).await?;
    let lanes = match place.course.writer {
        Writer::Pipelined => PARTITIONS,
        Writer::Keyed | Writer::Balanced => 1,
    };
    let mut producers = Vec::new();
    for lane in 0..lanes {
        let by = match place.course.writer {
            Writer::Pipelined => PartitionBy::Id(lane),
            Writer::Keyed | Writer::Balanced => PartitionBy::Balance,
        };
        let build = || {
            let settings = client.producer(&place.stream, &named(TOPIC)).partition_by(by.clone());
            settings.batch_messages(3).delivery_timeout(PATIENCE).build()
        };
        producers.push(persist("build a producer", build).await?);
    }
    let mut writing = Writing {
        place: &place,
        random: StdRng::seed_from_u64(seed),
        sessions: vec![0; producers.len()],
        producers,
        sent: Vec::new(),
        receipts: JoinSet::new(),
    };
    writing.run().await;
    writing.finish().await
}

struct Writing<'a> {
    place: &'a Arc<Place>,
    random: StdRng,
    producers: Vec<Producer>,
    /// Of each producer, the failures that were told.
    sessions: Vec<u32>,
    sent: Vec<Sent>,
    receipts: JoinSet<(usize, Option<u64>)>,
}

impl Writing<'_> {
    async fn run(&mut self) {
        let begun = Instant::now();
        let mut number = 0;
        let mut left = MESSAGES_AFTER;
        while number < MESSAGES_MAX && left > 0 && begun.elapsed() < PATIENCE {
            if number > MESSAGES_BEFORE && self.place.is_over.load(Ordering::SeqCst) {
                left -= 1;
            }
            self.send(number).await;
            number += 1;
            if self.random.random_ratio(1, 4) {
                sleep(Duration::from_millis(1)).await;
            }
        }
    }

    async fn send(&mut self, number: u32) {
        // Some are large, so that segments fill and batches skip the journal.
        let padding = if self.random.random_ratio(1, 12) { 9_000 } else { 40 };
        let payload = format!("message {number} {}", "x".repeat(padding));
        let index = number as usize % self.producers.len();
        let producer = self.producers[index].clone();
        let key = number % KEYS;
        let accepted = self.place.moments.now();
        let message = Message::new(payload);
        let receipt = match self.place.course.writer {
            Writer::Keyed => producer.send_keyed_with_receipt(key.to_string(), message).await,
            Writer::Pipelined | Writer::Balanced => producer.send_with_receipt(message).await,
        };
        match receipt {
            Ok(receipt) => {
                let lane = match self.place.course.writer {
                    Writer::Keyed => key,
                    Writer::Pipelined | Writer::Balanced => index as u32,
                };
                let session = self.sessions[index];
                self.sent.push(Sent { number, lane, session, accepted, acknowledged: None });
                self.wait_for(receipt);
            }
            // Not taken, because one before it failed: a flush tells that, and the producer goes on.
            Err(ProduceError::Failed(_)) => {
                let _ = producer.flush().await;
                self.sessions[index] += 1;
                sleep(Duration::from_millis(10)).await;
            }
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }

    fn wait_for(&mut self, receipt: Receipt) {
        let (place, index) = (Arc::clone(self.place), self.sent.len() - 1);
        self.receipts.spawn(async move {
            let acknowledged = receipt.await.is_ok();
            (index, acknowledged.then(|| place.moments.now()))
        });
    }

    async fn finish(mut self) -> Result<Vec<Sent>, String> {
        for producer in &self.producers {
            // What failed is known by its receipt.
            let _ = producer.close().await;
        }
        while let Some(result) = self.receipts.join_next().await {
            let (index, acknowledged) = result.map_err(|error| error.to_string())?;
            self.sent[index].acknowledged = acknowledged;
        }
        Ok(self.sent)
    }
}
