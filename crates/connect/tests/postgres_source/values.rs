//! What rows and changes look like, whatever the tables are.

use galgo_connect::source::Beginning;
use serde_json::{Value, json};

use crate::rig::{Topic, refused, section, server, spec};

/// A copied row and a changed one look alike, and nothing is lost of any value.
#[tokio::test(flavor = "multi_thread")]
async fn copied_and_changed_values_look_alike() {
    let Some(server) = server(&[]) else { return };
    server.sql(
        "CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE DOMAIN small AS int CHECK (VALUE < 100); CREATE DOMAIN smaller AS small;
         ALTER DATABASE postgres SET DateStyle = 'German'; ALTER DATABASE postgres SET bytea_output = 'escape';
         ALTER DATABASE postgres SET TimeZone = 'Asia/Tokyo'; ALTER DATABASE postgres SET IntervalStyle = 'iso_8601';
         CREATE TABLE every (id bigint PRIMARY KEY, b bool, f float8, m numeric, j json, jb jsonb, t text, raw bytea, at timestamptz, span interval,
           list int[], texts text[], feel mood, few smaller, u uuid, twice bigint GENERATED ALWAYS AS (id * 2) STORED, \"odd \"\"name\" text)",
    );
    let row = |id: u64| {
        format!(
            "INSERT INTO every VALUES ({id}, true, 'Infinity', 1.10, '{{\"b\": 1.0,  \"a\": 23456789012345678901234}}', '{{\"b\": [1]}}', \
             E'tab\\there\\\\N \\\\. \\n\\r \\b\\f\\x0B ä😀 \"', '\\x00ff41', '2026-11-30 15:52:43.123456+00', '1 day 2 hours', \
             '{{1,NULL}}', '{{\"a b\",NULL}}', 'bad', 42, '11111111-2222-3333-4444-555555555555', DEFAULT, 'x'), ({id} + 1)"
        )
        .replace(&format!(", ({id} + 1)"), &format!("; INSERT INTO every (id) VALUES ({id} + 1)"))
    };
    server.sql(&row(1));
    let mut topic = Topic::new(spec("values", &section(&server, "'every'", "")));
    topic.begin().await.unwrap();
    topic.catch_up(&server).await;
    server.sql(&row(3));
    topic.catch_up(&server).await;
    assert_eq!(topic.ops(), ["r", "r", "c", "c"]);
    for (copied, changed) in [(0, 2), (1, 3)] {
        let mut copied = topic.messages[copied]["after"].clone();
        copied["id"] = topic.messages[changed]["after"]["id"].clone();
        assert_eq!(copied, topic.messages[changed]["after"]);
    }
    let after = &topic.messages[2]["after"];
    assert_eq!(
        *after,
        json!({
            "id": 3, "b": true, "f": "Infinity", "m": "1.10",
            "j": serde_json::from_str::<Value>("{\"b\": 1.0, \"a\": 23456789012345678901234}").unwrap(),
            "jb": {"b": [1]}, "t": "tab\there\\N \\. \n\r \u{8}\u{c}\u{b} ä😀 \"", "raw": "\\x00ff41",
            "at": "2026-11-30 15:52:43.123456+00", "span": "1 day 02:00:00", "list": "{1,NULL}", "texts": "{\"a b\",NULL}",
            "feel": "bad", "few": 42, "u": "11111111-2222-3333-4444-555555555555", "odd \"name": "x",
        })
    );
    let (copied, changed) = (&topic.messages[0]["source"], &topic.messages[2]["source"]);
    assert_eq!(
        (&copied["table"], &changed["table"]),
        (&json!("public.every"), &json!("public.every"))
    );
    assert!(copied["snapshot"].is_u64() && changed.get("snapshot").is_none());
    assert!(changed["xid"].is_u64() && changed["lsn"].is_string() && changed["seq"].is_u64());
    assert!(topic.messages[2]["ts_ms"].as_u64().unwrap() > 1_600_000_000_000);
}

/// Columns come and go, keys change, tables are emptied, while it is read.
#[tokio::test(flavor = "multi_thread")]
async fn tables_change_while_they_are_read() {
    let Some(server) = server(&[]) else { return };
    server.sql(
        "CREATE TABLE items (id bigint PRIMARY KEY, n int, doc text); ALTER TABLE items ALTER doc SET STORAGE EXTERNAL;
         INSERT INTO items SELECT i, i, repeat('x', 5000) FROM generate_series(1, 9) i;
         CREATE TABLE whole (id int, n int); ALTER TABLE whole REPLICA IDENTITY FULL; INSERT INTO whole VALUES (1, 1)",
    );
    let mut topic = Topic::new(spec("forms", &section(&server, "'public.*'", "")));
    topic.begin().await.unwrap();
    topic.catch_up(&server).await;
    server.sql("UPDATE items SET n = 20 WHERE id = 2");
    server.sql("ALTER TABLE items ADD more text DEFAULT 'new'; INSERT INTO items VALUES (10, 1, 'y', 'z'); UPDATE items SET n = 30 WHERE id = 3");
    server.sql("UPDATE items SET id = 100 WHERE id = 4; DELETE FROM items WHERE id = 5");
    server.sql("UPDATE whole SET n = 2");
    topic.catch_up(&server).await;
    let unchanged = topic.messages.iter().filter(|it| it.get("unchanged").is_some()).count();
    assert_eq!(unchanged, 3);
    let moved: Vec<&Value> = topic.messages.iter().filter(|it| it["before"]["id"] == 4).collect();
    assert_eq!((&moved[0]["op"], &moved[1]["op"]), (&json!("u"), &json!("d")));
    assert_eq!(moved[0]["after"]["id"], 100);
    let whole = topic.messages.last().unwrap();
    assert_eq!(
        (&whole["before"], &whole["after"]),
        (&json!({"id": 1, "n": 1}), &json!({"id": 1, "n": 2}))
    );
    // What was copied has not the column that is new; what PostgreSQL fills in is not told.
    let mut replayed = topic.replayed("public.items");
    replayed.values_mut().for_each(|row| {
        if row.get("more").is_none() {
            row["more"] = json!("new");
        }
    });
    let all = server.sql("SELECT json_build_object('id', id, 'n', n, 'doc', doc, 'more', more) FROM items ORDER BY id");
    assert_eq!(replayed.len(), all.lines().count());
    for line in all.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!(replayed[&row["id"].to_string()], row);
    }
    server.sql("TRUNCATE items, whole; ALTER TABLE items DROP COLUMN n; INSERT INTO items VALUES (1, 'a', 'b')");
    topic.catch_up(&server).await;
    topic.assert_is(&server, "public.items", "id doc more");
    topic.assert_is(&server, "public.whole", "id n");
}

