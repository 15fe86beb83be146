//! What messages become in a table.

use bytes::Bytes;
use galgo::UserHeaders;
use galgo_connect::{Failure, Form, Place};
use galgo_testkit::service::postgres::Postgres;

use crate::postgres::start;
use crate::rig::{MARK, batch, lane, row, with_headers};
use crate::table::{deliver, payloads, spec};

fn headers(pairs: &[(&str, &str)]) -> UserHeaders {
    let mut headers = UserHeaders::new();
    for (name, value) in pairs {
        headers.insert(name.parse().unwrap(), value.parse().unwrap());
    }
    headers
}

#[tokio::test(flavor = "multi_thread")]
async fn the_envelope_takes_any_message() {
    let Some(server) = start(&["timezone=America/New_York"]) else { return };
    let mut two = row(6, r#"{"a":[1.10,12345678901234567890123]}"#);
    two.place.part = 1;
    let first = with_headers(row(5, r#""it\\'s\ta\ntext""#), &headers(&[("origin", "a\tb")]));
    let empty = row(7, "");
    let messages = batch(5..9, vec![first, row(6, "[]"), two, empty]);
    deliver(&*spec(&server, "public.raw", ""), &[messages]).await.unwrap();
    assert_eq!(
        server.sql(
            "SET TimeZone = 'UTC'; SELECT topic, partition, \"offset\", part, time, id, headers, payload FROM raw ORDER BY 3, 4"
        ),
        "orders|3|5|0|1970-01-01 00:00:01.000005+00|00000000-0000-0000-0000-000000000005|{\"origin\": \"a\\tb\"}|\"it\\\\'s\\ta\\ntext\"\n\
         orders|3|6|0|1970-01-01 00:00:01.000006+00|00000000-0000-0000-0000-000000000006|{}|[]\n\
         orders|3|6|1|1970-01-01 00:00:01.000006+00|00000000-0000-0000-0000-000000000006|{}|{\"a\": [1.10, 12345678901234567890123]}\n\
         orders|3|7|0|1970-01-01 00:00:01.000007+00|00000000-0000-0000-0000-000000000007|{}|"
    );
    assert_eq!(
        server.sql("SELECT pipeline, stream, topic, partition, next, topic_made_at, last_time, target FROM galgo_positions"),
        "bridge|shop|orders|3|9|7|9|public.raw"
    );

    let mut bytes = row(0, "");
    (bytes.payload, bytes.form) = (Bytes::from_static(b"\xff\x00\\\n\t"), Form::Bytes);
    let raw = spec(&server, "bytes", "payload = 'bytea'");
    // In one schema, the lane is at 9 already: this one is of another.
    server.sql("DELETE FROM galgo_positions");
    deliver(&*raw, &[batch(0..2, vec![bytes, row(1, "")])]).await.unwrap();
    assert_eq!(server.sql("SELECT payload FROM bytes ORDER BY \"offset\""), "\\xff005c0a09\n\\x");

    server.sql("DELETE FROM galgo_positions");
    let text = spec(&server, "texts", "payload = 'text'");
    deliver(&*text, &[payloads(0, &["\\N", "\\.", "a\\tb\tc", "{not json"])]).await.unwrap();
    assert_eq!(
        server.sql("SELECT payload FROM texts ORDER BY \"offset\""),
        "\\N\n\\.\na\\tb\tc\n{not json"
    );
}

const ARRAYS: &str = r#"
key = ['id']
[columns]
id = { from = '.id', type = 'int' }
texts = { from = '.texts', type = 'text[]' }
numbers = { from = '.numbers', type = 'numeric[]' }
documents = { from = '.documents', type = 'jsonb[]' }
ids = { from = '.ids', type = 'uuid[]' }
plain = { from = '.texts', type = 'jsonb' }
"#;

/// Each array, told as text by PostgreSQL.
fn arrays(server: &Postgres, table: &str) -> String {
    server.sql(&format!(
        "SELECT id, texts, numbers, documents, ids, plain, array_ndims(texts), texts[1] FROM {table} ORDER BY id"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn arrays_of_json_are_arrays_in_every_mode() {
    let Some(server) = start(&[]) else { return };
    let messages = [
        r#"{"id":1,"texts":["a,b","{c}","say \"x\" \\","","NULL",null," é\n"],"numbers":[1.10,null,12345678901234567890123],"documents":[{"a":"b,\"c"},[1,[2]],"x",null],"ids":["00000000-0000-0000-0000-000000000001"]}"#,
        r#"{"id":2,"texts":[["a","b"],[null,"d"]],"numbers":[],"documents":[]}"#,
        r#"{"id":3,"texts":"{told,\"as PostgreSQL\"}","numbers":null}"#,
        r#"{"id":4,"texts":[true,1.50,{"k":[1]}]}"#,
    ];
    let expected = "1|{\"a,b\",\"{c}\",\"say \\\"x\\\" \\\\\",\"\",\"NULL\",NULL,\" é\n\"}|{1.10,NULL,12345678901234567890123}|\
                    {\"{\\\"a\\\": \\\"b,\\\\\\\"c\\\"}\",\"[1, [2]]\",\"\\\"x\\\"\",NULL}|{00000000-0000-0000-0000-000000000001}|\
                    [\"a,b\", \"{c}\", \"say \\\"x\\\" \\\\\", \"\", \"NULL\", null, \" é\\n\"]|1|a,b\n\
                    2|{{a,b},{NULL,d}}|{}|{}||[[\"a\", \"b\"], [null, \"d\"]]|2|\n\
                    3|{told,\"as PostgreSQL\"}||||\"{told,\\\"as PostgreSQL\\\"}\"|1|told\n\
                    4|{true,1.50,\"{\\\"k\\\":[1]}\"}||||[true, 1.50, {\"k\": [1]}]|1|true";
    for mode in ["append", "upsert", "mirror"] {
        let spec = spec(&server, mode, &format!("mode = '{mode}'\n{ARRAYS}"));
        server.sql("DROP TABLE IF EXISTS galgo_positions");
        deliver(&*spec, &[payloads(0, &messages)]).await.unwrap();
        assert_eq!(arrays(&server, mode), expected, "{mode}");
        let unfit = [r#"{"id":5,"texts":[["a"],["b","MARKED-VALUE"]]}"#, r#"{"id":6}"#];
        let mut sink = spec.sink();
        let said = sink.write(&lane(), &payloads(4, &unfit)).await.unwrap_err();
        assert!(matches!(said, Failure::Bad { .. } | Failure::Batch { .. }), "{said}");
        assert!(!said.to_string().contains(MARK), "INV-MUTE: {said}");
    }
}

const PEOPLE: &str = "key = ['id']\n[columns]\nid = { from = '.id', type = 'int' }\n\
    name = { from = '.name', type = 'text', null = false }\nversion = { from = '.v', type = 'int' }\n\
    note = { from = '.note', type = 'varchar(5)' }";

fn people(server: &Postgres, table: &str) -> String {
    server.sql(&format!("SELECT id, name, version, note FROM {table} ORDER BY id"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_follows_changes() {
    let Some(server) = start(&[]) else { return };
    let mirror = spec(&server, "people", &format!("mode = 'mirror'\n{PEOPLE}"));
    let first = [
        r#"{"op":"c","before":null,"after":{"id":1,"name":"one","v":1,"note":"kept"}}"#,
        r#"{"op":"c","after":{"id":2,"name":"two","v":5}}"#,
        r#"{"op":"u","after":{"id":2,"name":"two","v":6,"note":"b"}}"#,
        r#"{"op":"u","after":{"id":2,"name":"zwei","v":7},"unchanged":["note"]}"#,
        r#"{"op":"r","after":{"id":3,"name":"three"}}"#,
        r#"{"op":"d","before":{"id":3},"after":null}"#,
        r#"{"op":"c","after":{"id":4,"name":"four","v":1,"note":"x"}}"#,
        r#"{"op":"d","before":{"id":4,"name":"four"}}"#,
        r#"{"op":"c","after":{"id":4,"name":"vier","v":2}}"#,
        r#"{"op":"d","before":{"id":99}}"#,
    ];
    let second = [
        r#"{"op":"u","after":{"id":1,"v":2},"unchanged":["name","note"]}"#,
        r#"{"op":"u","after":{"id":1,"name":"eins","v":3},"unchanged":["note"]}"#,
        r#"{"op":"u","after":{"id":4,"v":9,"note":"y"},"unchanged":["name"]}"#,
        r#"{"op":"d","before":{"id":2}}"#,
    ];
    deliver(&*mirror, &[payloads(0, &first)]).await.unwrap();
    assert_eq!(people(&server, "people"), "1|one|1|kept\n2|zwei|7|b\n4|vier|2|");
    let mut sink = mirror.sink();
    sink.write(&lane(), &payloads(10, &second)).await.unwrap();
    assert_eq!(people(&server, "people"), "1|eins|3|kept\n4|vier|9|y");
    // A row that is not there, of which nobody knows the name; and a key that is not told.
    for unfit in [
        r#"{"op":"u","after":{"id":7,"v":2},"unchanged":["name"]}"#,
        r#"{"op":"u","after":{"name":"MARKED-VALUE"},"unchanged":["id"]}"#,
        r#"{"op":"t"}"#,
    ] {
        let said = sink.write(&lane(), &payloads(14, &[unfit])).await.unwrap_err();
        assert!(matches!(said, Failure::Bad { .. } | Failure::Batch { .. }), "{said}");
        assert!(!said.to_string().contains(MARK), "INV-MUTE: {said}");
    }
    // Too long: refused as by a copy, not cut.
    let long = r#"{"op":"c","after":{"id":8,"name":"x","note":"longer"}}"#;
    let said = sink.write(&lane(), &payloads(14, &[long])).await.unwrap_err();
    assert!(said.to_string().contains("a text is too long (22001)"), "{said}");

    // An empty payload deletes, by the key the message was sent with.
    server.sql("DROP TABLE galgo_positions");
    let keyed = "mode = 'mirror'\nkey = ['k']\n[columns]\nk = { from = '@key', type = 'text' }\nv = { from = '.v', type = 'int' }";
    let keyed = spec(&server, "keyed", keyed);
    let of = |offset, key: &str, payload| {
        with_headers(row(offset, payload), &headers(&[("galgo.key", key)]))
    };
    let rows = vec![of(0, "a", r#"{"v":1}"#), of(1, "b", r#"{"v":2}"#), of(2, "a", "")];
    deliver(&*keyed, &[batch(0..3, rows)]).await.unwrap();
    assert_eq!(server.sql("SELECT k, v FROM keyed"), "b|2");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_row_changes_nothing() {
    let Some(server) = start(&[]) else { return };
    for mode in ["upsert", "mirror"] {
        server.sql("DROP TABLE IF EXISTS galgo_positions");
        let newer = spec(&server, mode, &format!("mode = '{mode}'\nnewer = 'version'\n{PEOPLE}"));
        let first = [
            r#"{"id":1,"name":"five","v":5}"#,
            r#"{"id":1,"name":"four","v":4}"#,
            r#"{"id":1,"name":"none"}"#,
            r#"{"id":2,"name":"none"}"#,
            r#"{"id":2,"name":"one","v":1}"#,
            r#"{"id":2,"name":"again","v":1}"#,
        ];
        let second = [
            r#"{"id":1,"name":"old","v":3}"#,
            r#"{"id":2,"name":"ten","v":10}"#,
            r#"{"id":2,"name":"nine","v":9}"#,
        ];
        let batches = [payloads(0, &first), payloads(6, &second)];
        deliver(&*newer, &batches[..1]).await.unwrap();
        assert_eq!(people(&server, mode), "1|five|5|\n2|again|1|");
        newer.sink().write(&lane(), &batches[1]).await.unwrap();
        assert_eq!(people(&server, mode), "1|five|5|\n2|ten|10|");
    }
    let third = [
        r#"{"op":"u","after":{"id":1,"name":"six","v":6},"unchanged":["note"]}"#,
        r#"{"op":"u","after":{"id":1,"name":"old","v":2},"unchanged":["note"]}"#,
        r#"{"op":"d","before":{"id":2}}"#,
        r#"{"op":"c","after":{"id":2,"name":"new","v":1}}"#,
    ];
    let mirror = spec(&server, "mirror", &format!("mode = 'mirror'\nnewer = 'version'\n{PEOPLE}"));
    mirror.sink().write(&lane(), &payloads(9, &third)).await.unwrap();
    assert_eq!(people(&server, "mirror"), "1|six|6|\n2|new|1|");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_one_value_are_one_key() {
    let Some(server) = start(&[]) else { return };
    let upsert = "mode = 'upsert'\nkey = ['k', 'at']\n[columns]\nk = { from = '.k', type = 'numeric' }\n\
        at = { from = '.at', type = 'timestamptz' }\nn = { from = '.n', type = 'int' }";
    let messages = [
        r#"{"k":1,"at":"2026-01-02T03:04:05Z","n":1}"#,
        r#"{"k":1.0,"at":"2026-01-02 04:04:05+01","n":2}"#,
        r#"{"k":1e0,"at":"2026-01-02 03:04:05","n":3}"#,
    ];
    deliver(&*spec(&server, "keys", upsert), &[payloads(0, &messages)]).await.unwrap();
    assert_eq!(server.sql("SELECT n FROM keys"), "3", "a time without a zone is one of UTC");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_is_bad_or_left_out_and_the_rest_is_kept() {
    let Some(server) = start(&[]) else { return };
    let columns = "rest = 'doc'\n[columns]\na = { from = '.a', type = 'text' }\n\
        j = { from = '.j', type = 'json' }\nb = { from = '.b', type = 'text[]' }";
    let message =
        r#"{"a":"x\u0000y","j":{"k":"\\u0000"},"b":["\u0000z"],"c":"MARKED\u0000-VALUE","d":1.10}"#;
    let bad = spec(&server, "nul", columns);
    let said = deliver(&*bad, &[payloads(0, &["{}", message])]).await.unwrap_err();
    let place = Place { offset: 1, part: 0 };
    assert!(matches!(&said, Failure::Bad { places, .. } if *places == [place]), "{said}");
    assert!(said.to_string().contains("column a: it has a NUL in it"), "{said}");
    let strip = spec(&server, "nul", &format!("nul = 'strip'\n{columns}"));
    deliver(&*strip, &[payloads(0, &[message])]).await.unwrap();
    assert_eq!(
        server.sql("SELECT a, j, b, doc FROM nul"),
        r#"xy|{"k":"\\u0000"}|{z}|{"c": "MARKED-VALUE", "d": 1.10}"#
    );
}
