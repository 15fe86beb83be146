//! Permissions as people type them: flags divided by commas, behind what they hold for.

use galgo::Identifier;
use galgo::{GlobalPermissions, StreamFlags, TopicPermissions};

/// Flags of one kind, with their names.
pub(crate) trait Flags: Sized {
    /// No flag and every flag.
    const ALL: Self;
    /// The names as the protocol has them, in the order of [`Flags::values`].
    fn names() -> &'static [&'static str];
    /// The flags from their values.
    fn of(values: &[bool]) -> Self;
    /// Whether each is set.
    fn values(&self) -> Vec<bool>;
}

macro_rules! flags {
    ($($kind:ident)*) => {$(
        impl Flags for $kind {
            const ALL: Self = Self::ALL;

            fn names() -> &'static [&'static str] {
                &Self::NAMES
            }

            fn of(values: &[bool]) -> Self {
                let Ok(values) = values.try_into() else {
                    unreachable!("there is a value for each name of a flag");
                };
                Self::from_array(values)
            }

            fn values(&self) -> Vec<bool> {
                self.to_array().to_vec()
            }
        }
    )*};
}

flags! { GlobalPermissions StreamFlags TopicPermissions }

/// Flags of one stream.
pub(crate) type StreamGrant = (Identifier, StreamFlags);
/// Flags of one topic: its stream, itself, the flags.
pub(crate) type TopicGrant = (Identifier, Identifier, TopicPermissions);

/// Parses `read-servers,poll-messages`, `all` or `none`.
pub(crate) fn parse_global(text: &str) -> Result<GlobalPermissions, String> {
    parse_flags(text)
}

/// Parses `STREAM:read-topics,poll-messages`.
pub(crate) fn parse_stream(text: &str) -> Result<StreamGrant, String> {
    let (stream, flags) = divide(text, "STREAM:FLAGS, like orders:read-topics,poll-messages")?;
    Ok((identifier(stream)?, parse_flags(flags)?))
}

/// Parses `STREAM/TOPIC:poll-messages`.
pub(crate) fn parse_topic(text: &str) -> Result<TopicGrant, String> {
    const FORM: &str = "STREAM/TOPIC:FLAGS, like orders/paid:poll-messages";
    let (path, flags) = divide(text, FORM)?;
    let (stream, topic) = path.split_once('/').ok_or_else(|| format!("write {FORM}"))?;
    Ok((identifier(stream)?, identifier(topic)?, parse_flags(flags)?))
}

/// The set flags as they are typed: `read-servers, poll-messages`.
pub(crate) fn show(flags: &impl Flags) -> String {
    let names = names(flags);
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The names of the set flags.
pub(crate) fn names<F: Flags>(flags: &F) -> Vec<String> {
    let values = flags.values();
    assert!(values.len() == F::names().len(), "each flag has a name");
    let named = F::names().iter().zip(values);
    named.filter(|(_, set)| *set).map(|(name, _)| typed(name)).collect()
}

/// The last colon divides, as a name may have some.
fn divide<'a>(text: &'a str, form: &str) -> Result<(&'a str, &'a str), String> {
    text.rsplit_once(':').ok_or_else(|| format!("write {form}"))
}

fn identifier(text: &str) -> Result<Identifier, String> {
    text.parse().map_err(|error| format!("`{text}` is no name: {error}"))
}

fn parse_flags<F: Flags>(text: &str) -> Result<F, String> {
    match text.trim() {
        "all" => return Ok(F::ALL),
        "none" => return Ok(F::of(&vec![false; F::names().len()])),
        _ => {}
    }
    let mut values = vec![false; F::names().len()];
    for word in text.split(',').map(str::trim) {
        let wanted = word.replace('_', "-");
        let found = F::names().iter().zip(&mut values).find(|(name, _)| typed(name) == wanted);
        let Some((_, value)) = found else {
            let known: Vec<String> = F::names().iter().map(|name| typed(name)).collect();
            return Err(format!("`{word}` is none of {}, all, none", known.join(", ")));
        };
        *value = true;
    }
    Ok(F::of(&values))
}

fn typed(name: &str) -> String {
    name.replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_and_shown_alike() {
        let flags = parse_global("read-servers, poll_messages").unwrap();
        assert!(flags.read_servers && flags.poll_messages && !flags.manage_servers);
        assert_eq!(show(&flags), "read-servers, poll-messages");
        assert_eq!(parse_global("all"), Ok(GlobalPermissions::ALL));
        assert_eq!(show(&parse_global("none").unwrap()), "none");
    }

    #[test]
    fn a_stream_and_a_topic_come_before_their_flags() {
        let (stream, flags) = parse_stream("or:ders:read-topics").unwrap();
        assert_eq!((stream.to_string().as_str(), flags.read_topics), ("or:ders", true));
        let (stream, topic, flags) = parse_topic("7/paid:manage-topic,send-messages").unwrap();
        assert_eq!((stream, topic.to_string().as_str()), (Identifier::Numeric(7), "paid"));
        assert!(flags.manage_topic && flags.send_messages && !flags.read_topic);
    }

    #[test]
    fn what_is_wrong_says_what_there_is() {
        for (text, part) in
            [("orders", "STREAM:FLAGS"), ("orders:fly", "read-topics"), (":all", "name")]
        {
            let why = parse_stream(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
        assert!(parse_topic("orders:all").unwrap_err().contains("STREAM/TOPIC"));
        assert!(parse_global("").is_err());
    }
}
