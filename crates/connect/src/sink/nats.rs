//! Messages to subjects of NATS.
//!
//! With JetStream, each message waits for its acknowledgement by the stream; all of a batch are on their way together. Part of
//! INV-PLACE-KEY, for which see `place`: `Nats-Msg-Id` is the key of the place, by which a stream drops what comes again within its window.

mod publish;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use toml::Table;

use self::publish::is_subject;
use crate::batch::{Batch, Row};
use crate::bridge::carry::{HeaderRule, LeftOut, leaving, leaving_envelope};
use crate::bridge::confirmed::Confirmed;
use crate::bridge::route::MessageRoute;
use crate::bridge::{STEP_LIMIT, sample_lane};
use crate::config::value::Span;
use crate::config::{ConfigError, Surroundings, settings};
use crate::failure::{Failure, Finding};
use crate::headers::to_json;
use crate::kind::SinkKind;
use crate::nats::headers;
use crate::nats::link::{NatsAccess, NatsLink};
use crate::place::{LaneName, Position};
use crate::secret::SecretSource;
use crate::sink::{Promise, Sink, SinkSpec};

/// The kind.
pub(crate) const KIND: SinkKind = SinkKind {
    name: "nats",
    promise: "acknowledged by a JetStream stream, which drops what comes again within its window by Nats-Msg-Id",
    example: EXAMPLE,
    read,
};

const SECTION: &str = "to.nats";

const EXAMPLE: &str = r#"[to.nats]
# nats://USER@HOST:PORT, or tls:// with TLS.
url = "nats://bridge@nats.internal:4222"
# The password, or a token in place of user and password: { env = "NAME" } or { file = "PATH" }; read again at each connection.
password = { env = "NATS_PASSWORD" }
# token = { file = "nats-token" }
# The certificate of the authority that vouches for the server, for tls://; without it those that browsers trust.
# ca_file = "nats-ca.pem"
# A subject, or what makes one of each message: a program in jq, .field, @topic.
subject = '"shop.orders.\(.country)"'
# false: no stream has to take the messages. What nobody listens to is lost then.
jetstream = true
# "drop-long": headers are headers; "envelope": the payload becomes JSON with headers and payload.
headers = "drop-long"
# How long NATS may take to acknowledge a message.
timeout = "30s"
# Connections that all partitions share.
connections = 4
"#;

/// What the section says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NatsTargetSettings {
    url: String,
    password: Option<SecretSource>,
    token: Option<SecretSource>,
    ca_file: Option<PathBuf>,
    subject: MessageRoute,
    #[serde(default = "is_default")]
    jetstream: bool,
    #[serde(default)]
    headers: HeaderRule,
    timeout: Option<Span>,
    connections: Option<usize>,
}

fn is_default() -> bool {
    true
}

/// Subjects of a server.
#[derive(Debug)]
struct NatsTarget {
    access: NatsAccess,
    pipeline: String,
    subject: MessageRoute,
    jetstream: bool,
    headers: HeaderRule,
    connections: usize,
    confirmed: Confirmed,
    left_out: LeftOut,
}

fn read(table: Table, surroundings: &Surroundings) -> Result<Box<dyn SinkSpec>, ConfigError> {
    let fault = |what: String| ConfigError { at: format!("[{SECTION}]"), what };
    let settings: NatsTargetSettings = settings(SECTION, table)?;
    if settings.subject.fixed().is_some_and(|subject| !is_subject(subject)) {
        let what = "subject is no subject to publish to: words of visible letters with points between them, none of them * or >";
        return Err(fault(what.to_owned()));
    }
    if settings.connections == Some(0) {
        return Err(fault("connections is at least 1".to_owned()));
    }
    let pipeline = surroundings.pipeline.clone();
    Ok(Box::new(NatsSpec(Arc::new(NatsTarget {
        access: NatsAccess {
            address: NatsAccess::address(&settings.url).map_err(fault)?,
            password: settings.password,
            token: settings.token,
            ca_file: settings.ca_file.map(|path| surroundings.path(&path)),
            name: format!("galgo:{pipeline}"),
            limit: settings.timeout.map_or(STEP_LIMIT, |span| span.0),
        },
        pipeline,
        subject: settings.subject,
        jetstream: settings.jetstream,
        headers: settings.headers,
        connections: settings.connections.unwrap_or(4),
        confirmed: Confirmed::default(),
        left_out: LeftOut::default(),
    }))))
}

