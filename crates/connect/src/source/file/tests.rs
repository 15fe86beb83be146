//! Files as an origin: lines once and whole, through rotations, cuts and restarts.

use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::batch::Form;
use crate::source::Incoming;

fn spec(path: &str, more: &str) -> Box<dyn SourceSpec> {
    let surroundings = Surroundings { pipeline: "p".to_owned(), folder: PathBuf::from("/") };
    read(format!("path = {path:?}\n{more}").parse().unwrap(), &surroundings).unwrap()
}

fn origin(dir: &Path, pattern: &str, more: &str) -> Box<dyn SourceSpec> {
    spec(dir.join(pattern).to_str().unwrap(), more)
}

async fn begun(spec: &dyn SourceSpec, cursor: Option<Cursor>, once: bool) -> Box<dyn Source> {
    let mut source = spec.source();
    source.begin(Beginning { cursor, once }).await.unwrap();
    source
}

/// Reads to the end: the messages and the last cursor.
async fn all(source: &mut dyn Source) -> (Vec<Incoming>, Option<Cursor>) {
    let (mut messages, mut cursor) = (Vec::new(), None);
    while let Some(chunk) = source.next().await.unwrap() {
        messages.extend(chunk.messages);
        cursor = Some(chunk.cursor);
    }
    (messages, cursor)
}

/// Waits for the next message.
async fn one(source: &mut dyn Source) -> (Incoming, Cursor) {
    loop {
        let waited = tokio::time::timeout(Duration::from_secs(60), source.next()).await;
        let chunk = waited.expect("a message comes").unwrap().unwrap();
        if let Some(first) = chunk.messages.first() {
            assert_eq!(chunk.messages.len(), 1);
            return (first.clone(), chunk.cursor);
        }
    }
}

async fn is_quiet(source: &mut dyn Source) -> bool {
    tokio::time::timeout(Duration::from_millis(800), source.next()).await.is_err()
}

fn texts(messages: &[Incoming]) -> Vec<&str> {
    messages.iter().map(|message| std::str::from_utf8(&message.payload).unwrap()).collect()
}

fn append(path: &Path, text: &str) {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

/// INV-FILE-LINE
#[tokio::test]
async fn only_whole_lines_are_read_and_what_is_read_again_has_the_same_id() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a.log");
    append(&log, "one\r\n\ntwo\nthr");
    let spec = origin(dir.path(), "*.log", "");
    let (first, cursor) = all(&mut *begun(&*spec, None, true).await).await;
    assert_eq!(texts(&first), ["one", "two"]);
    assert!(first.iter().all(|message| message.form == Form::Text && message.key.is_some()));
    append(&log, "ee\nfour\n");
    let (again, _) = all(&mut *begun(&*spec, None, true).await).await;
    assert_eq!(texts(&again), ["one", "two", "three", "four"]);
    assert_eq!(again[..2], first[..]);
    let (rest, cursor) = all(&mut *begun(&*spec, cursor, true).await).await;
    assert_eq!(rest, again[2..]);
    let (none, _) = all(&mut *begun(&*spec, cursor, true).await).await;
    assert_eq!(none, []);
    let mut ids: Vec<_> = again.iter().map(|message| message.id.unwrap()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn a_file_that_is_renamed_is_read_to_its_end_and_so_is_the_one_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, old) = (dir.path().join("a.log"), dir.path().join("a.log.1"));
    append(&log, "1\n");
    let spec = origin(dir.path(), "*.log", "");
    let mut source = begun(&*spec, None, false).await;
    assert_eq!(texts(&[one(&mut *source).await.0]), ["1"]);
    std::fs::rename(&log, &old).unwrap();
    append(&old, "2\n");
    let (second, cursor) = one(&mut *source).await;
    assert_eq!(texts(&[second]), ["2"]);
    append(&log, "3\n");
    assert_eq!(texts(&[one(&mut *source).await.0]), ["3"]);
    // What was written to the renamed one while nobody looked is read by the next process.
    drop(source);
    append(&old, "4\n");
    let (rest, _) = all(&mut *begun(&*spec, Some(cursor), true).await).await;
    let mut rest = texts(&rest);
    rest.sort_unstable();
    assert_eq!(rest, ["3", "4"]);
}

