//! Rows in a file of SQLite: all of them, once, whatever happens.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use galgo_connect::config::Surroundings;
use galgo_connect::conformance::{MARK, ReadBack, conformance};
use galgo_connect::{Batch, Failure, Form, LaneName, Place, Position, Row, SinkSpec, Weight, kind};
use rusqlite::Connection;
use rusqlite::types::Value;

fn spec(folder: &Path, section: &str) -> Box<dyn SinkSpec> {
    let kind = kind::sinks().iter().find(|kind| kind.name == "sqlite").unwrap();
    let around = Surroundings { pipeline: "conformance".to_owned(), folder: folder.to_owned() };
    (kind.read)(section.parse().unwrap(), &around).unwrap()
}

fn lane() -> LaneName {
    LaneName {
        pipeline: "conformance".to_owned(),
        stream: "shop".to_owned(),
        topic: "orders".to_owned(),
        partition: 0,
    }
}

fn batch(begin: u64, payloads: &[&[u8]]) -> Batch {
    let row = |(offset, payload): (u64, &&[u8])| Row {
        place: Place { offset, part: 0 },
        id: offset.into(),
        time: 1_700_000_000_000_000 + offset,
        origin_time: 0,
        headers_block: Bytes::new(),
        form: Form::Bytes,
        payload: Bytes::copy_from_slice(payload),
    };
    let rows: Vec<Row> = (begin..).zip(payloads).map(row).collect();
    let next = begin + rows.len() as u64;
    Batch::new(begin, Position { next, topic_made_at: 1, last_id: 2, last_time: 3 }, rows)
}

fn dump(folder: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(folder.join("a.db")).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let text = |row: &rusqlite::Row<'_>, index| match row.get_unwrap::<_, Value>(index) {
        Value::Text(text) => text,
        Value::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let line = |row: &rusqlite::Row<'_>| {
        Ok((0..columns).map(|index| text(row, index)).collect::<Vec<_>>().join("|"))
    };
    statement.query_map([], line).unwrap().map(Result::unwrap).collect()
}

struct Back<'a> {
    folder: &'a Path,
    sql: &'static str,
    poison: &'static str,
}

#[async_trait]
impl ReadBack for Back<'_> {
    async fn numbers(&self, lane: &LaneName) -> Result<Vec<u64>, String> {
        let connection = Connection::open(self.folder.join("a.db")).unwrap();
        let mut statement = connection.prepare(self.sql).map_err(|error| error.to_string())?;
        let rows = statement.query_map([lane.to_string()], |row| row.get::<_, i64>(0));
        Ok(rows.unwrap().map(|number| number.unwrap().unsigned_abs()).collect())
    }

    fn poison(&self, row: &Row) -> Option<Bytes> {
        let text = String::from_utf8(row.payload.to_vec()).unwrap();
        Some(Bytes::from(text.replace(&format!("\"{MARK}\""), self.poison)))
    }
}

