//! A batch in one script, and positions.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{NewEntry, RedisTarget};
use crate::batch::Batch;
use crate::failure::Failure;
use crate::place::{LaneName, Place, Position};
use crate::redis::link::RedisLink;

/// A position as Redis has it: `next` comes first, as the script looks for it there.
#[derive(Debug, Serialize, Deserialize)]
struct KeptPosition {
    next: u64,
    topic_made_at: u64,
    last_id: Uuid,
    last_time: u64,
    /// The stream as the file names it.
    target: String,
}

/// The hash of the positions of a pipeline.
fn positions_key(pipeline: &str) -> String {
    format!("galgo:positions:{pipeline}")
}

impl RedisTarget {
    /// Where a lane is.
    pub(super) async fn position(
        &self,
        link: &RedisLink,
        lane: &LaneName,
    ) -> Result<Option<Position>, Failure> {
        let mut command = redis::cmd("HGET");
        command.arg(positions_key(&lane.pipeline)).arg(lane.to_string());
        let kept: Option<Vec<u8>> = link.ask(&command).await?;
        self.fresh.note(lane, kept.is_some());
        let Some(kept) = kept else { return Ok(None) };
        let kept: KeptPosition = serde_json::from_slice(&kept).map_err(|_| {
            link.refused(
                &format!(
                    "what it keeps of {lane} in {} is no position",
                    positions_key(&lane.pipeline)
                ),
                &format!(
                    "set the position: galgo connect position FILE --partition {} --next N",
                    lane.partition
                ),
            )
        })?;
        if kept.target != self.stream.to_string() {
            let reason = format!(
                "pipeline {} delivers {lane} to stream {}, and this file says {}",
                lane.pipeline, kept.target, self.stream
            );
            return Err(link.refused(
                &reason,
                "give one of the two files another name; or remove the position with galgo connect cleanup, to begin anew in this stream",
            ));
        }
        Ok(Some(Position {
            next: kept.next,
            topic_made_at: kept.topic_made_at,
            last_id: kept.last_id.as_u128(),
            last_time: kept.last_time,
        }))
    }

    /// Has a lane go on from another place.
    pub(super) async fn set_position(
        &self,
        link: &RedisLink,
        lane: &LaneName,
        position: &Position,
    ) -> Result<(), Failure> {
        let mut command = redis::cmd("HSET");
        command.arg(positions_key(&lane.pipeline)).arg(lane.to_string()).arg(self.kept(position));
        link.ask::<()>(&command).await?;
        self.fresh.note(lane, true);
        Ok(())
    }

    /// Forgets all positions of the pipeline; tells what is gone.
    pub(super) async fn forget(&self, link: &RedisLink) -> Result<Vec<String>, Failure> {
        let key = positions_key(&self.pipeline);
        let lanes: u64 = link.ask(redis::cmd("HLEN").arg(&key)).await?;
        if lanes == 0 {
            return Ok(Vec::new());
        }
        link.ask::<()>(redis::cmd("DEL").arg(&key)).await?;
        Ok(vec![format!("positions of {lanes} lanes in {key} in Redis")])
    }

    /// Adds a batch and moves the lane, or does neither.
    pub(super) async fn write(
        &self,
        link: &RedisLink,
        lane: &LaneName,
        batch: &Batch,
    ) -> Result<(), Failure> {
        let entries = self.entries(lane, batch).await?;
        let streams = Streams::of(&entries);
        let at_begin = Position {
            next: batch.begin(),
            topic_made_at: batch.end().topic_made_at,
            ..Position::default()
        };
        let expected = match self.fresh.has(lane) {
            true => String::new(),
            false => batch.begin().to_string(),
        };
        let mut script = self.script.prepare_invoke();
        script.key(positions_key(&lane.pipeline)).key(&streams.keys);
        script.arg(lane.to_string()).arg(expected);
        script.arg(self.kept(&at_begin)).arg(self.kept(batch.end())).arg(self.max_entries);
        for (entry, number) in entries.iter().zip(&streams.numbers) {
            script.arg(*number).arg(entry.fields.len() * 2);
            for field in &entry.fields {
                script.arg(field.name.as_slice()).arg(field.value.as_slice());
            }
        }
        let answer: Vec<usize> = link.run_writing(&script).await?;
        match answer.split_first() {
            Some((1, [])) => {
                self.fresh.note(lane, true);
                Ok(())
            }
            Some((0, [])) => Err(Failure::Moved),
            Some((2, wrong)) => Err(self.no_streams(link, batch, &streams, wrong)),
            _ => Err(link.away("the script gave an answer that makes no sense")),
        }
    }

