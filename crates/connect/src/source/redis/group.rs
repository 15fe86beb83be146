//! A member of a consumer group, and what it asks Redis.

use std::collections::HashSet;

use redis::{FromRedisValue, ParsingError, Script, Value};

use crate::failure::Failure;
use crate::redis::entry::EntryField;
use crate::redis::link::RedisLink;

/// Entries of one command.
pub(super) const COMMAND_ENTRIES_MAX: usize = 500;
/// Members that hold nothing are forgotten when they have been silent for so many milliseconds.
const FORGOTTEN_AFTER_MS: u64 = 24 * 3_600_000;

/// The id of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EntryId {
    /// Milliseconds since the Unix epoch, unless its sender chose the id.
    pub time: u64,
    /// Its number in that millisecond.
    pub number: u64,
}

impl EntryId {
    /// Reads `TIME-NUMBER`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (time, number) = text.split_once('-')?;
        Some(Self { time: time.parse().ok()?, number: number.parse().ok()? })
    }
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.time, self.number)
    }
}

impl FromRedisValue for EntryId {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let text = String::from_redis_value(value)?;
        Self::parse(&text).ok_or_else(|| "not the id of an entry".into())
    }
}

/// An entry as Redis gives it; without fields if it was trimmed while a member had it.
#[derive(Clone, Debug)]
pub(super) struct GivenEntry {
    /// Which.
    pub id: EntryId,
    /// What is in it.
    pub fields: Option<Vec<EntryField>>,
}

impl GivenEntry {
    /// Bytes of its fields.
    pub(super) fn bytes(&self) -> usize {
        let fields = self.fields.iter().flatten();
        fields.map(|field| field.name.len() + field.value.len()).sum()
    }
}

impl FromRedisValue for GivenEntry {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (id, fields): (EntryId, Option<Vec<Vec<u8>>>) =
            FromRedisValue::from_redis_value(value)?;
        let fields = fields.map(|list| {
            let mut list = list.into_iter();
            let mut fields = Vec::with_capacity(list.len() / 2);
            while let (Some(name), Some(value)) = (list.next(), list.next()) {
                fields.push(EntryField { name, value });
            }
            fields
        });
        Ok(Self { id, fields })
    }
}

/// What was taken.
#[derive(Debug)]
pub(super) struct TakenEntries {
    /// Entries that were trimmed before anybody got them.
    pub trimmed: u64,
    /// The last entry that was given to anybody.
    pub last: EntryId,
    /// What nobody had got before.
    pub entries: Vec<GivenEntry>,
}

/// What of others was taken over.
#[derive(Debug, Default)]
pub(super) struct ClaimedEntries {
    /// Entries that were trimmed while a member had them.
    pub trimmed: u64,
    /// The others.
    pub entries: Vec<GivenEntry>,
}

/// How much is taken at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portion {
    pub entries: usize,
    pub bytes: usize,
}

/// A member of a group.
#[derive(Debug)]
pub(super) struct Member {
    /// The key of the stream.
    pub stream: String,
    /// The group.
    pub group: String,
    /// Its name in the group.
    pub name: String,
    take: Script,
    leave: Script,
}

impl Member {
    pub(super) fn new(stream: String, group: String, name: String) -> Self {
        let (take, leave) = (include_str!("take.lua"), include_str!("leave.lua"));
        Self { stream, group, name, take: Script::new(take), leave: Script::new(leave) }
    }

    /// Makes the group if it is not there; tells whether it was made.
    pub(super) async fn join(&self, link: &RedisLink, is_first: bool) -> Result<bool, Failure> {
        let script = Script::new(include_str!("begin.lua"));
        let mut made = script.key(&self.stream);
        made.arg(&self.group).arg(if is_first { "0" } else { "$" });
        let made: u8 = link.run(&made).await?;
        self.remove(link, "", FORGOTTEN_AFTER_MS).await?;
        Ok(made == 1)
    }

    /// Is no member any more, if it holds nothing.
    pub(super) async fn leave(&self, link: &RedisLink) -> Result<(), Failure> {
        self.remove(link, &self.name, 0).await
    }

    async fn remove(&self, link: &RedisLink, name: &str, silent_ms: u64) -> Result<(), Failure> {
        let mut leave = self.leave.key(&self.stream);
        leave.arg(&self.group).arg(name).arg(silent_ms);
        link.run::<()>(&leave).await
    }

    /// The id of the last entry there ever was.
    pub(super) async fn last_id(&self, link: &RedisLink) -> Result<EntryId, Failure> {
        let told: Vec<Value> =
            link.ask(redis::cmd("XINFO").arg("STREAM").arg(&self.stream)).await?;
        let mut told = told.into_iter();
        while let (Some(key), Some(value)) = (told.next(), told.next()) {
            if String::from_redis_value(key).is_ok_and(|key| key == "last-generated-id") {
                return EntryId::from_redis_value(value)
                    .map_err(|_| link.away("it tells no id of the last entry"));
            }
        }
        Err(link.away("it tells no id of the last entry"))
    }

