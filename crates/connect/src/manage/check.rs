//! A look at what a pipeline would do, with the newest messages there are, which changes nothing anywhere.

use galgo::Client;

use crate::batch::Row;
use crate::config::file::{Direction, GalgoOrigin, PipelineFile};
use crate::failure::{Failure, Finding};
use crate::galgo_log::GalgoLog;
use crate::log::{LaneLog as _, LogMessage, ReadEnd};
use crate::manage::{identifier, partitions_of};
use crate::outbound::Dial;
use crate::place::{LaneName, Place};
use crate::shape::{Shape as _, Shaper};
use crate::sink::SinkSpec;
use crate::transform::{Expression, Transforms};

/// What a check found.
#[derive(Debug, Default)]
pub struct Examination {
    /// What was looked at and found.
    pub findings: Vec<Finding>,
    /// Rows as they would be written.
    pub rows: Vec<String>,
}

/// Checks a pipeline: both ends, rights, tables, and so many of the newest messages.
///
/// # Errors
/// [`Failure`] when an end could not be asked; what is wrong with it is in the findings.
pub async fn check(
    file: &PipelineFile,
    dial: &dyn Dial,
    sample: u32,
) -> Result<Examination, Failure> {
    let mut examination = Examination::default();
    let transforms = match Transforms::compile(&file.transforms) {
        Ok(transforms) => transforms,
        Err(error) => {
            examination.findings.push(Finding::fault(error.to_string(), "correct the file"));
            return Ok(examination);
        }
    };
    match &file.direction {
        Direction::Out { from, to, .. } => {
            let client = dial.dial(&from.server()).await?;
            let shaper = Shaper { format: from.format, transforms, needs_json: to.needs_json() };
            let sampling =
                Sampling { pipeline: &file.name, client: &client, from, shaper: &shaper };
            let mut lanes = Vec::new();
            for topic in &from.topics {
                lanes.extend(sampling.of_topic(topic, sample, &mut examination).await?);
            }
            let rows: Vec<Row> = lanes.iter().flat_map(|lane| lane.rows.iter().cloned()).collect();
            examination.findings.extend(to.check(&rows).await?);
            preview(&**to, &lanes, &mut examination);
        }
        Direction::In { from, to, .. } => {
            let client = dial.dial(&to.server()).await?;
            into_topic(&client, to, &mut examination).await?;
            examination.findings.extend(from.check().await?);
        }
    }
    Ok(examination)
}

/// Rows as they would be written, of the newest messages.
///
/// # Errors
/// [`Failure`] when the server could not be asked.
pub async fn dry_run(
    file: &PipelineFile,
    dial: &dyn Dial,
    sample: u32,
) -> Result<Examination, Failure> {
    let mut examination = Examination::default();
    let Direction::Out { from, to, .. } = &file.direction else {
        return Err(Failure::refused(
            "reading an origin changes it",
            "galgo connect check looks at it without; only pipelines from a topic have a dry run",
        ));
    };
    let transforms = Transforms::compile(&file.transforms);
    let transforms =
        transforms.map_err(|error| Failure::refused(error.to_string(), "correct the file"))?;
    let client = dial.dial(&from.server()).await?;
    let shaper = Shaper { format: from.format, transforms, needs_json: to.needs_json() };
    let sampling = Sampling { pipeline: &file.name, client: &client, from, shaper: &shaper };
    for topic in &from.topics {
        let lanes = sampling.of_topic(topic, sample, &mut examination).await?;
        preview(&**to, &lanes, &mut examination);
    }
    Ok(examination)
}

/// The rows of the newest messages of a lane.
struct SampledLane {
    lane: LaneName,
    rows: Vec<Row>,
}

/// Looks at messages as a lane would, from the end.
struct Sampling<'a> {
    pipeline: &'a str,
    client: &'a Client,
    from: &'a GalgoOrigin,
    shaper: &'a Shaper,
}

