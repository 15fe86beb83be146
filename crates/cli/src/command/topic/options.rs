//! `galgo topic set`: options of a topic by name.

use galgo::model::{ResolvedOption, TopicOption};
use galgo::{CallError, Client, ErrorCode};
use galgo_wire::options::OptionRow;
use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::noun::topic::TopicPath;
use crate::output::Output;

/// Reads `name=value`.
pub(super) fn parse(text: &str) -> Result<TopicOption, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("an option is name=value; name= takes it back to the default")?;
    Ok(TopicOption { name: name.trim().to_owned(), value: value.trim().to_owned() })
}

/// Sets options; says which are there when one is not.
pub(super) async fn set(
    client: &Client,
    output: Output,
    path: &TopicPath,
    options: Vec<TopicOption>,
) -> Outcome {
    let told: Vec<_> = options.iter().map(|it| format!("{}={}", it.name, it.value)).collect();
    if let Err(error) = configure(client, path, options).await {
        return Err(error.into_failure());
    }
    let sentence = format!("{} of {} set", told.join(" "), path.phrase());
    output.done(&sentence, &json!({ "set": told, "topic": path.topic.to_string() }))
}

/// Why options are not set.
pub(super) enum NotSet {
    /// The server knows no options by name.
    Unsupported(Failure),
    /// Anything else.
    Failed(Failure),
}

impl NotSet {
    fn into_failure(self) -> Failure {
        match self {
            Self::Unsupported(failure) | Self::Failed(failure) => failure,
        }
    }
}

impl From<Failure> for NotSet {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Sets options, and leaves all others as they are.
pub(super) async fn configure(
    client: &Client,
    path: &TopicPath,
    options: Vec<TopicOption>,
) -> Result<(), NotSet> {
    let names: Vec<String> = options.iter().map(|it| it.name.clone()).collect();
    match client.configure_topic(&path.stream, &path.topic, options).await {
        Ok(()) => Ok(()),
        Err(error @ CallError::Unsupported(_)) => Err(NotSet::Unsupported(error.into())),
        Err(error) => {
            let failure = Failure::from(error);
            if !failure.is_refusal(ErrorCode::InvalidFormat) {
                path.details(client).await?;
                return Err(failure.into());
            }
            let known = client.topic_config(&path.stream, &path.topic).await;
            let known = known.map_err(Failure::from)?;
            Err(refused(failure, &names, &known).into())
        }
    }
}

fn refused(failure: Failure, names: &[String], known: &[ResolvedOption]) -> Failure {
    let there = |name: &String| known.iter().any(|it| it.name == *name);
    match names.iter().find(|name| !there(name)) {
        Some(name) => {
            let known: Vec<_> = known.iter().map(|it| it.name.as_str()).collect();
            failure
                .instead(format!("there is no option {name}"))
                .hint(format!("those there are: {}", known.join(", ")))
        }
        None => {
            let failure = failure.instead("a value does not fit its option".to_owned());
            match expected(names) {
                text if text.is_empty() => failure,
                text => failure.hint(format!("what they take: {text}")),
            }
        }
    }
}

/// What the options take, as far as this tool knows.
fn expected(names: &[String]) -> String {
    let rows = names.iter().filter_map(|name| OptionRow::of(name));
    let expected: Vec<_> = rows.map(|row| format!("{} {}", row.name, row.expected)).collect();
    expected.join("; ")
}

/// An option as a line of facts.
pub(super) fn fact(option: &ResolvedOption) -> (&str, String) {
    let default = if option.default { " (default)" } else { "" };
    (&option.name, format!("{}{default}", option.value))
}
