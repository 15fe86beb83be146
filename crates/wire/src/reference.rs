//! The tables of commands, errors and options as Markdown, for the documentation.

use crate::command::{CommandCode, Repeat};
use crate::error_code::ErrorCode;
use crate::options::{OptionChoices, OptionRow, TOPIC_OPTIONS};
use std::fmt::Write as _;

/// Every command as a Markdown table.
#[must_use]
pub fn command_table() -> String {
    let mut table =
        String::from("| code | command | log name | again | HTTP |\n|---|---|---|---|---|\n");
    for code in CommandCode::ALL {
        let again = match code.repeat() {
            Repeat::Safe => "yes",
            Repeat::Never => "no",
            Repeat::Depends => "depends",
        };
        let (number, name, route) = (code.as_u32(), code.log_name(), code.route());
        // Writing to a text cannot fail.
        let _ = writeln!(table, "| {number} | {code:?} | {name} | {again} | {route} |");
    }
    table
}

/// Every error code as a Markdown table.
#[must_use]
pub fn error_table() -> String {
    let mut table =
        String::from("| code | name | raised by | HTTP | meaning |\n|---|---|---|---|---|\n");
    for code in ErrorCode::ALL {
        let (number, name) = (code.as_u32(), code.name());
        let (origin, status, text) = (code.origin(), code.http_status(), code.text());
        let _ = writeln!(table, "| {number} | {name} | {origin} | {status} | {text} |");
    }
    table
}

/// The options of topics as a Markdown table.
#[must_use]
pub fn option_table() -> String {
    let server = OptionChoices::of_servers();
    let defaults = OptionChoices::default().resolved(&server);
    let mut table = String::from(
        "| option | key of the server | flag | values | default | what it does |\n|---|---|---|---|---|---|\n",
    );
    for (row, default) in TOPIC_OPTIONS.iter().zip(defaults) {
        let default = if row.derived { "see there" } else { default.value.as_str() };
        let meaning = row.meaning().replace('"', "`");
        let expected = row.expected.replace('"', "`");
        let OptionRow { name, key, flag, .. } = row;
        table += &format!(
            "| `{name}` | `topic.{key}` | `--{flag}` | {expected} | {default} | {meaning} |\n"
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_a_row_for_everything() {
        assert_eq!(command_table().lines().count(), 2 + CommandCode::ALL.len());
        assert_eq!(error_table().lines().count(), 2 + ErrorCode::ALL.len());
        assert!(command_table().contains("| 101 | SendMessages | message.send |"));
        assert!(error_table().contains("| 41 | Unauthorized | server | 403 |"));
    }
}
