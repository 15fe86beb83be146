//! Which lines the server has acknowledged.
//!
//! INV-ACK: a line is counted, and written to the acknowledgement log, only after the server has
//! acknowledged it. The log may therefore lack the last few when this process dies, never more.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use galgo::{ProduceError, Receipt};
use tokio::sync::mpsc;

use crate::failure::{Failure, Outcome};

/// A line on its way.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its number in the input.
    pub(crate) number: u64,
    /// Resolves when it is acknowledged.
    pub(crate) receipt: Receipt,
}

/// What became of the lines.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Lines the server has acknowledged.
    pub(crate) acknowledged: u64,
    /// The first line that it has not.
    pub(crate) first_failed: Option<u64>,
    /// Why.
    pub(crate) cause: Option<ProduceError>,
    /// What was wrong with the acknowledgement log.
    pub(crate) log_error: Option<io::Error>,
}

/// Settles the entries in the order they were sent, until the sender is dropped.
pub(crate) async fn settle(mut entries: mpsc::Receiver<Entry>, mut log: Option<AckLog>) -> Tally {
    let mut tally = Tally::default();
    while let Some(entry) = entries.recv().await {
        match entry.receipt.await {
            Ok(()) => {
                tally.acknowledged += 1;
                let written = log.as_mut().map_or(Ok(()), |log| log.add(entry.number));
                // What follows could be acknowledged and not logged: no use going on.
                if let Err(error) = written {
                    tally.log_error = Some(error);
                    break;
                }
            }
            Err(cause) => {
                tally.first_failed.get_or_insert(entry.number);
                tally.cause.get_or_insert(cause);
            }
        }
        if entries.is_empty()
            && let Some(Err(error)) = log.as_mut().map(AckLog::flush)
        {
            tally.log_error = Some(error);
            break;
        }
    }
    tally
}

/// A file with the number of every acknowledged line, one on a line.
#[derive(Debug)]
pub(crate) struct AckLog {
    file: BufWriter<File>,
}

impl AckLog {
    /// Opens the log at `path` and returns it with the lines it already lists.
    pub(crate) fn open(path: &Path) -> Outcome<(Self, LineSet)> {
        let failed = |error| Failure::io(format!("cannot use {}: {error}", path.display()));
        let listed = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let (lines, whole_bytes) = LineSet::parse(&listed).ok_or_else(|| not_a_log(path))?;
        let file = File::options().create(true).append(true).open(path).map_err(failed)?;
        // A number cut short by a crash would read as another number.
        file.set_len(whole_bytes).map_err(failed)?;
        Ok((Self { file: BufWriter::new(file) }, lines))
    }

    fn add(&mut self, number: u64) -> io::Result<()> {
        writeln!(self.file, "{number}")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn not_a_log(path: &Path) -> Failure {
    let path: PathBuf = path.to_owned();
    Failure::usage(format!("{} is not an acknowledgement log", path.display()))
        .hint("it must hold line numbers, one on a line; name a file that does not exist yet")
}

/// A set of line numbers, asked in ascending order.
#[derive(Debug, Default)]
pub(crate) struct LineSet {
    /// Ranges without overlap, ascending, both ends included.
    ranges: Vec<(u64, u64)>,
    cursor: usize,
}

impl LineSet {
    /// Reads numbers, one on a line; returns them and the length of the whole lines among `bytes`.
    fn parse(bytes: &[u8]) -> Option<(Self, u64)> {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text = std::str::from_utf8(bytes.get(..whole)?).ok()?;
        let mut numbers: Vec<u64> =
            text.lines().map(|line| line.parse().ok()).collect::<Option<_>>()?;
        numbers.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some((_, last)) if number <= last.saturating_add(1) => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        Some((Self { ranges, cursor: 0 }, whole as u64))
    }

    /// Whether `number` is in the set; never ask for one below an earlier one.
    pub(crate) fn contains(&mut self, number: u64) -> bool {
        while let Some((first, last)) = self.ranges.get(self.cursor) {
            if number <= *last {
                return number >= *first;
            }
            self.cursor += 1;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(listed: &[u8], up_to: u64) -> Vec<u64> {
        let (mut set, _) = LineSet::parse(listed).unwrap();
        (0..=up_to).filter(|number| set.contains(*number)).collect()
    }

    #[test]
    fn numbers_come_in_any_order() {
        assert!(members(b"", 3).is_empty());
        assert_eq!(members(b"5\n1\n2\n2\n9\n3\n", 10), [1, 2, 3, 5, 9]);
    }

    #[test]
    fn a_number_cut_short_does_not_count() {
        let (mut set, whole) = LineSet::parse(b"7\n12").unwrap();
        assert_eq!(whole, 2);
        assert!(set.contains(7));
        assert!(!set.contains(12));
        assert!(LineSet::parse(b"seven\n").is_none());
        assert!(LineSet::parse(b"\xff\n").is_none());
    }

    #[test]
    fn a_log_that_was_cut_short_goes_on_after_its_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ack");
        std::fs::write(&path, "1\n2\n34").unwrap();
        let (mut log, mut lines) = AckLog::open(&path).unwrap();
        assert!(lines.contains(2) && !lines.contains(34));
        log.add(3).unwrap();
        log.flush().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n3\n");
    }

    #[test]
    fn another_file_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes");
        std::fs::write(&path, "do not lose this\n").unwrap();
        assert_eq!(AckLog::open(&path).unwrap_err().exit_code(), 2);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "do not lose this\n");
    }
}
