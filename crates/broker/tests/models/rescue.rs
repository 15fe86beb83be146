//! A partition whose sync failed, written anew and taking writes again (INV-RESCUE, INV-VOID, INV-CARRY).
//!
//! One partition of a few places, a message a place. A small batch is acknowledged when a journal frame holds it, a
//! large one when its segment was synced. A sync that fails leaves any mix of old and new on the disk, counts the pages
//! as clean, and what was not acknowledged is taken back. Then the file is written anew under another name, synced,
//! put in its place; a marker is staged behind all that was staged before; and a checkpoint that covers the
//! marker makes recovery forget the frames in which refused batches may be. Meanwhile the frames may be carried forward,
//! without what was refused, so that the checkpoints of others can drop the old ones. In every state the process may die or the power go: what was
//! acknowledged has to be recovered.
//!
//! Left out: partly written messages (a message is one place), commits and checkpoints that fail, carrying more than
//! once in one failure, a start that is cut short or leaves a log offline, what readers are shown, several partitions.
//! What was written is compared exactly here, and by a sum of checksums in the program.

use crate::explorer::{Found, Model, explore};

const PLACES: usize = 4;

/// What a place of a file holds: 0 nothing, else a message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Place {
    cache: u8,
    /// What the disk may hold, one bit a message.
    disk: u32,
    dirty: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct File([Place; PLACES]);

impl File {
    fn of(values: [u8; PLACES]) -> Self {
        Self(values.map(|cache| Place { cache, disk: 1 << cache, dirty: false }))
    }

    fn write(&mut self, at: u8, value: u8) {
        let place = &mut self.0[usize::from(at)];
        place.cache = value;
        place.disk |= 1 << value;
        place.dirty = true;
    }

    fn synced(&mut self) {
        for place in self.0.iter_mut().filter(|place| place.dirty) {
            *place = Place { cache: place.cache, disk: 1 << place.cache, dirty: false };
        }
    }

    /// The pages count as clean now; what the disk has is not known.
    fn sync_failed(&mut self) {
        self.0.iter_mut().for_each(|place| place.dirty = false);
    }

    /// Everything that may be read: a clean page may leave the cache, and after a power cut only the disk is left.
    fn readings(&self, power_cut: bool) -> Vec<[u8; PLACES]> {
        let mut readings = vec![[0; PLACES]];
        for (at, place) in self.0.iter().enumerate() {
            let cached = if power_cut { 0 } else { 1 << place.cache };
            let evicted = if power_cut || !place.dirty { place.disk } else { 0 };
            let values = (0..32).filter(|value| (cached | evicted) & (1 << value) != 0);
            let values: Vec<u8> = values.collect();
            readings = readings
                .iter()
                .flat_map(|before| {
                    values.iter().map(move |value| {
                        let mut reading = *before;
                        reading[at] = *value;
                        reading
                    })
                })
                .collect();
        }
        readings
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Batch {
    at: u8,
    id: u8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Frame {
    number: u8,
    batches: Vec<Batch>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Waiting {
    batch: Batch,
    is_large: bool,
    is_framed: bool,
}

/// How far a rescue has come.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Rescue {
    None,
    /// Written under another name, not synced.
    Written(File),
    /// Synced under that name.
    Synced(File),
    /// In its place; the name may be lost with the power.
    Named,
    /// All of it is durable.
    Durable,
    /// A checkpoint was taken since.
    Covered,
}

/// The rules, each of which a mutant leaves out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Rules {
    /// What is read to be written anew is compared with what was written.
    compares: bool,
    /// The new file is synced before it is named.
    syncs_first: bool,
    /// The directory is synced before writes go on.
    syncs_name: bool,
    /// Writes go on only behind a checkpoint.
    covers: bool,
    /// That checkpoint waits for the marker.
    marks: bool,
    /// Frames are carried forward before the old ones are dropped.
    carries: bool,
    /// What was refused is not.
    sifts: bool,
    /// The failed sync is not simply tried again.
    distrusts: bool,
}

const KEPT: Rules = Rules {
    compares: true,
    syncs_first: true,
    syncs_name: true,
    covers: true,
    marks: true,
    carries: true,
    sifts: true,
    distrusts: true,
};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    rules: Rules,
    file: File,
    /// What has the name after a power cut instead, until the directory is synced.
    before: Option<File>,
    end: u8,
    published: u8,
    /// Up to where a sync covered the file.
    durable: u8,
    is_fenced: bool,
    waiting: Vec<Waiting>,
    /// Small batches that no frame holds yet, refused ones included.
    staged: Vec<Batch>,
    frames: Vec<Frame>,
    last_frame: u8,
    settled: u8,
    checkpoint: u8,
    rescue: Rescue,
    marker_staged: bool,
    marker: Option<u8>,
    carried: Option<u8>,
    acknowledged: Vec<Batch>,
    ids: u8,
    sends_left: u8,
    failures_left: u8,
    crashes_left: u8,
}

impl State {
    fn first(rules: Rules, (sends, failures, crashes): (u8, u8, u8)) -> Self {
        Self {
            rules,
            file: File::of([0; PLACES]),
            before: None,
            end: 0,
            published: 0,
            durable: 0,
            is_fenced: false,
            waiting: Vec::new(),
            staged: Vec::new(),
            frames: Vec::new(),
            last_frame: 0,
            settled: 0,
            checkpoint: 0,
            rescue: Rescue::None,
            marker_staged: false,
            marker: None,
            carried: None,
            acknowledged: Vec::new(),
            ids: 0,
            sends_left: sends,
            failures_left: failures,
            crashes_left: crashes,
        }
    }

