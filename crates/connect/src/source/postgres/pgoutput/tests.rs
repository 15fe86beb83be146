//! Each message, cut off anywhere, damaged, and any other bytes.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;

fn text(out: &mut BytesMut, text: &str) {
    out.put_slice(text.as_bytes());
    out.put_u8(0);
}

fn cells(out: &mut BytesMut, cells: &[TupleCell]) {
    out.put_u16(cells.len().try_into().unwrap());
    for cell in cells {
        match cell {
            TupleCell::Null => out.put_u8(b'n'),
            TupleCell::Unchanged => out.put_u8(b'u'),
            TupleCell::Text(value) => {
                out.put_u8(b't');
                out.put_u32(value.len().try_into().unwrap());
                out.put_slice(value);
            }
        }
    }
}

/// The same messages as the server writes them.
fn encode(decoded: &PluginMessage) -> Bytes {
    let mut out = BytesMut::new();
    match decoded {
        PluginMessage::Begin(begin) => {
            out.put_u8(b'B');
            out.put_u64(begin.commit.0);
            out.put_i64(begin.committed_at);
            out.put_u32(begin.xid);
        }
        PluginMessage::Commit { commit, end } => {
            out.put_slice(b"C\0");
            out.put_u64(commit.0);
            out.put_u64(end.0);
            out.put_i64(7);
        }
        PluginMessage::Origin => {
            out.put_u8(b'O');
            out.put_u64(1);
            text(&mut out, "elsewhere");
        }
        PluginMessage::Relation(relation) => {
            out.put_u8(b'R');
            out.put_u32(relation.id);
            text(&mut out, &relation.schema);
            text(&mut out, &relation.name);
            out.put_u8(relation.identity);
            out.put_u16(relation.columns.len().try_into().unwrap());
            for column in &relation.columns {
                out.put_u8(column.identifies.into());
                text(&mut out, &column.name);
                out.put_u32(column.type_id);
                out.put_i32(-1);
            }
        }
        PluginMessage::Type(named) => {
            out.put_u8(b'Y');
            out.put_u32(named.id);
            text(&mut out, &named.schema);
            text(&mut out, &named.name);
        }
        PluginMessage::Insert { relation, new } => {
            out.put_u8(b'I');
            out.put_u32(*relation);
            out.put_u8(b'N');
            cells(&mut out, &new.0);
        }
        PluginMessage::Update { relation, old, new } => {
            out.put_u8(b'U');
            out.put_u32(*relation);
            if let Some(old) = old {
                out.put_u8(b'K');
                cells(&mut out, &old.0);
            }
            out.put_u8(b'N');
            cells(&mut out, &new.0);
        }
        PluginMessage::Delete { relation, old } => {
            out.put_u8(b'D');
            out.put_u32(*relation);
            out.put_u8(b'O');
            cells(&mut out, &old.0);
        }
        PluginMessage::Truncate { relations } => {
            out.put_u8(b'T');
            out.put_u32(relations.len().try_into().unwrap());
            out.put_u8(3);
            relations.iter().for_each(|relation| out.put_u32(*relation));
        }
        PluginMessage::Message { transactional, lsn, prefix } => {
            out.put_u8(b'M');
            out.put_u8((*transactional).into());
            out.put_u64(lsn.0);
            text(&mut out, prefix);
            out.put_u32(3);
            out.put_slice(b"any");
        }
    }
    out.freeze()
}

fn one_of_each() -> Vec<PluginMessage> {
    let row = Tuple(vec![
        TupleCell::Text(Bytes::from_static(b"42")),
        TupleCell::Null,
        TupleCell::Unchanged,
    ]);
    let column =
        |name: &str, identifies| RelationColumn { identifies, name: name.to_owned(), type_id: 23 };
    let named = |name: &str| (name.to_owned(), "public".to_owned());
    let ((name, schema), (type_name, type_schema)) = (named("orders"), named("mood"));
    vec![
        PluginMessage::Begin(TransactionBegin { commit: PgLsn(5), committed_at: -6, xid: 7 }),
        PluginMessage::Commit { commit: PgLsn(5), end: PgLsn(9) },
        PluginMessage::Origin,
        PluginMessage::Relation(Relation {
            id: 16_384,
            schema,
            name,
            identity: b'd',
            columns: vec![column("id", true), column("größe", false)],
        }),
        PluginMessage::Type(NamedType { id: 16_400, schema: type_schema, name: type_name }),
        PluginMessage::Insert { relation: 16_384, new: row.clone() },
        PluginMessage::Update { relation: 16_384, old: None, new: row.clone() },
        PluginMessage::Update { relation: 16_384, old: Some(row.clone()), new: row.clone() },
        PluginMessage::Delete { relation: 16_384, old: row },
        PluginMessage::Truncate { relations: vec![16_384, 16_385] },
        PluginMessage::Message { transactional: false, lsn: PgLsn(77), prefix: "galgo".to_owned() },
    ]
}

#[test]
fn each_message_is_decoded_and_every_truncation_refused() {
    for expected in one_of_each() {
        let bytes = encode(&expected);
        assert_eq!(decode(bytes.clone()).unwrap(), expected);
        for length in 0..bytes.len() {
            assert!(decode(bytes.slice(..length)).is_err(), "{expected:?} up to {length}");
        }
        let mut longer = BytesMut::from(&bytes[..]);
        longer.put_u8(0);
        assert!(decode(longer.freeze()).is_err(), "{expected:?} and more");
    }
}

/// A message of a few bytes that announces 4 GB of tables, values or columns must not have memory set aside for them.
#[test]
fn what_is_only_announced_takes_no_memory() {
    for message in [
        &b"T\xff\xff\xff\xff\0\0\0\0\x01"[..],
        b"I\0\0\0\x01N\xff\xfft\xff\xff\xff\xff",
        b"R\0\0\0\x01s\0n\0d\xff\xff",
        b"M\0\0\0\0\0\0\0\0\x01p\0\xff\xff\xff\xffx",
    ] {
        assert!(decode(Bytes::copy_from_slice(message)).is_err(), "{message:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(message in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode(Bytes::from(message));
    }

    #[test]
    fn damaged_messages_are_decoded_or_refused(
        which in 0..11_usize,
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = encode(&one_of_each()[which]).to_vec();
        for (place, value) in places {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Ok(decoded) = decode(Bytes::from(bytes.clone())) {
            let cells = match &decoded {
                PluginMessage::Insert { new, .. } => new.0.len(),
                PluginMessage::Truncate { relations } => relations.len(),
                _ => 0,
            };
            prop_assert!(cells <= bytes.len(), "no more values than bytes");
        }
    }
}
