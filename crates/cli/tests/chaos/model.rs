//! What has to be there at the end, and what may not.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use galgo::{Identifier, PollRequest, PollingStrategy};

use crate::consuming::{Reader, Seen, Shown, text_of};
use crate::event::Gone;
use crate::producing::{Sent, Writer, end_of};
use crate::round::{Course, PARTITIONS, Place, TOPIC, named, persist};

/// What the writers did, and when what happened began and was over.
pub(crate) struct Told {
    pub(crate) sent: Vec<Sent>,
    pub(crate) begun: u64,
    pub(crate) over: u64,
}

/// What a partition holds.
#[derive(Debug)]
pub(crate) struct Messages {
    pub(crate) life: u64,
    /// The offset of the first.
    pub(crate) first: u64,
    pub(crate) texts: Vec<String>,
}

/// What a topic holds.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) partitions: Vec<Messages>,
}

impl Stored {
    /// Reads the topic of the round.
    pub(crate) async fn read(place: &Place) -> Result<Self, String> {
        Self::read_topic(place, &named(TOPIC), PARTITIONS).await
    }

    /// Reads a topic by offset, each message once.
    pub(crate) async fn read_topic(
        place: &Place,
        topic: &Identifier,
        partitions: u32,
    ) -> Result<Self, String> {
        let mut stored = Vec::new();
        for partition in 0..partitions {
            let mut messages = Messages { life: 0, first: 0, texts: Vec::new() };
            let mut next = 0;
            loop {
                let request = || {
                    PollRequest::new(&place.stream, topic, partition)
                        .strategy(PollingStrategy::Offset(next.into()))
                        .count(1_000)
                };
                let polled = persist("read", || place.admin.poll(request())).await?;
                messages.life = polled.life().get();
                if polled.is_empty() {
                    break;
                }
                // Retention may have come by between two polls: what was read before is not stored any more.
                if polled.extent().is_some_and(|extent| extent.start > next) {
                    messages.texts.clear();
                }
                for message in polled.messages() {
                    if messages.texts.is_empty() {
                        messages.first = message.offset();
                    } else if message.offset() != next {
                        let found = message.offset();
                        return Err(format!(
                            "P-ORDER: {partition}: {found} comes in place of {next}"
                        ));
                    }
                    next = message.offset() + 1;
                    messages.texts.push(text_of(message.payload()));
                }
            }
            stored.push(messages);
        }
        Ok(Self { partitions: stored })
    }

    /// Partition and place of every message that was sent by a writer.
    fn places(&self) -> Result<HashMap<u32, (usize, usize)>, String> {
        let mut places = HashMap::new();
        for (partition, messages) in self.partitions.iter().enumerate() {
            for (index, text) in messages.texts.iter().enumerate() {
                let Some(number) = number_of(text) else {
                    if *text == end_of(partition as u32) {
                        continue;
                    }
                    return Err(format!("P-TRUTH: {partition} holds {text:?}, which nobody sent"));
                };
                if places.insert(number, (partition, index)).is_some() {
                    return Err(format!(
                        "message {number} is stored twice, in a topic with deduplication"
                    ));
                }
            }
        }
        Ok(places)
    }
}

fn number_of(text: &str) -> Option<u32> {
    text.strip_prefix("message ")?.parse().ok()
}

/// Compares everything.
///
/// # Errors
///
/// What broke which promise.
pub(crate) fn check(
    place: &Place,
    told: &Told,
    stored: &Stored,
    seen: &Seen,
) -> Result<(), String> {
    let places = stored.places()?;
    let known: HashSet<u32> = told.sent.iter().map(|sent| sent.number).collect();
    if let Some(foreign) = places.keys().find(|number| !known.contains(number)) {
        return Err(format!(
            "P-TRUTH: message {foreign} is stored, and the producer never took it"
        ));
    }
    check_acknowledged(place, told, &places)?;
    check_order(place, told, stored)?;
    check_refused(place, told, &places)?;
    if place.course.reader != Reader::Mirror {
        check_seen(place, stored, seen)?;
    }
    Ok(())
}