    fn after(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = self.clone();
        change(&mut next);
        next
    }

    fn send(&mut self, is_large: bool) {
        self.sends_left -= 1;
        self.ids += 1;
        let batch = Batch { at: self.end, id: self.ids };
        self.file.write(batch.at, batch.id);
        self.end += 1;
        self.waiting.push(Waiting { batch, is_large, is_framed: false });
        if !is_large {
            self.staged.push(batch);
        }
    }

    /// A round of the committer: all that is staged, the marker last.
    fn commit(&mut self) {
        self.last_frame += 1;
        let batches = std::mem::take(&mut self.staged);
        for waiting in &mut self.waiting {
            waiting.is_framed |= batches.contains(&waiting.batch);
        }
        self.frames.push(Frame { number: self.last_frame, batches });
        if std::mem::take(&mut self.marker_staged) {
            self.marker = Some(self.last_frame);
        }
    }

    fn publish(&mut self) {
        let waiting = self.waiting.remove(0);
        self.published = waiting.batch.at + 1;
        self.acknowledged.push(waiting.batch);
    }

    fn can_publish(&self) -> bool {
        self.waiting.first().is_some_and(|first| {
            (!first.is_large && first.is_framed) || first.batch.at < self.durable
        })
    }

    /// Of a partition that takes writes: syncs, then covers what was settled when it began.
    fn take_checkpoint(&mut self) {
        let upto = self.settled;
        self.checkpoint = self.durable;
        self.drop_frames(upto);
    }

    fn drop_frames(&mut self, upto: u8) {
        self.frames.retain(|frame| frame.number > upto);
    }

    fn fail(&mut self) {
        self.failures_left -= 1;
        self.file.sync_failed();
        self.is_fenced = true;
        self.waiting.clear();
        self.carried = None;
        // What was not acknowledged is cut off, unless a checkpoint has told that it is there.
        let kept = self.published.max(self.checkpoint);
        for at in kept..self.end {
            self.file.write(at, 0);
        }
        self.end = kept;
        self.durable = self.durable.min(kept);
    }

    /// A write that did not end well is taken back: nothing else is wrong with the partition.
    fn refuse(&mut self) {
        self.waiting.pop();
        self.end -= 1;
        self.file.write(self.end, 0);
    }

    /// There is more than was published, and could not be cut off: only a restart helps.
    fn is_hopeless(&self) -> bool {
        self.end > self.published
    }

    fn steps_of_writing(&self, next: &mut Vec<Self>) {
        if self.sends_left > 0 && usize::from(self.end) < PLACES {
            next.extend([false, true].map(|is_large| self.after(|it| it.send(is_large))));
        }
        if self.can_publish() {
            next.push(self.after(Self::publish));
        }
        if self.waiting.last().is_some_and(|last| last.is_large && last.batch.at >= self.durable) {
            next.push(self.after(Self::refuse));
        }
        let synced = self.after(|it| {
            it.file.synced();
            it.durable = it.end;
        });
        next.push(synced.after(Self::take_checkpoint));
        next.push(synced);
        if self.failures_left > 0 {
            next.push(self.after(Self::fail));
        }
    }

