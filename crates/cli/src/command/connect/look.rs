//! What is asked of pipelines that need not run.

use clap::Args;
use galgo_connect::manage::{self, Examination, LanePlace, NeededRight};
use galgo_connect::{Weight, kind};
use serde::Serialize;
use serde_json::json;

use super::dialer::Dialer;
use super::{FilesArgs, Load, RemovalArgs, of_file, of_pipeline};
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::{Output, measure, table};

/// Arguments of `galgo connect check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    files: FilesArgs,
    /// How many of the newest messages of each topic are tried
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    sample: u32,
    /// List the rights on Galgo that the pipelines need, and ask nobody
    #[arg(long, conflicts_with = "sample")]
    rights: bool,
}

/// Arguments of `galgo connect cleanup`.
pub(crate) type CleanupArgs = RemovalArgs;

/// Arguments of `galgo connect new`.
#[derive(Args, Debug)]
pub(crate) struct NewArgs {
    /// The kind, as galgo connect kinds lists them
    #[arg(value_name = "KIND")]
    kind: String,
    /// A pipeline from this kind into a topic, in place of one from a topic into it
    #[arg(long)]
    from: bool,
}

/// Runs `galgo connect check`.
pub(super) async fn check(args: CheckArgs, global: &Global) -> Outcome {
    let (output, dialer) = (global.output(), Dialer::new(global));
    let load = args.files.load()?;
    if args.rights {
        return rights(&load, output);
    }
    let mut faults = 0;
    for loaded in &load.good {
        let name = &loaded.pipeline.name;
        let found = manage::check(&loaded.pipeline, &dialer, args.sample).await;
        let found = found.map_err(|failure| of_pipeline(name, &failure))?;
        show(output, name, &found)?;
        faults += found.findings.iter().filter(|it| it.weight == Weight::Fault).count();
    }
    match (faults, load.faults.first()) {
        (0, None) => Ok(()),
        (0, Some(fault)) => Err(of_file(fault)),
        (faults, _) => Err(Failure::denied(format!(
            "{} found; nothing was changed",
            measure::counted(faults as u64, "fault")
        ))),
    }
}

/// Lists the rights that pipelines need.
fn rights(load: &Load, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Told<'a> {
        pipeline: &'a str,
        #[serde(flatten)]
        needed: NeededRight,
        option: String,
    }
    let mut told = Vec::new();
    for loaded in &load.good {
        let pipeline = loaded.pipeline.name.as_str();
        told.extend(manage::rights(&loaded.pipeline).into_iter().map(|needed| {
            let of = if needed.is_topic { "--topic" } else { "--stream" };
            Told { pipeline, option: format!("{of} {}:{}", needed.on, needed.right), needed }
        }));
    }
    let columns =
        [table::text("PIPELINE"), table::text("OPTION OF GALGO USER CREATE"), table::text("WHY")];
    output.show(&told, |told: &Vec<Told<'_>>| {
        let row =
            |it: &Told<'_>| vec![it.pipeline.to_owned(), it.option.clone(), it.needed.why.clone()];
        table::columns(&columns, told.iter().map(row), "no rights")
    })?;
    load.faults.first().map_or(Ok(()), |fault| Err(of_file(fault)))
}

/// Shows what was found of a pipeline.
pub(super) fn show(output: Output, name: &str, found: &Examination) -> Outcome {
    #[derive(Serialize)]
    struct Told<'a> {
        pipeline: &'a str,
        findings: Vec<serde_json::Value>,
        rows: &'a [String],
    }
    let word = |weight| match weight {
        Weight::Good => "ok",
        Weight::Warning => "warning",
        Weight::Fault => "fault",
    };
    let findings = found.findings.iter();
    let told = Told {
        pipeline: name,
        findings: findings
            .map(|it| json!({ "weight": word(it.weight), "what": it.text, "advice": it.advice }))
            .collect(),
        rows: &found.rows,
    };
    output.show(&told, |_| {
        let mut lines = vec![name.to_owned()];
        for it in &found.findings {
            let advice =
                it.advice.as_ref().map_or(String::new(), |advice| format!("\n           {advice}"));
            lines.push(format!("  {:<8} {}{advice}", word(it.weight), it.text));
        }
        lines.extend(found.rows.iter().map(|row| format!("  row      {row}")));
        lines.join("\n")
    })
}

/// Runs `galgo connect status`.
pub(super) async fn status(args: FilesArgs, global: &Global) -> Outcome {
    #[derive(Serialize)]
    struct Told {
        pipeline: String,
        #[serde(flatten)]
        lane: LanePlace,
    }
    let (output, dialer) = (global.output(), Dialer::new(global));
    let load = args.load()?;
    let mut told = Vec::new();
    for loaded in &load.good {
        let pipeline = &loaded.pipeline.name;
        let places = manage::places(&loaded.pipeline, &dialer).await;
        let places = places.map_err(|failure| of_pipeline(pipeline, &failure))?;
        told.extend(places.into_iter().map(|lane| Told { pipeline: pipeline.clone(), lane }));
    }
    let columns = [
        table::text("PIPELINE"),
        table::text("TOPIC"),
        table::number("PARTITION"),
        table::number("FIRST"),
        table::number("END"),
        table::number("TARGET NEXT"),
        table::number("GROUP OFFSET"),
        table::number("LAG"),
    ];
    let number = |number: Option<u64>| number.map_or("-".to_owned(), measure::count);
    output.show(&told, |told: &Vec<Told>| {
        let rows = told.iter().map(|Told { pipeline, lane }| {
            vec![
                pipeline.clone(),
                lane.topic.clone(),
                lane.partition.to_string(),
                measure::count(lane.first),
                measure::count(lane.end),
                number(lane.target_next),
                number(lane.stored),
                measure::count(lane.lag),
            ]
        });
        table::columns(&columns, rows, "no partitions")
    })?;
    load.faults.first().map_or(Ok(()), |fault| Err(of_file(fault)))
}

