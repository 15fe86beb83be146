//! Faults of people and data: poison, tables that change, topics that are purged or made again, passwords that are wrong.

use rusqlite::Connection;

use crate::galgo::{Rig, message, wait_for};
use crate::target::{PostgresTable, SqliteFile, Target, assert_once};
use crate::{MARK, PARTITIONS};

use galgo_testkit::service::postgres::Postgres;

/// Messages of each partition.
const NUMBERS: u64 = 300;

/// The messages of a partition with others at these places.
fn lines_with(lane: u32, poison: &[PoisonAt<'_>]) -> String {
    (0..NUMBERS)
        .map(|number| match poison.iter().find(|it| it.number == number) {
            Some(PoisonAt { text, .. }) => format!("{text}\n"),
            None => message(lane, number) + "\n",
        })
        .collect()
}

/// A message that is no row.
struct PoisonAt<'a> {
    number: u64,
    text: &'a str,
}

fn poison() -> Vec<PoisonAt<'static>> {
    let texts = [
        r#"{"lane":1,"number":MARKED"#,
        r#"{"lane":null,"number":1,"text":"null where none may be"}"#,
        r#"{"lane":"mark-5e1f0c","number":1,"text":"a text for a number"}"#,
        r#"{"lane":1,"number":1,"text":"NUL \u0000 mark-5e1f0c"}"#,
    ];
    // First, in the middle, next to each other, and last.
    let places = [0, 150, 151, NUMBERS - 1];
    places.into_iter().zip(texts).map(|(number, text)| PoisonAt { number, text }).collect()
}

/// The tables that tests of faults are run against.
fn tables(folder: &std::path::Path) -> Vec<Box<dyn Target>> {
    let mut all: Vec<Box<dyn Target>> = vec![Box::new(SqliteFile(folder.join("orders.db")))];
    let sub = folder.join("postgres");
    std::fs::create_dir(&sub).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    all.extend(Postgres::start(&sub, &[]).map(|it| Box::new(PostgresTable(it)) as Box<dyn Target>));
    all
}

#[test]
fn poison_goes_to_the_dead_letters_once_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    for target in tables(folder.path()) {
        let rig = Rig::start();
        let section = format!(
            "{}\n[errors]\non_bad = \"dead-letter\"\ndead_letter = \"shop/dead\"\n",
            target.section()
        );
        let file = rig.pipeline("orders", &section);
        rig.send_lines(0, &lines_with(0, &poison()));
        for lane in 1..PARTITIONS {
            rig.send_lines(lane, &lines_with(lane, &[]));
        }
        rig.run_once(&file).assert_well();
        let rows = target.rows();
        let lost = poison().len() as u64;
        assert_eq!(rows.len() as u64, NUMBERS * u64::from(PARTITIONS) - lost, "{section}");
        let dead = rig.does(&[
            "poll",
            "shop",
            "dead",
            "--partition",
            "0",
            "--count",
            "100",
            "--output",
            "json",
        ]);
        assert_eq!(dead.matches("galgo.dead.reason").count() as u64, lost, "{dead}");
        rig.assert_mute();
    }
}

#[test]
fn a_lane_that_is_paused_names_the_place_and_goes_on_when_the_table_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    for target in tables(folder.path()) {
        let rig = Rig::start();
        let file = rig.pipeline("orders", &target.section());
        rig.send(0..NUMBERS);
        rig.run_once(&file).assert_well();
        let sqlite = target.section().contains("sqlite");
        // Somebody takes a column away while it runs, and gives it back.
        let say = |statement: &str| match sqlite {
            true => Connection::open(folder.path().join("orders.db"))
                .unwrap()
                .execute_batch(statement)
                .unwrap(),
            false => drop(postgres_says(&*target, statement)),
        };
        let mut running = rig.run(&file, &[]);
        rig.send(NUMBERS..NUMBERS + 1);
        wait_for("it runs", || {
            let now = target.rows().len() as u64;
            (now == (NUMBERS + 1) * u64::from(PARTITIONS)).then_some(())
        });
        say("ALTER TABLE orders RENAME COLUMN text TO txt");
        rig.send(NUMBERS + 1..NUMBERS * 2);
        wait_for("it says that a column is missing", || {
            running.said().contains("text").then_some(())
        });
        say("ALTER TABLE orders RENAME COLUMN txt TO text");
        wait_for("it goes on by itself", || {
            (target.rows().len() as u64 == NUMBERS * 2 * u64::from(PARTITIONS)).then_some(())
        });
        assert!(running.is_running());
        assert_once("mended", target.rows(), 0..NUMBERS * 2);
        rig.assert_mute();
    }
}

