//! A row of a message: a value for each column, as text that the database parses.

use std::borrow::Cow;
use std::io::Write as _;

use jiff::Timestamp;
use uuid::Uuid;

use super::columns::{Column, Origin};
use super::path::{Rest, Slots};
use super::{Layout, Mode, Nul, PayloadForm};
use crate::batch::{Batch, Row};
use crate::failure::Failure;
use crate::headers;
use crate::place::{LaneName, Place};

/// The header with the key a message was sent with.
const KEY_HEADER: &str = "galgo.key";
/// The escape of a NUL in a document.
const NUL_ESCAPE: &str = "\\u0000";

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    /// None.
    Null,
    /// A text.
    Text(Cow<'a, str>),
    /// A document, or a part of one, that is neither text nor number nor boolean.
    Document(Cow<'a, str>),
    /// A number, as it was written.
    Number(&'a str),
    /// True or false.
    Bool(bool),
    /// A number of our own.
    Integer(i64),
    /// A time.
    Time(Timestamp),
    /// An id.
    Id(Uuid),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// What a message does to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// There is a row.
    Put,
    /// There is none with this key.
    Delete,
}

/// Why a message is no row: what is wrong, and with which column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misfit(pub(crate) String);

/// Reads rows, one after the other.
pub(crate) struct RowReader<'a> {
    layout: &'a Layout,
    lane: &'a LaneName,
    slots: Slots<'a>,
    rest: Rest<'a>,
    /// The document, when it is no object and so has no members.
    whole: Option<&'a str>,
    wants_rest: bool,
    wants_fields: bool,
    /// The values of the row that was read last, one for each column.
    pub(crate) cells: Vec<Cell<'a>>,
    /// Columns of it that its sender left out because they did not change.
    pub(crate) unchanged: Vec<usize>,
}

/// What a change says of a row.
struct Changed<'a> {
    text: &'a str,
    change: Change,
    unchanged: Vec<String>,
}

impl<'a> RowReader<'a> {
    pub(crate) fn new(layout: &'a Layout, lane: &'a LaneName) -> Self {
        let wants =
            |wanted: fn(Origin) -> bool| layout.columns.iter().any(|column| wanted(column.origin));
        Self {
            layout,
            lane,
            slots: Vec::new(),
            rest: Vec::new(),
            whole: None,
            wants_rest: wants(|origin| origin == Origin::Rest),
            wants_fields: wants(|origin| matches!(origin, Origin::Field(_) | Origin::Rest)),
            cells: Vec::new(),
            unchanged: Vec::new(),
        }
    }

    /// Reads a row into [`RowReader::cells`].
    ///
    /// # Errors
    /// [`Misfit`].
    pub(crate) fn read(&mut self, row: &'a Row) -> Result<Change, Misfit> {
        self.cells.clear();
        self.unchanged.clear();
        let change = match self.layout.mode == Mode::Mirror {
            true if row.payload.is_empty() => {
                self.slots.clear();
                self.rest.clear();
                self.whole = None;
                Change::Delete
            }
            true => {
                let changed = changed(text_of(row)?)?;
                self.find(changed.text)?;
                self.unchanged = self.left_out(&changed.unchanged);
                changed.change
            }
            false => {
                if self.wants_fields {
                    self.find(text_of(row)?)?;
                }
                Change::Put
            }
        };
        for (index, column) in self.layout.columns.iter().enumerate() {
            let cell = self.cell(column, row).map_err(|what| about(column, &what))?;
            let needed = match change {
                Change::Put => !column.nullable && !self.unchanged.contains(&index),
                Change::Delete => self.layout.is_key(index),
            };
            if cell == Cell::Null && needed {
                return Err(about(column, "there is no value, and it may not be null"));
            }
            self.cells.push(cell);
        }
        Ok(change)
    }

    fn find(&mut self, text: &'a str) -> Result<(), Misfit> {
        self.rest.clear();
        let rest = self.wants_rest.then_some(&mut self.rest);
        // What serde says of a document has no piece of it in it.
        let found = self.layout.fields.find(text, &mut self.slots, rest);
        found.map_err(|error| Misfit(format!("the payload is no JSON: {error}")))?;
        self.whole = (!text.trim_ascii().starts_with('{')).then_some(text);
        Ok(())
    }