/// A message as it is published.
struct NatsPublication {
    subject: String,
    headers: async_nats::HeaderMap,
    payload: bytes::Bytes,
}

impl NatsTarget {
    /// A row as it is published.
    ///
    /// # Errors
    /// What is wrong with it, without its values.
    fn publication(
        &self,
        lane: &LaneName,
        row: &Row,
        subject: Result<String, String>,
    ) -> Result<NatsPublication, String> {
        let subject = subject?;
        if !is_subject(&subject) {
            return Err(format!("{} does not give a subject to publish to", self.subject));
        }
        let user_headers =
            leaving(lane, row).map_err(|error| format!("its headers cannot be read: {error}"))?;
        let (headers, left_out) = headers::leaving(&user_headers, &lane.key(row.place));
        let payload = match self.headers {
            HeaderRule::Envelope => leaving_envelope(row, &user_headers),
            HeaderRule::DropLong => {
                self.left_out.add(left_out, &self.pipeline);
                row.payload.clone()
            }
        };
        Ok(NatsPublication { subject, headers, payload })
    }

    /// Looks for the stream that takes the subject, if that is the same for all messages.
    async fn find(&self, link: &NatsLink) -> Result<String, Failure> {
        if !self.jetstream {
            return Ok("no stream is needed".to_owned());
        }
        let Some(subject) = self.subject.fixed() else {
            link.find_jetstream().await?;
            return Ok("JetStream is there".to_owned());
        };
        match link.find_stream(subject).await? {
            Some(stream) => Ok(format!("stream \"{stream}\" takes subject \"{subject}\"")),
            None => Err(link.refused(
                &format!("no stream takes subject \"{subject}\""),
                "make a stream with that subject: nats stream add; or jetstream = false if what nobody listens to may be lost",
            )),
        }
    }
}

struct NatsSpec(Arc<NatsTarget>);

#[async_trait]
impl SinkSpec for NatsSpec {
    fn promise(&self) -> Promise {
        match self.0.jetstream {
            true => Promise::Idempotent,
            false => Promise::AtLeastOnce,
        }
    }

    fn needs_json(&self) -> bool {
        self.0.subject.needs_json()
    }

    fn connections(&self) -> usize {
        self.0.connections
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(NatsSink { target: self.0.clone(), link: None })
    }

    async fn prepare(&self) -> Result<(), Failure> {
        let link = self.0.access.connect().await?;
        self.0.find(&link).await.map(drop)
    }

    async fn check(&self, sample: &[Row]) -> Result<Vec<Finding>, Failure> {
        let target = &self.0;
        let link = match target.access.connect().await {
            Ok(link) => link,
            Err(Failure::Refused { reason, advice }) => {
                return Ok(vec![Finding::fault(reason, advice)]);
            }
            Err(failure) => return Err(failure),
        };
        let mut findings = vec![match target.find(&link).await {
            Ok(found) => Finding::good(found),
            Err(Failure::Refused { reason, advice }) => Finding::fault(reason, advice),
            Err(failure) => return Err(failure),
        }];
        if !target.jetstream {
            findings.push(Finding::warning(
                "jetstream = false: what nobody listens to when it is sent is lost",
                "leave it out, and have a stream take the subject",
            ));
        }
        let lane = sample_lane(&target.pipeline);
        let subjects = target.subject.of_all(&lane, sample).await;
        let mut wrongs = Vec::new();
        for (row, subject) in sample.iter().zip(subjects) {
            match target.publication(&lane, row, subject) {
                Err(reason) => wrongs.push(reason),
                Ok(publication) if target.jetstream => {
                    if link.find_stream(&publication.subject).await?.is_none() {
                        wrongs.push(format!("no stream takes the subject of {}", target.subject));
                    }
                }
                Ok(_) => {}
            }
        }
        findings.push(match wrongs.first() {
            None => Finding::good(format!("{} rows have a subject", sample.len())),
            Some(first) => Finding::fault(
                format!("{} of {} rows cannot be sent: {first}", wrongs.len(), sample.len()),
                "correct subject, have a stream take it, or set errors.on_bad",
            ),
        });
        Ok(findings)
    }

