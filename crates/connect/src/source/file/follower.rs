//! All files of a pattern, as they come, grow, are renamed and go.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::followed::{FileId, Followed, FollowedMark, LineReading, ReadLines};
use super::pattern::Pattern;
use crate::failure::Failure;
use crate::source::{Chunk, Cursor};

/// Files that are followed at a time: each is open, and in the cursor.
pub(super) const FILES_MAX: usize = 500;
/// A file that was renamed to what the pattern does not mean is followed until nothing was written to it for so long.
const RENAMED_PATIENCE: Duration = Duration::from_secs(3600);

/// What is stored: where each file is.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Marks {
    files: Vec<FollowedMark>,
}

/// What a look found.
#[derive(Debug)]
pub(super) enum FollowerLook {
    Chunk(Chunk),
    /// Nothing new.
    Nothing,
    /// All that was there at the begin is read.
    End,
}

#[derive(Debug)]
struct FollowedEntry {
    file: Followed,
    /// Where it is, as the cursor says.
    mark: FollowedMark,
    read_at: Instant,
}

/// The files.
#[derive(Debug)]
pub(super) struct Follower {
    pattern: Pattern,
    reading: LineReading,
    entries: Vec<FollowedEntry>,
    /// Where files were that are not found again yet.
    marks: Vec<FollowedMark>,
    once: bool,
    /// The file that is read next, so that each gets its turn.
    turn: usize,
}

impl Follower {
    /// Finds the files, those of the cursor under whatever names they have in their folders now.
    pub(super) fn begin(
        pattern: Pattern,
        reading: LineReading,
        start: &FollowStart,
    ) -> Result<Self, Failure> {
        let marks = match &start.cursor {
            None => Marks::default(),
            Some(Cursor(value)) => serde_json::from_value(value.clone()).map_err(|_| {
                Failure::refused(
                    "the stored cursor is not one of files",
                    "give the pipeline another name, or remove its cursor: galgo connect cleanup",
                )
            })?,
        };
        let mut follower = Self {
            pattern,
            reading,
            entries: Vec::new(),
            marks: marks.files,
            once: start.once,
            turn: 0,
        };
        let mut seen = follower.open_all()?;
        seen.extend(follower.open_renamed()?);
        // One that is nowhere was deleted; its number may be another file's soon.
        follower.marks.retain(|mark| seen.iter().any(|id| id.is_of(mark)));
        if start.at_end && start.cursor.is_none() {
            for entry in &mut follower.entries {
                let skipped = entry.file.skip_to_end().and_then(|()| entry.file.mark());
                entry.mark = skipped.map_err(|error| failure("read", &entry.file.path, &error))?;
            }
        }
        if follower.once {
            follower.entries.iter_mut().for_each(|entry| entry.file.end_here());
        }
        Ok(follower)
    }

