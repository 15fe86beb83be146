//! The settings of a topic: as options, as they are sent, as they are shown.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Arg, ArgAction, ArgMatches, Command};
use galgo::TopicOptions;
use galgo::model::TopicOption;
use galgo::model::{MaxTopicSize, MessageExpiry};
use galgo_wire::measure::parse_time;
use galgo_wire::options::{OptionRow, TOPIC_OPTIONS};

use crate::output::measure;

/// The word that takes an option back to what the server is configured to.
const DEFAULT: &str = "default";

/// Options of a topic as they were given, by name; an empty value is the server's default.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopicSettingArgs(Vec<TopicOption>);

impl TopicSettingArgs {
    /// Whether nothing is set.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `options` with what is set.
    pub(super) fn apply(&self, options: TopicOptions) -> TopicOptions {
        self.0.iter().fold(options, |options, it| options.set(&it.name, &it.value))
    }

    /// What is set.
    pub(super) fn into_options(self) -> Vec<TopicOption> {
        self.0
    }

    /// The flags of all options, as they are named when none is given.
    pub(super) fn flags() -> String {
        let flags: Vec<_> = TOPIC_OPTIONS.iter().map(|row| format!("--{}", row.flag)).collect();
        flags.join(", ")
    }
}

impl From<Vec<TopicOption>> for TopicSettingArgs {
    fn from(options: Vec<TopicOption>) -> Self {
        Self(options)
    }
}

/// A flag for each row of the table, and `--set` for options this tool does not know.
impl clap::Args for TopicSettingArgs {
    fn augment_args(command: Command) -> Command {
        let set = Arg::new("set")
            .long("set")
            .value_name("NAME=VALUE")
            .help("Set an option by name, as galgo topic set does; may be given several times")
            .action(ArgAction::Append)
            .value_parser(super::options::parse);
        command.args(TOPIC_OPTIONS.iter().map(flag)).arg(set)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for TopicSettingArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = TOPIC_OPTIONS.iter().filter_map(|row| matches.get_one::<TopicOption>(row.name));
        let set = matches.get_many::<TopicOption>("set").into_iter().flatten();
        Ok(Self(flags.chain(set).cloned().collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn flag(row: &'static OptionRow) -> Arg {
    let meaning = row.meaning();
    let (first, _) = meaning.split_once(". ").unwrap_or((meaning.trim_end_matches('.'), ""));
    let arg = Arg::new(row.name).long(row.flag).value_name("VALUE").help(first.to_owned());
    if row.values.is_empty() {
        let long = format!("{meaning}\n\nValues: {}, or {DEFAULT}", row.expected);
        return arg.long_help(long).value_parser(move |text: &str| value_of(row, text));
    }
    // A list, so that help and completions show it.
    let values = row.values.iter().copied().chain([DEFAULT]);
    let values = PossibleValuesParser::new(values);
    arg.long_help(meaning).value_parser(values.try_map(move |text| value_of(row, &text)))
}

/// A longer time is a typing mistake, and `never` says it better: 1,000 years, in microseconds.
const TIME_US_MAX: u64 = 1_000 * 365 * 24 * 60 * 60 * 1_000_000;
const _: () = assert!(
    TIME_US_MAX < (i64::MAX / 2) as u64,
    "a time that is taken may be added to the present one, and is shown"
);

/// The value of a flag, or [`DEFAULT`].
fn value_of(row: &OptionRow, text: &str) -> Result<TopicOption, String> {
    let value = match text.trim() {
        // As from a variable that is not set: nothing was meant to be taken back.
        "" => return Err(format!("expected {}; or {DEFAULT}", row.expected)),
        DEFAULT => "",
        value => value,
    };
    if parse_time(value).is_some_and(|us| us > TIME_US_MAX) {
        return Err("over 1,000 years; write `never`".to_owned());
    }
    row.check(value).map_err(|error| format!("{error}; or {DEFAULT}"))?;
    Ok(TopicOption { name: row.name.to_owned(), value: value.to_owned() })
}

/// Reads how long messages are kept.
pub(super) fn parse_expiry(text: &str) -> Result<TopicOption, String> {
    named("message_expiry", text)
}

/// Reads how large a topic may grow.
pub(super) fn parse_max_size(text: &str) -> Result<TopicOption, String> {
    named("max_size", text)
}

fn named(name: &str, text: &str) -> Result<TopicOption, String> {
    let Some(row) = OptionRow::of(name) else {
        unreachable!("{name} is a row of the table of options");
    };
    value_of(row, text)
}

/// How long messages are kept, as it is typed.
pub(super) fn show_expiry(expiry: MessageExpiry) -> String {
    match expiry.limit() {
        Some(micros) => measure::duration(Duration::from_micros(micros)),
        None => expiry.to_string(),
    }
}

/// How large a topic may grow, as it is typed.
pub(super) fn show_max_size(size: MaxTopicSize) -> String {
    size.limit().map_or_else(|| size.to_string(), measure::bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_take_values_of_their_option_and_the_default() {
        assert_eq!(parse_expiry(" 7days ").unwrap().value, "7days");
        assert_eq!(parse_expiry("default").unwrap().value, "");
        assert_eq!(parse_max_size("unlimited").unwrap().name, "max_size");
        for refused in [parse_expiry("0s"), parse_expiry(" "), parse_max_size("0")] {
            let why = refused.unwrap_err();
            assert!(why.contains("expected") && why.ends_with("; or default"), "{why}");
        }
        assert!(parse_expiry("2000years").unwrap_err().contains("never"));
    }

    #[test]
    fn settings_are_shown_as_they_are_typed() {
        assert_eq!(show_expiry(MessageExpiry::NEVER), "never");
        assert_eq!(show_expiry(MessageExpiry::new(7 * 86_400_000_000)), "7days");
        assert_eq!(show_expiry(MessageExpiry::new(1_000_000)), "1.00 s");
        assert_eq!(show_max_size(MaxTopicSize::new(10 << 30)), "10.0 GiB");
        assert_eq!(show_max_size(MaxTopicSize::UNLIMITED), "unlimited");
    }
}
