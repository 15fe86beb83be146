//! Names of the simulated disk: as programs see them, and as they would survive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::random::SplitMix;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File(u64),
}

/// A change of names that no sync of its directory covered yet.
#[derive(Debug, Clone)]
enum Change {
    Add { path: PathBuf, node: Node },
    Remove { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf, node: Node },
}

impl Change {
    fn is_in(&self, dir: &Path) -> bool {
        match self {
            Self::Add { path, .. } | Self::Remove { path } => parent(path) == dir,
            Self::Rename { from, to, .. } => parent(from) == dir || parent(to) == dir,
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct DirectoryNames {
    view: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    /// In the order they were made.
    pending: Vec<Change>,
}

impl DirectoryNames {
    pub(super) fn get(&self, path: &Path) -> Option<Node> {
        if is_root(path) { Some(Node::Dir) } else { self.view.get(path).copied() }
    }

    pub(super) fn add(&mut self, path: &Path, node: Node) {
        self.change(Change::Add { path: path.to_owned(), node });
    }

    pub(super) fn remove(&mut self, path: &Path) {
        self.change(Change::Remove { path: path.to_owned() });
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path, node: Node) {
        self.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), node });
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.view, &change);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self, dir: &Path) {
        let durable = &mut self.durable;
        // Only those of this directory, in their order: a sync of one says nothing of another. A rename is of both.
        self.pending.retain(|change| {
            let synced = change.is_in(dir);
            if synced {
                apply(durable, change);
            }
            !synced
        });
    }

    /// The names after a power cut: each pending change happened or not.
    pub(super) fn power_cut(&self, random: &mut SplitMix, keep_percent: u64) -> Self {
        let mut durable = self.durable.clone();
        for change in &self.pending {
            // Without regard to each other, as file systems do not promise more: a later change may survive an earlier.
            if random.chance(keep_percent) {
                apply(&mut durable, change);
            }
        }
        // In order of paths, so that a directory is seen before what is in it.
        let mut left: BTreeMap<PathBuf, Node> = BTreeMap::new();
        for (path, node) in durable {
            let dir = parent(&path);
            if is_root(dir) || left.get(dir) == Some(&Node::Dir) {
                left.insert(path, node);
            }
        }
        Self { view: left.clone(), durable: left, pending: Vec::new() }
    }

    /// Everything directly in `dir`.
    pub(super) fn children<'a>(
        &'a self,
        dir: &'a Path,
    ) -> impl Iterator<Item = (&'a Path, Node)> + 'a {
        let all = self.view.iter().map(|(path, node)| (path.as_path(), *node));
        all.filter(move |(path, _)| parent(path) == dir)
    }

    /// Everything below `dir`, deepest first.
    pub(super) fn below(&self, dir: &Path) -> Vec<PathBuf> {
        let all = self.view.keys().rev();
        all.filter(|path| path.starts_with(dir) && *path != dir).cloned().collect()
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, u64)> {
        self.view.iter().filter_map(|(path, node)| match node {
            Node::File(inode) => Some((path.as_path(), *inode)),
            Node::Dir => None,
        })
    }

    /// Whether a file can still be reached, now or after some power cut.
    pub(super) fn mentions(&self, inode: u64) -> bool {
        let node = Node::File(inode);
        let pending = self.pending.iter().any(|change| match change {
            Change::Add { node: of, .. } | Change::Rename { node: of, .. } => *of == node,
            Change::Remove { .. } => false,
        });
        pending || self.view.values().chain(self.durable.values()).any(|of| *of == node)
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Node>, change: &Change) {
    match change {
        Change::Add { path, node } => {
            names.insert(path.clone(), *node);
        }
        Change::Remove { path } => {
            names.remove(path);
        }
        Change::Rename { from, to, node } => {
            let inside: Vec<PathBuf> =
                names.keys().filter(|path| path.starts_with(from)).cloned().collect();
            for path in inside {
                let moved = path.strip_prefix(from).map(|rest| to.join(rest));
                if let (Some(node), Ok(moved)) = (names.remove(&path), moved) {
                    // Joining an empty rest leaves a slash at the end.
                    names.insert(moved.components().collect(), node);
                }
            }
            names.insert(to.clone(), *node);
        }
    }
}

pub(super) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

pub(super) fn is_root(path: &Path) -> bool {
    path.as_os_str().is_empty() || path == Path::new("/") || path == Path::new(".")
}
