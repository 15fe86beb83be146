//! Profiles: servers one has logged in to, by name, in the user's configuration directory.
//!
//! INV-OWNER: the file holds tokens; it is made readable by its owner alone, and one that others can
//! read is not used.
//! INV-WHOLE: the file is replaced as a whole, so that an interruption leaves the old one or the new.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
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
struct Contents {
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// The file with the profiles.
#[derive(Debug)]
pub(crate) struct Profiles {
    path: PathBuf,
    contents: Contents,
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
                return Ok(Self { path, contents: Contents::default() });
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
        let before = self.contents.profiles.insert(name.to_owned(), profile);
        self.write()?;
        Ok(before)
    }

    /// Removes a profile.
    pub(crate) fn remove(&mut self, name: &str) -> Outcome {
        self.contents.profiles.remove(name);
        self.write()
    }

    fn write(&self) -> Outcome {
        let text = toml::to_string(&self.contents)
            .map_err(|error| Failure::io(format!("the profiles cannot be written: {error}")))?;
        let written = replace(&self.path, text.as_bytes());
        let shown = self.path.display();
        written.map_err(|error| Failure::io(format!("cannot write {shown}: {error}")))
    }
}

/// Writes a file beside `path`, for its owner only from the first moment, and moves it there.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
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
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        profiles.remove("work").unwrap();
        assert_eq!(Profiles::read(path).unwrap().find("work"), None);
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
