//! The tables of commands and errors in `docs/protocol.md`, and of options in `docs/operations.md`, are those of the
//! code.
//!
//! `UPDATE_DOCS=1 cargo test -p galgo-wire --test protocol_doc` writes them anew.

use galgo_testkit::docs::check;
use galgo_wire::reference::{command_table, error_table, option_table};

const TEST: &str = "cargo test -p galgo-wire --test protocol_doc";

#[test]
fn the_tables_of_the_protocol_page_are_those_of_the_code() {
    check("protocol.md", TEST, &[("commands", command_table()), ("errors", error_table())]);
}

#[test]
fn the_table_of_options_is_that_of_the_code() {
    check("operations.md", TEST, &[("options", option_table())]);
}
