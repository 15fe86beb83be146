//! The snapshot: an archive to be saved, without secrets.

use serde_json::json;

use crate::server::{PASSWORD, TestServer};

fn holds(archive: &[u8], text: &str) -> bool {
    archive.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_snapshot_is_an_archive_to_be_saved() {
    let server = TestServer::start();
    let root = server.root();
    let answer = root.post(
        "/snapshot",
        &json!({"compression": "Stored", "snapshot_types": ["Test", "ServerConfig", "Test"]}),
    );
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type").unwrap(), "application/zip");
    let disposition = answer.header("content-disposition").unwrap();
    let name = disposition.strip_prefix("attachment; filename=\"iggy_snapshot_").unwrap();
    let (day, time) = name.strip_suffix(".zip\"").unwrap().split_once('_').unwrap();
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    assert!((day.len(), time.len()) == (8, 6) && digits(day) && digits(time), "{name}");
    assert!(answer.body.starts_with(b"PK\x03\x04"));
    for text in ["test.txt", "test\n", "server_config.txt", "address = "] {
        assert!(holds(&answer.body, text), "{text}");
    }
    assert!(!holds(&answer.body, PASSWORD), "no part holds a secret");
}

#[test]
fn a_snapshot_is_packed_as_asked() {
    let server = TestServer::start();
    let root = server.root();
    for compression in ["Stored", "Deflated", "Bzip2", "Zstd", "Lzma", "Xz"] {
        let body = json!({"compression": compression, "snapshot_types": ["Test"]});
        let answer = root.post("/snapshot", &body);
        assert_eq!(answer.status, 200, "{compression}");
        assert!(answer.body.starts_with(b"PK"), "{compression}");
    }
    let all = json!({"compression": "Stored", "snapshot_types": ["All"]});
    let all = root.post("/snapshot", &all).body;
    for part in ["filesystem_overview", "process_list", "resource_usage", "server_logs"] {
        assert!(holds(&all, part), "{part}");
    }
    assert!(!holds(&all, PASSWORD), "no part holds a secret");
    for body in [
        json!({"compression": "stored", "snapshot_types": ["Test"]}),
        json!({"compression": "Stored", "snapshot_types": ["test"]}),
        json!({"compression": "Stored"}),
        json!({"snapshot_types": ["Test"]}),
    ] {
        assert_eq!(root.post("/snapshot", &body).status, 422, "{body}");
    }
}
