//! Rows as the bytes of a file.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::batch::Row;
use crate::failure::Failure;
use crate::line::{put_envelope, put_payload};
use crate::place::LaneName;

/// What a file is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum FileFormat {
    /// A document of JSON in each line.
    #[default]
    #[serde(rename = "ndjson")]
    Ndjson,
    /// The same, compressed: a frame of Zstandard for each batch.
    #[serde(rename = "ndjson.zst")]
    NdjsonZst,
    /// Records of columns, with a header.
    #[serde(rename = "csv")]
    Csv,
}

/// What a line of JSON has of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LineContent {
    /// Its place, id, time, headers and payload.
    #[default]
    Envelope,
    /// Its payload alone.
    Payload,
}

/// How rows are written.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    pub(super) format: FileFormat,
    pub(super) content: LineContent,
    /// Of a file of records: keys of the payload, or what begins with `@`.
    pub(super) columns: Vec<String>,
}

/// Level of compression: what Zstandard itself takes when nobody asks.
const LEVEL: i32 = 3;

impl FileFormat {
    /// What the names of its files end with, behind the dot.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::NdjsonZst => "ndjson.zst",
            Self::Csv => "csv",
        }
    }
}

/// What columns can have that is not in the payload.
pub(super) const PLACES: [&str; 7] =
    ["@stream", "@topic", "@partition", "@offset", "@part", "@id", "@time"];

impl Encoder {
    /// Whether the payload has to be JSON.
    pub(super) fn needs_json(&self) -> bool {
        self.content == LineContent::Payload || self.format == FileFormat::Csv
    }

    /// What a file begins with.
    pub(super) fn head(&self) -> Result<Vec<u8>, Failure> {
        match self.format {
            FileFormat::Csv => record(&self.columns),
            FileFormat::Ndjson | FileFormat::NdjsonZst => Ok(Vec::new()),
        }
    }

    /// The rows, in order.
    ///
    /// # Errors
    /// [`Failure::Bad`] names all that cannot be written so.
    pub(super) fn rows(&self, lane: &LaneName, rows: &[Row]) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::with_capacity(rows.iter().map(Row::bytes).sum());
        let mut bad: Option<(Vec<_>, String)> = None;
        for row in rows {
            match self.row(lane, row) {
                Ok(line) => bytes.extend_from_slice(&line),
                Err(reason) => bad.get_or_insert((Vec::new(), reason)).0.push(row.place),
            }
        }
        if let Some((places, reason)) = bad {
            return Err(Failure::Bad { places, reason });
        }
        match self.format {
            FileFormat::NdjsonZst => zstd::bulk::compress(&bytes, LEVEL)
                .map_err(|error| Failure::away(format!("rows were not compressed: {error}"))),
            FileFormat::Ndjson | FileFormat::Csv => Ok(bytes),
        }
    }

    /// A row, with the end of its line, before any compression.
    ///
    /// # Errors
    /// What is wrong with it, without its values.
    pub(super) fn row(&self, lane: &LaneName, row: &Row) -> Result<Vec<u8>, String> {
        let mut line = String::with_capacity(row.bytes());
        match (self.format, self.content) {
            (FileFormat::Csv, _) => {
                let cells = self.cells(lane, row)?;
                return record(&cells).map_err(|failure| failure.to_string());
            }
            (_, LineContent::Envelope) => put_envelope(row, &mut line),
            (_, LineContent::Payload) => put_payload(row, &mut line),
        }
        line.push('\n');
        Ok(line.into_bytes())
    }

    fn cells(&self, lane: &LaneName, row: &Row) -> Result<Vec<String>, String> {
        let payload: BTreeMap<String, &RawValue> = serde_json::from_slice(&row.payload)
            .map_err(|_| "the payload is no object of JSON, as records of csv need".to_owned())?;
        let cell = |column: &String| match column.as_str() {
            "@stream" => lane.stream.clone(),
            "@topic" => lane.topic.clone(),
            "@partition" => lane.partition.to_string(),
            "@offset" => row.place.offset.to_string(),
            "@part" => row.place.part.to_string(),
            "@id" => uuid::Uuid::from_u128(row.id).to_string(),
            "@time" => row.time.to_string(),
            key => payload.get(key).map_or_else(String::new, |value| text_of(value)),
        };
        Ok(self.columns.iter().map(cell).collect())
    }
}

/// A value as a cell: text as it is, nothing for null, anything else as JSON.
fn text_of(value: &RawValue) -> String {
    match (serde_json::from_str::<String>(value.get()), value.get()) {
        (Ok(text), _) => text,
        (Err(_), "null") => String::new(),
        (Err(_), json) => json.to_owned(),
    }
}

/// A record of cells, with the end of its line.
fn record(cells: &[String]) -> Result<Vec<u8>, Failure> {
    let failed = |error: String| Failure::Batch { reason: format!("no record: {error}") };
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    writer.write_record(cells).map_err(|error| failed(error.to_string()))?;
    writer.into_inner().map_err(|error| failed(error.to_string()))
}
