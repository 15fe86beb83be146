//! Peers that take their answers slowly.
//!
//! INV-TAKER: an answer that waits in memory is not there for ever.

use std::sync::Arc;

use galgo_broker::MessagesHead;
use galgo_storage::disk::{Disk as _, OpenMode, RealDisk};

use super::*;
use tokio::io::{AsyncReadExt as _, DuplexStream};

const PATIENCE: Duration = Duration::from_millis(300);
const ANSWER_BYTES: usize = 256 << 10;

impl Carrier for DuplexStream {}

/// Writes a large answer from memory to a peer that takes so many bytes at a time, so many times.
async fn answer_taken_by(bytes: usize, times: usize, pause: Duration) -> io::Result<()> {
    taken_by(vec![Slice::Memory(vec![0; ANSWER_BYTES])], (bytes, times, pause)).await
}

/// As [`answer_taken_by`], of these slices.
async fn taken_by(
    slices: Vec<Slice>,
    (bytes, times, pause): (usize, usize, Duration),
) -> io::Result<()> {
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
    let len = slices.iter().map(Slice::len).sum();
    let messages = MessagesReply { header: MessagesHead::Plain([0; 16]), slices, rest: None, len };
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

/// Each slice had the whole time, and what is sent from a file as much as it liked, while the memory behind
/// it waited.
#[tokio::test]
async fn all_slices_of_an_answer_in_memory_are_taken_in_one_time() {
    const SLICE_BYTES: usize = 2 << 10;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let file = RealDisk::new().open(&path, OpenMode::Create).unwrap();
    file.set_len(16 * SLICE_BYTES as u64).unwrap();
    let memory = || Slice::Memory(vec![0; SLICE_BYTES]);
    let in_file = |number: usize| Slice::File {
        file: Arc::clone(&file),
        position: (number * SLICE_BYTES) as u64,
        len: SLICE_BYTES as u64,
    };
    // A slice takes half of the patience, and there are sixteen.
    let slowly = (SLICE_BYTES, 16, PATIENCE / 2);
    let memory_only = (0..16).map(|_| memory()).collect();
    let error = taken_by(memory_only, slowly).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let memory_last = (0..15).map(in_file).chain([memory()]).collect();
    let error = taken_by(memory_last, slowly).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    taken_by((0..16).map(in_file).collect(), (SLICE_BYTES, 17, PATIENCE / 30)).await.unwrap();
}
