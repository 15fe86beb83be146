//! Values as text that PostgreSQL parses, and rows of them for `COPY` and for `unnest`.

use super::array::put_quoted;
use super::catalog::PgColumn;
use crate::postgres::session::TextRow;
use crate::table::rows::{Cell, Misfit, RowReader, about};
use crate::table::{Layout, Nul};

/// Appends a value as text; nothing for null.
fn put(out: &mut Vec<u8>, cell: &Cell<'_>, column: &PgColumn, nul: Nul) -> Result<(), String> {
    match (cell, column.array) {
        // A text is an array as PostgreSQL writes it, which it reads itself.
        (Cell::Document(json), Some(array)) => {
            out.extend_from_slice(array.literal(json, nul)?.as_bytes());
        }
        _ => cell.put_text(out),
    }
    Ok(())
}

/// Rows in the text form of `COPY`: one on each line.
#[derive(Debug, Default)]
pub(super) struct CopyLines {
    pub(super) text: Vec<u8>,
    value: Vec<u8>,
}

impl CopyLines {
    /// Appends the row that was read.
    pub(super) fn add(
        &mut self,
        layout: &Layout,
        columns: &[PgColumn],
        row: &RowReader<'_>,
    ) -> Result<(), Misfit> {
        for (index, (cell, column)) in row.cells.iter().zip(columns).enumerate() {
            if index > 0 {
                self.text.push(b'\t');
            }
            match (cell, column.array) {
                (Cell::Null, _) => self.text.extend_from_slice(b"\\N"),
                // As they are: there is nothing in them that has to be escaped.
                (Cell::Number(_) | Cell::Bool(_) | Cell::Integer(_), _) => {
                    cell.put_text(&mut self.text);
                }
                (Cell::Text(text), _) | (Cell::Document(text), None) => {
                    escape(&mut self.text, text.as_bytes());
                }
                _ => {
                    self.value.clear();
                    let put = put(&mut self.value, cell, column, layout.nul);
                    put.map_err(|what| misfit(layout, index, &what))?;
                    escape(&mut self.text, &self.value);
                }
            }
        }
        self.text.push(b'\n');
        Ok(())
    }
}

fn escape(out: &mut Vec<u8>, value: &[u8]) {
    // Looked at without a branch for each byte, as nearly all are copied as they are.
    const BLOCK: usize = 32;
    for block in value.chunks(BLOCK) {
        let is_special = |byte: &u8| (*byte < b' ') | (*byte == b'\\');
        if !block.iter().fold(false, |any, byte| any | is_special(byte)) {
            out.extend_from_slice(block);
            continue;
        }
        for byte in block {
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                _ => out.push(*byte),
            }
        }
    }
}

/// The texts of the row that was read.
pub(super) fn texts(
    layout: &Layout,
    columns: &[PgColumn],
    row: &RowReader<'_>,
) -> Result<TextRow, Misfit> {
    let cells = row.cells.iter().zip(columns).enumerate();
    let text = |(index, (cell, column)): (usize, (&Cell<'_>, &PgColumn))| {
        if cell.is_null() {
            return Ok(None);
        }
        let mut value = Vec::new();
        put(&mut value, cell, column, layout.nul).map_err(|what| misfit(layout, index, &what))?;
        let text = String::from_utf8(value);
        text.map(Some).map_err(|_| misfit(layout, index, "it is no text"))
    };
    cells.map(text).collect()
}

fn misfit(layout: &Layout, index: usize, what: &str) -> Misfit {
    match layout.columns.get(index) {
        Some(column) => about(column, what),
        None => Misfit(what.to_owned()),
    }
}

/// A column of rows as an array of texts.
pub(super) fn column_of(rows: &[TextRow], index: usize) -> String {
    let mut out = String::from("{");
    for (number, row) in rows.iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        match row.get(index).and_then(Option::as_ref) {
            None => out.push_str("NULL"),
            Some(text) => put_quoted(&mut out, text),
        }
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_value_ends_it() {
        let mut out = Vec::new();
        escape(&mut out, "a\tb\nc\r\\N\\.é".as_bytes());
        assert_eq!(String::from_utf8(out).unwrap(), "a\\tb\\nc\\r\\\\N\\\\.é");
        // Wherever in a block it stands.
        for at in 0..70 {
            let value = format!("{}\\{}", "x".repeat(at), "y".repeat(70));
            let mut out = Vec::new();
            escape(&mut out, value.as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), value.replace('\\', "\\\\"));
        }
        let rows = [vec![Some("a\"b\\".to_owned())], vec![None], vec![Some("NULL".to_owned())]];
        assert_eq!(column_of(&rows, 0), r#"{"a\"b\\",NULL,"NULL"}"#);
    }
}
