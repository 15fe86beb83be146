//! A connection that carries prepared requests: plain TCP without anything between, the rest over the SDK.
//!
//! Answers come in the order of the requests.

pub(crate) mod sdk;
pub(crate) mod tcp;

use std::time::Instant;

use bytes::Bytes;
use galgo_wire::error_code::ErrorCode;

use crate::course::Course;
use crate::error::{BenchCause, BenchError, Outcome};

/// Bytes in front of the messages in the answer to a poll.
pub(crate) const POLLED_HEAD_BYTES: usize = galgo_wire::limits::POLLED_HEADER_BYTES;

/// A request as the bytes of its frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PreparedFrame<'a> {
    /// Its front.
    pub(crate) head: &'a [u8],
    /// What follows; other frames may share it.
    pub(crate) body: &'a [u8],
    /// The head once more, if there is no body and it can be had without a copy.
    pub(crate) whole: Option<&'a Bytes>,
}

impl<'a> PreparedFrame<'a> {
    /// A frame that lies in one piece.
    pub(crate) fn plain(bytes: &'a [u8]) -> Self {
        Self { head: bytes, body: &[], whole: None }
    }
}

/// What is to become of an answer's payload.
#[derive(Debug)]
pub(crate) enum AnswerPayload<'a> {
    /// Nothing: it is thrown away, but for its first bytes.
    Discard,
    /// It is put here, in place of what is there.
    Keep(&'a mut Vec<u8>),
}

/// An answer, as far as it is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChannelAnswer {
    /// Bytes of its payload.
    pub(crate) bytes: usize,
    /// Its first bytes, if it has so many.
    pub(crate) head: Option<[u8; POLLED_HEAD_BYTES]>,
}

/// A logged-in connection.
pub(crate) trait Channel: Send {
    /// Sends a request, or gathers it until the next wait.
    ///
    /// # Errors
    /// The connection broke.
    fn send(&mut self, frame: PreparedFrame<'_>, course: &Course) -> Outcome;

    /// Waits for the next answer, at most until `until`.
    ///
    /// # Errors
    /// The connection broke, the server refused, or it takes too long.
    fn answer(
        &mut self,
        until: Option<Instant>,
        take: AnswerPayload<'_>,
        course: &Course,
    ) -> Outcome<Option<ChannelAnswer>>;

    /// Sends a request and throws its answer away.
    ///
    /// # Errors
    /// As those of its two steps.
    fn exchange(&mut self, frame: PreparedFrame<'_>, course: &Course) -> Outcome {
        self.send(frame, course)?;
        self.answer(None, AnswerPayload::Discard, course).map(drop)
    }

    /// Whether the next answer is there already.
    fn has_answer(&self) -> bool;

    /// Waits until `due`, with no request under way.
    fn sleep_until(&mut self, due: Instant);
}

/// The error that stands for a refusal.
pub(crate) fn refused(status: u32) -> BenchError {
    let code = ErrorCode::from_u32(status);
    let text = code.map_or("for a reason this tool does not know", ErrorCode::text);
    let what = format!("the server refused a request of the load: {text} (error {status})");
    let error = BenchError::from(BenchCause::Refused {
        what,
        status,
        name: code.map_or("", ErrorCode::name),
    });
    match code {
        Some(ErrorCode::Unauthorized) => error.hint(
            "the load needs a user who may send to and read from the streams it makes; \
             galgo permission get shows what a user may do",
        ),
        _ => error,
    }
}