/// A table of partitions is told of under its own name; one that inherits is another table.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_told_of_as_the_whole() {
    let Some(server) = server(&[]) else { return };
    server.sql(
        "CREATE TABLE days (id int, day int, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
         CREATE TABLE days_1 PARTITION OF days FOR VALUES IN (1); CREATE TABLE days_2 PARTITION OF days FOR VALUES IN (2);
         CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
         INSERT INTO days VALUES (1, 1), (2, 2); INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2)",
    );
    let mut topic = Topic::new(spec("parts", &section(&server, "'days', 'parent'", "")));
    topic.begin().await.unwrap();
    topic.catch_up(&server).await;
    server.sql("INSERT INTO days VALUES (3, 2); UPDATE days SET day = 1 WHERE id = 3; INSERT INTO child VALUES (3); INSERT INTO parent VALUES (4)");
    topic.catch_up(&server).await;
    topic.assert_is(&server, "public.days", "id day");
    let tables: Vec<&Value> = topic.messages.iter().map(|it| &it["source"]["table"]).collect();
    assert!(tables.iter().all(|it| **it == "public.days" || **it == "public.parent"), "{tables:?}");
    assert_eq!(topic.replayed("public.parent").len(), 2);
}

/// What the publication leaves out is not copied, either.
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_of_somebody_else_is_obeyed() {
    let Some(server) = server(&[]) else { return };
    server.sql(
        "CREATE TABLE items (id int PRIMARY KEY, n int, secret text); INSERT INTO items VALUES (1, 1, 'MARKED'), (2, 200, 'MARKED');
         CREATE TABLE more (id int PRIMARY KEY);
         CREATE PUBLICATION theirs FOR TABLE items (id, n) WHERE (id < 100), TABLE more;
         CREATE ROLE reader LOGIN REPLICATION; GRANT SELECT ON items TO reader",
    );
    server.sql("SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')");
    let more = "publication = 'theirs'\nslot = 'theirs'\ncreate = false";
    let text = section(&server, "'items'", more).replace("postgres@", "reader@");
    let mut topic = Topic::new(spec("theirs", &text));
    topic.begin().await.unwrap();
    topic.catch_up(&server).await;
    server.sql("INSERT INTO items VALUES (3, 3, 'MARKED'), (300, 1, 'MARKED'); INSERT INTO more VALUES (1)");
    topic.catch_up(&server).await;
    server.sql("DELETE FROM items WHERE id >= 100");
    topic.assert_is(&server, "public.items", "id n");
    assert!(!topic.messages.iter().any(|message| message.to_string().contains("MARKED")));
}

