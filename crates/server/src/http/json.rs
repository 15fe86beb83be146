//! The JSON that no declaration of a command makes: bodies of requests, which say less or more than a command, and
//! messages. Everything else is written as [`galgo_wire::json`] makes it.

pub(super) mod groups;
pub(super) mod headers;
pub(super) mod messages;
pub(super) mod streams;
pub(super) mod system;
pub(super) mod topics;
pub(super) mod users;

use std::fmt;

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use galgo_wire::json::{AsJson, Json};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// An answer, written as its declaration says.
#[derive(Debug)]
pub(super) struct JsonAnswer<T>(pub(super) T);

impl<T: Json> IntoResponse for JsonAnswer<T> {
    fn into_response(self) -> Response {
        axum::Json(AsJson(&self.0)).into_response()
    }
}

/// Bytes to be shown as base64.
pub(super) struct Base64<'a>(pub(super) &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

/// Reads base64 with padding.
pub(super) fn base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Text;

    impl serde::de::Visitor<'_> for Text {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("base64 with padding")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
            let invalid = |_| E::invalid_value(serde::de::Unexpected::Other("other text"), &self);
            STANDARD.decode(text).map_err(invalid)
        }
    }

    deserializer.deserialize_str(Text)
}

/// A number or a name: how a body says whom it is about.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum NumberOrName {
    /// By number.
    Number(u32),
    /// By name, or by a number in digits.
    Name(String),
}

#[cfg(test)]
mod tests;
