//! The errors of the SDK, sorted by who has to act.

use galgo::{CallError, ConnectError, ErrorCode, ProduceError, SendError, ServerError};

use crate::dial::credentials_hint;
use crate::failure::{ExitKind, Failure};

/// The server refused.
impl From<&ServerError> for Failure {
    fn from(error: &ServerError) -> Self {
        let name = error.code().map_or("", ErrorCode::name);
        let failure = Self::refused(error, error.number(), name);
        if error.is(ErrorCode::Unauthenticated) {
            return failure.hint(credentials_hint());
        }
        if let Some(permission) = error.permission_needed() {
            let flag = permission.replace('_', "-");
            return failure.hint(format!(
                "it is the flag {flag} of galgo permission set, which replaces all a user may do; galgo \
                 permission show USER tells what that is"
            ));
        }
        failure
    }
}

/// There is no connection.
impl From<&ConnectError> for Failure {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::ConnectionString(_) | ConnectError::Credentials(_) => Self::usage(error),
            ConnectError::Login(refusal) => Self::from(refusal),
            // A file of this machine, like any other that cannot be read.
            ConnectError::TlsSetup(_) => Self::io(error),
            ConnectError::Handshake { source, .. } => tls(error, &source.to_string()),
            // In TLS 1.3 the server's verdict on the client comes after the handshake.
            ConnectError::Lost { loss, .. } => tls(error, &loss.to_string()),
            ConnectError::NotGalgo { hint, .. } if hint.contains("TLS; turn") => {
                Self::connection(error).hint("--tls turns it on; --tls-ca FILE names whom to trust")
            }
            _ => Self::connection(error),
        }
    }
}

/// There is no connection, and `text`, which says why, may name what TLS did not like.
fn tls(error: &ConnectError, text: &str) -> Failure {
    let option = [
        ("UnknownIssuer", "--tls-ca FILE trusts the authority whose certificate is in FILE"),
        ("alid for", "--tls-domain NAME says what name the certificate is for"),
        ("InvalidContentType", "leave --tls and tls=true out to connect without TLS"),
        (
            "CertificateRequired",
            "with the tool they are options of the URL: galgo://HOST:PORT?tls=true&tls_cert_file=FILE\
             &tls_key_file=FILE",
        ),
    ];
    let failure = Failure::connection(error);
    match option.into_iter().find(|(part, _)| text.contains(part)) {
        Some((_, option)) => failure.hint(option),
        None => failure,
    }
}

/// A batch was not acknowledged.
impl From<&SendError> for Failure {
    fn from(error: &SendError) -> Self {
        match error {
            SendError::Server(refusal) => Self::from(refusal),
            SendError::Invalid(_) => Self::usage(error),
            _ => Self::connection(error),
        }
    }
}

/// A message was not taken or not acknowledged.
impl From<&ProduceError> for Failure {
    fn from(error: &ProduceError) -> Self {
        match error {
            ProduceError::Invalid(_) => Self::usage(error),
            ProduceError::Lookup(error) => Self::from(error.clone()),
            ProduceError::Failed(error) => Self::from(error),
            ProduceError::NoTopic { .. } => {
                let code = ErrorCode::TopicIdNotFound;
                Self::refused(error, code.as_u32(), code.name())
            }
            _ => Self::io(error),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match &error {
            CallError::Server(refusal) => Self::from(refusal),
            CallError::Invalid(_) => Self::usage(&error),
            CallError::Damaged { .. } => {
                let code = ErrorCode::InvalidMessageChecksum;
                Self::refused(&error, code.as_u32(), code.name()).hint(
                    "galgo tail and galgo mirror leave out what is damaged with --skip-damaged, galgo poll \
                     begins behind it with --offset",
                )
            }
            CallError::Unsupported(_) => Self::new(ExitKind::Refused, error.to_string()),
            _ => Self::connection(&error),
        }
    }
}
