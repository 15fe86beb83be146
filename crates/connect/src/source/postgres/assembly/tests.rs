//! Transactions as a server sends them, wherever reading is left and goes on.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::super::bookmark::CopyMark;
use super::super::pgoutput::RelationColumn;
use super::*;

const ORDERS: u32 = 1;
const LOG: u32 = 2;
const OTHER: u32 = 3;

fn bookmark(lsn: u64) -> Bookmark {
    let system = "7412".to_owned();
    Bookmark { system, timeline: 1, lsn: PgLsn(lsn), inside: None, copy: None, copying: false }
}

fn relation(id: u32, name: &str, identity: u8) -> Relation {
    let column = |name: &str, identifies, type_id| {
        let name = name.to_owned();
        RelationColumn { identifies, name, type_id }
    };
    let columns = vec![column("id", identity == b'd', 20), column("doc", false, 25)];
    Relation { id, schema: "public".to_owned(), name: name.to_owned(), identity, columns }
}

fn assembly(bookmark: Bookmark) -> Assembly {
    let names = ["orders".to_owned(), "log".to_owned()];
    let mut assembly = Assembly::new(bookmark, TableChoice::parse(&names).unwrap());
    assembly.relation(relation(ORDERS, "orders", b'd'), None);
    assembly.relation(relation(LOG, "log", b'n'), None);
    assembly.relation(relation(OTHER, "other", b'd'), None);
    assembly
}

fn text(value: &str) -> TupleCell {
    TupleCell::Text(Bytes::copy_from_slice(value.as_bytes()))
}

fn row(id: &str, doc: &str) -> Tuple {
    Tuple(vec![text(id), text(doc)])
}

fn begin(commit: u64, xid: u32) -> PluginMessage {
    PluginMessage::Begin(TransactionBegin { commit: PgLsn(commit), committed_at: 0, xid })
}

fn commit(commit: u64) -> PluginMessage {
    PluginMessage::Commit { commit: PgLsn(commit), end: PgLsn(commit + 5) }
}

fn insert(relation: u32, id: &str) -> PluginMessage {
    PluginMessage::Insert { relation, new: row(id, "x") }
}

fn take(
    assembly: &mut Assembly,
    messages: impl IntoIterator<Item = PluginMessage>,
) -> Vec<Incoming> {
    let mut out = Vec::new();
    messages.into_iter().for_each(|message| assembly.take(message, &mut out).unwrap());
    out
}

/// Operation, key before, row behind.
fn told(message: &Incoming) -> String {
    let value: Value = serde_json::from_slice(&message.payload).unwrap();
    format!("{} {} {}", value["op"].as_str().unwrap(), value["before"]["id"], value["after"]["id"])
}

fn all_told(messages: &[Incoming]) -> Vec<String> {
    messages.iter().map(told).collect()
}

#[test]
fn transactions_are_told_change_by_change() {
    let mut assembly = assembly(bookmark(10));
    let out = take(
        &mut assembly,
        [
            begin(100, 7),
            PluginMessage::Origin,
            insert(ORDERS, "1"),
            insert(OTHER, "8"),
            PluginMessage::Delete {
                relation: ORDERS,
                old: Tuple(vec![text("1"), TupleCell::Null]),
            },
            PluginMessage::Truncate { relations: vec![ORDERS, OTHER, LOG] },
        ],
    );
    assert_eq!(all_told(&out), ["c null 1", "d 1 null", "t null null", "t null null"]);
    let inside = Some(Inside { commit: PgLsn(100), done: 4 });
    assert_eq!(*assembly.bookmark(), Bookmark { inside, ..bookmark(10) });
    take(&mut assembly, [commit(100)]);
    assert_eq!(*assembly.bookmark(), bookmark(105));
    let ids: std::collections::HashSet<_> = out.iter().map(|message| message.id).collect();
    assert_eq!(ids.len(), out.len());
}

