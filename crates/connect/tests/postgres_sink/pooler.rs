//! A pooler of connections in between, which gives a session of the server away after each transaction.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use galgo_connect::LaneName;
use galgo_testkit::service::{Service, free_ports, listens, wait_until};

use crate::postgres::start;
use crate::rig::{batch, lane, numbered, row, sink_spec};
use crate::table::{NUMBERED, section};

/// Where it is not installed this is said.
const PGBOUNCER: &str = "/usr/sbin/pgbouncer";

fn pooler(folder: &Path, server: u16, port: u16) -> Service {
    let config = format!(
        "[databases]\npostgres = host=127.0.0.1 port={server} dbname=postgres user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 1\nunix_socket_dir =\n"
    );
    let file = folder.join("pgbouncer.ini");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(PGBOUNCER);
    if std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0) {
        command.args(["-u", "postgres"]);
    }
    let service = Service::start(command.arg(&file), &folder.join("log"));
    wait_until("the pooler listens", || listens(port));
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_share_one_session_of_the_server() {
    if !Path::new(PGBOUNCER).is_file() {
        eprintln!("skipped: pgbouncer is not installed");
        return;
    }
    let Some(server) = start(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let port = free_ports(1);
    let _pooler = pooler(folder.path(), server.port(), port);
    for (table, more) in [("added", ""), ("put", "mode = 'upsert'\nkey = ['n']\n")] {
        let text = section(&server, table, &format!("{more}{NUMBERED}"))
            .replace(&format!(":{}/", server.port()), &format!(":{port}/"));
        let spec = sink_spec("postgres", &text);
        server.sql("DROP TABLE IF EXISTS galgo_positions");
        spec.prepare().await.unwrap();
        let lanes = (0..4).map(|partition| {
            let mut sink = spec.sink();
            let lane = LaneName { partition, ..lane() };
            tokio::spawn(async move {
                sink.position(&lane).await.unwrap();
                let begin = u64::from(partition) * 1_000;
                for offset in (begin..begin + 300).step_by(10) {
                    let rows = numbered(offset..offset + 10).rows().to_vec();
                    let from = if offset == begin { 0 } else { offset };
                    sink.write(&lane, &batch(from..offset + 10, rows)).await.unwrap();
                }
            })
        });
        for lane in lanes.collect::<Vec<_>>() {
            lane.await.unwrap();
        }
        assert_eq!(
            server.sql(&format!("SELECT count(*), count(DISTINCT n) FROM {table}")),
            "1200|1200"
        );
        let findings = spec.check(&[row(9, r#"{"n":90000}"#)]).await.unwrap();
        assert!(findings.iter().all(|it| it.advice.is_none()), "{findings:?}");
    }
}
