//! Payloads of all kinds, whole and broken.

use proptest::prelude::*;
use serde_json::{Value, json};
use std::io::Write as _;

use super::*;

fn auto(payload: &[u8]) -> Decoded {
    decode(payload, Choice::Auto, &Limits::SHOWN)
}

fn shown(payload: &[u8], encoding: Encoding) -> String {
    let decoded = decode(payload, Choice::Only(encoding), &Limits::SHOWN);
    assert_eq!((decoded.encoding, &decoded.tried[..]), (encoding, &[][..]), "{}", decoded.text);
    decoded.text
}

fn refused(payload: &[u8], encoding: Encoding) -> Reason {
    to_json(payload, encoding, &Limits::SHOWN).unwrap_err()
}

fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|byte| *byte != b' ').collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn what_is_json_is_shown_as_it_is() {
    let text = " {\"a\": 12345678901234567890123, \"b\":1.10,\n\"a\":[]} ";
    let decoded = auto(text.as_bytes());
    assert_eq!((decoded.encoding, decoded.text.as_str()), (Encoding::Json, text), "INV-NUMBERS");
    assert_eq!(to_json(text.as_bytes(), Encoding::Json, &Limits::WHOLE).unwrap(), text);
    assert_eq!(refused(b"{\"a\":1,}", Encoding::Json), Reason::Syntax { at: 7 });
    assert_eq!(refused(b"\n\n{\"a\" 1}", Encoding::Json), Reason::Syntax { at: 7 });
    assert_eq!(refused(b" ", Encoding::Json), Reason::Empty);
    assert_eq!(refused(b"\"\xff\"", Encoding::Json), Reason::Syntax { at: 1 });
}

