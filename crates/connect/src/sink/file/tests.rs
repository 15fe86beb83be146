//! Files as a target: what is there after crashes, at rotations, and when something is in the way.

use std::path::Path;

use bytes::Bytes;

use super::*;
use crate::batch::Form;
use crate::batch::tests::{position, row};

const FILES: &str = "shop/orders/partition=0";

fn lane() -> LaneName {
    LaneName {
        pipeline: "p".to_owned(),
        stream: "shop".to_owned(),
        topic: "orders".to_owned(),
        partition: 0,
    }
}

fn spec_of(pipeline: &str, path: &Path, more: &str) -> Box<dyn SinkSpec> {
    let table = format!("path = {:?}\n{more}", path.to_str().unwrap()).parse().unwrap();
    let surroundings = Surroundings { pipeline: pipeline.to_owned(), folder: PathBuf::from("/") };
    read(table, &surroundings).unwrap()
}

fn spec(path: &Path, more: &str) -> Box<dyn SinkSpec> {
    spec_of("p", path, more)
}

fn json_row(offset: u64) -> Row {
    let payload = Bytes::from(format!("{{\"n\":{offset},\"s\":\"a,b\"}}"));
    Row { form: Form::Json, payload, ..row(offset, 0) }
}

/// The batch of these messages.
fn batch(begin: u64, end: u64) -> Batch {
    Batch::new(begin, position(end), (begin..end).map(json_row).collect())
}

/// The offsets in the lines of all files, in the order of their names, and the names.
fn delivered(path: &Path) -> (Vec<u64>, Vec<String>) {
    let mut names: Vec<String> = std::fs::read_dir(path.join(FILES))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort_unstable();
    let mut offsets = Vec::new();
    for name in &names {
        let bytes = std::fs::read(path.join(FILES).join(name)).unwrap();
        let bytes = match name.contains(".zst") {
            true => zstd::stream::decode_all(&bytes[..]).unwrap(),
            false => bytes,
        };
        for line in std::str::from_utf8(&bytes).unwrap().lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            offsets.push(value["offset"].as_u64().unwrap());
        }
    }
    (offsets, names)
}

fn names_of(begins: &[u64], endings: &[&str]) -> Vec<String> {
    begins.iter().zip(endings).map(|(begin, ending)| format!("{begin:020}.{ending}")).collect()
}

fn upto(end: u64) -> Vec<u64> {
    (0..end).collect()
}

