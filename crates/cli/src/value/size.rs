//! Sizes: `512`, `64KiB`, `10GB`, and the words `unlimited` and `default`.

/// Units a size may carry; the decimal ones are decimal, the binary ones binary.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// How large a topic may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaxSize {
    /// What the server's configuration says.
    ServerDefault,
    /// As large as the disk.
    Unlimited,
    /// This many bytes.
    Bytes(u64),
}

/// Parses `10GiB`, `unlimited` or `default`.
pub(crate) fn parse_max_size(text: &str) -> Result<MaxSize, String> {
    match text.trim() {
        "unlimited" => return Ok(MaxSize::Unlimited),
        "default" => return Ok(MaxSize::ServerDefault),
        _ => {}
    }
    match parse_size(text)
        .map_err(|why| format!("{why}; or `unlimited`, or `default` for the server's default"))?
    {
        0 | u64::MAX => Err("write `unlimited` or `default`".to_owned()),
        bytes => Ok(MaxSize::Bytes(bytes)),
    }
}

/// Parses a number of bytes with an optional unit.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits_end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_' || c == ','))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let unit = unit.trim().to_ascii_lowercase();
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("unknown unit `{unit}`; a size is written like 512, 64KiB or 10GB"));
    };
    let number: String = number.chars().filter(|c| *c != '_' && *c != ',').collect();
    scaled(&number, *factor)
        .ok_or_else(|| format!("`{text}` is not a size; write it like 512, 64KiB or 10GB"))
}

/// `number * factor`, exactly, when that is a whole number of bytes that fits.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let mut bytes = u128::from(whole).checked_mul(u128::from(factor))?;
    if !fraction.is_empty() {
        let digits = u32::try_from(fraction.len()).ok().filter(|n| *n <= 12)?;
        let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(factor);
        bytes += part / 10u128.pow(digits);
    }
    u64::try_from(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("64KiB", 65_536),
            ("1 MiB", 1 << 20),
            ("10GB", 10_000_000_000),
            ("1.5GiB", 3 << 29),
            ("1_000kb", 1_000_000),
            ("1,000", 1_000),
            ("2tib", 2 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn bad_sizes_say_how_to_write_one() {
        for text in ["", "GB", "10G", "-1", "1.2.3MB", "99999999999999TiB", "1e9"] {
            let why = parse_size(text).unwrap_err();
            assert!(why.contains("64KiB"), "{text}: {why}");
        }
    }

    #[test]
    fn max_size_words() {
        assert_eq!(parse_max_size("unlimited"), Ok(MaxSize::Unlimited));
        assert_eq!(parse_max_size("default"), Ok(MaxSize::ServerDefault));
        assert_eq!(parse_max_size("1GiB"), Ok(MaxSize::Bytes(1 << 30)));
        assert!(parse_max_size("0").is_err());
    }
}
