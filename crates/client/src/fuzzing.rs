//! An entry for fuzzers: any bytes of a server.
//!
//! Only there with the feature `fuzzing` and in the tests of this crate.

use bytes::Bytes;
use galgo_wire::command as wire;
use galgo_wire::command::{Command, CommandVisitor, Payload};

use crate::connection::fuzzing::replies;
use crate::poll::PolledMessages;

#[cfg(test)]
mod tests;

/// `| bytes that come at once u8 | what a server sends ... |`: the same replies however the bytes are cut, each of
/// which is read as the answer to every command, or refused.
///
/// INV-PIPELINE: as many requests are answered as there are replies, in their order.
pub fn reply(input: &[u8]) {
    let Some((piece, bytes)) = input.split_first() else { return };
    let bytes = Bytes::copy_from_slice(bytes);
    let whole = replies(&bytes, bytes.len().max(1));
    let cut = replies(&bytes, usize::from(*piece).max(1));
    assert_eq!(cut, whole, "INV-PIPELINE: it depends on where the bytes are cut");
    let (answers, _) = whole;
    for payload in answers.iter().flatten() {
        decode(payload);
    }
}

fn decode(payload: &Bytes) {
    for polled in [PolledMessages::decode(payload), PolledMessages::decode_in_life(payload)] {
        let Ok(mut polled) = polled else { continue };
        assert!(polled.bytes_len() <= payload.len());
        let count = polled.len();
        assert_eq!(polled.cut_damaged().is_none(), polled.len() == count);
        for message in polled.messages() {
            let _ = message.headers();
        }
    }
    wire::visit_all(&mut ReadAs(payload));
}

/// Reads bytes as the reply to each command. Sends have no reply of their own.
struct ReadAs<'a>(&'a [u8]);

impl CommandVisitor for ReadAs<'_> {
    fn visit<C: Command>(&mut self) {
        encodes_to_itself::<C>(self.0);
    }
}

/// A reply that is read encodes to what is read as the same.
fn encodes_to_itself<C: Command>(payload: &[u8]) {
    if let Ok(reply) = C::Reply::from_bytes(payload) {
        let bytes = reply.to_bytes();
        let again = C::Reply::from_bytes(&bytes).map(|reply| reply.to_bytes());
        assert_eq!(again, Ok(bytes), "{}", C::CODE);
    }
}
