//! Personal access tokens: always the caller's own.

use crate::error_code::ErrorCode;
use crate::id::Timestamp;
use crate::layout::{command, layout};
use crate::name::{Name, TokenName, TokenText};
use crate::permission::Right;
use crate::primitive::{Payload, Reader};
use serde::Serialize;

use super::users::LoggedIn;

command! {
    /// Lists the caller's tokens, without their texts.
    pub struct GetTokens -> Vec<Token>;
    right: Right::LoggedIn;
}

command! {
    /// Creates a token; its text is shown this once.
    pub struct CreateToken -> RawToken {
        /// The name, unique among the caller's tokens.
        name: TokenName,
        /// Microseconds from now until it expires; 0 and the largest number mean never.
        expiry_us: u64,
    }
    right: |_this| Right::LoggedIn;
}

command! {
    /// Deletes a token; connections that logged in with it stay.
    pub struct DeleteToken -> () {
        /// The name.
        name: Name,
    }
    right: |_this| Right::LoggedIn;
}

command! {
    /// Logs in with a token.
    pub struct LoginWithToken -> LoggedIn {
        /// The text of the token.
        token: TokenText,
    }
    right: |_this| Right::Public;
}

layout! {
    /// A personal access token, without its text.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct Token {
        /// The name.
        name: Name,
        /// When it expires, in microseconds since the Unix epoch, if ever.
        expiry_at: Option<Timestamp> as ExpiryOrNever,
    }
    json "PersonalToken";
}

layout! {
    /// The text of a new token.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct RawToken {
        /// The text, to be kept by the caller.
        token: TokenText,
    }
}

/// A time, or 0 for never.
struct ExpiryOrNever;

impl ExpiryOrNever {
    fn encode(value: &Option<Timestamp>, out: &mut Vec<u8>) {
        value.unwrap_or(Timestamp::ZERO).encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Option<Timestamp>, ErrorCode> {
        let at = Timestamp::decode(reader)?;
        Ok((at != Timestamp::ZERO).then_some(at))
    }
}
