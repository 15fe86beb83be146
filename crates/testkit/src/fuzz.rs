//! The short form of the fuzzers, for any toolchain: real bytes, and what random edits make of them.
//!
//! A [`Target`] is an entry of a crate's `fuzzing` module, which asserts what holds for any bytes. Its seeds
//! lie in `fuzz/seeds/<name>`, where the fuzzer begins with them; the test that makes them keeps them as
//! they are, or writes them when `UPDATE_SEEDS` is set. `GALGO_FUZZ_INPUTS` says how many inputs are tried,
//! `GALGO_FUZZ_SEED` which; an input that breaks something is kept in the directory for temporary files, and
//! `GALGO_FUZZ_INPUT=<file>` tries it alone.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// Inputs of a target in the ordinary run of the tests.
const INPUTS: u64 = 2_000;

/// Longest input that is made.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// Edits of one input, at most.
const EDITS_MAX: u64 = 6;

/// Numbers that lie next to where code goes wrong.
const EDGES: [u64; 10] =
    [0, 1, 2, 127, 255, u16::MAX as u64, i32::MAX as u64, u32::MAX as u64, u64::MAX - 1, u64::MAX];

/// Something that takes any bytes.
pub struct Target {
    /// Its name, and that of its fuzz target.
    pub name: &'static str,
    /// Panics when what it takes breaks a promise.
    pub entry: fn(&[u8]),
    /// Real bytes, by name.
    pub seeds: Vec<(&'static str, Vec<u8>)>,
}

impl Target {
    /// Compares the seeds with those on the disk, and tries them and what random edits make of them.
    ///
    /// # Panics
    /// When the seeds on the disk are others, or an input breaks a promise; where the input was kept is printed.
    pub fn hold(&self) {
        if let Some(path) = std::env::var_os("GALGO_FUZZ_INPUT") {
            let input = fs::read(&path);
            assert!(input.is_ok(), "{}: {input:?}", path.display());
            return (self.entry)(&input.unwrap_or_default());
        }
        self.keep_seeds();
        let seeds: Vec<&[u8]> = self.seeds.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        for seed in &seeds {
            self.try_one(seed);
        }
        let mut random = Random(number("GALGO_FUZZ_SEED", 1));
        let mut input = Vec::new();
        for _ in 0..number("GALGO_FUZZ_INPUTS", INPUTS) {
            // One in four goes on with what the last edits made.
            if random.below(4) > 0 || input.len() > INPUT_BYTES_MAX {
                input = random.one_of(&seeds).to_vec();
            }
            for _ in 0..=random.below(EDITS_MAX) {
                let other = random.one_of(&seeds);
                edit(&mut input, other, &mut random);
            }
            self.try_one(&input);
        }
    }

    fn try_one(&self, input: &[u8]) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (self.entry)(input))) {
            let path = std::env::temp_dir().join(format!("galgo-fuzz-{}", self.name));
            let kept = fs::write(&path, input);
            eprintln!("{} breaks on the bytes in {}: {kept:?}", self.name, path.display());
            resume_unwind(panic);
        }
    }

    fn keep_seeds(&self) {
        let folder = seeds_folder().join(self.name);
        let made: BTreeMap<String, Vec<u8>> =
            self.seeds.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
        if std::env::var_os("UPDATE_SEEDS").is_some() {
            let _ = fs::remove_dir_all(&folder);
            let written = fs::create_dir_all(&folder).and_then(|()| {
                made.iter().try_for_each(|(name, bytes)| fs::write(folder.join(name), bytes))
            });
            assert!(written.is_ok(), "{}: {written:?}", folder.display());
        }
        assert!(
            found(&folder) == made,
            "the seeds in {} are not what the code makes: run the test with UPDATE_SEEDS=1",
            folder.display()
        );
    }
}

fn seeds_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds")
}

fn found(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry));
    named.filter_map(|(name, entry)| Some((name, fs::read(entry.path()).ok()?))).collect()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Changes `input` a little; `other` is what a part may be taken from.
fn edit(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.place(input.len());
    let len = random.place(input.len() - at + 1).min(random.place(64) + 1).min(input.len() - at);
    match random.below(9) {
        0 => flip(input, at, random),
        1 | 2 => {
            let edge = EDGES[random.place(EDGES.len())].to_le_bytes();
            overwrite(input, at, &edge[..[1, 2, 4, 8][random.place(4)]]);
        }
        3 => {
            // Nearly the number that stood there.
            if let Some(byte) = input.get_mut(at) {
                *byte = byte.wrapping_add(random.below(5) as u8).wrapping_sub(2);
            }
        }
        4 => drop(input.drain(at..at + len)),
        5 => {
            let again = input[at..at + len].to_vec();
            input.splice(at..at, again);
        }
        6 => {
            let new: Vec<u8> = (0..=random.below(16)).map(|_| random.below(256) as u8).collect();
            input.splice(at..at, new);
        }
        7 => {
            let from = random.place(other.len());
            let to = from + random.place(other.len() - from + 1);
            match random.below(2) {
                0 => overwrite(input, at, &other[from..to]),
                _ => drop(input.splice(at..at, other[from..to].iter().copied())),
            }
        }
        _ => input.truncate(at),
    }
}

fn flip(input: &mut [u8], at: usize, random: &mut Random) {
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

fn overwrite(input: &mut [u8], at: usize, bytes: &[u8]) {
    for (to, from) in input.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// SplitMix64: the same seed gives the same inputs.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// A place below `len`; 0 when there is none.
    fn place(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    fn one_of<'a>(&mut self, seeds: &[&'a [u8]]) -> &'a [u8] {
        seeds.get(self.place(seeds.len())).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_most_of_them_differ() {
        let inputs = |seed| {
            let mut random = Random(seed);
            let mut all = Vec::new();
            for _ in 0..1_000 {
                let mut input = b"one seed".to_vec();
                edit(&mut input, b"another", &mut random);
                all.push(input);
            }
            all
        };
        assert_eq!(inputs(7), inputs(7));
        let different: std::collections::BTreeSet<_> = inputs(7).into_iter().collect();
        assert!(different.len() > 300, "{}", different.len());
    }

    #[test]
    fn nothing_is_edited_out_of_bounds() {
        let mut random = Random(3);
        for _ in 0..10_000 {
            let mut input = vec![1; random.place(3)];
            edit(&mut input, &[2, 3][..random.place(3)], &mut random);
        }
    }
}
