//! One file that is followed: what is read of it, and how it is known again.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use galgo::UserHeaders;
use serde::{Deserialize, Serialize};
use twox_hash::{XxHash3_64, XxHash3_128};

use super::records::{self, LineEnds};
use crate::batch::Form;
use crate::source::Incoming;

/// Bytes that are read at a time.
const WINDOW: u64 = 1 << 20;
/// Bytes of the first line that tell files apart.
const HEAD_BYTES: usize = 4096;
/// Bytes in front of a place that are to be the same when the file is looked at again.
const BEFORE_BYTES: u64 = 256;
/// Messages handed on at a time.
const MESSAGES_MAX: usize = 1000;

/// How lines become messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineFormat {
    Lines,
    Ndjson,
    Csv { delimiter: u8 },
}

/// How lines are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineReading {
    pub(super) format: LineFormat,
    /// Bytes of the longest line.
    pub(super) line_bytes_max: u64,
    /// Whether a longer one is left out; it stops the pipeline otherwise.
    pub(super) skip_long: bool,
}

/// What is stored of a file: enough to know it again under another name, and to notice that it is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FollowedMark {
    inode: u64,
    /// Of the first line.
    head: String,
    /// How often something else was found under this inode and first line.
    generation: u32,
    /// Where the next line begins.
    pub(super) byte: u64,
    /// Of the bytes in front of that.
    before: String,
}

/// Which file a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    pub(super) fn is_of(self, mark: &FollowedMark) -> bool {
        self.inode == mark.inode
    }
}

/// What comes of reading on.
#[derive(Debug)]
pub(super) enum ReadLines {
    /// Lines; none of them when they were empty.
    Messages(Vec<Incoming>),
    /// No whole line yet.
    Nothing,
    /// A line that is too long, which stops the pipeline.
    TooLong {
        /// Where it begins.
        byte: u64,
    },
}

/// A file that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) id: FileId,
    pub(super) path: PathBuf,
    file: File,
    head: u64,
    generation: u32,
    byte: u64,
    /// Its length at the last look.
    length: u64,
    /// Where to end, if not with the end of the file.
    end: Option<u64>,
    header: Option<Vec<String>>,
    /// The end of what was looked at in vain for the end of a line.
    in_vain: u64,
}

