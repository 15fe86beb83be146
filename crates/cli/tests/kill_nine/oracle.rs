//! Remembers what was sent and acknowledged, and compares it with what the server has.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;

use galgo::{Client, PollRequest, PollingStrategy};

use super::{PARTITIONS, named};

#[derive(Default)]
struct Place {
    /// Everything that was ever handed to a send.
    sent: HashSet<String>,
    /// What was acknowledged, in the order of each producer.
    acknowledged: Vec<String>,
    /// What the last check found: it must still be there, at the same offsets.
    seen: Vec<String>,
}

/// The memory of a run.
#[derive(Default)]
pub(crate) struct Oracle {
    places: Mutex<BTreeMap<(String, u32), Place>>,
}

impl Oracle {
    pub(crate) fn sending(&self, topic: &str, partition: u32, payloads: &[String]) {
        let mut places = self.places.lock().unwrap();
        let place = places.entry((topic.to_owned(), partition)).or_default();
        place.sent.extend(payloads.iter().cloned());
    }

    pub(crate) fn acknowledge(&self, topic: &str, partition: u32, payloads: Vec<String>) {
        let mut places = self.places.lock().unwrap();
        places.entry((topic.to_owned(), partition)).or_default().acknowledged.extend(payloads);
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.places.lock().unwrap().values().map(|place| place.acknowledged.len()).sum()
    }

    /// Reads everything and compares.
    pub(crate) async fn check(&self, client: &Client, round: u64) {
        for topic in ["fsync", "os"] {
            for partition in 0..PARTITIONS {
                let found = read_all(client, topic, partition).await;
                let mut places = self.places.lock().unwrap();
                let place = places.entry((topic.to_owned(), partition)).or_default();
                place.check(found, &format!("round {round}, {topic}/{partition}"));
            }
        }
    }
}

impl Place {
    fn check(&mut self, found: Vec<String>, story: &str) {
        assert!(found.len() >= self.seen.len(), "{story}: messages seen before are gone");
        assert!(found[..self.seen.len()] == self.seen[..], "{story}: history has changed");
        let mut position: HashMap<&str, usize> = HashMap::new();
        for (index, payload) in found.iter().enumerate() {
            assert!(self.sent.contains(payload), "{story}: a message nobody sent, at {index}");
            let before = position.insert(payload, index);
            assert_eq!(before, None, "{story}: {payload:.40} is there twice");
        }
        let mut last_of_producer: HashMap<String, usize> = HashMap::new();
        for payload in &self.acknowledged {
            let Some(index) = position.get(payload.as_str()) else {
                panic!("{story}: P-ACK: acknowledged message {payload:.40} is lost");
            };
            let mut words = payload.split(' ');
            let producer = format!("{:?} {:?}", words.next(), words.next());
            if let Some(before) = last_of_producer.insert(producer, *index) {
                assert!(before < *index, "{story}: P-ORDER: {payload:.40} came before its elder");
            }
        }
        drop(position);
        self.seen = found;
    }
}

async fn read_all(client: &Client, topic: &str, partition: u32) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let next = PollingStrategy::Offset((found.len() as u64).into());
        let request = PollRequest::new(&named("s"), &named(topic), partition).count(5000);
        let polled = client.poll(request.strategy(next)).await.unwrap();
        if polled.is_empty() {
            return found;
        }
        for message in polled.into_messages() {
            assert_eq!(message.offset(), found.len() as u64, "P-ORDER: offsets have no gaps");
            found.push(String::from_utf8(message.payload().to_vec()).unwrap());
        }
    }
}