const COLUMNS: &str = r#"
file = "a.db"
table = "numbers"
[columns]
lane = { from = ".lane", type = "text" }
number = { from = ".number", type = "integer" }
text = { from = ".text", type = "text", null = false }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_there_once_and_in_order_whenever_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    // A null that may not be.
    let sql = "SELECT number FROM numbers WHERE lane = ?1 ORDER BY rowid";
    let back = Back { folder: folder.path(), sql, poison: "null" };
    conformance(&*spec(folder.path(), COLUMNS), &back).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let upsert =
        COLUMNS.replace("[columns]", "mode = 'upsert'\nkey = ['lane', 'number']\n[columns]");
    let sql = "SELECT number FROM numbers WHERE lane = ?1 ORDER BY number";
    // A NUL.
    let back = Back { folder: folder.path(), sql, poison: "\"\\u0000\"" };
    conformance(&*spec(folder.path(), &upsert), &back).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_envelope_takes_what_is_no_json() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path(), "file = 'a.db'\ntable = 'raw'\npayload = 'blob'");
    spec.prepare().await.unwrap();
    let mut sink = spec.sink();
    assert_eq!(sink.position(&lane()).await, Ok(None));
    sink.write(&lane(), &batch(5, &[b"\xff\x00", b""])).await.unwrap();
    let sql = "SELECT \"offset\", part, id, headers, hex(payload), time FROM raw ORDER BY 1";
    assert_eq!(
        dump(folder.path(), sql),
        [
            "5|0|00000000-0000-0000-0000-000000000005|{}|FF00|2023-11-14T22:13:20.000005Z",
            "6|0|00000000-0000-0000-0000-000000000006|{}||2023-11-14T22:13:20.000006Z"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_follows_changes_and_an_older_row_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mirror = "file = 'a.db'\ntable = 'people'\nmode = 'mirror'\nkey = ['id']\nnewer = 'version'\n[columns]\n\
        id = { from = '.id', type = 'integer' }\nname = { from = '.name', type = 'text', null = false }\n\
        version = { from = '.v', type = 'integer' }";
    let spec = spec(folder.path(), mirror);
    spec.prepare().await.unwrap();
    let mut sink = spec.sink();
    sink.position(&lane()).await.unwrap();
    let changes: [&[u8]; 6] = [
        br#"{"op":"c","after":{"id":1,"name":"one","v":1}}"#,
        br#"{"op":"c","after":{"id":2,"name":"two","v":5}}"#,
        br#"{"op":"u","after":{"id":1,"v":2},"unchanged":["name"]}"#,
        br#"{"op":"u","after":{"id":2,"name":"old","v":4}}"#,
        br#"{"op":"c","after":{"id":3,"name":"three","v":1}}"#,
        br#"{"op":"d","before":{"id":3}}"#,
    ];
    sink.write(&lane(), &batch(0, &changes)).await.unwrap();
    let people = dump(folder.path(), "SELECT id, name, version FROM people ORDER BY 1");
    assert_eq!(people, ["1|one|2", "2|two|5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_what_is_wrong_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let section = COLUMNS.replace("[columns]", "mode = 'upsert'\nkey = ['number']\n[columns]");
    let checked = spec(folder.path(), &section);
    let good: &[u8] = br#"{"lane":"x","number":1,"text":"t"}"#;
    let bad: &[u8] = br#"{"number":"secret-word","text":"t"}"#;
    let sample = batch(3, &[good, bad]);
    let findings = checked.check(sample.rows()).await.unwrap();
    assert!(!folder.path().join("a.db").exists(), "a check makes no file");
    let texts: Vec<_> = findings.iter().map(|finding| finding.text.as_str()).collect();
    let named = "offset 4 is not taken: a value is of the wrong type";
    assert!(texts.iter().any(|text| text.contains(named)), "{texts:?}");
    assert!(texts.iter().all(|text| !text.contains("secret-word")), "INV-MUTE: {texts:?}");

    let connection = Connection::open(folder.path().join("a.db")).unwrap();
    let table = "CREATE TABLE numbers (number INTEGER, lane VARCHAR(9), extra TEXT NOT NULL)";
    connection.execute_batch(table).unwrap();
    let schema = || dump(folder.path(), "SELECT sql FROM sqlite_master");
    let before = schema();
    let findings = checked.check(sample.rows()).await.unwrap();
    let faults: Vec<_> = findings
        .iter()
        .filter(|finding| finding.weight == Weight::Fault)
        .map(|finding| finding.text.as_str())
        .collect();
    assert_eq!(
        faults,
        [
            "table numbers: column text is missing",
            "table numbers: column extra may not be null, has no default, and the file gives it no value",
            "table numbers: no primary key and no unique index is over (number)"
        ]
    );
    let retyped = "table numbers: column lane is VARCHAR(9), and the file says text";
    assert!(findings.iter().any(|finding| finding.text == retyped), "{findings:?}");
    let refused = checked.prepare().await.unwrap_err();
    assert!(refused.to_string().contains("ADD COLUMN \"text\" text"), "{refused}");
    assert_eq!(schema(), before, "neither a check nor what does not start makes anything");

    let table = "DROP TABLE numbers; CREATE TABLE numbers (number INTEGER PRIMARY KEY, lane TEXT)";
    connection.execute_batch(table).unwrap();
    spec(folder.path(), &section.replace("mode", "evolve = 'add'\nmode")).prepare().await.unwrap();
    let added = "SELECT name, \"notnull\" FROM pragma_table_info('numbers') WHERE cid = 2";
    assert_eq!(dump(folder.path(), added), ["text|0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_table_of_one_name_and_a_lane_without_its_row_are_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let one = spec(folder.path(), "file = 'a.db'\ntable = 'one'");
    one.prepare().await.unwrap();
    let mut sink = one.sink();
    sink.position(&lane()).await.unwrap();
    sink.write(&lane(), &batch(0, &[b"{}"])).await.unwrap();
    let other = spec(folder.path(), "file = 'a.db'\ntable = 'other'");
    other.prepare().await.unwrap();
    let refused = other.sink().position(&lane()).await.unwrap_err();
    assert!(refused.to_string().contains("to table one, and this file says other"), "{refused}");

    // The file is put back to what it was before the lane began: nothing may be delivered as if it were the first.
    dump(folder.path(), "DELETE FROM galgo_positions RETURNING 1");
    let written = sink.write(&lane(), &batch(1, &[b"{}"])).await;
    assert_eq!(written, Err(Failure::Moved), "INV-ONE-STEP");
    assert_eq!(sink.position(&lane()).await, Ok(None));
    let elsewhere = Position { next: 9, ..Position::default() };
    sink.set_position(&lane(), &elsewhere).await.unwrap();
    assert_eq!(sink.position(&lane()).await, Ok(Some(elsewhere)));
    assert_eq!(one.cleanup().await.unwrap(), ["1 rows of galgo_positions"]);
    assert_eq!(sink.position(&lane()).await, Ok(None));
}
