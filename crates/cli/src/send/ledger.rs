//! Which lines the server has acknowledged.
//!
//! INV-ACK: a line is counted, and written to the acknowledgement log, only after the server has
//! acknowledged it. The log may therefore lack the last few when this process dies, never more.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use galgo::{ProduceError, Receipt};
use tokio::sync::mpsc;

use crate::failure::{Failure, Outcome};

/// A line on its way.
#[derive(Debug)]
pub(crate) struct LineOnItsWay {
    /// Its number in the input.
    pub(crate) number: u64,
    /// Resolves when it is acknowledged.
    pub(crate) receipt: Receipt,
}

/// What became of the lines.
#[derive(Debug, Default)]
pub(crate) struct LineTally {
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
pub(crate) async fn settle(
    mut entries: mpsc::Receiver<LineOnItsWay>,
    mut log: Option<AckLog>,
) -> LineTally {
    let mut tally = LineTally::default();
    while let Some(entry) = entries.recv().await {
        match entry.receipt.await {
            // INV-ACK: the receipt is the server's word; only behind it is the line counted and logged.
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
        // Whenever nothing more waits: a crash of the tool then costs the log a burst of lines at most, which are sent
        // again, and a busy send does not pay a system call for each line.
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
    /// Opens the log at `path` and returns it with the lines it already lists. However long the log is, it is read
    /// piece by piece, and kept as runs of numbers.
    pub(crate) fn open(path: &Path) -> Outcome<(Self, LineSet)> {
        let failed = |error| Failure::io(format!("cannot use {}: {error}", path.display()));
        let listed: Box<dyn Read> = match File::open(path) {
            Ok(file) => Box::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Box::new(io::empty()),
            Err(error) => return Err(failed(error)),
        };
        let (lines, whole_bytes) = LineSet::read(listed).map_err(|error| match error {
            LogError::Read(error) => failed(error),
            LogError::NotALog => not_a_log(path),
            LogError::TooManyGaps => too_many_gaps(path),
        })?;
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

fn too_many_gaps(path: &Path) -> Failure {
    Failure::usage(format!(
        "{} lists lines with more than {RUNS_MAX} gaps between them",
        path.display()
    ))
    .hint("that is more than sends leave behind; sort its numbers, or send the rest by other means")
}

/// Most runs of numbers of a log: some 64 MiB of them. A send that breaks off leaves one gap for each line that was
/// under way, a few ten thousand at most.
const RUNS_MAX: usize = 1 << 20;
const _: () = assert!(
    RUNS_MAX * size_of::<(u64, u64)>() <= 64 << 20,
    "a log that is read takes little memory, whatever is in it"
);

/// Longest line of a log: the digits of the largest number.
const DIGITS_MAX: usize = 20;
const _: () = assert!(
    DIGITS_MAX == u64::MAX.ilog10() as usize + 1,
    "every number of a line is a line of a log"
);

/// Why a log cannot be used.
#[derive(Debug)]
enum LogError {
    Read(io::Error),
    NotALog,
    TooManyGaps,
}

/// A set of line numbers, asked in ascending order.
#[derive(Debug, Default)]
pub(crate) struct LineSet {
    /// Ranges without overlap, ascending, both ends included.
    ranges: Vec<(u64, u64)>,
    cursor: usize,
}

/// Numbers in any order, gathered to runs.
#[derive(Default)]
struct Runs {
    /// First and last number of each run; no two of them touch.
    ends: BTreeMap<u64, u64>,
    /// The run that grew last, which is the one that grows next in a log as it is written.
    growing: Option<(u64, u64)>,
}

impl Runs {
    fn add(&mut self, number: u64) -> Result<(), LogError> {
        if let Some((first, last)) = self.growing {
            if (first..=last).contains(&number) {
                return Ok(());
            }
            if last.checked_add(1) == Some(number) {
                self.growing = Some((first, number));
                return Ok(());
            }
        }
        self.settle();
        if self.ends.len() >= RUNS_MAX {
            return Err(LogError::TooManyGaps);
        }
        self.growing = Some((number, number));
        Ok(())
    }

    /// Puts the run that grew among the others, and joins those it touches.
    fn settle(&mut self) {
        let Some((mut first, mut last)) = self.growing.take() else { return };
        let reach = last.saturating_add(1);
        while let Some((&from, &to)) = self.ends.range(..=reach).next_back()
            && to.saturating_add(1) >= first
        {
            self.ends.remove(&from);
            (first, last) = (first.min(from), last.max(to));
        }
        self.ends.insert(first, last);
        assert!(
            first <= last && self.ends.len() <= RUNS_MAX,
            "a run has a line, and there are no more runs than may be"
        );
    }
}

impl LineSet {
    /// Reads numbers, one on a line; returns them and the length of the whole lines.
    fn read(log: impl Read) -> Result<(Self, u64), LogError> {
        let mut log = BufReader::new(log);
        let (mut runs, mut whole_bytes) = (Runs::default(), 0);
        let mut line = Vec::with_capacity(DIGITS_MAX + 2);
        loop {
            line.clear();
            // Room for the digits, the end of the line, and one byte more to see that it goes on.
            let room = DIGITS_MAX as u64 + 2;
            log.by_ref().take(room).read_until(b'\n', &mut line).map_err(LogError::Read)?;
            match line.strip_suffix(b"\n") {
                Some(digits) => {
                    let number = std::str::from_utf8(digits).ok().and_then(|it| it.parse().ok());
                    runs.add(number.ok_or(LogError::NotALog)?)?;
                    whole_bytes += line.len() as u64;
                }
                // What a crash cut short does not count.
                None if line.len() <= DIGITS_MAX && line.iter().all(u8::is_ascii_digit) => break,
                None => return Err(LogError::NotALog),
            }
        }
        runs.settle();
        let ranges = runs.ends.into_iter().collect();
        Ok((Self { ranges, cursor: 0 }, whole_bytes))
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
        let (mut set, _) = LineSet::read(listed).unwrap();
        (0..=up_to).filter(|number| set.contains(*number)).collect()
    }

    #[test]
    fn numbers_come_in_any_order() {
        assert!(members(b"", 3).is_empty());
        assert_eq!(members(b"5\n1\n2\n2\n9\n3\n", 10), [1, 2, 3, 5, 9]);
    }

    #[test]
    fn a_number_cut_short_does_not_count() {
        let (mut set, whole) = LineSet::read(&b"7\n12"[..]).unwrap();
        assert_eq!(whole, 2);
        assert!(set.contains(7));
        assert!(!set.contains(12));
        for text in
            ["seven\n", "7\n\n", "7\nseven", "123456789012345678901", "18446744073709551616\n"]
        {
            assert!(LineSet::read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(LineSet::read(&b"\xff\n"[..]).is_err());
        // A log that is no log is not read to its end, however long its first line is.
        assert!(LineSet::read(io::repeat(b'7')).is_err());
    }

    #[test]
    fn runs_that_touch_become_one() {
        let listed = "5\n6\n9\n1\n2\n7\n8\n3\n4\n4\n18446744073709551615\n";
        let (set, _) = LineSet::read(listed.as_bytes()).unwrap();
        assert_eq!(set.ranges, [(1, 9), (u64::MAX, u64::MAX)]);
    }

    #[test]
    fn a_log_with_gaps_without_end_is_refused() {
        let mut runs = Runs::default();
        let refused = (0..).map(|it| 2 * it).find(|number| runs.add(*number).is_err());
        assert_eq!(refused, Some(2 * RUNS_MAX as u64), "the first that is one run too many");
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
