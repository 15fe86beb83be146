//! Whether what a log could not be opened from is there again.
//!
//! INV-OFFLINE: a log that could not be opened stands in for what is on the disk and on record, and changes neither: it
//! takes no writes, gives no message, and no checkpoint is made of it.

use super::reader::LogReader;
use crate::checkpoint::LogCheckpoint;
use crate::segment::format::log_name;
use galgo_wire::id::Offset;
use std::io;

/// What a checkpoint says of a file.
struct KnownFile {
    base: Offset,
    bytes: u64,
}

/// See [`Log::check_files`].
///
/// [`Log::check_files`]: super::Log::check_files
pub(super) fn check_files(reader: &LogReader, known: &LogCheckpoint) -> io::Result<()> {
    let entries = reader.files.disk.read_dir(&reader.files.options.dir)?;
    let sealed = known.sealed.iter().filter(|sealed| sealed.end > known.start);
    let sealed = sealed.map(|sealed| KnownFile { base: sealed.base, bytes: sealed.bytes });
    let active = known.active.iter();
    let active = active.map(|it| KnownFile { base: it.base, bytes: it.durable_bytes });
    // One without bytes may never have been made.
    for KnownFile { base, bytes } in sealed.chain(active).filter(|known| known.bytes > 0) {
        let name = log_name(base);
        let kind = match entries.iter().find(|entry| entry.name == name && !entry.is_dir) {
            None => io::ErrorKind::NotFound,
            Some(entry) if entry.len < bytes => io::ErrorKind::UnexpectedEof,
            Some(_) => continue,
        };
        return Err(io::Error::new(kind, format!("{name} is missing or too short")));
    }
    Ok(())
}