#[test]
fn what_is_no_json_is_text_if_it_can_be_read() {
    let decoded = auto("Grüße,\tWelt\r\n".as_bytes());
    assert_eq!((decoded.encoding, decoded.text.as_str()), (Encoding::Text, "Grüße,\tWelt\r\n"));
    assert_eq!(decoded.tried[0].encoding, Encoding::Json);
    assert_eq!(decoded.tried[0].reason, "it breaks off or is wrong at byte 0");
    let decoded = auto(b"a\x01b");
    assert_eq!((decoded.encoding, decoded.text.as_str()), (Encoding::Hex, "610162"));
    assert_eq!(decoded.tried[1].reason, "it has control characters, the first at byte 1");
    assert_eq!(shown(b"a\x01b", Encoding::Text), "a\u{1}b", "who asks for text gets it");
    assert_eq!(to_json(b"a\"\x01", Encoding::Text, &Limits::WHOLE).unwrap(), r#""a\"\u0001""#);
    assert_eq!(to_json(b"\x01\xff", Encoding::Hex, &Limits::WHOLE).unwrap(), "\"01ff\"");
    assert_eq!(auto(b"").encoding, Encoding::Text);
}

/// From the specification of MessagePack, by hand.
#[test]
fn messagepack_keeps_its_numbers() {
    let payload = hex(
        "84 a1 61 cf ffffffffffffffff a1 62 d3 8000000000000000 a1 63 cb 3fb999999999999a a1 64 ca 3dcccccd",
    );
    let expected = r#"{"a":18446744073709551615,"b":-9223372036854775808,"c":0.1,"d":0.1}"#;
    assert_eq!(auto(&payload).text, expected, "INV-NUMBERS");
    assert_eq!(auto(&payload).encoding, Encoding::Msgpack);
    let special = hex("96 c0 c2 c3 cb 7ff8000000000000 c4 03 010203 e0");
    assert_eq!(auto(&special).text, r#"[null,false,true,"NaN","AQID",-32]"#);
    let keys = hex("83 01 a1 78 92 01 02 a1 79 a1 71 c0");
    assert_eq!(auto(&keys).text, r#"{"1":"x","[1,2]":"y","q":null}"#);
    assert_eq!(shown(&hex("d6ff 00000001"), Encoding::Msgpack), "\"1970-01-01T00:00:01Z\"");
    let fine = hex("d7ff 0000000400000001");
    assert_eq!(shown(&fine, Encoding::Msgpack), "\"1970-01-01T00:00:01.000000001Z\"");
    let wide = hex("c70cff 00000001 ffffffffffffffff");
    assert_eq!(shown(&wide, Encoding::Msgpack), "\"1969-12-31T23:59:59.000000001Z\"");
    assert_eq!(shown(&hex("d405 ff"), Encoding::Msgpack), r#"{"ext":5,"base64":"/w=="}"#);
    assert_eq!(refused(&hex("91"), Encoding::Msgpack), Reason::Syntax { at: 1 });
    assert_eq!(refused(&hex("9000"), Encoding::Msgpack), Reason::LeftOver { left: 1 });
    assert_eq!(refused(&hex("91c1"), Encoding::Msgpack), Reason::Syntax { at: 1 });
    assert_eq!(refused(&hex("92a2 61ff c0"), Encoding::Msgpack), Reason::Syntax { at: 3 });
    assert_eq!(refused(b"", Encoding::Msgpack), Reason::Empty);
    assert_eq!(auto(&hex("01")).encoding, Encoding::Hex, "a lone number is none by chance");
}

/// Examples of RFC 8949, appendix A.
#[test]
fn cbor_keeps_its_numbers() {
    for (payload, expected) in [
        ("1bffffffffffffffff", "18446744073709551615"),
        ("3bffffffffffffffff", "-18446744073709551616"),
        ("c249010000000000000000", "18446744073709551616"),
        ("c349010000000000000000", "-18446744073709551617"),
        ("f90001", "5.960464477539063e-8"),
        ("f97c00", "\"inf\""),
        ("fb7e37e43c8800759c", "1e300"),
        ("f7", "null"),
        ("f0", "\"simple(16)\""),
        ("c11a514b67b0", "\"2013-03-21T20:04:00Z\""),
        ("d818456449455446", "\"ZElFVEY=\""),
        ("a26161016162820203", r#"{"a":1,"b":[2,3]}"#),
        ("bf61610161629f0203ffff", r#"{"a":1,"b":[2,3]}"#),
        ("5f42010243030405ff", "\"AQIDBAU=\""),
        ("7f657374726561646d696e67ff", "\"streaming\""),
        ("a201020304", r#"{"1":2,"3":4}"#),
    ] {
        assert_eq!(shown(&hex(payload), Encoding::Cbor), expected, "INV-NUMBERS: {payload}");
    }
    assert_eq!(auto(&hex("d9d9f700")).encoding, Encoding::Cbor, "it says that it is");
    assert_eq!(auto(&hex("9f0102ff")).text, "[1,2]");
    assert_eq!(refused(&hex("8201"), Encoding::Cbor), Reason::Syntax { at: 2 });
    assert_eq!(refused(&hex("ff"), Encoding::Cbor), Reason::Syntax { at: 0 });
    assert_eq!(refused(&hex("0000"), Encoding::Cbor), Reason::LeftOver { left: 1 });
    assert_eq!(refused(b"", Encoding::Cbor), Reason::Empty);
}

#[test]
fn protobuf_is_shown_by_the_numbers_of_its_fields() {
    // a: 150; b: "testing"; c: { a: 150 }; d: [3, 270]; e: bytes; f: a double, as it is written
    let payload = hex(
        "08 9601 12 07 74657374696e67 1a 03 089601 20 03 20 8e02 2a 02 ff00 31 000000000000f03f",
    );
    let expected =
        r#"{"1":150,"2":"testing","3":{"1":150},"4":[3,270],"5":"/wA=","6":4607182418800017408}"#;
    assert_eq!(shown(&payload, Encoding::Protobuf), expected);
    assert_eq!(shown(&hex("0b 08 01 0c"), Encoding::Protobuf), r#"{"1":{"1":1}}"#, "a group");
    for broken in ["08", "00 01", "0f", "0a 05 61", "0b 08 01", "0c", "08 ffffffffffffffffff02"] {
        let reason = refused(&hex(broken), Encoding::Protobuf);
        assert!(matches!(reason, Reason::Syntax { .. }), "{broken}: {reason}");
    }
    let decoded = decode(&hex("00"), Choice::Only(Encoding::Protobuf), &Limits::SHOWN);
    assert_eq!((decoded.encoding, decoded.text.as_str()), (Encoding::Hex, "00"));
    assert_eq!(decoded.tried[0].encoding, Encoding::Protobuf);
}

fn gzipped(payload: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(payload).unwrap();
    encoder.finish().unwrap()
}

/// INV-DECODE-BOUND: a small payload that unpacks to a huge one.
#[test]
fn compressed_payloads_are_unpacked_up_to_a_limit() {
    let zipped = zstd::encode_all(&gzipped(b"{\"a\":1}")[..], 1).unwrap();
    let decoded = auto(&zipped);
    assert_eq!(decoded.wrapped, [Wrapping::Zstd, Wrapping::Gzip]);
    assert_eq!((decoded.encoding, decoded.text.as_str()), (Encoding::Json, "{\"a\":1}"));
    assert_eq!(to_json(&zipped, Encoding::Json, &Limits::WHOLE).unwrap(), "{\"a\":1}");
    let bomb = gzipped(&vec![b'x'; (16 << 20) + 1]);
    assert_eq!(auto(&bomb).encoding, Encoding::Hex, "{} bytes", bomb.len());
    assert_eq!(auto(&gzipped(&vec![b'x'; 16 << 20])).encoding, Encoding::Text);
    let mut broken = gzipped(b"abc");
    broken.pop();
    assert_eq!(auto(&broken).encoding, Encoding::Hex);
}

/// INV-DECODE-BOUND: neither depth nor number nor length is the sender's to choose.
#[test]
fn what_is_too_deep_or_too_much_is_no_list() {
    let limits = Limits { text_bytes: 20, depth: 3, values: 5, unwrapped_bytes: 1_000 };
    let reason = |payload: &[u8], encoding| to_json(payload, encoding, &limits).unwrap_err();
    let (depth, values) = (Reason::Depth { limit: 3 }, Reason::Values { limit: 5 });
    assert_eq!(reason(b"[[[[1]]]]", Encoding::Json), depth);
    assert_eq!(reason(&hex("9191919101"), Encoding::Msgpack), depth);
    assert_eq!(reason(&hex("8181818101"), Encoding::Cbor), depth);
    assert_eq!(reason(&hex("c6c6c6c6c601"), Encoding::Cbor), depth, "tags");
    assert_eq!(reason(b"[1,2,3,4,5]", Encoding::Json), values);
    assert_eq!(reason(&hex("9501 01 01 01 01"), Encoding::Msgpack), values);
    assert_eq!(reason(&hex("8501 01 01 01 01"), Encoding::Cbor), values);
    assert_eq!(reason(&hex("8301 01 01 01 01"), Encoding::Cbor), Reason::LeftOver { left: 2 });
    assert_eq!(reason(&hex("0801 0801 0801 0801 0801 0801"), Encoding::Protobuf), values);
    assert_eq!(reason(&[b'x'; 21], Encoding::Text), Reason::Size { limit: 20 });
    let cut = decode(&[b'x'; 21], Choice::Auto, &limits);
    assert_eq!((cut.text.len(), cut.truncated), (20, true));
    let cut = decode("ä".repeat(11).as_bytes(), Choice::Auto, &limits);
    assert_eq!((cut.text.len(), cut.truncated), (20, true), "between letters");
    let deep = [vec![0x91; 1 << 20], vec![1]].concat();
    assert_eq!(refused(&deep, Encoding::Msgpack), Reason::Depth { limit: 64 });
    let many = hex("dd ffffffff");
    assert_eq!(refused(&many, Encoding::Msgpack), Reason::Syntax { at: 5 }, "nothing is allocated");
}

#[test]
fn names_of_encodings_are_read_as_they_are_written() {
    for (encoding, name) in Encoding::ALL {
        assert_eq!(name.parse(), Ok(Choice::Only(encoding)));
        assert_eq!(encoding.to_string(), name);
        assert_eq!(json!(encoding), json!(name));
    }
    assert_eq!("auto".parse(), Ok(Choice::Auto));
    assert_eq!("JSON".parse::<Choice>(), Err(UnknownEncoding));
}

/// Values that JSON, MessagePack and CBOR all have.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // The parser that looks at what came out is a digit off at times; the text never is.
        any::<f64>().prop_map(Value::from).prop_filter("a number it reads right", |value| {
            !value.is_null() && serde_json::from_str::<Value>(&value.to_string()).unwrap() == *value
        }),
        ".{0,300}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::btree_map(".{0,40}", inner, 0..20)
                .prop_map(|map| Value::from(serde_json::Map::from_iter(map))),
        ]
    })
}

fn to_msgpack(value: &Value, out: &mut Vec<u8>) {
    use rmp::encode as write;
    match value {
        Value::Null => write::write_nil(out).unwrap(),
        Value::Bool(value) => write::write_bool(out, *value).unwrap(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => drop(write::write_uint(out, number).unwrap()),
            (None, Some(number)) => drop(write::write_sint(out, number).unwrap()),
            (None, None) => write::write_f64(out, number.as_f64().unwrap()).unwrap(),
        },
        Value::String(text) => write::write_str(out, text).unwrap(),
        Value::Array(values) => {
            write::write_array_len(out, u32::try_from(values.len()).unwrap()).unwrap();
            values.iter().for_each(|value| to_msgpack(value, out));
        }
        Value::Object(map) => {
            write::write_map_len(out, u32::try_from(map.len()).unwrap()).unwrap();
            for (key, value) in map {
                write::write_str(out, key).unwrap();
                to_msgpack(value, out);
            }
        }
    }
}

fn to_cbor(value: &Value, out: &mut ciborium_ll::Encoder<&mut Vec<u8>>) {
    use ciborium_ll::{Header, simple};
    let header = match value {
        Value::Null => Header::Simple(simple::NULL),
        Value::Bool(true) => Header::Simple(simple::TRUE),
        Value::Bool(false) => Header::Simple(simple::FALSE),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Header::Positive(number),
            (None, Some(number)) => Header::Negative(u64::try_from(-1 - number).unwrap()),
            (None, None) => Header::Float(number.as_f64().unwrap()),
        },
        Value::String(text) => return out.text(text, Some(7)).unwrap(),
        Value::Array(values) => {
            out.push(Header::Array(None)).unwrap();
            values.iter().for_each(|value| to_cbor(value, out));
            Header::Break
        }
        Value::Object(map) => {
            out.push(Header::Map(Some(map.len()))).unwrap();
            for (key, value) in map {
                out.text(key, None).unwrap();
                to_cbor(value, out);
            }
            return;
        }
    };
    out.push(header).unwrap();
}

proptest! {
    #[test]
    fn every_value_comes_out_as_it_went_in(value in values()) {
        let mut packed = Vec::new();
        to_msgpack(&value, &mut packed);
        let text = to_json(&packed, Encoding::Msgpack, &Limits::WHOLE).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &value);
        let mut packed = Vec::new();
        to_cbor(&value, &mut ciborium_ll::Encoder::from(&mut packed));
        let text = to_json(&packed, Encoding::Cbor, &Limits::WHOLE).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &value);
    }

    /// INV-DECODE-BOUND and INV-ALL-BYTES, for bytes of no meaning and for those that are nearly right.
    #[test]
    fn no_bytes_do_harm(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            (values(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(value, at, byte)| {
                let mut packed = Vec::new();
                to_msgpack(&value, &mut packed);
                let at = at.index(packed.len());
                packed[at] = byte;
                packed
            }),
        ],
        text_bytes in 0..200_usize,
    ) {
        let limits = Limits { text_bytes, depth: 8, values: 50, unwrapped_bytes: 1_000 };
        for choice in [Choice::Auto].into_iter().chain(Encoding::ALL.map(|(one, _)| Choice::Only(one))) {
            let decoded = decode(&bytes, choice, &limits);
            prop_assert!(decoded.text.len() <= text_bytes);
        }
        for (encoding, _) in Encoding::ALL {
            if let Ok(text) = to_json(&bytes, encoding, &limits) {
                prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{} {}", encoding, text);
            }
        }
    }
}
