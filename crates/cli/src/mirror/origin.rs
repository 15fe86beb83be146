//! Where a copied message came from, as headers of the copy.

use galgo::{HeaderError, HeaderKey, HeaderValue, Message, ReceivedMessage};

/// Header with the offset the message has in the source, a `uint64`.
pub(crate) const OFFSET: &str = "mirror.offset";
/// Header with the time the source took the message, microseconds since 1970, a `uint64`.
pub(crate) const TIMESTAMP: &str = "mirror.timestamp";

/// The place of a message in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Its offset there.
    pub(crate) offset: u64,
    /// When the source took it.
    pub(crate) timestamp: u64,
}

impl Origin {
    /// The place a copy tells; `None` for a message that is no copy.
    pub(crate) fn of(message: &ReceivedMessage) -> Option<Self> {
        let headers = message.headers().ok()?;
        let number = |key| headers.get(key).and_then(|value| u64::try_from(value).ok());
        Some(Self { offset: number(OFFSET)?, timestamp: number(TIMESTAMP)? })
    }
}

/// The copy of a message: same id, payload, headers and time of origin, and where it came from.
///
/// A message that is a copy itself tells its last place only.
pub(crate) fn copy(message: &ReceivedMessage) -> Result<Message, HeaderError> {
    let mut copy = Message::new(message.payload().clone())
        .id(message.id())
        .origin_timestamp(message.origin_timestamp());
    for (key, value) in message.headers()?.iter() {
        copy = copy.typed_header(key.clone(), value.clone());
    }
    let key = |text: &str| text.parse::<HeaderKey>();
    Ok(copy
        .typed_header(key(OFFSET)?, HeaderValue::from(message.offset()))
        .typed_header(key(TIMESTAMP)?, HeaderValue::from(message.timestamp())))
}
