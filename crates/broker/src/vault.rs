//! Encryption at rest: AES-256-GCM over messages and metadata records, with keys handed in at the start.
//!
//! Stored messages stay messages: their header is in the clear, so that recovery, indexes, checksums and
//! the journal need no key (see [`message`]). Metadata records and snapshots are sealed as a whole (see
//! [`record`]). A small file in the data directory says which keys it needs (see [`marker`]).
//!
//! INV-NONCE: no nonce is used twice with a key. The 96 bits count up from a random number drawn at each
//! start, one for each sealing; nothing about the place of a message enters, so what is written again
//! at an offset that was taken back gets a nonce of its own.
//! Part of INV-SECRET: no key is in an error, a log line or a `Debug` text.

mod keys;
mod marker;
mod message;
pub(crate) mod record;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{LessSafeKey, NONCE_LEN, Nonce};
use galgo_storage::disk::Disk;
use galgo_storage::lock::{Ranked, rank};
use galgo_storage::twin::{Kept, Twin, TwinError};

pub use keys::{KeyRing, KeyRingError};
pub(crate) use marker::NAME as MARKER_NAME;
pub(crate) use message::{Unopened, Unsealed};

use crate::environment::Random;
use marker::KeyMarker;

/// Why a data directory cannot be opened with these keys. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The metadata is sealed with a key that was not given.
    #[error("the metadata is encrypted with key {id}, which was not given")]
    Missing {
        /// The key's id.
        id: u32,
    },
    /// A key is not the one that data was sealed with.
    #[error("key {id} is not the one with which this data was encrypted")]
    Other {
        /// The key's id.
        id: u32,
    },
    /// A record does not open with the key it names.
    #[error("the metadata does not open with key {id}: it is another key, or the data is damaged")]
    Wrong {
        /// The key's id.
        id: u32,
    },
    /// The file that names the keys cannot be read or written.
    #[error(transparent)]
    Marker(#[from] TwinError),
}

/// Whether the file that names the keys is to be restored from its copy.
///
/// # Errors
/// [`VaultError::Marker`].
pub(crate) fn marker_is_copy(disk: &dyn Disk, twin: &Twin) -> Result<bool, VaultError> {
    Ok(KeyMarker::read(disk, twin)?.is_some_and(|kept| kept.is_copy()))
}

/// The keys of a running broker.
pub(crate) struct Vault {
    keys: KeyRing,
    prefix: u32,
    next_nonce: AtomicU64,
    /// Where the marker is kept.
    twin: Twin,
    marker: Ranked<{ rank::VAULT_MARKER }, KeyMarker>,
    /// Keys whose absence was told.
    told: Ranked<{ rank::VAULT_TOLD }, BTreeSet<u32>>,
}

impl Vault {
    /// Checks the keys against what the directory needs; changes nothing there. `None` when there is
    /// nothing to seal or to open. Before anything is sealed, [`Vault::note_active`] is to be called.
    ///
    /// # Errors
    /// [`VaultError`].
    pub(crate) fn open(
        disk: &dyn Disk,
        twin: Twin,
        keys: KeyRing,
        random: &dyn Random,
    ) -> Result<Option<Self>, VaultError> {
        let kept = KeyMarker::read(disk, &twin)?;
        // Mended before anything is sealed: a power cut in between would leave what nobody knows the key of.
        let mended = kept.as_ref().is_none_or(Kept::is_whole);
        if kept.as_ref().is_some_and(Kept::is_copy) {
            let path = twin.path.display();
            tracing::warn!(%path, "damaged or missing file restored from its second copy");
        }
        let mut marker = kept.map(|kept| kept.value).unwrap_or_default();
        marker.unwritten = !mended;
        if let Some(id) = marker.metadata.iter().find(|id| keys.get(**id).is_none()) {
            return Err(VaultError::Missing { id: *id });
        }
        // A wrong key would seal what no key that is on record opens, and say so only when somebody reads.
        if let Some(id) = marker.replaced(&keys) {
            return Err(VaultError::Other { id });
        }
        // Told and not refused: these messages are never sealed anew, and go with retention. All
        // others can be read.
        for id in marker.messages.iter().filter(|id| keys.get(**id).is_none()) {
            tracing::warn!(
                key = id,
                "messages sealed with this key cannot be read: it was not given"
            );
        }
        match keys.active() {
            Some(id) => {
                let Some(check) = keys.check(id) else {
                    unreachable!("the active key is one of the ring, and is noted before it seals")
                };
                marker.note(id, check);
            }
            // Without an active key all of it is to be in the clear again.
            None => marker.rewrite_metadata = !marker.metadata.is_empty(),
        }
        if keys.is_empty() && marker.messages.is_empty() {
            return Ok(None);
        }
        // INV-NONCE: where the last start has come to is not on record, which would cost a write for each sealing; of 96
        // random bits two starts meet by no chance that counts.
        let start = random.next_u128();
        Ok(Some(Self {
            keys,
            prefix: (start >> 64) as u32,
            next_nonce: AtomicU64::new(start as u64),
            twin,
            marker: Ranked::new(marker),
            told: Ranked::default(),
        }))
    }

