//! Profiles: servers one has logged in to, by name, in the user's configuration directory.
//!
//! The file holds tokens; it is made readable by its owner alone, and one that others can
//! read is not used.
//! A change is made to what the file holds at that moment, under a lock, so that two logins at
//! the same time both stay.
//! The file is replaced as a whole, so that an interruption leaves the old one or the new.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};

/// The profile that is meant when none is named.
pub(crate) const DEFAULT: &str = "default";

/// Access for the group or for everybody.
const OTHERS: u32 = 0o077;

/// A server and the token to log in with.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Profile {
    /// Where the server is, without credentials.
    pub(crate) server: String,
    /// Who logged in.
    pub(crate) username: String,
    /// The name of the token on the server.
    pub(crate) token_name: String,
    /// Its text.
    pub(crate) token: String,
    /// When it expires, microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<u64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct ProfileFile {
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// The file with the profiles.
#[derive(Debug)]
pub(crate) struct Profiles {
    path: PathBuf,
    contents: ProfileFile,
}

impl Profiles {
    /// Reads the file; one that is not there has no profiles.
    pub(crate) fn open() -> Outcome<Self> {
        let dirs = etcetera::choose_base_strategy()
            .map_err(|error| Failure::io(format!("there is no home directory: {error}")))?;
        Self::read(dirs.config_dir().join("galgo").join("profiles.toml"))
    }

    /// Reads the file, if this user has a place for it at all.
    pub(crate) fn open_if_home() -> Outcome<Option<Self>> {
        if etcetera::choose_base_strategy().is_err() {
            return Ok(None);
        }
        Self::open().map(Some)
    }

    fn read(path: PathBuf) -> Outcome<Self> {
        let shown = path.display();
        let failed = |error: io::Error| Failure::io(format!("cannot read {shown}: {error}"));
        let mode = match fs::metadata(&path) {
            Ok(facts) => facts.permissions().mode(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self { path, contents: ProfileFile::default() });
            }
            Err(error) => return Err(failed(error)),
        };
        if mode & OTHERS != 0 {
            return Err(Failure::usage(format!(
                "{shown} holds tokens and is open to others (mode {:03o})",
                mode & 0o777
            ))
            .hint(format!("close it with: chmod 600 '{shown}'; then log in again")));
        }
        let text = fs::read_to_string(&path).map_err(failed)?;
        let contents = toml::from_str(&text).map_err(|error| {
            Failure::io(format!("{shown} cannot be understood: {}", error.message()))
        })?;
        Ok(Self { path, contents })
    }

    /// The profile of this name, if there is one.
    pub(crate) fn find(&self, name: &str) -> Option<&Profile> {
        self.contents.profiles.get(name)
    }

    /// The profile of this name, or the failure that tells how to make it.
    pub(crate) fn get(&self, name: &str) -> Outcome<&Profile> {
        self.find(name).ok_or_else(|| {
            let option = if name == DEFAULT { String::new() } else { format!(" --profile {name}") };
            Failure::usage(format!("there is no profile {name}"))
                .hint(format!("galgo login{option} makes it"))
        })
    }

    /// The profile of this name, or the failure that tells whom one can log out of.
    pub(crate) fn to_leave(&self, name: &str) -> Outcome<&Profile> {
        self.find(name).ok_or_else(|| {
            let there: Vec<&str> = self.contents.profiles.keys().map(String::as_str).collect();
            Failure::usage(format!("there is no profile {name} to log out of")).hint(
                match &*there {
                    [] => "there are no profiles: nobody is logged in".to_owned(),
                    [one] => format!("there is one: galgo logout --profile {one}"),
                    _ => format!("name one with --profile; there are {}", there.join(", ")),
                },
            )
        })
    }

    /// All profiles, by name.
    pub(crate) fn all(&self) -> &BTreeMap<String, Profile> {
        &self.contents.profiles
    }

    /// Where they are kept.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds or replaces a profile; gives the one it replaced.
    pub(crate) fn put(&mut self, name: &str, profile: Profile) -> Outcome<Option<Profile>> {
        self.change(|profiles| profiles.insert(name.to_owned(), profile))
    }

    /// Removes a profile.
    pub(crate) fn remove(&mut self, name: &str) -> Outcome {
        self.change(|profiles| profiles.remove(name)).map(drop)
    }

    /// Changes what the file holds now, not what it held when it was opened.
    fn change<T>(
        &mut self,
        change: impl FnOnce(&mut BTreeMap<String, Profile>) -> T,
    ) -> Outcome<T> {
        let _turn = ProfileLock::take(&self.path).map_err(|error| self.not_written(&error))?;
        self.contents = Self::read(self.path.clone())?.contents;
        let changed = change(&mut self.contents.profiles);
        self.write()?;
        Ok(changed)
    }

    fn write(&self) -> Outcome {
        let text = toml::to_string(&self.contents)
            .map_err(|error| Failure::io(format!("the profiles cannot be written: {error}")))?;
        replace(&self.path, text.as_bytes()).map_err(|error| self.not_written(&error))
    }

    fn not_written(&self, error: &io::Error) -> Failure {
        Failure::io(format!("cannot write {}: {error}", self.path.display()))
    }
}

/// The turn to change the file: a lock on a file beside it, since the file itself is replaced.
struct ProfileLock {
    _lock: File,
}

impl ProfileLock {
    fn take(path: &Path) -> io::Result<Self> {
        let Some(dir) = path.parent() else {
            unreachable!("profiles are a file in a folder of the configuration");
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(path.with_extension("lock"))?;
        lock.lock()?;
        Ok(Self { _lock: lock })
    }
}

/// Writes a file beside `path`, for its owner only from the first moment, and moves it there.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("toml.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What is left over is no use to anybody, and would be in the way of the next attempt.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(token: &str) -> Profile {
        Profile {
            server: "galgo://127.0.0.1:8090".to_owned(),
            username: "anna".to_owned(),
            token_name: "galgo-cli-1".to_owned(),
            token: token.to_owned(),
            expires_at: Some(7),
        }
    }

    #[test]
    fn a_profile_is_kept_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("galgo/profiles.toml");
        let mut profiles = Profiles::read(path.clone()).unwrap();
        assert!(profiles.get("work").unwrap_err().to_string().contains("--profile work"));
        assert_eq!(profiles.put("work", profile("a")).unwrap(), None);
        assert_eq!(profiles.put("work", profile("b")).unwrap(), Some(profile("a")));
        assert_eq!(Profiles::read(path.clone()).unwrap().find("work"), Some(&profile("b")));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        // The file and its lock.
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
        profiles.remove("work").unwrap();
        assert_eq!(Profiles::read(path).unwrap().find("work"), None);
    }

    #[test]
    fn a_change_keeps_what_others_wrote_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("galgo/profiles.toml");
        // All have read the file before the first of them writes.
        let opened: Vec<_> = (0..8).map(|_| Profiles::read(path.clone()).unwrap()).collect();
        std::thread::scope(|scope| {
            for (number, mut profiles) in opened.into_iter().enumerate() {
                scope.spawn(move || profiles.put(&number.to_string(), profile("a")).unwrap());
            }
        });
        let mut profiles = Profiles::read(path.clone()).unwrap();
        assert_eq!(profiles.all().len(), 8);
        profiles.remove("3").unwrap();
        assert_eq!(Profiles::read(path).unwrap().all().len(), 7);
    }

    #[test]
    fn a_file_others_can_read_is_refused_with_the_cure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("profiles.toml");
        Profiles::read(path.clone()).unwrap().put("work", profile("a")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = Profiles::read(path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }
}
