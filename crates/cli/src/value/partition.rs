//! The number of a partition on the command line.

/// Parses a partition. Its option has to allow negative numbers, or they are taken for options.
pub(crate) fn parse_partition(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("a partition is a number from 0 to {}", u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_numbers_from_0_on() {
        assert_eq!(parse_partition("0"), Ok(0));
        assert_eq!(parse_partition("4294967295"), Ok(u32::MAX));
        for text in ["-1", "4294967296", "", "one", "1.5"] {
            assert!(parse_partition(text).unwrap_err().contains("from 0"), "{text}");
        }
    }
}
