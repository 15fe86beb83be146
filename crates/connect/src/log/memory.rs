//! A partition in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::log::{LaneLog, LogExtent, LogMessage, ReadEnd};

/// A partition in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryPartition {
    pub(crate) messages: BTreeMap<u64, LogMessage>,
    pub(crate) end: u64,
    pub(crate) stored: Option<u64>,
    pub(crate) topic_made_at: u64,
    /// Turns with each purge.
    pub(crate) life: u64,
    pub(crate) is_lost: bool,
    /// How many reads fail from now on.
    pub(crate) away: u32,
    /// The member of the group that may store an offset.
    pub(crate) owner: u32,
}

impl MemoryPartition {
    pub(crate) fn append(&mut self, payload: impl Into<Bytes>) {
        let offset = self.end;
        let message = LogMessage {
            offset,
            id: u128::from(self.life) << 64 | u128::from(offset + 1),
            time: 1_000 * self.life + offset + 1,
            origin_time: 0,
            headers_block: Bytes::new(),
            payload: payload.into(),
        };
        self.messages.insert(offset, message);
        self.end += 1;
    }

    pub(crate) fn purge(&mut self) {
        self.messages.clear();
        self.end = 0;
        self.stored = None;
        self.life += 1;
    }

    pub(crate) fn start(&self) -> u64 {
        self.messages.keys().next().copied().unwrap_or(self.end)
    }

    fn answer(&mut self) -> Result<(), ReadEnd> {
        if self.is_lost {
            return Err(ReadEnd::Lost);
        }
        if self.away > 0 {
            self.away -= 1;
            return Err(ReadEnd::Away("the server is away".to_owned()));
        }
        Ok(())
    }
}

/// The partition as a member of its group reads it.
pub(crate) struct MemoryLog {
    partition: Arc<Mutex<MemoryPartition>>,
    next: u64,
    life: u64,
    member: u32,
}

impl MemoryLog {
    /// As its owner of now reads it.
    pub(crate) fn of(partition: Arc<Mutex<MemoryPartition>>) -> Self {
        let member = partition.lock().owner;
        Self { partition, next: 0, life: 0, member }
    }
}

#[async_trait]
impl LaneLog for MemoryLog {
    async fn extent(&mut self) -> Result<LogExtent, ReadEnd> {
        let mut partition = self.partition.lock();
        partition.answer()?;
        self.life = partition.life;
        // As a reader of a server does: whoever relies on where it was before reads what it has had.
        self.next = partition.start();
        let MemoryPartition { end, stored, topic_made_at, .. } = *partition;
        Ok(LogExtent { start: partition.start(), end, stored, topic_made_at })
    }

    async fn message_at(&mut self, offset: u64) -> Result<Option<LogMessage>, ReadEnd> {
        let mut partition = self.partition.lock();
        partition.answer()?;
        Ok(partition.messages.get(&offset).cloned())
    }

    async fn offset_at(&mut self, time: u64) -> Result<u64, ReadEnd> {
        let partition = self.partition.lock();
        let found = partition.messages.values().find(|message| message.time >= time);
        Ok(found.map_or(partition.end, |message| message.offset))
    }

    fn seek(&mut self, offset: u64) {
        self.next = offset;
    }

    async fn next(&mut self) -> Result<Vec<LogMessage>, ReadEnd> {
        loop {
            {
                let mut partition = self.partition.lock();
                partition.answer()?;
                if partition.life != self.life {
                    return Err(ReadEnd::BegunAnew);
                }
                if self.next < partition.start() {
                    return Err(ReadEnd::Gap(partition.start()));
                }
                let messages: Vec<_> = partition
                    .messages
                    .range(self.next..)
                    .take(3)
                    .map(|(_, it)| it.clone())
                    .collect();
                if let Some(last) = messages.last() {
                    self.next = last.offset + 1;
                    return Ok(messages);
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn store(&mut self, offset: u64) -> Result<(), ReadEnd> {
        let mut partition = self.partition.lock();
        partition.answer()?;
        if partition.owner != self.member {
            return Err(ReadEnd::Lost);
        }
        partition.stored = Some(offset);
        Ok(())
    }
}
