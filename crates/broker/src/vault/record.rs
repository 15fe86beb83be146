//! Sealed metadata: records and snapshots.
//!
//! ```text
//! 0      1         2          6            18
//! | 0xE5 | version | key id   | nonce      | ciphertext of the record | tag, 16 |
//! | u8   | u8      | u32      | 12 bytes   |                          |         |
//! ```
//! No record or snapshot in the clear begins with 0xE5. The tag also covers what the record is, so that
//! a snapshot does not pass for a record.

use aws_lc_rs::aead::{Aad, NONCE_LEN};

use super::{ActiveKey, Vault, VaultError, nonce};

const SEALED: u8 = 0xE5;
const VERSION: u8 = 1;

/// What is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealedKind {
    /// One change.
    Record,
    /// The whole state.
    Snapshot,
}

impl SealedKind {
    fn covered(self) -> Aad<&'static [u8]> {
        Aad::from(match self {
            Self::Record => b"galgo metadata record",
            Self::Snapshot => b"galgo metadata snapshot",
        })
    }
}

/// The bytes to be written for `plain`: sealed when there is an active key. `None` is of the cipher.
pub(crate) fn seal(vault: Option<&Vault>, kind: SealedKind, plain: Vec<u8>) -> Option<Vec<u8>> {
    let Some(vault) = vault else { return Some(plain) };
    // There may be keys only for what was sealed before, and nothing new is sealed then.
    let Some(ActiveKey { id, key }) = vault.active() else { return Some(plain) };
    let nonce_bytes = vault.draw(1).next();
    let mut out = vec![SEALED, VERSION];
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&nonce_bytes);
    let mut body = plain;
    key.seal_in_place_append_tag(nonce(nonce_bytes), kind.covered(), &mut body).ok()?;
    out.append(&mut body);
    Some(out)
}

/// Whether these bytes are in the clear.
pub(crate) fn is_plain(stored: &[u8]) -> bool {
    stored.first() != Some(&SEALED)
}

/// What was sealed, from bytes that may also be in the clear.
///
/// # Errors
/// [`VaultError::Missing`], [`VaultError::Wrong`].
pub(crate) fn open(
    vault: Option<&Vault>,
    kind: SealedKind,
    stored: &[u8],
) -> Result<Vec<u8>, VaultError> {
    // From before encryption was turned on, until the metadata is written anew.
    let Some(sealed) = stored.strip_prefix(&[SEALED]) else { return Ok(stored.to_vec()) };
    let parts = || {
        let rest = sealed.strip_prefix(&[VERSION])?;
        let (id, rest) = rest.split_first_chunk::<4>()?;
        let (nonce_bytes, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
        Some((u32::from_le_bytes(*id), *nonce_bytes, rest))
    };
    let Some((id, nonce_bytes, ciphertext)) = parts() else {
        return Err(VaultError::Wrong { id: 0 });
    };
    let key = vault.and_then(|vault| vault.keys.get(id)).ok_or(VaultError::Missing { id })?;
    let mut body = ciphertext.to_vec();
    let plain = key
        .open_in_place(nonce(nonce_bytes), kind.covered(), &mut body)
        .map_err(|_| VaultError::Wrong { id })?;
    Ok(plain.to_vec())
}
