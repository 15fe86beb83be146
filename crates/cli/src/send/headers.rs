//! The headers that every message of a send carries.

use std::collections::BTreeSet;

use galgo::Message;

use crate::failure::{Failure, Outcome};
use crate::value::header::HeaderText;

/// Headers, known to be valid.
#[derive(Clone, Debug)]
pub(crate) struct Headers(Vec<HeaderText>);

impl Headers {
    /// Checks `headers` once, so that no line can fail for them and none is lost to another of its name.
    pub(crate) fn new(headers: Vec<HeaderText>) -> Outcome<Self> {
        let mut names = BTreeSet::new();
        if let Some(twice) = headers.iter().find(|header| !names.insert(header.key.clone())) {
            return Err(Failure::usage(format!("the header {} is given twice", twice.key))
                .hint("a message keeps one value of each header"));
        }
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