    /// Reads on.
    pub(super) fn look(&mut self) -> Result<FollowerLook, Failure> {
        if !self.once {
            let seen = self.open_all()?;
            self.close_gone(&seen)?;
        }
        let count = self.entries.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let Some(entry) = self.entries.get_mut(at) else {
                unreachable!("it is the turn of one of the files")
            };
            let messages = match read(entry, &self.reading)? {
                ReadLines::Nothing => continue,
                ReadLines::Messages(messages) => messages,
                ReadLines::TooLong { byte } => return Err(self.too_long(at, byte)),
            };
            entry.mark =
                entry.file.mark().map_err(|error| failure("read", &entry.file.path, &error))?;
            entry.read_at = Instant::now();
            self.turn = at + 1;
            return Ok(FollowerLook::Chunk(Chunk { messages, cursor: self.cursor()? }));
        }
        if !self.once {
            return Ok(FollowerLook::Nothing);
        }
        for entry in self.entries.iter().filter(|entry| entry.file.rest() > 0) {
            let (file, rest) = (entry.file.path.display(), entry.file.rest());
            tracing::warn!(%file, rest, "file ends within a line; that line is left for the next run");
        }
        Ok(FollowerLook::End)
    }

    fn cursor(&self) -> Result<Cursor, Failure> {
        // Those that are not found again yet stay in it.
        let found = self.entries.iter().map(|entry| entry.mark.clone());
        let marks = Marks { files: found.chain(self.marks.iter().cloned()).collect() };
        let value = serde_json::to_value(marks);
        value.map(Cursor).map_err(|error| Failure::away(format!("no cursor: {error}")))
    }

    fn too_long(&self, at: usize, byte: u64) -> Failure {
        let path = self.entries.get(at).map(|entry| entry.file.path.display().to_string());
        Failure::refused(
            format!(
                "the line at byte {byte} of {} is longer than {} bytes",
                path.unwrap_or_default(),
                self.reading.line_bytes_max
            ),
            "raise line_bytes_max, or leave such lines out: on_long = \"skip\"",
        )
    }

    /// Opens the files of the pattern that are new; tells which it means now.
    fn open_all(&mut self) -> Result<Vec<FileId>, Failure> {
        let files = self.pattern.files();
        let files =
            files.map_err(|error| failure("list the folders of", self.pattern.shown(), &error))?;
        self.open_each(files)
    }

    fn open_each(&mut self, files: Vec<PathBuf>) -> Result<Vec<FileId>, Failure> {
        let mut seen = Vec::with_capacity(files.len());
        for path in files {
            match self.open(&path) {
                Ok(id) => seen.push(id),
                // It was renamed or deleted since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failure("read", &path, &error)),
            }
            if self.entries.len() > FILES_MAX {
                return Err(Failure::refused(
                    format!("{} means more than {FILES_MAX} files", self.pattern.shown().display()),
                    "make it mean fewer, or share them out among several pipelines",
                ));
            }
        }
        Ok(seen)
    }

    fn open(&mut self, path: &Path) -> io::Result<FileId> {
        let id = FileId::of(&std::fs::metadata(path)?);
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.file.id == id) {
            if entry.file.path != path {
                path.clone_into(&mut entry.file.path);
            }
            return Ok(id);
        }
        let Some(file) = Followed::open(path, &self.marks)? else { return Ok(id) };
        let id = file.id;
        self.marks.retain(|mark| !id.is_of(mark));
        self.entries.push(FollowedEntry { mark: file.mark()?, file, read_at: Instant::now() });
        Ok(id)
    }

    /// Opens what was renamed to what the pattern does not mean, while nobody looked.
    fn open_renamed(&mut self) -> Result<Vec<FileId>, Failure> {
        if self.marks.is_empty() {
            return Ok(Vec::new());
        }
        let list = || -> io::Result<Vec<PathBuf>> {
            let mut files = Vec::new();
            for folder in self.pattern.folders()? {
                for entry in std::fs::read_dir(folder)? {
                    let path = entry?.path();
                    let Ok(metadata) = path.metadata() else { continue };
                    let id = FileId::of(&metadata);
                    if metadata.is_file() && self.marks.iter().any(|mark| id.is_of(mark)) {
                        files.push(path);
                    }
                }
            }
            Ok(files)
        };
        let files =
            list().map_err(|error| failure("list the folders of", self.pattern.shown(), &error))?;
        self.open_each(files)
    }

    /// Leaves files that are gone and read to their end.
    fn close_gone(&mut self, seen: &[FileId]) -> Result<(), Failure> {
        let mut kept = Vec::with_capacity(self.entries.len());
        for mut entry in self.entries.drain(..) {
            if seen.contains(&entry.file.id) {
                kept.push(entry);
                continue;
            }
            let look = entry.file.look(&entry.mark).and_then(|_| entry.file.is_deleted());
            let is_deleted = look.map_err(|error| failure("read", &entry.file.path, &error))?;
            let is_over = is_deleted || entry.read_at.elapsed() >= RENAMED_PATIENCE;
            if !is_over || entry.file.has_line(&self.reading).unwrap_or(true) {
                kept.push(entry);
            }
        }
        self.entries = kept;
        Ok(())
    }
}

/// How to begin.
#[derive(Clone, Debug)]
pub(super) struct FollowStart {
    pub(super) cursor: Option<Cursor>,
    pub(super) once: bool,
    /// Without a cursor: whether what is in the files already is left out.
    pub(super) at_end: bool,
}

fn read(entry: &mut FollowedEntry, reading: &LineReading) -> Result<ReadLines, Failure> {
    let FollowedEntry { file, mark, .. } = entry;
    let was_cut = file.look(mark).map_err(|error| failure("read", &file.path, &error))?;
    if was_cut {
        tracing::warn!(file = %file.path.display(), "file was cut or written anew; it is read from its begin");
    }
    file.read(reading).map_err(|error| failure("read", &file.path, &error))
}

/// What an error of the disk means for the pipeline.
pub(super) fn failure(doing: &str, path: &Path, error: &io::Error) -> Failure {
    let reason = format!("cannot {doing} {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Failure::refused(reason, "let the user that runs galgo connect read it")
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Failure::refused(reason, "make the folder, or mount what should be there")
        }
        _ => Failure::away(reason),
    }
}