    fn steps_of_rescue(&self, next: &mut Vec<Self>) {
        if !self.rules.distrusts {
            next.push(self.after(|it| {
                it.file.synced();
                it.go_on();
            }));
            return;
        }
        if !self.marker_staged && self.marker.is_none() {
            next.push(self.after(|it| it.marker_staged = true));
        }
        match &self.rescue {
            Rescue::None if !self.is_hopeless() => {
                for reading in self.file.readings(false) {
                    next.extend(self.written_anew(reading));
                }
            }
            Rescue::None => {}
            Rescue::Written(file) => {
                next.push(self.after(|it| {
                    let mut synced = file.clone();
                    synced.synced();
                    it.rescue = Rescue::Synced(synced);
                }));
                if self.failures_left > 0 {
                    next.push(self.after(|it| {
                        it.failures_left -= 1;
                        it.rescue = Rescue::None;
                    }));
                }
                if !self.rules.syncs_first {
                    next.push(self.named(file));
                }
            }
            Rescue::Synced(file) => next.push(self.named(file)),
            Rescue::Named => {
                next.push(self.after(|it| {
                    it.before = None;
                    it.rescue = Rescue::Durable;
                }));
                if !self.rules.syncs_name {
                    next.push(self.after(|it| it.rescue = Rescue::Durable));
                }
            }
            Rescue::Durable => {
                let is_marked = self.marker.is_some_and(|marker| marker <= self.settled);
                if is_marked || !self.rules.marks {
                    next.push(self.after(|it| {
                        it.durable = it.end;
                        it.take_checkpoint();
                        it.rescue = Rescue::Covered;
                    }));
                }
                if !self.rules.covers {
                    next.push(self.after(Self::go_on));
                }
            }
            Rescue::Covered => next.push(self.after(Self::go_on)),
        }
    }

    /// The file anew from what is read of it, if that passes.
    fn written_anew(&self, reading: [u8; PLACES]) -> Option<Self> {
        let mut anew = File::of([0; PLACES]);
        for at in 0..self.end {
            let (read, written) = (reading[usize::from(at)], self.file.0[usize::from(at)].cache);
            let passes = if self.rules.compares { read == written } else { read != 0 };
            if !passes {
                return None;
            }
            anew.write(at, read);
        }
        Some(self.after(|it| it.rescue = Rescue::Written(anew)))
    }

    fn named(&self, file: &File) -> Self {
        self.after(|it| {
            it.before = Some(std::mem::replace(&mut it.file, file.clone()));
            it.rescue = Rescue::Named;
        })
    }

    fn go_on(&mut self) {
        self.durable = self.end;
        self.is_fenced = false;
        self.rescue = Rescue::None;
        self.marker = None;
        self.marker_staged = false;
        self.carried = None;
    }

    /// The checkpoints of other partitions, which drop frames.
    fn steps_of_others(&self, next: &mut Vec<Self>) {
        if !self.is_fenced || self.frames.is_empty() {
            return;
        }
        if !self.rules.carries {
            next.push(self.after(|it| it.drop_frames(it.settled)));
        } else if self.carried.is_none() {
            next.push(self.after(|it| {
                let batches = it.frames.iter().flat_map(|frame| frame.batches.clone());
                let kept = batches.filter(|batch| !it.rules.sifts || batch.at < it.published);
                let batches = kept.collect();
                it.last_frame += 1;
                it.frames.push(Frame { number: it.last_frame, batches });
                it.carried = Some(it.last_frame);
            }));
        } else if let Some(carried) = self.carried
            && self.frames.first().is_some_and(|frame| frame.number < carried)
        {
            next.push(self.after(|it| it.drop_frames(carried - 1)));
        }
    }

    /// What a start makes of a file and the frames: of each place the last batch counts, and takes those behind it along.
    fn recovered(&self, file: &[u8; PLACES]) -> Vec<u8> {
        let mut journaled: Vec<Batch> = Vec::new();
        for batch in self.frames.iter().flat_map(|frame| &frame.batches) {
            // The very same is no other.
            if journaled.contains(batch) {
                continue;
            }
            journaled.retain(|other| other.at < batch.at);
            journaled.push(*batch);
        }
        let mut recovered = Vec::new();
        for (at, value) in (0..).zip(file) {
            let batch = journaled.iter().find(|batch| batch.at == at);
            match batch {
                _ if at < self.checkpoint => recovered.push(*value),
                Some(batch) => recovered.push(batch.id),
                None if *value != 0 => recovered.push(*value),
                None => break,
            }
        }
        recovered
    }

