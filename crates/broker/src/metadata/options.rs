//! What topics chose, in their settings and as it is stored.
//!
//! Four options are as old as topics: records have fields of their own for them, in which what the server's
//! configuration said when a topic was made, or its option was taken back, is written down. So a topic keeps them
//! when the configuration changes. All others are stored by name, where they were chosen.

use galgo_wire::error_code::ErrorCode;
use galgo_wire::index::to_u16;
use galgo_wire::options::{EffectiveOptions, Expiry, OptionChoices, SizeLimit};
use galgo_wire::primitive::{Payload, Reader, put_str8};

use super::ResolvedSettings;
use super::record::Part;

impl ResolvedSettings {
    /// What the topic chose.
    #[must_use]
    pub fn choices(&self) -> OptionChoices {
        let mut choices = self.options.clone();
        choices.durability = Some(self.durability);
        choices.deduplication = Some(self.deduplication);
        choices.message_expiry = Some(Expiry::from_us(self.message_expiry_us));
        choices.max_size = Some(SizeLimit::from_bytes(self.size_bytes_max));
        choices
    }

    /// These settings with other choices, on a server with those.
    #[must_use]
    pub(crate) fn choose(self, choices: OptionChoices, server: &OptionChoices) -> Self {
        Self::new(self.name, self.compression, self.replication_factor, choices, server)
    }

    /// What holds for the topic on a server with these choices.
    #[must_use]
    pub fn effective(&self, server: &OptionChoices) -> EffectiveOptions {
        self.choices().effective(server)
    }
}

/// Count `u16`, then for each a name `u8|text` and a value `u16|text`.
impl Part for OptionChoices {
    fn put(&self, out: &mut Vec<u8>) {
        let pairs = self.pairs();
        to_u16(pairs.len()).encode(out);
        for (name, value) in pairs {
            put_str8(out, name);
            to_u16(value.len()).encode(out);
            out.extend_from_slice(value.as_bytes());
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let mut options = Self::default();
        for _ in 0..from.u16()? {
            let name = from.str8()?;
            let len = usize::from(from.u16()?);
            let value = std::str::from_utf8(from.bytes(len)?);
            // INV-OPTION-KEPT: what a later version has set is stored again as it is.
            options.keep(name, value.map_err(|_| ErrorCode::InvalidCommand)?);
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_stored_by_name_with_what_this_version_does_not_know() {
        let mut options = OptionChoices::default();
        options.set("segment.max_age", "90m").unwrap();
        options.keep("compression", "zstd");
        let mut bytes = Vec::new();
        options.put(&mut bytes);
        let text = b"\x02\0\x0bcompression\x04\0zstd\x0fsegment.max_age\x06\x001h 30m";
        assert_eq!(bytes, text);
        assert_eq!(OptionChoices::take(&mut Reader::new(&bytes)), Ok(options));
    }
}