/// Runs `galgo connect cleanup`.
pub(super) async fn cleanup(args: CleanupArgs, global: &Global) -> Outcome {
    let file = args.file.load()?;
    args.confirm.ask(&format!(
        "remove the group, the positions and whatever else {} made for itself, so that it begins anew?",
        file.name
    ))?;
    let removed = manage::cleanup(&file, &Dialer::new(global)).await;
    let removed = removed.map_err(|failure| of_pipeline(&file.name, &failure))?;
    let sentence = match removed.is_empty() {
        true => format!("{} had left nothing", file.name),
        false => format!("removed: {}", removed.join("; ")),
    };
    global.output().done(&sentence, &json!({ "removed": removed }))
}

/// Runs `galgo connect kinds`.
pub(super) fn kinds(output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Kind {
        kind: &'static str,
        direction: &'static str,
        promise: &'static str,
    }
    let to =
        kind::sinks().iter().map(|it| Kind { kind: it.name, direction: "to", promise: it.promise });
    let from = kind::sources().iter().map(|it| Kind {
        kind: it.name,
        direction: "from",
        promise: it.promise,
    });
    let all: Vec<Kind> = to.chain(from).collect();
    let columns = [table::text("DIRECTION"), table::text("KIND"), table::text("PROMISE")];
    output.show(&all, |all: &Vec<Kind>| {
        let row =
            |it: &Kind| vec![it.direction.to_owned(), it.kind.to_owned(), it.promise.to_owned()];
        table::columns(&columns, all.iter().map(row), "no kinds")
    })
}

/// Runs `galgo connect new`.
pub(super) fn new(args: &NewArgs) -> Outcome {
    use std::io::Write as _;
    let known = |names: Vec<&str>| {
        kind::how_to_build(&args.kind)
            .unwrap_or_else(|| format!("the kinds are {}", names.join(", ")))
    };
    let text = match args.from {
        false => {
            let found = kind::sinks().iter().find(|it| it.name == args.kind);
            let names = kind::sinks().iter().map(|it| it.name).collect();
            let found = found.ok_or_else(|| unknown(&args.kind).hint(known(names)))?;
            format!("{OUT}\n{}", found.example)
        }
        true => {
            let found = kind::sources().iter().find(|it| it.name == args.kind);
            let names = kind::sources().iter().map(|it| it.name).collect();
            let found = found.ok_or_else(|| unknown(&args.kind).hint(known(names)))?;
            format!("{IN}\n{}\n{INTO}", found.example)
        }
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| Failure::output(&error))
}

fn unknown(kind: &str) -> Failure {
    Failure::usage(format!("there is no kind {kind}"))
}

/// The beginning of a file from a topic.
const OUT: &str = r#"# The name of the pipeline: of its group, its positions and in its metrics.
name = "my-pipeline"

[from.galgo]
# server = "galgo://127.0.0.1:8090"       # else as for every other command
# profile = "prod"                        # in its place: one made by galgo login
# token = { file = "/run/secrets/galgo" } # or { env = "NAME" }
stream = "shop"
topics = ["orders"]
# start = "first"                         # for the very first run only: first, next, or a time
# format = "json"                         # text, bytes, csv, msgpack, cbor, protobuf
# on_new_topic = "stop"                   # or restart: when the topic was deleted and made again
# on_gap = "stop"                         # or continue: when retention took messages before they were delivered
# session_timeout = "30s"                 # after so long a silence others take its partitions over

# [[transform]]
# jq = 'select(.status != "draft")'

# [batch]                                 # what ends a batch, the first of the three
# messages = 1000
# bytes = "1MiB"
# linger = "100ms"

# [errors]
# on_bad = "pause"                        # or dead-letter, skip: messages that the target does not take
# dead_letter = "shop/orders-dead"
# retry_for = "1h"                        # else it is tried for ever
# stalled_after = "2m"                    # /readyz says so
"#;

/// The beginning of a file into a topic.
const IN: &str = r#"# The name of the pipeline: of its cursor and in its metrics.
name = "my-pipeline"
"#;

/// The end of a file into a topic.
const INTO: &str = r#"[to.galgo]
# server = "galgo://127.0.0.1:8090"       # else as for every other command
stream = "shop"
topic = "events"
create = { partitions = 4, deduplication = "on" }
# key = ".customer_id"                    # which partition: jq; else the key of the origin
# id = "@message_id"                      # else jq; in a topic with deduplication an id is stored once
# format = "json"                         # how payloads of the origin are written, for transforms

# [[transform]]
# jq = '.'
"#;
