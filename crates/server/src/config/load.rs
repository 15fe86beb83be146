//! Reads the configuration from its four places, each winning over the one before it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use galgo_wire::options::TOPIC_OPTIONS;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, KeyOrigin};
use super::table::{ConfigKey, keys, variable_of};
use super::{Config, check};
use crate::ServerOptions;

/// Variables that begin with `GALGO_` and are not configuration keys: the root user, and what the
/// client commands of the same binary read.
const OTHER_VARIABLES: [&str; 9] = [
    "GALGO_ROOT_USERNAME",
    "GALGO_ROOT_PASSWORD",
    "GALGO_CONFIG",
    "GALGO_SERVER",
    "GALGO_USERNAME",
    "GALGO_PASSWORD",
    "GALGO_TOKEN",
    "GALGO_OUTPUT",
    "GALGO_PROFILE",
];

/// Keys that have another place by now, with it; the old names still work, and the new ones win.
const MOVED: [(&str, &str); 3] = [
    ("storage.durability", "topic.durability"),
    ("deduplication.enabled", "topic.deduplication"),
    ("retention.hold_for", "topic.retention_hold_for"),
];

/// How alike two names must be for one to be offered in place of the other (Jaro-Winkler).
const LIKENESS_MIN: f64 = 0.8;

/// The environment variables a server sees. Handed in, so that a test or an embedding program decides.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
}

impl Environment {
    /// The variables of this process; those that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        let pairs = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self { variables: pairs.collect() }
    }

    /// The value of a variable; an empty value counts as not set.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { variables: pairs.collect() }
    }
}

/// A checked configuration, with what is worth telling about how it came to be.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The configuration.
    pub(crate) config: Config,
    /// Where each key that is not at its default was set.
    pub(crate) origins: Origins,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    /// Whether pages of other origins were configured that may not come after all.
    pub(crate) origins_dropped: bool,
    /// Variables that look like keys but are none, with the nearest known variable.
    pub(crate) unknown_variables: Vec<(String, Option<String>)>,
}

/// Where each key that is not at its default was set.
#[derive(Debug, Default)]
pub(crate) struct Origins(HashMap<String, (KeyOrigin, String)>);

impl Origins {
    /// Every key that was set, and where.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &KeyOrigin)> {
        self.0.iter().map(|(key, (origin, _))| (key.as_str(), origin))
    }

    /// Where `key` (as `tcp.address`) was set, and the text it was set to.
    pub(crate) fn of(&self, key: &str) -> Option<&(KeyOrigin, String)> {
        self.0.get(key)
    }

    /// Where `key` (as `tcp.address`) was set.
    pub(crate) fn origin(&self, key: &str) -> KeyOrigin {
        self.of(key).map_or(KeyOrigin::Default, |(origin, _)| origin.clone())
    }
}

/// Loads the configuration `options` and `environment` describe, and checks it as a whole.
pub(crate) fn load(
    options: &ServerOptions,
    environment: &Environment,
) -> Result<Loaded, ConfigError> {
    let mut layers = Layers { config: Config::default(), origins: Origins::default() };
    let file =
        options.config_file.clone().or_else(|| environment.get("GALGO_CONFIG").map(PathBuf::from));
    if let Some(path) = &file {
        layers.file(path)?;
    }
    layers.variables(environment)?;
    layers.flags(options)?;
    check::ranges(&layers.config, &layers.origins)?;
    if options.overrides.dev {
        check::loopback_only(&layers.config, &layers.origins)?;
        // Any page could log in with the well-known password.
        layers.config.http_cors.allowed_origins.0.clear();
    }
    let origins_dropped =
        options.overrides.dev && layers.origins.of("http.cors.allowed_origins").is_some();
    Ok(Loaded {
        config: layers.config,
        origins: layers.origins,
        file,
        origins_dropped,
        unknown_variables: unknown_variables(environment),
    })
}

/// Whether a log in JSON is asked for, as far as that can be told of a configuration that may make no sense.
pub(crate) fn wants_json_log(options: &ServerOptions, environment: &Environment) -> bool {
    if let Some(format) = environment.get("GALGO_LOG_FORMAT") {
        return format == "json";
    }
    let file =
        options.config_file.clone().or_else(|| environment.get("GALGO_CONFIG").map(PathBuf::from));
    let Some(text) = file.and_then(|path| fs::read_to_string(path).ok()) else { return false };
    let Ok(document) = DeTable::parse(&text) else { return false };
    let log = document.get_ref().get("log").map(Spanned::get_ref);
    let Some(DeValue::Table(log)) = log else { return false };
    let format = log.get("format").map(Spanned::get_ref);
    matches!(format, Some(DeValue::String(format)) if format == "json")
}

/// The configuration while its layers are put on.
struct Layers {
    config: Config,
    origins: Origins,
}

impl Layers {
    fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let document = DeTable::parse(&text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line_of(&text, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        let file = File { path, text: &text };
        self.file_table(&file, "", document.get_ref())
    }

    /// Takes the keys of a table and of the tables in it; no key lies deeper than the table of a section.
    fn file_table(
        &mut self,
        file: &File<'_>,
        prefix: &str,
        table: &DeTable<'_>,
    ) -> Result<(), ConfigError> {
        for (name, value) in table {
            let path = format!("{prefix}{}", name.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) if is_section(&path) => {
                    self.file_table(file, &format!("{path}."), inner)?;
                }
                // Its keys are not looked at: what is like `storag.x` as a whole is some key of another section.
                DeValue::Table(_) if keys().all(|key| key.path() != path) => {
                    return Err(ConfigError::UnknownSection {
                        path: file.path.to_owned(),
                        line: line_of(file.text, name.span().start),
                        nearest: nearest(
                            &path,
                            super::SECTIONS.iter().map(|one| one.name.to_owned()),
                        ),
                        section: path,
                    });
                }
                _ => self.file_key(file, &path, name.span().start, value)?,
            }
        }
        Ok(())
    }

