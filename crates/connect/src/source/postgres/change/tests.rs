//! What a change looks like.

use super::*;

fn column(name: &str, type_id: u32, key: bool) -> RowColumn {
    RowColumn { name: name.to_owned(), kind: ValueKind::of_type(type_id), identifies: key, key }
}

fn table() -> RowTable {
    let columns =
        vec![column("id", 20, true), column("total", 1700, false), column("doc", 3802, false)];
    RowTable { name: "public.orders".to_owned(), wanted: true, columns }
}

fn cell(text: &str) -> TupleCell {
    TupleCell::Text(Bytes::copy_from_slice(text.as_bytes()))
}

const WHENCE: Whence<'_> = Whence {
    system: "7412",
    lsn: PgLsn(0x16B_3748),
    xid: Some(735),
    seq: 2,
    part: 0,
    at: Some(1_764_518_000_123_456),
};

fn told(op: Op, before: Option<&[TupleCell]>, after: Option<&[TupleCell]>) -> Incoming {
    table().message(RowChange { op, before, after }, &WHENCE).unwrap()
}

fn text(message: &Incoming) -> String {
    String::from_utf8(message.payload.to_vec()).unwrap()
}

#[test]
fn a_change_is_told_in_json() {
    let row = [cell("42"), cell("1.10"), cell("{\"a\": 1}")];
    let message = told(Op::Created, None, Some(&row));
    assert_eq!(
        text(&message),
        r#"{"before":null,"after":{"id":42,"total":"1.10","doc":{"a": 1}},"op":"c","source":{"table":"public.orders","lsn":"0/16B3748","xid":735,"seq":2},"ts_ms":1764518000123}"#
    );
    assert_eq!(message.key.as_deref(), Some(&br#"["public.orders",42]"#[..]));
    assert_eq!(message.made_at, WHENCE.at);
}

#[test]
fn values_that_were_not_sent_are_absent_and_named() {
    let row = [cell("42"), TupleCell::Null, TupleCell::Unchanged];
    let whole: serde_json::Value =
        serde_json::from_str(&text(&told(Op::Updated, None, Some(&row)))).unwrap();
    assert_eq!(whole["after"].to_string(), r#"{"id":42,"total":null}"#);
    assert_eq!(whole["unchanged"].to_string(), r#"["doc"]"#);
}

#[test]
fn of_a_deleted_row_only_its_identity_is_known() {
    let row = [cell("42"), TupleCell::Null, TupleCell::Null];
    let message = told(Op::Deleted, Some(&row), None);
    assert!(text(&message).starts_with(r#"{"before":{"id":42},"after":null,"op":"d""#));
    assert_eq!(message.key.as_deref(), Some(&br#"["public.orders",42]"#[..]));
    let emptied = told(Op::Truncated, None, None);
    assert_eq!(emptied.key, None);
    assert!(text(&emptied).contains(r#""before":null,"after":null,"op":"t""#));
}

#[test]
fn ids_depend_on_the_place_alone() {
    let row = [cell("42"), TupleCell::Null, TupleCell::Null];
    let id = |op, whence: &Whence<'_>| {
        let after = Some(&row[..]);
        table().message(RowChange { op, before: None, after }, whence).unwrap().id
    };
    let base = id(Op::Created, &WHENCE);
    assert_eq!(base, id(Op::Updated, &WHENCE));
    for other in [
        Whence { system: "7413", ..WHENCE },
        Whence { lsn: PgLsn(1), ..WHENCE },
        Whence { seq: 3, ..WHENCE },
        Whence { part: 1, ..WHENCE },
        Whence { xid: Some(1), ..WHENCE },
        Whence { at: None, ..WHENCE },
    ] {
        assert_ne!(base, id(Op::Created, &other), "INV-SAME-ID: {other:?}");
    }
    assert_ne!(base, id(Op::Read, &WHENCE), "INV-SAME-ID");
}

#[test]
fn a_value_that_is_no_text_is_refused_without_being_shown() {
    let row = [cell("1"), TupleCell::Text(Bytes::from_static(b"MARKED\xff")), TupleCell::Null];
    let change = RowChange { op: Op::Created, before: None, after: Some(&row) };
    let fault = table().message(change, &WHENCE).unwrap_err().to_string();
    assert!(fault.contains("public.orders: a value of column total is not UTF-8"), "{fault}");
    assert!(!fault.contains("MARKED"), "INV-MUTE");
}
