//! What the confirms of a channel mean, and what the section may say.

use super::line::{ConfirmAnswer, ConfirmLedger};
use super::*;
use crate::batch::tests::{position, row};

fn lane() -> LaneName {
    LaneName { pipeline: "p".into(), stream: "s".into(), topic: "t".into(), partition: 0 }
}

fn read_text(text: &str) -> Result<Box<dyn SinkSpec>, ConfigError> {
    let whole: Table = text.parse().unwrap();
    let section = whole["to"]["rabbitmq"].as_table().unwrap().clone();
    read(section, &Surroundings { pipeline: "p".into(), folder: PathBuf::new() })
}

fn sent(offset: u64) -> UnconfirmedMessage {
    let (lane, place) = (Arc::new(lane()), row(offset, 0).place);
    let message_id = lane.key(place);
    UnconfirmedMessage { lane, topic_made_at: 7, place, message_id, is_returned: false }
}

fn taken(confirmed: &Confirmed) -> Vec<u64> {
    let batch = Batch::new(0, position(100), Vec::new());
    confirmed.begin(&lane(), &batch).into_iter().map(|place| place.offset).collect()
}

#[test]
fn the_example_is_read_and_a_wrong_section_says_why() {
    let spec = read_text(EXAMPLE).unwrap();
    assert!(spec.needs_json());
    assert_eq!(spec.connections(), 4);
    let fault = |text: &str| read_text(text).err().unwrap().to_string();
    let base = "[to.rabbitmq]\nurl = 'amqp://h'\nrouting_key = ";
    assert!(fault(&format!("{base}'two words'")).contains("in quotes of its own"));
    assert!(fault(&format!("{base}'{}'", "x".repeat(256))).contains("more than 255 bytes"));
    assert!(fault(&format!("{base}'a'\nconnections = 0")).contains("at least 1"));
    assert!(
        fault(&format!("{base}'a'\nrouting-key = ''")).contains("did you mean \"routing_key\"")
    );
    let secret = fault("[to.rabbitmq]\nurl = 'amqp://u:MARK@h'\nrouting_key = 'a'");
    assert!(!secret.contains("MARK"), "INV-MUTE: {secret}");
}

#[test]
fn confirms_of_several_messages_and_of_single_ones_are_told_apart() {
    let confirmed = Confirmed::default();
    let mut ledger = ConfirmLedger::default();
    for offset in 0..6 {
        ledger.sent(sent(offset));
    }
    ledger.confirmed(ConfirmAnswer { tag: 2, multiple: false, taken: true }, &confirmed);
    assert_eq!(taken(&confirmed), [1]);
    ledger.confirmed(ConfirmAnswer { tag: 4, multiple: true, taken: true }, &confirmed);
    assert_eq!(taken(&confirmed), [0, 1, 2, 3]);
    ledger.confirmed(ConfirmAnswer { tag: 4, multiple: true, taken: true }, &confirmed);
    ledger.confirmed(ConfirmAnswer { tag: 99, multiple: false, taken: true }, &confirmed);
    assert_eq!(taken(&confirmed), [0, 1, 2, 3]);
    ledger.confirmed(ConfirmAnswer { tag: 0, multiple: true, taken: true }, &confirmed);
    assert_eq!(taken(&confirmed), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn what_is_sent_back_or_not_taken_is_not_taken() {
    let confirmed = Confirmed::default();
    let mut ledger = ConfirmLedger::default();
    for offset in 0..4 {
        ledger.sent(sent(offset));
    }
    ledger.returned(Some(&lane().key(row(1, 0).place)));
    ledger.returned(Some("of somebody else"));
    ledger.returned(None);
    ledger.confirmed(ConfirmAnswer { tag: 2, multiple: true, taken: true }, &confirmed);
    ledger.confirmed(ConfirmAnswer { tag: 3, multiple: false, taken: false }, &confirmed);
    ledger.confirmed(ConfirmAnswer { tag: 4, multiple: false, taken: true }, &confirmed);
    assert_eq!(taken(&confirmed), [0, 3]);
}

#[test]
fn an_id_fits_whatever_the_names_are() {
    let mut long = lane();
    long.stream = "ß".repeat(127);
    let id = message_id(&long, Place { offset: 7, part: 0 });
    assert!(id.len() <= SHORT_TEXT_BYTES_MAX, "INV-PLACE-KEY");
    assert_ne!(id, message_id(&long, Place { offset: 8, part: 0 }), "INV-PLACE-KEY");
    assert_eq!(message_id(&lane(), Place { offset: 7, part: 1 }), "p/s/t/0/7.1");
}
