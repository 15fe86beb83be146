//! Starting: what is refused, how it is said, and what is left behind.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;

use galgo_server::{Environment, ServeError, Server, ServerOptions};

use crate::server::{TestServer, start};
use crate::wire::{PING, Wire};

#[test]
fn a_second_server_on_the_same_directory_is_told_who_has_it() {
    let server = TestServer::start();
    let error = start(&server.data_dir(), &[]).unwrap_err();
    assert!(matches!(error, ServeError::DataDirLocked { .. }), "{error}");
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    assert_eq!(error.exit_code(), 4);
    server.login().assert_in_step();
}

#[test]
fn a_port_in_use_is_named_and_the_directory_stays_usable() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = start(dir.path(), &[("GALGO_TCP_ADDRESS", &address)]).unwrap_err();
    assert!(matches!(error, ServeError::AddressInUse { .. }), "{error}");
    assert!(error.to_string().contains(&address), "{error}");
    assert_eq!(error.exit_code(), 3);
    assert!(!dir.path().join("runtime/current_config.toml").exists());
    drop(taken);
    start(dir.path(), &[("GALGO_TCP_ADDRESS", &address)]).unwrap().stop().unwrap();
}

#[test]
fn the_setting_of_a_taken_port_is_named_for_every_listener() {
    let on = [("GALGO_QUIC_ENABLED", "true"), ("GALGO_WEBSOCKET_ENABLED", "true")];
    let first = TestServer::with(&on);
    let (quic, websocket) = (first.running().quic_address(), first.running().websocket_address());
    let text = fs::read_to_string(first.data_dir().join("runtime/current_config.toml")).unwrap();
    for (address, setting) in [(quic, "GALGO_QUIC_ADDRESS"), (websocket, "GALGO_WEBSOCKET_ADDRESS")]
    {
        let address = address.unwrap().to_string();
        assert!(text.contains(&format!("address = \"{address}\"")), "{text}");
        assert!(first.running().ready_line().contains(&address));
        let dir = tempfile::tempdir().unwrap();
        let settings = [on[0], on[1], (setting, address.as_str())];
        let error = start(&dir.path().join("data"), &settings).unwrap_err();
        assert!(matches!(error, ServeError::AddressInUse { .. }), "{error}");
        assert!(error.to_string().contains(setting), "{error}");
    }
}

#[test]
fn two_servers_may_not_share_a_port_unless_asked_to() {
    let first = TestServer::with(&[("GALGO_TCP_REUSE_PORT", "true")]);
    let address = first.address().to_string();
    let dir = tempfile::tempdir().unwrap();
    let taken = [("GALGO_TCP_ADDRESS", address.as_str())];
    let error = start(&dir.path().join("a"), &taken).unwrap_err();
    assert!(matches!(error, ServeError::AddressInUse { .. }), "{error}");
    let shared = [taken[0], ("GALGO_TCP_REUSE_PORT", "true")];
    start(&dir.path().join("b"), &shared).unwrap().stop().unwrap();
}

#[test]
fn an_address_of_another_machine_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for listener in ["TCP", "QUIC", "WEBSOCKET"] {
        let (enabled, at) =
            (format!("GALGO_{listener}_ENABLED"), format!("GALGO_{listener}_ADDRESS"));
        let settings = [(enabled.as_str(), "true"), (at.as_str(), "192.0.2.1:8090")];
        let error = start(dir.path(), &settings).unwrap_err();
        assert!(matches!(error, ServeError::Listen { .. }), "{error}");
    }
}

#[test]
fn a_data_directory_that_can_not_be_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "precious").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = start(&path, &[]).unwrap_err();
        assert_eq!(error.exit_code(), 1, "{error}");
        assert!(error.to_string().contains("file"), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn a_directory_of_something_else_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "precious").unwrap();
    fs::create_dir(dir.path().join("runtime")).unwrap();
    fs::write(dir.path().join("runtime/notes"), "precious").unwrap();
    let error = start(dir.path(), &[]).unwrap_err();
    assert!(matches!(error, ServeError::DataDirRefused { .. }), "{error}");
    assert_eq!(fs::read_to_string(dir.path().join("thesis.txt")).unwrap(), "precious");
    assert_eq!(fs::read_to_string(dir.path().join("runtime/notes")).unwrap(), "precious");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_directory_of_a_newer_version_is_refused_and_left_as_it_is() {
    let mut server = TestServer::start();
    server.stop();
    let path = server.data_dir().join("identity");
    let mut identity = fs::read(&path).unwrap();
    // The version follows the eight bytes that say what the file is; a checksum is at the end.
    identity[8] = 99;
    let end = identity.len() - 4;
    let crc = crc32(&identity[..end]).to_le_bytes();
    identity[end..].copy_from_slice(&crc);
    fs::write(&path, &identity).unwrap();
    let error = start(&server.data_dir(), &[]).unwrap_err();
    assert!(matches!(error, ServeError::DataDirRefused { .. }), "{error}");
    assert!(error.to_string().contains("99"), "{error}");
    assert_eq!(error.exit_code(), 4);
    assert_eq!(fs::read(&path).unwrap(), identity);
}

