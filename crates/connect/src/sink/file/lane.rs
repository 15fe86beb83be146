//! The objects of one lane.
//!
//! Part of INV-FILE-MARK: a batch is in the object and synced before the mark says so; whatever is behind the mark is cut off
//! before anything is written there. A finished object is never opened again, and never replaced.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::folder::{Folder, failure, sync_folder};
use super::mark::{self, FoundFile, LaneMark, MarkError, MarkFile, OpenObject};
use crate::batch::Batch;
use crate::clock::now_micros;
use crate::failure::Failure;
use crate::place::{LaneName, Position};

/// What the name of an object ends with while it is written.
const PART: &str = ".part";
/// Digits of an offset in a name, so that names sort as offsets do.
const DIGITS: usize = 20;

const _: () = assert!(
    u64::MAX.ilog10() as usize + 1 == DIGITS,
    "INV-FILE-MARK: names of objects are sorted as their offsets are"
);

/// The folder of a lane.
#[derive(Debug)]
pub(super) struct LaneFolder {
    path: PathBuf,
    /// What is delivered; none of a lane that has nothing yet.
    known: Option<LaneMark>,
    /// Where that is written down, once there is a file.
    marks: Option<MarkFile>,
    /// The object that is being written, as the mark says.
    file: Option<File>,
    /// Whether it may have its name already: nothing is added to it then.
    is_finishing: bool,
}

impl LaneFolder {
    /// Finds a lane again from its files, and cuts off what a crash left.
    pub(super) fn find(folder: &Folder, path: PathBuf) -> Result<Self, Failure> {
        let found = match mark::read(&path) {
            Ok(found) => found,
            Err(MarkError::Disk(error)) => {
                return Err(failure("read", &path.join(mark::NAME), &error));
            }
            Err(MarkError::Damaged) => {
                return Err(Failure::refused(
                    format!("{} is damaged", path.join(mark::NAME).display()),
                    "restore the folder from a copy, or name another path",
                ));
            }
        };
        let Some(found) = found else {
            refuse_objects(&path)?;
            return Ok(Self { path, known: None, marks: None, file: None, is_finishing: false });
        };
        if let Some(mark) = found.mark.as_ref().filter(|mark| mark.pipeline != folder.pipeline) {
            return Err(Failure::refused(
                format!("{} was written by the pipeline \"{}\"", path.display(), mark.pipeline),
                "name another path: each pipeline has one of its own",
            ));
        }
        let marks = MarkFile::open(&path, &found)
            .map_err(|error| failure("open", &path.join(mark::NAME), &error))?;
        let (known, marks) = (found.mark, Some(marks));
        let mut lane = Self { path, known, marks, file: None, is_finishing: false };
        if let Some(open) = lane.open().cloned() {
            lane.find_object(folder, &open)?;
        }
        lane.drop_leftovers()?;
        Ok(lane)
    }

    /// Where the lane goes on.
    pub(super) fn position(&self) -> Option<Position> {
        self.known.as_ref().map(LaneMark::position)
    }

    /// Delivers a batch: durable when this returns.
    pub(super) fn write(
        &mut self,
        folder: &Folder,
        name: &LaneName,
        batch: &Batch,
    ) -> Result<(), Failure> {
        if self.position().is_some_and(|at| at.next != batch.begin()) {
            return Err(Failure::Moved);
        }
        let bytes = folder.encoder.rows(name, batch.rows())?;
        if self.is_finishing || self.is_old(folder) || self.is_of_another_format(folder) {
            self.finish(folder)?;
        }
        assert!(!self.is_finishing, "INV-FILE-MARK: nothing is added to what is being finished");
        let mut open = self.open().cloned();
        if !batch.rows().is_empty() {
            let at = match open {
                Some(open) => open,
                None => self.begin_object(folder, batch.begin())?,
            };
            open = Some(self.append(at, &bytes)?);
        }
        self.mark(folder, open, batch.end())?;
        assert!(
            self.position() == Some(*batch.end()),
            "INV-FILE-MARK: a batch is delivered when the mark says so"
        );
        if self.open().is_some_and(|open| open.bytes >= folder.rotation.bytes)
            && let Err(failure) = self.finish(folder)
        {
            // The batch is delivered, and the object is finished with the next one.
            let reason = failure.to_string();
            tracing::warn!(lane = %name, reason, "object is not finished yet; that is tried again");
        }
        Ok(())
    }

