//! The keys an operator gives: `id:base64` entries, one of them active.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Tells a key from others without telling anything else of it.
pub(super) type KeyCheck = [u8; 8];

/// What a key check is the authentication code of.
const CHECKED: &[u8] = b"galgo key check";

/// Why a text is not a list of keys. None of it is quoted: it may be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// An entry is not of the form `id:key`.
    #[error("key entry {entry} is not ID:KEY, with a number from 1 for the id")]
    Form {
        /// Which, from 1.
        entry: usize,
    },
    /// A key is not 32 bytes in base64.
    #[error("key {id} is not 32 bytes in base64 (make one with `openssl rand -base64 32`)")]
    Key {
        /// Its id.
        id: u32,
    },
    /// Two entries have the same id.
    #[error("key {id} is given twice")]
    Twice {
        /// The id.
        id: u32,
    },
    /// The active key is not among the keys.
    #[error("key {id} is to be used, but was not given")]
    Active {
        /// The id.
        id: u32,
    },
}

/// Keys by id, and the one that new data is sealed with.
#[derive(Default)]
pub struct KeyRing {
    keys: BTreeMap<u32, (LessSafeKey, KeyCheck)>,
    active: Option<u32>,
}

impl KeyRing {
    /// Reads entries separated by white space or commas; the rest of a line behind `#` is skipped. With
    /// `active` of `None` nothing new is sealed.
    ///
    /// # Errors
    /// [`KeyRingError`].
    pub fn parse(text: &str, active: Option<u32>) -> Result<Self, KeyRingError> {
        let lines =
            text.lines().map(|line| line.split_once('#').map_or(line, |(entries, _)| entries));
        let entries = lines.flat_map(|line| line.split([' ', '\t', ',', '\r']));
        let mut keys = BTreeMap::new();
        for (entry, text) in (1..).zip(entries.filter(|text| !text.is_empty())) {
            let (id, key) = text.split_once(':').ok_or(KeyRingError::Form { entry })?;
            let id: u32 = id.parse().map_err(|_| KeyRingError::Form { entry })?;
            // With 0 for its key a sealed message without user headers could not be told from one
            // that is not sealed.
            if id == 0 {
                return Err(KeyRingError::Form { entry });
            }
            let bytes = STANDARD.decode(key).ok().filter(|bytes| bytes.len() == KEY_BYTES);
            let bytes = bytes.ok_or(KeyRingError::Key { id })?;
            let unbound = UnboundKey::new(&AES_256_GCM, &bytes);
            let key = LessSafeKey::new(unbound.map_err(|_| KeyRingError::Key { id })?);
            if keys.insert(id, (key, check_of(&bytes))).is_some() {
                return Err(KeyRingError::Twice { id });
            }
        }
        match active.filter(|id| !keys.contains_key(id)) {
            Some(id) => Err(KeyRingError::Active { id }),
            None => Ok(Self { keys, active }),
        }
    }

    pub(super) fn get(&self, id: u32) -> Option<&LessSafeKey> {
        self.keys.get(&id).map(|(key, _)| key)
    }

    pub(super) fn check(&self, id: u32) -> Option<KeyCheck> {
        self.keys.get(&id).map(|(_, check)| *check)
    }

    pub(super) fn active(&self) -> Option<u32> {
        self.active
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

fn check_of(key: &[u8]) -> KeyCheck {
    let code = hmac::sign(&hmac::Key::new(HMAC_SHA256, key), CHECKED);
    let Some(check) = code.as_ref().first_chunk() else {
        unreachable!("an HMAC-SHA-256 has 32 bytes")
    };
    *check
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<_> = self.keys.keys().collect();
        f.debug_struct("Keys").field("ids", &ids).field("active", &self.active).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// INV-SECRET.
    #[test]
    fn keys_are_read_from_lines_and_lists_and_never_shown() {
        let (one, two) = (STANDARD.encode([1; 32]), STANDARD.encode([2; 32]));
        let text = format!("# keys of this node\n1:{one} # old\n\n2:{two},3:{one}\r\n");
        let keys = KeyRing::parse(&text, Some(2)).unwrap();
        assert_eq!(format!("{keys:?}"), "Keys { ids: [1, 2, 3], active: Some(2) }");
        assert!(KeyRing::parse("", None).unwrap().is_empty());
        let refused = |text: &str| KeyRing::parse(text, Some(1)).unwrap_err();
        assert_eq!(refused(&one), KeyRingError::Form { entry: 1 });
        assert_eq!(refused(&format!("0:{one}")), KeyRingError::Form { entry: 1 });
        assert_eq!(refused("1:c2hvcnQ="), KeyRingError::Key { id: 1 });
        assert_eq!(refused(&format!("1:{one} 1:{two}")), KeyRingError::Twice { id: 1 });
        assert_eq!(refused(&format!("2:{two}")), KeyRingError::Active { id: 1 });
    }
}