impl Sampling<'_> {
    /// The rows of the newest messages of a topic.
    async fn of_topic(
        &self,
        topic: &str,
        sample: u32,
        examination: &mut Examination,
    ) -> Result<Vec<SampledLane>, Failure> {
        let (stream, id) = (identifier("stream", &self.from.stream)?, identifier("topic", topic)?);
        let partitions = partitions_of(self.client, &stream, &id).await?;
        let path = format!("{stream}/{topic}");
        examination.findings.push(Finding::good(format!("topic {path}: {partitions} partitions")));
        let mut lanes = Vec::new();
        let (mut read, mut filtered) = (0, 0);
        let each = u64::from(sample.div_ceil(partitions.max(1)));
        for partition in 0..partitions {
            let reader = self.client.partition_reader(&stream, &id, partition);
            let mut log = GalgoLog::new(self.client.clone(), stream.clone(), id.clone(), reader);
            let messages = newest(&mut log, each).await?;
            let lane = LaneName {
                pipeline: self.pipeline.to_owned(),
                stream: self.from.stream.clone(),
                topic: topic.to_owned(),
                partition,
            };
            let shaped = self.shaper.shape(&lane, &messages).await;
            read += messages.len();
            let mut rows = Vec::new();
            for (message, shaped) in messages.into_iter().zip(shaped) {
                match shaped {
                    Ok(parts) if parts.is_empty() => filtered += 1,
                    Ok(parts) => rows.extend((0..).zip(parts).map(|(part, (form, payload))| Row {
                        place: Place { offset: message.offset, part },
                        id: message.id,
                        time: message.time,
                        origin_time: message.origin_time,
                        headers_block: message.headers_block.clone(),
                        form,
                        payload,
                    })),
                    Err(bad) => examination.findings.push(Finding::fault(
                        format!("message {} of {path}/{partition}: {bad}", message.offset),
                        "correct the transforms, or set errors.on_bad",
                    )),
                }
            }
            lanes.push(SampledLane { lane, rows });
        }
        let summary = format!(
            "of {read} messages {} rows are made, {filtered} messages are filtered",
            lanes.iter().map(|lane| lane.rows.len()).sum::<usize>()
        );
        examination.findings.push(Finding::good(summary));
        Ok(lanes)
    }
}

/// The newest messages of a partition.
async fn newest(log: &mut GalgoLog, count: u64) -> Result<Vec<LogMessage>, Failure> {
    let away = |end: ReadEnd| Failure::away(format!("the partition cannot be read: {end:?}"));
    let extent = log.extent().await.map_err(away)?;
    let begin = extent.end.saturating_sub(count).max(extent.start);
    let mut messages = Vec::new();
    log.seek(begin);
    while begin + (messages.len() as u64) < extent.end {
        messages.extend(log.next().await.map_err(away)?);
    }
    messages.retain(|message| message.offset < extent.end);
    Ok(messages)
}

fn preview(to: &dyn SinkSpec, lanes: &[SampledLane], examination: &mut Examination) {
    for SampledLane { lane, rows } in lanes {
        for row in rows {
            match to.preview(lane, row) {
                Ok(line) => examination.rows.push(line),
                Err(reason) => examination.findings.push(Finding::fault(
                    format!("message {} of {lane}: {reason}", row.place.offset),
                    "correct the file, or set errors.on_bad",
                )),
            }
        }
    }
}

/// Looks at the topic of a pipeline that writes one.
async fn into_topic(
    client: &Client,
    to: &crate::config::file::GalgoTopic,
    examination: &mut Examination,
) -> Result<(), Failure> {
    let (stream, topic) = (identifier("stream", &to.stream)?, identifier("topic", &to.topic)?);
    let path = format!("{stream}/{topic}");
    let found = client.topic_outline(&stream, &topic).await;
    let found = found.map_err(|error| crate::outbound::refused_or_away(&error))?;
    let findings = &mut examination.findings;
    match (found, &to.create) {
        (Some(outline), _) => {
            findings.push(Finding::good(format!(
                "topic {path}: {} partitions",
                outline.partitions_count
            )));
            if outline.settings.deduplication != Some(galgo::Deduplication::On) {
                findings.push(Finding::warning(
                    format!("topic {path} does not drop what comes a second time"),
                    format!("galgo topic set {stream} {topic} --deduplication on, or expect repeats after a kill"),
                ));
            }
        }
        (None, Some(_)) => findings.push(Finding::good(format!("topic {path} will be made"))),
        (None, None) => findings.push(Finding::fault(
            format!("there is no topic {path}"),
            "create it, or set create = { partitions = 1, deduplication = \"on\" } in [to.galgo]",
        )),
    }
    for (what, text) in [("key", &to.key), ("id", &to.id)] {
        if let Some(text) = text.as_deref().filter(|text| *text != "@message_id")
            && let Err(error) = Expression::compile(text)
        {
            findings.push(Finding::fault(format!("to.galgo.{what}: {error}"), "correct the file"));
        }
    }
    Ok(())
}