#[tokio::test]
async fn a_file_that_is_deleted_is_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a.log");
    append(&log, "1\n");
    let spec = origin(dir.path(), "*.log", "");
    let mut source = begun(&*spec, None, false).await;
    one(&mut *source).await;
    append(&log, "2\n");
    std::fs::remove_file(&log).unwrap();
    let (second, cursor) = one(&mut *source).await;
    assert_eq!(texts(&[second]), ["2"]);
    append(&log, "3\n");
    let (third, after) = one(&mut *source).await;
    assert_eq!(texts(&[third]), ["3"]);
    assert_eq!(cursor.0["files"].as_array().unwrap().len(), 1);
    assert_eq!(after.0["files"].as_array().unwrap().len(), 1, "the deleted one is forgotten");
}

/// INV-FILE-LINE: the same line at the same place of a file that was cut is another message.
#[tokio::test]
async fn a_file_that_is_cut_or_written_anew_is_read_from_its_begin() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a.log");
    append(&log, "head\nx\n");
    let spec = origin(dir.path(), "*.log", "");
    let (first, cursor) = all(&mut *begun(&*spec, None, true).await).await;
    std::fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(0).unwrap();
    append(&log, "head\n");
    let (shorter, cursor) = all(&mut *begun(&*spec, cursor, true).await).await;
    assert_eq!(texts(&shorter), ["head"]);
    assert_ne!(shorter[0].id, first[0].id);
    // Longer than before, with the same first line: noticed by what is in front of the place.
    std::fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(0).unwrap();
    append(&log, "head\ny\nz\n");
    let (longer, _) = all(&mut *begun(&*spec, cursor.clone(), true).await).await;
    assert_eq!(texts(&longer), ["y", "z"], "what it begins with is what was read");
    let mut source = begun(&*spec, cursor, false).await;
    assert_eq!(texts(&source.next().await.unwrap().unwrap().messages), ["y", "z"]);
    std::fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(0).unwrap();
    append(&log, "other\n");
    assert_eq!(texts(&[one(&mut *source).await.0]), ["other"]);
}

#[tokio::test]
async fn a_line_that_is_too_long_stops_or_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a.log");
    let long = "x".repeat(3 << 20);
    append(&log, &format!("1\n{long}\n2\n"));
    let stops = origin(dir.path(), "*.log", "line_bytes_max = '2MiB'");
    let mut source = begun(&*stops, None, true).await;
    assert_eq!(texts(&[one(&mut *source).await.0]), ["1"]);
    let told = source.next().await.unwrap_err();
    assert_eq!(told.class(), "refused");
    assert!(told.to_string().contains("the line at byte 2 of"), "{told}");
    assert!(!told.to_string().contains("xxx"), "INV-MUTE");
    let skips = origin(dir.path(), "*.log", "line_bytes_max = '2MiB'\non_long = 'skip'");
    let (messages, _) = all(&mut *begun(&*skips, None, true).await).await;
    assert_eq!(texts(&messages), ["1", "2"]);
    let takes = origin(dir.path(), "*.log", "line_bytes_max = '3MiB'");
    let (messages, _) = all(&mut *begun(&*takes, None, true).await).await;
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[1].payload.len(), 3 << 20);
    // One whose end has not come yet is passed by when it has.
    append(&log, &long);
    let mut source = begun(&*skips, None, false).await;
    assert_eq!(texts(&[one(&mut *source).await.0]), ["1"]);
    assert_eq!(texts(&[one(&mut *source).await.0]), ["2"]);
    assert!(is_quiet(&mut *source).await);
    append(&log, &format!("{long}\n3\n"));
    assert_eq!(texts(&[one(&mut *source).await.0]), ["3"]);
}

