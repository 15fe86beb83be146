//! `galgo mirror`: copy a topic from one server to another.

use std::time::Instant;

use clap::Args;
use galgo::Identifier;
use serde::Serialize;

use crate::dial::Target;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::interrupt::Interrupt;
use crate::mirror::lane::Options;
use crate::mirror::report::PartitionReport;
use crate::mirror::side::Side;
use crate::mirror::{Mirror, target};
use crate::noun::topic::TopicPath;
use crate::output::{Output, measure, table};
use crate::progress::Progress;

const AFTER_HELP: &str = "\
Partition n is copied to partition n, in order. Ids, headers and the sender's time stay, byte for byte;
the offset and the time each message has in the source become its headers mirror.offset and
mirror.timestamp, behind its own. Headers that leave no room for them, or are no pairs of key and value,
are copied as they are. The target is made, with the source's settings, when it is not there.

The same command, run again after an interruption, goes on where the target ends. Only one copy may
write to a target at a time, and nothing else; the check at the end tells when something did. When the
source is purged or made again while it is copied, the copy says so and goes on with its first message;
one that is started later refuses unless it is told to --begin-anew.

Either server may be a classic one (iggy://USER:PASSWORD@HOST:PORT). Credentials that a URL leaves out
are taken from GALGO_USERNAME and GALGO_PASSWORD. How to connect is part of a URL as well:
galgo://HOST:PORT?tls=true&tls_ca_file=FILE, galgo+wss://HOST:PORT, galgo+quic://HOST:PORT.";

/// Arguments of `galgo mirror`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct MirrorArgs {
    /// The server to copy from
    #[arg(value_name = "FROM_URL")]
    from: String,
    /// Its stream
    #[arg(value_name = "FROM_STREAM")]
    from_stream: Identifier,
    /// Its topic
    #[arg(value_name = "FROM_TOPIC")]
    from_topic: Identifier,
    /// The server to copy to
    #[arg(value_name = "TO_URL")]
    to: String,
    /// Its stream
    #[arg(value_name = "TO_STREAM")]
    to_stream: Identifier,
    /// Its topic
    #[arg(value_name = "TO_TOPIC")]
    to_topic: Identifier,
    /// Go on with messages as they come, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Do not check the checksums of what is read; needed for a classic server that encrypts
    #[arg(long)]
    skip_checksums: bool,
    /// Leave out messages that are damaged in the source, and say which
    #[arg(long)]
    skip_damaged: bool,
    /// Copy a source that was purged or made again since from its first message, behind what the target has
    #[arg(long)]
    begin_anew: bool,
}

/// What was done.
#[derive(Serialize)]
struct Summary {
    mirrored: &'static str,
    created: bool,
    complete: bool,
    verified: bool,
    messages: u64,
    bytes: u64,
    gone_from_source: u64,
    damaged: u64,
    seconds: f64,
    partitions: Vec<PartitionReport>,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: MirrorArgs) -> Outcome {
    global.refuse_connection_options(
        "a copy, whose two servers are named by their URLs",
        "write it into the URLs: galgo://HOST:PORT?tls=true&tls_ca_file=FILE, galgo+wss://HOST:PORT, \
         galgo+quic://HOST:PORT",
    )?;
    let output = global.output();
    let mut interrupt = Interrupt::watch()?;
    let begun = Instant::now();
    let from = TopicPath { stream: args.from_stream, topic: args.from_topic };
    let from = side(output, &args.from, from);
    let source = from.await.map_err(|failure| failure.while_doing("the source"))?;
    let to = TopicPath { stream: args.to_stream, topic: args.to_topic };
    let to = side(output, &args.to, to);
    let sink = to.await.map_err(|failure| failure.while_doing("the target"))?;
    let created = target::prepare(&source, &sink).await?;
    let options = Options {
        follow: args.follow,
        verify_checksums: !args.skip_checksums,
        skip_damaged: args.skip_damaged,
        begin_anew: args.begin_anew,
    };
    let mirror = Mirror::plan(source, sink, options, output).await?;
    if args.follow {
        output.remark("following; Ctrl-C ends it");
    }
    let total = (!args.follow).then(|| mirror.total());
    let progress = Progress::start_messages(output.format, total);
    let ended = tokio::select! {
        ended = mirror.run(&progress) => Some(ended),
        () = interrupt.wait() => None,
    };
    progress.finish();
    let complete = matches!(ended, Some(Ok(())));
    if complete {
        mirror.verify().await?;
    }
    let summary = Summary::of(&mirror, created, complete, begun);
    match ended {
        Some(Ok(())) => output.show(&summary, Summary::text),
        None if args.follow => output.show(&summary, Summary::text),
        None => Err(summary.on(Failure::io("interrupted"))),
        Some(Err(failure)) => Err(summary.on(failure)),
    }
}

async fn side(output: Output, url: &str, path: TopicPath) -> Outcome<Side> {
    let client = Target { url: url.to_owned(), login: None, output }.connect().await?;
    Ok(Side { client, path })
}

impl Summary {
    fn of(mirror: &Mirror, created: bool, complete: bool, begun: Instant) -> Self {
        let partitions = mirror.reports();
        let sum = |field: fn(&PartitionReport) -> u64| partitions.iter().map(field).sum();
        Self {
            mirrored: "topic",
            created,
            complete,
            verified: complete,
            messages: sum(|report| report.copied),
            bytes: sum(|report| report.bytes),
            gone_from_source: sum(|report| report.gone_from_source),
            damaged: sum(|report| report.damaged),
            seconds: begun.elapsed().as_secs_f64(),
            partitions,
        }
    }

    /// A failure that says how far the copy came.
    fn on(&self, failure: Failure) -> Failure {
        failure
            .and(format!("{} copied", measure::counted(self.messages, "message")))
            .fact("copied", self.messages)
            .or_hint("the same command goes on where this one stopped")
    }

    fn text(&self) -> String {
        let columns = [
            table::number("PARTITION"),
            table::number("THERE BEFORE"),
            table::number("COPIED"),
            table::number("GONE"),
            table::number("NEXT OFFSET"),
        ];
        let rows = self.partitions.iter().map(|report| {
            vec![
                report.partition.to_string(),
                measure::count(report.there_before),
                measure::count(report.copied),
                measure::count(report.gone_from_source),
                measure::count(report.next_offset),
            ]
        });
        let rows = table::columns(&columns, rows, "no partitions");
        let verdict = if self.verified { ", and the target agrees" } else { "" };
        let mut text = format!(
            "{rows}\n\n{} copied, {}, in {:.1} s{verdict}",
            measure::counted(self.messages, "message"),
            measure::bytes(self.bytes),
            self.seconds,
        );
        if self.gone_from_source > 0 {
            let gone = measure::counted(self.gone_from_source, "message");
            text += &format!("; {gone} had gone from the source before");
        }
        if self.damaged > 0 {
            let damaged = measure::counted(self.damaged, "damaged message");
            text += &format!("; {damaged} left out");
        }
        text
    }
}
