//! A log behaves as a list of messages does, whatever the order of operations.

use crate::rig::{Rig, append, message, messages, offset_of, read, sync, timestamp_of};
use galgo_storage::disk::sim::SplitMix;
use galgo_storage::log::{LocateRequest, Log, NewestRequest};
use galgo_wire::id::{Offset, Timestamp};

/// The ten-line model: the messages, and the oldest that is kept.
#[derive(Default)]
struct Model {
    messages: Vec<Vec<u8>>,
    start: usize,
}

impl Model {
    fn read(&self, from: u64, (count, bytes_max): (u32, u64), upto: u64) -> Vec<Vec<u8>> {
        let from = (from as usize).max(self.start);
        let mut bytes = 0;
        let wanted = self.messages.iter().take(upto as usize).skip(from).take(count as usize);
        let fits = wanted.enumerate().take_while(|(at, message)| {
            bytes += message.len() as u64;
            *at == 0 || bytes <= bytes_max
        });
        fits.map(|(_, message)| message.clone()).collect()
    }

    /// From which offset on the messages between these fit, one of them in any case.
    fn newest(&self, (from, upto): (u64, u64), bytes_max: u64) -> u64 {
        let from = (from as usize).max(self.start);
        let mut bytes = 0;
        let wanted = self.messages.iter().take(upto as usize).skip(from).rev();
        let fits = wanted.enumerate().take_while(|(at, message)| {
            bytes += message.len() as u64;
            *at == 0 || bytes <= bytes_max
        });
        fits.last().map_or(from as u64, |(_, message)| offset_of(message))
    }

    fn offset_at(&self, timestamp: u64, upto: u64) -> Option<u64> {
        let mut kept = self.messages.iter().take(upto as usize).skip(self.start);
        kept.find(|message| timestamp_of(message) >= timestamp).map(|message| offset_of(message))
    }
}

/// INV-CONTIGUOUS.
#[test]
fn a_log_reads_as_a_list_of_messages() {
    for seed in 0..200 {
        let result = std::panic::catch_unwind(|| run(seed));
        assert!(result.is_ok(), "failed with seed {seed}");
    }
}

fn run(seed: u64) {
    let mut random = SplitMix::new(seed);
    let mut rig = Rig::new(seed);
    rig.options.index_interval_bytes = [1, 150, 400, 5_000][random.below(4) as usize];
    rig.options.segment_bytes = [1, 1_000, 4_000, 1 << 20][random.below(4) as usize];
    let mut log = rig.create();
    let mut model = Model::default();
    let mut now = 10;
    let mut acknowledged = 0;
    for _ in 0..300 {
        match random.below(20) {
            0..8 => {
                now += random.below(3);
                let (count, payload) = (1 + random.below(12), 1 + random.below(600));
                let first = model.messages.len() as u64;
                let batch = messages(&mut random, first, now, (count, payload));
                append(&mut log, &batch).unwrap();
                model.messages.extend(batch);
            }
            8 => {
                let to =
                    acknowledged + random.below(model.messages.len() as u64 - acknowledged + 1);
                log.rewind(Offset::new(to));
                assert!(!log.is_fenced());
                model.messages.truncate(to as usize);
                let last = model.messages.last().map_or(0, |message| timestamp_of(message));
                assert_eq!(log.last_timestamp(), Timestamp::new(last));
                now = now.max(last);
            }
            9 => {
                sync(&mut log).unwrap();
                log.checkpoint();
                acknowledged = model.messages.len() as u64;
            }
            10 => {
                let start = random.below(acknowledged + 1);
                log.drop_before(Offset::new(start)).unwrap();
                model.start = model.start.max(start as usize);
            }
            11 => {
                sync(&mut log).unwrap();
                let known = log.checkpoint();
                drop(log);
                acknowledged = model.messages.len() as u64;
                rig.disk.kill();
                log = rig.recover(&known, &[]).0;
            }
            _ => compare(&mut random, &log, &model),
        }
        assert_eq!(log.end().get(), model.messages.len() as u64);
        assert_eq!(log.stats().messages as usize, model.messages.len() - model.start);
    }
}

