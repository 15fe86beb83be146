//! The real disk: files through positioned system calls.
//!
//! Nothing here keeps state: every call is one system call, repeated when it was interrupted or did
//! only a part.

#![expect(unsafe_code, reason = "cachestat(2) and sysconf(3) have no safe wrapper")]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
#[cfg(target_os = "linux")]
use rustix::io::ReadWriteFlags;

use super::{DirEntry, Disk, DiskFile, Inode, OpenMode};

/// Mode of new files: they hold messages, password hashes and secrets.
const FILE_MODE: u32 = 0o600;
/// Mode of new directories.
const DIR_MODE: u32 = 0o700;
const _: () = assert!(
    FILE_MODE & 0o077 == 0 && DIR_MODE & 0o077 == 0,
    "nobody else on the machine reads messages, hashes and secrets"
);

/// Slices given to one `pwritev`; the kernel takes 1024, our callers have a handful.
const SLICES_PER_WRITE_MAX: usize = 64;
const _: () = assert!(
    0 < SLICES_PER_WRITE_MAX && SLICES_PER_WRITE_MAX <= 1024,
    "a write gets on, and the kernel takes all slices of it"
);

/// Where Linux tells one run of the kernel, and so one life of its page cache, from every other.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The file system of this machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealDisk;

impl RealDisk {
    /// The file system of this machine.
    pub fn new() -> Self {
        Self
    }
}

/// Waits between two tries to open a directory while the process has no descriptor left.
const DESCRIPTOR_WAIT: Duration = Duration::from_millis(20);
/// Tries before giving up.
const DESCRIPTOR_TRIES: u32 = 100;
const _: () = assert!(
    DESCRIPTOR_WAIT.as_millis() * DESCRIPTOR_TRIES as u128 <= 5_000,
    "a sync that waits for a descriptor holds up others for seconds at most"
);

/// Opens a directory to be synced. Having no descriptor left for a moment must not count as a failed
/// sync, which fences what was to be synced; nothing is lost by waiting.
fn open_patiently(path: &Path) -> io::Result<File> {
    for _ in 1..DESCRIPTOR_TRIES {
        match File::open(path) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                std::thread::sleep(DESCRIPTOR_WAIT);
            }
            opened => return opened,
        }
    }
    File::open(path)
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(FILE_MODE);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::ReadWrite => options.write(true),
            // Never cut here: what is in the file is for its owner to judge.
            OpenMode::Create => options.write(true).create(true).truncate(false),
            OpenMode::CreateNew => options.write(true).create_new(true),
        };
        Ok(Arc::new(RealFile { file: options.open(path)? }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // Through a descriptor of its own: directories are not kept open, as there may be one for each partition.
        open_patiently(path)?.sync_all()
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // None of ours: all names that are made here are ASCII.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let metadata = entry.metadata()?;
            let is_dir = metadata.is_dir();
            entries.push(DirEntry { name, len: if is_dir { 0 } else { metadata.len() }, is_dir });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        fs::exists(path)
    }

    fn boot(&self) -> Option<u128> {
        let text = fs::read_to_string(BOOT_ID).ok()?;
        u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()
    }

    fn inode(&self, path: &Path) -> io::Result<Option<Inode>> {
        let metadata = fs::metadata(path)?;
        Ok(Some(Inode { device: metadata.dev(), number: metadata.ino() }))
    }
}

struct RealFile {
    file: File,
}

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(&self.file, rest, position + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut done = 0;
        // A call may do a part, and says so; the rest is another call's. Of an error the caller knows only that any part
        // may be there.
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pwrite(&self.file, rest, position + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn write_vectored_at(&self, slices: &[&[u8]], position: u64) -> io::Result<()> {
        let mut position = position;
        for group in slices.chunks(SLICES_PER_WRITE_MAX) {
            let mut buffers: Vec<IoSlice<'_>> = group.iter().map(|s| IoSlice::new(s)).collect();
            let mut rest = buffers.as_mut_slice();
            // Takes empty slices off the front, so that a write of nothing is not tried.
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                match rustix::io::pwritev(&self.file, rest, position) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        position += count as u64;
                        IoSlice::advance_slices(&mut rest, count);
                    }
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        // An error is handed on as it is: the kernel tells of a failed writeback once, and another call would be told that
        // all is well (INV-SYNC).
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    #[cfg(target_os = "linux")]
    fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let len = buffer.len();
        let slices = &mut [io::IoSliceMut::new(buffer)];
        match rustix::io::preadv2(&self.file, slices, position, ReadWriteFlags::NOWAIT) {
            Ok(read) if read == len => Ok(read),
            // Not all file systems know of reads that do not wait.
            Err(Errno::OPNOTSUPP) if self.cached(position, len as u64) => {
                self.read_at(buffer, position)
            }
            // A part of it, which may also end because the file does.
            Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::OPNOTSUPP) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn cached(&self, position: u64, len: u64) -> bool {
        cached(&self.file, position, len)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    #[cfg(target_os = "linux")]
    fn drop_cache(&self, position: u64, len: u64) {
        let len = std::num::NonZeroU64::new(len);
        // A hint: an error only means that the pages stay.
        let _ = rustix::fs::fadvise(&self.file, position, len, rustix::fs::Advice::DontNeed);
    }
}

/// Asks the kernel, without I/O, whether every page of the range is in the page cache.
///
/// `cachestat(2)` is there from Linux 6.5 and may be refused by a container's profile: then the
/// answer is `false`, and the caller reads and verifies instead of trusting the cache.
#[cfg(target_os = "linux")]
fn cached(file: &File, position: u64, len: u64) -> bool {
    #[repr(C)]
    struct CachestatRange {
        position: u64,
        len: u64,
    }
    #[repr(C)]
    #[derive(Default)]
    struct Counts {
        cached: u64,
        dirty: u64,
        writeback: u64,
        evicted: u64,
        recently_evicted: u64,
    }
    const SYS_CACHESTAT: libc::c_long = 451;

    let Some(end) = position.checked_add(len) else { return false };
    if len == 0 {
        // To the kernel a length of 0 means "to the end of the file".
        return true;
    }
    let range = CachestatRange { position, len };
    let mut counts = Counts::default();
    // SAFETY: both pointers are to live values of the layout cachestat(2) documents, and the
    // descriptor is open as long as `file` is borrowed.
    let result = unsafe {
        libc::syscall(
            SYS_CACHESTAT,
            file.as_raw_fd(),
            &raw const range,
            &raw mut counts,
            0 as libc::c_uint,
        )
    };
    let page = page_bytes();
    let pages = (end - 1) / page - position / page + 1;
    result == 0 && counts.cached >= pages
}

#[cfg(not(target_os = "linux"))]
fn cached(_file: &File, _position: u64, _len: u64) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn page_bytes() -> u64 {
    use std::sync::OnceLock;
    static PAGE_BYTES: OnceLock<u64> = OnceLock::new();
    *PAGE_BYTES.get_or_init(|| {
        // SAFETY: sysconf takes no pointers and touches no memory of ours.
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        u64::try_from(bytes).ok().filter(|bytes| *bytes > 0).unwrap_or(4096)
    })
}