/// P-ACK, and that what was removed is gone.
fn check_acknowledged(
    place: &Place,
    told: &Told,
    places: &HashMap<u32, (usize, usize)>,
) -> Result<(), String> {
    let gone = place.course.event.takes();
    for sent in &told.sent {
        let Some(acknowledged) = sent.acknowledged else { continue };
        let is_there = places.contains_key(&sent.number);
        let (before, after) = (acknowledged < told.begun, sent.accepted > told.over);
        let wrong = match gone {
            Gone::Nothing => !is_there,
            Gone::Before => (before && is_there) || (after && !is_there),
            Gone::Meanwhile => !is_there && (before || after || is_pinned(place)),
            // Which ones may be gone is a question of their order; see below.
            Gone::Oldest => false,
        };
        if wrong {
            let number = sent.number;
            let when = if before {
                "before"
            } else if after {
                "after"
            } else {
                "while"
            };
            return Err(if is_there {
                format!(
                    "P-TRUTH: message {number}, acknowledged {when} it happened, is still there"
                )
            } else {
                format!("P-ACK: message {number}, acknowledged {when} it happened, is gone")
            });
        }
    }
    if gone == Gone::Oldest { check_oldest(told, places) } else { Ok(()) }
}

/// Of each lane, what is gone was sent before all that is there.
fn check_oldest(told: &Told, places: &HashMap<u32, (usize, usize)>) -> Result<(), String> {
    let mut first_there = BTreeMap::new();
    for (number, (partition, _)) in places {
        let first = first_there.entry(*partition).or_insert(*number);
        *first = (*first).min(*number);
    }
    let newest_first = first_there.values().max().copied().unwrap_or(u32::MAX);
    for sent in &told.sent {
        // Which partition it was in is not known once it is gone: it is older than what some partition begins with.
        let gone = sent.acknowledged.is_some() && !places.contains_key(&sent.number);
        if gone && sent.number > newest_first {
            return Err(format!(
                "P-ACK: message {} is gone, and older ones are there",
                sent.number
            ));
        }
    }
    Ok(())
}

fn is_pinned(place: &Place) -> bool {
    place.course.writer == Writer::Pipelined
}

/// P-ORDER: one producer's messages stand in a partition as it took them.
fn check_order(place: &Place, told: &Told, stored: &Stored) -> Result<(), String> {
    let again = stored_again(place, told);
    for (partition, messages) in stored.partitions.iter().enumerate() {
        let numbers = messages.texts.iter().filter_map(|text| number_of(text));
        let numbers: Vec<u32> = numbers.filter(|number| !again.contains(number)).collect();
        if let Some(pair) = numbers.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!("P-ORDER: {partition}: {} stands before {}", pair[0], pair[1]));
        }
    }
    Ok(())
}

/// What may have been stored before a purge, lost its acknowledgement in the kill, and so is stored once more: behind
/// what was sent after it and stored between purge and kill. A purge takes the memory of ids along.
fn stored_again(place: &Place, told: &Told) -> HashSet<u32> {
    if !place.course.killed || place.course.event.takes() != Gone::Before {
        return HashSet::new();
    }
    let was_under_way = |sent: &&Sent| {
        sent.accepted < told.over && sent.acknowledged.is_none_or(|at| at > told.begun)
    };
    told.sent.iter().filter(was_under_way).map(|sent| sent.number).collect()
}