    /// Dies in every way there is, and goes on behind it.
    fn crashes(&self, next: &mut Vec<Self>) -> Result<(), String> {
        for power_cut in [false, true] {
            let before = self.before.iter().filter(|_| power_cut);
            for file in before.chain([&self.file]) {
                for reading in file.readings(power_cut) {
                    let recovered = self.recovered(&reading);
                    for Batch { at, id } in &self.acknowledged {
                        if recovered.get(usize::from(*at)) != Some(id) {
                            let end = if power_cut { "a power cut" } else { "a kill" };
                            return Err(format!("P-ACK: {id} at {at}; {end} left {recovered:?}"));
                        }
                    }
                    if self.crashes_left > 0 {
                        next.push(self.started_again(&recovered));
                    }
                }
            }
        }
        Ok(())
    }

    fn started_again(&self, recovered: &[u8]) -> Self {
        let mut values = [0; PLACES];
        values[..recovered.len()].copy_from_slice(recovered);
        let end = u8::try_from(recovered.len()).unwrap();
        Self {
            file: File::of(values),
            end,
            published: end,
            durable: end,
            checkpoint: end,
            last_frame: self.last_frame,
            settled: self.last_frame,
            acknowledged: self.acknowledged.clone(),
            ids: self.ids,
            ..Self::first(self.rules, (self.sends_left, self.failures_left, self.crashes_left - 1))
        }
    }
}

impl Model for State {
    fn steps(&self) -> Result<Vec<Self>, String> {
        let mut next = Vec::new();
        if self.is_fenced {
            self.steps_of_rescue(&mut next);
        } else {
            self.steps_of_writing(&mut next);
        }
        if !self.staged.is_empty() || self.marker_staged {
            next.push(self.after(Self::commit));
        }
        if self.settled != self.last_frame {
            next.push(self.after(|it| it.settled = it.last_frame));
        }
        self.steps_of_others(&mut next);
        self.crashes(&mut next)?;
        Ok(next)
    }
}

fn run(rules: Rules, bounds: (u8, u8, u8)) -> Found {
    explore(State::first(rules, bounds))
}

#[test]
fn what_is_acknowledged_outlives_a_rescue() {
    for bounds in [(3, 2, 0), (3, 1, 1)] {
        let found = run(KEPT, bounds);
        println!("{bounds:?} sends, failed syncs, crashes to go on behind: {found:?}");
        assert!(matches!(found, Found::Holds(states) if states > 1_000), "{bounds:?}: {found:?}");
    }
}

/// The full form; takes minutes and some gigabytes.
#[test]
#[ignore = "cargo test --release -p galgo-broker --test models -- --ignored --nocapture"]
fn what_is_acknowledged_outlives_two_rescues_and_a_start() {
    for bounds in [(4, 1, 0), (3, 2, 1), (4, 1, 1)] {
        let found = run(KEPT, bounds);
        println!("{bounds:?} sends, failed syncs, crashes to go on behind: {found:?}");
        assert!(matches!(found, Found::Holds(_)), "{bounds:?}: {found:?}");
    }
}

#[test]
fn each_rule_of_a_rescue_is_needed() {
    let mutants = [
        ("compares", Rules { compares: false, ..KEPT }),
        ("syncs_first", Rules { syncs_first: false, ..KEPT }),
        ("syncs_name", Rules { syncs_name: false, ..KEPT }),
        ("covers", Rules { covers: false, ..KEPT }),
        ("marks", Rules { marks: false, ..KEPT }),
        ("carries", Rules { carries: false, ..KEPT }),
        ("sifts", Rules { sifts: false, ..KEPT }),
        ("distrusts", Rules { distrusts: false, ..KEPT }),
    ];
    for (rule, rules) in mutants {
        let found = [(3, 1, 0), (4, 1, 0), (3, 1, 1)].map(|bounds| run(rules, bounds));
        let broken = found.iter().find(|found| matches!(found, Found::Broken { .. }));
        println!("without {rule}: {broken:?}");
        assert!(broken.is_some(), "the model holds without {rule}: it proves nothing of it");
    }
}
