//! `galgo snapshot`: an archive of the server's state, for whoever looks into a problem.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use clap::Args;
use galgo::{SnapshotCompression, SnapshotKind};
use serde_json::json;

use crate::dial::Target;
use crate::failure::{Failure, Outcome};
use crate::output::measure;
use crate::progress::Progress;
use crate::value::time::now_micros;

/// Arguments of `galgo snapshot`.
#[derive(Args, Debug)]
pub(crate) struct SnapshotArgs {
    /// The file to write; must not be there yet
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What to put in, divided by commas: filesystem-overview, process-list, resource-usage, test,
    /// server-logs, server-config, or all
    #[arg(long, value_name = "TYPES", value_delimiter = ',', default_value = "all")]
    #[arg(value_parser = parse_kind)]
    types: Vec<SnapshotKind>,
    /// How it is compressed: stored, deflated, bzip2, zstd, lzma or xz
    #[arg(long, value_name = "METHOD", default_value = "deflated", value_parser = parse_method)]
    compression: SnapshotCompression,
}

fn parse_kind(text: &str) -> Result<SnapshotKind, String> {
    let word = text.trim().replace('-', "_");
    let found = SnapshotKind::ALL.iter().find(|kind| kind.word() == word);
    found.copied().ok_or_else(|| {
        let known: Vec<_> = SnapshotKind::ALL.iter().map(|kind| kind.word()).collect();
        format!("`{text}` is none of {}", known.join(", ").replace('_', "-"))
    })
}

fn parse_method(text: &str) -> Result<SnapshotCompression, String> {
    let found = SnapshotCompression::ALL.iter().find(|method| method.word() == text);
    found.copied().ok_or_else(|| {
        let known: Vec<_> = SnapshotCompression::ALL.iter().map(|method| method.word()).collect();
        format!("`{text}` is none of {}", known.join(", "))
    })
}

/// Runs the command.
pub(crate) async fn run(target: &Target, args: SnapshotArgs) -> Outcome {
    let seconds = now_micros() / 1_000_000;
    let out = args.out.unwrap_or_else(|| PathBuf::from(format!("galgo-snapshot-{seconds}.zip")));
    let client = target.connect().await?;
    let waiting = Progress::start(target.output.format, None);
    let answer = client.snapshot(args.compression, &args.types).await;
    waiting.finish();
    let archive = answer?;
    let name = out.display();
    // Configuration and logs are nobody else's business.
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&out);
    let mut file = opened.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::usage(format!("{name} is there already"))
            .hint("give another file with --out; nothing was written"),
        _ => Failure::io(format!("cannot create {name}: {error}")),
    })?;
    file.write_all(&archive)
        .and_then(|()| file.sync_all())
        .map_err(|error| Failure::io(format!("cannot write {name}: {error}")))?;
    let bytes = archive.len() as u64;
    let sentence = format!("snapshot written to {name}, {}", measure::bytes(bytes));
    let fact = json!({ "written": "snapshot", "file": out, "bytes": bytes });
    target.output.done(&sentence, &fact)
}
