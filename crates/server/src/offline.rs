//! What is done to a data directory while no server runs on it: `galgo repair`, `galgo server reset-root`.

use std::path::PathBuf;
use std::sync::Arc;

use galgo_broker::broker::{Acceptance, JournalBounds, Offline, OfflineOptions};
use galgo_broker::environment::SystemRandom;
use galgo_storage::disk::RealDisk;
use galgo_wire::Password;

pub use galgo_broker::broker::{RepairReport, RepairedFile, RootReset};

use crate::bootstrap::{keys, refusal};
use crate::config::{self, Environment};
use crate::{ServeError, ServerOptions};

/// How far a repair goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RepairOptions {
    /// Nothing is changed, only told.
    pub dry_run: bool,
    /// What is lost for good is given up.
    pub accept_loss: bool,
}

/// The password root gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewPassword {
    /// One that was chosen.
    Chosen(String),
    /// One that is made up, and told in [`RootResetDone`].
    Generated,
}

/// The root user after its password was reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootResetDone {
    /// The user.
    pub root: RootReset,
    /// The password, if it was made up.
    pub generated: Option<String>,
}

/// Restores what has a second copy in the configured data directory, and tells what is lost for good.
///
/// # Errors
/// [`ServeError`]: the directory is in use, is none, or what is in the way can be neither restored nor
/// given up.
pub fn repair(
    options: &ServerOptions,
    environment: &Environment,
    asked: RepairOptions,
) -> Result<(PathBuf, RepairReport), ServeError> {
    let (data_dir, offline) = open(options, environment)?;
    let acceptance = if asked.accept_loss { Acceptance::Loss } else { Acceptance::Nothing };
    let report =
        offline.repair(acceptance, asked.dry_run).map_err(|error| refusal(&data_dir, error))?;
    Ok((data_dir, report))
}

/// Gives the root user of the configured data directory a new password, makes it active again and ends its
/// logins and its personal access tokens.
///
/// # Errors
/// [`ServeError`]: the directory is in use, is none, or has to be repaired first; the password has an
/// impossible length.
pub fn reset_root(
    options: &ServerOptions,
    environment: &Environment,
    password: NewPassword,
) -> Result<RootResetDone, ServeError> {
    let (text, is_generated) = match password {
        NewPassword::Chosen(text) => (text, false),
        NewPassword::Generated => (config::generated_password(), true),
    };
    let password = Password::parse(&text).map_err(ServeError::Password)?;
    let (data_dir, offline) = open(options, environment)?;
    let root = offline.reset_root(&password).map_err(|error| refusal(&data_dir, error))?;
    Ok(RootResetDone { root, generated: is_generated.then_some(text) })
}

fn open(
    options: &ServerOptions,
    environment: &Environment,
) -> Result<(PathBuf, Offline), ServeError> {
    let loaded = config::load(options, environment)?;
    let config = &loaded.config;
    let data_dir = config.general.data_dir.clone();
    let offline = Offline::open(OfflineOptions {
        disk: Arc::new(RealDisk::new()),
        random: Arc::new(SystemRandom),
        data_dir: data_dir.clone(),
        encryption: keys(config)?,
        journal: JournalBounds {
            file_bytes: config.storage.journal_file_bytes.0,
            files_max: config.storage.journal_files,
        },
    });
    let offline = offline.map_err(|error| refusal(&data_dir, error))?;
    Ok((data_dir, offline))
}
