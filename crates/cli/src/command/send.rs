//! `galgo send`: lines of a file or of standard input, one message each.

use std::io::{IsTerminal as _, Read};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use galgo::MESSAGE_PAYLOAD_BYTES_MAX;
use galgo::{CallError, Client, PartitionBy, Producer};
use galgo_wire::limits::SEND_PAYLOAD_BYTES_MAX_DEFAULT;

use crate::dial::Target;
use crate::failure::{Failure, Outcome};
use crate::noun::topic::TopicPath;
use crate::progress::Progress;
use crate::send::feed::{self, Destination, Plan};
use crate::send::headers::Headers;
use crate::send::id::{MessageIds, parse_id};
use crate::send::key::KeyField;
use crate::send::ledger::AckLog;
use crate::send::line::Lines;
use crate::send::memory::TopicMemory;
use crate::send::report::{Report, Watch};
use crate::value::header::{HeaderText, parse_header};
use crate::value::partition::parse_partition;

/// Largest payload of one message.
const PAYLOAD_BYTES_MAX: usize = MESSAGE_PAYLOAD_BYTES_MAX as usize;

/// Bytes of a batch, whatever the number of its messages.
const BATCH_BYTES: usize = 1 << 20;
const _: () = assert!(
    BATCH_BYTES < SEND_PAYLOAD_BYTES_MAX_DEFAULT as usize,
    "a server takes a batch of lines unless it is configured otherwise"
);

/// Arguments of `galgo send`.
///
/// Lines end with a line feed, or a carriage return and a line feed; neither is sent. Any bytes
/// make a line. Empty lines are skipped and counted.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    path: TopicPath,
    /// The file to send; standard input when it is - or missing
    file: Option<PathBuf>,
    /// All messages to the partition of this key
    #[arg(long, value_name = "TEXT", group = "place", value_parser = parse_key)]
    key: Option<String>,
    /// The key of a message is this field of its line, from 1, fields divided by white space
    #[arg(long, value_name = "N", group = "place", conflicts_with = "whole")]
    key_field: Option<NonZeroUsize>,
    /// All messages to this partition
    #[arg(long, value_name = "N", group = "place")]
    #[arg(value_parser = parse_partition, allow_negative_numbers = true)]
    partition: Option<u32>,
    /// A text header of every message; may be given several times, once for each name
    #[arg(long, value_name = "K=V", value_parser = parse_header)]
    header: Vec<HeaderText>,
    /// The id of the first line's message, a number or a UUID; the message of line N has that plus N - 1
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    id: Option<MessageIds>,
    /// Send the file as one message
    #[arg(long)]
    whole: bool,
    /// Most messages in a batch
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// Append the number of each acknowledged line to FILE, and skip the lines it lists already
    #[arg(long, value_name = "FILE", conflicts_with = "whole")]
    ack_log: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Lines end with a line feed, or a carriage return and a line feed; neither is sent. Lines may hold
any bytes. Empty lines are skipped and counted. Messages with one key keep their order; lines that
lack the field of --key-field count as having the key `-`. Without a key or a partition the server
spreads batches over the partitions.

With --id, messages have ids of your choice instead of the server's. A topic with deduplication stores an
id once for as long as it remembers it: the same file sent again with the same --id soon stores only the lines that
are missing. How many ids a partition remembers, and for how long, is a setting of the server (100,000 and 5 minutes
unless told otherwise); a send that is longer says so. The report counts what had been stored before.

Nothing is sent twice, and nothing is stored behind lines that were refused: when the connection breaks or the server
refuses, the command ends and says how many lines were acknowledged and which is the first that was not. Lines whose
acknowledgement was under way when the connection broke may or may not be stored. With --ack-log, run the same command
again to send the rest.";

/// Runs the command.
pub(crate) async fn run(target: &Target, args: SendArgs) -> Outcome {
    if args.whole { send_whole(target, args).await } else { send_lines(target, args).await }
}

async fn send_lines(target: &Target, args: SendArgs) -> Outcome {
    let Input { bytes, bytes_total, is_typed } = open(&args)?;
    let headers = Headers::new(args.header.clone())?;
    let (log, done) = match &args.ack_log {
        Some(path) => AckLog::open(path).map(|(log, done)| (Some(log), done))?,
        None => Default::default(),
    };
    let client = target.connect_once().await?;
    let (_, key) = placement(&args);
    let producer = producer(&client, &args).await?;
    let memory = memory(target, &client, &args).await?;
    let plan = Plan {
        lines: Lines::new(bytes, PAYLOAD_BYTES_MAX),
        key,
        ids: args.id,
        headers,
        done,
        log,
        progress: match is_typed {
            true => Progress::none(),
            false => Progress::start(target.output.format, bytes_total),
        },
        memory,
    };
    let to = Destination { client: &client, path: &args.path, output: target.output };
    let report = feed::run(producer, plan, to, &sending(&args)).await?;
    target.output.show(&report, Report::render)
}