    /// Writes down which key is used from now on, if that is new: a start without it is refused from here
    /// on. To be called once the directory is known to open, and before anything is sealed.
    ///
    /// # Errors
    /// [`VaultError::Marker`].
    pub(crate) fn note_active(&self, disk: &dyn Disk) -> Result<(), VaultError> {
        let mut marker = self.marker.lock();
        if marker.unwritten {
            marker.write(disk, &self.twin)?;
            // Only once it is written: where that fails, it is still to be done before anything is
            // sealed.
            marker.unwritten = false;
        }
        Ok(())
    }

    /// Whether the metadata on disk is not, or not all, in the form it is to have now: `remains` is what
    /// an earlier start that did not come to its end may have left, and counts where all is to be sealed.
    pub(crate) fn rewrite_due(&self, remains: bool) -> bool {
        self.marker.lock().rewrite_metadata || (remains && self.keys.active().is_some())
    }

    /// Notes that the metadata was written anew as a whole, so that older keys are not needed for it.
    ///
    /// # Errors
    /// [`VaultError::Marker`].
    pub(crate) fn rewritten(&self, disk: &dyn Disk) -> Result<(), VaultError> {
        let mut marker = self.marker.lock();
        // Behind the rewriting: a marker that forgets an older key while one record still needs it would have the next
        // start ask for too few.
        marker.metadata = self.keys.active().into_iter().collect();
        marker.rewrite_metadata = false;
        marker.write(disk, &self.twin)?;
        Ok(())
    }

    /// The key for what is written now.
    fn active(&self) -> Option<ActiveKey<'_>> {
        let id = self.keys.active()?;
        let Some(key) = self.keys.get(id) else {
            unreachable!("the active key is one of the ring: without it all would be in the clear")
        };
        Some(ActiveKey { id, key })
    }

    /// The first of `count` nonces that nobody else gets.
    fn draw(&self, count: u32) -> Nonces {
        // One step for all of a batch: nobody else draws a number in between.
        let next = self.next_nonce.fetch_add(u64::from(count), Ordering::Relaxed);
        Nonces { prefix: self.prefix, next }
    }

    /// Tells, once, that a key is missing.
    fn tell_missing(&self, id: u32) {
        // Once for each key: it is asked for with every poll of what it sealed.
        if self.told.lock().insert(id) {
            tracing::error!(key = id, "sealed messages cannot be read: their key was not given");
        }
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// The key for what is written now.
struct ActiveKey<'a> {
    /// Written beside what it seals.
    id: u32,
    key: &'a LessSafeKey,
}

const _: () = assert!(
    size_of::<u32>() + size_of::<u64>() == NONCE_LEN,
    "INV-NONCE: a nonce is the beginning that was drawn and a number, and nothing else"
);

/// Nonces in a row (INV-NONCE).
struct Nonces {
    prefix: u32,
    next: u64,
}

impl Nonces {
    fn next(&mut self) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        let (prefix, count) = nonce.split_at_mut(4);
        prefix.copy_from_slice(&self.prefix.to_le_bytes());
        count.copy_from_slice(&self.next.to_le_bytes());
        self.next = self.next.wrapping_add(1);
        nonce
    }
}

fn nonce(bytes: [u8; NONCE_LEN]) -> Nonce {
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests;
