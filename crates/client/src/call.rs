//! One command and its reply: encode, exchange, decode, and say what went wrong.

use bytes::Bytes;
use galgo_wire::command::Command;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::frame::put_request;
use galgo_wire::name::NameError;
use galgo_wire::permission::Action;
use galgo_wire::primitive::Payload;

use crate::connection::NoReply;
use crate::error::advice::REQUEST_TOO_LARGE;
use crate::{CallError, Client, InvalidRequest, SendError, ServerError};

impl Client {
    /// Carries out `command`. `operation` and `target` name it in errors.
    pub(crate) async fn call<C: Command>(
        &self,
        command: &C,
        operation: &'static str,
        target: impl Fn() -> String,
    ) -> Result<C::Reply, CallError> {
        let frame = frame(command)?;
        let answer = self.connection.exchange(frame, C::CODE.repeat().into()).await;
        let payload = answer.map_err(|failure| {
            failure.into_call(operation, target).needing(command.right().action())
        })?;
        C::Reply::from_bytes(&payload)
            .map_err(|code| CallError::Reply { operation, reason: code.to_string() })
    }
}

/// The request frame of `command`.
pub(crate) fn frame<C: Command>(command: &C) -> Result<Bytes, InvalidRequest> {
    let mut out = Vec::new();
    put_request(&mut out, C::CODE.as_u32(), |out| command.encode(out)).map_err(|_| too_large())?;
    Ok(out.into())
}

/// A request that does not fit a frame.
pub(crate) fn too_large() -> InvalidRequest {
    let max = u32::MAX as usize;
    InvalidRequest::TooLarge { what: "request", len: max + 1, max }
}

/// Makes a name of an argument.
pub(crate) fn name<N: std::str::FromStr<Err = NameError>>(
    what: &'static str,
    text: &str,
) -> Result<N, InvalidRequest> {
    text.parse()
        .map_err(|error: NameError| InvalidRequest::Name { what, reason: error.to_string() })
}

impl NoReply {
    pub(crate) fn into_call(
        self,
        operation: &'static str,
        target: impl FnOnce() -> String,
    ) -> CallError {
        let target = target();
        match self {
            Self::Refused(number) => ServerError::new(number, operation, target).into(),
            Self::Unknown(fate) => CallError::Unknown { operation, target, fate },
            Self::NotSent(reason) => CallError::NotSent { operation, target, reason },
        }
    }

    pub(crate) fn into_send(self, topic: String) -> SendError {
        match self {
            Self::Refused(number) => {
                let refusal = ServerError::new(number, "send messages to topic", topic);
                let refusal = match refusal.is(ErrorCode::TooBigMessagePayload) {
                    // Each message was within its limit when it was taken here.
                    true => refusal.meaning(&REQUEST_TOO_LARGE),
                    false => refusal,
                };
                SendError::Server(refusal.needing(Some(Action::SendMessages)))
            }
            Self::Unknown(fate) => SendError::Unknown { topic, fate },
            Self::NotSent(reason) => SendError::NotSent { topic, reason },
        }
    }
}
