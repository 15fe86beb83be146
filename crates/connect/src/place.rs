//! Where a message is, and how far a lane has come.
//!
//! INV-PLACE-KEY: the key by which a target knows a message again depends on the message's place alone.

use std::fmt;

/// One partition of one topic in one pipeline: what is delivered in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneName {
    /// The pipeline.
    pub pipeline: String,
    /// The stream.
    pub stream: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
}

impl fmt::Display for LaneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, topic, partition, .. } = self;
        write!(f, "{stream}/{topic}/{partition}")
    }
}

impl LaneName {
    /// The key of a row for targets that drop or overwrite what comes again: `PIPELINE/STREAM/TOPIC/PARTITION/OFFSET`,
    /// and `.PART` behind it for all but the first row of a message. It is of visible ASCII alone: other bytes of names are
    /// written as `%` and two hexadecimal digits, as in an address of the web.
    #[must_use]
    pub fn key(&self, place: Place) -> String {
        let mut key = String::new();
        for name in [&self.pipeline, &self.stream, &self.topic] {
            for byte in name.bytes() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                        key.push(char::from(byte));
                    }
                    _ => key.push_str(&format!("%{byte:02X}")),
                }
            }
            key.push('/');
        }
        key.push_str(&format!("{}/{}", self.partition, place.offset));
        if place.part > 0 {
            key.push_str(&format!(".{}", place.part));
        }
        key
    }
}

/// A message, and which of the rows that were made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The offset of the message.
    pub offset: u64,
    /// Which of its rows, from 0.
    pub part: u32,
}

/// How far a lane has come in a target, and what it was in front of: enough to notice that the topic is another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The offset of the next message to be delivered.
    pub next: u64,
    /// When the topic was made, in microseconds since the Unix epoch; 0 if the target does not keep that.
    pub topic_made_at: u64,
    /// The id of the message at `next - 1`; 0 if there is none.
    pub last_id: u128,
    /// Its time, in microseconds since the Unix epoch.
    pub last_time: u64,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn lane(pipeline: &str, stream: &str, topic: &str) -> LaneName {
        let (pipeline, stream, topic) = (pipeline.into(), stream.into(), topic.into());
        LaneName { pipeline, stream, topic, partition: 3 }
    }

    #[test]
    fn a_key_is_the_place_and_each_place_has_its_own() {
        let (first, second) = (Place { offset: 41, part: 0 }, Place { offset: 41, part: 2 });
        assert_eq!(lane("out", "shop", "orders").key(first), "out/shop/orders/3/41");
        assert_eq!(lane("out", "shop", "orders").key(second), "out/shop/orders/3/41.2");
        assert_eq!(lane("a/b", "ü %", "c\n").key(first), "a%2Fb/%C3%BC%20%25/c%0A/3/41");
        let names = ["a", "a/b", "b", "a%2Fb", "/", "b/c", ""];
        let mut keys = BTreeSet::new();
        for (pipeline, stream, topic) in names
            .iter()
            .flat_map(|one| names.iter().map(move |two| (one, two)))
            .flat_map(|(one, two)| names.iter().map(move |three| (one, two, three)))
        {
            for place in [first, second, Place { offset: 412, part: 0 }] {
                assert!(keys.insert(lane(pipeline, stream, topic).key(place)), "INV-PLACE-KEY");
            }
        }
    }
}