fn refusal(result: Result<impl std::fmt::Debug, Failure>) -> String {
    match result {
        Err(failure @ Failure::Refused { .. }) => failure.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn objects_are_finished_when_they_are_long_enough_and_when_the_pipeline_stops() {
    for format in ["ndjson", "ndjson.zst"] {
        let dir = tempfile::tempdir().unwrap();
        let more = format!("format = \"{format}\"\nrotate = {{ bytes = \"300B\" }}");
        let spec = spec(dir.path(), &more);
        spec.prepare().await.unwrap();
        let mut sink = spec.sink();
        assert_eq!(sink.position(&lane()).await.unwrap(), None);
        for begin in (0..50).step_by(10) {
            sink.write(&lane(), &batch(begin, begin + 10)).await.unwrap();
            assert_eq!(sink.position(&lane()).await.unwrap(), Some(position(begin + 10)));
        }
        let (offsets, names) = delivered(dir.path());
        assert_eq!(offsets, upto(50));
        if format == "ndjson" {
            assert_eq!(names, names_of(&[0, 10, 20, 30, 40], &["ndjson"; 5]));
        }
        sink.write(&lane(), &Batch::new(50, position(53), vec![json_row(51)])).await.unwrap();
        sink.finish().await.unwrap();
        sink.finish().await.unwrap();
        let (offsets, names) = delivered(dir.path());
        assert_eq!(offsets.last(), Some(&51));
        assert!(names.iter().all(|name| !name.ends_with(".part")), "{names:?}");
        // What was filtered to the end has no object, and is delivered nevertheless.
        sink.write(&lane(), &Batch::new(53, position(60), vec![])).await.unwrap();
        assert_eq!(delivered(dir.path()).1, names);
        drop((sink, spec));
        let spec = self::spec(dir.path(), &more);
        assert_eq!(spec.sink().position(&lane()).await.unwrap(), Some(position(60)));
    }
}

/// INV-FILE-MARK: whatever a crash leaves behind the last mark is cut off, and each message is there once.
#[tokio::test]
async fn a_batch_that_a_crash_tore_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let first = spec(dir.path(), "");
    first.sink().write(&lane(), &batch(0, 10)).await.unwrap();
    let files = dir.path().join(FILES);
    let (part, mark) = (files.join(format!("{:020}.ndjson.part", 0)), files.join(mark::NAME));
    let (whole, marked) = (std::fs::read(&part).unwrap(), std::fs::read(&mark).unwrap());
    first.sink().write(&lane(), &batch(10, 20)).await.unwrap();
    let (more, marked_more) = (std::fs::read(&part).unwrap(), std::fs::read(&mark).unwrap());
    drop(first);
    // A crash while the batch is written, then while the mark is.
    let torn_rows = (whole.len()..=more.len()).step_by(37).map(|cut| (cut, marked.len()));
    let torn_marks = (marked.len()..=marked_more.len()).step_by(11).map(|cut| (more.len(), cut));
    for (rows, marks) in torn_rows.chain(torn_marks) {
        std::fs::write(&part, &more[..rows]).unwrap();
        std::fs::write(&mark, &marked_more[..marks]).unwrap();
        let again = spec(dir.path(), "");
        let mut sink = again.sink();
        let at = sink.position(&lane()).await.unwrap().unwrap().next;
        assert_eq!(at, if marks == marked_more.len() { 20 } else { 10 });
        sink.write(&lane(), &batch(at, 30)).await.unwrap();
        assert_eq!(delivered(dir.path()).0, upto(30), "{rows} {marks}");
    }
}

/// INV-FILE-MARK: a crash between any two steps of finishing leaves an object that is finished by the next one.
#[tokio::test]
async fn an_object_is_finished_once_wherever_a_crash_comes() {
    for step in ["linked", "marked", "removed"] {
        let dir = tempfile::tempdir().unwrap();
        let first = spec(dir.path(), "");
        first.sink().write(&lane(), &batch(0, 10)).await.unwrap();
        let files = dir.path().join(FILES);
        let object = files.join(format!("{:020}.ndjson", 0));
        let part = files.join(format!("{:020}.ndjson.part", 0));
        let mark = files.join(mark::NAME);
        let before = std::fs::read(&mark).unwrap();
        match step {
            "linked" => std::fs::hard_link(&part, &object).unwrap(),
            _ => {
                let kept = files.join("kept");
                std::fs::hard_link(&part, &kept).unwrap();
                first.sink().finish().await.unwrap();
                match step {
                    "marked" => std::fs::rename(&kept, &part).unwrap(),
                    _ => std::fs::remove_file(&kept).unwrap(),
                }
            }
        }
        drop(first);
        let again = spec(dir.path(), "");
        let mut sink = again.sink();
        assert_eq!(sink.position(&lane()).await.unwrap(), Some(position(10)), "{step}");
        sink.write(&lane(), &batch(10, 20)).await.unwrap();
        sink.finish().await.unwrap();
        let (offsets, names) = delivered(dir.path());
        assert_eq!((offsets, names), (upto(20), names_of(&[0, 10], &["ndjson"; 2])), "{step}");
        // A copy of before the end: what it names is finished, and is known by its own content.
        drop((sink, again));
        std::fs::write(&mark, before).unwrap();
        let copy = spec(dir.path(), "");
        assert_eq!(copy.sink().position(&lane()).await.unwrap(), Some(position(10)));
        let told = refusal(copy.sink().write(&lane(), &batch(10, 20)).await);
        assert!(told.contains("is there already"), "{told}");
    }
}

#[tokio::test]
async fn what_does_not_fit_to_what_is_there_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let first = spec(dir.path(), "");
    first.sink().write(&lane(), &batch(0, 10)).await.unwrap();
    let moved = first.sink().write(&lane(), &batch(5, 12)).await;
    assert_eq!(moved, Err(Failure::Moved));
    let second = spec(dir.path(), "");
    let waits = second.sink().position(&lane()).await.unwrap_err();
    assert_eq!(waits.class(), "away", "another one takes over when this one ends");
    assert!(waits.to_string().contains("this one goes on when that one has ended"), "{waits}");
    drop(first);
    assert_eq!(second.sink().position(&lane()).await.unwrap(), Some(position(10)));
    drop(second);
    let told = refusal(spec_of("q", dir.path(), "").sink().position(&lane()).await);
    assert!(told.contains("was written by the pipeline \"p\""), "{told}");
    let files = dir.path().join(FILES);
    let part = files.join(format!("{:020}.ndjson.part", 0));
    let whole = std::fs::read(&part).unwrap();
    std::fs::write(&part, &whole[1..]).unwrap();
    let told = refusal(spec(dir.path(), "").sink().position(&lane()).await);
    assert!(told.contains("is shorter than what was delivered"), "{told}");
    std::fs::remove_file(&part).unwrap();
    let told = refusal(spec(dir.path(), "").sink().position(&lane()).await);
    assert!(told.contains("is gone, and what was delivered into it"), "{told}");
    std::fs::write(&part, &whole).unwrap();
    std::fs::remove_file(files.join(mark::NAME)).unwrap();
    let told = refusal(spec(dir.path(), "").sink().position(&lane()).await);
    assert!(told.contains("no .galgo-position beside it"), "{told}");
}

