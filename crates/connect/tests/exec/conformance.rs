//! The suite that tries programs out: it finds nothing in the examples, and each fault in programs that have one.

use std::time::Duration;

use galgo_connect::exec::{Conformance, ProgramRole};
use galgo_connect::{Finding, Weight};
use galgo_testkit::service::program;

use super::*;

async fn try_out(folder: &Path, command: &[&str], settings: serde_json::Value) -> Vec<Finding> {
    let conformance = Conformance {
        command: command.iter().map(|&word| word.to_owned()).collect(),
        folder: folder.to_owned(),
        settings,
        timeout: Duration::from_secs(30),
        role: ProgramRole::AsItSays,
    };
    conformance.run().await
}

fn wrong(findings: &[Finding]) -> Vec<&str> {
    let wrong = findings.iter().filter(|finding| finding.weight > Weight::Good);
    wrong.map(|finding| finding.text.as_str()).collect()
}

#[tokio::test]
async fn the_examples_have_no_fault() {
    let Some(_) = program("python3", &[]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let sink = examples().join("print_sink.py");
    let settings = serde_json::json!({"file": "out.txt"});
    let found = try_out(dir.path(), &["python3", sink.to_str().unwrap()], settings).await;
    assert_eq!(wrong(&found), [""; 0], "{found:?}");
    assert!(found.iter().any(|finding| finding.text.contains("goes on where it was")), "{found:?}");
    let ticker = examples().join("ticker_source.py");
    let settings = serde_json::json!({"every_seconds": 0.05});
    let found = try_out(dir.path(), &["python3", ticker.to_str().unwrap()], settings).await;
    assert_eq!(wrong(&found), [""; 0], "{found:?}");
    assert!(found.iter().any(|finding| finding.text.contains("after a kill")), "{found:?}");
}

/// A target that keeps positions in a file, and has one fault.
const KEEPER: &str = "
fault = hello['settings']['fault']
def load():
    try: return json.load(open('positions.json'))
    except FileNotFoundError: return {}
positions = {} if fault == 'forgets' else load()
if fault == 'ahead': positions = {lane: next + 1 for lane, next in positions.items()}
say({'ready': {'positions': positions}})
while True:
    line = hear()
    if 'stop' in line:
        if fault == 'stays': time.sleep(60)
        sys.exit(7 if fault == 'fails' else 0)
    if fault == 'mute': continue
    if line['begin'] < positions.get(line['lane'], 0) and fault == 'again':
        say({'bad': line['batch'], 'offsets': [line['begin']], 'reason': 'twice'})
        continue
    if fault == 'odd' and any('base64' in m for m in line['messages']): sys.exit(1)
    positions[line['lane']] = max(line['end'], positions.get(line['lane'], 0))
    json.dump(positions, open('positions.new', 'w')); os.replace('positions.new', 'positions.json')
    say({'done': line['batch'] + (fault == 'number')})
    if fault == 'twice': say({'done': line['batch']})
";

#[tokio::test]
async fn each_fault_of_a_target_is_found() {
    for (fault, expected) in [
        ("none", None),
        ("forgets", Some("after a stop its ready does not name conform/run-")),
        ("ahead", Some("and after a stop it goes on with 21")),
        ("stays", Some("stop: the program still ran after 10 s and was killed")),
        ("fails", Some("stop: the program ended with exit code 7")),
        ("mute", Some("a batch was not answered for 30s")),
        ("again", Some("a batch that comes again: the program called it bad")),
        ("odd", Some("the program ended with exit code 1")),
        ("number", Some("it answered batch 2, which it was not given or has answered")),
        ("twice", Some("it answered batch 1, which it was not given or has answered")),
    ] {
        let Some(script) = Script::new(KEEPER) else { return };
        let settings = serde_json::json!({"fault": fault});
        let found = try_out(script.path(), &["python3", "it.py"], settings).await;
        let wrong = wrong(&found);
        match expected {
            None => assert_eq!(wrong, [""; 0], "{found:?}"),
            Some(text) => assert!(wrong.iter().any(|it| it.contains(text)), "{fault}: {found:?}"),
        }
        assert!(found.iter().all(|it| it.weight == Weight::Good || it.advice.is_some()));
    }
}

#[tokio::test]
async fn each_fault_of_an_origin_is_found() {
    const ORIGIN: &str = "
fault = hello['settings']['fault']
number = 0 if fault == 'anew' else hello['position'] or 0
if fault == 'skips' and number: number += 1
say({'ready': {}})
for _ in range(4):
    number += 1
    message = {'payload': number, 'id': 1 if fault == 'same' else number}
    if fault == 'none': del message['id']
    say({'messages': [message], 'position': None if fault == 'nowhere' else number})
while 'stop' not in hear(): pass
";
    for (fault, expected) in [
        ("", None),
        ("anew", Some("after a stop it began in front of what was settled")),
        ("skips", Some("after a kill it did not go on with the message behind the position")),
        ("same", Some("ids: two messages have the same")),
        ("none", Some("ids: there are messages without")),
        ("nowhere", Some("position: there is none")),
    ] {
        let Some(script) = Script::new(ORIGIN) else { return };
        let settings = serde_json::json!({"fault": fault});
        let found = try_out(script.path(), &["python3", "it.py"], settings).await;
        let wrong = wrong(&found);
        match expected {
            None => assert_eq!(wrong, [""; 0], "{found:?}"),
            Some(text) => assert!(wrong.iter().any(|it| it.contains(text)), "{fault}: {found:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_no_program_of_the_protocol_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    let none = try_out(dir.path(), &["no-such-program"], serde_json::Value::Null).await;
    assert!(wrong(&none)[0].contains("cannot be started"), "{none:?}");
    let cat = try_out(dir.path(), &["cat"], serde_json::Value::Null).await;
    assert!(wrong(&cat)[0].contains("something else than ready first"), "{cat:?}");
    let is_true = try_out(dir.path(), &["true"], serde_json::Value::Null).await;
    assert!(wrong(&is_true)[0].contains("ended with exit code 0"), "{is_true:?}");
    let empty = galgo_connect::exec::conform(&[]).await;
    assert!(wrong(&empty)[0].contains("there is no command"), "{empty:?}");
}
