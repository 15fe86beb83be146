//! `galgo bench produce`, `consume`, `both`, `latency` and `report`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use galgo::MESSAGE_PAYLOAD_BYTES_MAX;
use galgo_bench::host::Host;
use galgo_bench::plan::{IN_FLIGHT_MAX, LoadKind, LoadPlan, Rate, RunLength, Sizes, WhenEmpty};
use galgo_bench::process::{FreshOptions, OnePort};
use galgo_bench::run::{self, RunOptions};
use galgo_bench::summary::{FORMAT, NamedRun, RunSummary};
use galgo_bench::{StopFlag, html, report, scratch};

use super::teller::Teller;
use crate::address::{self, variable};
use crate::dial::Target;
use crate::failure::{Failure, Outcome, of_load};
use crate::global::Global;
use crate::noun::settings::DurabilityChoice;
use crate::output::Output;
use crate::value::duration::parse_duration;
use crate::value::size::parse_size;

/// How long a run is when nothing says so.
const DURATION_DEFAULT: Duration = Duration::from_secs(10);

/// What is not counted of it.
const WARM_UP_DEFAULT: Duration = Duration::from_secs(1);

/// Longest of both.
const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
const _: () = assert!(
    WARM_UP_DEFAULT.as_secs() < DURATION_DEFAULT.as_secs()
        && DURATION_DEFAULT.as_secs() < DURATION_MAX.as_secs(),
    "most of a run is counted, and what is usual may be asked for"
);

/// Most streams, topics and partitions of a run.
const PLACES_MAX: i64 = 100_000;
const _: () = assert!(
    0 < PLACES_MAX && PLACES_MAX <= u32::MAX as i64,
    "a place is one of at least one, and has a number"
);
const _: () = assert!(
    (PLACES_MAX as u64).pow(2).checked_mul(1_000).is_some(),
    "streams, topics and partitions are counted without an overflow before they are bounded"
);

/// Largest file taken for a saved run.
const SAVED_BYTES_MAX: u64 = 64 << 20;

pub(super) const AFTER_PRODUCE: &str = "\
Examples:
  galgo bench produce --producers 8
  galgo bench produce --messages-per-request 1 --message-size 100 --in-flight 32
  galgo bench produce --server galgo://10.0.0.5 --rate 50000 --duration 1m --report run.html
  galgo bench produce --output json > a.json";

pub(super) const AFTER_CONSUME: &str = "\
Examples:
  galgo bench consume --consumers 8 --partitions 8
  galgo bench consume --group --consumers 4 --partitions 16 --total 5000000";

pub(super) const AFTER_BOTH: &str = "\
Examples:
  galgo bench both --producers 4 --consumers 4 --partitions 4 --message-size 100..1000
  galgo bench both --transport websocket --tls";

pub(super) const AFTER_LATENCY: &str = "\
Examples:
  galgo bench latency
  galgo bench latency --rate 20000 --producers 4 --consumers 4 --partitions 4 --durability os";

/// What is common to all kinds of load.
#[derive(Args, Debug)]
struct Common {
    /// Streams to make for the run
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=PLACES_MAX))]
    streams: u32,
    /// Topics in each stream
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=PLACES_MAX))]
    topics: u32,
    /// Partitions in each topic
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    partitions: u32,
    /// Bytes of payload in a message, or a range of them as 100..1000 [default: 1000; latency: 100]
    #[arg(long, value_name = "BYTES", value_parser = parse_sizes)]
    message_size: Option<Sizes>,
    /// Messages in a request [default: 1000; latency: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    messages_per_request: Option<u32>,
    /// Messages to count, all workers together, rounded up to whole requests; then the run ends
    #[arg(long, value_name = "MESSAGES", conflicts_with = "duration")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    total: Option<u64>,
    /// Time to count; then the run ends [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_run_time)]
    duration: Option<Duration>,
    /// Time before that, which is not counted [default: 1s; for a group that only reads: 0s]
    #[arg(long, value_name = "TIME", value_parser = parse_warm_up)]
    warm_up: Option<Duration>,
    /// Messages per second, all workers together, on a fixed schedule (an open loop): latencies count from
    /// when a request was due. Without it the next request is sent when an answer has come
    #[arg(long, value_name = "MESSAGES", value_parser = parse_rate)]
    rate: Option<f64>,
    /// The same as requests per second
    #[arg(long, value_name = "REQUESTS", value_parser = parse_rate, conflicts_with = "rate")]
    request_rate: Option<f64>,
    /// Leave the streams of the run on the server
    #[arg(long)]
    keep: bool,
    /// What an acknowledgement promises [default: that of the server; fsync if it is started for the run]
    #[arg(long, value_enum)]
    durability: Option<DurabilityChoice>,
    /// Where the data of a server started for the run goes [default: /var/tmp]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Also write a page with charts to this file
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// What producers need.
#[derive(Args, Debug)]
struct Sending {
    /// Connections that send; with more partitions than producers, each sends to several in turn
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    producers: u32,
    /// Requests of each producer that may wait for their answers
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(IN_FLIGHT_MAX)))]
    in_flight: u32,
}