    fn file_key(
        &mut self,
        file: &File<'_>,
        path: &str,
        position: usize,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), ConfigError> {
        let line = line_of(file.text, position);
        let moved = MOVED.iter().find(|(old, _)| *old == path).map(|(_, new)| *new);
        if moved
            .is_some_and(|new| matches!(self.origins.of(new), Some((KeyOrigin::File { .. }, _))))
        {
            return Ok(());
        }
        let place = moved.unwrap_or(path);
        let Some(key) = keys().find(|key| key.path() == place) else {
            return Err(ConfigError::UnknownKey {
                path: file.path.to_owned(),
                line,
                key: path.to_owned(),
                nearest: nearest(path, keys().map(ConfigKey::path)),
            });
        };
        let origin = KeyOrigin::File { path: file.path.to_owned(), line };
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.as_str().to_owned(),
            DeValue::Boolean(flag) => flag.to_string(),
            // No key takes a table, a list, a fraction or a date; as text it would pass for a path.
            _ => {
                let written = file.text.get(value.span()).unwrap_or("a table").to_owned();
                return Err(bad_value(key, written, origin));
            }
        };
        self.set(key, &text, origin).map_err(|error| error.of_key(path))
    }

    fn variables(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        for key in keys() {
            let moved = MOVED.iter().filter(|(_, new)| *new == key.path());
            let old = moved.map(|(old, _)| variable_of(old));
            for name in old.chain([key.variable()]) {
                if let Some(value) = environment.get(&name) {
                    self.set(key, value, KeyOrigin::Variable(name))?;
                }
            }
        }
        Ok(())
    }

    fn flags(&mut self, options: &ServerOptions) -> Result<(), ConfigError> {
        let overrides = &options.overrides;
        let flags = [
            ("data_dir", "--data-dir", overrides.data_dir.as_deref().and_then(Path::to_str)),
            ("topic.durability", "--durability", overrides.durability.as_deref()),
        ];
        for (path, flag, value) in flags {
            let key = keys().find(|key| key.path() == path);
            if let (Some(key), Some(value)) = (key, value) {
                self.set(key, value, KeyOrigin::Flag(flag))?;
            }
        }
        let listeners = [
            (("tcp.address", "tcp.enabled"), "--tcp", &overrides.tcp),
            (("quic.address", "quic.enabled"), "--quic", &overrides.quic),
            (("websocket.address", "websocket.enabled"), "--websocket", &overrides.websocket),
            (("http.address", "http.enabled"), "--http", &overrides.http),
        ];
        for ((address, enabled), flag, value) in listeners {
            let settings = match value.as_deref() {
                None => continue,
                Some("off") => vec![(enabled, "false")],
                Some(value) => vec![(enabled, "true"), (address, value)],
            };
            for (path, value) in settings {
                if let Some(key) = keys().find(|key| key.path() == path) {
                    self.set(key, value, KeyOrigin::Flag(flag))?;
                }
            }
        }
        // A path need not be UTF-8 on the command line, unlike in a file.
        if let Some(data_dir) = &overrides.data_dir {
            self.config.general.data_dir.clone_from(data_dir);
        }
        Ok(())
    }

    fn set(&mut self, key: &ConfigKey, value: &str, origin: KeyOrigin) -> Result<(), ConfigError> {
        if !(key.set)(&mut self.config, value) {
            return Err(bad_value(key, value.to_owned(), origin));
        }
        // For messages; a secret is not kept a second time.
        let shown = if key.secret { "<redacted>" } else { value };
        self.origins.0.insert(key.path(), (origin, shown.to_owned()));
        Ok(())
    }
}

fn bad_value(key: &ConfigKey, value: String, origin: KeyOrigin) -> ConfigError {
    let is_derived = key.section == "topic"
        && TOPIC_OPTIONS.iter().any(|row| row.derived && row.key == key.name);
    let or_auto = if is_derived { ", or \"auto\"" } else { "" };
    let expected = format!("{}{or_auto}", key.expected);
    ConfigError::BadValue { key: key.path(), value, expected, origin }
}

/// Whether keys are in the table `path`, or in one below it.
fn is_section(path: &str) -> bool {
    super::SECTIONS.iter().any(|section| {
        let rest = section.name.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// A configuration file being read.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

fn unknown_variables(environment: &Environment) -> Vec<(String, Option<String>)> {
    let known: Vec<String> =
        keys().map(ConfigKey::variable).chain(OTHER_VARIABLES.map(str::to_owned)).collect();
    let moved = MOVED.map(|(old, _)| variable_of(old));
    let is_known = |name: &String| known.contains(name) || moved.contains(name);
    let mut unknown: Vec<_> = environment
        .variables
        .keys()
        .filter(|name| name.starts_with("GALGO_") && !is_known(name))
        .map(|name| (name.clone(), nearest_variable(name, &known)))
        .collect();
    unknown.sort();
    unknown
}

/// The known variable most like `name`. Only what is behind the prefix that all have is compared: it would
/// make any two of them alike.
fn nearest_variable(name: &str, known: &[String]) -> Option<String> {
    let own = |name: &str| name.trim_start_matches("GALGO_").to_owned();
    nearest(&own(name), known.iter().map(|name| own(name))).map(|found| format!("GALGO_{found}"))
}

/// The known name most like `name`, when one is alike enough to have been meant.
fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, &candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn line_of(text: &str, position: usize) -> usize {
    text.bytes().take(position).filter(|byte| *byte == b'\n').count() + 1
}