    /// The columns whose fields are in members with these names, and are not there.
    fn left_out(&self, names: &[String]) -> Vec<usize> {
        let is_out = |column: &Column| match column.origin {
            Origin::Field(slot) => {
                self.slots.get(slot).copied().flatten().is_none()
                    && self
                        .layout
                        .fields
                        .member_of(slot)
                        .is_some_and(|member| names.iter().any(|name| name == member))
            }
            _ => false,
        };
        let columns = self.layout.columns.iter().enumerate();
        columns.filter(|(_, column)| is_out(column)).map(|(index, _)| index).collect()
    }

    fn cell(&self, column: &Column, row: &'a Row) -> Result<Cell<'a>, String> {
        let nul = self.layout.nul;
        Ok(match column.origin {
            Origin::Field(slot) => match self.slots.get(slot).copied().flatten() {
                None => Cell::Null,
                Some(raw) => field(raw, column, nul)?,
            },
            Origin::Rest => document(Cow::Owned(self.rest_text()), column, nul)?,
            Origin::Payload(form) => payload(row, form, column, nul)?,
            Origin::Stream => Cell::Text(Cow::Owned(self.lane.stream.clone())),
            Origin::Topic => Cell::Text(Cow::Owned(self.lane.topic.clone())),
            Origin::Partition => Cell::Integer(self.lane.partition.into()),
            Origin::Offset => Cell::Integer(signed(row.place.offset)?),
            Origin::Part => Cell::Integer(row.place.part.into()),
            Origin::Time => Cell::Time(time(row.time)?),
            Origin::SenderTime => Cell::Time(time(row.origin_time)?),
            Origin::Id => Cell::Id(Uuid::from_u128(row.id)),
            Origin::Headers if row.headers_block.is_empty() => Cell::Document(Cow::Borrowed("{}")),
            Origin::Headers => {
                let headers = row.headers().map_err(|_| "its headers cannot be read".to_owned())?;
                document(Cow::Owned(headers::to_json(&headers).to_string()), column, nul)?
            }
            Origin::Key if row.headers_block.is_empty() => Cell::Null,
            Origin::Key => {
                let headers = row.headers().map_err(|_| "its headers cannot be read".to_owned())?;
                match headers.get(KEY_HEADER) {
                    None => Cell::Null,
                    Some(key) => text(Cow::Owned(key.to_string()), nul)?,
                }
            }
        })
    }

    fn rest_text(&self) -> String {
        if let Some(text) = self.whole {
            return text.to_owned();
        }
        let mut text = String::from("{");
        for (name, raw) in &self.rest {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&serde_json::Value::from(name.as_ref()).to_string());
            text.push(':');
            text.push_str(raw);
        }
        text.push('}');
        text
    }
}

/// Reads all rows of a batch, in order, and gives each to `put`, which may find it unfit, too. What it has put together is of use only
/// when all fit.
///
/// # Errors
/// [`Failure::Bad`] with all that do not fit.
pub(crate) fn read_all<'a>(
    layout: &'a Layout,
    lane: &'a LaneName,
    batch: &'a Batch,
    mut put: impl FnMut(&RowReader<'a>, Change) -> Result<(), Misfit>,
) -> Result<(), Failure> {
    let mut reader = RowReader::new(layout, lane);
    let mut misfits = Misfits::default();
    for row in batch.rows() {
        let put = reader.read(row).and_then(|change| put(&reader, change));
        misfits.note(row, put);
    }
    misfits.none()
}

/// The rows of a batch that do not fit.
#[derive(Debug, Default)]
pub(crate) struct Misfits {
    places: Vec<Place>,
    reason: Option<String>,
}

impl Misfits {
    /// Notes whether a row fits.
    pub(crate) fn note(&mut self, row: &Row, fits: Result<(), Misfit>) {
        if let Err(Misfit(what)) = fits {
            self.places.push(row.place);
            self.reason.get_or_insert(what);
        }
    }

