//! Peers that take their answers slowly.
//!
//! INV-TAKER: an answer that waits in memory is not there for ever.

use super::*;
use tokio::io::{AsyncReadExt as _, DuplexStream};

const PATIENCE: Duration = Duration::from_millis(300);
const ANSWER_BYTES: usize = 256 << 10;

impl Carrier for DuplexStream {}

/// Writes a large answer from memory to a peer that takes so many bytes at a time, so many times.
async fn answer_taken_by(bytes: usize, times: usize, pause: Duration) -> io::Result<()> {
    let (mut ours, mut theirs) = tokio::io::duplex(64);
    let reading = tokio::spawn(async move {
        let mut scratch = vec![0; bytes];
        for _ in 0..times {
            if theirs.read_exact(&mut scratch).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    });
    let messages = MessagesReply {
        header: [0; 16],
        slices: vec![Slice::Memory(vec![0; ANSWER_BYTES])],
        len: ANSWER_BYTES as u64,
    };
    let written = Outbox::new(PATIENCE).messages(&messages, &mut ours).await;
    drop(ours);
    reading.await.unwrap();
    written
}

/// One byte in each write timeout kept an answer of megabytes in memory for weeks.
#[tokio::test]
async fn a_peer_that_takes_a_trickle_of_what_waits_in_memory_is_given_up() {
    // It would go on for thirty times the patience.
    let error = answer_taken_by(1, 900, PATIENCE / 30).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_peer_that_keeps_the_pace_gets_its_answer() {
    answer_taken_by(1 << 10, 257, Duration::ZERO).await.unwrap();
}
