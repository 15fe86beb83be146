//! Which formats a data directory uses that not every version of the program knows.
//!
//! ```text
//! 0            8         12      16
//! | "GALGOFEA" | version | count | length u8, name ... | XXH3-64 of everything before |
//! ```
//! All numbers little-endian; a directory without the file uses none. It is kept twice ([`crate::twin`]).
//!
//! INV-FEATURE-FIRST: a feature is named here, durable in both places, before the first byte of it is
//! written; a name is never taken back. So an older program refuses the directory before it changes a byte
//! of it, and can go on with one in which nothing new was used.

use std::collections::BTreeSet;
use std::path::PathBuf;

use galgo_wire::primitive::{Reader, put_length32, put_str8};
use twox_hash::XxHash3_64;

use crate::disk::Disk;
use crate::lock::{Ranked, rank};
use crate::twin::{Twin, TwinError, Unsound};

/// Name of the file in the data directory.
pub const FEATURES_NAME: &str = "features";

const MAGIC: [u8; 8] = *b"GALGOFEA";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 8;
const FILE_BYTES_MAX: u64 = 64 << 10;
const _: () = assert!(
    (HEADER_BYTES + Feature::ALL.len() * (1 + u8::MAX as usize) + CHECKSUM_BYTES) as u64
        <= FILE_BYTES_MAX,
    "INV-FEATURE-FIRST: a file that names all features can be read again"
);

/// A format that not every version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Checkpoints in sections.
    Checkpoint2,
}

impl Feature {
    /// All there are.
    pub const ALL: [Self; 1] = [Self::Checkpoint2];

    /// Its name in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkpoint2 => "checkpoint-2",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feature| feature.name() == name)
    }
}

/// Why a directory is refused. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum FeaturesError {
    /// It uses what this program does not know.
    #[error("{} names the format {name:?}, which this program does not know: a newer one is needed", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// The file cannot be used, nor its copy.
    #[error(transparent)]
    Twin(#[from] TwinError),
}

/// The features in use.
#[derive(Debug)]
pub struct UsedFeatures {
    twin: Twin,
    used: Ranked<{ rank::FEATURES }, BTreeSet<Feature>>,
}

impl UsedFeatures {
    /// Reads which are in use, and changes nothing.
    ///
    /// # Errors
    /// See [`FeaturesError`].
    pub fn read(disk: &dyn Disk, twin: Twin) -> Result<Self, FeaturesError> {
        let kept = twin.read(disk, FILE_BYTES_MAX, decode)?;
        let mut names = Vec::new();
        if let Some(kept) = kept {
            // A file that was put back from somewhere else may lack a name that is in use.
            if kept.differs() {
                let copy = Twin { path: twin.copy.clone(), copy: twin.copy.clone() };
                names.extend(copy.read(disk, FILE_BYTES_MAX, decode)?.map(|copy| copy.value));
            }
            names.push(kept.value);
        }
        let mut used = BTreeSet::new();
        for name in names.into_iter().flatten() {
            // Even where only one of the two files names it: a newer program was stopped between them, and may have
            // written the format all the same.
            let feature = Feature::named(&name);
            let path = || twin.path.clone();
            used.insert(feature.ok_or_else(|| FeaturesError::Unknown { path: path(), name })?);
        }
        Ok(Self { twin, used: Ranked::new(used) })
    }

    /// Makes the file and its copy sound and the same.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn mend(&self, disk: &dyn Disk) -> Result<(), FeaturesError> {
        match self.twin.read(disk, FILE_BYTES_MAX, decode)? {
            // With the names of both, as they were read: mended from one of them, a name that is in use would go.
            Some(kept) if kept.differs() => {
                self.twin.write(disk, &encode(&self.used.lock()))?;
            }
            Some(kept) => self.twin.mend(disk, &kept)?,
            None => {}
        }
        Ok(())
    }

    /// Whether the file was lost or damaged, so that its copy is in use.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn is_copy(&self, disk: &dyn Disk) -> Result<bool, FeaturesError> {
        let kept = self.twin.read(disk, FILE_BYTES_MAX, decode)?;
        Ok(kept.is_some_and(|kept| kept.is_copy()))
    }

    /// To be called before the first byte of a feature is written: it is on record when this returns.
    ///
    /// # Errors
    /// Those of the disk: nothing of it may be written then.
    pub fn begin(&self, disk: &dyn Disk, feature: Feature) -> Result<(), TwinError> {
        // Held over the writes: two that begin at once must not write each a list without the other's name.
        let mut used = self.used.lock();
        if used.contains(&feature) {
            return Ok(());
        }
        let mut names = used.clone();
        names.insert(feature);
        // INV-FEATURE-FIRST: durable in both places before it counts as in use. The other way round, a write that
        // failed would leave a format on the disk that no older program is warned of.
        self.twin.write(disk, &encode(&names))?;
        *used = names;
        Ok(())
    }

    /// Whether a feature is on record.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.used.lock().contains(&feature)
    }
}

fn encode(used: &BTreeSet<Feature>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    put_length32(&mut bytes, used.len());
    for feature in used {
        put_str8(&mut bytes, feature.name());
    }
    bytes.extend_from_slice(&XxHash3_64::oneshot(&bytes).to_le_bytes());
    bytes
}

