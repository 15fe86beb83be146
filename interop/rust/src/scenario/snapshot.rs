//! The snapshot archive: every compression, every type.

use iggy::prelude::*;

use crate::checks::{Checks, equal, holds};
use crate::client::{connected, connected_as};
use crate::server::{PASSWORD, Server, Transport};

const NAMES: [&str; 5] = [
    "filesystem_overview.txt",
    "process_list.txt",
    "resource_usage.txt",
    "server_logs.txt",
    "server_config.txt",
];

pub async fn run(server: &mut Server, checks: &mut Checks) -> anyhow::Result<()> {
    let client = connected(server).await?;
    for compression in [
        SnapshotCompression::Stored,
        SnapshotCompression::Deflated,
        SnapshotCompression::Bzip2,
        SnapshotCompression::Zstd,
        SnapshotCompression::Lzma,
        SnapshotCompression::Xz,
    ] {
        let name = format!("an archive compressed with {compression:?}");
        let types = vec![SystemSnapshotType::Test];
        let archive = client.snapshot(compression, types).await.map(|it| it.0);
        let checked = archive.map_err(anyhow::Error::from).and_then(|bytes| {
            holds("a ZIP archive", bytes.starts_with(b"PK\x03\x04"), bytes.len())?;
            holds("its entry", contains(&bytes, b"test.txt"), bytes.len())
        });
        checks.record(&name, checked);
    }
    checks
        .step("all is everything but the test, without secrets", async {
            let all = vec![SystemSnapshotType::All];
            let archive = client.snapshot(SnapshotCompression::Stored, all).await?.0;
            for name in NAMES {
                holds(name, contains(&archive, name.as_bytes()), archive.len())?;
            }
            holds("no test", !contains(&archive, b"test.txt"), archive.len())?;
            holds("no password", !contains(&archive, PASSWORD.as_bytes()), archive.len())
        })
        .await;
    if server.transport() != Transport::Http {
        checks
            .step("it takes the right to read the server", async {
                client.create_user("anna", "secret", UserStatus::Active, None).await?;
                let anna = connected_as(server, "anna:secret").await?;
                let types = vec![SystemSnapshotType::Test];
                let refused = anna.snapshot(SnapshotCompression::Stored, types).await;
                equal("code", refused.err().map(|error| error.as_code()), Some(41))
            })
            .await;
    }
    Ok(())
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
