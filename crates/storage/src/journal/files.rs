//! The files of a journal: their names, how one is made, taken out of use or put aside.
//!
//! INV-WHOLE-FILE: a name `NNNN.jnl` only ever stands for a file that was written and synced in its
//! full length, so that commits change no length and no allocation.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use galgo_wire::index::{part, to_usize};

use super::OpenJournalError;
use super::error::LocalError;
use super::format::{FileHeader, SECTOR_BYTES, VERSION, salt_check};
use super::list::FileList;
use crate::disk::{Disk, DiskFile, OpenMode};

const SUFFIX: &str = ".jnl";
const NEW_SUFFIX: &str = ".jnl.new";
const DAMAGED_SUFFIX: &str = ".jnl.damaged";

/// Bytes of zeros written at a time into a new file.
const ZEROS_BYTES: u64 = 1 << 20;
const _: () =
    assert!(ZEROS_BYTES.is_multiple_of(SECTOR_BYTES), "a file is filled sector by sector");

/// One open journal file.
#[derive(Clone)]
pub(super) struct JournalFile {
    /// The number in its name.
    pub(super) number: u32,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    /// Its length; frames end before it.
    pub(super) bytes: u64,
    /// Whether the header was sound and the length as made.
    pub(super) sound: bool,
}

impl JournalFile {
    pub(super) fn error(&self, source: io::Error) -> LocalError {
        LocalError::Disk { path: self.path.clone(), source }
    }
}

/// The directory of the files.
pub(super) struct Files {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) file_bytes: u64,
    pub(super) salt: u64,
}