#[tokio::test]
async fn records_with_a_header_become_objects() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.csv");
    append(&file, "\u{feff}id;name\r\n1;\"a\nb\"\r\n2;c");
    let spec = origin(dir.path(), "a.csv", "format = 'csv'\ndelimiter = ';'");
    let (messages, cursor) = all(&mut *begun(&*spec, None, true).await).await;
    assert_eq!(texts(&messages), [r#"{"id":"1","name":"a\nb"}"#]);
    assert_eq!(messages[0].form, Form::Json);
    append(&file, "\r\n3;d;e\r\n");
    let (messages, _) = all(&mut *begun(&*spec, cursor, true).await).await;
    assert_eq!(
        texts(&messages),
        [r#"{"id":"2","name":"c"}"#, r#"{"id":"3","name":"d","extra":["e"]}"#]
    );
    let ndjson = origin(dir.path(), "b.ndjson", "format = 'ndjson'");
    append(&dir.path().join("b.ndjson"), "{\"a\":1.10}\n{\"a\":\n");
    let (messages, _) = all(&mut *begun(&*ndjson, None, true).await).await;
    let forms: Vec<_> = messages.iter().map(|message| message.form).collect();
    assert_eq!(forms, [Form::Json, Form::Text], "what is no JSON is the pipeline's to judge");
}

#[tokio::test]
async fn many_files_are_read_in_turn_and_a_wait_that_is_given_up_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for file in ["a.log", "b.log", "c.log"] {
        let lines: String = (0..2_500).map(|line| format!("{file} {line}\n")).collect();
        append(&dir.path().join(file), &lines);
        expected.extend(lines.lines().map(str::to_owned));
    }
    let spec = origin(dir.path(), "*.log", "");
    let mut source = begun(&*spec, None, false).await;
    let mut found = Vec::new();
    let mut begins = Vec::new();
    while found.len() < expected.len() {
        // Given up at the first wait, again and again.
        let mut chunk = None;
        while chunk.is_none() {
            chunk = tokio::select! {
                biased;
                next = source.next() => next.unwrap(),
                () = tokio::task::yield_now() => None,
            };
        }
        let messages = chunk.unwrap().messages;
        begins.push(texts(&messages)[0][..1].to_owned());
        found.extend(texts(&messages).into_iter().map(str::to_owned));
    }
    assert_eq!(begins[..3], ["a", "b", "c"], "each has its turn");
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_first_run_may_begin_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a.log");
    append(&log, "old\nhal");
    let spec = origin(dir.path(), "*.log", "start = 'end'");
    let mut source = begun(&*spec, None, false).await;
    append(&log, "f\n");
    assert_eq!(texts(&[one(&mut *source).await.0]), ["half"]);
    append(&dir.path().join("b.log"), "new file\n");
    assert_eq!(texts(&[one(&mut *source).await.0]), ["new file"]);
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let none = origin(dir.path(), "*.log", "");
    assert!(none.check().await.unwrap()[0].text.contains("means no file now"));
    let nowhere = origin(&dir.path().join("no"), "*.log", "");
    let told = nowhere.check().await.unwrap_err();
    assert!(told.to_string().contains("make the folder, or mount"), "{told}");
    let begin = Beginning { cursor: Some(Cursor(serde_json::json!([1]))), once: false };
    let told = none.source().begin(begin).await.unwrap_err();
    assert!(told.to_string().contains("not one of files"), "{told}");
}

#[test]
fn settings_that_contradict_each_other_are_named() {
    let surroundings = Surroundings { pipeline: "p".to_owned(), folder: PathBuf::from("/data") };
    let fault = |text: &str| {
        let table = format!("path = 'x'\n{text}").parse().unwrap();
        read_spec(table, &surroundings).err().map_or_else(String::new, |error| error.to_string())
    };
    assert!(fault("delimiter = ';'").contains("of format = \"csv\" only"));
    assert!(fault("format = 'csv'\ndelimiter = 'é'").contains("one character of ASCII"));
    assert!(fault("format = 'csv'\nstart = 'end'").contains("not for csv"));
    assert!(fault("line_bytes_max = '65MB'").contains("at most 64MB"));
    let sections: Table = EXAMPLE.parse().unwrap();
    let section = sections["from"]["file"].as_table().unwrap().clone();
    assert!(read_spec(section, &surroundings).is_ok());
}
