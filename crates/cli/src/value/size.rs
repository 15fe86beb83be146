//! Sizes: `512`, `64KiB`, `10GB`.

use galgo_wire::measure::parse_bytes;

/// Parses a number of bytes with an optional unit.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    parse_bytes(text).map_err(|error| error.to_string())
}
