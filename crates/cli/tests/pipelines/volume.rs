//! Much: every message arrives, and memory stays where it was.

use rusqlite::Connection;

use crate::galgo::{Rig, wait_for};
use crate::target::{Target, assert_once, assert_order, exactly_once};
use crate::{PARTITIONS, messages};

/// Memory a connector may have, however much there is to deliver.
const MEMORY_MAX: u64 = 96 << 20;

#[test]
fn all_of_a_topic_is_delivered_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start();
    let numbers = 0..messages() / u64::from(PARTITIONS);
    rig.send(numbers.clone());
    for (at, target) in exactly_once(folder.path()).into_iter().enumerate() {
        let section = target.section();
        let name = section.lines().next().unwrap_or_default().to_owned();
        let file = rig.pipeline(&format!("volume-{at}"), &section);
        let begun = std::time::Instant::now();
        let mut connector = rig.run(&file, &["--once"]);
        let mut peak = 0;
        wait_for("a run ends", || {
            peak = peak.max(connector.memory_peak());
            (!connector.is_running()).then_some(())
        });
        let status = connector.wait();
        assert!(status.success(), "{name}: {status} {}", connector.said());
        let rate = messages() as f64 / begun.elapsed().as_secs_f64();
        println!("{name}: {rate:.0} messages/s, {} MiB at most", peak >> 20);
        assert!(peak < MEMORY_MAX, "{name}: {peak} bytes");
        let rows = target.rows();
        assert_order(&name, &rows);
        assert_once(&name, rows, numbers.clone());
    }
    rig.assert_mute();
}

/// The database is put back to what it was at half time: it is complete again without a command.
#[test]
fn a_target_that_is_restored_from_a_copy_is_complete_again() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start();
    let half = messages() / u64::from(PARTITIONS) / 2;
    let target = crate::target::SqliteFile(folder.path().join("orders.db"));
    let file = rig.pipeline("restored", &target.section());
    rig.send(0..half);
    rig.run_once(&file).assert_well();
    let copy = folder.path().join("copy.db");
    let connection = Connection::open(&target.0).unwrap();
    connection.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    drop(connection);
    rig.send(half..half * 2);
    rig.run_once(&file).assert_well();
    assert_once("before", target.rows(), 0..half * 2);
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.path().join(format!("orders.db{end}")));
    }
    std::fs::rename(&copy, &target.0).unwrap();
    assert_once("restored", target.rows(), 0..half);
    rig.run_once(&file).assert_well();
    assert_once("filled", target.rows(), 0..half * 2);
}