    /// Whether all fit until now.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// That all fit.
    ///
    /// # Errors
    /// [`Failure::Bad`] with all that do not.
    pub(crate) fn none(self) -> Result<(), Failure> {
        match self.reason {
            None => Ok(()),
            Some(reason) => Err(Failure::Bad { places: self.places, reason }),
        }
    }
}

/// A row of a lane as it would be written, for people.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn preview(layout: &Layout, lane: &LaneName, row: &Row) -> Result<String, String> {
    let mut reader = RowReader::new(layout, lane);
    let change = reader.read(row).map_err(|Misfit(what)| what)?;
    let mut line = match change {
        Change::Put => Vec::new(),
        Change::Delete => b"DELETE ".to_vec(),
    };
    for (index, (column, cell)) in layout.columns.iter().zip(&reader.cells).enumerate() {
        if index > 0 {
            line.extend_from_slice(b", ");
        }
        line.extend_from_slice(column.name.as_bytes());
        line.extend_from_slice(b" = ");
        match cell.is_null() {
            true => line.extend_from_slice(b"NULL"),
            false => cell.put_text(&mut line),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// What is wrong with a value of a column.
pub(crate) fn about(column: &Column, what: &str) -> Misfit {
    Misfit(format!("column {}: {what}", column.name))
}

fn text_of(row: &Row) -> Result<&str, Misfit> {
    std::str::from_utf8(&row.payload)
        .map_err(|_| Misfit("the payload is no JSON: it is not UTF-8".to_owned()))
}

/// What a change is of: the row behind it, or the one in front of it where it is deleted. A document that tells of no change is a row.
fn changed(text: &str) -> Result<Changed<'_>, Misfit> {
    #[derive(serde::Deserialize)]
    struct Envelope<'a> {
        #[serde(default, borrow)]
        op: Option<&'a serde_json::value::RawValue>,
        #[serde(default, borrow)]
        before: Option<&'a serde_json::value::RawValue>,
        #[serde(default, borrow)]
        after: Option<&'a serde_json::value::RawValue>,
        #[serde(default)]
        unchanged: Vec<String>,
    }
    let whole = || Changed { text, change: Change::Put, unchanged: Vec::new() };
    // Documents of another form, and what is no document, are told from changes by that.
    let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(text) else { return Ok(whole()) };
    let Envelope { op: Some(op), before, after, unchanged } = envelope else { return Ok(whole()) };
    match op.get() {
        "\"d\"" => {
            let text = before.map_or(text, |row| row.get());
            Ok(Changed { text, change: Change::Delete, unchanged: Vec::new() })
        }
        "\"t\"" => Err(Misfit(
            "the table was truncated at its origin, which is not mirrored; empty this one, and skip the message".to_owned(),
        )),
        _ => {
            let text = after.map_or(text, |row| row.get());
            Ok(Changed { text, change: Change::Put, unchanged })
        }
    }
}

/// The value of a field.
fn field<'a>(raw: &'a str, column: &Column, nul: Nul) -> Result<Cell<'a>, String> {
    match raw.as_bytes().first() {
        Some(b'n') => Ok(Cell::Null),
        _ if column.is_document => document(Cow::Borrowed(raw), column, nul),
        Some(b'"') => match string(raw)? {
            // No control character stands in a document but as an escape.
            plain @ Cow::Borrowed(_) => Ok(Cell::Text(plain)),
            unescaped @ Cow::Owned(_) => text(unescaped, nul),
        },
        Some(b't') => Ok(Cell::Bool(true)),
        Some(b'f') => Ok(Cell::Bool(false)),
        Some(b'{' | b'[') => document(Cow::Borrowed(raw), column, nul),
        _ => Ok(Cell::Number(raw)),
    }
}

/// What a string of JSON says.
pub(crate) fn string(raw: &str) -> Result<Cow<'_, str>, String> {
    let inside = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
    if let Some(plain) = inside
        && !plain.contains('\\')
    {
        return Ok(Cow::Borrowed(plain));
    }
    let parsed = serde_json::from_str::<String>(raw);
    parsed
        .map(Cow::Owned)
        .map_err(|_| "it has half of a surrogate pair in it, which is no text".to_owned())
}

