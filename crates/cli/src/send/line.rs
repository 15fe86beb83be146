//! Divides a file or a stream into lines, a block at a time.
//!
//! The bytes of a line are sent as they are, without the line feed and a carriage return
//! before it; no encoding is assumed. A last line without a line feed is a line. Memory is bounded
//! by one block plus one line, whatever the length of the input.

use std::io::{self, BufRead as _, BufReader, Read};

use thiserror::Error;

/// Bytes and lines of one block handed from the reading thread to the sending task.
const BLOCK_BYTES: usize = 256 * 1024;
pub(super) const BLOCK_LINES: usize = 4096;

/// Bytes asked of the input at once.
const READ_BYTES: usize = 256 * 1024;
const _: () = assert!(
    READ_BYTES <= BLOCK_BYTES && BLOCK_LINES < BLOCK_BYTES,
    "a block ends with a read or with its lines, whatever comes first"
);

/// One line that is to become a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its number in the input, from 1, empty lines counted.
    pub(crate) number: u64,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

/// Some lines, and what else was passed over to get them.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The lines, in order.
    pub(crate) lines: Vec<Line>,
    /// Empty lines skipped among and after them.
    pub(crate) empty: u64,
    /// Bytes of the input they took, line ends included.
    pub(crate) consumed: u64,
}

/// Why the input could not be read on.
#[derive(Debug, Error)]
pub(crate) enum LineError {
    /// The line is longer than a message may be.
    #[error("line {number} is longer than {bytes_max} bytes, the largest message")]
    TooLong {
        /// Which line.
        number: u64,
        /// The limit.
        bytes_max: usize,
    },
    /// The input failed.
    #[error("cannot read line {number}: {source}")]
    Read {
        /// Which line.
        number: u64,
        /// What the system said.
        source: io::Error,
    },
}

/// Reads lines from an input.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: BufReader<R>,
    line_bytes_max: usize,
    next_number: u64,
}

impl<R: Read> Lines<R> {
    /// Reads `input`, refusing lines over `line_bytes_max`.
    pub(crate) fn new(input: R, line_bytes_max: usize) -> Self {
        Self { input: BufReader::with_capacity(READ_BYTES, input), line_bytes_max, next_number: 1 }
    }

    /// The next lines that are not empty, or `None` at the end of the input.
    ///
    /// What is available is handed on at once: a pipe that trickles is not held back.
    pub(crate) fn next_block(&mut self) -> Result<Option<Block>, LineError> {
        let (mut block, first) = (Block::default(), self.next_number);
        let mut bytes = 0;
        while bytes < BLOCK_BYTES && block.lines.len() < BLOCK_LINES {
            if block.consumed > 0 && !self.input.buffer().contains(&b'\n') {
                break;
            }
            let number = self.next_number;
            let mut line = Vec::new();
            let consumed = self.read_line(number, &mut line)?;
            if consumed == 0 {
                break;
            }
            self.next_number += 1;
            block.consumed += consumed;
            if line.is_empty() {
                block.empty += 1;
            } else {
                bytes += line.len();
                block.lines.push(Line { number, bytes: line });
            }
        }
        assert!(
            first + block.lines.len() as u64 + block.empty == self.next_number,
            "every line has its number, an empty one as well"
        );
        Ok((block.consumed > 0).then_some(block))
    }

    /// Reads one line without its end; returns how many bytes of the input it took.
    fn read_line(&mut self, number: u64, line: &mut Vec<u8>) -> Result<u64, LineError> {
        // Room for the longest line and its end, and one byte more to see that it goes on.
        let limit = self.line_bytes_max as u64 + 3;
        let consumed = (&mut self.input)
            .take(limit)
            .read_until(b'\n', line)
            .map_err(|source| LineError::Read { number, source })?;
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        if line.len() > self.line_bytes_max {
            return Err(LineError::TooLong { number, bytes_max: self.line_bytes_max });
        }
        Ok(consumed as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out its bytes a few at a time, as a pipe does.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let step = self.1.min(self.0.len()).min(buffer.len());
            let (now, later) = self.0.split_at(step);
            buffer[..step].copy_from_slice(now);
            self.0 = later;
            Ok(step)
        }
    }

    /// Input, the numbered lines in it, and how many were empty.
    type Case = (&'static [u8], &'static [(u64, &'static [u8])], u64);

    fn all(input: impl Read) -> (Vec<(u64, Vec<u8>)>, u64, u64) {
        let mut lines = Lines::new(input, 100);
        let (mut found, mut empty, mut consumed) = (Vec::new(), 0, 0);
        while let Some(block) = lines.next_block().unwrap() {
            found.extend(block.lines.into_iter().map(|line| (line.number, line.bytes)));
            empty += block.empty;
            consumed += block.consumed;
        }
        (found, empty, consumed)
    }

    #[test]
    fn lines_keep_their_bytes_and_numbers_however_they_arrive() {
        let cases: [Case; 8] = [
            (b"", &[], 0),
            (b"\n", &[], 1),
            (b"a", &[(1, b"a")], 0),
            (b"a\n", &[(1, b"a")], 0),
            (b"a\nb", &[(1, b"a"), (2, b"b")], 0),
            (b"a\r\n\r\nb\r\n", &[(1, b"a"), (3, b"b")], 1),
            (b"a\rb\n", &[(1, b"a\rb")], 0),
            (b"\xff\xfe\n\n\n\x00", &[(1, b"\xff\xfe"), (4, b"\x00")], 2),
        ];
        for (input, expected, expected_empty) in cases {
            for step in [1, 2, 3, 1000] {
                let (found, empty, consumed) = all(Trickle(input, step));
                let expected: Vec<_> =
                    expected.iter().map(|(number, bytes)| (*number, bytes.to_vec())).collect();
                assert_eq!(found, expected, "{input:?} by {step}");
                assert_eq!(empty, expected_empty, "{input:?} by {step}");
                assert_eq!(consumed, input.len() as u64);
            }
        }
    }

    #[test]
    fn a_carriage_return_at_the_very_end_is_kept() {
        assert_eq!(all(&b"a\r"[..]).0, [(1, b"a\r".to_vec())]);
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_over_it_is_refused_by_number() {
        let longest = "x".repeat(100);
        let fits = format!("a\n{longest}\r\nb\n");
        assert_eq!(all(fits.as_bytes()).0.len(), 3);
        let over = format!("a\n{longest}y\n");
        let mut lines = Lines::new(Trickle(over.as_bytes(), 2), 100);
        assert_eq!(lines.next_block().unwrap().unwrap().lines.len(), 1);
        let error = lines.next_block().unwrap_err();
        assert_eq!(error.to_string(), "line 2 is longer than 100 bytes, the largest message");
    }

    #[test]
    fn a_trickling_pipe_is_not_held_back() {
        let mut lines = Lines::new(Trickle(b"one\ntwo\n", 4), 100);
        assert_eq!(lines.next_block().unwrap().unwrap().lines.len(), 1);
        assert_eq!(lines.next_block().unwrap().unwrap().lines.len(), 1);
        assert!(lines.next_block().unwrap().is_none());
    }
}
