//! A program as an origin: its messages, and that it goes on behind what was settled.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{ConformReport, Over, ProgramTalk};
use crate::exec::{Launch, SaidLine};
use crate::source::Incoming;

/// Chunks that are looked at in each part.
const CHUNKS: usize = 3;

/// Messages, and the position behind them.
struct HeardMessages {
    messages: Vec<Incoming>,
    position: Value,
}

pub(super) async fn try_out(
    launch: &Launch,
    mut talk: ProgramTalk,
    first: SaidLine,
    report: &mut ConformReport,
) -> Result<(), Over> {
    let mut heard = vec![heard(first, report)?];
    while heard.len() < CHUNKS
        && let Some(more) = hear(&mut talk, report).await?
    {
        heard.push(more);
    }
    let messages: Vec<&Incoming> = heard.iter().flat_map(|heard| &heard.messages).collect();
    report.good(format!("messages: {} in {} lines", messages.len(), heard.len()));
    let ids = ids_of(&heard);
    match ids.len() == messages.len() {
        true => report.good("ids: each message has one"),
        false => report.warning(
            "ids: there are messages without",
            "give each message an id that is the same when it is read again, else it is stored again",
        ),
    }
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    if unique.len() < ids.len() {
        report.fault(
            "ids: two messages have the same",
            "an id is of one message only; the second one would be dropped",
        );
    }
    let Some(settled) = heard.first().filter(|heard| !heard.position.is_null()) else {
        report.warning(
            "position: there is none",
            "write where to go on behind the messages; without it each start begins anew",
        );
        talk.stop(report).await;
        return Ok(());
    };
    let position = settled.position.clone();
    talk.tell(&format!("{}\n", json!({ "settled": position })), report).await?;
    talk.stop(report).await;
    goes_on(launch, &heard, &position, "a stop", report).await?;
    // That talk ended with a kill.
    goes_on(launch, &heard, &position, "a kill", report).await
}

/// Starts it behind the first line, and looks whether it goes on with the second.
async fn goes_on(
    launch: &Launch,
    before: &[HeardMessages],
    position: &Value,
    after: &str,
    report: &mut ConformReport,
) -> Result<(), Over> {
    let mut talk = ProgramTalk::begin(launch, position.clone(), report).await?;
    let Some(now) = hear(&mut talk, report).await? else {
        report.warning(
            format!("position: after {after} no messages came"),
            "nothing, if there are no more; else go on behind the position of hello",
        );
        return Ok(());
    };
    let now = ids_of(&[now]);
    let settled = before.first().map(|heard| ids_of(std::slice::from_ref(heard)));
    if settled.is_some_and(|settled| now.iter().any(|id| settled.contains(id))) {
        report.fault(
            format!("position: after {after} it began in front of what was settled"),
            "go on behind the position of hello",
        );
        return Ok(());
    }
    let expected =
        before.get(1).and_then(|heard| ids_of(std::slice::from_ref(heard)).first().copied());
    match (expected, now.first()) {
        (Some(expected), Some(first)) if expected != *first => report.fault(
            format!(
                "position: after {after} it did not go on with the message behind the position"
            ),
            "what was not settled is to come again: the pipeline may not have stored it",
        ),
        _ => report.good(format!("position: after {after} it goes on behind what was settled")),
    }
    Ok(())
}

async fn hear(
    talk: &mut ProgramTalk,
    report: &mut ConformReport,
) -> Result<Option<HeardMessages>, Over> {
    let until = Instant::now() + talk.patience;
    loop {
        let Some(said) = talk.hear(until.saturating_duration_since(Instant::now()), report).await?
        else {
            return Ok(None);
        };
        let heard = heard(said, report)?;
        if !heard.messages.is_empty() {
            return Ok(Some(heard));
        }
    }
}

fn heard(said: SaidLine, report: &mut ConformReport) -> Result<HeardMessages, Over> {
    let SaidLine { messages, position, .. } = said;
    let advice =
        "an origin writes {\"messages\":[{\"id\":..,\"key\":..,\"payload\":..}],\"position\":..}";
    let Some(messages) = messages else {
        return Err(report.over("the program wrote a line without messages", advice));
    };
    let messages: Result<_, String> =
        messages.into_iter().map(crate::exec::SaidMessage::into_incoming).collect();
    match messages {
        Ok(messages) => Ok(HeardMessages { messages, position }),
        Err(what) => Err(report.over(format!("the program {what}"), advice)),
    }
}

fn ids_of(heard: &[HeardMessages]) -> Vec<u128> {
    heard.iter().flat_map(|heard| &heard.messages).filter_map(|message| message.id).collect()
}
