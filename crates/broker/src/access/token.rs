//! The texts of personal access tokens, and what is kept of them.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use galgo_wire::limits::SECRET_BYTES_MAX;
use galgo_wire::name::{NameError, TokenText};

use crate::environment::Random;
use crate::metadata::TokenHash;

/// Random bytes of a token.
const TOKEN_BYTES: usize = 50;

const _: () = assert!(
    TOKEN_BYTES.div_ceil(3) * 4 <= SECRET_BYTES_MAX,
    "a token in base64 is a secret as the wire carries them"
);
const _: () = assert!(TOKEN_BYTES * 8 == 400, "INV-TOKEN-HASH: too many random bits to be guessed");

/// A new token nobody can guess: 68 characters of base64.
///
/// # Errors
/// None in practice: the text has the length of a token.
pub(crate) fn new_token(random: &dyn Random) -> Result<TokenText, NameError> {
    // 400 bits, so that a fast hash is enough to keep (INV-TOKEN-HASH).
    let bytes = std::iter::repeat_with(|| random.next_u128().to_le_bytes());
    let bytes: Vec<u8> = bytes.flatten().take(TOKEN_BYTES).collect();
    TokenText::parse(&STANDARD.encode(bytes))
}

/// What is kept of a token.
pub(crate) fn hash_token(text: &TokenText) -> TokenHash {
    let hash = digest(&SHA256, text.as_str().as_bytes());
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    TokenHash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::ManualEnvironment;

    #[test]
    fn a_token_is_68_characters_and_never_the_same() {
        let random = ManualEnvironment::new(0, 1);
        let (one, other) = (new_token(&random).unwrap(), new_token(&random).unwrap());
        assert_eq!(one.as_str().len(), 68);
        assert_eq!(STANDARD.decode(one.as_str()).unwrap().len(), TOKEN_BYTES);
        assert_ne!(one, other);
        assert_ne!(hash_token(&one), hash_token(&other));
    }

    #[test]
    fn the_hash_is_the_sha_256_of_the_text() {
        let hash = hash_token(&TokenText::parse("abc").unwrap());
        assert_eq!(hash.0[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(hash.0[28..], [0xf2, 0x00, 0x15, 0xad]);
    }
}