    /// Takes what nobody has got yet.
    pub(super) async fn take(
        &self,
        link: &RedisLink,
        portion: Portion,
        upto: Option<EntryId>,
    ) -> Result<TakenEntries, Failure> {
        assert!(
            portion.entries > 0 && portion.bytes > 0,
            "a portion has an entry, or there would be none for ever"
        );
        let mut take = self.take.key(&self.stream);
        take.arg(&self.group).arg(&self.name).arg(portion.entries).arg(portion.bytes);
        take.arg(upto.map_or(String::new(), |id| id.to_string()));
        let (trimmed, last, entries) = link.run(&take).await?;
        Ok(TakenEntries { trimmed, last, entries })
    }

    /// What this member has got and not acknowledged, behind an entry.
    pub(super) async fn got_before(
        &self,
        link: &RedisLink,
        behind: EntryId,
    ) -> Result<Vec<GivenEntry>, Failure> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(&self.group).arg(&self.name);
        command.arg("COUNT").arg(COMMAND_ENTRIES_MAX);
        command.arg("STREAMS").arg(&self.stream).arg(behind.to_string());
        let read: Option<Vec<(String, Vec<GivenEntry>)>> = link.ask(&command).await?;
        Ok(read.into_iter().flatten().flat_map(|(_, entries)| entries).collect())
    }

    /// Takes over what other members got and have been silent about for so many milliseconds. `ours`: what is held here.
    pub(super) async fn claim(
        &self,
        link: &RedisLink,
        idle_ms: u64,
        ours: &HashSet<EntryId>,
    ) -> Result<ClaimedEntries, Failure> {
        let mut claimed = ClaimedEntries::default();
        let mut cursor = "0-0".to_owned();
        loop {
            let mut command = redis::cmd("XAUTOCLAIM");
            command.arg(&self.stream).arg(&self.group).arg(&self.name).arg(idle_ms).arg(&cursor);
            command.arg("COUNT").arg(COMMAND_ENTRIES_MAX);
            let (next, entries, trimmed): (String, Vec<GivenEntry>, Vec<String>) =
                link.ask(&command).await?;
            claimed.trimmed += trimmed.len() as u64;
            claimed.entries.extend(entries.into_iter().filter(|entry| !ours.contains(&entry.id)));
            // The rest is taken over when these are settled.
            if next == "0-0" || claimed.entries.len() >= COMMAND_ENTRIES_MAX {
                return Ok(claimed);
            }
            cursor = next;
        }
    }

    /// Waits a while for an entry behind another one; takes none.
    pub(super) async fn wait_behind(
        &self,
        link: &RedisLink,
        last: EntryId,
        limit_ms: u64,
    ) -> Result<(), Failure> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(1).arg("BLOCK").arg(limit_ms);
        command.arg("STREAMS").arg(&self.stream).arg(last.to_string());
        link.ask::<()>(&command).await
    }

    /// Tells that somebody is at work on these.
    pub(super) async fn keep(&self, link: &RedisLink, ids: &[EntryId]) -> Result<(), Failure> {
        for ids in ids.chunks(COMMAND_ENTRIES_MAX) {
            let mut command = redis::cmd("XCLAIM");
            command.arg(&self.stream).arg(&self.group).arg(&self.name).arg(0);
            for id in ids {
                command.arg(id.to_string());
            }
            link.ask::<()>(command.arg("JUSTID")).await?;
        }
        Ok(())
    }

    /// Acknowledges these.
    pub(super) async fn acknowledge(
        &self,
        link: &RedisLink,
        ids: &[EntryId],
    ) -> Result<(), Failure> {
        for ids in ids.chunks(COMMAND_ENTRIES_MAX) {
            let mut command = redis::cmd("XACK");
            command.arg(&self.stream).arg(&self.group);
            for id in ids {
                command.arg(id.to_string());
            }
            link.ask::<()>(&command).await?;
        }
        Ok(())
    }

    /// How many entries all members together have got and not acknowledged.
    pub(super) async fn pending(&self, link: &RedisLink) -> Result<usize, Failure> {
        let summary: Vec<Value> =
            link.ask(redis::cmd("XPENDING").arg(&self.stream).arg(&self.group)).await?;
        let count = summary.into_iter().next().map(usize::from_redis_value);
        match count {
            Some(Ok(count)) => Ok(count),
            _ => Err(link.away("it does not tell what is pending")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_two_numbers() {
        let id = EntryId::parse("1526569495631-18446744073709551615").unwrap();
        assert_eq!(id.to_string(), "1526569495631-18446744073709551615");
        assert!(EntryId::parse("9-9").unwrap() < EntryId::parse("10-0").unwrap());
        assert!(EntryId::parse("9-9").unwrap() < EntryId::parse("9-10").unwrap());
        for none in ["", "1", "-", "1-", "a-1"] {
            assert_eq!(EntryId::parse(none), None, "{none}");
        }
    }
}
