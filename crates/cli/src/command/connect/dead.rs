//! `galgo connect dead`: the letters of a pipeline.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use galgo_connect::manage::{self, DeadLetter, DeadList};
use galgo_connect::process::{Ended, RunOptions};
use serde_json::json;
use tokio::sync::watch;

use super::dialer::Dialer;
use super::run::{STOPPING, ended_at_once, failure_of, log_to_stderr};
use super::{FileArgs, RemovalArgs, of_pipeline};
use crate::failure::Outcome;
use crate::global::Global;
use crate::interrupt::Interrupt;
use crate::output::{measure, table};
use crate::value::duration::parse_duration;
use crate::value::size::parse_size;
use crate::value::time::show_time;

const AFTER_HELP: &str = "\
A message that the target does not take goes to the topic of errors.dead_letter, with what is wrong with it.
Mend the target or the file, and retry; what is dropped stays in the topic until its retention takes it.";

/// Arguments of `galgo connect dead`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DeadArgs {
    #[command(flatten)]
    file: FileArgs,
    #[command(subcommand)]
    what: What,
}

/// What to do with them.
#[derive(Debug, Subcommand)]
enum What {
    /// List the letters that were neither delivered nor dropped, the oldest first
    List(ListArgs),
    /// Send the letters that are there through the transforms and into the target again
    Retry(RetryArgs),
    /// Pass over all letters that are there: they are not listed or retried any more
    Drop(DropArgs),
}

#[derive(Args, Debug)]
struct ListArgs {
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
}

#[derive(Args, Debug)]
struct RetryArgs {
    /// How much of what was read and not yet delivered may be in memory
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    memory: u64,
    /// How long what is under way may take after Ctrl-C
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_duration)]
    stop_timeout: Duration,
}

#[derive(Args, Debug)]
struct DropArgs {
    #[command(flatten)]
    confirm: crate::confirm::Confirm,
}

/// Runs the command.
pub(super) fn run(args: DeadArgs, global: &Global) -> Outcome {
    let DeadArgs { file, what } = args;
    match what {
        What::List(args) => super::super::block_on(list(&file, &args, global)),
        What::Drop(DropArgs { confirm }) => {
            super::super::block_on(drop_all(RemovalArgs { file, confirm }, global))
        }
        What::Retry(args) => {
            log_to_stderr(global.output())?;
            super::super::block_on(retry(&file, &args, global))
        }
    }
}

async fn list(file: &FileArgs, args: &ListArgs, global: &Global) -> Outcome {
    let file = file.load()?;
    let list = manage::list_dead(&file, &Dialer::new(global), args.limit).await;
    let list = list.map_err(|failure| of_pipeline(&file.name, &failure))?;
    let told = json!({
        "pipeline": file.name,
        "letters": list.letters.iter().map(told_of).collect::<Vec<_>>(),
        "more": list.has_more,
    });
    global.output().show(&told, |_| rows_of(&list))
}

fn told_of(letter: &DeadLetter) -> serde_json::Value {
    json!({
        "partition": letter.partition,
        "offset": letter.offset,
        "buried_at": show_time(letter.time_us),
        "from_topic": letter.from_topic,
        "from_partition": letter.from_partition,
        "from_offset": letter.from_offset,
        "size_bytes": letter.bytes,
        "reason": letter.reason,
    })
}

fn rows_of(list: &DeadList) -> String {
    let columns = [
        table::number("LETTER"),
        table::text("BURIED AT"),
        table::text("MESSAGE"),
        table::number("SIZE"),
        table::text("REASON"),
    ];
    let place = |letter: &DeadLetter| {
        let topic = letter.from_topic.as_deref().unwrap_or("-");
        match (letter.from_partition, letter.from_offset) {
            (Some(partition), Some(offset)) => format!("{topic}/{partition} {offset}"),
            _ => topic.to_owned(),
        }
    };
    let rows = list.letters.iter().map(|letter| {
        vec![
            letter.offset.to_string(),
            show_time(letter.time_us),
            place(letter),
            measure::bytes(letter.bytes),
            letter.reason.clone(),
        ]
    });
    let mut text = table::columns(&columns, rows, "no letters");
    if list.has_more {
        text.push_str("\nthere are more: --limit shows them");
    }
    text
}

async fn drop_all(args: RemovalArgs, global: &Global) -> Outcome {
    let file = args.file.load()?;
    args.confirm.ask(&format!(
        "pass over all dead letters of {} that are there, so that they are never delivered?",
        file.name
    ))?;
    let dropped = manage::drop_dead(&file, &Dialer::new(global)).await;
    let dropped = dropped.map_err(|failure| of_pipeline(&file.name, &failure))?;
    let sentence = format!("{} dropped", measure::counted(dropped as u64, "letter"));
    global.output().done(&sentence, &json!({ "pipeline": file.name, "dropped": dropped }))
}

async fn retry(file: &FileArgs, args: &RetryArgs, global: &Global) -> Outcome {
    let (output, file) = (global.output(), file.load()?);
    let name = file.name.clone();
    let options = RunOptions {
        once: true,
        http: None,
        memory: galgo_wire::index::to_usize(args.memory),
        stop_timeout: args.stop_timeout,
    };
    let (stopping, stop) = watch::channel(false);
    let mut interrupt = Interrupt::watch()?;
    let retrying = manage::retry_dead(file, options, Arc::new(Dialer::new(global)), stop);
    tokio::pin!(retrying);
    let retried = loop {
        tokio::select! {
            retried = &mut retrying => break retried,
            () = interrupt.wait() => {
                if stopping.send_replace(true) {
                    return Err(ended_at_once());
                }
                output.notice(STOPPING);
            }
        }
    };
    let retried = retried.map_err(|failure| of_pipeline(&name, &failure))?;
    let counts = retried.counts;
    let ended = Ended { pipeline: name.clone(), end: retried.end };
    if let Some(failure) = failure_of(&ended) {
        return Err(failure);
    }
    let sentence = format!(
        "{} delivered; {} not taken again",
        measure::counted(counts.delivered, "row"),
        measure::counted(counts.dead, "letter"),
    );
    output.done(
        &sentence,
        &json!({ "pipeline": name, "delivered_rows": counts.delivered, "not_taken": counts.dead }),
    )
}