/// P-ORDER: until a failure was told, nothing is stored behind what was not.
fn check_refused(
    place: &Place,
    told: &Told,
    places: &HashMap<u32, (usize, usize)>,
) -> Result<(), String> {
    if place.course.event.takes() != Gone::Nothing {
        return Ok(());
    }
    let mut missing: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for sent in &told.sent {
        let lane = (sent.lane, sent.session);
        if !places.contains_key(&sent.number) {
            missing.entry(lane).or_insert(sent.number);
        } else if let Some(before) = missing.get(&lane) {
            let number = sent.number;
            return Err(format!("P-ORDER: {number} is stored behind {before}, which was refused"));
        }
    }
    Ok(())
}

/// Readers were shown everything that is there, in order, and nothing else.
fn check_seen(place: &Place, stored: &Stored, seen: &Seen) -> Result<(), String> {
    let mut last: BTreeMap<(u32, u32, Option<u64>), u64> = BTreeMap::new();
    let mut covered: BTreeSet<(u32, &str)> = BTreeSet::new();
    for shown in &seen.shown {
        check_shown(stored, shown)?;
        covered.insert((shown.partition, &shown.text));
        let lane = (shown.reader, shown.partition, shown.life);
        let again = place.course.reader == Reader::Group || shown.life.is_none();
        let before = last.insert(lane, shown.offset);
        if !again && before.is_some_and(|before| before >= shown.offset) {
            let Shown { partition, offset, .. } = shown;
            return Err(format!("P-ORDER: {partition}: {offset} is shown after {before:?}"));
        }
    }
    for (partition, messages) in stored.partitions.iter().enumerate() {
        let missing =
            messages.texts.iter().find(|text| !covered.contains(&(partition as u32, *text)));
        if let Some(text) = missing {
            let offsets = seen.shown.iter().filter(|shown| shown.partition == partition as u32);
            let offsets: Vec<u64> = offsets.map(|shown| shown.offset).collect();
            return Err(format!(
                "a reader skipped {text:?} of partition {partition}, which begins at {}; it was shown {offsets:?}",
                messages.first
            ));
        }
    }
    Ok(())
}

/// An offset is given once: what was shown at it in this life is what is there.
fn check_shown(stored: &Stored, shown: &Shown) -> Result<(), String> {
    let Some(messages) = stored.partitions.get(shown.partition as usize) else { return Ok(()) };
    if shown.life != Some(messages.life) || shown.offset < messages.first {
        return Ok(());
    }
    let there = messages.texts.get((shown.offset - messages.first) as usize);
    if there == Some(&shown.text) {
        return Ok(());
    }
    let Shown { partition, offset, text, .. } = shown;
    Err(format!("P-TRUTH: {partition}: {offset} was shown as {text:?} and is {there:?} now"))
}

/// A topic and its copy.
pub(crate) struct Copied<'a> {
    pub(crate) source: &'a Stored,
    pub(crate) copied: &'a Stored,
    pub(crate) course: Course,
}

impl Copied<'_> {
    /// Behind what was there before a purge or is gone by now, the copy has what the topic has.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (partition, source) in self.source.partitions.iter().enumerate() {
            let copied = &self.copied.partitions[partition];
            // The copy has the limits of the topic, and so loses its oldest as well.
            let is_shortened =
                self.course.event.takes() == Gone::Oldest && source.texts.ends_with(&copied.texts);
            if !copied.texts.ends_with(&source.texts) && !is_shortened {
                let (has, wants) = (copied.texts.len(), source.texts.len());
                let missing = source.texts.iter().find(|text| !copied.texts.contains(text));
                return Err(format!(
                    "the copy of partition {partition} has {has} messages and does not end with the \
                     {wants} of the topic; missing: {missing:?}"
                ));
            }
            // Stored, not acknowledged for the kill, sent again and stored once more behind the purge: the copy, which
            // has what was and what is, has both.
            if self.course.killed && self.course.event.takes() == Gone::Before {
                continue;
            }
            let different: HashSet<&String> = copied.texts.iter().collect();
            if different.len() != copied.texts.len() {
                return Err(format!("the copy of partition {partition} has messages twice"));
            }
        }
        Ok(())
    }
}