    fn preview(&self, lane: &LaneName, row: &Row) -> Result<String, String> {
        let target = &self.0;
        let sent = target.publication(lane, row, target.subject.of(lane, row))?;
        let headers = row.headers().map_err(|error| error.to_string())?;
        let payload = String::from_utf8_lossy(&sent.payload);
        Ok(format!("subject \"{}\", headers {}: {payload}", sent.subject, to_json(&headers)))
    }
}

/// A connection, opened when it is needed.
struct NatsSink {
    target: Arc<NatsTarget>,
    link: Option<NatsLink>,
}

#[async_trait]
impl Sink for NatsSink {
    async fn position(&mut self, _: &LaneName) -> Result<Option<Position>, Failure> {
        Ok(None)
    }

    async fn write(&mut self, lane: &LaneName, batch: &Batch) -> Result<(), Failure> {
        let link = match self.link.take().filter(NatsLink::is_open) {
            Some(link) => link,
            None => self.target.access.connect().await?,
        };
        let result = self.target.deliver(&link, lane, batch).await;
        // What is not known to have come is sent again on a new connection.
        if !matches!(result, Err(Failure::Away { .. } | Failure::Refused { .. })) {
            self.link = Some(link);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::row;

    fn read_text(text: &str) -> Result<Box<dyn SinkSpec>, ConfigError> {
        let whole: Table = text.parse().unwrap();
        let section = whole["to"]["nats"].as_table().unwrap().clone();
        read(section, &Surroundings { pipeline: "p".into(), folder: PathBuf::new() })
    }

    #[test]
    fn the_example_is_read_and_a_wrong_section_says_why() {
        let spec = read_text(EXAMPLE).unwrap();
        assert_eq!(spec.promise(), Promise::Idempotent);
        assert!(spec.needs_json());
        let fault = |text: &str| read_text(text).err().unwrap().to_string();
        let base = "[to.nats]\nurl = 'nats://h'\nsubject = ";
        assert!(fault(&format!("{base}'a..b'")).contains("no subject to publish to"));
        assert!(fault(&format!("{base}'\"a.*\"'")).contains("no subject to publish to"));
        assert!(fault(&format!("{base}'a'\njet_stream = true")).contains("mean \"jetstream\""));
        assert!(fault("[to.nats]\nurl = 'nats://h/x'\nsubject = 'a'").contains("has a path"));
    }

    #[test]
    fn a_subject_that_is_none_is_a_bad_message() {
        let spec = read_text("[to.nats]\nurl = 'nats://h'\nsubject = '.n'").unwrap();
        let mut row = row(1, 0);
        row.form = crate::batch::Form::Json;
        row.payload = bytes::Bytes::from_static(b"{\"n\":\"MARK *\"}");
        let text = |text: &str| text.to_owned();
        let lane =
            LaneName { pipeline: text("p"), stream: text("s"), topic: text("t"), partition: 0 };
        let reason = spec.preview(&lane, &row).unwrap_err();
        assert_eq!(reason, ".n does not give a subject to publish to", "INV-MUTE");
    }
}
