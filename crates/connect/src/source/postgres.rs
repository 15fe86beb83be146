//! Changes of the rows of a PostgreSQL, in the order of their commits.
//!
//! The server keeps a replication slot for the pipeline; what is settled it may forget. At the begin the tables are copied. Each
//! change is a message of JSON with an id of its place, so that a topic that drops repeats has each of them once.
//!
//! `plan` decides how to begin, `copying` copies, `assembly` makes messages of what comes out of the slot, `stream` keeps the
//! server patient, `session` speaks to it, `pgoutput` decodes, `care` looks after the slot.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use toml::Table;

use crate::config::value::Span;
use crate::config::{ConfigError, Surroundings, settings};
use crate::failure::{Failure, Finding};
use crate::kind::SourceKind;
use crate::postgres::NAME_BYTES_MAX;
use crate::postgres::address::PgAddress;
use crate::postgres::session::{PgLogin, PgSession};
use crate::secret::SecretSource;
use crate::sink::Promise;
use crate::source::{Source, SourceSpec};
use choice::TableChoice;
use plan::Copying;
use reader::ChangeReader;

mod assembly;
mod begin;
mod bookmark;
mod care;
mod catalog;
mod change;
mod check;
mod choice;
mod copying;
mod ground;
mod lsn;
mod pgoutput;
mod plan;
mod publication;
mod reader;
mod slot;
mod stream;
mod value;
mod visible;

pub(crate) const KIND: SourceKind = SourceKind {
    name: "postgres",
    promise: "each change once into a topic with deduplication: its id is its place in the database's log",
    example: EXAMPLE,
    read,
};

const EXAMPLE: &str = r#"[from.postgres]
# The primary. sslmode: disable, prefer (default), require, verify-full. The role needs REPLICATION, and SELECT on the tables.
url = "postgres://replicator@127.0.0.1:5432/shop"
# { env = "NAME" } or { file = "PATH" }; read again at each connection.
password = { env = "PGPASSWORD" }
# Whom to trust, instead of the public authorities; then the certificate is verified with any sslmode.
# ca_file = "ca.pem"
# "schema.*": all tables of a schema.
tables = ["public.orders", "public.customers"]
# Made by `run` and removed by `cleanup`, with the slot; galgo_ and the name of the pipeline if they are not named.
# publication = "galgo_shop"
# slot = "galgo_shop"
# false: publication and slot are there already; somebody else made them.
create = true
# once: the tables are copied when the pipeline is new. never: changes only. again: as once, and also when changes are missing.
snapshot = "once"
# A word in the database's log when nothing else is written, so that it can forget what came before; "0s": none.
heartbeat = "10s"
# For each answer of the server.
timeout = "30s"
"#;

