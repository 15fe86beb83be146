//! Personal access tokens: one method per command.

use std::time::Duration;

use galgo_wire::command::tokens::{CreateToken, DeleteToken, GetTokens, Token};
use galgo_wire::measure::micros;

use crate::call::name;
use crate::{CallError, Client};

/// The expiry of a token that has none.
const NEVER: u64 = 0;

impl Client {
    /// Lists the caller's tokens, without their texts.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn tokens(&self) -> Result<Vec<Token>, CallError> {
        self.call(&GetTokens, "list tokens", String::new).await
    }

    /// Creates a token of the caller and returns its text, which the server shows this once.
    ///
    /// Log in with it by [`Credentials::token`](crate::Credentials::token). `expiry` counts from now;
    /// `None`: never expires.
    ///
    /// # Errors
    /// [`CallError`]; code `PersonalAccessTokenAlreadyExists` when the caller has one of this name,
    /// `PersonalAccessTokensLimitReached` when the caller has too many.
    pub async fn create_token(
        &self,
        name: &str,
        expiry: Option<Duration>,
    ) -> Result<String, CallError> {
        // 0 would mean never.
        let expiry_us = expiry.map_or(NEVER, |time| micros(time).max(1));
        let command = CreateToken { name: self::name("token name", name)?, expiry_us };
        let created = self.call(&command, "create token", || name.to_owned()).await?;
        Ok(created.token.as_str().to_owned())
    }

    /// Deletes a token of the caller; connections that logged in with it stay.
    ///
    /// # Errors
    /// [`CallError`]; code `ResourceNotFound` when the caller has none of this name.
    pub async fn delete_token(&self, name: &str) -> Result<(), CallError> {
        let command = DeleteToken { name: self::name("token name", name)? };
        self.call(&command, "delete token", || name.to_owned()).await
    }
}