/// `--once`: everything that was committed when it began, then the end.
#[tokio::test(flavor = "multi_thread")]
async fn once_ends_where_the_log_ended() {
    let Some(server) = server(&[]) else { return };
    server.sql("CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items SELECT generate_series(1, 2500)");
    let spec = spec("once", &section(&server, "'items'", ""));
    let mut cursor = None;
    for (new, expected) in [(0, 2_500), (1_500, 1_500), (0, 0)] {
        server.sql(&format!("INSERT INTO items SELECT generate_series(10000, 9999 + {new})"));
        let mut source = spec.source();
        source.begin(Beginning { cursor: cursor.clone(), once: true }).await.unwrap();
        let mut count = 0;
        while let Some(chunk) = source.next().await.unwrap() {
            count += chunk.messages.len();
            source.settled(&chunk.cursor).await.unwrap();
            cursor = Some(chunk.cursor);
        }
        assert!(source.next().await.unwrap().is_none());
        source.finish().await.unwrap();
        assert_eq!(count, expected);
    }
}

/// A row that is too large stops the pipeline with words, before memory is taken for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_beyond_the_limit_is_refused() {
    let Some(server) = server(&[]) else { return };
    server.sql("CREATE TABLE items (id int PRIMARY KEY, doc text)");
    let mut topic = Topic::new(spec("huge", &section(&server, "'items'", "")));
    topic.begin().await.unwrap();
    topic.catch_up(&server).await;
    server.sql("INSERT INTO items VALUES (1, 'x'), (2, repeat('x', 70000000))");
    let said = loop {
        match topic.step().await {
            Ok(true) => {}
            other => break refused(other),
        }
    };
    assert!(said.contains("more than 67108864 are not read"), "{said}");
}

/// A policy would leave rows out of the copy, and nobody would know.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_a_policy_would_cut_is_refused() {
    let Some(server) = server(&[]) else { return };
    server.sql(
        "CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items VALUES (1), (2);
         ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON items USING (id < 2);
         CREATE PUBLICATION theirs FOR TABLE items; CREATE ROLE reader LOGIN REPLICATION; GRANT SELECT ON items TO reader",
    );
    server.sql("SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')");
    let more = "publication = 'theirs'\nslot = 'theirs'\ncreate = false";
    let text = section(&server, "'items'", more).replace("postgres@", "reader@");
    let mut topic = Topic::new(spec("theirs", &text));
    topic.begin().await.unwrap();
    let said = loop {
        match topic.step().await {
            Ok(true) => {}
            other => break refused(other),
        }
    };
    assert!(said.contains("copy public.items") && said.contains("row-level security"), "{said}");
}
