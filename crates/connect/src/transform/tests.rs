//! Transforms: what they make of messages, and what they make of programs and messages that mean no good.

use proptest::prelude::*;

use super::*;

fn jq(code: &str) -> Transforms {
    Transforms::compile(&[TransformSettings { jq: Some(code.to_owned()), ..Default::default() }])
        .unwrap()
}

fn json(text: impl Into<Bytes>) -> TransformInput {
    TransformInput { payload: text.into(), form: Form::Json, meta: Meta::default() }
}

fn outputs(transforms: &Transforms, text: &str) -> Vec<String> {
    let outputs = transforms.apply(&json(text.to_owned())).unwrap();
    outputs.into_iter().map(|(_, it)| String::from_utf8(it.to_vec()).unwrap()).collect()
}

fn fault(transforms: &Transforms, text: &str) -> String {
    transforms.apply(&json(text.to_owned())).unwrap_err().reason
}

fn only(settings: TransformSettings, text: &str) -> Vec<String> {
    outputs(&Transforms::compile(&[settings]).unwrap(), text)
}

#[test]
fn a_message_gives_none_one_or_many() {
    assert_eq!(outputs(&jq("select(.a > 1)"), r#"{"a":1}"#), [""; 0]);
    assert_eq!(outputs(&jq("select(.a > 0)"), r#"{"a":1}"#), [r#"{"a":1}"#]);
    assert_eq!(outputs(&jq(".[] | {n: .}"), "[1,2]"), [r#"{"n":1}"#, r#"{"n":2}"#]);
    let total = jq(r#"select(.status != "draft") | .total = ([.items[] | .price * .qty] | add)"#);
    assert_eq!(
        outputs(&total, r#"{"status":"paid","items":[{"price":3,"qty":2},{"price":1,"qty":4}]}"#),
        [r#"{"status":"paid","items":[{"price":3,"qty":2},{"price":1,"qty":4}],"total":10}"#]
    );
    let two = Transforms::compile(&[
        TransformSettings { jq: Some(".[]".to_owned()), ..Default::default() },
        TransformSettings { drop: Some(vec!["/card".to_owned()]), ..Default::default() },
    ]);
    assert_eq!(
        outputs(&two.unwrap(), r#"[{"card":1,"a":2},{"b":3}]"#),
        [r#"{"a":2}"#, r#"{"b":3}"#]
    );
}

#[test]
fn what_the_language_can_is_there_under_watch() {
    for (program, input, expected) in [
        (".a += 1 | .b *= 2", r#"{"a":1,"b":3}"#, r#"{"a":2,"b":6}"#),
        (".s += \"x\"", r#"{"s":"a"}"#, r#"{"s":"ax"}"#),
        (r#""\(.a)-\(.b)" * 2"#, r#"{"a":[1],"b":"t"}"#, r#""[1]-t[1]-t""#),
        ("[.[] | select(. > 1)] | length", "[1,2,3]", "2"),
        ("del(.. | .secret?)", r#"{"a":{"secret":1,"k":2}}"#, r#"{"a":{"k":2}}"#),
        ("[path(..)]", r#"{"a":[1]}"#, r#"[[],["a"],["a",0]]"#),
        ("(.. | numbers) |= . + 1", r#"{"a":[1,{"b":2}]}"#, r#"{"a":[2,{"b":3}]}"#),
        ("with_entries(.value += 1)", r#"{"a":1}"#, r#"{"a":2}"#),
        ("[limit(3; repeat(.))]", "1", "[1,1,1]"),
        ("[range(0; 10; 3)]", "null", "[0,3,6,9]"),
        ("reduce .[] as [$k, $v] ({}; .[$k] = $v)", r#"[["a",1]]"#, r#"{"a":1}"#),
        ("try error(\"no\") catch .", "null", r#""no""#),
        ("@csv \"\\(.)\"? // @json", "[1]", "\"[1]\""),
        ("def f($n): if $n == 0 then 0 else $n + f($n - 1) end; f(100)", "null", "5050"),
        ("tojson | fromjson | .a", r#"{"a":1.10}"#, "1.10"),
        ("@base64d", r#""YWI=""#, r#""ab""#),
        ("todate", "0", r#""1970-01-01T00:00:00Z""#),
        ("[splits(\", *\")]", r#""a, b""#, r#"["a","b"]"#),
        ("gsub(\"a\"; \"b\")", r#""aca""#, r#""bcb""#),
        ("group_by(.k) | map(length)", r#"[{"k":1},{"k":2},{"k":1}]"#, "[2,1]"),
        (
            "label $out | foreach .[] as $i (0; . + $i; if . > 2 then ., break $out else empty end)",
            "[1,2,3]",
            "3",
        ),
        ("limit(1; .[] | select(. > 1))", "[1,2,3]", "2"),
        ("paths(. == 2)", "[1,2]", "[1]"),
        ("walk(if type == \"number\" then -. else . end)", "[1,[2]]", "[-1,[-2]]"),
        ("[combinations]", "[[1,2],[3]]", "[[1,3],[2,3]]"),
        ("until(. > 100; . * 2)", "1", "128"),
        ("{a, \"b\": 2, (\"c\"): [.a]}", r#"{"a":1}"#, r#"{"a":1,"b":2,"c":[1]}"#),
    ] {
        // @csv is not of jaq's library; what a message says is parsed either way.
        let Ok(transforms) = Transforms::compile(&[TransformSettings {
            jq: Some(program.to_owned()),
            ..Default::default()
        }]) else {
            assert!(program.contains("@csv"), "{program}");
            continue;
        };
        assert_eq!(outputs(&transforms, input), [expected], "{program}");
    }
}

#[test]
fn numbers_keep_their_text() {
    for text in [
        r#"{"a":1.10,"b":12345678901234567890123,"c":1e400,"d":-0.0,"e":1E+2}"#,
        "123456789012345678901234567890.123456789012345678901234567890",
    ] {
        assert_eq!(outputs(&jq("."), text), [text]);
        assert_eq!(
            only(
                TransformSettings { keep: Some(vec!["/a".to_owned()]), ..Default::default() },
                text
            )
            .len(),
            1
        );
    }
    assert_eq!(outputs(&jq(".a"), r#"{"a":0.1000}"#), ["0.1000"]);
}

#[test]
fn what_json_leaves_open_is_decided() {
    assert_eq!(outputs(&jq("."), r#"{"a":1,"a":2}"#), [r#"{"a":2}"#], "the last one counts");
    let same = Transforms::default();
    let twice = r#"{"a":1,"a":2,"s":"\ud800"}"#;
    assert_eq!(outputs(&same, twice), [twice], "without a transform nothing is changed");
    assert!(fault(&jq("."), r#""\ud800""#).contains("lone surrogate"));
    assert_eq!(outputs(&jq("."), r#""\u0000\ud83d\ude00""#), ["\"\\u0000\u{1f600}\""]);
    assert!(fault(&jq("."), &format!("[{}]", "9".repeat(5_000))).contains("more than 4300 digits"));
    let long = format!("[\"{}\"]", "9".repeat(5_000));
    assert_eq!(outputs(&jq("."), &long), [long.as_str()]);
    for bad in ["", "{", "nan", "[1,]", "# x", "1 2", "b\"x\"", "[NaN]", "+1"] {
        assert!(fault(&jq("."), bad).starts_with("it is no JSON"), "{bad}");
    }
    assert!(fault(&jq("."), &"[".repeat(100)).contains("levels deep"));
    for program in ["nan", "1 / 0", "tobytes", "{(1 | tostring | tobytes): 1}", "{} | .[[1]] = 1"] {
        assert!(fault(&jq(program), "\"x\"").contains("is no JSON"), "{program}");
    }
}

/// INV-JQ-BOUND.
#[test]
fn a_program_that_does_not_end_is_ended() {
    for (program, reason) in [
        ("[limit(1e12; repeat(1))]", "steps"),
        ("def f: f; f", "steps"),
        ("reduce range(1e12) as $i (0; $i)", "steps"),
        ("[.[] as $a | .[] as $b | .[] as $c | .[] as $d | 1]", "steps"),
        ("range(20000)", "10000 outputs"),
        ("\"x\" * 1000000000000", "64 MiB"),
        ("\"x\" * 100000000000000000000000000", "64 MiB"),
        ("reduce range(100) as $i (\"x\"; . + .)", "64 MiB"),
        ("reduce range(100) as $i ([1]; . + .)", "64 MiB"),
        ("reduce range(100) as $i (10; . * . | floor)", "64 MiB"),
        ("[range(1000) as $i | \"x\" * 60000000]", "64 MiB"),
        ("reduce range(60) as $i (1; [., .])", "64 MiB"),
        ("reduce range(60) as $i (1; [., .]) | tojson | length", "64 MiB"),
        ("range(9000) | \"x\" * 60000", "64 MiB"),
        ("def f: 1 + f; f", "too deep"),
        ("def f: (f | .), 1; f", "too deep"),
        ("def f(g): f(g | g); f(1)", ""),
        ("reduce range(1e12) as $i (1; [.])", "lists and objects"),
        ("reduce range(900000) as $i (1; [.]) | tojson | length", ""),
        ("reduce range(900000) as $i (1; [.]) | flatten", ""),
        ("[range(900000) | \"a\"] as $p | null | setpath($p; 1)", ""),
        ("reduce range(900000) as $i (1; [.]) | [., .] | unique", ""),
        ("reduce range(900000) as $i (1; [.]) | . == (reduce range(900000) as $i (1; [.]))", ""),
        ("\"[\" * 1000000 | fromjson", ""),
        ("error(\"[\" * 1000)", "an error of its own"),
    ] {
        let outcome = jq(program).apply(&json("[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0]"));
        match reason {
            // That it came back is what counts.
            "" => {}
            reason => {
                let fault = outcome.unwrap_err().reason;
                // The clock of a busy machine may be first.
                assert!(fault.contains(reason) || fault.contains("5 s"), "{program}: {fault}");
            }
        }
    }
    assert_eq!(outputs(&jq("."), "1"), ["1"], "INV-JQ-BOUND: the next message is none the worse");
}

/// INV-SAME-ROWS.
#[test]
fn programs_see_nothing_of_the_world() {
    for (program, what) in [
        ("env", "see the message"),
        ("$ENV", "see the message"),
        ("input", "see the message"),
        ("[inputs]", "see the message"),
        ("now", "$meta.time"),
        ("localtime", "gmtime"),
        ("strflocaltime(\"%H\")", "gmtime"),
        ("debug", "show nothing"),
        ("stderr", "show nothing"),
        ("halt", "end nothing"),
        ("halt_error", "end nothing"),
        ("include \"x\"; .", "expected"),
        ("import \"x\" as x; .", "expected"),
        (".a |", "expected term in line 1, column 5, at its end"),
        (".a\n| foo(1)", "there is no filter `foo`"),
        ("galgo__program(.)", ""),
    ] {
        let settings = TransformSettings { jq: Some(program.to_owned()), ..Default::default() };
        match Transforms::compile(&[settings]) {
            Err(error) => {
                assert!(error.to_string().contains(what), "{program}: {error}");
                assert_eq!(error.at, "[[transform]] number 1");
            }
            Ok(_) => assert_eq!(what, "", "{program}"),
        }
    }
}

#[test]
fn errors_tell_no_value() {
    for program in [
        ".a.b",
        "error(.a)",
        ".a + 1",
        ".a | tonumber",
        ".a | fromjson",
        ".a |= error",
        "error",
        "error({x: .a})",
        ".a | test(\"(\")",
        ".a | strptime(\"%Y\")",
        ".a | @base64d",
        "\"cannot index \" + .a | error",
        ".a | implode",
        "-.a",
        ".a as [$x] | $x",
    ] {
        let fault = fault(&jq(program), r#"{"a":"MARKED-VALUE"}"#);
        assert!(!fault.contains("MARKED"), "INV-MUTE: {program}: {fault}");
        assert!(fault.starts_with("the jq program failed: "), "{program}: {fault}");
    }
    for payload in ["MARKED-VALUE", "{\"a\":MARKED-VALUE}", "\"MARKED-VALUE \\ud800\""] {
        let fault = fault(&jq("."), payload);
        assert!(!fault.contains("MARKED"), "INV-MUTE: {fault}");
    }
}

fn meta() -> Meta {
    let mut headers = UserHeaders::new();
    headers.insert("trace".parse().unwrap(), "t1".parse().unwrap());
    Meta {
        stream: Some("shop".into()),
        topic: Some("orders".into()),
        partition: Some(3),
        offset: Some(41),
        time: Some(1_700_000_000_123_456),
        id: Some(7),
        key: Some(Bytes::from_static(b"k")),
        headers: HeadersAtHand::Block(headers.to_bytes().unwrap().into()),
    }
}

#[test]
fn programs_and_expressions_know_where_the_message_is() {
    let mut input = json(r#"{"a":{"b":"x"},"n":1.50,"t":true,"l":[]}"#);
    input.meta = meta();
    let outputs = jq("$meta").apply(&input).unwrap();
    assert_eq!(
        outputs[0].1,
        r#"{"stream":"shop","topic":"orders","partition":3,"offset":41,"time":"2023-11-14T22:13:20.123456Z","id":"00000000-0000-0000-0000-000000000007","key":"k","headers":{"trace":"t1"}}"#
    );
    let evaluate = |text: &str| Expression::compile(text).unwrap().evaluate_input(&input);
    for (text, expected) in [
        (".a.b", Some("x")),
        (".n", Some("1.50")),
        (".t", Some("true")),
        (".none.deeper", None),
        ("@offset", Some("41")),
        ("@time", Some("2023-11-14T22:13:20.123456Z")),
        ("@id", Some("00000000-0000-0000-0000-000000000007")),
        ("@headers.trace", Some("t1")),
        ("@headers.none", None),
        (r#""shop.orders.\(.a.b)""#, Some("shop.orders.x")),
        ("$meta.topic + \"/\" + .a.b", Some("orders/x")),
        ("empty", None),
        (".l[0]", None),
    ] {
        assert_eq!(evaluate(text).unwrap().as_deref(), expected, "{text}");
    }
    assert!(evaluate(".l").unwrap_err().reason.contains("a list"));
    assert!(evaluate(".t.x").unwrap_err().reason.contains("in what has none"));
    assert!(evaluate(".a, .n").unwrap_err().reason.contains("more than one"));
    assert!(Expression::compile("@nothing").unwrap_err().contains("@topic"));
}

#[test]
fn fields_are_left_out_or_kept_and_conditions_hold() {
    let text = r#"{"id":1,"card":{"number":"4","kind":"v"},"items":[{"a":1},{"a":2}],"x/y":5}"#;
    let paths = |paths: &[&str]| Some(paths.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
    let drop =
        |list: &[&str]| only(TransformSettings { drop: paths(list), ..Default::default() }, text);
    assert_eq!(
        drop(&["/card/number", "/items/0", "/x~1y", "/none/deeper"]),
        [r#"{"id":1,"card":{"kind":"v"},"items":[{"a":2}]}"#]
    );
    let keep =
        |list: &[&str]| only(TransformSettings { keep: paths(list), ..Default::default() }, text);
    assert_eq!(keep(&["/card/kind", "/id", "/id/deeper"]), [r#"{"id":1,"card":{"kind":"v"}}"#]);
    assert_eq!(keep(&["/items/0"]), [r#"{"items":[{"a":1},{"a":2}]}"#]);
    for (condition, holds) in [
        ("json./status = \"paid\"", true),
        ("json./status != \"paid\"", false),
        ("json./total > 10", true),
        ("json./total <= 10", false),
        ("json./total = 10.5", true),
        ("json./total = \"10.5\"", false),
        ("json./none exists", false),
        ("json./none = null", false),
        ("json./none != 1", true),
        ("json./void = null", true),
        ("json./void exists", true),
        ("json./status = \"paid\" and json./total >= 10.50 and json./void exists", true),
        ("json./status = \"paid\" and json./total < 1", false),
    ] {
        let settings =
            TransformSettings { r#where: Some(condition.to_owned()), ..Default::default() };
        let given = only(settings, r#"{"status":"paid","total":10.50,"void":null}"#);
        assert_eq!(given.len(), usize::from(holds), "{condition}");
    }
    for wrong in [
        "",
        "status = 1",
        "json./a",
        "json./a ~ 1",
        "json./a = x",
        "json./a = 1 or json./b = 2",
        "json.a = 1",
    ] {
        let settings = TransformSettings { r#where: Some(wrong.to_owned()), ..Default::default() };
        assert!(Transforms::compile(&[settings]).is_err(), "{wrong}");
    }
    let both =
        TransformSettings { jq: Some(".".to_owned()), drop: paths(&["/a"]), ..Default::default() };
    assert!(Transforms::compile(&[both]).unwrap_err().what.contains("several"));
    assert!(Transforms::compile(&[TransformSettings::default()]).is_err());
}

#[test]
fn payloads_are_decoded_by_their_format() {
    let decode = |format: PayloadFormat, payload: &'static [u8]| {
        let (form, bytes) = format.decode(&Bytes::from_static(payload))?;
        Ok::<_, BadMessage>((form, as_json(form, &bytes)?))
    };
    for (format, payload, form, expected) in [
        (PayloadFormat::Json, &br#" {"a":1.10} "#[..], Form::Json, r#" {"a":1.10} "#),
        (PayloadFormat::Text, b"a\"b", Form::Text, r#""a\"b""#),
        (PayloadFormat::Bytes, b"\xff\x00", Form::Bytes, r#""/wA=""#),
        (PayloadFormat::Csv, b"a,\"b,c\"\n1\n", Form::Json, r#"[["a","b,c"],["1"]]"#),
        (PayloadFormat::Msgpack, b"\x81\xa1a\x01", Form::Json, r#"{"a":1}"#),
        (PayloadFormat::Cbor, b"\xa1\x61a\x01", Form::Json, r#"{"a":1}"#),
    ] {
        let (found, json) = decode(format, payload).unwrap();
        assert_eq!((found, &json[..]), (form, expected.as_bytes()), "{format:?}");
    }
    for format in [
        PayloadFormat::Json,
        PayloadFormat::Text,
        PayloadFormat::Csv,
        PayloadFormat::Msgpack,
        PayloadFormat::Cbor,
    ] {
        assert!(decode(format, b"\xc1\xff").is_err(), "{format:?}");
    }
    let mut input = json("plain \"text\"");
    input.form = Form::Text;
    assert_eq!(jq("{text: .}").apply(&input).unwrap()[0].1, r#"{"text":"plain \"text\""}"#);
}

#[tokio::test]
async fn many_messages_keep_their_order_whatever_becomes_of_each() {
    let transforms = jq("if . == 3 then until(false; .) elif . == 5 then error else . + 1 end");
    let inputs = (0..8).map(|number: u32| json(number.to_string())).collect();
    let outcomes = transforms.apply_each(inputs).await;
    let texts: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| outcome.map(|it| it.iter().map(|it| it.1.clone()).collect::<Vec<_>>()).ok())
        .collect();
    let some = |text: &'static str| Some(vec![Bytes::from_static(text.as_bytes())]);
    assert_eq!(
        texts,
        [some("1"), some("2"), some("3"), None, some("5"), None, some("7"), some("8")]
    );
}

/// JSON as programs write it: no signs and digits that mean nothing.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[^\u{7f}]*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec(("[a-z]{0,3}", inner), 0..8)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn any_format() -> impl Strategy<Value = PayloadFormat> {
    prop_oneof![
        Just(PayloadFormat::Json),
        Just(PayloadFormat::Text),
        Just(PayloadFormat::Bytes),
        Just(PayloadFormat::Csv),
        Just(PayloadFormat::Msgpack),
        Just(PayloadFormat::Cbor),
        Just(PayloadFormat::Protobuf),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn identity_changes_nothing(value in any_json(), pretty in any::<bool>()) {
        let compact = value.to_string();
        let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { compact.clone() };
        let given = outputs(&jq("."), &text);
        // Escapes may be written otherwise; the values and the text of numbers may not.
        let again: serde_json::Value = serde_json::from_str(&given[0]).unwrap();
        prop_assert_eq!(again, serde_json::from_str::<serde_json::Value>(&text).unwrap());
        if !compact.contains('\\') {
            prop_assert_eq!(&given[0], &compact);
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_a_bad_one(
        format in any_format(),
        payload in prop::collection::vec(any::<u8>(), 0..300),
        form in prop_oneof![Just(Form::Json), Just(Form::Text), Just(Form::Bytes)],
    ) {
        let payload = Bytes::from(payload);
        let transforms = jq("[.. | tojson, type]");
        if let Ok((form, decoded)) = format.decode(&payload) {
            let input = TransformInput { payload: decoded, form, meta: meta() };
            transforms.apply(&input).unwrap();
        }
        let raw = TransformInput { payload, form, meta: Meta::default() };
        let _ = transforms.apply(&raw);
        let _ = Expression::compile(".a.b").unwrap().evaluate_input(&raw);
    }
}
