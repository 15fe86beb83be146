//! A producer that does not wait for each answer: it keeps a number of requests in flight.
//!
//! It sends as many new requests as answers came in together, with one write, as a client with a queue does.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::time::Instant;

use crate::bench::worker::{Clock, Share, Work, lost};
use crate::failure::{Failure, Outcome};
use crate::interrupt::StopFlag;

/// Bytes of an answer without its payload: a status and a length.
const ANSWER_HEADER_BYTES: usize = 8;

/// Bytes of answers read at once.
const READ_BYTES: usize = 64 * 1024;

/// Does the work of one thread, with up to `in_flight` requests under way.
pub(crate) fn work(
    mut share: Share,
    in_flight: u32,
    clock: Clock,
    stop: &StopFlag,
) -> Outcome<Work> {
    let counted_from = Instant::now() + clock.warm_up;
    let end = counted_from + clock.counted;
    let mut done = Work::none()?;
    let mut frames = share.frames.iter().cycle().skip(share.first);
    let mut asked: VecDeque<Instant> = VecDeque::new();
    let mut answers = Answers::new();
    let mut free = in_flight as usize;
    let mut out = Vec::new();
    loop {
        let now = Instant::now();
        if now < end && !stop.is_set() {
            out.clear();
            for frame in frames.by_ref().take(free) {
                out.extend_from_slice(frame);
                asked.push_back(now);
            }
            share.connection.socket().write_all(&out).map_err(|error| lost(&error))?;
        } else if asked.is_empty() {
            return Ok(done);
        }
        free = answers.wait(share.connection.socket())?;
        let answered = Instant::now();
        for asked in asked.drain(..free.min(asked.len())) {
            done.requests += 1;
            if asked >= counted_from && answered <= end {
                done.latencies.record(answered - asked);
            }
        }
    }
}

/// Counts answers in a stream of bytes.
#[derive(Debug)]
struct Answers {
    buffer: Vec<u8>,
    /// Bytes at the front of the buffer that hold no whole answer yet.
    kept: usize,
}

impl Answers {
    fn new() -> Self {
        Self { buffer: vec![0; READ_BYTES], kept: 0 }
    }

    /// Waits until at least one whole answer is there, and returns how many are.
    fn wait(&mut self, from: &mut impl io::Read) -> Outcome<usize> {
        loop {
            let free = self.buffer.get_mut(self.kept..).unwrap_or_default();
            match from.read(free).map_err(|error| lost(&error))? {
                0 => return Err(lost(&io::ErrorKind::UnexpectedEof.into())),
                read => self.kept += read,
            }
            let (answers, bytes) = whole_answers(self.buffer.get(..self.kept).unwrap_or_default())?;
            self.buffer.copy_within(bytes..self.kept, 0);
            self.kept -= bytes;
            if answers > 0 {
                return Ok(answers);
            }
        }
    }
}

/// The number of whole answers at the front of `bytes`, and their bytes.
fn whole_answers(bytes: &[u8]) -> Outcome<(usize, usize)> {
    let (mut answers, mut position) = (0, 0);
    while let Some((header, payload)) =
        bytes.get(position..).and_then(|rest| rest.split_first_chunk::<ANSWER_HEADER_BYTES>())
    {
        let [s0, s1, s2, s3, l0, l1, l2, l3] = *header;
        match u32::from_le_bytes([s0, s1, s2, s3]) {
            0 => {}
            code => {
                let what = "the server refused a request of the bench";
                return Err(Failure::refused(what, code, ""));
            }
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if payload.len() < length {
            break;
        }
        answers += 1;
        position += ANSWER_HEADER_BYTES + length;
    }
    Ok((answers, position))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const EMPTY: [u8; 8] = [0; 8];
    const WITH_PAYLOAD: [u8; 11] = [0, 0, 0, 0, 3, 0, 0, 0, 7, 7, 7];

    #[test]
    fn answers_are_counted_however_they_are_cut() {
        let stream = [&EMPTY[..], &WITH_PAYLOAD, &EMPTY].concat();
        let ends = [8, 19, 27];
        for cut in 0..=stream.len() {
            let whole: Vec<_> = ends.iter().filter(|end| **end <= cut).collect();
            let expected = (whole.len(), whole.last().map_or(0, |end| **end));
            assert_eq!(whole_answers(&stream[..cut]).unwrap(), expected, "{cut}");
        }
    }

    #[test]
    fn waiting_goes_on_until_an_answer_is_whole() {
        let mut stream = (&WITH_PAYLOAD[..5]).chain(&WITH_PAYLOAD[5..]).chain(&EMPTY[..3]);
        let mut answers = Answers::new();
        assert_eq!(answers.wait(&mut stream).unwrap(), 1);
        assert!(answers.wait(&mut stream).is_err(), "the stream ends inside an answer");
    }

    #[test]
    fn a_refusal_is_a_failure() {
        assert!(whole_answers(&[3, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
