//! Finds the frames in bytes that arrive in pieces. Nothing is copied, and nothing is kept but how much of a
//! refused payload is still to come.

use std::ops::Range;

use super::{RequestHeader, ResponseHeader};
use crate::error_code::ErrorCode;
use crate::index::{part, to_usize};
use crate::limits::{REQUEST_HEADER_BYTES, RESPONSE_HEADER_BYTES};

/// What stands at the front of the bytes that are here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut<H> {
    /// A whole frame. It stays at the front until the bytes that are shown begin where its payload ends.
    Frame {
        /// Its header.
        header: H,
        /// Where its payload lies in the bytes that were shown.
        payload: Range<usize>,
    },
    /// A part of a frame, or nothing.
    Partial {
        /// Bytes of the whole frame; of its header while that is not all here.
        whole: usize,
    },
}

/// What a receiver of requests makes of one whose header is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Its payload is waited for.
    Accept,
    /// It is answered with the error once its payload has been received and thrown away.
    Discard(ErrorCode),
    /// It is answered with the error at once; its payload is thrown away as it comes.
    AnswerAndDiscard(ErrorCode),
}

/// What [`RequestCutter::cut`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestCut {
    /// Bytes at the front that are done with; the next cut begins behind them.
    pub spent: usize,
    /// What stands behind them, or the error that answers a refused request.
    pub front: Result<Cut<RequestHeader>, ErrorCode>,
}

/// Cuts a stream of bytes into requests. Refused ones are thrown away, and answered in their turn.
#[derive(Debug, Default)]
pub struct RequestCutter {
    /// Bytes of a refused payload that are still to come.
    discard: u64,
    /// What answers a refused request once all of it is gone.
    refusal: Option<ErrorCode>,
}

impl RequestCutter {
    /// Looks at `bytes`, the stream from where the last cut left off; `admit` judges a header, in which a
    /// receiver applies its limits.
    pub fn cut(
        &mut self,
        bytes: &[u8],
        admit: impl FnOnce(RequestHeader) -> Admission,
    ) -> RequestCut {
        let spent = self.throw_away(bytes.len());
        if self.discard > 0 {
            return RequestCut { spent, front: Ok(NO_HEADER) };
        }
        if let Some(error) = self.refusal.take() {
            return RequestCut { spent, front: Err(error) };
        }
        let behind = part(bytes, spent.., "INV-IN-STEP: no more is spent than is here");
        let Some(header) = behind.first_chunk() else {
            return RequestCut { spent, front: Ok(NO_HEADER) };
        };
        let behind_header = spent + REQUEST_HEADER_BYTES;
        let header = match RequestHeader::read(*header) {
            Ok(header) => header,
            Err(error) => return RequestCut { spent: behind_header, front: Err(error) },
        };
        match admit(header) {
            Admission::Accept => {
                let whole = REQUEST_HEADER_BYTES + to_usize(header.payload_len);
                let front = match bytes.len() - spent >= whole {
                    true => Cut::Frame { header, payload: behind_header..spent + whole },
                    false => Cut::Partial { whole },
                };
                RequestCut { spent, front: Ok(front) }
            }
            Admission::AnswerAndDiscard(error) => {
                // Remembered before the answer leaves: the next cut begins in the middle of this payload.
                self.discard = header.payload_len.into();
                RequestCut { spent: behind_header, front: Err(error) }
            }
            Admission::Discard(error) => {
                self.discard = header.payload_len.into();
                let spent = behind_header + self.throw_away(bytes.len() - behind_header);
                if self.discard == 0 {
                    return RequestCut { spent, front: Err(error) };
                }
                self.refusal = Some(error);
                RequestCut { spent, front: Ok(NO_HEADER) }
            }
        }
    }

    /// Refuses the accepted request at the front after all. What is here of it is spent; so many bytes of it are
    /// still to come and thrown away, then `error` answers it.
    pub fn give_up(&mut self, still_to_come: u64, error: ErrorCode) {
        self.discard = still_to_come;
        self.refusal = Some(error);
    }

    /// Whether the rest of a refused request is being thrown away.
    #[must_use]
    pub fn is_discarding(&self) -> bool {
        self.discard > 0
    }

    /// Throws away what is here of a refused payload, `here` bytes at most; returns how many those are.
    fn throw_away(&mut self, here: usize) -> usize {
        let gone = to_usize(self.discard).min(here);
        self.discard -= gone as u64;
        gone
    }
}

/// What there is while a header is not all here.
const NO_HEADER: Cut<RequestHeader> = Cut::Partial { whole: REQUEST_HEADER_BYTES };

/// Why bytes are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// Its length is over the limit of whoever reads it.
    #[error("a reply of {len} bytes, over the limit of {max}")]
    TooLarge {
        /// Bytes of the payload it announces.
        len: usize,
        /// Most bytes of a payload.
        max: usize,
    },
    /// It tells of a failure and announces a payload, which no failure has.
    #[error("an error reply has a payload")]
    FailureWithPayload,
}

/// Cuts a stream of bytes into replies.
#[derive(Clone, Copy, Debug)]
pub struct ReplyCutter {
    payload_bytes_max: usize,
}

impl ReplyCutter {
    /// Takes replies with payloads of up to so many bytes.
    #[must_use]
    pub fn new(payload_bytes_max: usize) -> Self {
        Self { payload_bytes_max }
    }

    /// Looks at `bytes`, the stream from where the last reply ended.
    ///
    /// # Errors
    /// [`Garbled`]: there is no telling where the next reply begins.
    pub fn cut(self, bytes: &[u8]) -> Result<Cut<ResponseHeader>, Garbled> {
        let Some(header) = bytes.first_chunk() else {
            return Ok(Cut::Partial { whole: RESPONSE_HEADER_BYTES });
        };
        let header = ResponseHeader::read(*header);
        let (len, max) = (to_usize(header.payload_len), self.payload_bytes_max);
        // Looked at before the limit: whatever its length, a failure with a payload means that the stream is out
        // of step.
        if header.status != 0 && len > 0 {
            return Err(Garbled::FailureWithPayload);
        }
        if len > max {
            return Err(Garbled::TooLarge { len, max });
        }
        let whole = RESPONSE_HEADER_BYTES + len;
        Ok(match bytes.len() >= whole {
            true => Cut::Frame { header, payload: RESPONSE_HEADER_BYTES..whole },
            false => Cut::Partial { whole },
        })
    }
}

impl<H> Cut<H> {
    /// Bytes of the whole frame, as far as its header tells: those of a header while that is not all here.
    #[must_use]
    pub fn whole(&self) -> usize {
        match self {
            Self::Frame { payload, .. } => REQUEST_HEADER_BYTES + payload.len(),
            Self::Partial { whole } => *whole,
        }
    }
}

const _: () =
    assert!(REQUEST_HEADER_BYTES == RESPONSE_HEADER_BYTES, "a frame is as long either way");

#[cfg(test)]
mod tests;