/// The checksum of zip files.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes
        .iter()
        .fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[test]
fn a_directory_that_can_not_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    fs::create_dir(&data_dir).unwrap();
    fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(data_dir.join("probe"), "").is_ok() {
        // A user whom modes do not bind; the other refusals are tested with a file in the way.
        return;
    }
    let error = start(&data_dir, &[]).unwrap_err();
    assert!(matches!(error, ServeError::Permission { .. }), "{error}");
}

/// INV-READY.
#[test]
fn the_runtime_file_holds_the_effective_configuration_with_the_bound_address() {
    let mut server = TestServer::with(&[("GALGO_LIMITS_PIPELINE", "77")]);
    let path = server.data_dir().join("runtime/current_config.toml");
    let text = fs::read_to_string(&path).unwrap();
    let config: toml::Table = text.parse().unwrap();
    let address: SocketAddr = config["tcp"]["address"].as_str().unwrap().parse().unwrap();
    assert_eq!(address, server.address());
    assert_ne!(address.port(), 0);
    assert_eq!(config["limits"]["pipeline"].as_integer(), Some(77));
    assert!(!text.contains(crate::server::PASSWORD));
    Wire::connect(address).assert_in_step();

    fs::write(server.data_dir().join("runtime/stale"), "of an earlier run").unwrap();
    server.stop();
    server.restart();
    assert!(!server.data_dir().join("runtime/stale").exists());
    let config: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    assert_eq!(config["tcp"]["address"].as_str(), Some(server.address().to_string().as_str()));
}

#[test]
fn the_runtime_file_is_itself_a_configuration_file() {
    let server = TestServer::with(&[("GALGO_STORAGE_DURABILITY", "os")]);
    let written = server.data_dir().join("runtime/current_config.toml");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("galgo.toml");
    fs::copy(&written, &file).unwrap();
    let data_dir = dir.path().join("data");
    let variables = [
        ("GALGO_CONFIG", file.to_str().unwrap()),
        ("GALGO_DATA_DIR", data_dir.to_str().unwrap()),
        ("GALGO_TCP_ADDRESS", "127.0.0.1:0"),
        ("GALGO_ROOT_USERNAME", "root"),
        ("GALGO_ROOT_PASSWORD", "root"),
    ];
    let environment: Environment = variables.into_iter().collect();
    let other = Server::start(ServerOptions::default(), environment).unwrap();
    let text = fs::read_to_string(data_dir.join("runtime/current_config.toml")).unwrap();
    assert!(text.contains("durability = \"os\""));
    other.stop().unwrap();
}

#[test]
fn a_config_that_can_not_be_used_stops_the_start_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    for variables in [
        [("GALGO_CONFIG", "/nowhere/galgo.toml")],
        [("GALGO_TCP_ADDRESS", "everywhere")],
        [("GALGO_ROOT_PASSWORD", "")],
    ] {
        let error = start(&data_dir, &variables).unwrap_err();
        assert!(matches!(error, ServeError::Config(_)), "{error}");
        assert_eq!(error.exit_code(), 2);
        assert!(!data_dir.exists());
    }
}

#[test]
fn the_root_user_of_the_first_start_stays() {
    let mut server = TestServer::start();
    server.stop();
    let changed = [("GALGO_ROOT_USERNAME", "other"), ("GALGO_ROOT_PASSWORD", "other")];
    let second = start(&server.data_dir(), &changed).unwrap();
    let mut wire = Wire::connect(second.tcp_address().unwrap());
    assert_eq!(wire.login("other", "other"), 42);
    assert_eq!(wire.login(crate::server::USERNAME, crate::server::PASSWORD), 0);
    assert_eq!(wire.status(PING, &[]), 0);
    second.stop().unwrap();
}
