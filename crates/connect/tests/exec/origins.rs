//! Programs as origins.

use std::time::Duration;

use galgo_connect::{Beginning, Chunk, Cursor, Source};
use galgo_testkit::service::program;

use super::*;

fn ticker(settings: &str) -> Option<(tempfile::TempDir, Box<dyn SourceSpec>)> {
    program("python3", &[])?;
    let dir = tempfile::tempdir().unwrap();
    let example = examples().join("ticker_source.py");
    let text = format!("command = ['python3', {example:?}]\nsettings = {settings}");
    let spec = source_spec(dir.path(), &text);
    Some((dir, spec))
}

async fn begun(spec: &dyn SourceSpec, cursor: Option<Cursor>, once: bool) -> Box<dyn Source> {
    let mut source = spec.source();
    source.begin(Beginning { cursor, once }).await.unwrap();
    source
}

async fn next(source: &mut dyn Source) -> Option<Chunk> {
    let waited = tokio::time::timeout(Duration::from_secs(60), source.next());
    waited.await.expect("something comes").unwrap()
}

#[tokio::test]
async fn the_example_goes_on_where_it_was() {
    let Some((_dir, spec)) = ticker("{ every_seconds = 0.01, upto = 20 }") else { return };
    let mut source = begun(&*spec, None, false).await;
    let mut ids = Vec::new();
    for number in 1..=5 {
        let chunk = next(&mut *source).await.unwrap();
        assert_eq!(chunk.cursor, Cursor(number.into()));
        source.settled(&chunk.cursor).await.unwrap();
        ids.extend(chunk.messages.iter().map(|message| message.id.unwrap()));
    }
    source.finish().await.unwrap();
    // Killed, begun again in front of what was read already, and read to its end.
    let mut source = begun(&*spec, Some(Cursor(4.into())), false).await;
    let chunk = next(&mut *source).await.unwrap();
    assert_eq!(chunk.messages[0].id, Some(ids[4]), "the same id when it is read again");
    drop(source);
    let mut source = begun(&*spec, Some(Cursor(5.into())), true).await;
    while let Some(chunk) = next(&mut *source).await {
        ids.extend(chunk.messages.iter().map(|message| message.id.unwrap()));
        source.settled(&chunk.cursor).await.unwrap();
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    source.finish().await.unwrap();
}

#[tokio::test]
async fn messages_are_what_the_program_wrote() {
    let Some(script) = Script::new(
        r#"
say({'ready': {}})
say({'messages': []})
print('{"messages":[{"id":"0190b5a0-0000-7000-8000-000000000001","key":"k","payload":{"n":1.10},"headers":{"a":"b","c":3},"time":7},'
      '{"id":5,"payload":"text"},{"base64":"AP8="}],"position":{"at":[1,2]}}', flush=True)
line = hear()
say({'messages': [{'payload': line}], 'position': None})
hear()
"#,
    ) else {
        return;
    };
    let mut source = begun(&*script.source(""), None, false).await;
    let chunk = next(&mut *source).await.unwrap();
    let [one, two, three] = &chunk.messages[..] else { panic!("{chunk:?}") };
    assert_eq!((&one.payload[..], one.form), (&b"{\"n\":1.10}"[..], Form::Json));
    assert_eq!(one.id, Some(0x0190_b5a0_0000_7000_8000_0000_0000_0001));
    assert_eq!((one.key.as_deref(), one.made_at), (Some(&b"k"[..]), Some(7)));
    assert_eq!(one.headers.len(), 2);
    assert_eq!((&two.payload[..], two.form, two.id), (&b"text"[..], Form::Text, Some(5)));
    assert_eq!((&three.payload[..], three.form, three.id), (&[0, 0xff][..], Form::Bytes, None));
    assert_eq!(chunk.cursor, Cursor(serde_json::json!({"at": [1, 2]})));
    source.settled(&chunk.cursor).await.unwrap();
    let echo = next(&mut *source).await.unwrap();
    assert_eq!(&echo.messages[0].payload[..], b"{\"settled\": {\"at\": [1, 2]}}");
    source.finish().await.unwrap();
}

#[tokio::test]
async fn an_origin_that_does_not_keep_to_the_protocol_is_ended_and_named() {
    for (text, expected) in [
        ("print('SECRET', flush=True)", "no JSON"),
        ("say({'done': 1})", "wrote a line without messages"),
        ("say({'messages': [{}]})", "without payload"),
        ("say({'messages': [{'payload': 1, 'base64': ''}]})", "without payload, or with two"),
        ("say({'messages': [{'base64': 'SECRET!'}]})", "whose base64 is none"),
        ("say({'messages': [{'payload': 1, 'id': [1]}]})", "neither text nor a whole number"),
        ("say({'messages': [{'payload': 1, 'headers': {'a': ''}}]})", "with a header that is none"),
        ("sys.exit(4)", "ended with exit code 4"),
    ] {
        let Some(script) = Script::new(&format!("say({{'ready': {{}}}})\n{text}\nhear()")) else {
            return;
        };
        let mut source = begun(&*script.source(""), None, false).await;
        let told = away(source.next().await.map(|_| ()));
        assert!(told.contains(expected), "{text}: {told}");
        assert!(!told.contains("SECRET"), "INV-MUTE: {told}");
        let told = away(source.next().await.map(|_| ()));
        assert_eq!(told, "the program does not run");
    }
    let Some(script) = Script::new("say({'ready': {}})") else { return };
    let mut source = begun(&*script.source(""), None, false).await;
    let told = away(source.next().await.map(|_| ()));
    assert!(told.contains("ended with exit code 0"), "only with once is this the end: {told}");
    let mut source = begun(&*script.source(""), None, true).await;
    assert_eq!(source.next().await, Ok(None));
}
