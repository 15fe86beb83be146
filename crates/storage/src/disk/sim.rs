//! A disk in memory that loses, tears, reorders and refuses what real disks do, decided by a seed.
//!
//! What reads see (the page cache) and what survives a power cut (the platter) are kept apart. A write
//! changes the first; only a successful sync makes the second certain. At a power cut each 512-byte
//! sector written since the last sync has, independently, its old content or that of any write since;
//! the length is any length since; each change of a name not covered by [`Disk::sync_dir`] happened
//! or not, a rename as a whole. After a failed sync the pages count as clean: reads still see them, a
//! later sync does not write them.
//!
//! INV-SEED: the same calls with the same seeds give the same bytes and the same errors.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirEntry, Disk, DiskFile, OpenMode};

mod fault;
mod inode;
mod names;
mod random;
mod world;

pub use fault::FaultPlan;
pub use random::SplitMix;

use world::DiskWorld;

/// A simulated disk; clones share it.
#[derive(Clone)]
pub struct SimDisk {
    world: Arc<Mutex<DiskWorld>>,
}

impl SimDisk {
    /// An empty disk. `seed` decides how faults turn out.
    pub fn new(seed: u64) -> Self {
        Self::of(DiskWorld::new(seed))
    }

    fn of(world: DiskWorld) -> Self {
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// Says which faults happen from now on, and counts operations from 0 again.
    pub fn plan(&self, plan: FaultPlan) {
        self.world.lock().faults.plan(plan);
    }

    /// Operations that change something, since the last [`plan`](Self::plan).
    pub fn operations(&self) -> u64 {
        self.world.lock().faults.operations()
    }

    /// Whether the planned stop has come; every call fails until [`crash`](Self::crash) or
    /// [`kill`](Self::kill).
    pub fn stopped(&self) -> bool {
        self.world.lock().faults.stopped()
    }

    /// Cuts the power and starts again: what was not synced is lost, torn or kept, as `seed` decides.
    /// Open files become stale; the fault plan is over.
    pub fn crash(&self, seed: u64) {
        let mut world = self.world.lock();
        *world = world.power_cut(seed);
    }

    /// Another disk with what would be left if the power were cut now.
    #[must_use]
    pub fn power_cut_image(&self, seed: u64) -> Self {
        Self::of(self.world.lock().power_cut(seed))
    }

    /// Ends the process and starts it again: everything written is still there, synced or not. Open
    /// files become stale; the fault plan is over.
    pub fn kill(&self) {
        self.world.lock().kill();
    }

    /// Another disk with the same state, written and unsynced, as if the process were killed now.
    #[must_use]
    pub fn kill_image(&self) -> Self {
        let mut world = self.world.lock().clone();
        world.kill();
        Self::of(world)
    }

    /// Empties the page cache of what is clean: reads see the platter, and nothing is
    /// [cached](DiskFile::cached).
    pub fn drop_caches(&self) {
        self.world.lock().drop_caches();
    }

    /// Flips a bit of a file, in cache and on the platter.
    ///
    /// # Errors
    /// `NotFound`, or `UnexpectedEof` when the file is shorter.
    pub fn flip_bit(&self, path: &Path, position: u64, bit: u8) -> io::Result<()> {
        self.world.lock().flip_bit(path, position, bit)
    }

    /// Flips a bit chosen by `seed` in a file whose path contains `part`; says where, `None` when no
    /// such file has bytes.
    pub fn flip_random_bit(&self, part: &str, seed: u64) -> Option<(PathBuf, u64)> {
        let mut random = SplitMix::new(seed);
        let mut files = self.files();
        files.retain(|(path, len)| *len > 0 && path.to_string_lossy().contains(part));
        let (path, len) = files.get(random.below_usize(files.len()))?.clone();
        let position = random.below(len);
        let bit = u8::try_from(random.below(8)).unwrap_or(0);
        self.flip_bit(&path, position, bit).ok()?;
        Some((path, position))
    }

    /// All files with their lengths, sorted by path.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.world.lock().files()
    }

    /// The bytes of a file as reads see them; not an operation, never fails by plan.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        self.world.lock().contents(path)
    }
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimDisk").field("files", &self.files()).finish()
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world.lock();
        let inode = world.open(path, mode)?;
        Ok(Arc::new(SimFile {
            world: Arc::clone(&self.world),
            epoch: world.epoch(),
            inode,
            path: path.to_owned(),
            writable: mode != OpenMode::Read,
        }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.world.lock().create_dir_all(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.world.lock().remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.world.lock().remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.world.lock().rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.world.lock().sync_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.world.lock().read_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.world.lock().exists(path)
    }

    fn boot(&self) -> Option<u128> {
        Some(self.world.lock().boot())
    }
}

struct SimFile {
    world: Arc<Mutex<DiskWorld>>,
    /// Start of the world this file was opened in; a file of an earlier one is stale.
    epoch: u64,
    inode: u64,
    path: PathBuf,
    writable: bool,
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut DiskWorld) -> io::Result<T>) -> io::Result<T> {
        let mut world = self.world.lock();
        // A test that goes on with a file of before the crash would see what no process can.
        if world.epoch() != self.epoch {
            return Err(io::Error::other("simulated file handle from before the crash"));
        }
        act(&mut world)
    }

    fn with_writable<T>(&self, act: impl FnOnce(&mut DiskWorld) -> io::Result<T>) -> io::Result<T> {
        if !self.writable {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        self.with(act)
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.with(|world| world.read(self.inode, &self.path, buffer, position))
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.with_writable(|world| world.write(self.inode, bytes, position))
    }

    fn write_vectored_at(&self, slices: &[&[u8]], position: u64) -> io::Result<()> {
        self.write_at(&slices.concat(), position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|world| world.sync(self.inode))
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|world| world.len(self.inode))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with_writable(|world| world.set_len(self.inode, len))
    }

    fn cached(&self, position: u64, len: u64) -> bool {
        self.with(|world| world.cached(self.inode, position, len)).unwrap_or(false)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut world = self.world.lock();
        if world.epoch() == self.epoch {
            world.close(self.inode);
        }
    }
}

#[cfg(test)]
mod tests;