fn compare(random: &mut SplitMix, log: &Log, model: &Model) {
    let end = model.messages.len() as u64;
    let reader = log.reader();
    let upto = if random.below(3) == 0 { random.below(end + 1) } else { end };
    let from = random.below(end + 3);
    let limits = (random.below(50) as u32, random.below(5_000));
    let expected = model.read(from, limits, upto);
    let found = read(&reader, from, limits, Offset::new(upto)).unwrap();
    let offsets = |messages: &[Vec<u8>]| messages.iter().map(|m| offset_of(m)).collect::<Vec<_>>();
    // One answer spans a bounded number of segments, so it may be shorter than it could.
    let tiny_segments = found.len() >= 32 && found.len() < expected.len();
    if !tiny_segments {
        assert_eq!(offsets(&found), offsets(&expected), "from {from} {limits:?} upto {upto}");
    }
    assert_eq!(found[..], expected[..found.len()]);
    let bytes_max = random.below(5_000);
    let request = NewestRequest { from: Offset::new(from), upto: Offset::new(upto), bytes_max };
    let newest = reader.newest(request).unwrap();
    let expected = model.newest((from, upto), bytes_max);
    assert_eq!(newest.get(), expected, "newest {bytes_max} bytes from {from} upto {upto}");
    assert!(reader.newest_cached(request).unwrap().is_none_or(|cached| cached == newest));
    let last = model.messages.last().map_or(0, |message| timestamp_of(message));
    let timestamp = random.below(last + 3);
    let found = reader.offset_at(Timestamp::new(timestamp), Offset::new(upto)).unwrap();
    assert_eq!(
        found.map(Offset::get),
        model.offset_at(timestamp, upto),
        "timestamp {timestamp} upto {upto}"
    );
    let cached = reader.offset_at_cached(Timestamp::new(timestamp), Offset::new(upto)).unwrap();
    assert!(cached.is_none_or(|cached| cached == found.unwrap_or(Offset::new(upto))));
}

#[test]
fn nothing_is_made_on_disk_before_the_first_append() {
    let rig = Rig::new(1);
    rig.disk.plan(Default::default());
    let log = rig.create();
    let request =
        LocateRequest { from: Offset::ZERO, count_max: 9, bytes_max: 9, upto: Offset::new(9) };
    assert_eq!(log.reader().locate(request).unwrap().count, 0);
    assert_eq!(log.reader().offset_at(Timestamp::ZERO, Offset::new(9)).unwrap(), None);
    assert!(log.dirty().is_empty());
    assert_eq!(log.stats().segments, 1);
    log.checkpoint();
    assert_eq!(rig.disk.operations(), 0);
    assert!(rig.disk.files().is_empty());
}

#[test]
fn readers_go_on_while_one_writer_appends() {
    let rig = Rig::new(2);
    let mut log = rig.create();
    let reader = log.reader();
    let end = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (reader, end) = (&reader, &end);
            scope.spawn(move || {
                let mut random = SplitMix::new(thread);
                loop {
                    let upto = end.load(std::sync::atomic::Ordering::Acquire);
                    let from = random.below(upto + 1);
                    let found = read(reader, from, (20, 3_000), Offset::new(upto)).unwrap();
                    assert_eq!(found.is_empty(), from == upto);
                    for (at, message) in found.iter().enumerate() {
                        assert_eq!(offset_of(message), from + at as u64);
                    }
                    if upto == 2_000 {
                        break;
                    }
                }
            });
        }
        for offset in 0..2_000 {
            append(&mut log, &[message(offset, offset / 10, &[7; 100])]).unwrap();
            // What was staged above the watermark may be taken back under the readers' eyes.
            if offset % 7 == 0 {
                append(&mut log, &[message(offset + 1, offset / 10, &[8; 300])]).unwrap();
                log.rewind(Offset::new(offset + 1));
            }
            end.store(offset + 1, std::sync::atomic::Ordering::Release);
        }
    });
}

#[test]
fn a_message_larger_than_the_limit_is_still_found() {
    let rig = Rig::new(3);
    let mut log = rig.create();
    append(&mut log, &[message(0, 1, &[1; 3_000]), message(1, 1, &[2; 10])]).unwrap();
    let found = read(&log.reader(), 0, (10, 1), log.end()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(read(&log.reader(), 1, (10, 1), log.end()).unwrap().len(), 1);
}
