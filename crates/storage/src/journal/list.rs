//! Which files a journal has, on record, so that one that was taken away is told.
//!
//! Nothing in the other files shows that the one with the last frames is gone.
//!
//! INV-LISTED: a name is struck off before its file is removed. So a file that is on the list and not there
//! was taken away by somebody else, and with it the frames that were in it only.
//!
//! A file, `files`, replaced as a whole:
//! ```text
//! 0          8         12      16             16 + 4 n
//! | "GALGOJNF" | version | count | numbers ... | crc32 |
//! |            | u32     | u32   | u32 each    | u32   |
//! ```
//! `crc32` covers everything before it, and is at the end in every version.

use crate::lock::{Ranked, rank};
use galgo_wire::index::to_u32;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::OpenJournalError;
use super::error::LocalError;
use crate::disk::Disk;
use crate::replace_file::{read_file, replace_file};
use crate::twin::Unsound;

/// Name of the file.
const NAME: &str = "files";
/// First bytes of the file.
const MAGIC: [u8; 8] = *b"GALGOJNF";
/// Version of the file this program writes.
const VERSION: u32 = 1;
/// A longer file is no list.
const BYTES_MAX: u64 = 1 << 20;

const HEADER_BYTES: usize = 16;
const CRC_BYTES: usize = 4;

/// The list, and the files there are.
pub(super) struct FileList {
    path: PathBuf,
    state: Ranked<{ rank::JOURNAL_LIST }, ListedFiles>,
}

struct ListedFiles {
    there: BTreeSet<u32>,
    /// What is on record; `None` when there is no sound record.
    noted: Option<BTreeSet<u32>>,
}

impl FileList {
    /// Reads the record in `dir`, where the files `there` were found. Changes nothing.
    ///
    /// # Errors
    /// `Newer` when a newer program wrote the record, or those of the disk.
    pub(super) fn read(
        disk: &dyn Disk,
        dir: &Path,
        there: BTreeSet<u32>,
    ) -> Result<Self, OpenJournalError> {
        let path = dir.join(NAME);
        let read = match read_file(disk, &path, BYTES_MAX) {
            Ok(None) => None,
            Ok(Some(bytes)) => Some(decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                Some(Err(Unsound::Damaged))
            }
            Err(source) => return Err(LocalError::Disk { path, source }.into()),
        };
        let noted = match read {
            None => None,
            Some(Ok(numbers)) => Some(numbers),
            Some(Err(Unsound::Newer(found))) => {
                return Err(OpenJournalError::Newer { path, found });
            }
            // Not refused: no frame hangs on it. Until the next checkpoint nothing tells a file that is missing.
            Some(Err(Unsound::Damaged)) => {
                let path = path.display();
                tracing::warn!(%path, "the list of journal files is damaged: it is made again");
                None
            }
        };
        Ok(Self { path, state: Ranked::new(ListedFiles { there, noted }) })
    }

    /// The files on record that are not there.
    pub(super) fn missing(&self) -> Vec<u32> {
        let state = self.state.lock();
        let noted = state.noted.iter().flatten();
        noted.filter(|number| !state.there.contains(number)).copied().collect()
    }

    /// Whether there was a sound record.
    pub(super) fn is_noted(&self) -> bool {
        self.state.lock().noted.is_some()
    }

    /// Puts a file on record that was made and holds nothing yet.
    ///
    /// # Errors
    /// Those of the disk; it is on record from the next [`FileList::settle`] on then.
    pub(super) fn add(&self, disk: &dyn Disk, number: u32) -> Result<(), LocalError> {
        let mut state = self.state.lock();
        state.there.insert(number);
        self.write(disk, &mut state)
    }

    /// Strikes off a file that is about to be removed.
    ///
    /// # Errors
    /// Those of the disk; the file must stay then.
    pub(super) fn strike(&self, disk: &dyn Disk, number: u32) -> Result<(), LocalError> {
        // The lock is held over the write: of two lists that are written at once, the older must not come last.
        let mut state = self.state.lock();
        state.there.remove(&number);
        let written = self.write(disk, &mut state);
        if written.is_err() {
            // Its file stays, so that it is there; the record on the disk is the old one or the new one.
            state.there.insert(number);
        }
        written
    }

    /// Brings the record up to date.
    ///
    /// # Errors
    /// Those of the disk; the record is the one before or the new one then.
    pub(super) fn settle(&self, disk: &dyn Disk) -> Result<(), LocalError> {
        self.write(disk, &mut self.state.lock())
    }

    fn write(&self, disk: &dyn Disk, state: &mut ListedFiles) -> Result<(), LocalError> {
        if state.noted.as_ref() == Some(&state.there) {
            return Ok(());
        }
        // Until it is known what the disk holds: after an error the same list is written once more, not believed to be
        // there.
        state.noted = None;
        replace_file(disk, &self.path, &encode(&state.there))
            .map_err(|source| LocalError::Disk { path: self.path.clone(), source })?;
        state.noted = Some(state.there.clone());
        Ok(())
    }
}

fn encode(numbers: &BTreeSet<u32>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    let count = to_u32(numbers.len());
    let words = [VERSION, count].into_iter().chain(numbers.iter().copied());
    bytes.extend(words.flat_map(u32::to_le_bytes));
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Result<BTreeSet<u32>, Unsound> {
    let damaged = Unsound::Damaged;
    let at = bytes.len().checked_sub(CRC_BYTES).ok_or(Unsound::Damaged)?;
    let (fields, crc) = bytes.split_at_checked(at).ok_or(Unsound::Damaged)?;
    let (header, numbers) = fields.split_at_checked(HEADER_BYTES).ok_or(Unsound::Damaged)?;
    if words(crc).next() != Some(crc32fast::hash(fields)) || !header.starts_with(&MAGIC) {
        return Err(damaged);
    }
    let mut rest = words(header).skip(MAGIC.len() / 4);
    let (version, count) = (rest.next(), rest.next());
    match version {
        Some(found) if found > VERSION => return Err(Unsound::Newer(found)),
        Some(VERSION) => {}
        _ => return Err(damaged),
    }
    let whole = count.map(|count| u64::from(count) * 4) == Some(numbers.len() as u64);
    if whole { Ok(words(numbers).collect()) } else { Err(damaged) }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let (words, _) = bytes.as_chunks();
    words.iter().map(|word| u32::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_back_and_every_flipped_bit_and_cut_is_damage() {
        let numbers: BTreeSet<u32> = [1, 2, 7].into();
        let bytes = encode(&numbers);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("../../fixtures/v1/journal_files.hex").trim());
        assert_eq!(decode(&bytes), Ok(numbers));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Err(Unsound::Damaged), "{cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes), Err(Unsound::Damaged), "{bit}");
        }
    }

    #[test]
    fn a_newer_list_is_told_from_a_damaged_one() {
        let mut bytes = encode(&[1].into());
        bytes[8] = 2;
        let at = bytes.len() - CRC_BYTES;
        let crc = crc32fast::hash(&bytes[..at]);
        bytes[at..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode(&bytes), Err(Unsound::Newer(2)));
    }
}
