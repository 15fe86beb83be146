//! What the tests of origins that are queues share: how they begin, and reading from them.

use galgo_connect::source::Source;
use galgo_connect::{Beginning, Chunk};

use crate::rig::number_of;

pub(crate) const FROM_NOW_ON: Beginning = Beginning { cursor: None, once: false };
pub(crate) const TO_THE_END: Beginning = Beginning { cursor: None, once: true };

/// Reads until so many were read; settles each chunk.
pub(crate) async fn read(source: &mut dyn Source, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let chunk = source.next().await.unwrap().unwrap();
        numbers.extend(numbers_of(&chunk));
        source.settled(&chunk.cursor).await.unwrap();
    }
    numbers
}

pub(crate) fn numbers_of(chunk: &Chunk) -> Vec<u64> {
    chunk.messages.iter().map(|message| number_of(&message.payload)).collect()
}