fn postgres_says(target: &dyn Target, statement: &str) -> String {
    let section = target.section();
    let url = section.lines().find_map(|line| line.strip_prefix("url = ")).unwrap();
    let port = url.rsplit(':').next().unwrap().split('/').next().unwrap();
    let mut psql = std::process::Command::new("psql");
    psql.args(["-X", "-q", "-h", "127.0.0.1", "-U", "postgres", "-p", port, "-c", statement]);
    let said = psql.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn a_topic_that_is_purged_or_made_again_is_never_passed_over_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let target = SqliteFile(folder.path().join("orders.db"));
    let rig = Rig::start();
    let file = rig.pipeline("orders", &target.section());
    rig.send(0..NUMBERS);
    rig.run_once(&file).assert_well();
    rig.does(&["topic", "purge", "shop", "orders", "--yes"]);
    rig.send(0..10);
    let purged = rig.run_once(&file);
    assert_eq!(purged.status.code(), Some(5), "{}", purged.log);
    assert!(purged.log.contains("purged"), "{}", purged.log);
    rig.does(&["topic", "delete", "shop", "orders", "--yes"]);
    rig.make_topic();
    rig.send(0..10);
    let anew = rig.run_once(&file);
    assert_eq!(anew.status.code(), Some(5), "{}", anew.log);
    assert!(anew.log.contains("made again") || anew.log.contains("anew"), "{}", anew.log);
    assert_once("nothing more", target.rows(), 0..NUMBERS);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("session_timeout", "on_new_topic = \"restart\"\nsession_timeout"),
    )
    .unwrap();
    rig.run_once(&file).assert_well();
    assert_eq!(target.rows().len() as u64, (NUMBERS + 10) * u64::from(PARTITIONS));
}

#[test]
fn partitions_that_are_added_are_delivered_too() {
    let folder = tempfile::tempdir().unwrap();
    let target = SqliteFile(folder.path().join("orders.db"));
    let rig = Rig::start();
    let file = rig.pipeline("orders", &target.section());
    let mut running = rig.run(&file, &[]);
    rig.send(0..NUMBERS);
    rig.does(&["partition", "create", "shop", "orders", "--count", "1"]);
    rig.send_lines(
        PARTITIONS,
        &(0..NUMBERS).map(|it| message(PARTITIONS, it) + "\n").collect::<String>(),
    );
    wait_for("the new partition is delivered", || {
        (target.rows().len() as u64 == NUMBERS * u64::from(PARTITIONS + 1)).then_some(())
    });
    assert!(running.is_running());
}

#[test]
fn a_wrong_password_ends_a_start_and_a_changed_file_heals_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = Postgres::start(folder.path(), &[]) else { return };
    server.sql(
        "CREATE ROLE writer LOGIN PASSWORD 'right-word'; GRANT ALL ON SCHEMA public TO writer",
    );
    let rules = server.data().join("pg_hba.conf");
    let trust = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("host all writer 127.0.0.1/32 scram-sha-256\n{trust}")).unwrap();
    server.sql("SELECT pg_reload_conf()");
    let rig = Rig::start();
    let secret = rig.path().join("secret");
    let url = server.url().replace("postgres@", "writer@");
    let section = format!(
        "[to.postgres]\nurl = \"{url}\"\npassword = {{ file = \"{}\" }}\ntable = \"orders\"\n",
        secret.display()
    );
    let file = rig.pipeline("orders", &section);
    std::fs::write(&secret, MARK).unwrap();
    let refused = rig.run_once(&file);
    assert_eq!(refused.status.code(), Some(4), "{}", refused.log);
    assert!(refused.log.contains("password"), "{}", refused.log);

    std::fs::write(&secret, "right-word").unwrap();
    let mut running = rig.run(&file, &[]);
    let count = || {
        let said = server.psql("SELECT count(*) FROM orders");
        String::from_utf8(said.stdout).unwrap().trim().parse::<u64>().unwrap_or_default()
    };
    rig.send(0..NUMBERS);
    wait_for("all is delivered", || (count() == NUMBERS * u64::from(PARTITIONS)).then_some(()));
    // The password changes, and connections are cut; the file follows later.
    server.sql("ALTER ROLE writer PASSWORD 'mark-5e1f0c-new'");
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'writer'");
    rig.send(NUMBERS..NUMBERS * 2);
    wait_for("it says that the password is wrong", || {
        running.said().contains("password").then_some(())
    });
    std::fs::write(&secret, "mark-5e1f0c-new").unwrap();
    wait_for("it heals", || (count() == NUMBERS * 2 * u64::from(PARTITIONS)).then_some(()));
    assert!(running.is_running());
    rig.assert_mute();
}

#[test]
fn a_check_and_a_dry_run_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = Postgres::start(folder.path(), &[]) else { return };
    let target = PostgresTable(server);
    let rig = Rig::start();
    rig.send(0..NUMBERS);
    let file = rig.pipeline("orders", &target.section());
    let name = file.to_str().unwrap();
    let before = target.0.dump();
    let groups = rig.does(&["group", "list", "shop", "orders"]);
    rig.does(&["connect", "check", name]);
    rig.does(&["connect", "run", "--dry-run", name]);
    assert_eq!(target.0.dump(), before);
    assert_eq!(rig.does(&["group", "list", "shop", "orders"]), groups);
    rig.run_once(&file).assert_well();
    assert_once("after", target.rows(), 0..NUMBERS);
    let before = target.0.dump();
    rig.does(&["connect", "check", name]);
    assert_eq!(target.0.dump(), before, "galgo_positions neither");
}
