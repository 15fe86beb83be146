//! What a check finds, what is made at a start, and who is let in.

use galgo_connect::{Failure, Finding, SinkSpec, Weight};

use crate::postgres::{let_in, start};
use crate::rig::{MARK, lane, row, sink_spec};
use crate::table::{deliver, payloads, section, spec};

const COLUMNS: &str = "key = ['number']\n[columns]\nnumber = { from = '.number', type = 'int' }\n\
    lane = { from = '.lane', type = 'text' }\ntext = { from = '.text', type = 'varchar(9)' }";

fn texts(findings: &[Finding], weight: Weight) -> Vec<&str> {
    let of_weight = findings.iter().filter(|finding| finding.weight == weight);
    of_weight.map(|finding| finding.text.as_str()).collect()
}

async fn faults(spec: &dyn SinkSpec) -> Vec<String> {
    let findings = spec.check(&[]).await.unwrap();
    assert!(findings.iter().all(|it| (it.weight == Weight::Good) == it.advice.is_none()));
    texts(&findings, Weight::Fault).into_iter().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_each_fault_and_changes_nothing() {
    let Some(server) = start(&[]) else { return };
    let upsert = format!("mode = 'upsert'\n{COLUMNS}");
    let good = r#"{"number":1,"lane":"x","text":"t"}"#;
    let bad = r#"{"number":"MARKED-VALUE","text":"t"}"#;
    let long = r#"{"number":2,"text":"MARKED-VALUE"}"#;
    let sample = [row(3, good), row(4, bad), row(1, long)];

    // Nothing is there, and nothing is made.
    let empty = server.dump();
    let findings = spec(&server, "numbers", &upsert).check(&sample).await.unwrap();
    assert_eq!(
        texts(&findings, Weight::Fault),
        [
            "the message at offset 4 is not taken: PostgreSQL says: a value is not of its type (22P02)",
            "the message at offset 1 is not taken: PostgreSQL says: a text is too long (22001)",
        ]
    );
    let made = "table numbers is not there; it is made when the pipeline starts";
    assert!(texts(&findings, Weight::Good).contains(&made), "{findings:?}");
    assert_eq!(server.dump(), empty, "a check changes nothing");
    let fixed = spec(&server, "numbers", &format!("create = false\n{upsert}"));
    let there = ["table galgo_positions is not there", "table numbers is not there"];
    assert_eq!(faults(&*fixed).await, there);
    let refused = fixed.prepare().await.unwrap_err().to_string();
    assert!(refused.contains("CREATE TABLE \"galgo_positions\" (pipeline text"), "{refused}");
    let nowhere = faults(&*spec(&server, "none.numbers", &upsert)).await;
    assert!(nowhere.iter().all(|it| it.ends_with("and neither is schema none")), "{nowhere:?}");
    let untyped = upsert.replace("'varchar(9)'", "'varchat(9)'");
    let untyped = spec(&server, "numbers", &untyped).check(&sample).await.unwrap();
    assert!(untyped.iter().any(|it| it.text.contains("varchat")), "{untyped:?}");

    server.sql(
        "CREATE TABLE numbers (number bigint, lane varchar(3), extra text NOT NULL, at timestamptz NOT NULL DEFAULT now())",
    );
    let before = server.dump();
    let checked = spec(&server, "numbers", &upsert);
    assert_eq!(
        faults(&*checked).await,
        [
            "table numbers: column text is missing",
            "table numbers: column extra may not be null, has no default, and the file gives it no value",
            "table numbers: no primary key and no unique index is over (number)",
        ]
    );
    let findings = checked.check(&[]).await.unwrap();
    assert_eq!(
        texts(&findings, Weight::Warning),
        [
            "table numbers: column lane is character varying(3), and the file says text",
            "table numbers: column number is bigint, and the file says int",
        ]
    );
    let refused = checked.prepare().await.unwrap_err().to_string();
    assert!(refused.contains("ADD COLUMN \"text\" varchar(9)"), "{refused}");
    assert_eq!(server.dump(), before, "neither a check nor what does not start makes anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_columns_are_made_and_what_is_there_already_is_known() {
    let Some(server) = start(&[]) else { return };
    server.sql("CREATE TABLE numbers (number int PRIMARY KEY, lane text)");
    let before = server.dump();
    let messages = [r#"{"number":1,"text":"a"}"#, r#"{"number":2,"lane":"MARKED-VALUE"}"#];
    let evolve = spec(&server, "numbers", &format!("evolve = 'add'\n{COLUMNS}"));
    let sample = payloads(0, &messages);
    let findings = evolve.check(sample.rows()).await.unwrap();
    assert_eq!(texts(&findings, Weight::Fault), [""; 0]);
    assert!(findings.iter().any(|it| it.text.ends_with("it is added when the pipeline starts")));
    assert_eq!(server.dump(), before);
    deliver(&*evolve, std::slice::from_ref(&sample)).await.unwrap();
    assert_eq!(server.sql("SELECT * FROM numbers ORDER BY 1"), "1||a\n2|MARKED-VALUE|");
    // What is there already is no fault.
    let findings = evolve.check(sample.rows()).await.unwrap();
    assert_eq!(texts(&findings, Weight::Fault), [""; 0]);
    assert!(findings.iter().any(|it| it.text == "rows of 2 messages are there already"));
    let line = evolve.preview(&lane(), &sample.rows()[0]).unwrap();
    assert_eq!(line, "lane = NULL, number = 1, text = a");

    // A copy of the process starts at the same time.
    server.sql("DROP TABLE numbers, galgo_positions");
    let made = spec(&server, "numbers", COLUMNS);
    let other = spec(&server, "numbers", COLUMNS);
    let (one, two) = tokio::join!(made.prepare(), other.prepare());
    assert_eq!((one, two), (Ok(()), Ok(())));
    // A column is dropped and comes back while the pipeline runs.
    let mut sink = made.sink();
    sink.position(&lane()).await.unwrap();
    server.sql("ALTER TABLE numbers DROP COLUMN text");
    let refused = sink.write(&lane(), &sample).await.unwrap_err();
    assert!(matches!(refused, Failure::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("42703"), "{refused}");
    server.sql("ALTER TABLE numbers ADD COLUMN text text");
    sink.write(&lane(), &sample).await.unwrap();
    assert_eq!(made.cleanup().await.unwrap(), ["1 rows of galgo_positions"]);
    assert_eq!(made.cleanup().await.unwrap(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_and_passwords_are_named_and_healed() {
    let Some(server) = start(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    server.sql(
        "CREATE ROLE app LOGIN PASSWORD 'MARKED-VALUE'; CREATE TABLE numbers (number int PRIMARY KEY, lane text, text varchar(9))",
    );
    let_in(&server, "host all app 127.0.0.1/32 scram-sha-256");
    let more = |mode: &str| {
        format!("password = {{ file = '{}' }}\nmode = '{mode}'\n{COLUMNS}", secret.display())
    };
    let of_app = |mode: &str| {
        let text = section(&server, "numbers", &more(mode)).replace("postgres@", "app@");
        sink_spec("postgres", &text)
    };
    let spec = of_app("mirror");
    std::fs::write(&secret, format!("{MARK}-wrong")).unwrap();
    for said in [spec.prepare().await.unwrap_err(), spec.check(&[]).await.unwrap_err()] {
        assert!(matches!(said, Failure::Refused { .. }), "{said}");
        assert!(said.to_string().contains("28P01"), "{said}");
        assert!(!said.to_string().contains(MARK), "INV-MUTE: {said}");
    }
    std::fs::write(&secret, MARK).unwrap();
    let may_not = "table galgo_positions is not there, and role app may make none there";
    let rights = "table numbers: role app has no right to SELECT, INSERT, UPDATE, DELETE";
    assert_eq!(faults(&*spec).await, [may_not, rights]);
    server.sql(
        "GRANT SELECT, INSERT, UPDATE ON numbers TO app; GRANT CREATE ON SCHEMA public TO app",
    );
    assert_eq!(faults(&*spec).await, ["table numbers: role app has no right to DELETE"]);
    assert_eq!(faults(&*of_app("upsert")).await, [""; 0]);
    server.sql("GRANT DELETE ON numbers TO app");
    deliver(&*spec, &[payloads(0, &[r#"{"number":1}"#])]).await.unwrap();
    // Who may not make tables goes on with those that are there.
    server.sql("REVOKE CREATE ON SCHEMA public FROM app");
    let mut sink = spec.sink();
    spec.prepare().await.unwrap();
    sink.write(&lane(), &payloads(1, &[r#"{"number":2}"#])).await.unwrap();
    assert_eq!(server.sql("SELECT count(*) FROM numbers"), "2");
}
