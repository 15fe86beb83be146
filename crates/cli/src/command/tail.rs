//! `galgo tail`: the newest messages of a topic, and those to come.

use std::num::NonZeroU64;

use clap::Args;
use galgo::Identifier;

use crate::dial::Target;
use crate::failure::Outcome;
use crate::interrupt::Interrupt;
use crate::noun::topic::TopicPath;
use crate::output::Format;
use crate::output::message::{MessageFormat, MessageWriter};
use crate::tail::link::Link;
use crate::tail::member::TailMember;
use crate::tail::{Range, TopicReader};
use crate::value::time::{TailFrom, parse_from};

/// Messages shown when nothing says how many.
const COUNT_DEFAULT: u64 = 10;

const AFTER_HELP: &str = "\
Messages of all partitions are merged by time. Without --from, the newest N messages are shown, 10
unless -n says otherwise. With --from, all messages from there on are shown, or the first N of them.
With --group, the messages are those the group has not processed in the partitions it gives us, and each
is stored as processed once it was shown.

-f goes on with messages as they come, until Ctrl-C or until the reader of a pipe goes away. When the
connection breaks, it says so, tries again until the server is back, and goes on where it was. When a
partition is purged or its topic made again, it says so and goes on with the first message there.

Times are written 2026-03-01T12:00:00Z, 2026-03-01 or `2026-03-01 12:00` (UTC), `10m ago`, -10m, or as
a number of seconds since 1970.";

/// Arguments of `galgo tail`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    path: TopicPath,
    /// How many messages
    #[arg(short = 'n', long = "lines", value_name = "N")]
    count: Option<u64>,
    /// Go on with messages as they come
    #[arg(short, long)]
    follow: bool,
    /// Where to begin: start, end or a time
    #[arg(long, value_name = "WHERE", value_parser = parse_from, allow_hyphen_values = true)]
    from: Option<TailFrom>,
    /// Read as a member of this consumer group, and store what was shown as processed
    #[arg(long, value_name = "NAME", conflicts_with = "from")]
    group: Option<Identifier>,
    /// Leave out messages that are damaged on the server, and say which
    #[arg(long)]
    skip_damaged: bool,
    /// The form of a message; json with --output json, else text
    #[arg(long, value_enum)]
    format: Option<MessageFormat>,
}

impl TailArgs {
    fn range(&self) -> Range {
        match (self.from, self.count) {
            (None, count) => Range::Newest(count.unwrap_or(COUNT_DEFAULT)),
            (Some(TailFrom::End), _) => Range::Newest(0),
            (Some(from), count) => Range::From { from, count: count.and_then(NonZeroU64::new) },
        }
    }
}

/// Runs the command.
pub(crate) async fn run(target: &Target, args: TailArgs) -> Outcome {
    let format = args.format.unwrap_or(match target.output.format {
        Format::Json => MessageFormat::Json,
        Format::Table => MessageFormat::Text,
    });
    let mut interrupt = Interrupt::watch()?;
    let mut writer = MessageWriter::new(format);
    let mut link = Link::open(target, args.follow).await?;
    let work = async {
        if let Some(group) = &args.group {
            let mut member = TailMember::join(link.client(), &args.path, group).await?;
            if args.skip_damaged {
                member = member.skip_damaged();
            }
            return member.consume(args.count, &mut link, &mut writer).await;
        }
        let mut reader = TopicReader::new(link, args.path.clone(), args.skip_damaged);
        let enough = reader.replay(args.range(), &mut writer).await?;
        if args.follow && !enough {
            reader.follow(&mut writer).await?;
        }
        Ok(())
    };
    let ended = tokio::select! {
        ended = work => ended,
        () = interrupt.wait() => Ok(()),
    };
    ended.and(writer.flush())
}
