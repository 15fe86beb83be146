//! `galgo topic retention`: what would go, and how long and how much is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use galgo::model::RetentionPlan;
use galgo::model::RetentionState;
use galgo::model::TopicOption;
use galgo::{CallError, Client};
use serde_json::json;

use crate::command::offset::{holds_until, whose};
use crate::command::topic::change::change;
use crate::command::topic::settings::{
    TopicSettingArgs, parse_expiry, parse_max_size, show_expiry, show_max_size,
};
use crate::failure::{Failure, Outcome};
use crate::noun::holder;
use crate::noun::settings::options_of;
use crate::noun::topic::TopicPath;
use crate::output::{Output, measure, table};
use crate::value::time::show_time_short;

/// Messages less than this ahead of the clock are nothing to tell, in microseconds.
const AHEAD_SHOWN_US: u64 = 5_000_000;

const AFTER_HELP: &str = "\
Whole segments go, oldest first: those whose newest message is older than the topic keeps messages, and
as many as it takes to get a topic that is too large below its size. The segment being written to stays,
until it is as old as segment.max_age says, and so does one that a group has not processed yet that has stored an offset in the time that
retention.hold_for gives it (HELD). A topic can let consumers on their own hold segments, too, with
retention.hold_consumers=on; see galgo topic set.";

/// Arguments of `galgo topic retention`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RetentionArgs {
    #[command(flatten)]
    path: TopicPath,
    /// Only show what would go, with --expiry and --max-size if they are given; changes nothing
    #[arg(long)]
    dry_run: bool,
    /// From now on keep messages this long: 7days, 1h 30m, never or default
    #[arg(long, alias = "expire-after", value_name = "D", value_parser = parse_expiry)]
    expiry: Option<TopicOption>,
    /// From now on let the topic grow to this: 10GB, unlimited or default
    #[arg(long, value_name = "B", value_parser = parse_max_size)]
    max_size: Option<TopicOption>,
}

/// Runs the command.
pub(super) async fn run(client: &Client, output: Output, args: RetentionArgs) -> Outcome {
    let path = &args.path;
    let given: Vec<_> = args.expiry.iter().chain(&args.max_size).cloned().collect();
    let settings = TopicSettingArgs::from(given);
    let (stream, topic) = (&path.stream, &path.topic);
    let plan = if settings.is_empty() {
        client.plan_retention(stream, topic).await
    } else if args.dry_run {
        let options = settings.apply(options_of(&path.details(client).await?.topic));
        client.plan_retention_as(stream, topic, &options).await
    } else {
        change(client, path, None, settings).await?;
        output.remark(&format!("retention of {} changed", path.phrase()));
        client.plan_retention(stream, topic).await
    };
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => {
            // The code alone does not say whether stream or topic is missing.
            path.details(client).await?;
            return Err(Failure::from(error));
        }
    };
    let state = state(client, path).await?;
    let holders = holders(client, path, &plan, state.as_ref()).await;
    let (going, held) = sums(&plan);
    let document = json!({
        "stream": path.stream.to_string(),
        "topic": path.topic.to_string(),
        "dry_run": args.dry_run,
        "going_bytes": going.bytes,
        "going_messages": going.messages,
        "held_bytes": held.bytes,
        "plan": plan,
        "held_by": holders.iter().map(|(partition, it)| (partition, &it.who)).collect::<BTreeMap<_, _>>(),
        "state": state,
    });
    output.tell(&document, |_| {
        let clock = state.as_ref().map(clock_notes).unwrap_or_default();
        text(&plan, &holders) + &clock
    })
}

/// Messages and bytes of some segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    segments: u64,
    messages: u64,
    bytes: u64,
}

/// What goes, and what stays for a consumer's sake.
fn sums(plan: &RetentionPlan) -> (Sum, Sum) {
    let sum = |held: bool| {
        plan.segments.iter().filter(|segment| segment.held == held).fold(
            Sum::default(),
            |sum, segment| Sum {
                segments: sum.segments + 1,
                messages: sum.messages + segment.messages,
                bytes: sum.bytes + segment.bytes,
            },
        )
    };
    (sum(false), sum(true))
}

/// Who holds segments of a partition, by its number.
type Holders = BTreeMap<u32, Holder>;

/// Who holds segments, and until when, where the server tells.
#[derive(Debug)]
struct Holder {
    who: String,
    until: Option<String>,
}

