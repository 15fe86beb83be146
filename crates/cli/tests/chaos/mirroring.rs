//! A copy that follows, as a reader of a round: its target is what it was shown.

use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::consuming::tool;
use crate::model::{Copied, Stored};
use crate::producing::end_of;
use crate::round::{PARTITIONS, PATIENCE, Place, TOPIC, named, persist};

/// The topic of the copy, in the stream of the round.
const COPY: &str = "copy";

/// Copies until the copy has the last message of every partition, then compares it with the topic.
///
/// # Errors
///
/// When the end does not come, or what is there is no copy.
pub(crate) async fn mirror(place: &Place) -> Result<(), String> {
    let (stream, from, to) = (&place.stream_name, &place.url, &place.admin_url);
    let line = format!("mirror {from} {stream} {TOPIC} {to} {stream} {COPY} --follow --begin-anew");
    let begun = Instant::now();
    let mut copying = tool(to, &line, Stdio::null());
    loop {
        if let Some(end) = copying.end() {
            if !place.course.may_end_a_tool(&end) {
                return Err(format!("mirror --follow came to an end, {end}"));
            }
            copying = tool(to, &line, Stdio::null());
        }
        if begun.elapsed() > PATIENCE {
            return Err("mirror --follow does not come to the end of the topic".to_owned());
        }
        sleep(Duration::from_millis(20)).await;
        if !place.is_reading.load(Ordering::SeqCst) {
            let copy = place.admin.topic(&place.stream, &named(COPY)).await;
            let begun = copy.is_ok_and(|copy| copy.is_some_and(|it| it.topic.messages_count > 0));
            place.is_reading.store(begun, Ordering::SeqCst);
        } else if place.is_over.load(Ordering::SeqCst) {
            let copied = Stored::read_topic(place, &named(COPY), PARTITIONS).await;
            if copied.is_ok_and(|copied| has_ends(&copied)) {
                break;
            }
        }
    }
    drop(copying);
    let source = Stored::read(place).await?;
    let copied = Stored::read_topic(place, &named(COPY), PARTITIONS).await?;
    Copied { source: &source, copied: &copied, course: place.course }.check()?;
    let copy = named(COPY);
    persist("delete the copy", || place.admin.delete_topic(&place.stream, &copy)).await
}

fn has_ends(stored: &Stored) -> bool {
    (0..PARTITIONS).all(|partition| {
        let messages = stored.partitions.get(partition as usize);
        messages.is_some_and(|it| it.texts.last() == Some(&end_of(partition)))
    })
}
