//! What a Galgo server can do beyond the classic protocol, asked only when it is needed.

use galgo_wire::command::Command;
use galgo_wire::command::extensions::{FeatureFlags, GetFeatures};
use galgo_wire::error_code::ErrorCode;

use crate::{CallError, Client, Unsupported};

impl Client {
    /// Carries out a command of the extension for durability per topic, or says that the server
    /// does not have it.
    pub(crate) async fn call_durability<C: Command>(
        &self,
        command: &C,
        operation: &'static str,
        target: impl Fn() -> String,
    ) -> Result<C::Reply, CallError> {
        if !self.has_durability().await? {
            return Err(DURABILITY.into());
        }
        self.call(command, operation, target).await
    }

    /// Asks the server, once per connection, for its extensions.
    async fn has_durability(&self) -> Result<bool, CallError> {
        let generation = self.connection.generation();
        if let Some((learned_at, known)) = *self.connection.extensions.lock()
            && learned_at == generation
        {
            return Ok(known);
        }
        let known = match self.call(&GetFeatures, "ask for features", String::new).await {
            Ok(features) => features.flags.contains(FeatureFlags::TOPIC_DURABILITY),
            // How a classic server answers a command it has never heard of.
            Err(error) if error.code() == Some(ErrorCode::InvalidCommand) => false,
            Err(error) => return Err(error),
        };
        *self.connection.extensions.lock() = Some((generation, known));
        Ok(known)
    }
}

const DURABILITY: Unsupported = Unsupported {
    what: "a durability per topic",
    instead: "leave the durability out to use the server's own",
};
