//! The lines a program writes.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::unix::pipe;

/// Bytes of the longest line of the protocol.
pub(crate) const LINE_BYTES_MAX: usize = 64_000_000;
/// Bytes that are read at a time.
const READ_BYTES: usize = 64 << 10;

/// Lines as they come.
#[derive(Debug)]
pub(crate) struct ProgramLines<R = pipe::Receiver> {
    from: R,
    buffer: BytesMut,
    /// Bytes in which there is no end of a line.
    searched: usize,
}

/// Why there is no line.
#[derive(Debug)]
pub(crate) enum NoLine {
    /// The output is closed.
    End,
    /// It is too long.
    TooLong,
    Io(io::Error),
}

impl<R: AsyncRead + Unpin> ProgramLines<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line, without its end. Nothing is lost when the wait is given up. What is behind the last end is no line.
    pub(crate) async fn next(&mut self) -> Result<BytesMut, NoLine> {
        loop {
            let Some(fresh) = self.buffer.get(self.searched..) else {
                unreachable!("what was searched is in the buffer")
            };
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(self.searched + at + 1);
                line.truncate(line.len() - 1);
                self.searched = 0;
                return Ok(line);
            }
            self.searched = self.buffer.len();
            if self.searched > LINE_BYTES_MAX {
                return Err(NoLine::TooLong);
            }
            self.buffer.reserve(READ_BYTES);
            match self.from.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(NoLine::End),
                Ok(_) => {}
                Err(error) => return Err(NoLine::Io(error)),
            }
        }
    }
}

/// Hands on what a program says to people, line by line: cut, without control characters, and not more than so many a second.
pub(super) async fn log(from: pipe::Receiver, pipeline: String) {
    /// Bytes of a line that are shown.
    const SHOWN: usize = 1024;
    /// Lines that are shown in a second.
    const LINES: u32 = 50;
    let mut from = from;
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let mut line = Vec::new();
    let (mut second, mut shown, mut hidden) = (tokio::time::Instant::now(), 0, 0_u64);
    loop {
        buffer.clear();
        let is_over = !matches!(from.read_buf(&mut buffer).await, Ok(count) if count > 0);
        for byte in buffer.iter().copied().chain(is_over.then_some(b'\n')) {
            if byte != b'\n' {
                if line.len() < SHOWN {
                    line.push(byte);
                }
                continue;
            }
            let words = super::own_words(&String::from_utf8_lossy(&line));
            line.clear();
            if words.is_empty() {
                continue;
            }
            if second.elapsed() >= std::time::Duration::from_secs(1) {
                if hidden > 0 {
                    tracing::warn!(pipeline, hidden, "program says more than is shown");
                }
                (second, shown, hidden) = (tokio::time::Instant::now(), 0, 0);
            }
            shown += 1;
            match shown <= LINES {
                true => tracing::info!(pipeline, words, "program says"),
                false => hidden += 1,
            }
        }
        if is_over {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_whole_in_whatever_pieces_they_are_read() {
        let (mut to, from) = tokio::io::duplex(3);
        let write = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut to, b"one\n\ntwo three\nrest").await.unwrap();
        });
        let mut lines = ProgramLines::new(from);
        let mut found = Vec::new();
        let end = loop {
            // Given up again and again.
            tokio::select! {
                biased;
                line = lines.next() => match line {
                    Ok(line) => found.push(String::from_utf8(line.to_vec()).unwrap()),
                    Err(end) => break end,
                },
                () = tokio::task::yield_now() => {}
            }
        };
        write.await.unwrap();
        assert_eq!(found, ["one", "", "two three"]);
        assert!(matches!(end, NoLine::End));
    }

    #[tokio::test]
    async fn a_line_without_end_is_given_up() {
        let mut lines = ProgramLines::new(tokio::io::repeat(b'x'));
        assert!(matches!(lines.next().await, Err(NoLine::TooLong)), "INV-EXEC-BOUND");
    }
}
