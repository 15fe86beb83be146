//! Passwords: hashed with argon2id before they reach the metadata log, verified at login.
//!
//! However many clients log in at once, the memory of [`HASHES_AT_ONCE_MAX`] hashes is
//! in use at most, and none of it once they are done. Work that hashes says so ([`Job::Hash`]), and whoever runs
//! jobs keeps to the number.
//!
//! [`Job::Hash`]: crate::outcome::Job::Hash

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// Hashes made at the same time; more would only share the processors and add up their memory.
pub const HASHES_AT_ONCE_MAX: u32 = 2;

/// Room a hash asks for, whatever it uses. The C library keeps freed blocks of up to 32 MiB for the
/// thread that had them; what is larger it maps, and gives back. Room that is not used costs nothing.
const ROOM_BLOCKS: usize = (33 << 20) / Block::SIZE;

const _: () = assert!(
    ROOM_BLOCKS >= Params::DEFAULT_M_COST as usize,
    "the memory of a hash fits the room that is asked for"
);
const _: () = assert!(
    ROOM_BLOCKS * Block::SIZE > 32 << 20,
    "the room is larger than what the C library keeps for a thread"
);
const _: () = assert!(HASHES_AT_ONCE_MAX > 0, "passwords are verified");

/// Bytes of a hash.
const HASH_BYTES: usize = Params::DEFAULT_OUTPUT_LEN;

const _: () = assert!(HASH_BYTES <= Output::MAX_LENGTH, "a hash is one that can be stored");

/// A hash could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password could not be hashed")]
pub struct HashError;

/// Hashes a password for storage, in PHC string form. Takes some 20 ms and 19 MiB by design.
///
/// # Errors
/// [`HashError`] when there is no memory for it, or the parameters are refused, which they never are for a parsed
/// password.
pub fn hash_password(password: &str, salt: u128) -> Result<String, HashError> {
    let salt = Salt::new(&salt.to_le_bytes()).map_err(|_| HashError)?;
    let (algorithm, version, params) =
        (Algorithm::default(), Version::default(), Params::default());
    let shown = ParamsString::try_from(&params).map_err(|_| HashError)?;
    let mut hash = [0; HASH_BYTES];
    derive(&Argon2::new(algorithm, version, params), password, &salt, &mut hash)?;
    let hash = PasswordHash {
        algorithm: algorithm.ident(),
        version: Some(version.into()),
        params: shown,
        salt: Some(salt),
        hash: Some(Output::new(&hash).map_err(|_| HashError)?),
    };
    Ok(hash.to_string())
}

/// Whether `password` is the one `hash` was made from. Takes as long as hashing.
#[must_use]
pub fn verify_password(password: &str, hash: &str) -> bool {
    let Ok(stored) = PasswordHash::new(hash) else { return false };
    let expected = stored.hash;
    // A hash that cannot be read lets nobody in: it was stored by something else than this program.
    // Outputs compare in constant time.
    expected.is_some() && again(password, &stored).ok() == expected
}

/// Hashes `password` with the salt and the parameters of `stored`.
fn again(password: &str, stored: &PasswordHash) -> Result<Output, HashError> {
    let algorithm = Algorithm::try_from(stored.algorithm.as_str()).map_err(|_| HashError)?;
    let version = stored.version.map(Version::try_from).transpose().map_err(|_| HashError)?;
    // Its own parameters and not today's: hashes made under others go on to verify.
    let params = Params::try_from(stored).map_err(|_| HashError)?;
    let salt = stored.salt.as_ref().ok_or(HashError)?;
    let mut hash = [0; Output::MAX_LENGTH];
    let len = stored.hash.as_ref().map_or(HASH_BYTES, |hash| hash.as_ref().len());
    let hash = hash.get_mut(..len).ok_or(HashError)?;
    derive(&Argon2::new(algorithm, version.unwrap_or_default(), params), password, salt, hash)?;
    Output::new(hash).map_err(|_| HashError)
}

/// Fills `hash`.
fn derive(
    argon2: &Argon2<'_>,
    password: &str,
    salt: &Salt,
    hash: &mut [u8],
) -> Result<(), HashError> {
    // Memory of its own for each hash, and given back behind it: threads of logins come and go, and what each had kept
    // would add up.
    let mut memory = Vec::new();
    // Where the system has no more, this hash fails and nothing else.
    memory.try_reserve_exact(ROOM_BLOCKS).map_err(|_| HashError)?;
    memory.resize(argon2.params().block_count(), Block::new());
    let made = argon2.hash_password_into_with_memory(password.as_bytes(), salt, hash, &mut memory);
    made.map_err(|_| HashError)
}

/// Takes the time of a verification, so that an unknown user cannot be told by the clock.
pub fn verify_nothing(password: &str) {
    // With any salt: only the time counts.
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
        assert!(!verify_password("secret", "$argon2id$v=19$m=8,t=1,p=1"));
    }
}
