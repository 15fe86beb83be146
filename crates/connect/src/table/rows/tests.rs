//! Payloads as rows.

use proptest::prelude::*;

use super::*;
use crate::batch::Form;
use crate::table::tests::{DIALECT, settings};
use crate::table::{PayloadForm, TableSettings};

fn lane() -> LaneName {
    LaneName {
        pipeline: "p".to_owned(),
        stream: "shop".to_owned(),
        topic: "orders".to_owned(),
        partition: 3,
    }
}

fn message(payload: &[u8]) -> Row {
    Row {
        place: Place { offset: 41, part: 1 },
        id: 7,
        time: 1_700_000_000_123_456,
        origin_time: 0,
        headers_block: bytes::Bytes::new(),
        form: Form::Json,
        payload: bytes::Bytes::copy_from_slice(payload),
    }
}

fn layout(columns: &str, change: impl FnOnce(&mut TableSettings)) -> Layout {
    let mut settings = settings(columns);
    change(&mut settings);
    Layout::new(settings, &DIALECT).unwrap()
}

/// The texts of a row, or what is wrong with it.
fn read(layout: &Layout, payload: &[u8]) -> Result<(Change, Vec<String>), String> {
    let (lane, row) = (lane(), message(payload));
    let mut reader = RowReader::new(layout, &lane);
    let change = reader.read(&row).map_err(|Misfit(what)| what)?;
    let text = |cell: &Cell<'_>| {
        let mut text = Vec::new();
        cell.put_text(&mut text);
        if cell.is_null() { "NULL".to_owned() } else { String::from_utf8(text).unwrap() }
    };
    Ok((change, reader.cells.iter().map(text).collect()))
}

fn texts(layout: &Layout, payload: &str) -> Vec<String> {
    read(layout, payload.as_bytes()).unwrap().1
}

const COLUMNS: &str = "a = { from = '.a', type = 'numeric' }\nb = { from = '.b', type = 'jsonb' }\n\
    c = { from = '@time', type = 'timestamptz' }\nd = { from = '@id', type = 'uuid' }\ne = { from = '@key', type = 'text' }";