/// Somebody else's file has the name of the object: nothing is replaced, and the lane goes on when it is gone.
#[tokio::test]
async fn an_object_whose_name_is_taken_waits_until_it_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(dir.path(), "rotate = { bytes = '1KiB' }");
    let mut sink = spec.sink();
    sink.write(&lane(), &batch(0, 2)).await.unwrap();
    let object = dir.path().join(FILES).join(format!("{:020}.ndjson", 0));
    std::fs::write(&object, "").unwrap();
    sink.write(&lane(), &batch(2, 30)).await.unwrap();
    for _ in 0..2 {
        let told = refusal(sink.write(&lane(), &batch(30, 31)).await);
        assert!(told.contains("is there already"), "{told}");
    }
    std::fs::remove_file(&object).unwrap();
    sink.write(&lane(), &batch(30, 31)).await.unwrap();
    let (offsets, names) = delivered(dir.path());
    assert_eq!((offsets, names), (upto(31), names_of(&[0], &["ndjson"])));
}

#[tokio::test]
async fn a_lane_is_set_elsewhere_but_over_no_object() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(dir.path(), "");
    let mut sink = spec.sink();
    sink.write(&lane(), &batch(0, 10)).await.unwrap();
    let told = refusal(sink.set_position(&lane(), &position(0)).await);
    assert!(told.contains("move the objects from 00000000000000000000 on"), "{told}");
    sink.set_position(&lane(), &position(40)).await.unwrap();
    sink.write(&lane(), &batch(40, 41)).await.unwrap();
    assert_eq!(delivered(dir.path()).1, names_of(&[0, 40], &["ndjson", "ndjson.part"]));
    let told = spec.cleanup().await.unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(delivered(dir.path()).1, names_of(&[0, 40], &["ndjson"; 2]));
    assert!(!dir.path().join(FILES).join(mark::NAME).exists());
}

#[tokio::test]
async fn an_object_is_finished_when_it_is_old_although_nothing_comes() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(dir.path(), "rotate = { after = '1ms' }");
    spec.sink().write(&lane(), &batch(0, 10)).await.unwrap();
    let begun = std::time::Instant::now();
    while delivered(dir.path()).1 != names_of(&[0], &["ndjson"]) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is not finished");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn records_have_the_columns_that_were_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(dir.path(), "format = 'csv'\ncolumns = ['@offset', 's', 'none', '@topic']");
    assert!(spec.needs_json());
    let mut sink = spec.sink();
    let bad = Row { payload: Bytes::from_static(b"[1]"), ..json_row(1) };
    let wrong = sink.write(&lane(), &Batch::new(0, position(2), vec![json_row(0), bad])).await;
    let Err(Failure::Bad { places, reason }) = wrong else { panic!("{wrong:?}") };
    assert_eq!((places.len(), places[0].offset), (1, 1));
    assert!(reason.contains("no object of JSON"), "{reason}");
    sink.write(&lane(), &batch(0, 2)).await.unwrap();
    sink.finish().await.unwrap();
    let text = std::fs::read_to_string(dir.path().join(FILES).join(format!("{:020}.csv", 0)));
    assert_eq!(text.unwrap(), "@offset,s,none,@topic\n0,\"a,b\",,orders\n1,\"a,b\",,orders\n");
}

#[tokio::test]
async fn a_check_changes_nothing_and_names_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let there = spec(dir.path(), "").check(&[json_row(0)]).await.unwrap();
    assert!(there.iter().all(|finding| finding.weight != crate::Weight::Fault), "{there:?}");
    let fresh = spec(&dir.path().join("new"), "").check(&[]).await.unwrap();
    assert!(fresh[0].text.contains("is made by run"), "{fresh:?}");
    let deep = spec(&dir.path().join("no/where"), "");
    let nowhere = deep.check(&[]).await.unwrap();
    assert_eq!(nowhere[0].weight, crate::Weight::Fault, "{nowhere:?}");
    assert!(refusal(deep.prepare().await).contains("make the folder, or mount"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn settings_that_contradict_each_other_are_named() {
    let surroundings = Surroundings { pipeline: "p".to_owned(), folder: PathBuf::from("/data") };
    let fault = |text: &str| {
        let table = format!("path = 'x'\n{text}").parse().unwrap();
        read(table, &surroundings).err().map_or_else(String::new, |error| error.to_string())
    };
    assert!(fault("format = 'csv'").contains("csv needs columns"));
    assert!(fault("columns = ['a']").contains("of format = \"csv\" only"));
    assert!(fault("format = 'csv'\ncolumns = ['@when']").contains("\"@when\" is none of @stream"));
    assert!(fault("rotate = { bytes = 0 }").contains("more than nothing"));
    assert!(fault("formt = 'csv'").contains("did you mean \"format\"?"));
    let sections: Table = EXAMPLE.parse().unwrap();
    let section = sections["to"]["file"].as_table().unwrap().clone();
    assert_eq!(section.len(), 4);
    assert!(read(section, &surroundings).is_ok());
}
