//! The snapshot archive: a ZIP of what helps to find out how a server is doing.
//!
//! No entry is longer than [`ENTRY_BYTES_MAX`].

use std::io::{self, Cursor, Write};

use galgo_wire::command::{SnapshotCompression, SnapshotKind};
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Most bytes of one entry before it is compressed; what is longer is cut.
pub const ENTRY_BYTES_MAX: usize = 8 << 20;
const _: () = assert!(
    ALL.len() * ENTRY_BYTES_MAX < u32::MAX as usize,
    "the places of all entries have 32 bits"
);

/// The parts that "all" stands for.
const ALL: [SnapshotKind; 5] = [
    SnapshotKind::FilesystemOverview,
    SnapshotKind::ProcessList,
    SnapshotKind::ResourceUsage,
    SnapshotKind::ServerLogs,
    SnapshotKind::ServerConfig,
];

/// What the parts of an archive are read from. No part holds a secret.
pub trait SnapshotSources: Send + Sync {
    /// The text of a part; "all" and "test" are not asked for.
    ///
    /// # Errors
    /// Those of the system; the archive goes without the part then.
    fn read(&self, kind: SnapshotKind) -> io::Result<Vec<u8>>;
}

/// Packs the parts asked for; a part twice is packed once, one that cannot be read is left out.
///
/// # Errors
/// Those of the packing.
pub(crate) fn archive(
    compression: SnapshotCompression,
    kinds: &[SnapshotKind],
    sources: Option<&dyn SnapshotSources>,
) -> Result<Vec<u8>, ZipError> {
    let options = SimpleFileOptions::default().compression_method(method(compression));
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let asked = if kinds.contains(&SnapshotKind::All) { &ALL[..] } else { kinds };
    let mut packed = Vec::new();
    for kind in asked {
        if packed.contains(kind) {
            continue;
        }
        let text = match (kind, sources) {
            (SnapshotKind::Test, _) => Ok(b"test\n".to_vec()),
            (kind, Some(sources)) => sources.read(*kind),
            (_, None) => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        match text {
            Ok(text) => {
                zip.start_file(format!("{}.txt", name(*kind)), options)?;
                zip.write_all(text.get(..ENTRY_BYTES_MAX).unwrap_or(&text))?;
            }
            Err(error) => {
                tracing::warn!(part = name(*kind), %error, "part of a snapshot not read");
            }
        }
        packed.push(*kind);
    }
    Ok(zip.finish()?.into_inner())
}

/// Nothing here writes LZMA into a ZIP; XZ is the same algorithm in a frame of its own, and every entry
/// says what it is packed with.
fn method(compression: SnapshotCompression) -> CompressionMethod {
    match compression {
        SnapshotCompression::Stored => CompressionMethod::Stored,
        SnapshotCompression::Deflated => CompressionMethod::Deflated,
        SnapshotCompression::Bzip2 => CompressionMethod::Bzip2,
        SnapshotCompression::Zstd => CompressionMethod::Zstd,
        SnapshotCompression::Lzma | SnapshotCompression::Xz => CompressionMethod::Xz,
    }
}

fn name(kind: SnapshotKind) -> &'static str {
    match kind {
        SnapshotKind::FilesystemOverview => "filesystem_overview",
        SnapshotKind::ProcessList => "process_list",
        SnapshotKind::ResourceUsage => "resource_usage",
        SnapshotKind::Test => "test",
        SnapshotKind::ServerLogs => "server_logs",
        SnapshotKind::ServerConfig => "server_config",
        SnapshotKind::All => "all",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use zip::ZipArchive;

    struct Named;

    impl SnapshotSources for Named {
        fn read(&self, kind: SnapshotKind) -> io::Result<Vec<u8>> {
            match kind {
                SnapshotKind::ProcessList => Err(io::Error::from(io::ErrorKind::NotFound)),
                SnapshotKind::ServerLogs => Ok(vec![b'x'; ENTRY_BYTES_MAX + 1]),
                kind => Ok(name(kind).as_bytes().to_vec()),
            }
        }
    }

    fn unpack(bytes: Vec<u8>) -> Vec<(String, Vec<u8>)> {
        let mut zip = ZipArchive::new(Cursor::new(bytes)).unwrap();
        let entries = (0..zip.len()).map(|at| {
            let mut entry = zip.by_index(at).unwrap();
            let mut text = Vec::new();
            entry.read_to_end(&mut text).unwrap();
            (entry.name().unwrap().into_owned(), text)
        });
        entries.collect()
    }

    #[test]
    fn every_compression_gives_an_archive_that_is_read_again() {
        for compression in [
            SnapshotCompression::Stored,
            SnapshotCompression::Deflated,
            SnapshotCompression::Bzip2,
            SnapshotCompression::Zstd,
            SnapshotCompression::Lzma,
            SnapshotCompression::Xz,
        ] {
            let kinds = [SnapshotKind::Test, SnapshotKind::ServerConfig, SnapshotKind::Test];
            let entries = unpack(archive(compression, &kinds, Some(&Named)).unwrap());
            let expected = [
                ("test.txt".to_owned(), b"test\n".to_vec()),
                ("server_config.txt".to_owned(), b"server_config".to_vec()),
            ];
            assert_eq!(entries, expected, "{compression:?}");
        }
    }

    #[test]
    fn all_is_everything_but_the_test_and_what_cannot_be_read() {
        let all = archive(SnapshotCompression::Deflated, &[SnapshotKind::All], Some(&Named));
        let entries = unpack(all.unwrap());
        let names: Vec<_> = entries.iter().map(|(name, _)| name.as_str()).collect();
        let expected = ["filesystem_overview.txt", "resource_usage.txt", "server_logs.txt"];
        assert_eq!(names, [&expected[..], &["server_config.txt"]].concat());
        assert_eq!(entries[2].1.len(), ENTRY_BYTES_MAX);
    }

    #[test]
    fn nothing_asked_for_is_an_empty_archive() {
        let bytes = archive(SnapshotCompression::Stored, &[], None).unwrap();
        assert_eq!(bytes.len(), 22);
    }
}
