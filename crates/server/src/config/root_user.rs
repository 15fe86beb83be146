//! Who the root user is: from the environment, the well-known one of `--dev`, or a generated password.
//!
//! All of this counts only when the data directory is empty; afterwards the stored user is the truth.

use galgo_wire::limits::PASSWORD_BYTES_MAX;
use galgo_wire::{NameError, Password, Username};
use rand::RngExt as _;

use super::error::{ConfigError, RootUserError};
use super::load::Environment;

const USERNAME_VARIABLE: &str = "GALGO_ROOT_USERNAME";
const PASSWORD_VARIABLE: &str = "GALGO_ROOT_PASSWORD";

/// Name of the root user unless the environment chooses one.
const USERNAME_DEFAULT: &str = "galgo";

/// Password of the root user with `--dev`.
const PASSWORD_DEV: &str = "galgo";

/// Length of a generated password: 32 symbols of 5 bits, 160 bits.
const PASSWORD_GENERATED_BYTES: usize = 32;
const _: () = assert!(
    PASSWORD_GENERATED_BYTES * 2 <= PASSWORD_BYTES_MAX && PASSWORD_GENERATED_BYTES >= 16,
    "however it is written it is a password, and nobody guesses it"
);

/// Symbols of a generated password: 32 of them, none that is easily taken for another, and none that
/// needs quoting in a connection string or a shell.
const PASSWORD_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// The root user to create in an empty data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootAccount {
    /// Its name.
    pub(crate) username: Username,
    /// Its password.
    pub(crate) password: Password,
    /// Where the two come from.
    pub(crate) source: RootUserSource,
}

/// Where the root user's name and password come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RootUserSource {
    /// The environment.
    Environment,
    /// The well-known ones of `--dev`.
    Dev,
    /// Generated now; to be shown once.
    Generated,
}

/// Decides on the root user of a data directory that is still empty.
pub(crate) fn root_user(environment: &Environment, dev: bool) -> Result<RootAccount, ConfigError> {
    let chosen = (environment.get(USERNAME_VARIABLE), environment.get(PASSWORD_VARIABLE));
    let half = |set, missing| Err(ConfigError::RootUser(RootUserError::Half { set, missing }));
    let (username, password, source) = match chosen {
        (Some(username), Some(password)) => {
            (username.to_owned(), password.to_owned(), RootUserSource::Environment)
        }
        (Some(_), None) => return half(USERNAME_VARIABLE, PASSWORD_VARIABLE),
        (None, Some(_)) => return half(PASSWORD_VARIABLE, USERNAME_VARIABLE),
        (None, None) if dev => {
            (USERNAME_DEFAULT.to_owned(), PASSWORD_DEV.to_owned(), RootUserSource::Dev)
        }
        (None, None) => {
            (USERNAME_DEFAULT.to_owned(), generated_password(), RootUserSource::Generated)
        }
    };
    let invalid = |variable| {
        move |source: NameError| ConfigError::RootUser(RootUserError::Invalid { variable, source })
    };
    Ok(RootAccount {
        username: Username::parse(&username).map_err(invalid(USERNAME_VARIABLE))?,
        password: Password::parse(&password).map_err(invalid(PASSWORD_VARIABLE))?,
        source,
    })
}

/// A password nobody guesses.
pub(crate) fn generated_password() -> String {
    let mut random = rand::rng();
    (0..PASSWORD_GENERATED_BYTES)
        .map(|_| char::from(PASSWORD_ALPHABET[random.random_range(0..PASSWORD_ALPHABET.len())]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen<const N: usize>(
        pairs: [(&str, &str); N],
        dev: bool,
    ) -> Result<RootAccount, ConfigError> {
        root_user(&pairs.into_iter().collect(), dev)
    }

    #[test]
    fn the_environment_wins_over_dev() {
        let pairs = [("GALGO_ROOT_USERNAME", "iggy"), ("GALGO_ROOT_PASSWORD", "secret")];
        let user = chosen(pairs, true).unwrap();
        assert_eq!((user.username.as_str(), user.password.as_str()), ("iggy", "secret"));
        assert!(!format!("{user:?}").contains("secret"));
    }

    #[test]
    fn one_of_the_two_variables_alone_is_refused() {
        let error = chosen([("GALGO_ROOT_USERNAME", "iggy")], false).unwrap_err();
        assert!(
            error.to_string().starts_with("GALGO_ROOT_USERNAME is set but GALGO_ROOT_PASSWORD")
        );
        assert!(chosen([("GALGO_ROOT_PASSWORD", "iggy")], true).is_err());
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let long = "x".repeat(101);
        let pairs = [("GALGO_ROOT_USERNAME", "iggy"), ("GALGO_ROOT_PASSWORD", long.as_str())];
        let error = chosen(pairs, false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "GALGO_ROOT_PASSWORD: 101 bytes are too many, at most 100 are allowed"
        );
    }

    #[test]
    fn a_generated_password_is_long_and_never_the_same() {
        let (one, other) = (chosen([], false).unwrap(), chosen([], false).unwrap());
        assert_eq!(one.password.as_str().len(), 32);
        assert_ne!(one.password, other.password);
        assert_eq!(one.source, RootUserSource::Generated);
        assert_eq!(chosen([], true).unwrap().password.as_str(), "galgo");
    }
}
