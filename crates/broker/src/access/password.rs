//! Passwords: hashed with argon2id before they reach the metadata log, verified at login.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};

/// A hash could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password could not be hashed")]
pub struct HashError;

/// Hashes a password for storage, in PHC string form. Takes some 20 ms and 19 MiB by design.
///
/// # Errors
/// [`HashError`] when the parameters are refused, which they never are for a parsed password.
pub fn hash_password(password: &str, salt: u128) -> Result<String, HashError> {
    let hashed =
        Argon2::default().hash_password_with_salt(password.as_bytes(), &salt.to_le_bytes());
    hashed.map(|hash| hash.to_string()).map_err(|_| HashError)
}

/// Whether `password` is the one `hash` was made from. Takes as long as hashing.
#[must_use]
pub fn verify_password(password: &str, hash: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(hash) else { return false };
    Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok()
}

/// Takes the time of a verification, so that an unknown user cannot be told by the clock.
pub fn verify_nothing(password: &str) {
    let _ = hash_password(password, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_verifies() {
        let hash = hash_password("secret", 7).unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(!hash.contains("secret"));
        assert!(verify_password("secret", &hash));
        assert!(!verify_password("Secret", &hash));
        assert!(!verify_password("secret", "not a hash"));
    }
}