/// The names in the file, whether this program knows them or not.
fn decode(bytes: &[u8]) -> Result<Vec<String>, Unsound> {
    let end = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|end| *end >= HEADER_BYTES);
    let (covered, checksum) =
        end.and_then(|end| bytes.split_at_checked(end)).ok_or(Unsound::Damaged)?;
    if XxHash3_64::oneshot(covered).to_le_bytes() != checksum {
        return Err(Unsound::Damaged);
    }
    let mut reader = Reader::new(covered);
    let mut read = || {
        let (magic, version) = (reader.array::<8>().ok()?, reader.u32().ok()?);
        if magic != MAGIC {
            return None;
        }
        if version != VERSION {
            return Some(Err(Unsound::Newer(version)));
        }
        let mut names = Vec::new();
        for _ in 0..reader.u32().ok()? {
            names.push(reader.str8().ok()?.to_owned());
        }
        Some(Ok(names)).filter(|_| reader.is_empty())
    };
    read().unwrap_or(Err(Unsound::Damaged))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::create_dir_synced;
    use crate::disk::sim::{FaultPlan, SimDisk};
    use crate::replace_file::replace_file;

    fn twin() -> Twin {
        Twin { path: "/data/features".into(), copy: "/data/copy/features".into() }
    }

    fn disk() -> SimDisk {
        let disk = SimDisk::new(1);
        create_dir_synced(&disk, &PathBuf::from("/data")).unwrap();
        disk
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let mut expected = b"GALGOFEA\x01\0\0\0\x01\0\0\0\x0ccheckpoint-2".to_vec();
        expected.extend_from_slice(&XxHash3_64::oneshot(&expected).to_le_bytes());
        assert_eq!(encode(&BTreeSet::from([Feature::Checkpoint2])), expected);
        assert_eq!(decode(&expected), Ok(vec!["checkpoint-2".to_owned()]));
    }

    #[test]
    fn a_feature_is_on_record_through_any_stop_behind_its_beginning() {
        for stop_at in 1..20 {
            let disk = disk();
            let features = UsedFeatures::read(&disk, twin()).unwrap();
            disk.plan(FaultPlan { stop_at: Some(stop_at), ..FaultPlan::default() });
            let begun = features.begin(&disk, Feature::Checkpoint2).is_ok();
            assert_eq!(features.has(Feature::Checkpoint2), begun);
            disk.crash(stop_at);
            disk.plan(FaultPlan::default());
            let after = UsedFeatures::read(&disk, twin()).unwrap();
            assert!(after.has(Feature::Checkpoint2) || !begun, "INV-FEATURE-FIRST at {stop_at}");
        }
    }

    #[test]
    fn an_unknown_name_and_a_newer_version_refuse_and_damage_in_both_does() {
        let disk = disk();
        let mut bytes = b"GALGOFEA\x01\0\0\0\x01\0\0\0\x04warp".to_vec();
        bytes.extend_from_slice(&XxHash3_64::oneshot(&bytes).to_le_bytes());
        twin().write(&disk, &bytes).unwrap();
        let error = UsedFeatures::read(&disk, twin()).unwrap_err();
        assert!(matches!(&error, FeaturesError::Unknown { name, .. } if name == "warp"), "{error}");
        let mut newer = b"GALGOFEA\x02\0\0\0\0\0\0\0".to_vec();
        newer.extend_from_slice(&XxHash3_64::oneshot(&newer).to_le_bytes());
        twin().write(&disk, &newer).unwrap();
        let error = UsedFeatures::read(&disk, twin()).unwrap_err();
        assert!(matches!(error, FeaturesError::Twin(TwinError::Newer { found: 2, .. })));

        UsedFeatures::read(&self::disk(), twin()).unwrap();
        let known = encode(&BTreeSet::from(Feature::ALL));
        twin().write(&disk, &known).unwrap();
        for bit in 0..known.len() as u64 * 8 {
            let disk = disk.kill_image();
            disk.flip_bit(&twin().path, bit / 8, (bit % 8) as u8).unwrap();
            let features = UsedFeatures::read(&disk, twin()).unwrap();
            assert!(features.has(Feature::Checkpoint2) && features.is_copy(&disk).unwrap());
            disk.flip_bit(&twin().copy, bit / 8, (bit % 8) as u8).unwrap();
            let error = UsedFeatures::read(&disk, twin()).unwrap_err();
            assert!(matches!(error, FeaturesError::Twin(TwinError::Damaged { .. })), "{bit}");
        }
        // One that was put back from before.
        replace_file(&disk, &twin().path, &encode(&BTreeSet::new())).unwrap();
        let features = UsedFeatures::read(&disk, twin()).unwrap();
        assert!(features.has(Feature::Checkpoint2));
        features.mend(&disk).unwrap();
        assert_eq!(disk.contents(&twin().path).unwrap(), known);
        replace_file(&disk, &twin().path, b"").unwrap();
        let features = UsedFeatures::read(&disk, twin()).unwrap();
        features.mend(&disk).unwrap();
        assert_eq!(disk.contents(&twin().path).unwrap(), known);
    }
}
