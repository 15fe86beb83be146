//! Which files a path with `*` and `?` means.

use std::io;
use std::path::{Component, Path, PathBuf};

/// A path, any part of which may have `*` for any number of characters and `?` for one; not for a `/`, nor for the dot that hidden
/// files begin with.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    whole: PathBuf,
    /// What is in front of the first part with one of them.
    root: PathBuf,
    parts: Vec<String>,
}

impl Pattern {
    /// Reads a path; `None` if its end is no file.
    pub(super) fn new(path: &Path) -> Option<Self> {
        let mut root = PathBuf::new();
        let mut parts: Vec<String> = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(part) => {
                    let part = part.to_str()?;
                    match parts.is_empty() && !part.contains(['*', '?']) {
                        true => root.push(part),
                        false => parts.push(part.to_owned()),
                    }
                }
                other if parts.is_empty() => root.push(other),
                _ => return None,
            }
        }
        if parts.is_empty() {
            let name = root.file_name()?.to_str()?.to_owned();
            root.pop();
            parts.push(name);
        }
        if root.as_os_str().is_empty() {
            root.push(".");
        }
        assert!(!parts.is_empty(), "a pattern has a last part, which names files");
        Some(Self { whole: path.to_owned(), root, parts })
    }

    /// The path as it was written.
    pub(super) fn shown(&self) -> &Path {
        &self.whole
    }

    /// The folders in which there may be such files, as they are now.
    ///
    /// # Errors
    /// The first folder cannot be read: it may be mounted later, so this is not the same as that there are none.
    pub(super) fn folders(&self) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(&self.root)?;
        let mut found = vec![self.root.clone()];
        let Some((_, above)) = self.parts.split_last() else {
            unreachable!("a pattern has a last part")
        };
        for part in above {
            let mut below = Vec::new();
            for folder in found {
                below.extend(in_folder(&folder, part).into_iter().filter(|path| path.is_dir()));
            }
            found = below;
        }
        Ok(found)
    }

    /// The files, in the order of their names.
    ///
    /// # Errors
    /// As [`Pattern::folders`].
    pub(super) fn files(&self) -> io::Result<Vec<PathBuf>> {
        let Some(name) = self.parts.last() else { unreachable!("a pattern has a last part") };
        let mut files = Vec::new();
        for folder in self.folders()? {
            files.extend(in_folder(&folder, name).into_iter().filter(|path| path.is_file()));
        }
        files.sort_unstable();
        Ok(files)
    }
}

/// What is in a folder and fits to a part. A folder that is gone by now has nothing in it.
fn in_folder(folder: &Path, part: &str) -> Vec<PathBuf> {
    if !part.contains(['*', '?']) {
        return vec![folder.join(part)];
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let fits = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.as_encoded_bytes());
        name.is_some_and(|name| {
            fits(part.as_bytes(), name) && (part.starts_with('.') || !name.starts_with(b"."))
        })
    };
    entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(fits).collect()
}

/// Whether a name fits to a part of a pattern.
fn fits(part: &[u8], name: &[u8]) -> bool {
    // Which lengths of the name fit to the part so far: no pattern takes longer than both lengths together.
    let mut reached: Vec<bool> =
        std::iter::once(true).chain(std::iter::repeat_n(false, name.len())).collect();
    for wanted in part {
        let before = reached.clone();
        match wanted {
            b'*' => {
                let mut any = false;
                for length in &mut reached {
                    any |= *length;
                    *length = any;
                }
            }
            wanted => {
                let one = |(byte, fits): (&u8, &bool)| *fits && (*wanted == b'?' || byte == wanted);
                let next = name.iter().zip(&before).map(one);
                reached = std::iter::once(false).chain(next).collect();
            }
        }
    }
    assert_eq!(reached.len(), name.len() + 1, "a pattern fits to one of the lengths of a name");
    reached.last().is_some_and(|whole| *whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_fit_within_a_name() {
        for (part, name, expected) in [
            ("*.log", "app.log", true),
            ("*.log", ".log", true),
            ("*.log", "app.log.1", false),
            ("app-?.log", "app-1.log", true),
            ("app-?.log", "app-10.log", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXcYb", false),
            ("", "", true),
            ("*", "", true),
            ("plain", "plain", true),
            ("plain", "plain2", false),
        ] {
            assert_eq!(fits(part.as_bytes(), name.as_bytes()), expected, "{part} {name}");
        }
        assert!(!fits("*a".repeat(200).as_bytes(), "a".repeat(199).as_bytes()));
    }

    #[test]
    fn files_are_found_in_all_folders_that_fit() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/x.log", "b/x.log", "b/.hidden.log", "b/y.txt", "c/d/x.log"] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = |pattern: &str| -> Vec<String> {
            let files = Pattern::new(&dir.path().join(pattern)).unwrap().files().unwrap();
            let name = |path: &PathBuf| {
                path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned()
            };
            files.iter().map(name).collect()
        };
        assert_eq!(found("*/*.log"), ["a/x.log", "b/x.log"]);
        assert_eq!(found("b/y.txt"), ["b/y.txt"]);
        assert_eq!(found("*/d/x.log"), ["c/d/x.log"]);
        assert!(found("b/.*").iter().any(|name| name == "b/.hidden.log"));
        assert!(Pattern::new(&dir.path().join("none/*.log")).unwrap().files().is_err());
        assert!(Pattern::new(Path::new("/")).is_none());
        assert!(Pattern::new(Path::new("/a*/../b")).is_none());
    }
}
