//! Files: `[to.file]`.
//!
//! Objects of a lane are called by the offset they begin at, and are finished once: what is written has a name that ends in
//! `.part` until it is linked to its own. Beside them a small file says how far the lane is delivered.
//!
//! INV-FILE-MARK: what is delivered into files is what the last mark says, wherever a crash came: each batch is there once and
//! whole, and nothing behind it.

mod check;
mod encode;
mod folder;
mod lane;
mod mark;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use toml::Table;

use self::encode::{Encoder, FileFormat, LineContent, PLACES};
use self::folder::{Folder, Rotation};
use self::lane::LaneFolder;
use crate::batch::{Batch, Row};
use crate::clock::micros;
use crate::config::value::{ByteSize, Span};
use crate::config::{ConfigError, Surroundings, settings};
use crate::failure::{Failure, Finding};
use crate::kind::SinkKind;
use crate::place::{LaneName, Position};
use crate::sink::{Promise, Sink, SinkSpec};

/// This kind.
pub(crate) const KIND: SinkKind = SinkKind {
    name: "file",
    promise: "exactly once: what is delivered is written down beside the files, which are finished once",
    example: EXAMPLE,
    read,
};

const SECTION: &str = "to.file";

const EXAMPLE: &str = r#"[to.file]
# A folder on a local disk; relative to this file. Files are STREAM/TOPIC/partition=N/OFFSET.ndjson in it.
path = "export"
# "ndjson", "ndjson.zst" or "csv".
format = "ndjson"
# Of ndjson, what a line has: "envelope" (offset, id, time, headers, payload) or "payload".
lines = "envelope"
# Of csv, the columns: keys of the payload, or @stream, @topic, @partition, @offset, @part, @id, @time.
# columns = ["@offset", "order_id", "total"]
# A file is finished, which is when it loses the ending .part, once it is so long or so old.
rotate = { bytes = "64MiB", after = "10m" }
"#;

/// Between two looks for objects that are old enough.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSinkSettings {
    path: PathBuf,
    #[serde(default)]
    format: FileFormat,
    #[serde(default)]
    lines: Option<LineContent>,
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    rotate: Rotate,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    bytes: Option<ByteSize>,
    after: Option<Span>,
}

fn read(table: Table, surroundings: &Surroundings) -> Result<Box<dyn SinkSpec>, ConfigError> {
    let FileSinkSettings { path, format, lines, columns, rotate } = settings(SECTION, table)?;
    let fault = |what: String| ConfigError { at: format!("[{SECTION}]"), what };
    let is_csv = format == FileFormat::Csv;
    if is_csv && columns.is_empty() {
        return Err(fault(
            "csv needs columns, for example columns = [\"@offset\", \"total\"]".into(),
        ));
    }
    if !is_csv && !columns.is_empty() {
        return Err(fault("columns are of format = \"csv\" only".into()));
    }
    if is_csv && lines.is_some() {
        return Err(fault("lines is of ndjson only; csv has columns".into()));
    }
    let unknown = |column: &&String| column.starts_with('@') && !PLACES.contains(&column.as_str());
    if let Some(column) = columns.iter().find(unknown) {
        return Err(fault(format!("column \"{column}\" is none of {}", PLACES.join(", "))));
    }
    let after = rotate.after.map_or(Duration::from_secs(600), |span| span.0);
    let bytes = rotate.bytes.map_or(64 << 20, |size| size.0);
    if bytes == 0 || after.is_zero() {
        return Err(fault("rotate.bytes and rotate.after are more than nothing".into()));
    }
    let encoder = Encoder { format, content: lines.unwrap_or_default(), columns };
    let after_us = micros(after);
    let folder = Folder::new(
        surroundings.path(&path),
        surroundings.pipeline.clone(),
        encoder,
        Rotation { bytes, after_us },
    );
    Ok(Box::new(FileSpec(Arc::new(SharedFolder { folder, keeper: OnceLock::new() }))))
}