/// What consumers need.
#[derive(Args, Debug)]
struct Receiving {
    /// Connections that read; with more partitions than consumers, each reads several in turn
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    consumers: u32,
    /// Read as members of one consumer group per topic, which share the partitions out among them
    #[arg(long)]
    group: bool,
}

/// How consumers wait.
#[derive(Args, Debug)]
struct WaitArgs {
    /// How long a consumer that found nothing waits before it asks again; 0s asks at once
    /// [default: 1ms; latency: the server waits until there is something, 100us where it cannot]
    #[arg(long, value_name = "TIME", value_parser = parse_pause)]
    poll_pause: Option<Duration>,
}

/// Arguments of `galgo bench produce`.
#[derive(Args, Debug)]
pub(crate) struct ProduceArgs {
    #[command(flatten)]
    sending: Sending,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `galgo bench consume`.
#[derive(Args, Debug)]
pub(crate) struct ConsumeArgs {
    #[command(flatten)]
    receiving: Receiving,
    /// Messages to write before, all partitions together [default: about 256 MiB, at most 100,000]
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..))]
    preload: Option<u64>,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `galgo bench both` and `galgo bench latency`.
#[derive(Args, Debug)]
pub(crate) struct BothArgs {
    #[command(flatten)]
    sending: Sending,
    #[command(flatten)]
    receiving: Receiving,
    #[command(flatten)]
    waiting: WaitArgs,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `galgo bench report`.
#[derive(Args, Debug)]
pub(crate) struct ReportArgs {
    /// Runs saved with --output json
    #[arg(required = true, value_name = "RUN.json")]
    runs: Vec<PathBuf>,
    /// The page to write
    #[arg(long, value_name = "FILE.html")]
    html: PathBuf,
}

/// Runs `galgo bench produce`.
pub(super) fn produce(args: ProduceArgs, global: &Global) -> Outcome {
    let plan = plan(LoadKind::Produce, &args.common)?;
    carry_out(plan.sending(&args.sending).plan, args.common, global)
}

/// Runs `galgo bench consume`.
pub(super) fn consume(args: ConsumeArgs, global: &Global) -> Outcome {
    let mut plan = plan(LoadKind::Consume, &args.common)?.receiving(&args.receiving).plan;
    plan.preload = args.preload;
    if plan.group && args.common.warm_up.is_none() {
        // What a group has read is not there to be read again.
        plan.warm_up = Duration::ZERO;
    }
    carry_out(plan, args.common, global)
}

/// Runs `galgo bench both` or `galgo bench latency`.
pub(super) fn both(kind: LoadKind, args: BothArgs, global: &Global) -> Outcome {
    let draft = plan(kind, &args.common)?.sending(&args.sending).receiving(&args.receiving);
    let mut plan = draft.plan;
    plan.when_empty = args.waiting.poll_pause.map(WhenEmpty::Pause);
    carry_out(plan, args.common, global)
}

/// Writes a page about saved runs.
pub(super) fn report(args: &ReportArgs, output: Output) -> Outcome {
    let runs = args.runs.iter().map(|path| saved(path)).collect::<Outcome<Vec<NamedRun>>>()?;
    write_page(&args.html, &runs)?;
    let fact = serde_json::json!({ "file": args.html.display().to_string(), "runs": runs.len() });
    output.done(&format!("wrote {}", args.html.display()), &fact)
}

/// A plan that is being completed.
struct Draft {
    plan: LoadPlan,
}

impl Draft {
    fn sending(mut self, args: &Sending) -> Self {
        self.plan.producers = args.producers;
        self.plan.in_flight = args.in_flight;
        self
    }