#[test]
fn a_row_with_another_key_is_told_under_both() {
    let mut assembly = assembly(bookmark(10));
    let old = Some(Tuple(vec![text("1"), TupleCell::Null]));
    let new = Tuple(vec![text("2"), TupleCell::Unchanged]);
    let out =
        take(&mut assembly, [begin(100, 7), PluginMessage::Update { relation: ORDERS, old, new }]);
    assert_eq!(all_told(&out), ["u 1 2", "d 1 null"]);
    let keys: Vec<_> = out.iter().map(|message| message.key.clone().unwrap()).collect();
    assert_eq!(keys, [&b"[\"public.orders\",2]"[..], b"[\"public.orders\",1]"]);
    let same = Some(Tuple(vec![text("3"), TupleCell::Null]));
    let new = Tuple(vec![TupleCell::Unchanged, text("y")]);
    let out = take(&mut assembly, [PluginMessage::Update { relation: ORDERS, old: same, new }]);
    assert_eq!(all_told(&out), ["u 3 3"], "a key that is stored apart did not change");
}

#[test]
fn of_whole_rows_the_primary_key_tells_them_apart_and_fills_in() {
    let mut assembly = assembly(bookmark(10));
    let mut full = relation(ORDERS, "orders", b'f');
    full.columns.iter_mut().for_each(|column| column.identifies = true);
    assembly.relation(full.clone(), Some(&["id".to_owned()]));
    let update = PluginMessage::Update {
        relation: ORDERS,
        old: Some(row("1", "long")),
        new: Tuple(vec![text("1"), TupleCell::Unchanged]),
    };
    let out = take(&mut assembly, [begin(100, 7), update.clone()]);
    assert_eq!(all_told(&out), ["u 1 1"]);
    let value: Value = serde_json::from_slice(&out[0].payload).unwrap();
    assert_eq!(value["after"]["doc"], "long");
    assert_eq!(value["before"]["doc"], "long");
    assert!(value.get("unchanged").is_none());
    // A key that was renamed since, or none.
    for key in [&["gone".to_owned()][..], &[]] {
        assembly.relation(full.clone(), Some(key));
        let out = take(&mut assembly, [update.clone()]);
        assert_eq!(out[0].key, None);
    }
}

