//! The tables of commands and errors in `docs/protocol.md` are those of the code.
//!
//! `UPDATE_DOCS=1 cargo test -p galgo-wire --test protocol_doc` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::path::Path;

use galgo_wire::reference::{command_table, error_table};

#[test]
fn the_tables_of_the_protocol_page_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let fresh = with_table(&page, "commands", &command_table());
    let fresh = with_table(&fresh, "errors", &error_table());
    if page == fresh {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, fresh).unwrap();
        return;
    }
    panic!(
        "docs/protocol.md is not true any more; write its tables with: \
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