impl Holder {
    fn phrase(&self, barrier: u64) -> String {
        let until = self.until.as_ref().map(|until| format!(", until {until}"));
        let (who, offset) = (&self.who, measure::count(barrier));
        format!("by {who} at offset {offset}{}", until.unwrap_or_default())
    }
}

/// What keeps segments, if the server tells.
async fn state(client: &Client, path: &TopicPath) -> Outcome<Option<RetentionState>> {
    match client.retention_state(&path.stream, &path.topic).await {
        Ok(state) => Ok(Some(state)),
        Err(CallError::Unsupported(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Who is furthest behind in each partition with segments that are held.
async fn holders(
    client: &Client,
    path: &TopicPath,
    plan: &RetentionPlan,
    state: Option<&RetentionState>,
) -> Holders {
    let mut holders = Holders::new();
    for segment in plan.segments.iter().filter(|segment| segment.held) {
        let partition = segment.partition_id.get();
        if holders.contains_key(&partition) {
            continue;
        }
        let told = state.and_then(|state| {
            state.holders.iter().find(|stored| stored.partition_id.get() == partition)
        });
        let holder = match told {
            Some(stored) => Holder { who: whose(stored), until: Some(holds_until(stored)) },
            None => {
                let slowest = holder::slowest_group(client, path, partition).await;
                let slowest = slowest.filter(|(_, stored)| *stored == segment.barrier);
                let who = slowest.map_or_else(|| "a consumer".to_owned(), |(name, _)| name);
                Holder { who, until: None }
            }
        };
        holders.insert(partition, holder);
    }
    holders
}

/// What the clock has to do with what stays.
fn clock_notes(state: &RetentionState) -> String {
    let span = |micros| measure::duration(Duration::from_micros(micros));
    let mut notes = String::new();
    if state.clock_lead > 0 {
        notes += &format!(
            "\nthe server's clock was set {} forward; by that nothing is older before it has held for {} more",
            span(state.clock_lead),
            span(state.clock_waits),
        );
    }
    if state.ahead > AHEAD_SHOWN_US {
        notes += &format!(
            "\nthe newest messages are {} ahead of the server's clock; the next one starts a new segment",
            span(state.ahead),
        );
    }
    notes
}

fn text(plan: &RetentionPlan, holders: &Holders) -> String {
    let facts = table::facts([
        ("messages kept for", show_expiry(plan.message_expiry)),
        ("max size", show_max_size(plan.max_topic_size)),
        ("size", measure::bytes(plan.size)),
        (
            "checked every",
            match plan.enabled {
                true => measure::duration(Duration::from_micros(plan.interval)),
                false => "never: retention is switched off on this server".to_owned(),
            },
        ),
    ]);
    let (going, held) = sums(plan);
    let mut text = format!("{facts}\n\n{}", segments_table(plan, holders));
    if going.segments > 0 {
        text += &format!(
            "\n\n{} with {} go, {}",
            measure::counted(going.segments, "segment"),
            measure::counted(going.messages, "message"),
            measure::bytes(going.bytes),
        );
    }
    if held.segments > 0 {
        let segments = measure::counted(held.segments, "segment");
        let bytes = measure::bytes(held.bytes);
        text += &format!("\n{segments} held for those that are behind, {bytes}");
    }
    text
}

fn segments_table(plan: &RetentionPlan, holders: &Holders) -> String {
    let columns = [
        table::number("PARTITION"),
        table::number("FIRST OFFSET"),
        table::number("LAST OFFSET"),
        table::number("MESSAGES"),
        table::number("SIZE"),
        table::text("NEWEST"),
        table::text("WHY"),
        table::text("HELD"),
    ];
    let rows = plan.segments.iter().map(|segment| {
        let held = match (segment.held, segment.barrier) {
            (false, _) => "-".to_owned(),
            (true, barrier) => {
                let Some(holder) = holders.get(&segment.partition_id.get()) else {
                    unreachable!("who holds a segment was looked up");
                };
                holder.phrase(barrier)
            }
        };
        vec![
            segment.partition_id.to_string(),
            measure::count(segment.base_offset.get()),
            measure::count(segment.end_offset.get()),
            measure::count(segment.messages),
            measure::bytes(segment.bytes),
            show_time_short(segment.newest_timestamp.get()),
            segment.reason.to_string(),
            held,
        ]
    });
    let is_too_large = plan.max_topic_size.limit().is_some_and(|limit| plan.size >= limit);
    let nothing = match is_too_large {
        true => "nothing would go now: what is there is still written to, or about to go",
        false => "nothing would go now",
    };
    table::columns(&columns, rows, nothing)
}
