//! Durations: `30s`, `7days`, `1h 30m`, and the word `never`.

use std::time::Duration;

/// Parses how long a token is good: `30d` or `never`.
pub(crate) fn parse_life(text: &str) -> Result<Option<Duration>, String> {
    if text.trim() == "never" {
        return Ok(None);
    }
    match parse_duration(text).map_err(|why| format!("{why}; or `never`"))? {
        Duration::ZERO => Err("a token that expires at once is of no use".to_owned()),
        life => Ok(Some(life)),
    }
}

/// Parses `90s`, `1h 30m`, `7days`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|error| format!("{error}; a duration is written like 30s, 10m, 1h 30m or 7days"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_durations() {
        for (text, seconds) in
            [("30s", 30), ("10m", 600), ("1h 30m", 5400), ("7days", 604_800), (" 1d ", 86_400)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn bad_durations_say_how_to_write_one() {
        for text in ["", "10", "10 parsecs", "-5s", "s"] {
            let why = parse_duration(text).unwrap_err();
            assert!(why.contains("30s"), "{text}: {why}");
        }
    }

    #[test]
    fn lives_of_tokens() {
        assert_eq!(parse_life("30d"), Ok(Some(Duration::from_secs(30 * 86_400))));
        assert_eq!(parse_life("never"), Ok(None));
        assert!(parse_life("0s").is_err());
        assert!(parse_life("soon").unwrap_err().contains("`never`"));
    }
}