#[test]
fn numbers_keep_their_digits_and_texts_lose_their_quotes() {
    let layout = layout(COLUMNS, |_| {});
    let of = |payload| texts(&layout, payload)[..2].to_vec();
    assert_eq!(
        of(r#"{"a":12345678901234567890123.10,"b":"x"}"#),
        ["12345678901234567890123.10", "\"x\""]
    );
    assert_eq!(of(r#"{"a":"x\u00e9\n","b":null}"#), ["xé\n", "NULL"]);
    assert_eq!(of(r#"{"a":true,"b":[1, 2]}"#), ["true", "[1, 2]"]);
    assert_eq!(of(r#"{"a":{"x":1}}"#), [r#"{"x":1}"#, "NULL"]);
    assert_eq!(
        texts(&layout, "{}")[2..],
        ["2023-11-14T22:13:20.123456Z", "00000000-0000-0000-0000-000000000007", "NULL"]
    );
}

#[test]
fn what_no_text_can_hold_is_bad_or_left_out() {
    let bad = layout(COLUMNS, |_| {});
    let strip = layout(COLUMNS, |it| it.nul = Nul::Strip);
    for (payload, column, stripped) in [
        (r#"{"a":"x\u0000y"}"#, "column a: ", ["xy", "NULL"]),
        (r#"{"a":1,"b":["x\u0000y","\\u0000"]}"#, "column b: ", ["1", r#"["xy","\\u0000"]"#]),
    ] {
        let what = read(&bad, payload.as_bytes()).unwrap_err();
        assert!(what.starts_with(column) && what.contains("nul = \"strip\""), "{what}");
        assert!(!what.contains("xy"), "INV-MUTE: {what}");
        assert_eq!(texts(&strip, payload)[..2], stripped);
    }
    // An escaped backslash in front of u0000 is no NUL.
    assert_eq!(texts(&bad, r#"{"b":"\\u0000"}"#)[1], r#""\\u0000""#);
    let half = read(&bad, br#"{"a":"\ud800"}"#).unwrap_err();
    assert!(half.contains("surrogate"), "{half}");
    assert!(read(&bad, b"{\"a\":\"\xff\"}").unwrap_err().contains("UTF-8"));
    assert!(read(&bad, b"{\"a\"").unwrap_err().contains("no JSON"));
    assert!(read(&bad, b"").unwrap_err().contains("no JSON"));
}

#[test]
fn what_no_column_takes_is_kept_in_the_column_of_the_rest() {
    let layout =
        layout("a = { from = '.a', type = 'text' }", |it| it.rest = Some("doc".to_owned()));
    assert_eq!(
        texts(&layout, r#"{"a":1,"b":2.50,"c":{"d":null}}"#)[1],
        r#"{"b":2.50,"c":{"d":null}}"#
    );
    assert_eq!(texts(&layout, r#"{"a":1}"#)[1], "{}");
    assert_eq!(texts(&layout, "[1]"), ["NULL", "[1]"]);
}

#[test]
fn a_change_is_its_row_and_a_deletion_its_key() {
    let columns = "id = { from = '.id', type = 'bigint' }\nname = { from = '.name', type = 'text', null = false }";
    let layout = layout(columns, |it| {
        it.mode = Mode::Mirror;
        it.key = vec!["id".to_owned()];
    });
    let read = |payload: &str| read(&layout, payload.as_bytes());
    let put = |cells: [&str; 2]| Ok((Change::Put, cells.map(str::to_owned).to_vec()));
    assert_eq!(read(r#"{"op":"u","before":null,"after":{"id":1,"name":"x"}}"#), put(["1", "x"]));
    assert_eq!(read(r#"{"id":1,"name":"x"}"#), put(["1", "x"]));
    assert_eq!(read(r#"{"op":"u","after":{"id":1},"unchanged":["name"]}"#), put(["1", "NULL"]));
    let missing = read(r#"{"op":"u","after":{"id":1}}"#).unwrap_err();
    assert!(missing.starts_with("column name: there is no value"), "{missing}");
    let deleted = read(r#"{"op":"d","before":{"id":1},"after":null}"#).unwrap();
    assert_eq!(deleted, (Change::Delete, vec!["1".to_owned(), "NULL".to_owned()]));
    assert!(read(r#"{"op":"t"}"#).unwrap_err().contains("truncated"));
    assert!(read("").unwrap_err().starts_with("column id: "), "a deletion needs its key");
}

#[test]
fn an_envelope_takes_any_bytes() {
    let bytes = layout("", |it| it.payload = PayloadForm::Bytes);
    let read_bytes = read(&bytes, b"\x00\xffa").unwrap().1;
    assert_eq!(read_bytes[..4], ["orders", "3", "41", "1"]);
    assert_eq!(read_bytes[6..], ["{}", "\\x00ff61"]);
    let json = layout("", |_| {});
    assert_eq!(read(&json, b"").unwrap().1[7], "NULL");
    let line = preview(&json, &lane(), &message(b"{\"a\":1}")).unwrap();
    assert!(line.ends_with("headers = {}, payload = {\"a\":1}"), "{line}");
    let LaneName { topic, partition, .. } = lane();
    assert!(line.starts_with(&format!("topic = {topic}, partition = {partition}, ")), "{line}");
}

proptest! {
    #[test]
    fn no_payload_makes_it_panic_and_none_is_quoted(payload in prop::collection::vec(any::<u8>(), 0..80)) {
        for mode in [Mode::Append, Mode::Mirror] {
            let layout = layout("a = { from = '.a.b[0]', type = 'text' }", |it| {
                it.mode = mode;
                it.key = vec!["a".to_owned()];
                it.rest = Some("doc".to_owned());
            });
            let _ = read(&layout, &payload);
        }
    }

    #[test]
    fn stripping_takes_nothing_but_nul(text in "[a\\\\u0\"]{0,40}") {
        let quoted = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(without_nul(&quoted), quoted);
        let with_nul = serde_json::to_string(&format!("\0{text}\0")).unwrap();
        let parsed: String = serde_json::from_str(&without_nul(&with_nul)).unwrap();
        prop_assert_eq!(parsed, text);
    }
}

#[test]
fn a_control_character_stands_in_no_document_but_as_an_escape() {
    let layout = layout("b = { from = '.b', type = 'text' }", |_| {});
    for letter in ["\0", "\n", "\t", "\u{1f}"] {
        let said = read(&layout, format!("{{\"b\":\"MARKED{letter}x\"}}").as_bytes()).unwrap_err();
        assert!(said.contains("no JSON") && !said.contains("MARKED"), "{letter:?}: {said}");
    }
    let said = read(&layout, br#"{"b":"MARKED\u0000x"}"#).unwrap_err();
    assert!(said.contains("NUL") && !said.contains("MARKED"), "INV-MUTE: {said}");
}
