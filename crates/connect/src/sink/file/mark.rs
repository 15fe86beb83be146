//! What is delivered of a lane: a small file beside its objects, to which a line is added for each batch.
//!
//! Part of INV-FILE-MARK: the last whole line is the truth. A line that a crash tore is no line: each carries a checksum.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::folder::sync_folder;
use crate::place::Position;

/// The name of the file.
pub(super) const NAME: &str = ".galgo-position";
/// The file is begun anew when it is longer.
const BYTES_MAX: u64 = 1 << 20;
/// Digits of the checksum, and the space behind them.
const HEAD: usize = 17;

const _: () = assert!(
    HEAD == 2 * size_of::<u64>() + 1,
    "INV-FILE-MARK: in front of a mark is its checksum, in hexadecimal, and a space"
);

/// Where a lane is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LaneMark {
    /// The pipeline that writes here.
    pub(super) pipeline: String,
    /// The object that is not finished.
    pub(super) open: Option<OpenObject>,
    next: u64,
    topic_made_at: u64,
    // As text: JSON of serde has 64 bits.
    last_id: String,
    last_time: u64,
}

/// An object that is being written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenObject {
    /// What it is called when it is finished.
    pub(super) name: String,
    /// Its bytes up to the end of the last batch that is delivered.
    pub(super) bytes: u64,
    /// When it was begun, in microseconds since the Unix epoch.
    pub(super) begun_at: u64,
}

impl LaneMark {
    pub(super) fn new(pipeline: &str, open: Option<OpenObject>, position: &Position) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            open,
            next: position.next,
            topic_made_at: position.topic_made_at,
            last_id: format!("{:032x}", position.last_id),
            last_time: position.last_time,
        }
    }

    /// Where the lane goes on.
    pub(super) fn position(&self) -> Position {
        Position {
            next: self.next,
            topic_made_at: self.topic_made_at,
            // Its checksum was right, so it is what was written.
            last_id: u128::from_str_radix(&self.last_id, 16).unwrap_or(0),
            last_time: self.last_time,
        }
    }

    fn line(&self) -> Vec<u8> {
        let Ok(json) = serde_json::to_string(self) else {
            unreachable!("numbers and texts can be written as JSON")
        };
        assert!(!json.contains('\n'), "INV-FILE-MARK: a mark is one line");
        format!("{:016x} {json}\n", XxHash3_64::oneshot(json.as_bytes())).into_bytes()
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let (head, json) = line.split_at_checked(HEAD)?;
        let sum = u64::from_str_radix(std::str::from_utf8(head).ok()?.trim_end(), 16).ok()?;
        if XxHash3_64::oneshot(json) != sum {
            return None;
        }
        serde_json::from_slice(json).ok()
    }
}

/// The file, open to be written.
#[derive(Debug)]
pub(super) struct MarkFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// Why there is no mark.
#[derive(Debug)]
pub(super) enum MarkError {
    Disk(io::Error),
    /// There is a file, and more than its last line is wrong.
    Damaged,
}

impl From<io::Error> for MarkError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// What there is of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// The last mark; none when a crash came before the first was whole.
    pub(super) mark: Option<LaneMark>,
    /// Bytes up to its end.
    bytes: u64,
}

/// Reads the last mark of a folder; `None` where there is no file.
pub(super) fn read(folder: &Path) -> Result<Option<FoundFile>, MarkError> {
    let bytes = match std::fs::read(folder.join(NAME)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut found = FoundFile::default();
    let mut wrong = 0;
    let mut end = 0_u64;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        end += line.len() as u64;
        match line.strip_suffix(b"\n").and_then(LaneMark::parse) {
            Some(mark) => {
                (found, wrong) = (FoundFile { mark: Some(mark), bytes: end }, 0);
            }
            None => wrong += 1,
        }
    }
    // One write is torn by a crash, not two.
    if wrong > 1 { Err(MarkError::Damaged) } else { Ok(Some(found)) }
}

impl MarkFile {
    /// Opens the file behind its last mark, or makes it.
    pub(super) fn open(folder: &Path, found: &FoundFile) -> io::Result<Self> {
        let path = folder.join(NAME);
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        file.set_len(found.bytes)?;
        sync_folder(folder)?;
        Ok(Self { path, file, bytes: found.bytes })
    }

    fn anew(path: PathBuf, mark: &LaneMark) -> io::Result<Self> {
        let fresh = path.with_extension("new");
        let mut file = File::create(&fresh)?;
        let line = mark.line();
        file.write_all(&line)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)?;
        sync_folder(path.parent().unwrap_or(Path::new(".")))?;
        let file = OpenOptions::new().append(true).open(&path)?;
        Ok(Self { path, file, bytes: line.len() as u64 })
    }

    /// Adds a mark; it is durable when this returns. After an error the file has to be read again.
    pub(super) fn add(&mut self, mark: &LaneMark) -> io::Result<()> {
        if self.bytes > BYTES_MAX {
            *self = Self::anew(self.path.clone(), mark)?;
            return Ok(());
        }
        let line = mark.line();
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line would be cut by the next reader, too; this gives the room back at once.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += line.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(next: u64) -> LaneMark {
        let open = OpenObject { name: "0.ndjson".to_owned(), bytes: next * 10, begun_at: 7 };
        let position =
            Position { next, topic_made_at: 7, last_id: u128::MAX - 1, last_time: next * 2 };
        LaneMark::new("p", Some(open), &position)
    }

    fn last(folder: &Path) -> Option<LaneMark> {
        read(folder).unwrap().unwrap().mark
    }

    /// INV-FILE-MARK: wherever a crash tears the file, the last whole line is read, and writing goes on behind it.
    #[test]
    fn a_mark_that_was_torn_is_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (mark(1), mark(2));
        let whole = [first.line(), second.line()].concat();
        for cut in 0..=whole.len() {
            std::fs::write(dir.path().join(NAME), &whole[..cut]).unwrap();
            let expected = match cut {
                cut if cut == whole.len() => Some(&second),
                cut if cut >= first.line().len() => Some(&first),
                _ => None,
            };
            let found = read(dir.path()).unwrap().unwrap();
            assert_eq!(found.mark.as_ref(), expected, "{cut}");
            MarkFile::open(dir.path(), &found).unwrap().add(&mark(3)).unwrap();
            assert_eq!(last(dir.path()), Some(mark(3)), "{cut}");
        }
        assert_eq!(mark(3).position().last_id, u128::MAX - 1);
    }

    #[test]
    fn a_file_that_is_wrong_in_more_than_its_last_line_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = [mark(1).line(), mark(2).line(), mark(3).line()].concat();
        let length = bytes.len();
        bytes[length - 5] ^= 1;
        std::fs::write(dir.path().join(NAME), &bytes).unwrap();
        assert_eq!(last(dir.path()), Some(mark(2)));
        let second = mark(1).line().len() + 20;
        bytes[second] ^= 1;
        std::fs::write(dir.path().join(NAME), &bytes).unwrap();
        assert!(matches!(read(dir.path()), Err(MarkError::Damaged)));
    }

    #[test]
    fn the_file_does_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = MarkFile::open(dir.path(), &FoundFile::default()).unwrap();
        file.add(&mark(1)).unwrap();
        file.bytes = BYTES_MAX + 1;
        file.add(&mark(2)).unwrap();
        assert_eq!(std::fs::read(dir.path().join(NAME)).unwrap(), mark(2).line());
        file.add(&mark(3)).unwrap();
        assert_eq!(last(dir.path()), Some(mark(3)));
    }
}