/// A text, if it has no NUL in it that may not be.
pub(crate) fn text(text: Cow<'_, str>, nul: Nul) -> Result<Cell<'_>, String> {
    match (text.contains('\0'), nul) {
        (false, _) => Ok(Cell::Text(text)),
        (true, Nul::Strip) => Ok(Cell::Text(Cow::Owned(text.replace('\0', "")))),
        (true, Nul::Bad) => Err(has_nul()),
    }
}

fn has_nul() -> String {
    "it has a NUL in it, which no text here holds; nul = \"strip\" leaves it out".to_owned()
}

fn document<'a>(text: Cow<'a, str>, column: &Column, nul: Nul) -> Result<Cell<'a>, String> {
    checked(text, column.refuses_nul, nul)
}

/// A document, if it has no escaped NUL in it that may not be.
pub(crate) fn checked(text: Cow<'_, str>, refuses_nul: bool, nul: Nul) -> Result<Cell<'_>, String> {
    if !refuses_nul || !text.contains(NUL_ESCAPE) {
        return Ok(Cell::Document(text));
    }
    let stripped = without_nul(&text);
    match (stripped.len() == text.len(), nul) {
        (true, _) => Ok(Cell::Document(text)),
        (false, Nul::Strip) => Ok(Cell::Document(Cow::Owned(stripped))),
        (false, Nul::Bad) => Err(has_nul()),
    }
}

/// Leaves out the escapes of NUL; one whose backslash is escaped itself is none.
fn without_nul(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        rest = match from.strip_prefix(NUL_ESCAPE) {
            Some(behind) => behind,
            None => {
                // The backslash and what it escapes.
                let end = from.char_indices().nth(2).map_or(from.len(), |(end, _)| end);
                let (escape, behind) = from.split_at(end);
                out.push_str(escape);
                behind
            }
        };
    }
    out.push_str(rest);
    out
}

fn payload<'a>(
    row: &'a Row,
    form: PayloadForm,
    column: &Column,
    nul: Nul,
) -> Result<Cell<'a>, String> {
    if form == PayloadForm::Bytes {
        return Ok(Cell::Bytes(&row.payload));
    }
    let utf8 = std::str::from_utf8(&row.payload).map_err(|_| {
        "the payload is no text: it is not UTF-8; payload = \"bytea\" or \"blob\" takes it"
            .to_owned()
    })?;
    match form {
        PayloadForm::Json if utf8.is_empty() => Ok(Cell::Null),
        PayloadForm::Json => document(Cow::Borrowed(utf8), column, nul),
        _ => text(Cow::Borrowed(utf8), nul),
    }
}

/// A number without a sign as databases have it.
pub(crate) fn signed(number: u64) -> Result<i64, String> {
    i64::try_from(number).map_err(|_| "it is beyond 63 bits".to_owned())
}

fn time(micros: u64) -> Result<Timestamp, String> {
    let at = i64::try_from(micros).ok().and_then(|at| Timestamp::from_microsecond(at).ok());
    at.ok_or_else(|| "its time is behind the year 9999".to_owned())
}

impl Cell<'_> {
    /// Whether it is none.
    pub(crate) fn is_null(&self) -> bool {
        *self == Cell::Null
    }

    /// Appends it as text; nothing for null. Bytes are hexadecimal behind `\x`.
    pub(crate) fn put_text(&self, out: &mut Vec<u8>) {
        match self {
            Cell::Null => {}
            Cell::Text(text) | Cell::Document(text) => out.extend_from_slice(text.as_bytes()),
            Cell::Number(text) => out.extend_from_slice(text.as_bytes()),
            Cell::Bool(true) => out.extend_from_slice(b"true"),
            Cell::Bool(false) => out.extend_from_slice(b"false"),
            // Writing into memory does not fail.
            Cell::Integer(number) => drop(write!(out, "{number}")),
            Cell::Time(at) => drop(write!(out, "{at}")),
            Cell::Id(id) => {
                out.extend_from_slice(
                    id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes(),
                );
            }
            Cell::Bytes(bytes) => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\x");
                let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or(b'0');
                out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
            }
        }
    }
}

#[cfg(test)]
mod tests;
