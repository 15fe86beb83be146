//! The tables of commands and errors as Markdown, for the documentation.

use crate::command::CommandCode;
use crate::error_code::ErrorCode;
use std::fmt::Write as _;

/// Every command as a Markdown table.
#[must_use]
pub fn command_table() -> String {
    let mut table = String::from("| code | command | log name |\n|---|---|---|\n");
    for code in CommandCode::ALL {
        // Writing to a text cannot fail.
        let _ = writeln!(table, "| {} | {code:?} | {} |", code.as_u32(), code.log_name());
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