async fn send_whole(target: &Target, args: SendArgs) -> Outcome {
    let payload = read_whole(&args)?;
    let headers = Headers::new(args.header.clone())?;
    let client = target.connect_once().await?;
    let producer = producer(&client, &args).await?;
    memory(target, &client, &args).await?;
    let watch = Watch::start();
    let bytes = payload.len() as u64;
    let message = headers.message(payload)?;
    let message = args.id.map_or(message.clone(), |ids| message.id(ids.of_line(1)));
    if let Err(error) = producer.send_and_confirm(message).await {
        let failure = args.path.explained(&client, args.path.produce(&error)).await;
        return Err(failure.while_doing(sending(&args)));
    }
    let stored_before = producer.stored_before();
    assert!(stored_before <= 1, "no more was stored before than was sent");
    let report = Report { messages: 1, bytes, stored_before, ..Report::default() };
    target.output.show(&report.timed(watch.elapsed()), Report::render)
}

/// The input as one payload.
fn read_whole(args: &SendArgs) -> Outcome<Vec<u8>> {
    let mut payload = Vec::new();
    let limit = PAYLOAD_BYTES_MAX as u64 + 1;
    let input = open(args)?.bytes;
    input
        .take(limit)
        .read_to_end(&mut payload)
        .map_err(|error| Failure::io(format!("cannot read {}: {error}", input_name(args))))?;
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(Failure::usage(format!(
            "{} is larger than {PAYLOAD_BYTES_MAX} bytes, the largest message",
            input_name(args)
        )));
    }
    if payload.is_empty() {
        return Err(Failure::usage(format!("{} is empty", input_name(args))));
    }
    Ok(payload)
}

async fn producer(client: &Client, args: &SendArgs) -> Outcome<Producer> {
    let (partition_by, _) = placement(args);
    let builder = client.producer(&args.path.stream, &args.path.topic).partition_by(partition_by);
    let builder = builder.batch_messages(args.batch).batch_bytes(BATCH_BYTES);
    let built = builder.retry(galgo::SendRetry::AtMostOnce).build().await;
    built.map_err(|error| args.path.produce(&error).while_doing(sending(args)))
}

/// What the topic remembers of ids; says so at once when it remembers none.
async fn memory(target: &Target, client: &Client, args: &SendArgs) -> Outcome<Option<TopicMemory>> {
    if args.id.is_none() {
        return Ok(None);
    }
    let outline = match client.topic_outline(&args.path.stream, &args.path.topic).await {
        Ok(Some(outline)) => outline,
        // Not everybody may ask a classic server; it would not tell anyway.
        Ok(None) | Err(CallError::Server(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match TopicMemory::of(&outline.settings, &args.path.phrase()) {
        Ok(memory) => Ok(Some(memory)),
        Err(sentence) => {
            target.output.notice(&sentence);
            Ok(None)
        }
    }
}

fn placement(args: &SendArgs) -> (PartitionBy, Option<KeyField>) {
    match (&args.key, args.key_field, args.partition) {
        (Some(key), ..) => (PartitionBy::Key(key.clone().into_bytes()), None),
        (_, Some(field), _) => (PartitionBy::Balance, Some(KeyField(field))),
        (.., Some(partition)) => (PartitionBy::Id(partition), None),
        (None, None, None) => (PartitionBy::Balance, None),
    }
}

fn parse_key(text: &str) -> Result<String, String> {
    match text.len() {
        1..=255 => Ok(text.to_owned()),
        len => Err(format!("a key has 1 to 255 bytes, this one {len}")),
    }
}

/// What is sent.
struct Input {
    bytes: Box<dyn Read + Send>,
    /// Its length, when it is known.
    bytes_total: Option<u64>,
    /// Whether somebody types it.
    is_typed: bool,
}

fn open(args: &SendArgs) -> Outcome<Input> {
    let Some(path) = args.file.as_ref().filter(|path| path.as_os_str() != "-") else {
        let is_typed = std::io::stdin().is_terminal();
        if is_typed {
            eprintln!("reading lines from the terminal; end with Ctrl-D");
        }
        return Ok(Input { bytes: Box::new(std::io::stdin()), bytes_total: None, is_typed });
    };
    let failed = |error| Failure::io(format!("cannot open {}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(Failure::usage(format!("{} is a directory", path.display())));
    }
    let bytes_total = metadata.is_file().then_some(metadata.len());
    Ok(Input { bytes: Box::new(file), bytes_total, is_typed: false })
}

fn input_name(args: &SendArgs) -> String {
    match &args.file {
        Some(path) if path.as_os_str() != "-" => path.display().to_string(),
        _ => "standard input".to_owned(),
    }
}

/// What errors call it. The SDK's own name the topic, so this does not.
fn sending(args: &SendArgs) -> String {
    format!("sending {}", input_name(args))
}
