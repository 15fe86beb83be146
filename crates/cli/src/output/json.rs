//! JSON for programs.

use serde::Serialize;

use crate::failure::{Failure, Outcome};

/// A document of its own: indented, since `jq` does not mind and people read it too.
pub(crate) fn pretty<T: Serialize>(value: &T) -> Outcome<String> {
    serde_json::to_string_pretty(value)
        .map_err(|error| Failure::io(format!("cannot write JSON: {error}")))
}

/// One document of many, on a line of its own.
pub(crate) fn line<T: Serialize>(value: &T) -> Outcome<String> {
    serde_json::to_string(value).map_err(|error| Failure::io(format!("cannot write JSON: {error}")))
}