impl Files {
    /// Opens all files there are, and tells the first number that is free for the next.
    pub(super) fn open_all(&self) -> Result<(Vec<JournalFile>, u32), OpenJournalError> {
        let mut files = Vec::new();
        let mut number_next = 1;
        let entries =
            self.disk.read_dir(&self.dir).map_err(|error| self.error(&self.dir, error))?;
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let Some(number) = number_of(&entry.name) else { continue };
            let path = self.dir.join(&entry.name);
            if entry.name.ends_with(NEW_SUFFIX) {
                // Being made when the process ended: never held a frame.
                self.disk.remove_file(&path).map_err(|error| self.error(&path, error))?;
                continue;
            }
            // Those that were put aside count, too: a file of their number would take their place, put aside in its turn.
            number_next = number_next.max(number.saturating_add(1));
            if entry.name.ends_with(SUFFIX) {
                files.push(self.open_one(path, number)?);
            }
        }
        Ok((files, number_next))
    }

    fn open_one(&self, path: PathBuf, number: u32) -> Result<JournalFile, OpenJournalError> {
        let disk_error = |error| self.error(&path, error);
        let file = self.disk.open(&path, OpenMode::ReadWrite).map_err(disk_error)?;
        let bytes = file.len().map_err(disk_error)?;
        let mut sector = [0; SECTOR_BYTES as usize];
        file.read_at(&mut sector, 0).map_err(disk_error)?;
        let header = FileHeader::decode(&sector);
        if let Some(header) = header {
            if header.version > VERSION {
                return Err(OpenJournalError::Newer { path, found: header.version });
            }
            if header.salt_check != salt_check(self.salt) {
                return Err(OpenJournalError::Foreign { path });
            }
        }
        // Not refused: its frames carry their own checksums, and what can be read of them counts. It is not written again.
        let sound = header.is_some_and(|header| header.file_bytes == bytes);
        if !sound {
            tracing::error!(path = %path.display(), "journal file has a damaged header or length");
        }
        Ok(JournalFile { number, path, file, bytes, sound })
    }

    /// Makes a file: zeros in full length, synced, then named.
    pub(super) fn make(&self, list: &FileList, number: u32) -> Result<JournalFile, LocalError> {
        // INV-WHOLE-FILE: under a name that stands for nothing until all of it is on the disk. A commit to a file that
        // has still to grow would sync its length too, and could find the disk full.
        let unfinished = self.dir.join(format!("{number:04}{NEW_SUFFIX}"));
        let path = self.path_of(number);
        let file = match self.write_new(&unfinished, number) {
            Ok(file) => file,
            Err(source) => {
                // On a full disk every try would leave another one behind.
                let _ = self.disk.remove_file(&unfinished);
                return Err(LocalError::Prepare { path: unfinished, source });
            }
        };
        // The name is durable before the first frame is written: one in a file whose name a power cut takes is gone,
        // however well it was synced.
        self.disk
            .rename(&unfinished, &path)
            .and_then(|()| self.disk.sync_dir(&self.dir))
            .map_err(|source| LocalError::Prepare { path: path.clone(), source })?;
        // What is written does not hang on the list, which is brought up to date with the next checkpoint.
        if let Err(error) = list.add(&*self.disk, number) {
            tracing::warn!(%error, "the list of journal files could not be written");
        }
        tracing::debug!(path = %path.display(), bytes = self.file_bytes, "journal file made");
        Ok(JournalFile { number, path, file, bytes: self.file_bytes, sound: true })
    }

    fn write_new(&self, path: &Path, number: u32) -> io::Result<Arc<dyn DiskFile>> {
        // Of a try whose sync may have failed: its pages count as clean, and a sync would not write them.
        if self.disk.exists(path)? {
            self.disk.remove_file(path)?;
        }
        let file = self.disk.open(path, OpenMode::CreateNew)?;
        let header = FileHeader {
            version: VERSION,
            number,
            file_bytes: self.file_bytes,
            salt_check: salt_check(self.salt),
        };
        file.write_at(&header.encode(), 0)?;
        // Written, not only made long: a hole would be filled by the commits, and each sync would write the file's
        // metadata with it.
        let zeros = vec![0; to_usize(ZEROS_BYTES.min(self.file_bytes))];
        let mut position = SECTOR_BYTES;
        while position < self.file_bytes {
            let len = (self.file_bytes - position).min(zeros.len() as u64);
            let piece =
                part(&zeros, ..to_usize(len), "a piece of zeros is no longer than all of them");
            file.write_at(piece, position)?;
            position += len;
        }
        file.sync_data()?;
        Ok(file)
    }

    /// Whether the file may be used again as it is.
    pub(super) fn is_reusable(&self, file: &JournalFile) -> bool {
        file.sound && file.bytes == self.file_bytes
    }

    /// Where the file of this number is.
    pub(super) fn path_of(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{number:04}{SUFFIX}"))
    }

    /// Removes a file for good.
    pub(super) fn remove(&self, list: &FileList, file: &JournalFile) -> Result<(), LocalError> {
        // INV-LISTED: struck off first, durably. A stop in between leaves a file too many; the other way round the next
        // start would tell that frames are missing.
        list.strike(&*self.disk, file.number)?;
        gone_is_done(self.disk.remove_file(&file.path))
            .and_then(|()| self.disk.sync_dir(&self.dir))
            .map_err(|error| file.error(error))
    }

    /// Keeps a damaged file for people to look at, out of the journal's way.
    pub(super) fn put_aside(&self, list: &FileList, file: &JournalFile) -> Result<(), LocalError> {
        // As for a removal: from here on the journal does without it.
        list.strike(&*self.disk, file.number)?;
        let aside = file.path.with_extension("jnl.damaged");
        tracing::warn!(path = %aside.display(), "damaged journal file put aside");
        gone_is_done(self.disk.rename(&file.path, &aside))
            .and_then(|()| self.disk.sync_dir(&self.dir))
            .map_err(|error| file.error(error))
    }

    fn error(&self, path: &Path, source: io::Error) -> OpenJournalError {
        LocalError::Disk { path: path.to_owned(), source }.into()
    }
}

/// A try before may have got as far as the directory's sync.
fn gone_is_done(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn number_of(name: &str) -> Option<u32> {
    let suffixes = [NEW_SUFFIX, DAMAGED_SUFFIX, SUFFIX];
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix))?.parse().ok()
}
