//! What was sent and what was acknowledged, and what may therefore be found afterwards.

use std::collections::BTreeMap;

use galgo_wire::command::Durability;
use galgo_wire::error_code::ErrorCode;

use super::rig::{PARTITIONS, Rig};
use crate::ticket::Ticket;

/// The outcome of something that was started.
#[derive(Debug)]
pub(super) enum Fate {
    /// Answered with success.
    Done,
    /// Answered with an error: not written, or taken back.
    Failed,
    /// The disk stopped under it: may be there or not.
    Cut,
    /// To be asked.
    Waiting(Ticket),
}

impl Fate {
    fn acknowledged(&self) -> bool {
        match self {
            Self::Done => true,
            Self::Failed | Self::Cut => false,
            Self::Waiting(ticket) => ticket.outcome() == Some(Ok(())),
        }
    }
}

/// One send.
#[derive(Debug)]
struct Sent {
    payloads: Vec<Vec<u8>>,
    fate: Fate,
}

/// One partition since its creation or last purge.
#[derive(Debug, Default)]
struct PartitionModel {
    sent: Vec<Sent>,
    /// Offsets stored, in order; `None` for a deletion.
    stored: Vec<(Option<u64>, Fate)>,
    /// Where the log may start, besides at 0: wherever a start was asked to move.
    starts: Vec<u64>,
    /// Where the log was seen to start; it never starts below that again.
    start_seen: u64,
}

/// Whether the topic should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Yes,
    No,
    Unknown,
}

#[derive(Debug)]
struct TopicModel {
    durability: Durability,
    presence: Presence,
    partitions: Vec<PartitionModel>,
    /// A purge whose answer never came: either these messages or those in `partitions`.
    before_purge: Option<Vec<PartitionModel>>,
}

/// Everything that was done.
#[derive(Debug, Default)]
pub(super) struct Model {
    topics: BTreeMap<String, TopicModel>,
}

fn fresh() -> Vec<PartitionModel> {
    (0..PARTITIONS).map(|_| PartitionModel::default()).collect()
}

impl Model {
    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    /// Topics that may be written, by name.
    pub(super) fn usable(&self) -> Vec<String> {
        let usable =
            |topic: &TopicModel| topic.presence == Presence::Yes && topic.before_purge.is_none();
        self.topics.iter().filter(|(_, t)| usable(t)).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn created(
        &mut self,
        name: &str,
        durability: Durability,
        answer: Result<(), ErrorCode>,
    ) {
        let presence = if answer.is_ok() { Presence::Yes } else { Presence::Unknown };
        let topic = TopicModel { durability, presence, partitions: fresh(), before_purge: None };
        self.topics.insert(name.to_owned(), topic);
    }

    pub(super) fn deleted(&mut self, name: &str, answer: Result<(), ErrorCode>) {
        let topic = self.topics.get_mut(name).unwrap();
        topic.presence = if answer.is_ok() { Presence::No } else { Presence::Unknown };
    }

    pub(super) fn purged(&mut self, name: &str, answer: Result<(), ErrorCode>) {
        let topic = self.topics.get_mut(name).unwrap();
        let before = std::mem::replace(&mut topic.partitions, fresh());
        if answer.is_err() {
            topic.before_purge = Some(before);
        }
    }

    pub(super) fn sent(&mut self, name: &str, partition: u32, payloads: Vec<Vec<u8>>, fate: Fate) {
        self.partition(name, partition).sent.push(Sent { payloads, fate });
    }

    pub(super) fn stored(&mut self, name: &str, partition: u32, offset: u64, fate: Fate) {
        self.partition(name, partition).stored.push((Some(offset), fate));
    }

    /// Notes where the starts of all partitions were asked to move, and have moved.
    pub(super) fn note_starts(&mut self, rig: &Rig) {
        for (name, topic) in &mut self.topics {
            let open = rig.partitions(name);
            // While the fate of a purge is not known, what is open is what was there before.
            let models = topic.before_purge.as_mut().unwrap_or(&mut topic.partitions);
            for (model, partition) in models.iter_mut().zip(&open) {
                model.starts.push(partition.staged_start().get());
                model.start_seen = model.start_seen.max(partition.start().get());
            }
        }
    }

    /// Where a partition was seen to start: what is below was removed on purpose.
    pub(super) fn start_seen(&self, name: &str, partition: u32) -> u64 {
        self.topics.get(name).map_or(0, |topic| topic.partitions[partition as usize].start_seen)
    }

    /// How many partitions were seen to start behind 0.
    pub(super) fn starts_moved(&self) -> u64 {
        let partitions = self.topics.values().flat_map(|topic| &topic.partitions);
        partitions.filter(|partition| partition.start_seen > 0).count() as u64
    }

    fn partition(&mut self, name: &str, partition: u32) -> &mut PartitionModel {
        &mut self.topics.get_mut(name).unwrap().partitions[partition as usize]
    }

    /// Checks everything the broker has against what may be there; returns what it found.
    pub(super) fn check(&self, rig: &Rig, survivors: &[Durability], story: &str) -> Vec<String> {
        let mut rig = Rig::reading(rig);
        let mut found = Vec::new();
        for (name, topic) in &self.topics {
            let present = rig.has_topic(name);
            match topic.presence {
                Presence::Yes => assert!(present, "{story}: topic {name} is lost"),
                Presence::No => assert!(!present, "{story}: topic {name} came back"),
                Presence::Unknown => {}
            }
            if !present {
                continue;
            }
            let promised = survivors.contains(&topic.durability);
            for number in 0..PARTITIONS {
                let place = format!("{story}: {name}/{number}");
                let messages = rig
                    .read_from(name, number, 0)
                    .unwrap_or_else(|code| panic!("{place}: cannot be read: {code}"));
                let stored = rig.stored_offset(name, number);
                let here = &topic.partitions[number as usize];
                let before = topic.before_purge.as_ref().map(|b| &b[number as usize]);
                let start = rig.start(name, number);
                let found_here = (start, messages.as_slice());
                let verdict = here.verdict(found_here, stored, promised);
                let verdict = verdict.or_else(|why| match before {
                    Some(before) => before.verdict(found_here, stored, promised),
                    None => Err(why),
                });
                if let Err(why) = verdict {
                    let count = messages.len();
                    panic!(
                        "{place}: {why}\nfound {count} messages from {start}, offset {stored:?}"
                    );
                }
                let count = messages.len();
                found.push(format!("{name}/{number}: {count} from {start}, {stored:?}"));
            }
        }
        found
    }

    /// The messages of a partition in the order of their offsets, each with whether it was acknowledged.
    pub(super) fn messages(&self, name: &str, partition: u32) -> Vec<(Vec<u8>, bool)> {
        let topic = self.topics.get(name).unwrap();
        let here = topic.partitions[partition as usize].expected();
        here.map(|(payload, acknowledged)| (payload.clone(), acknowledged)).collect()
    }

    /// Checks only that every message served is one that was sent, in its place: for damaged disks.
    pub(super) fn check_bytes(&self, rig: &Rig, story: &str) {
        let mut rig = Rig::reading(rig);
        for (name, topic) in &self.topics {
            for number in 0..PARTITIONS {
                let sent: Vec<_> =
                    topic.partitions[number as usize].expected().map(|(p, _)| p).collect();
                for from in 0..sent.len() as u64 + 1 {
                    let Ok(messages) = rig.read_from(name, number, from) else { continue };
                    for (offset, payload) in messages {
                        let expected = sent.get(offset as usize);
                        assert_eq!(Some(&&payload), expected, "{story}: {name}/{number} {offset}");
                    }
                }
            }
        }
    }
}

impl PartitionModel {
    /// The messages in the order of their offsets, each with whether it was acknowledged.
    ///
    /// A batch that was refused outright was not written, so it has no offsets.
    fn expected(&self) -> impl Iterator<Item = (&Vec<u8>, bool)> {
        let written = self.sent.iter().filter(|sent| !matches!(sent.fate, Fate::Failed));
        written.flat_map(|sent| {
            let acknowledged = sent.fate.acknowledged();
            sent.payloads.iter().map(move |payload| (payload, acknowledged))
        })
    }