    async fn entries(&self, lane: &LaneName, batch: &Batch) -> Result<Vec<NewEntry>, Failure> {
        let mut entries = Vec::with_capacity(batch.rows().len());
        let mut bad = Vec::new();
        let mut first = None;
        let streams = self.stream.of_all(lane, batch.rows()).await;
        for (row, stream) in batch.rows().iter().zip(streams) {
            match self.entry(lane, row, stream) {
                Ok(entry) => entries.push(entry),
                Err(reason) => {
                    bad.push(row.place);
                    first.get_or_insert(reason);
                }
            }
        }
        match first {
            None => {
                assert_eq!(
                    entries.len(),
                    batch.rows().len(),
                    "INV-ONE-STEP: each row has its entry"
                );
                Ok(entries)
            }
            Some(reason) => Err(Failure::Bad { places: bad, reason }),
        }
    }

    /// Some keys are there already and are no streams.
    fn no_streams(
        &self,
        link: &RedisLink,
        batch: &Batch,
        streams: &Streams<'_>,
        wrong: &[usize],
    ) -> Failure {
        if let Some(stream) = self.stream.fixed() {
            return self.no_stream(link, stream);
        }
        let rows = batch.rows().iter().zip(&streams.numbers);
        let places: Vec<Place> =
            rows.filter(|(_, number)| wrong.contains(number)).map(|(row, _)| row.place).collect();
        match places.is_empty() {
            true => link.away("the script gave an answer that makes no sense"),
            false => Failure::Bad {
                places,
                reason: format!(
                    "{} gives a key that is there already and is no stream",
                    self.stream
                ),
            },
        }
    }

    fn no_stream(&self, link: &RedisLink, stream: &str) -> Failure {
        link.refused(
            &format!("the key \"{stream}\" is there already and is no stream"),
            "correct stream in the file, or remove what is there",
        )
    }

    /// Looks whether the stream is there, if it is the same for all messages; the first entry makes it.
    pub(super) async fn find_stream(&self, link: &RedisLink) -> Result<String, Failure> {
        let Some(stream) = self.stream.fixed() else {
            return Ok("Redis is there".to_owned());
        };
        match link.ask::<String>(redis::cmd("TYPE").arg(stream)).await?.as_str() {
            "stream" => {
                let length: u64 = link.ask(redis::cmd("XLEN").arg(stream)).await?;
                Ok(format!("stream \"{stream}\" is there, {length} entries are in it"))
            }
            "none" => Ok(format!("stream \"{stream}\" is made by the first entry")),
            _ => Err(self.no_stream(link, stream)),
        }
    }

    /// Finds out whether scripts may be run.
    pub(super) async fn try_script(&self, link: &RedisLink) -> Result<(), Failure> {
        link.ask::<()>(redis::cmd("EVAL").arg("return 1").arg(0)).await
    }

    fn kept(&self, position: &Position) -> String {
        let kept = KeptPosition {
            next: position.next,
            topic_made_at: position.topic_made_at,
            last_id: Uuid::from_u128(position.last_id),
            last_time: position.last_time,
            target: self.stream.to_string(),
        };
        let Ok(text) = serde_json::to_string(&kept) else {
            unreachable!("numbers and texts are JSON")
        };
        text
    }
}

/// The streams of a batch, each once.
struct Streams<'a> {
    keys: Vec<&'a str>,
    /// Of each entry, which of them.
    numbers: Vec<usize>,
}

impl<'a> Streams<'a> {
    fn of(entries: &'a [NewEntry]) -> Self {
        let mut known = HashMap::new();
        let mut keys: Vec<&str> = Vec::new();
        let mut numbers = Vec::with_capacity(entries.len());
        for entry in entries {
            let number = *known.entry(entry.stream.as_str()).or_insert_with(|| {
                keys.push(&entry.stream);
                keys.len() - 1
            });
            numbers.push(number);
        }
        assert_eq!(numbers.len(), entries.len(), "INV-ONE-STEP: each entry has its stream");
        assert!(
            numbers.iter().all(|number| *number < keys.len()),
            "INV-ONE-STEP: each entry goes to a stream that the script is given"
        );
        Self { keys, numbers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stream_is_named_once() {
        let entry = |stream: &str| NewEntry { stream: stream.to_owned(), fields: Vec::new() };
        let entries = [entry("a"), entry("b"), entry("a"), entry("c"), entry("b")];
        let streams = Streams::of(&entries);
        assert_eq!(streams.keys, ["a", "b", "c"]);
        assert_eq!(streams.numbers, [0, 1, 0, 2, 1]);
    }

    #[test]
    fn a_position_begins_with_what_the_script_compares() {
        let kept = KeptPosition {
            next: u64::MAX,
            topic_made_at: 1,
            last_id: Uuid::from_u128(2),
            last_time: 3,
            target: "a\"b".to_owned(),
        };
        let text = serde_json::to_string(&kept).unwrap();
        assert!(text.starts_with("{\"next\":18446744073709551615,\""), "{text}");
        let read: KeptPosition = serde_json::from_str(&text).unwrap();
        assert_eq!((read.next, read.target), (u64::MAX, "a\"b".to_owned()));
    }
}
