//! Headers of every kind, and the ways bytes are not headers.

use super::*;
use proptest::prelude::*;

fn key(text: &str) -> HeaderKey {
    text.parse().unwrap()
}

#[test]
fn every_kind_keeps_its_value() {
    let headers: UserHeaders = [
        (key("raw"), HeaderField::new(HeaderKind::Raw, &[1, 2]).unwrap()),
        (key("string"), key("text")),
        (key("bool"), true.into()),
        (key("int8"), (-1_i8).into()),
        (key("int16"), (-2_i16).into()),
        (key("int32"), (-3_i32).into()),
        (key("int64"), (-4_i64).into()),
        (key("int128"), (-5_i128).into()),
        (key("uint8"), 1_u8.into()),
        (key("uint16"), 2_u16.into()),
        (key("uint32"), 3_u32.into()),
        (key("uint64"), 4_u64.into()),
        (key("uint128"), 5_u128.into()),
        (key("float32"), 1.5_f32.into()),
        (key("float64"), 2.5_f64.into()),
    ]
    .into_iter()
    .collect();
    assert_eq!(headers.len(), HeaderKind::ALL.len());
    let read = UserHeaders::from_bytes(&headers.to_bytes().unwrap()).unwrap();
    assert_eq!(read, headers);
    for (name, shown) in [
        ("raw", "0102"),
        ("string", "text"),
        ("bool", "true"),
        ("int128", "-5"),
        ("uint64", "4"),
        ("float32", "1.5"),
    ] {
        assert_eq!(read.get(name).unwrap().to_string(), shown);
        assert_eq!(read.get(name).unwrap().kind().word(), name);
    }
    assert_eq!(i16::try_from(read.get("int16").unwrap()), Ok(-2));
    assert_eq!(u16::try_from(read.get("int16").unwrap()), Err(HeaderError::Value));
    assert_eq!(read.get("bool").unwrap().as_bool(), Some(true));
}

#[test]
fn bytes_are_those_of_the_protocol() {
    let headers: UserHeaders = [(key("k"), 7_u32.into())].into_iter().collect();
    let expected = [2, 1, 0, 0, 0, b'k', 11, 4, 0, 0, 0, 7, 0, 0, 0];
    assert_eq!(headers.to_bytes().unwrap(), expected);
}

#[test]
fn headers_are_sorted_by_kind_then_bytes() {
    let headers: UserHeaders =
        [(7_u8.into(), 1_u8.into()), (key("b"), 1_u8.into()), (key("a"), 1_u8.into())]
            .into_iter()
            .collect();
    let keys: Vec<String> = headers.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(keys, ["a", "b", "7"]);
}

#[test]
fn what_is_no_header_is_named() {
    let cases: [(&[u8], HeaderError); 8] = [
        (&[0, 1, 0, 0, 0, b'k'], HeaderError::Kind(0)),
        (&[16, 1, 0, 0, 0, b'k'], HeaderError::Kind(16)),
        (&[2, 0, 0, 0, 0], HeaderError::Length { len: 0 }),
        (&[2, 255, 255, 255, 255], HeaderError::Length { len: u32::MAX as usize }),
        (&[2, 1, 0, 0, 0, b'k'], HeaderError::Truncated),
        (&[2, 2, 0, 0, 0, b'k'], HeaderError::Truncated),
        (&[2, 1, 0, 0, 0, 0xff], HeaderError::Value),
        (&[11, 3, 0, 0, 0, 1, 2, 3], HeaderError::Length { len: 3 }),
    ];
    for (bytes, error) in cases {
        assert_eq!(UserHeaders::from_bytes(bytes), Err(error), "{bytes:?}");
    }
    let error = HeaderError::Length { len: 256 };
    assert_eq!(HeaderField::new(HeaderKind::Raw, &[0; 256]), Err(error));
}

#[test]
fn headers_over_the_limit_are_refused() {
    let value = HeaderField::new(HeaderKind::Raw, &[0; 255]).unwrap();
    let headers: UserHeaders = (0..400_u32).map(|key| (key.into(), value.clone())).collect();
    assert_eq!(headers.to_bytes(), Err(HeaderError::TooLarge));
    assert_eq!(UserHeaders::from_bytes(&vec![0; 100_001]), Err(HeaderError::TooLarge));
}

proptest! {
    #[test]
    fn any_bytes_are_headers_or_refused(bytes in prop::collection::vec(0..20_u8, 0..60)) {
        if let Ok(headers) = UserHeaders::from_bytes(&bytes) {
            let again = headers.to_bytes().unwrap();
            prop_assert_eq!(UserHeaders::from_bytes(&again), Ok(headers));
        }
    }

    #[test]
    fn headers_round_trip_and_survive_truncation(
        fields in prop::collection::vec(("[a-z]{1,9}", any::<i64>()), 0..6),
    ) {
        let headers: UserHeaders =
            fields.into_iter().map(|(name, value)| (key(&name), value.into())).collect();
        let bytes = headers.to_bytes().unwrap();
        for end in 0..bytes.len() {
            let _ = UserHeaders::from_bytes(&bytes[..end]);
        }
        prop_assert_eq!(UserHeaders::from_bytes(&bytes), Ok(headers));
    }
}