    fn receiving(mut self, args: &Receiving) -> Self {
        self.plan.consumers = args.consumers;
        self.plan.group = args.group;
        self
    }
}

fn plan(kind: LoadKind, args: &Common) -> Outcome<Draft> {
    let is_latency = kind == LoadKind::Latency;
    let size = if is_latency { 100 } else { 1000 };
    let places = [args.streams, args.topics, args.partitions].map(u64::from);
    if places.iter().product::<u64>() > PLACES_MAX as u64 {
        return Err(Failure::usage(format!("a run has at most {PLACES_MAX} partitions"))
            .hint("lower --streams, --topics or --partitions"));
    }
    let length = match args.total {
        Some(messages) => RunLength::Messages(messages),
        None => RunLength::Time(args.duration.unwrap_or(DURATION_DEFAULT)),
    };
    let rate = args.rate.map(Rate::Messages).or(args.request_rate.map(Rate::Requests));
    let plan = LoadPlan {
        streams: args.streams,
        topics: args.topics,
        partitions: args.partitions,
        sizes: args.message_size.unwrap_or(Sizes { min: size, max: size }),
        batch: args.messages_per_request.unwrap_or(if is_latency { 1 } else { 1000 }),
        length,
        warm_up: args.warm_up.unwrap_or(WARM_UP_DEFAULT),
        rate,
        ..LoadPlan::new(kind)
    };
    Ok(Draft { plan })
}

fn carry_out(plan: LoadPlan, args: Common, global: &Global) -> Outcome {
    let output = global.output();
    let plan = plan.checked()?;
    if let Some(page) = &args.report {
        // Better now than after the run.
        let dir = page.parent().filter(|dir| !dir.as_os_str().is_empty());
        if dir.is_some_and(|dir| !dir.is_dir()) {
            return Err(Failure::usage(format!("there is no directory for {}", page.display())));
        }
    }
    let stop = StopFlag::watch()?;
    let dir = args.dir.clone().unwrap_or_else(scratch::default_parent);
    let target = target(&args, global)?;
    let host = match &target {
        Some(target) => Host::given(target.destination()?),
        None => fresh(&args, global, &dir)?,
    };
    let durability = match args.durability {
        // A fresh server has a default, which its topics have then.
        None if host.is_fresh() => Some(DurabilityChoice::Fsync),
        asked => asked,
    };
    let durability = durability.map(Into::into);
    let options = RunOptions { plan, keep: args.keep, durability, dir };
    let summary = run::run(&host, &options, &stop, &Teller::new(output))
        .map_err(|error| of_load(error, target.as_ref()))?;
    output.show(&summary, report::render)?;
    let Some(page) = args.report else { return Ok(()) };
    let name = summary.kind.word().to_owned();
    write_page(&page, &[NamedRun { name, run: summary }])?;
    output.remark(&format!("wrote {}", page.display()));
    Ok(())
}

/// The server that was named. A profile nobody named is not taken, so that no server is put under load by accident.
fn target(args: &Common, global: &Global) -> Outcome<Option<Target>> {
    let is_named = global.server.is_some()
        || global.profile.is_some()
        || variable("GALGO_SERVER").is_some()
        || variable("GALGO_PROFILE").is_some();
    if !is_named {
        return Ok(None);
    }
    if args.dir.is_some() {
        return Err(Failure::usage("--dir is for a server started for the run, and one was named")
            .hint("leave it out, or leave out the server"));
    }
    global.target().map(Some)
}

/// A server started for the run.
fn fresh(args: &Common, global: &Global, dir: &Path) -> Outcome<Host> {
    if global.tls_ca.is_some() || global.tls_domain.is_some() {
        return Err(Failure::usage("--tls-ca and --tls-domain need a server that is named").hint(
            "a server started for the run makes a certificate for itself; give --tls alone",
        ));
    }
    if cfg!(debug_assertions) {
        global
            .output()
            .remark("warning: this is a debug build; the figures say nothing about a release");
    }
    let section = match global.transport {
        None | Some(address::CarrierName::Tcp) => "tcp",
        Some(address::CarrierName::Quic) => "quic",
        Some(address::CarrierName::Websocket) => "websocket",
    };
    // QUIC is encrypted anyway.
    let listener = OnePort { section, tls: global.tls && section != "quic" };
    let program = std::env::current_exe()
        .map_err(|error| Failure::io(format!("cannot find this program: {error}")))?;
    let durability = args.durability.unwrap_or(DurabilityChoice::Fsync).into();
    Ok(Host::fresh(&FreshOptions { program: &program, dir, durability, listener })?)
}

/// Reads a saved run; it is called as its file.
fn saved(path: &Path) -> Outcome<NamedRun> {
    let shown = path.display();
    let failed = |error| Failure::io(format!("cannot read {shown}: {error}"));
    if std::fs::metadata(path).map_err(failed)?.len() > SAVED_BYTES_MAX {
        return Err(Failure::usage(format!("{shown} is too large to be a saved run")));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let run = serde_json::from_str::<RunSummary>(&text).ok().filter(|run| run.format == FORMAT);
    let run = run.ok_or_else(|| {
        Failure::usage(format!("{shown} is not a run of galgo bench"))
            .hint("galgo bench produce --output json > FILE saves one")
    })?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(NamedRun { name, run })
}

fn write_page(path: &Path, runs: &[NamedRun]) -> Outcome {
    std::fs::write(path, html::page(runs))
        .map_err(|error| Failure::io(format!("cannot write {}: {error}", path.display())))
}

/// Parses `100`, `1KiB` or `100..1000`.
fn parse_sizes(text: &str) -> Result<Sizes, String> {
    let size = |text: &str| {
        let bytes = parse_size(text)?;
        u32::try_from(bytes)
            .ok()
            .filter(|bytes| (1..=MESSAGE_PAYLOAD_BYTES_MAX).contains(bytes))
            .ok_or_else(|| format!("a message has from 1 to 64,000,000 bytes, not {text}"))
    };
    let (min, max) = match text.split_once("..") {
        Some((min, max)) => (size(min)?, size(max.trim_start_matches('='))?),
        None => (size(text)?, size(text)?),
    };
    if min > max {
        return Err(format!("the range goes from {min} down to {max}; write {max}..{min}"));
    }
    Ok(Sizes { min, max })
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.replace('_', "").parse::<f64>() {
        Ok(rate) if (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err("a number per second from 0.001 to 1,000,000,000, such as 50000".to_owned()),
    }
}

fn parse_run_time(text: &str) -> Result<Duration, String> {
    let time = parse_warm_up(text)?;
    if time < Duration::from_millis(50) { Err("at least 50ms".to_owned()) } else { Ok(time) }
}

fn parse_warm_up(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if time > DURATION_MAX { Err("at most 7days".to_owned()) } else { Ok(time) }
}

fn parse_pause(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if time > Duration::from_secs(10) { Err("at most 10s".to_owned()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_one_or_a_range() {
        let sizes = |min, max| Ok(Sizes { min, max });
        assert_eq!(parse_sizes("100"), sizes(100, 100));
        assert_eq!(parse_sizes("1KiB"), sizes(1024, 1024));
        assert_eq!(parse_sizes("100..1000"), sizes(100, 1000));
        assert_eq!(parse_sizes("100..=1kB"), sizes(100, 1000));
        assert!(parse_sizes("1000..100").unwrap_err().contains("100..1000"));
        for bad in ["", "0", "x", "..", "5..", "8GiB"] {
            assert!(parse_sizes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_positive() {
        assert_eq!(parse_rate("50_000"), Ok(50_000.0));
        assert_eq!(parse_rate("0.5"), Ok(0.5));
        for bad in ["0", "-1", "NaN", "inf", "fast", "1e12"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_have_bounds() {
        assert_eq!(parse_run_time("1m"), Ok(Duration::from_secs(60)));
        assert!(parse_run_time("1ms").is_err() && parse_run_time("8days").is_err());
        assert_eq!(parse_warm_up("0s"), Ok(Duration::ZERO));
        assert!(parse_pause("11s").is_err());
    }
}