/// How values are written, and that nothing but us ends a session: the same in each of them.
const SESSION: [(&str, &str); 14] = [
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("xmlbinary", "base64"),
    // Names of tables and functions among the values come with their schema then.
    ("search_path", "pg_catalog"),
    // A copy that a policy would leave rows out of is refused instead.
    ("row_security", "off"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("synchronize_seqscans", "off"),
    ("max_parallel_workers_per_gather", "0"),
];
const HEARTBEAT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PostgresSettings {
    url: String,
    password: Option<SecretSource>,
    ca_file: Option<PathBuf>,
    tables: Vec<String>,
    publication: Option<String>,
    slot: Option<String>,
    #[serde(default = "yes")]
    create: bool,
    #[serde(default)]
    snapshot: Copying,
    heartbeat: Option<Span>,
    timeout: Option<Span>,
}

fn yes() -> bool {
    true
}

/// A database whose changes are read, as the file says.
#[derive(Clone, Debug)]
struct ChangeOrigin {
    login: PgLogin,
    choice: TableChoice,
    publication: String,
    slot: String,
    /// Whether publication and slot are made and removed by us.
    creates: bool,
    copying: Copying,
    heartbeat: Option<Duration>,
}

/// Reads the section.
///
/// # Errors
/// What is wrong in it.
fn read(table: Table, surroundings: &Surroundings) -> Result<Box<dyn SourceSpec>, ConfigError> {
    const SECTION: &str = "from.postgres";
    let settings: PostgresSettings = settings(SECTION, table)?;
    let origin = origin(settings, surroundings)
        .map_err(|what| ConfigError { at: format!("[{SECTION}]"), what })?;
    Ok(Box::new(PostgresChanges { origin: Arc::new(origin) }))
}

fn origin(settings: PostgresSettings, surroundings: &Surroundings) -> Result<ChangeOrigin, String> {
    let pipeline = &surroundings.pipeline;
    let made_name = format!("galgo_{}", plain_name(pipeline));
    let name = |key: &str, name: Option<String>| {
        let name = name.unwrap_or_else(|| made_name.clone());
        let plain =
            |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        match name.len() <= NAME_BYTES_MAX && !name.is_empty() && name.chars().all(plain) {
            true => Ok(name),
            false => Err(format!(
                "{key}: a name has at most {NAME_BYTES_MAX} small letters, digits and underscores"
            )),
        }
    };
    let patience = settings.timeout.map_or(TIMEOUT, |span| span.0);
    let heartbeat = Some(settings.heartbeat.map_or(HEARTBEAT, |span| span.0));
    let heartbeat = heartbeat.filter(|every| !every.is_zero());
    if [Some(patience), heartbeat].iter().flatten().any(|time| *time < Duration::from_secs(1)) {
        return Err(
            "timeout and heartbeat are at least 1s; heartbeat may be 0s, which is none".to_owned()
        );
    }
    let letters = pipeline.chars().map(|it| if it.is_ascii_graphic() { it } else { '_' });
    let application: String = "galgo:".chars().chain(letters).take(NAME_BYTES_MAX).collect();
    Ok(ChangeOrigin {
        login: PgLogin {
            address: PgAddress::parse(&settings.url)?,
            password: settings.password,
            ca_file: settings.ca_file.map(|path| surroundings.path(&path)),
            application,
            settings: &SESSION,
            patience,
        },
        choice: TableChoice::parse(&settings.tables)?,
        publication: name("publication", settings.publication)?,
        slot: name("slot", settings.slot)?,
        creates: settings.create,
        copying: settings.snapshot,
        heartbeat,
    })
}

/// A name of a pipeline as it may be in the name of a slot. One that had to be changed by more than its dashes is told apart from
/// others by a number.
fn plain_name(pipeline: &str) -> String {
    let letter = |letter: char| match letter {
        'a'..='z' | '0'..='9' | '_' => letter,
        _ => '_',
    };
    let plain: String = pipeline.chars().map(letter).take(40).collect();
    match pipeline.replace('-', "_") == plain {
        true => plain,
        false => {
            let number = twox_hash::XxHash3_64::oneshot(pipeline.as_bytes());
            format!("{plain}_{:08x}", number >> 32)
        }
    }
}

impl ChangeOrigin {
    async fn sql(&self) -> Result<PgSession, Failure> {
        let doing = format!("log in as {}", self.login.address);
        PgSession::sql(&self.login).await.map_err(|error| error.failure(&doing))
    }

    async fn replication(&self) -> Result<PgSession, Failure> {
        let doing = format!("log in as {} for replication", self.login.address);
        PgSession::replication(&self.login).await.map_err(|error| error.failure(&doing))
    }
}

/// The kind.
#[derive(Debug)]
struct PostgresChanges {
    origin: Arc<ChangeOrigin>,
}

#[async_trait]
impl SourceSpec for PostgresChanges {
    fn promise(&self) -> Promise {
        Promise::ExactlyOnce
    }

    fn keeps_cursor(&self) -> bool {
        true
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(ChangeReader::new(self.origin.clone()))
    }

    async fn check(&self) -> Result<Vec<Finding>, Failure> {
        check::check(&self.origin).await
    }

    async fn cleanup(&self) -> Result<Vec<String>, Failure> {
        publication::cleanup(&self.origin).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(pipeline: &str) -> Surroundings {
        Surroundings { pipeline: pipeline.to_owned(), folder: "/etc/galgo".into() }
    }

    fn section(text: &str) -> Table {
        let mut file: Table = text.parse().unwrap();
        let toml::Value::Table(mut from) = file.remove("from").unwrap() else { panic!() };
        let toml::Value::Table(section) = from.remove("postgres").unwrap() else { panic!() };
        section
    }

    fn parsed(more: &str) -> Result<ChangeOrigin, String> {
        let text = format!("url = 'postgres://a@b/c'\ntables = ['t']\n{more}");
        let settings = settings("from.postgres", text.parse().unwrap());
        origin(settings.map_err(|error| error.to_string())?, &surroundings("shop-changes"))
    }

    #[test]
    fn the_example_is_read_with_every_key() {
        read(section(EXAMPLE), &surroundings("shop")).unwrap();
        let every = EXAMPLE.replace("# ca_file", "ca_file").replace("# publication", "publication");
        let table = section(&every.replace("# slot", "slot"));
        let keys: Vec<&str> = table.keys().map(String::as_str).collect();
        assert_eq!(keys.len(), 10, "{keys:?}");
        read(table, &surroundings("shop")).unwrap();
    }

    #[test]
    fn names_come_from_the_pipeline() {
        let origin = parsed("").unwrap();
        assert_eq!(
            (origin.slot.as_str(), origin.publication.as_str()),
            ("galgo_shop_changes", "galgo_shop_changes")
        );
        assert_eq!(origin.login.application, "galgo:shop-changes");
        assert_eq!(parsed("slot = 'mine'").unwrap().slot, "mine");
        assert_ne!(plain_name("Shop"), plain_name("shop"));
        assert_ne!(plain_name(&"a".repeat(80)), plain_name(&"a".repeat(81)));
        assert!(plain_name(&"ä".repeat(100)).len() + "galgo_".len() <= NAME_BYTES_MAX);
    }

    #[test]
    fn times_are_read() {
        let origin = parsed("heartbeat = '0s'\ntimeout = '5s'").unwrap();
        assert_eq!((origin.heartbeat, origin.login.patience), (None, Duration::from_secs(5)));
        assert_eq!(parsed("").unwrap().heartbeat, Some(HEARTBEAT));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("slot = 'Bad-name'", "slot: a name has"),
            ("timeout = '1ms'", "at least 1s"),
            ("heartbeat = 'often'", "is no time"),
            ("snapshot = 'twice'", "unknown variant `twice`"),
            ("tabels = []", "did you mean \"tables\"?"),
        ] {
            let fault = parsed(text).unwrap_err();
            assert!(fault.contains(expected), "{fault}");
        }
    }
}
