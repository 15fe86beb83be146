//! The smallest set of rights a pipeline needs, and why each.

use serde::Serialize;

use crate::config::file::{BadChoice, Direction, PipelineFile};
use crate::inbound::CURSOR_STREAM;

/// A right of the user of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NeededRight {
    /// The stream, or `STREAM/TOPIC`.
    pub on: String,
    /// Whether `on` is a topic.
    pub is_topic: bool,
    /// The name of the right, as permissions are written.
    pub right: &'static str,
    /// What it is needed for.
    pub why: String,
}

/// What a pipeline needs. Nobody is asked for it.
#[must_use]
pub fn rights(file: &PipelineFile) -> Vec<NeededRight> {
    let topic = |on: String, right, why: &str| NeededRight {
        on,
        is_topic: true,
        right,
        why: why.to_owned(),
    };
    let mut needed = Vec::new();
    match &file.direction {
        Direction::Out { from, .. } => {
            let why = "to read it as a group, and to see whether it was made again";
            let each = |name: &String| topic(format!("{}/{name}", from.stream), "read-topic", why);
            needed.extend(from.topics.iter().map(each));
        }
        Direction::In { from, to, .. } => {
            let path = format!("{}/{}", to.stream, to.topic);
            needed.push(topic(path, "send-messages", "to write it"));
            if to.create.is_some() {
                needed.push(makes(&to.stream, &to.topic));
            }
            if from.keeps_cursor() {
                needed.push(NeededRight {
                    on: CURSOR_STREAM.to_owned(),
                    is_topic: false,
                    right: "manage-topics",
                    why: "to keep its cursor; the stream has to be there".to_owned(),
                });
            }
        }
    }
    if let (BadChoice::DeadLetter, Some(path)) = (file.errors.on_bad, &file.errors.dead_letter) {
        needed.push(topic(path.clone(), "send-messages", "to write dead letters"));
        if let Some((stream, name)) = path.split_once('/') {
            needed.push(makes(stream, name));
        }
    }
    needed
}

/// The right to make a topic, which nobody needs for one that is there.
fn makes(stream: &str, topic: &str) -> NeededRight {
    NeededRight {
        on: stream.to_owned(),
        is_topic: false,
        right: "manage-topics",
        why: format!("only to make topic {topic}: not if it is there"),
    }
}