/// What the connections share.
#[derive(Debug)]
struct SharedFolder {
    folder: Folder,
    /// Finishes what is old enough, also where nothing is written any more.
    keeper: OnceLock<()>,
}

#[derive(Debug)]
struct FileSpec(Arc<SharedFolder>);

#[derive(Debug)]
struct FileSink(Arc<SharedFolder>);

impl SharedFolder {
    /// Works with the files on a thread that may wait for a disk.
    async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Folder) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&shared.folder)).await;
        match done {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Failure::away("the process ends")),
        }
    }

    fn keep(self: &Arc<Self>) {
        self.keeper.get_or_init(|| {
            let weak = Arc::downgrade(self);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(LOOK).await;
                    let Some(shared) = weak.upgrade() else { return };
                    if let Err(failure) = shared.work(|folder| folder.finish(false)).await {
                        let reason = failure.to_string();
                        tracing::warn!(reason, "object is not finished yet; that is tried again");
                    }
                }
            });
        });
    }
}

#[async_trait]
impl SinkSpec for FileSpec {
    fn promise(&self) -> Promise {
        Promise::ExactlyOnce
    }

    fn needs_json(&self) -> bool {
        self.0.folder.encoder.needs_json()
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(FileSink(Arc::clone(&self.0)))
    }

    async fn prepare(&self) -> Result<(), Failure> {
        self.0
            .work(|folder| {
                // Its last part only: all of it would be made on the wrong disk when a volume is not mounted.
                match std::fs::create_dir(&folder.path) {
                    Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                        return Err(folder::failure("make", &folder.path, &error));
                    }
                    _ => {}
                }
                folder.hold()
            })
            .await
    }

    async fn check(&self, sample: &[Row]) -> Result<Vec<Finding>, Failure> {
        let mut findings = self.0.work(|folder| Ok(check::folder(folder))).await?;
        let lane = LaneName {
            pipeline: self.0.folder.pipeline.clone(),
            stream: String::new(),
            topic: String::new(),
            partition: 0,
        };
        for row in sample {
            if let Err(reason) = self.0.folder.encoder.row(&lane, row) {
                let text = format!("message at offset {}: {reason}", row.place.offset);
                findings
                    .push(Finding::fault(text, "shape it with a transform, or set errors.on_bad"));
            }
        }
        Ok(findings)
    }

    fn preview(&self, lane: &LaneName, row: &Row) -> Result<String, String> {
        let line = self.0.folder.encoder.row(lane, row)?;
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    async fn cleanup(&self) -> Result<Vec<String>, Failure> {
        self.0
            .work(|folder| {
                folder.hold()?;
                let mut told = Vec::new();
                for path in folder.lanes_on_disk()? {
                    let mut lane = LaneFolder::find(folder, path.clone())?;
                    lane.finish(folder)?;
                    lane.forget()?;
                    told.push(format!("the position of {}", path.display()));
                }
                Ok(told)
            })
            .await
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn position(&mut self, lane: &LaneName) -> Result<Option<Position>, Failure> {
        let lane = lane.clone();
        self.0.work(move |folder| folder.with_lane(&lane, |lane, _| Ok(lane.position()))).await
    }

    async fn write(&mut self, lane: &LaneName, batch: &Batch) -> Result<(), Failure> {
        self.0.keep();
        let (name, batch) = (lane.clone(), batch.clone());
        self.0
            .work(move |folder| {
                folder.with_lane(&name, |lane, folder| lane.write(folder, &name, &batch))
            })
            .await
    }

    async fn set_position(&mut self, lane: &LaneName, position: &Position) -> Result<(), Failure> {
        let (name, position) = (lane.clone(), *position);
        self.0
            .work(move |folder| {
                folder.with_lane(&name, |lane, folder| lane.set_position(folder, &position))
            })
            .await
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        self.0.work(|folder| folder.finish(true)).await
    }
}
