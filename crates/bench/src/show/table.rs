//! Aligned columns: a header, rows, nothing else, so that `awk` and eyes both find their way.

use comfy_table::{Cell, CellAlignment, Table as Grid, presets};

use crate::show::text::visible;

/// One column: its title, and the side its cells lean to.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    alignment: CellAlignment,
}

/// A column of text.
pub const fn text(title: &'static str) -> Column {
    Column { title, alignment: CellAlignment::Left }
}

/// A column of numbers.
pub const fn number(title: &'static str) -> Column {
    Column { title, alignment: CellAlignment::Right }
}

/// Lays out `rows` under `columns`; `when_empty` stands in when there is none.
pub fn columns(
    columns: &[Column],
    rows: impl IntoIterator<Item = Vec<String>>,
    when_empty: &str,
) -> String {
    let mut grid = plain();
    grid.set_header(columns.iter().map(|column| cell(column.title, column.alignment)));
    for row in rows {
        assert!(row.len() == columns.len(), "a row has a cell for each column");
        let cells = row.into_iter().zip(columns);
        grid.add_row(cells.map(|(value, column)| cell(&value, column.alignment)));
    }
    if grid.is_empty() { when_empty.to_owned() } else { finish(&grid) }
}

/// Lays out names and values, one pair a line.
pub fn facts<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut grid = plain();
    for (name, value) in pairs {
        grid.add_row([cell(name, CellAlignment::Left), cell(&value, CellAlignment::Left)]);
    }
    finish(&grid)
}

fn plain() -> Grid {
    let mut grid = Grid::new();
    grid.load_style(presets::NOTHING);
    grid
}

fn cell(value: &str, alignment: CellAlignment) -> Cell {
    Cell::new(visible(value)).set_alignment(alignment)
}

/// Without the margin on the left and the padding on the right.
fn finish(grid: &Grid) -> String {
    let lines: Vec<String> = grid
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned())
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lean_right_and_lines_have_no_trailing_space() {
        let rows =
            [vec!["a".to_owned(), "7".to_owned()], vec!["long".to_owned(), "1,000".to_owned()]];
        let shown = columns(&[text("NAME"), number("MESSAGES")], rows, "none");
        assert_eq!(shown, "NAME  MESSAGES\na            7\nlong     1,000");
    }

    #[test]
    fn an_empty_table_is_a_sentence() {
        assert_eq!(columns(&[text("NAME")], [], "no streams"), "no streams");
    }

    #[test]
    fn a_name_with_control_characters_stays_on_its_line() {
        let rows = [vec!["a\nb\u{1b}c".to_owned()]];
        let shown = columns(&[text("NAME")], rows, "none");
        assert_eq!(shown, "NAME\na\\nb\\u{1b}c");
    }

    #[test]
    fn facts_align_their_values() {
        let shown = facts([("id", "1".to_owned()), ("created", "today".to_owned())]);
        assert_eq!(shown, "id       1\ncreated  today");
    }
}
