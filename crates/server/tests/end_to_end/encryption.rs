//! Encryption at rest as an operator sees it: keys from a file, a start without them, no key on show.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use galgo_server::ServeError;

use crate::server::{PASSWORD, TestServer, USERNAME, start};
use crate::wire::{Wire, create_topic, poll_payload, polled, send_payload};

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const SEND: u32 = 101;
const POLL: u32 = 100;

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn messages_are_sealed_with_the_key_of_a_file_and_read_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    fs::write(&keys, format!("# of this test\n1:{KEY}\n")).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    let data_dir = dir.path().join("data");
    let settings = [
        ("GALGO_ENCRYPTION_ENABLED", "true"),
        ("GALGO_ENCRYPTION_KEYS_FILE", keys.to_str().unwrap()),
    ];
    for run in 0..2 {
        let server = start(&data_dir, &settings).unwrap();
        let mut wire = Wire::connect(server.tcp_address().unwrap());
        assert_eq!(wire.login(USERNAME, PASSWORD), 0);
        if run == 0 {
            create_topic(&mut wire, 1);
            assert_eq!(wire.status(SEND, &send_payload(&[b"MARIGOLD", b"MARIGOLD too"])), 0);
        }
        let (status, answer) = wire.call(POLL, &poll_payload(0, 10));
        assert_eq!((status, polled(&answer).len()), (0, 2));
        assert!(answer.windows(8).any(|part| part == b"MARIGOLD"));
        server.stop().unwrap();
    }
    // The runtime directory holds the configuration, whose defaults have such words too.
    for path in
        files(&data_dir).into_iter().filter(|path| !path.starts_with(data_dir.join("runtime")))
    {
        let bytes = fs::read(&path).unwrap();
        for secret in ["MARIGOLD", "argon2", USERNAME, KEY] {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{secret} is in {}", path.display());
        }
    }
    let error = start(&data_dir, &[]).unwrap_err();
    assert!(matches!(error, ServeError::KeyNeeded { .. }), "{error}");
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("key 1, which was not given"), "{error}");
}

/// It was read all the same, with a warning.
#[test]
fn a_file_of_keys_that_is_open_to_others_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    fs::write(&keys, format!("1:{KEY}\n")).unwrap();
    let settings = [
        ("GALGO_ENCRYPTION_ENABLED", "true"),
        ("GALGO_ENCRYPTION_KEYS_FILE", keys.to_str().unwrap()),
    ];
    for mode in [0o644, 0o640, 0o602] {
        fs::set_permissions(&keys, fs::Permissions::from_mode(mode)).unwrap();
        let error = start(&dir.path().join("data"), &settings).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let advice = format!("run chmod 600 {}", keys.display());
        assert!(error.to_string().ends_with(&advice), "{error}");
        assert!(!dir.path().join("data").exists());
    }
}

/// INV-SECRET.
#[test]
fn a_key_is_in_no_error_and_not_in_the_runtime_file() {
    let dir = tempfile::tempdir().unwrap();
    let short = format!("1:{}", &KEY[..20]);
    let bad = [("GALGO_ENCRYPTION_ENABLED", "true"), ("GALGO_ENCRYPTION_KEYS", short.as_str())];
    let error = start(&dir.path().join("data"), &bad).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(!format!("{error} {error:?}").contains("AQEB"), "{error}");
    let given = format!("1:{KEY}");
    let server = TestServer::with(&[
        ("GALGO_ENCRYPTION_ENABLED", "true"),
        ("GALGO_ENCRYPTION_KEYS", given.as_str()),
    ]);
    let shown = fs::read_to_string(server.data_dir().join("runtime/current_config.toml")).unwrap();
    assert!(shown.contains("[encryption]") && !shown.contains("AQEB"), "{shown}");
}
