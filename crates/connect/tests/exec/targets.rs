//! Programs as targets.

use std::time::Duration;

use galgo_testkit::service::{program, wait_until};

use super::*;

#[tokio::test]
async fn the_example_prints_each_message_of_each_lane() {
    let Some(_) = program("python3", &[]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let example = examples().join("print_sink.py");
    let text = format!(
        "command = ['python3', {example:?}]\nsettings = {{ file = 'out.txt' }}\ntimeout = '60s'"
    );
    let spec = sink_spec(dir.path(), &text);
    assert!(spec.check(&[]).await.unwrap().iter().all(|finding| finding.advice.is_none()));
    spec.prepare().await.unwrap();
    let mut sink = spec.sink();
    assert_eq!(sink.position(&lane(0)).await.unwrap(), None, "it keeps none");
    for begin in 0..3 {
        sink.write(&lane(0), &batch(begin, begin + 1)).await.unwrap();
        sink.write(&lane(1), &batch(begin, begin + 1)).await.unwrap();
    }
    sink.finish().await.unwrap();
    let out = std::fs::read_to_string(dir.path().join("out.txt")).unwrap();
    let expected: Vec<String> = (0..3)
        .flat_map(|n| [0, 1].map(|lane| format!("shop/orders/{lane} {n} {{\"n\": {n}}}")))
        .collect();
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
}

/// A program that keeps rows and positions in one transaction, and dies when it likes to.
const KEEPER: &str = "
import sqlite3
db = sqlite3.connect('rows.db', isolation_level=None)
db.execute('create table if not exists row (lane, offset)')
db.execute('create table if not exists position (lane primary key, next)')
random.seed(os.getpid())
die = lambda: random.random() < 0.15 and os._exit(9)
say({'ready': {'positions': dict(db.execute('select lane, next from position'))}})
while 'stop' not in (line := hear()):
    die()
    db.execute('begin immediate')
    for message in line['messages']:
        db.execute('insert into row values (?, ?)', (line['lane'], message['offset']))
    db.execute('insert or replace into position values (?, ?)', (line['lane'], line['end']))
    die()
    db.execute('commit')
    die()
    say({'done': line['batch']})
";

/// INV-ONE-STEP: a program that keeps positions is exactly once, whenever it dies.
#[tokio::test]
async fn a_program_that_keeps_positions_stores_each_message_once_whenever_it_dies() {
    let Some(script) = Script::new(KEEPER) else { return };
    let spec = script.sink("positions = true");
    assert_eq!(spec.promise(), galgo_connect::Promise::ExactlyOnce);
    let mut sink = spec.sink();
    let (mut next, mut lost) = (0, 0);
    while next < 60 {
        match sink.write(&lane(0), &batch(next, next + 2)).await {
            Ok(()) => next += 2,
            Err(Failure::Unknown { .. } | Failure::Moved) => {
                lost += 1;
                next = sink.position(&lane(0)).await.unwrap().map_or(0, |position| position.next);
            }
            Err(Failure::Away { .. }) => lost += 1,
            Err(failure) => panic!("{failure}"),
        }
    }
    assert!(lost > 0, "it died at times");
    sink.finish().await.unwrap();
    let read = "import sqlite3; print(*[r[0] for r in sqlite3.connect('rows.db').execute('select offset from row')])";
    let mut python = std::process::Command::new("python3");
    let out = python.args(["-c", read]).current_dir(script.path()).output().unwrap();
    let found: Vec<u64> = String::from_utf8(out.stdout)
        .unwrap()
        .split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    assert_eq!(found, (0..next).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_program_says_of_a_batch_is_what_the_pipeline_does() {
    let Some(script) = Script::new(
        "
say({'ready': {}})
answers = [{'away': 1, 'reason': 'busy\\x1b[0m'}, {'bad': 2, 'offsets': [3, 1], 'reason': 'no total'},
           {'bad': 3, 'reason': 'something'}, {'bad': 4, 'offsets': [99]}, {'done': 1}]
for answer in answers:
    hear()
    say(answer)
time.sleep(60)
",
    ) else {
        return;
    };
    let spec = script.sink("");
    let mut sink = spec.sink();
    let lane = lane(0);
    assert_eq!(away(sink.write(&lane, &batch(0, 5)).await), "busy [0m");
    let Err(Failure::Bad { places, reason }) = sink.write(&lane, &batch(0, 5)).await else {
        panic!("not bad")
    };
    let offsets: Vec<u64> = places.iter().map(|place| place.offset).collect();
    assert_eq!((offsets, reason.as_str()), (vec![1, 3], "no total"));
    let unnamed = sink.write(&lane, &batch(0, 5)).await;
    assert_eq!(unnamed, Err(Failure::Batch { reason: "something".to_owned() }));
    let told = away(sink.write(&lane, &batch(0, 5)).await);
    assert!(told.contains("called messages bad that are not in the batch"), "{told}");
    // It was started anew.
    assert_eq!(away(sink.write(&lane, &batch(0, 5)).await), "busy [0m");
}

/// INV-EXEC-BOUND: whatever it does instead of answering, the wait for it ends, and says what it did, without values.
#[tokio::test]
async fn a_program_that_does_not_keep_to_the_protocol_is_ended_and_named() {
    for (text, expected) in [
        ("say({'ready': {}}); hear(); print('SECRET', flush=True); time.sleep(60)", "no JSON"),
        (
            "say({'ready': {}}); hear(); say({'done': 'SECRET'}); time.sleep(60)",
            "not of the protocol",
        ),
        (
            "say({'ready': {}}); hear(); say({'done': 7}); time.sleep(60)",
            "answered batch 7, which it was not given",
        ),
        ("say({'ready': {}}); hear(); say({}); time.sleep(60)", "neither done, away nor bad"),
        ("say({'ready': {}}); hear(); sys.exit(3)", "ended with exit code 3"),
        ("say({'ready': {}}); hear(); os.kill(os.getpid(), 15)", "was ended by signal 15"),
        ("say({'ready': {}}); hear(); os.close(1); time.sleep(60)", "closed its output"),
        ("say({'ready': {}}); hear(); time.sleep(60)", "has not answered a batch for 2s"),
        ("time.sleep(60)", "is not ready after 2s"),
        ("say({'done': 1}); time.sleep(60)", "wrote something else than ready first"),
        ("sys.exit('words')", "ended with exit code 1"),
        (
            "say({'ready': {}}); hear()\nfor i in range(70): sys.stdout.write('x' * 1000000)\ntime.sleep(60)",
            "wrote a line of more than 64000000 bytes",
        ),
    ] {
        let Some(script) = Script::new(text) else { return };
        let wait = if text.contains("range") { "timeout = '60s'" } else { "timeout = '2s'" };
        let spec = script.sink(wait);
        let told = away(spec.sink().write(&lane(0), &batch(0, 2)).await);
        // A machine that is busy may take long to start a program.
        let is_slow = told.contains("is not ready after 2s");
        assert!(told.contains(expected) || is_slow, "{text}: {told}");
        assert!(!told.contains("SECRET"), "INV-MUTE: {told}");
    }
    let spec = sink_spec(std::path::Path::new("/"), "command = ['no-such-program']");
    let told = spec.prepare().await.unwrap_err();
    assert!(matches!(told, Failure::Refused { .. }), "{told}");
    let found = spec.check(&[]).await.unwrap();
    assert_eq!(found[0].text, "program no-such-program is not there");
}

/// INV-EXEC-BOUND: what a program has started ends with it.
#[tokio::test]
async fn a_program_ends_with_all_it_has_started() {
    let Some(script) = Script::new(
        "
child = subprocess.Popen(['sleep', '1000'])
open('pid', 'w').write(str(child.pid))
say({'ready': {}})
while True: hear(); time.sleep(0.1)
",
    ) else {
        return;
    };
    let spec = script.sink("");
    spec.prepare().await.unwrap();
    let pid = std::fs::read_to_string(script.path().join("pid")).unwrap();
    let runs = move || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    assert!(runs());
    let told = spec.sink().finish().await.unwrap_err();
    assert!(told.to_string().contains("did not end within 10s and was killed"), "{told}");
    tokio::task::spawn_blocking(move || wait_until("what it started has ended", || !runs()))
        .await
        .unwrap();
}

/// Batches of four lanes are with the program at a time: this one answers only when it has four.
#[tokio::test]
async fn four_lanes_do_not_wait_for_each_other() {
    let Some(script) = Script::new(
        "
say({'ready': {}})
got = [hear()['batch'] for _ in range(4)]
for number in reversed(got): say({'done': number})
hear()
",
    ) else {
        return;
    };
    let spec = script.sink("");
    assert_eq!(spec.connections(), 4);
    let (mut one, mut two, mut three, mut four) =
        (spec.sink(), spec.sink(), spec.sink(), spec.sink());
    let (lanes, batch) = ([0, 1, 2, 3].map(lane), batch(0, 3));
    let all = tokio::time::timeout(Duration::from_secs(60), async {
        tokio::join!(
            one.write(&lanes[0], &batch),
            two.write(&lanes[1], &batch),
            three.write(&lanes[2], &batch),
            four.write(&lanes[3], &batch)
        )
    });
    assert_eq!(all.await.expect("nobody waits for another"), (Ok(()), Ok(()), Ok(()), Ok(())));
    one.finish().await.unwrap();
}

#[tokio::test]
async fn a_program_has_its_settings_and_secrets() {
    let Some(script) = Script::new(
        "
assert hello['version'] == 1 and hello['pipeline'] == 'p', hello
assert hello['settings'] == {'a': [1, 2.5, True], 'at': '2026-01-02'}, hello
assert os.environ['API_TOKEN'] == 's3cret'
say({'ready': {'positions': {'shop/orders/0': 41}}})
hear()
",
    ) else {
        return;
    };
    std::fs::write(script.path().join("token"), "s3cret\n").unwrap();
    let token = script.path().join("token");
    let more = format!(
        "settings = {{ a = [1, 2.5, true], at = 2026-01-02 }}\nenv = {{ API_TOKEN = {{ file = {token:?} }} }}"
    );
    let mut sink = script.sink(&more).sink();
    let at = sink.position(&lane(0)).await.unwrap().unwrap();
    assert_eq!(at, Position { next: 41, ..Position::default() });
    assert_eq!(sink.position(&lane(1)).await.unwrap(), None);
    assert_eq!(sink.write(&lane(0), &batch(40, 42)).await, Err(Failure::Moved));
}
