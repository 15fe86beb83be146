//! Layers, messages and round trips of the configuration.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::table::{ConfigKey, keys};
use super::value::Value;
use super::*;
use crate::{Overrides, ServerOptions};
use galgo_wire::command::Durability;

fn from_file(text: &str) -> Result<Loaded, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("galgo.toml");
    fs::write(&path, text).unwrap();
    load(&ServerOptions { config_file: Some(path), ..Default::default() }, &Environment::default())
}

fn from_variables<const N: usize>(pairs: [(&str, &str); N]) -> Result<Loaded, ConfigError> {
    load(&ServerOptions::default(), &pairs.into_iter().collect())
}

fn message(result: Result<Loaded, ConfigError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn the_printed_reference_loads_to_exactly_the_defaults() {
    assert_eq!(from_file(&reference()).unwrap().config, Config::default());
    assert_eq!(from_file("").unwrap().config, Config::default());
}

/// INV-ONE-KEY.
#[test]
fn the_reference_documents_every_key_with_its_variable() {
    let text = reference();
    for key in keys() {
        let row = format!("\n# {}\n{} = ", key.variable(), key.name);
        assert!(text.contains(&row), "{} is missing", key.path());
        assert!(key.docs.iter().all(|line| line.starts_with(' ')), "{}", key.path());
    }
}

#[test]
fn every_default_reads_back_as_shown() {
    let mut config = Config::default();
    for key in keys() {
        let shown = (key.show)(&config);
        let value: toml::Table = format!("x = {shown}").parse().unwrap();
        let text = match &value["x"] {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        assert!((key.set)(&mut config, &text), "{} does not take {text}", key.path());
        assert_eq!(config, Config::default(), "{} changed", key.path());
    }
}

#[test]
fn no_two_keys_share_a_variable() {
    let names: HashSet<String> = keys().map(ConfigKey::variable).collect();
    assert_eq!(names.len(), keys().count());
    assert!(names.contains("GALGO_DATA_DIR"));
    assert!(names.contains("GALGO_TCP_ADDRESS"));
    assert!(names.contains("GALGO_LOG_LEVEL"));
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("galgo.toml");
    fs::write(&path, "data_dir = \"a\"\n[tcp]\naddress = \"127.0.0.1:1\"\nreuse_port = true\n")
        .unwrap();
    let environment =
        [("GALGO_TCP_ADDRESS", "127.0.0.1:2"), ("GALGO_DATA_DIR", "b")].into_iter().collect();
    let mut options = ServerOptions { config_file: Some(path.clone()), ..Default::default() };
    let read = |options: &ServerOptions| load(options, &environment).unwrap();

    let loaded = read(&options);
    assert_eq!(loaded.config.tcp.address.port(), 2);
    assert_eq!(loaded.config.general.data_dir, PathBuf::from("b"));
    assert!(loaded.config.tcp.reuse_port);
    assert_eq!(loaded.origins.origin("tcp.reuse_port"), KeyOrigin::File { path, line: 4 });

    options.overrides = Overrides {
        tcp: Some("127.0.0.1:3".to_owned()),
        data_dir: Some("c".into()),
        durability: Some("os".to_owned()),
        quic: Some("off".to_owned()),
        ..Default::default()
    };
    let loaded = read(&options);
    assert_eq!(loaded.config.tcp.address.port(), 3);
    assert_eq!(loaded.config.general.data_dir, PathBuf::from("c"));
    assert_eq!(loaded.config.topic.durability, Some(Durability::Os));
    assert_eq!(loaded.origins.origin("tcp.address"), KeyOrigin::Flag("--tcp"));
    assert!(loaded.config.tcp.enabled && !loaded.config.quic.enabled);
}

#[test]
fn the_file_can_be_named_by_a_variable_and_an_empty_variable_is_not_set() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("galgo.toml");
    fs::write(&path, "[log]\nlevel = \"debug\"\n").unwrap();
    let loaded =
        from_variables([("GALGO_CONFIG", path.to_str().unwrap()), ("GALGO_LOG_LEVEL", "")])
            .unwrap();
    assert_eq!(&*loaded.config.log.level, "debug");
    assert_eq!(loaded.file, Some(path));
}

#[test]
fn an_unknown_key_is_refused_with_file_line_and_the_nearest_key() {
    let text = message(from_file("\n[tcp]\nadress = \"127.0.0.1:1\"\n"));
    assert!(text.contains("galgo.toml, line 3: unknown key \"tcp.adress\""), "{text}");
    assert!(text.contains("did you mean \"tcp.address\"?"), "{text}");

    let text = message(from_file("datadir = \"x\"\n"));
    assert!(text.contains("did you mean \"data_dir\"?"), "{text}");

    let text = message(from_file("[zzzz]\nqqqq = 1\n"));
    assert!(text.contains("unknown section [zzzz]; `galgo server --print-config`"), "{text}");
}

/// `[storag]` with a key `x` in it was taken for `storage.index_interval`, a key of another name.
#[test]
fn an_unknown_section_is_refused_with_the_nearest_section() {
    let text = message(from_file("\n[storag]\nx = 1\n"));
    assert!(text.contains("line 2: unknown section [storag]; did you mean [storage]?"), "{text}");
    let text = message(from_file("[tcp.tsl]\nenabled = true\n"));
    assert!(text.contains("unknown section [tcp.tsl]; did you mean [tcp.tls]?"), "{text}");
    let text = message(from_file("[data_dir]\nx = 1\n"));
    assert!(text.contains("data_dir"), "{text}");
}

/// A level that is none was a warning, and the log went on at another level than was asked for.
#[test]
fn a_log_level_that_is_none_is_refused_like_any_bad_value() {
    for level in ["loud", "warning", "galgo_storage=loud", "info,=="] {
        let text = message(from_file(&format!("[log]\nlevel = \"{level}\"\n")));
        assert!(text.contains("log.level") && text.contains("\"info\""), "{level}: {text}");
    }
    for level in ["info", "WARN", "off", "info,galgo_storage=debug", "galgo_broker=trace"] {
        let loaded = from_file(&format!("[log]\nlevel = \"{level}\"\n")).unwrap();
        assert_eq!(&*loaded.config.log.level, level);
    }
}

#[test]
fn an_unknown_variable_is_reported_and_not_fatal() {
    let loaded = from_variables([
        ("GALGO_TCP_ADRESS", "x"),
        // Like every other only in the beginning.
        ("GALGO_BOGUS", "x"),
        ("GALGO_BIN", "x"),
        ("GALGO_SERVER", "galgo://h:1"),
        ("GALGO_ROOT_USERNAME", "root"),
        ("PATH", "/bin"),
    ])
    .unwrap();
    let expected = vec![
        ("GALGO_BIN".to_owned(), None),
        ("GALGO_BOGUS".to_owned(), None),
        ("GALGO_TCP_ADRESS".to_owned(), Some("GALGO_TCP_ADDRESS".to_owned())),
    ];
    assert_eq!(loaded.unknown_variables, expected);
}

#[test]
fn a_bad_value_names_key_value_expectation_and_origin() {
    let text = message(from_file("[tcp]\nenabled = \"yes\"\n"));
    assert!(text.starts_with("tcp.enabled = \"yes\" ("), "{text}");
    assert!(text.ends_with("galgo.toml, line 2): expected true or false"), "{text}");

    let text = message(from_file("[limits]\nconnections = [1, 2]\n"));
    assert!(text.contains("limits.connections = \"[1, 2]\""), "{text}");

    for (variable, value) in [
        ("GALGO_LIMITS_FRAME_TIMEOUT", "99ms"),
        ("GALGO_LIMITS_HANDSHAKE_TIMEOUT", "1ms"),
        ("GALGO_LIMITS_WRITE_TIMEOUT", "1us"),
        ("GALGO_LIMITS_LOGIN_TIMEOUT", "10ms"),
    ] {
        let text = message(from_variables([(variable, value)]));
        assert!(text.contains("a time from 100ms to"), "{text}");
    }
    let text = message(from_variables([("GALGO_LIMITS_FRAME_TIMEOUT", "soon")]));
    assert!(text.contains("environment variable GALGO_LIMITS_FRAME_TIMEOUT"), "{text}");
    assert!(text.contains("\"30s\""), "{text}");

    let overrides = Overrides { durability: Some("maybe".to_owned()), ..Default::default() };
    let options = ServerOptions { overrides, ..Default::default() };
    let text = message(load(&options, &Environment::default()));
    assert!(text.contains("(flag --durability): expected \"fsync\" or \"os\""), "{text}");
}

#[test]
fn a_secret_that_can_be_guessed_is_refused_and_not_shown() {
    let secret = |text: &str| from_variables([("GALGO_HTTP_JWT_ENCODING_SECRET", text)]);
    let text = message(secret("a short one"));
    assert!(text.contains("at least 32 random bytes") && !text.contains("a short one"), "{text}");
    assert!(secret("a text of thirty-two bytes or so").is_ok());
}

/// The password of `--dev` is well known: any page that may ask may log in.
#[test]
fn dev_mode_lets_no_page_of_another_origin_in() {
    let overrides = Overrides { dev: true, ..Default::default() };
    let options = ServerOptions { overrides, ..Default::default() };
    let environment = [("GALGO_HTTP_CORS_ALLOWED_ORIGINS", "*")].into_iter().collect();
    let loaded = load(&options, &environment).unwrap();
    assert!(loaded.origins_dropped);
    assert_eq!(&*loaded.config.http_cors.allowed_origins, "");
}

#[test]
fn a_value_out_of_range_is_refused_wherever_it_comes_from() {
    for (variable, value) in [
        ("GALGO_LIMITS_CONNECTIONS", "0"),
        ("GALGO_LIMITS_PIPELINE", "0"),
        ("GALGO_LIMITS_REQUEST_BYTES", "2 GiB"),
        ("GALGO_LIMITS_IN_FLIGHT_BYTES", "64 MiB"),
        ("GALGO_LIMITS_OPEN_FILES", "1"),
        ("GALGO_STORAGE_SEGMENT_BYTES", "3 GiB"),
        ("GALGO_STORAGE_INDEX_INTERVAL", "1"),
        ("GALGO_STORAGE_JOURNAL_FILES", "1"),
        ("GALGO_STORAGE_JOURNAL_FILE_BYTES", "4 KiB"),
        ("GALGO_STORAGE_JOURNAL_BATCH_BYTES", "31 MiB"),
    ] {
        let text = message(from_variables([(variable, value)]));
        assert!(text.contains(variable) && text.contains(value), "{text}");
    }
}

#[test]
fn a_file_that_is_not_there_or_not_toml_is_a_clear_error() {
    let options =
        ServerOptions { config_file: Some("/nowhere/galgo.toml".into()), ..Default::default() };
    let text = message(load(&options, &Environment::default()));
    assert!(text.starts_with("cannot read the configuration file /nowhere/galgo.toml"), "{text}");

    let text = message(from_file("[tcp]\naddress = \n"));
    assert!(text.contains("galgo.toml, line 2: not valid TOML"), "{text}");
    assert!(matches!(from_file("[tcp]\n[tcp]\n"), Err(ConfigError::Syntax { line: 2, .. })));
}

#[test]
fn dev_mode_refuses_addresses_other_machines_can_reach() {
    let overrides =
        Overrides { dev: true, tcp: Some("0.0.0.0:8090".to_owned()), ..Default::default() };
    let options = ServerOptions { overrides, ..Default::default() };
    let text = message(load(&options, &Environment::default()));
    assert!(text.contains("tcp.address is 0.0.0.0:8090 (flag --tcp)"), "{text}");
}

#[test]
fn sizes_and_times_are_read_in_every_common_form() {
    for (text, bytes) in [
        ("0", 0),
        ("512 B", 512),
        ("64 KiB", 64 << 10),
        ("64kib", 64 << 10),
        ("100 KB", 100_000),
        ("1 GiB", 1 << 30),
        ("1_000", 1000),
    ] {
        assert_eq!(ByteSize::parse(text), Some(ByteSize(bytes)), "{text}");
    }
    for text in ["", "GiB", "-1", "1.5.0 GiB", "1 XiB", "99999999999 TiB"] {
        assert_eq!(ByteSize::parse(text), None, "{text}");
    }
    assert_eq!(TimeSpan::parse("1m 30s"), Some(TimeSpan(Duration::from_secs(90))));
    assert_eq!(TimeSpan::parse("0s"), None);
    assert_eq!(TimeLimit::parse("never"), Some(TimeLimit(None)));
    assert_eq!(TimeLimit::parse("7days"), Some(TimeLimit(Some(Duration::from_secs(604_800)))));
    assert_eq!(ByteSize(100_000).show(), "\"100 KB\"");
    assert_eq!(ByteSize(3 << 20).show(), "\"3 MiB\"");
}

#[test]
fn what_topics_get_is_a_section_and_is_found_under_its_old_names_too() {
    let config = Config::default();
    assert!(reference().contains("durability = \"fsync\"\n"));
    assert!(reference().contains("segment_max_age = \"auto\"\n"));
    assert_eq!(config.topic, OptionChoices::of_servers());
    let topic = |variables: &[(&str, &str)]| {
        let environment = variables.iter().copied().collect();
        let loaded = load(&ServerOptions::default(), &environment).unwrap();
        assert_eq!(loaded.unknown_variables, []);
        loaded.config.topic
    };
    let old = topic(&[
        ("GALGO_STORAGE_DURABILITY", "os"),
        ("GALGO_DEDUPLICATION_ENABLED", "true"),
        ("GALGO_RETENTION_HOLD_FOR", "1h"),
    ]);
    let new = topic(&[
        ("GALGO_TOPIC_DURABILITY", "os"),
        ("GALGO_TOPIC_DEDUPLICATION", "on"),
        ("GALGO_TOPIC_RETENTION_HOLD_FOR", "60m"),
        ("GALGO_STORAGE_DURABILITY", "fsync"),
        ("GALGO_TOPIC_SEGMENT_MAX_AGE", "auto"),
    ]);
    assert_eq!(old, new);
    assert_eq!(old.durability, Some(Durability::Os));
    let file = "[storage]\ndurability = \"os\"\n[topic]\ndurability = \"fsync\"\n";
    assert_eq!(from_file(file).unwrap().config.topic.durability, Some(Durability::Fsync));
    let refused = message(from_file("[storage]\ndurability = \"raid\"\n"));
    assert!(refused.contains("storage.durability"), "{refused}");
    let refused = message(from_variables([("GALGO_TOPIC_SEGMENT_MAX_AGE", "old")]));
    assert!(refused.contains("or \"auto\""), "{refused}");
    let refused = from_variables([("GALGO_TOPIC_DURABILITY", "auto")]).unwrap_err();
    assert!(refused.to_string().contains("\"fsync\" or \"os\""), "{refused}");
}

#[test]
fn connections_and_segment_files_share_a_small_file_limit() {
    let config = Config::default();
    let (files, connections) = (open_files_for(&config, 1024), connections_for(&config, 1024));
    assert_eq!(files, 448);
    assert_eq!(connections, 448);
    assert_eq!(open_files_for(&config, 20_000), 13_872);
    assert_eq!(connections_for(&config, 20_000), 6_000);
    assert_eq!(connections_for(&config, 65_536), 10_000);
    assert_eq!(open_files_for(&config, 1 << 20), 65_536);
    assert_eq!(connections_for(&config, 1 << 20), 10_000);
    let (files, connections) = (open_files_for(&config, 68), connections_for(&config, 68));
    assert_eq!((files, connections), (8, 4), "most of the reserve stays one");
    assert_eq!((refusals_for(68), refusals_for(160), refusals_for(1024)), (2, 48, 64));
    let mut chosen = Config::default();
    chosen.limits.connections = 20_000;
    assert_eq!(connections_for(&chosen, 65_536), 20_000, "a chosen limit is honored");
}

#[test]
fn encryption_keys_are_in_nothing_that_is_shown_or_kept() {
    let key = "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let loaded = from_variables([("GALGO_ENCRYPTION_KEYS", key)]).unwrap();
    let shown = format!("{loaded:?} {}", effective(&loaded.config));
    assert!(!shown.contains("AQEB"), "{shown}");
    assert_eq!(loaded.config.encryption.keys.0, key);
}
