//! User headers: a list of entries, each with a typed key and value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use galgo_wire::ErrorCode;
use galgo_wire::batch::{HeaderField, HeaderKind, UserHeaders};
use serde::de::Error as _;
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use super::Base64;

/// User headers of a message to be sent: a list of entries, or base64 of the encoded block.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(in super::super) enum HeadersIn {
    /// Entries.
    Entries(Vec<Entry>),
    /// Base64 of the encoded block.
    Block(String),
}

/// One user header.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(in super::super) struct Entry {
    key: Field,
    value: Field,
}

/// A typed key or value.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(in super::super) struct Field {
    /// `raw`, `string`, `bool`, `int8` … `int128`, `uint8` … `uint128`, `float32` or `float64`.
    #[schema(example = "string")]
    kind: String,
    /// Base64 of 1 to 255 bytes, numbers little-endian.
    #[schema(example = "aw==")]
    value: String,
}

impl Field {
    fn to_wire(&self) -> Result<HeaderField, ErrorCode> {
        let kind = HeaderKind::ALL.iter().find(|kind| kind.word() == self.kind);
        let kind = *kind.ok_or(ErrorCode::InvalidHeaderKind)?;
        let bytes = STANDARD.decode(&self.value).map_err(|_| ErrorCode::InvalidHeaderValue)?;
        Ok(HeaderField::new(kind, &bytes)?)
    }
}

impl HeadersIn {
    /// The encoded block.
    pub(super) fn to_block(&self) -> Result<Vec<u8>, ErrorCode> {
        match self {
            Self::Entries(entries) => {
                let pairs = entries.iter().map(|entry| {
                    Ok::<_, ErrorCode>((entry.key.to_wire()?, entry.value.to_wire()?))
                });
                let headers: UserHeaders = pairs.collect::<Result<_, _>>()?;
                Ok(headers.to_bytes()?)
            }
            Self::Block(text) => STANDARD.decode(text).map_err(|_| ErrorCode::InvalidHeaderValue),
        }
    }
}

/// Reads user headers and encodes them.
pub(super) fn block<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let headers = Option::<HeadersIn>::deserialize(deserializer)?;
    headers.map_or(Ok(Vec::new()), |headers| {
        headers.to_block().map_err(|code| D::Error::custom(code.text()))
    })
}

/// The encoded block of a stored message, shown as entries when it can be read.
pub(super) struct ShownHeaders<'a>(pub(super) &'a [u8]);

#[derive(Serialize)]
struct ShownEntry<'a> {
    key: ShownField<'a>,
    value: ShownField<'a>,
}

#[derive(Serialize)]
struct ShownField<'a> {
    kind: &'static str,
    value: Base64<'a>,
}

impl<'a> From<&'a HeaderField> for ShownField<'a> {
    fn from(field: &'a HeaderField) -> Self {
        Self { kind: field.kind().word(), value: Base64(field.as_bytes()) }
    }
}

impl Serialize for ShownHeaders<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What cannot be read is shown as it is; the server does not look into it otherwise.
        let Ok(headers) = UserHeaders::from_bytes(self.0) else {
            return Base64(self.0).serialize(serializer);
        };
        let mut list = serializer.serialize_seq(Some(headers.len()))?;
        for (key, value) in headers.iter() {
            list.serialize_element(&ShownEntry { key: key.into(), value: value.into() })?;
        }
        list.end()
    }
}
