//! Where a line, or a record of comma-separated values, ends; and such a record as JSON.

use serde_json::{Map, Value};

/// Looks for ends in bytes that come in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineEnds {
    /// Ends within quotes are none, if a delimiter is known.
    delimiter: Option<u8>,
    at: At,
}

/// Where in a record the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// At the begin of a cell.
    #[default]
    Begin,
    Cell,
    Quoted,
    /// Behind a quote within quotes: the end of the cell, or the first of two that mean one.
    Quote,
}

impl LineEnds {
    pub(super) fn of_lines() -> Self {
        Self::default()
    }

    pub(super) fn of_records(delimiter: u8) -> Self {
        Self { delimiter: Some(delimiter), at: At::Begin }
    }

    /// The number of bytes up to and with the next end. Without one, the next piece is looked at as what comes behind.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let Some(delimiter) = self.delimiter else {
            return bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        };
        for (count, byte) in bytes.iter().enumerate() {
            self.at = match (self.at, *byte) {
                (At::Quoted, b'"') => At::Quote,
                (At::Quoted, _) => At::Quoted,
                (_, b'\n') => {
                    self.at = At::Begin;
                    return Some(count + 1);
                }
                (At::Begin | At::Quote, b'"') => At::Quoted,
                (_, byte) if byte == delimiter => At::Begin,
                _ => At::Cell,
            };
        }
        None
    }
}

/// The cells of a record.
///
/// # Errors
/// They are no text in UTF-8.
pub(super) fn cells(record: &[u8], delimiter: u8) -> Result<Vec<String>, csv::Error> {
    let mut reader = csv::ReaderBuilder::new();
    let mut reader =
        reader.has_headers(false).flexible(true).delimiter(delimiter).from_reader(record);
    let mut cells = csv::StringRecord::new();
    reader.read_record(&mut cells)?;
    Ok(cells.iter().map(str::to_owned).collect())
}

/// A record as an object: all cells are texts. What is behind the last column of the header is the list `extra`.
pub(super) fn to_json(header: &[String], cells: Vec<String>) -> Value {
    let mut cells = cells.into_iter().map(Value::String);
    let mut object: Map<String, Value> = header.iter().cloned().zip(cells.by_ref()).collect();
    let extra: Vec<Value> = cells.collect();
    if !extra.is_empty() {
        object.insert("extra".to_owned(), Value::Array(extra));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_end_outside_of_quotes_in_whatever_pieces_they_come() {
        let text = b"a,\"b\n\"\"c\",d\n5\" pipe,x\n\"\"\n";
        let expected = [12, 10, 3];
        assert_eq!(expected.iter().sum::<usize>(), text.len());
        for piece in 1..text.len() {
            let mut ends = LineEnds::of_records(b',');
            let (mut found, mut before) = (Vec::new(), 0);
            for mut piece in text.chunks(piece) {
                while let Some(count) = ends.find(piece) {
                    found.push(before + count);
                    (piece, before) = (&piece[count..], 0);
                }
                before += piece.len();
            }
            assert_eq!(found, expected, "{piece}");
        }
        assert_eq!(LineEnds::of_lines().find(b"\"a\nb"), Some(3));
        assert_eq!(LineEnds::of_lines().find(b"ab"), None);
    }

    #[test]
    fn a_record_is_an_object_that_keeps_every_cell() {
        let header = cells(b"id,name\n", b',').unwrap();
        let object = |record: &[u8]| to_json(&header, cells(record, b',').unwrap()).to_string();
        assert_eq!(object(b"1,\"a \"\"b\"\",\nc\"\r\n"), r#"{"id":"1","name":"a \"b\",\nc"}"#);
        assert_eq!(object(b"1\n"), r#"{"id":"1"}"#);
        assert_eq!(object(b"1,a,x,y\n"), r#"{"id":"1","name":"a","extra":["x","y"]}"#);
        assert!(cells(b"\xff\n", b',').is_err());
    }
}
