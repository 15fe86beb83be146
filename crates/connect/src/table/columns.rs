//! Columns, and where their values come from.

use serde::Deserialize;

use super::PayloadForm;

/// A column as a file describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ColumnSettings {
    /// A path in the payload, or what is known of every message, with `@` in front.
    pub(crate) from: String,
    /// Its type, in the words of the database.
    #[serde(rename = "type")]
    pub(crate) sql_type: String,
    /// Whether it may be null; it may if that is not said, unless it is in the key.
    #[serde(default)]
    pub(crate) null: Option<bool>,
}

/// A column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// Where its values come from.
    pub(crate) origin: Origin,
    /// Its type as the file has it.
    pub(crate) sql_type: String,
    /// Whether it has documents of JSON: a text is in quotes there.
    pub(crate) is_document: bool,
    /// Whether the database refuses documents with an escaped NUL.
    pub(crate) refuses_nul: bool,
    /// Whether it may be null.
    pub(crate) nullable: bool,
}

/// Where the values of a column come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A field of the payload, by its slot in the tree of fields.
    Field(usize),
    /// What no other column takes.
    Rest,
    /// The payload.
    Payload(PayloadForm),
    /// The stream.
    Stream,
    /// The topic.
    Topic,
    /// The partition.
    Partition,
    /// The offset.
    Offset,
    /// Which of the rows of its message it is.
    Part,
    /// When it was stored.
    Time,
    /// When its sender made it.
    SenderTime,
    /// The id of the message.
    Id,
    /// All headers.
    Headers,
    /// The key it was sent with.
    Key,
}

impl Origin {
    /// The names that stand behind an `@`.
    const SPECIAL: [(&'static str, Self); 12] = [
        ("time", Self::Time),
        ("origin_time", Self::SenderTime),
        ("offset", Self::Offset),
        ("part", Self::Part),
        ("partition", Self::Partition),
        ("topic", Self::Topic),
        ("stream", Self::Stream),
        ("id", Self::Id),
        ("headers", Self::Headers),
        ("key", Self::Key),
        ("payload", Self::Payload(PayloadForm::Text)),
        ("bytes", Self::Payload(PayloadForm::Bytes)),
    ];

    /// What is known of every message under that name.
    ///
    /// # Errors
    /// The names there are.
    pub(crate) fn special(name: &str) -> Result<Self, String> {
        let found = Self::SPECIAL.iter().find(|(known, _)| *known == name);
        found.map(|(_, origin)| *origin).ok_or_else(|| {
            let names: Vec<_> = Self::SPECIAL.iter().map(|(name, _)| format!("@{name}")).collect();
            format!("@{name} is not known; there are {}", names.join(", "))
        })
    }
}
