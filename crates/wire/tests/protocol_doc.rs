//! The tables of commands and errors in `docs/protocol.md`, and of options in `docs/operations.md`, are those of the
//! code.
//!
//! `UPDATE_DOCS=1 cargo test -p galgo-wire --test protocol_doc` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::path::Path;

use galgo_wire::reference::{command_table, error_table, option_table};

#[test]
fn the_tables_of_the_protocol_page_are_those_of_the_code() {
    check("protocol.md", &[("commands", command_table()), ("errors", error_table())]);
}

#[test]
fn the_table_of_options_is_that_of_the_code() {
    check("operations.md", &[("options", option_table())]);
}

fn check(page: &str, tables: &[(&str, String)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let stands = std::fs::read_to_string(&path).unwrap();
    let fresh =
        tables.iter().fold(stands.clone(), |page, (name, table)| with_table(&page, name, table));
    if stands == fresh {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, fresh).unwrap();
        return;
    }
    panic!(
        "docs/{page} is not true any more; write its tables with: \
         UPDATE_DOCS=1 cargo test -p galgo-wire --test protocol_doc"
    );
}

/// `page` with `table` between the two markers of that name.
fn with_table(page: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- table: {name} -->"), format!("<!-- end: {name} -->"));
    let (before, rest) = page.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{begin}\n{table}{end}{after}")
}
