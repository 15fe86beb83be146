//! The headers that every message of a send carries.

use galgo::Message;

use crate::failure::{Failure, Outcome};
use crate::value::header::Header;

/// Headers, known to be valid.
#[derive(Clone, Debug)]
pub(crate) struct Headers(Vec<Header>);

impl Headers {
    /// Checks `headers` once, so that no line can fail for them.
    pub(crate) fn new(headers: Vec<Header>) -> Outcome<Self> {
        let checked = Self(headers);
        checked.try_message(vec![b'x'])?;
        Ok(checked)
    }

    /// A message with these headers.
    pub(crate) fn message(&self, payload: Vec<u8>) -> Outcome<Message> {
        if self.0.is_empty() { Ok(Message::new(payload)) } else { self.try_message(payload) }
    }

    fn try_message(&self, payload: Vec<u8>) -> Outcome<Message> {
        self.0.iter().try_fold(Message::new(payload), |message, header| {
            message.header(&header.key, header.value.as_str()).map_err(|error| {
                Failure::usage(format!("header {}={}: {error}", header.key, header.value))
            })
        })
    }
}
