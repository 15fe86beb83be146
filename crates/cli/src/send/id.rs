//! The ids of messages: what a topic with deduplication knows them by.
//!
//! The id of a line depends on the first id and the number of the line alone, so that a line that
//! is sent again has the id it had before, whatever was sent with it.

/// Room behind the first id for every line an input can have.
const FIRST_MAX: u128 = u128::MAX - u64::MAX as u128;
const _: () = assert!(
    FIRST_MAX.checked_add(u64::MAX as u128).is_some(),
    "every line has an id of its own, whatever the first is"
);

/// Digits of a UUID.
const UUID_DIGITS: usize = 32;
const _: () =
    assert!(UUID_DIGITS == 2 * size_of::<u128>(), "a UUID is an id, two digits for each byte");

/// Ids that count up with the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageIds {
    first: u128,
}

impl MessageIds {
    /// The id of the message of line `number`, from 1.
    pub(crate) fn of_line(self, number: u64) -> u128 {
        self.first.saturating_add(u128::from(number.saturating_sub(1)))
    }
}

/// Reads the first id: a number, a UUID, or its 32 digits as `poll --output json` shows them.
pub(crate) fn parse_id(text: &str) -> Result<MessageIds, String> {
    let digits: String = text.chars().filter(|letter| *letter != '-').collect();
    let hexadecimal = digits.len() == UUID_DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let first = match hexadecimal {
        true => u128::from_str_radix(&digits, 16),
        false => text.parse(),
    };
    match first {
        Ok(0) => Err("0 leaves the id to the server; leave the option out for that".to_owned()),
        Ok(first @ ..=FIRST_MAX) => Ok(MessageIds { first }),
        Ok(_) => Err(format!("the largest first id is {FIRST_MAX}")),
        Err(_) => Err("an id is a number or a UUID".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers_or_uuids_and_count_up_with_the_lines() {
        for (text, line, id) in [
            ("7", 1, 7),
            ("7", 3, 9),
            ("00000000-0000-0000-0000-0000000000ff", 2, 256),
            ("000000000000000000000000000000ff", 1, 255),
        ] {
            assert_eq!(parse_id(text).unwrap().of_line(line), id, "{text}");
        }
        assert_eq!(parse_id(&FIRST_MAX.to_string()).unwrap().of_line(u64::MAX), u128::MAX - 1);
        for text in ["0", "-1", "seven", "", "00000000-0000-0000-0000-0000000000fg"] {
            assert!(parse_id(text).is_err(), "{text}");
        }
        assert!(parse_id(&u128::MAX.to_string()).is_err());
    }
}
