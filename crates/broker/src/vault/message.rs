//! Sealed messages.
//!
//! ```text
//! | header, 64 bytes | nonce, 12 | ciphertext of payload and user headers | tag, 16 |
//! ```
//! The header is that of a message without user headers whose payload is everything behind it; its
//! `reserved` field is `key id u32 | user headers length of the original u32`. What the tag covers
//! besides: the partition's uid and the header behind its checksum.

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN};
use galgo_wire::batch::{MESSAGE_HEADER_BYTES, MessageHeader, MessageRef, MessagesView, checksum};
use galgo_wire::id::{Offset, PartitionUid};
use galgo_wire::limits::SEALED_EXTRA_BYTES;

use super::{ActiveKey, Nonces, Vault, nonce};

const TAG_BYTES: usize = 16;
const _: () = assert!(NONCE_LEN + TAG_BYTES == SEALED_EXTRA_BYTES as usize);
/// Bytes of a header that its checksum covers.
const COVERED_BYTES: usize = MESSAGE_HEADER_BYTES - 8;
const UID_BYTES: usize = 8;

/// Why a stored message cannot be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unopened {
    /// Its key was not given.
    NoKey,
    /// It does not open with the key it names.
    Damaged(Offset),
}

impl Vault {
    /// Seals stamped messages of a partition; `None` when nothing is to be sealed.
    pub(crate) fn seal_messages(
        &self,
        uid: PartitionUid,
        messages: &[u8],
        count: u32,
    ) -> Result<Option<Vec<u8>>, Unsealed> {
        let Some(active) = self.active() else { return Ok(None) };
        let extra = count as usize * SEALED_EXTRA_BYTES as usize;
        let mut out = Vec::with_capacity(messages.len() + extra);
        // INV-NONCE: those that are not used, because a message cannot be sealed, are given to
        // nobody else.
        let mut nonces = self.draw(count);
        for message in MessagesView::new(messages) {
            let message = message.map_err(|_| Unsealed)?;
            seal(&message, &active, uid, &mut nonces, &mut out).ok_or(Unsealed)?;
        }
        Ok(Some(out))
    }

    /// The messages of a partition as they were sent, from as they are stored.
    pub(crate) fn open_messages(
        &self,
        uid: PartitionUid,
        stored: Vec<u8>,
        first: Offset,
    ) -> Result<Vec<u8>, Unopened> {
        let is_sealed = |message: &MessageRef<'_>| message.header.reserved != 0;
        if !MessagesView::new(&stored).flatten().any(|message| is_sealed(&message)) {
            // Messages from before encryption go on as they are, without a copy.
            return Ok(stored);
        }
        let mut out = Vec::with_capacity(stored.len());
        let mut next = first;
        for message in MessagesView::new(&stored) {
            let message = message.map_err(|_| Unopened::Damaged(next))?;
            if is_sealed(&message) {
                let id = message.header.reserved as u32;
                let Some(key) = self.keys.get(id) else {
                    self.tell_missing(id);
                    return Err(Unopened::NoKey);
                };
                open(&message, key, uid, &mut out).ok_or(Unopened::Damaged(next))?;
            } else {
                out.extend_from_slice(message.bytes);
            }
            // Counted and not read out of the header, which of a damaged message says nothing.
            next = Offset::new(next.get().saturating_add(1));
        }
        Ok(out)
    }
}

/// The cipher refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsealed;

fn seal(
    message: &MessageRef<'_>,
    active: &ActiveKey<'_>,
    uid: PartitionUid,
    nonces: &mut Nonces,
    out: &mut Vec<u8>,
) -> Option<()> {
    let header = message.header;
    let body = message.bytes.get(MESSAGE_HEADER_BYTES..)?;
    let sealed = MessageHeader {
        checksum: 0,
        user_headers_length: 0,
        payload_length: u32::try_from(body.len()).ok()?.checked_add(SEALED_EXTRA_BYTES)?,
        reserved: u64::from(active.id) | u64::from(header.user_headers_length) << 32,
        ..header
    };
    let at = out.len();
    out.extend_from_slice(&sealed.to_bytes());
    let nonce_bytes = nonces.next();
    out.extend_from_slice(&nonce_bytes);
    let body_at = out.len();
    out.extend_from_slice(body);
    // As it is stored, but for the checksum, which covers the tag in its turn.
    let covered = Aad::from(covered(uid, &sealed));
    let room = out.get_mut(body_at..)?;
    let tag = active.key.seal_in_place_separate_tag(nonce(nonce_bytes), covered, room).ok()?;
    out.extend_from_slice(tag.as_ref());
    // Last (INV-CHECKSUM): that of the stored form, so that storage can check it without a key.
    put_checksum(out.get_mut(at..)?)
}

fn open(
    message: &MessageRef<'_>,
    key: &LessSafeKey,
    uid: PartitionUid,
    out: &mut Vec<u8>,
) -> Option<()> {
    let stored = message.header;
    // With the uid: a message from another partition does not open here, however sound it is.
    let covered = Aad::from(covered(uid, &stored));
    let (nonce_bytes, rest) = message.payload.split_first_chunk::<NONCE_LEN>()?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
    let user_headers_length = (stored.reserved >> 32) as u32;
    let body_bytes = u32::try_from(ciphertext.len()).ok()?;
    let header = MessageHeader {
        checksum: 0,
        user_headers_length,
        payload_length: body_bytes.checked_sub(user_headers_length)?,
        reserved: 0,
        ..stored
    };
    let at = out.len();
    out.extend_from_slice(&header.to_bytes());
    let body_at = out.len();
    out.resize(body_at + ciphertext.len(), 0);
    let room = out.get_mut(body_at..)?;
    // Where it does not open, the caller drops all of `out`: no part of an answer goes out.
    key.open_separate_gather(nonce(*nonce_bytes), covered, ciphertext, tag, room).ok()?;
    put_checksum(out.get_mut(at..)?)
}

fn covered(uid: PartitionUid, header: &MessageHeader) -> [u8; UID_BYTES + COVERED_BYTES] {
    let mut covered = [0; UID_BYTES + COVERED_BYTES];
    let (front, rest) = covered.split_at_mut(UID_BYTES);
    front.copy_from_slice(&uid.get().to_le_bytes());
    let header = header.to_bytes();
    rest.copy_from_slice(header.split_at(MESSAGE_HEADER_BYTES - COVERED_BYTES).1);
    covered
}

fn put_checksum(message: &mut [u8]) -> Option<()> {
    let sum = checksum(message);
    *message.first_chunk_mut::<8>()? = sum.to_le_bytes();
    Some(())
}
