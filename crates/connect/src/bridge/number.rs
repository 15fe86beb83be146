//! Ids of messages that come from other systems.

use twox_hash::XxHash3_128;
use uuid::Uuid;

/// The id of a message that its own system knows by a text: a UUID as it is, of anything else 128 bits of a hash. Never 0,
/// which would have the server choose one.
pub(crate) fn id_of_text(text: &str) -> u128 {
    match Uuid::try_parse(text) {
        Ok(id) => id.as_u128().max(1),
        Err(_) => id_of_parts(&[text.as_bytes()]),
    }
}

/// The id of a message that its own system knows by several things together.
pub(crate) fn id_of_parts(parts: &[&[u8]]) -> u128 {
    let mut bytes = Vec::new();
    for part in parts {
        // With its length in front, so that no two lists give the same bytes.
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    XxHash3_128::oneshot(&bytes).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_each_time_and_another_for_another_message() {
        let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        assert_eq!(id_of_text(uuid), 0x67e5504410b1426f9247bb680e5fe0c8);
        assert_eq!(id_of_text("00000000-0000-0000-0000-000000000000"), 1);
        assert_eq!(id_of_text("order 1"), id_of_text("order 1"));
        assert_ne!(id_of_text("order 1"), id_of_text("order 2"));
        assert_ne!(id_of_parts(&[b"a", b"bc"]), id_of_parts(&[b"ab", b"c"]));
        // The ids are in logs already: another hash would let repeats through.
        assert_eq!(id_of_text(""), id_of_parts(&[b""]));
    }
}
