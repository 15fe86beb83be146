//! The newest log lines, kept in memory for the snapshot archive.
//!
//! Never more than [`RECENT_BYTES_MAX`] bytes.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use galgo_broker::snapshot::ENTRY_BYTES_MAX;

use super::streams;

/// Most bytes kept.
const RECENT_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(
    RECENT_BYTES_MAX <= ENTRY_BYTES_MAX,
    "the newest lines of the log are in a snapshot whole"
);

static RECENT: Mutex<VecDeque<u8>> = Mutex::new(VecDeque::new());

/// Takes a line for the log, and keeps a copy: nobody may be reading standard error.
pub(super) struct KeepingLog;

impl Write for KeepingLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        keep(&mut RECENT.lock().unwrap_or_else(PoisonError::into_inner), bytes);
        streams::log(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The newest lines, without the colors of a terminal.
pub(crate) fn lines() -> Vec<u8> {
    let kept = RECENT.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut kept = Vec::from(kept);
    if kept.len() >= RECENT_BYTES_MAX {
        // The oldest line may have lost its head.
        let end = kept.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        kept.drain(..end);
    }
    without_colors(&kept)
}

fn keep(kept: &mut VecDeque<u8>, bytes: &[u8]) {
    let (_, newest) = bytes.split_at(bytes.len().saturating_sub(RECENT_BYTES_MAX));
    let over = (kept.len() + newest.len()).saturating_sub(RECENT_BYTES_MAX);
    kept.drain(..over);
    kept.extend(newest);
}

fn without_colors(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut in_escape = false;
    for byte in text {
        match byte {
            0x1b => in_escape = true,
            b'm' if in_escape => in_escape = false,
            _ if in_escape => {}
            byte => plain.push(*byte),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_bytes_are_kept() {
        let mut kept = VecDeque::new();
        keep(&mut kept, &vec![b'a'; RECENT_BYTES_MAX]);
        keep(&mut kept, b"bc");
        assert_eq!(kept.len(), RECENT_BYTES_MAX);
        assert_eq!(kept.iter().rev().take(3).collect::<Vec<_>>(), [&b'c', &b'b', &b'a']);
        keep(&mut kept, &vec![b'd'; 2 * RECENT_BYTES_MAX]);
        assert!(kept.len() == RECENT_BYTES_MAX && kept.iter().all(|byte| *byte == b'd'));
    }

    #[test]
    fn colors_are_left_out() {
        assert_eq!(without_colors(b"\x1b[32m INFO\x1b[0m started\n"), b" INFO started\n");
    }
}
