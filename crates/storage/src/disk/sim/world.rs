//! The state of the simulated disk, and its operations.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::super::{DirEntry, OpenMode};
use super::fault::{Faults, OperationFate, OperationKind};
use super::inode::SimulatedFile;
use super::names::{DirectoryNames, Node, parent};
use super::random::SplitMix;

#[derive(Clone)]
pub(super) struct DiskWorld {
    names: DirectoryNames,
    inodes: BTreeMap<u64, SimulatedFile>,
    next_inode: u64,
    random: SplitMix,
    epoch: u64,
    /// Grows with each power cut, and only then.
    boot: u128,
    pub(super) faults: Faults,
}

impl DiskWorld {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            names: DirectoryNames::default(),
            inodes: BTreeMap::new(),
            next_inode: 1,
            random: SplitMix::new(seed),
            epoch: 0,
            boot: 1,
            faults: Faults::default(),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn boot(&self) -> u128 {
        self.boot
    }

    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<u64> {
        self.faults.check_running()?;
        let inode = match (self.names.get(path), mode) {
            (Some(Node::Dir), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Node::File(_)), OpenMode::CreateNew) => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            (Some(Node::File(inode)), _) => {
                if mode != OpenMode::Read {
                    self.faults.check_writable()?;
                }
                inode
            }
            (None, OpenMode::Read | OpenMode::ReadWrite) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            (None, OpenMode::Create | OpenMode::CreateNew) => self.create(path)?,
        };
        self.inode(inode)?.open += 1;
        Ok(inode)
    }

    fn create(&mut self, path: &Path) -> io::Result<u64> {
        if self.names.get(parent(path)) != Some(Node::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inode = self.next_inode;
        self.change_names(|world| {
            world.next_inode += 1;
            world.inodes.insert(inode, SimulatedFile::default());
            world.names.add(path, Node::File(inode));
        })?;
        Ok(inode)
    }

    /// Does a change of names as the plan says; one that stops may have happened or not.
    fn change_names(&mut self, change: impl FnOnce(&mut Self)) -> io::Result<()> {
        let fate = self.faults.count(OperationKind::Other)?;
        let done = match fate {
            OperationFate::Done => true,
            OperationFate::Fails => false,
            OperationFate::Stops => self.random.chance(50),
        };
        if done {
            change(self);
        }
        if fate == OperationFate::Done { Ok(()) } else { Err(fate.error()) }
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        self.faults.check_running()?;
        match self.names.get(path) {
            Some(Node::Dir) => return Ok(()),
            Some(Node::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            None => {}
        }
        self.create_dir_all(parent(path))?;
        self.change_names(|world| world.names.add(path, Node::Dir))
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.faults.check_running()?;
        match self.names.get(path) {
            Some(Node::File(_)) => self.change_names(|world| world.names.remove(path)),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        self.faults.check_running()?;
        if self.names.get(path) != Some(Node::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        for inside in self.names.below(path) {
            self.change_names(|world| world.names.remove(&inside))?;
        }
        self.change_names(|world| world.names.remove(path))
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.check_running()?;
        let Some(node) = self.names.get(from) else { return Err(io::ErrorKind::NotFound.into()) };
        if self.names.get(parent(to)) != Some(Node::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.names.get(to) == Some(Node::Dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.change_names(|world| world.names.rename(from, to, node))
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.faults.check_running()?;
        if self.names.get(path) != Some(Node::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        match self.faults.count(OperationKind::Other)? {
            OperationFate::Done => self.names.sync(path),
            fate => return Err(fate.error()),
        }
        self.forget_unreachable();
        Ok(())
    }

    pub(super) fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.faults.check_running()?;
        if self.names.get(path) != Some(Node::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entries = self.names.children(path).map(|(child, node)| DirEntry {
            name: child.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            len: match node {
                Node::File(inode) => self.inodes.get(&inode).map_or(0, |file| file.len() as u64),
                Node::Dir => 0,
            },
            is_dir: node == Node::Dir,
        });
        Ok(entries.collect())
    }

    pub(super) fn exists(&self, path: &Path) -> io::Result<bool> {
        self.faults.check_running()?;
        Ok(self.names.get(path).is_some())
    }

    pub(super) fn read(
        &mut self,
        inode: u64,
        path: &Path,
        buffer: &mut [u8],
        position: u64,
    ) -> io::Result<usize> {
        self.faults.check_read(path)?;
        let position = to_usize(position)?;
        Ok(self.inode(inode)?.read(buffer, position))
    }

    pub(super) fn write(&mut self, inode: u64, bytes: &[u8], position: u64) -> io::Result<()> {
        let fate = self.faults.count(OperationKind::Write)?;
        let position = to_usize(position)?;
        let room = self.room_in(inode, position)?;
        let (len, error) = match fate {
            OperationFate::Done if room >= bytes.len() => (bytes.len(), None),
            OperationFate::Done => (room, Some(io::Error::from_raw_os_error(libc::ENOSPC))),
            // A part of it, any: whoever wrote has to reckon with each.
            _ => {
                let len = self.random.below_usize(bytes.len() + 1).min(room);
                (len, Some(fate.error()))
            }
        };
        self.inode(inode)?.write(bytes.get(..len).unwrap_or(bytes), position);
        error.map_or(Ok(()), Err)
    }

    /// How many bytes may be written at `position` before the disk is full.
    fn room_in(&mut self, inode: u64, position: usize) -> io::Result<usize> {
        let Some(max) = self.faults.bytes_max() else { return Ok(usize::MAX) };
        let used: usize = self.inodes.values().map(SimulatedFile::len).sum();
        let inside = self.inode(inode)?.len().saturating_sub(position);
        Ok(inside + to_usize(max)?.saturating_sub(used))
    }

    pub(super) fn sync(&mut self, inode: u64) -> io::Result<()> {
        let fate = self.faults.count(OperationKind::Sync)?;
        // Taken out and put back: the file is borrowed from the same world.
        let mut random = self.random.clone();
        let file = self.inode(inode)?;
        match fate {
            OperationFate::Done => file.sync(),
            OperationFate::Fails => file.fail_sync(&mut random),
            // Whatever the disk got done is decided at the power cut.
            OperationFate::Stops => {}
        }
        self.random = random;
        if fate == OperationFate::Done { Ok(()) } else { Err(fate.error()) }
    }

    pub(super) fn len(&mut self, inode: u64) -> io::Result<u64> {
        self.faults.check_running()?;
        Ok(self.inode(inode)?.len() as u64)
    }

    pub(super) fn set_len(&mut self, inode: u64, len: u64) -> io::Result<()> {
        let len = to_usize(len)?;
        let old = self.inode(inode)?.len();
        if len.saturating_sub(old) > self.room_in(inode, old)? {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let fate = self.faults.count(OperationKind::Other)?;
        if fate == OperationFate::Done || (fate == OperationFate::Stops && self.random.chance(50)) {
            self.inode(inode)?.set_len(len);
        }
        if fate == OperationFate::Done { Ok(()) } else { Err(fate.error()) }
    }

    pub(super) fn cached(&mut self, inode: u64, position: u64, len: u64) -> io::Result<bool> {
        Ok(self.inode(inode)?.cached(position, len))
    }

    pub(super) fn close(&mut self, inode: u64) {
        if let Some(file) = self.inodes.get_mut(&inode) {
            file.open = file.open.saturating_sub(1);
        }
    }

    fn inode(&mut self, inode: u64) -> io::Result<&mut SimulatedFile> {
        self.inodes.get_mut(&inode).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn forget_unreachable(&mut self) {
        let names = &self.names;
        // A name that was removed may come back with a power cut, and its bytes with it.
        self.inodes.retain(|inode, file| file.open > 0 || names.mentions(*inode));
    }

    /// What would be left if the power were cut now.
    pub(super) fn power_cut(&self, seed: u64) -> Self {
        let mut random = SplitMix::new(seed);
        // A cut may come right after a writeback or long after; each file has its own luck.
        let luck = [0, 10, 50, 90, 100];
        let pick =
            |random: &mut SplitMix| luck.get(random.below_usize(luck.len())).copied().unwrap_or(50);
        let percent = pick(&mut random);
        let names = self.names.power_cut(&mut random, percent);
        let mut inodes = BTreeMap::new();
        for (inode, file) in &self.inodes {
            let percent = pick(&mut random);
            inodes.insert(*inode, file.power_cut(&mut random, percent));
        }
        let mut after = Self {
            names,
            inodes,
            next_inode: self.next_inode,
            random,
            // Handles of before are stale from here on, as those of a dead process are gone.
            epoch: self.epoch + 1,
            // A page cache of its own: INV-BOOT tells the two cases apart by it.
            boot: self.boot + 1,
            faults: Faults::default(),
        };
        after.forget_unreachable();
        after
    }

    pub(super) fn kill(&mut self) {
        // The same boot: what was written is there for the next process, synced or not.
        self.epoch += 1;
        self.faults = Faults::default();
        for file in self.inodes.values_mut() {
            file.open = 0;
        }
        self.forget_unreachable();
    }

    pub(super) fn drop_caches(&mut self) {
        self.inodes.values_mut().for_each(SimulatedFile::drop_cache);
    }

    pub(super) fn flip_bit(&mut self, path: &Path, position: u64, bit: u8) -> io::Result<()> {
        let Some(Node::File(inode)) = self.names.get(path) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let position = to_usize(position)?;
        if self.inode(inode)?.flip_bit(position, bit) {
            return Ok(());
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let len = |inode| self.inodes.get(&inode).map_or(0, |file| file.len() as u64);
        self.names.files().map(|(path, inode)| (path.to_owned(), len(inode))).collect()
    }

    pub(super) fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        match self.names.get(path)? {
            Node::File(inode) => self.inodes.get(&inode).map(|file| file.view().to_vec()),
            Node::Dir => None,
        }
    }
}

fn to_usize(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(|_| io::ErrorKind::FileTooLarge.into())
}