    fn verdict(
        &self,
        found: (u64, &[(u64, Vec<u8>)]),
        stored: Option<u64>,
        promised: bool,
    ) -> Result<(), String> {
        let start = found.0;
        if start < self.start_seen {
            return Err(format!("INV-START: starts at {start}, after {}", self.start_seen));
        }
        if start != 0 && !self.starts.contains(&start) {
            return Err(format!("starts at {start}, may be one of {:?}", self.starts));
        }
        let expected: Vec<_> = self.expected().collect();
        let mut verdict = verdict_on_messages(found, &expected, promised);
        // A batch that was refused was taken back, but a power cut may bring its bytes back as long
        // as nothing acknowledged came after it: an error is not a promise either way.
        for (index, _) in
            self.sent.iter().enumerate().filter(|(_, s)| matches!(s.fate, Fate::Failed))
        {
            if verdict.is_err() {
                verdict = verdict_on_messages(found, &self.expected_with_refused(index), promised);
            }
        }
        verdict?;
        if promised { self.verdict_on_offset(stored) } else { Ok(()) }
    }

    /// As [`Self::expected`], had the refused batch at `index` been written after all.
    fn expected_with_refused(&self, index: usize) -> Vec<(&Vec<u8>, bool)> {
        let before = self.sent[..index].iter().filter(|sent| !matches!(sent.fate, Fate::Failed));
        let mut messages: Vec<_> = before
            .flat_map(|sent| sent.payloads.iter().map(|p| (p, sent.fate.acknowledged())))
            .collect();
        messages.extend(self.sent[index].payloads.iter().map(|payload| (payload, false)));
        let later = self.sent[index..].iter().filter(|sent| sent.fate.acknowledged());
        messages.extend(later.flat_map(|sent| sent.payloads.iter().map(|p| (p, true))));
        messages
    }

    fn verdict_on_offset(&self, stored: Option<u64>) -> Result<(), String> {
        let last_acknowledged = self.stored.iter().rposition(|(_, fate)| fate.acknowledged());
        let from = last_acknowledged.unwrap_or(0);
        let mut allowed: Vec<Option<u64>> =
            self.stored[from..].iter().map(|(offset, _)| *offset).collect();
        if last_acknowledged.is_none() {
            allowed.push(None);
        }
        if allowed.contains(&stored) {
            Ok(())
        } else {
            Err(format!("P-ACK: stored offset {stored:?}, may be one of {allowed:?}"))
        }
    }
}

fn verdict_on_messages(
    (start, found): (u64, &[(u64, Vec<u8>)]),
    expected: &[(&Vec<u8>, bool)],
    promised: bool,
) -> Result<(), String> {
    let start = start as usize;
    if !found.is_empty() && start + found.len() > expected.len() {
        return Err(format!("{} messages were sent", expected.len()));
    }
    for (index, (offset, payload)) in (start..).zip(found) {
        if *offset != index as u64 {
            return Err(format!("P-ORDER: offset {offset} in place {index}"));
        }
        if payload != expected[index].0 {
            return Err(format!("P-ORDER: another message at offset {offset}"));
        }
    }
    let missing = expected.iter().skip(start + found.len()).any(|(_, acknowledged)| *acknowledged);
    if promised && missing {
        return Err("P-ACK: an acknowledged message is lost".to_owned());
    }
    Ok(())
}