impl Followed {
    /// Follows a file from where the mark says, if it is the one that was marked; `None` as long as it has no whole line.
    pub(super) fn open(path: &Path, marks: &[FollowedMark]) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let id = FileId::of(&metadata);
        let Some(head) = head_of(&file)? else { return Ok(None) };
        let mut followed = Self {
            id,
            path: path.to_owned(),
            file,
            head,
            generation: 0,
            byte: 0,
            length: metadata.len(),
            end: None,
            header: None,
            in_vain: 0,
        };
        let is_marked = |mark: &&FollowedMark| mark.inode == id.inode && mark.head == hex(head);
        if let Some(mark) = marks.iter().find(is_marked) {
            (followed.generation, followed.byte) = (mark.generation, mark.byte);
            if !followed.is_as_marked(mark)? {
                followed.begin_anew(metadata.len());
            }
        }
        Ok(Some(followed))
    }

    /// Begins behind the last whole line there is.
    pub(super) fn skip_to_end(&mut self) -> io::Result<()> {
        let from = self.length.saturating_sub(WINDOW);
        let last = self.read_at(from, self.length)?;
        let begin = last.iter().rposition(|byte| *byte == b'\n').map(|at| from + at as u64 + 1);
        self.byte = begin.unwrap_or(self.length);
        assert!(self.byte <= self.length, "INV-FILE-LINE: no more is left out than there is");
        Ok(())
    }

    /// Ends with what is there now.
    pub(super) fn end_here(&mut self) {
        self.end = Some(self.length);
    }

    /// Where it is.
    pub(super) fn mark(&self) -> io::Result<FollowedMark> {
        Ok(FollowedMark {
            inode: self.id.inode,
            head: hex(self.head),
            generation: self.generation,
            byte: self.byte,
            before: self.before()?,
        })
    }

    /// Whether it was deleted.
    pub(super) fn is_deleted(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.nlink() == 0)
    }

    /// Bytes that are there and not handed on.
    pub(super) fn rest(&self) -> u64 {
        self.end.unwrap_or(self.length).saturating_sub(self.byte)
    }

    /// Looks at the file; tells whether it was cut or written anew, which is read from its begin.
    pub(super) fn look(&mut self, mark: &FollowedMark) -> io::Result<bool> {
        let length = self.file.metadata()?.len();
        if length == self.length {
            return Ok(false);
        }
        if length >= self.byte && self.is_as_marked(mark)? {
            self.length = length;
            return Ok(false);
        }
        let Some(head) = head_of(&self.file)? else {
            // Nothing to begin with yet: a later look tells.
            self.length = self.byte;
            return Ok(false);
        };
        self.head = head;
        self.begin_anew(length);
        Ok(true)
    }

    fn begin_anew(&mut self, length: u64) {
        self.generation = self.generation.wrapping_add(1);
        (self.byte, self.length, self.in_vain, self.header) = (0, length, 0, None);
        // What it was to end with is gone.
        self.end = self.end.map(|_| length);
    }

    /// Whether there is a line to be read yet.
    pub(super) fn has_line(&self, reading: &LineReading) -> io::Result<bool> {
        let window = self.read_at(self.byte, self.length.min(self.byte + WINDOW))?;
        let is_window = window.len() as u64 == WINDOW;
        Ok(is_window || ends(reading.format).find(&window).is_some())
    }

    /// Reads whole lines.
    pub(super) fn read(&mut self, reading: &LineReading) -> io::Result<ReadLines> {
        let end = self.end.map_or(self.length, |end| end.min(self.length));
        if self.byte >= end || end <= self.in_vain {
            return Ok(ReadLines::Nothing);
        }
        if self.byte == 0
            && let LineFormat::Csv { delimiter } = reading.format
        {
            match self.read_header(delimiter, end, reading.line_bytes_max)? {
                Some(bytes) => self.byte = bytes,
                None => return self.long_or_nothing(end, reading),
            }
        }
        let mut window = self.read_at(self.byte, end.min(self.byte + WINDOW))?;
        let whole = ends(reading.format).find(&window).is_some();
        if !whole && self.byte + (window.len() as u64) < end {
            let most = self.byte + reading.line_bytes_max + 2;
            window = self.read_at(self.byte, end.min(most))?;
        }
        let messages = self.messages(&window, reading)?;
        match messages {
            Some(messages) => Ok(ReadLines::Messages(messages)),
            None => self.long_or_nothing(end, reading),
        }
    }

    /// The messages of the whole lines in a window, and moves behind them; `None` if there is no whole line, or the first is too long.
    fn messages(
        &mut self,
        window: &[u8],
        reading: &LineReading,
    ) -> io::Result<Option<Vec<Incoming>>> {
        let begin = self.byte;
        let mut ends = ends(reading.format);
        let mut messages = Vec::new();
        let (mut rest, mut any) = (window, false);
        while messages.len() < MESSAGES_MAX
            && let Some((line, behind)) = ends.find(rest).and_then(|end| rest.split_at_checked(end))
        {
            let text = without_end(line);
            if text.len() as u64 > reading.line_bytes_max {
                break;
            }
            if !text.is_empty() {
                messages.push(self.message(text, reading)?);
            }
            self.byte += line.len() as u64;
            (rest, any) = (behind, true);
        }
        assert!(
            self.byte - begin + rest.len() as u64 == window.len() as u64,
            "INV-FILE-LINE: the next line begins where the last one ended"
        );
        Ok(any.then_some(messages))
    }

    fn message(&mut self, line: &[u8], reading: &LineReading) -> io::Result<Incoming> {
        let (payload, form) = match reading.format {
            LineFormat::Lines => (Bytes::copy_from_slice(line), text_or_bytes(line)),
            LineFormat::Ndjson => {
                let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
                let form = if is_json { Form::Json } else { text_or_bytes(line) };
                (Bytes::copy_from_slice(line), form)
            }
            LineFormat::Csv { delimiter } => match records::cells(line, delimiter) {
                Ok(cells) => {
                    if self.header.is_none() {
                        self.read_header(delimiter, self.byte, reading.line_bytes_max)?;
                    }
                    let header = self.header.as_deref().unwrap_or(&[]);
                    let json = records::to_json(header, cells).to_string();
                    (Bytes::from(json), Form::Json)
                }
                // The pipeline decides what becomes of a record that is no text.
                Err(_) => (Bytes::copy_from_slice(line), Form::Bytes),
            },
        };
        let mut headers = UserHeaders::new();
        let (name, path) = ("file".parse(), self.path.to_string_lossy().parse());
        // A path that is longer than a header may be is left out.
        if let (Ok(name), Ok(path)) = (name, path) {
            headers.insert(name, path);
        }
        let key =
            Bytes::from(format!("{:x}-{}-{}", self.id.inode, hex(self.head), self.generation));
        Ok(Incoming {
            payload,
            form,
            id: Some(self.id_of(line)),
            key: Some(key),
            headers,
            made_at: None,
        })
    }

    /// The same whenever this line is read here, and of no other line.
    fn id_of(&self, line: &[u8]) -> u128 {
        let mut bytes = Vec::with_capacity(line.len() + 28);
        bytes.extend_from_slice(&self.id.inode.to_le_bytes());
        bytes.extend_from_slice(&self.head.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.byte.to_le_bytes());
        bytes.extend_from_slice(line);
        XxHash3_128::oneshot(&bytes)
    }

    /// Reads the header; tells where it ends, `None` if it is not whole or too long.
    fn read_header(&mut self, delimiter: u8, end: u64, bytes_max: u64) -> io::Result<Option<u64>> {
        let window = self.read_at(0, end.min(bytes_max + 2))?;
        let found = LineEnds::of_records(delimiter).find(&window);
        let Some(line) = found.and_then(|end| window.get(..end)) else { return Ok(None) };
        let text = without_end(line);
        let cells = records::cells(text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text), delimiter);
        self.header = Some(cells.map_err(io::Error::from)?);
        Ok(Some(line.len() as u64))
    }

    /// A line without an end so far, or one that is too long; that one is passed by when it is to be left out.
    fn long_or_nothing(&mut self, end: u64, reading: &LineReading) -> io::Result<ReadLines> {
        assert!(self.byte <= end, "INV-FILE-LINE: a line begins in front of where reading ends");
        if end - self.byte <= reading.line_bytes_max {
            return Ok(ReadLines::Nothing);
        }
        if !reading.skip_long {
            return Ok(ReadLines::TooLong { byte: self.byte });
        }
        let mut ends = ends(reading.format);
        let mut at = self.byte;
        while at < end {
            let window = self.read_at(at, end.min(at + WINDOW))?;
            if let Some(count) = ends.find(&window) {
                let behind = at + count as u64;
                tracing::warn!(
                    file = %self.path.display(), byte = self.byte, length = behind - self.byte,
                    "line is longer than line_bytes_max and left out"
                );
                self.byte = behind;
                return Ok(ReadLines::Messages(Vec::new()));
            }
            if window.is_empty() {
                break;
            }
            at += window.len() as u64;
        }
        self.in_vain = end;
        Ok(ReadLines::Nothing)
    }

    /// Whether what is in front of the marked place is what was there.
    fn is_as_marked(&self, mark: &FollowedMark) -> io::Result<bool> {
        Ok(self.before()? == mark.before)
    }

    fn before(&self) -> io::Result<String> {
        let from = self.byte.saturating_sub(BEFORE_BYTES);
        Ok(hex(XxHash3_64::oneshot(&self.read_at(from, self.byte)?)))
    }

    fn read_at(&self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        read_at(&self.file, from, to)
    }
}

fn ends(format: LineFormat) -> LineEnds {
    match format {
        LineFormat::Lines | LineFormat::Ndjson => LineEnds::of_lines(),
        LineFormat::Csv { delimiter } => LineEnds::of_records(delimiter),
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn text_or_bytes(line: &[u8]) -> Form {
    if std::str::from_utf8(line).is_ok() { Form::Text } else { Form::Bytes }
}

/// Tells files apart by their first line, or so much of it; `None` while that is not whole.
fn head_of(file: &File) -> io::Result<Option<u64>> {
    let bytes = read_at(file, 0, HEAD_BYTES as u64)?;
    let line = bytes.iter().position(|byte| *byte == b'\n').and_then(|at| bytes.get(..=at));
    let whole = line.or((bytes.len() == HEAD_BYTES).then_some(&bytes[..]));
    Ok(whole.map(XxHash3_64::oneshot))
}

/// The bytes between two places, or so many of them as there are.
fn read_at(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, from + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn hex(hash: u64) -> String {
    format!("{hash:016x}")
}