#[test]
fn types_that_somebody_made_are_those_below_them() {
    let mut assembly = assembly(bookmark(10));
    let domain = |id, schema: &str, name: &str| {
        PluginMessage::Type(NamedType { id, schema: schema.to_owned(), name: name.to_owned() })
    };
    take(&mut assembly, [domain(90_000, "", "int4"), domain(90_001, "public", "int4")]);
    let mut changed = relation(ORDERS, "orders", b'd');
    changed.columns[0].type_id = 90_000;
    changed.columns[1].type_id = 90_001;
    let out = take(
        &mut assembly,
        [
            PluginMessage::Relation(changed),
            begin(100, 7),
            PluginMessage::Insert { relation: ORDERS, new: row("1", "2") },
        ],
    );
    let value: Value = serde_json::from_slice(&out[0].payload).unwrap();
    assert_eq!(value["after"].to_string(), r#"{"id":1,"doc":"2"}"#);
}

fn copied(all: bool) -> Bookmark {
    let snapshot = "10:20:15".parse().unwrap();
    let copy = Some(CopyMark { snapshot, before: PgLsn(500), all });
    Bookmark { copy, ..bookmark(10) }
}

#[test]
fn what_was_copied_is_not_told_again() {
    let mut assembly = assembly(copied(true));
    let mut commits = 100..;
    let mut transaction = |xid| {
        let place = commits.next().unwrap();
        [begin(place, xid), insert(ORDERS, &xid.to_string()), insert(LOG, "9"), commit(place)]
    };
    let out = take(&mut assembly, [9, 15, 19, 20].into_iter().flat_map(&mut transaction));
    assert_eq!(all_told(&out), ["c null 15", "c null 9", "c null 20", "c null 9"]);
    assert!(assembly.bookmark().copy.is_some());
    // Transaction numbers come round: far behind the copy nothing is left out.
    take(&mut assembly, [begin(500, 9)]);
    assert!(assembly.bookmark().copy.is_none());
    assert_eq!(take(&mut assembly, [insert(ORDERS, "9")]).len(), 1);
}

#[test]
fn behind_a_repeated_copy_rows_with_a_key_are_told_again() {
    let mut assembly = assembly(copied(false));
    let out = take(&mut assembly, [begin(100, 12), insert(ORDERS, "1"), insert(LOG, "9")]);
    assert_eq!(all_told(&out), ["c null 1"]);
    assembly.reached(PgLsn(900));
    assert!(assembly.bookmark().copy.is_some(), "not in a transaction");
    take(&mut assembly, [commit(100)]);
    assembly.reached(PgLsn(900));
    assert_eq!(*assembly.bookmark(), bookmark(900));
}

#[test]
fn signs_of_life_do_not_pass_a_transaction_of_which_a_part_is_settled() {
    let inside = Some(Inside { commit: PgLsn(100), done: 1 });
    let mut assembly = assembly(Bookmark { inside, ..bookmark(10) });
    assembly.reached(PgLsn(50));
    assert_eq!(*assembly.bookmark(), Bookmark { inside, ..bookmark(50) });
    let out = take(&mut assembly, [begin(100, 7), insert(ORDERS, "1"), insert(ORDERS, "2")]);
    assert_eq!(all_told(&out), ["c null 2"]);
}

#[test]
fn what_was_not_announced_is_refused() {
    let mut assembly = assembly(bookmark(10));
    let mut out = Vec::new();
    assert!(assembly.take(insert(ORDERS, "1"), &mut out).is_err());
    assembly.take(begin(100, 7), &mut out).unwrap();
    assert!(assembly.take(insert(77, "1"), &mut out).is_err());
    assert!(assembly.take(begin(101, 8), &mut out).is_err());
}

/// What the server sends behind a place.
fn sent(transactions: &[(u32, Vec<u32>)], behind: PgLsn) -> Vec<PluginMessage> {
    let mut sent = Vec::new();
    for (number, (xid, changes)) in (1..).zip(transactions) {
        let place = number * 100;
        if PgLsn(place) < behind {
            continue;
        }
        sent.push(begin(place, *xid));
        for (id, relation) in (0..).zip(changes) {
            let id = format!("{}", place * 10 + id);
            let old = Some(Tuple(vec![text("1"), TupleCell::Null]));
            sent.push(match id.len() % 2 {
                0 => insert(*relation, &id),
                _ => PluginMessage::Update { relation: *relation, old, new: row(&id, "x") },
            });
        }
        sent.push(commit(place));
    }
    sent
}

proptest! {
    /// INV-SAME-ID: wherever it was left, reading goes on without a gap and without a repeat.
    #[test]
    fn it_goes_on_from_every_bookmark(
        transactions in prop::collection::vec((8..24_u32, prop::collection::vec(1..=3_u32, 0..5)), 1..8),
        all in any::<bool>(),
        stops in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let expected = take(&mut assembly(copied(all)), sent(&transactions, PgLsn(10)));
        let (mut mark, mut out) = (copied(all), Vec::new());
        for stop in stops {
            let mut part = assembly(Bookmark::parse(&mark.cursor()).unwrap());
            let messages = sent(&transactions, mark.lsn);
            let count = stop.index(messages.len() + 1);
            out.extend(take(&mut part, messages.into_iter().take(count)));
            mark = part.bookmark().clone();
        }
        let lsn = mark.lsn;
        out.extend(take(&mut assembly(mark), sent(&transactions, lsn)));
        prop_assert_eq!(out, expected);
    }
}