    /// Has the lane go on from somewhere else.
    pub(super) fn set_position(
        &mut self,
        folder: &Folder,
        position: &Position,
    ) -> Result<(), Failure> {
        self.finish(folder)?;
        let names =
            object_names(&self.path).map_err(|error| failure("list", &self.path, &error))?;
        let begin = format!("{:0DIGITS$}", position.next);
        if let Some(later) = names.iter().find(|name| begin_of(name) >= begin.as_str()) {
            return Err(Failure::refused(
                format!(
                    "{} is there already, and objects are not replaced",
                    self.path.join(later).display()
                ),
                format!("move the objects from {begin} on somewhere else first"),
            ));
        }
        self.mark(folder, None, position)
    }

    /// Whether the open object is to be finished because of its age.
    pub(super) fn is_old(&self, folder: &Folder) -> bool {
        let age_us = |open: &OpenObject| now_micros().saturating_sub(open.begun_at);
        self.open().is_some_and(|open| age_us(open) >= folder.rotation.after_us)
    }

    /// Finishes the open object, if there is one: it gets its name.
    pub(super) fn finish(&mut self, folder: &Folder) -> Result<(), Failure> {
        self.is_finishing = false;
        let Some(open) = self.open() else { return Ok(()) };
        let object = self.path.join(&open.name);
        let part = part_of(&object);
        self.is_finishing = true;
        // Not a rename: that would replace what somebody else has made there.
        match std::fs::hard_link(&part, &object) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && same(&part, &object) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(there_already(&object));
            }
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                return Err(Failure::refused(
                    format!("the file system of {} gives no file a second name", object.display()),
                    "name a path on a local disk of Linux: ext4, xfs, btrfs",
                ));
            }
            Err(error) => return Err(failure("make", &object, &error)),
        }
        sync_folder(&self.path).map_err(|error| failure("sync", &self.path, &error))?;
        let Some(position) = self.position() else { unreachable!("an object has a position") };
        self.mark(folder, None, &position)?;
        (self.file, self.is_finishing) = (None, false);
        assert!(self.open().is_none(), "INV-FILE-MARK: what is finished is not open any more");
        std::fs::remove_file(&part).map_err(|error| failure("remove", &part, &error))
    }

    /// Removes what is known of the lane, but no object.
    pub(super) fn forget(self) -> Result<(), Failure> {
        let path = self.path.join(mark::NAME);
        std::fs::remove_file(&path).map_err(|error| failure("remove", &path, &error))
    }

    fn open(&self) -> Option<&OpenObject> {
        self.known.as_ref().and_then(|mark| mark.open.as_ref())
    }

    /// Whether the file of the pipeline asks for another format since.
    fn is_of_another_format(&self, folder: &Folder) -> bool {
        let extension = folder.encoder.format.extension();
        self.open().is_some_and(|open| {
            open.name.split_once('.').is_none_or(|(_, found)| found != extension)
        })
    }

    /// Opens the object that the mark names where the mark says it ends.
    fn find_object(&mut self, folder: &Folder, open: &OpenObject) -> Result<(), Failure> {
        let object = self.path.join(&open.name);
        let part = part_of(&object);
        match (part.exists(), object.exists()) {
            (true, true) => return self.finish(folder),
            (true, false) => {}
            (false, true) => {
                let Some(position) = self.position() else { unreachable!("a mark was read") };
                return self.mark(folder, None, &position);
            }
            (false, false) => {
                return Err(Failure::refused(
                    format!("{} is gone, and what was delivered into it", part.display()),
                    "put it back, or have the lane go on from somewhere else: galgo connect position",
                ));
            }
        }
        let file = OpenOptions::new().append(true).open(&part);
        let file = file.map_err(|error| failure("open", &part, &error))?;
        let length = file.metadata().map_err(|error| failure("look at", &part, &error))?.len();
        if length < open.bytes {
            return Err(Failure::refused(
                format!("{} is shorter than what was delivered into it", part.display()),
                "restore the folder from a copy, or have the lane go on from somewhere else: galgo connect position",
            ));
        }
        let cut = file.set_len(open.bytes).and_then(|()| file.sync_data());
        cut.map_err(|error| failure("cut", &part, &error))?;
        self.file = Some(file);
        Ok(())
    }

    /// Removes parts of which nothing was delivered, or all is in a finished object.
    fn drop_leftovers(&self) -> Result<(), Failure> {
        let names = names_in(&self.path).map_err(|error| failure("list", &self.path, &error))?;
        let open = self.open().map(|open| format!("{}{PART}", open.name));
        for name in names.iter().filter(|name| name.ends_with(PART) && is_object(name)) {
            if open.as_ref() != Some(name) {
                let path = self.path.join(name);
                std::fs::remove_file(&path).map_err(|error| failure("remove", &path, &error))?;
            }
        }
        Ok(())
    }

    fn begin_object(&mut self, folder: &Folder, begin: u64) -> Result<OpenObject, Failure> {
        self.marks(folder)?;
        assert!(self.open().is_none(), "INV-FILE-MARK: a lane has one open object");
        let name = format!("{begin:0DIGITS$}.{}", folder.encoder.format.extension());
        assert!(is_object(&name), "INV-FILE-MARK: an object is known by its name");
        let object = self.path.join(&name);
        if object.exists() {
            return Err(there_already(&object));
        }
        let part = part_of(&object);
        let head = folder.encoder.head()?;
        let made = OpenOptions::new().create(true).write(true).truncate(true).open(&part);
        let mut file = made.map_err(|error| failure("make", &part, &error))?;
        file.write_all(&head).map_err(|error| failure("write", &part, &error))?;
        // Before the mark names it: a mark is never of a file that a power cut took away.
        sync_folder(&self.path).map_err(|error| failure("sync", &self.path, &error))?;
        self.file = Some(file);
        Ok(OpenObject { name, bytes: head.len() as u64, begun_at: now_micros() })
    }

    fn append(&mut self, open: OpenObject, bytes: &[u8]) -> Result<OpenObject, Failure> {
        assert!(
            self.open().is_none_or(|marked| marked.name == open.name),
            "INV-FILE-MARK: rows go to the object that the mark names"
        );
        let Some(file) = &mut self.file else { unreachable!("the open object is open") };
        if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_data()) {
            // Gives the room back; the lane is found again from its files, which does the same.
            let _ = file.set_len(open.bytes);
            return Err(failure("write", &part_of(&self.path.join(&open.name)), &error));
        }
        Ok(OpenObject { bytes: open.bytes + bytes.len() as u64, ..open })
    }

    /// Writes down what is delivered.
    fn mark(
        &mut self,
        folder: &Folder,
        open: Option<OpenObject>,
        position: &Position,
    ) -> Result<(), Failure> {
        let mark = LaneMark::new(&folder.pipeline, open, position);
        let path = self.path.join(mark::NAME);
        let written = self.marks(folder)?.add(&mark);
        written.map_err(|error| failure("write", &path, &error))?;
        self.known = Some(mark);
        Ok(())
    }

    /// Where it is written down; there before the first object is, so that an object without it was not made here.
    fn marks(&mut self, folder: &Folder) -> Result<&mut MarkFile, Failure> {
        if self.marks.is_none() {
            folder.make(&self.path)?;
            let opened = MarkFile::open(&self.path, &FoundFile::default());
            let path = self.path.join(mark::NAME);
            self.marks = Some(opened.map_err(|error| failure("make", &path, &error))?);
        }
        let Some(marks) = &mut self.marks else { unreachable!("it was opened") };
        Ok(marks)
    }
}

