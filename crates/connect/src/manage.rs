//! What is looked at and changed beside a running pipeline: its places, what it left behind, what it would do.

mod check;
mod dead;
mod places;
mod rights;

use galgo::{Client, Identifier};

use crate::failure::Failure;

pub use check::{Examination, check, dry_run};
pub(crate) use dead::LetterShape;
pub use dead::{DeadLetter, DeadList, Retried, drop_dead, list_dead, retry_dead};
pub use places::{GoOn, LanePlace, MovedLane, cleanup, places, set_places};
pub use rights::{NeededRight, rights};

/// The identifier of a stream or a topic that a file names.
fn identifier(what: &str, text: &str) -> Result<Identifier, Failure> {
    text.parse().map_err(|error: galgo::NameError| {
        Failure::refused(format!("{what} {text}: {error}"), "correct the file")
    })
}

/// How many partitions a topic has.
async fn partitions_of(
    client: &Client,
    stream: &Identifier,
    topic: &Identifier,
) -> Result<u32, Failure> {
    let found = client.topic_outline(stream, topic).await;
    match found.map_err(|error| crate::outbound::refused_or_away(&error))? {
        Some(outline) => Ok(outline.partitions_count),
        None => Err(Failure::refused(
            format!("there is no topic {stream}/{topic}"),
            "create it, or correct the file",
        )),
    }
}