/// Nothing is known of a lane although there are objects: it would be delivered into them once more.
fn refuse_objects(path: &Path) -> Result<(), Failure> {
    let mut names = names_in(path).map_err(|error| failure("list", path, &error))?;
    names.retain(|name| is_object(name));
    let Some(object) = names.first() else { return Ok(()) };
    Err(Failure::refused(
        format!("{} is there, but no {} beside it", path.join(object).display(), mark::NAME),
        "restore that file, or name another path: where the lane goes on is not known without it",
    ))
}

/// The names of finished objects, in order.
fn object_names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = names_in(path)?;
    names.retain(|name| is_object(name) && !name.ends_with(PART));
    names.sort_unstable();
    Ok(names)
}

fn names_in(path: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let name = |entry: io::Result<std::fs::DirEntry>| {
        entry.map(|entry| entry.file_name().into_string().unwrap_or_default())
    };
    entries.map(name).collect()
}

fn is_object(name: &str) -> bool {
    let begin = begin_of(name);
    begin.len() == DIGITS && begin.bytes().all(|byte| byte.is_ascii_digit())
}

fn begin_of(name: &str) -> &str {
    name.split_once('.').map_or("", |(begin, _)| begin)
}

fn part_of(object: &Path) -> PathBuf {
    let mut name = object.as_os_str().to_owned();
    name.push(PART);
    PathBuf::from(name)
}

/// Whether two names are of one file.
fn same(one: &Path, other: &Path) -> bool {
    let inode = |path: &Path| path.metadata().map(|it| (it.dev(), it.ino()));
    matches!((inode(one), inode(other)), (Ok(one), Ok(other)) if one == other)
}

fn there_already(object: &Path) -> Failure {
    Failure::refused(
        format!("{} is there already, and was not made here", object.display()),
        "move it somewhere else; objects are not replaced",
    )
}
