//! Letters as the messages they were, and messages as letters once more.

use bytes::Bytes;

use super::*;
use crate::dead_letter::Letter;

fn lane(topic: &str, partition: u32) -> LaneName {
    let (pipeline, stream) = ("p".to_owned(), "s".to_owned());
    LaneName { pipeline, stream, topic: topic.to_owned(), partition }
}

fn message(offset: u64, headers: &UserHeaders) -> LogMessage {
    let headers_block = match headers.is_empty() {
        true => Bytes::new(),
        false => headers.to_bytes().unwrap().into(),
    };
    let payload = Bytes::from_static(b"{}");
    LogMessage { offset, id: 9, time: 8, origin_time: 7, headers_block, payload }
}

/// The letter of a message as it is in the log.
fn buried(lane: &LaneName, message: &LogMessage, offset: u64) -> LogMessage {
    let letter = Letter::of(lane, message, "wrong type").message();
    self::message(offset, letter.user_headers())
}

/// Tells what it was given.
struct Told;

#[async_trait]
impl Shape for Told {
    async fn shape(&self, lane: &LaneName, messages: &[LogMessage]) -> Vec<Shaped> {
        let told = |message: &LogMessage| {
            let headers = UserHeaders::from_bytes(&message.headers_block).unwrap_or_default();
            let names: Vec<_> = headers.iter().map(|(key, _)| key.to_string()).collect();
            let text = format!("{lane} {} {}", message.offset, names.join(","));
            Ok(vec![(crate::batch::Form::Text, Bytes::from(text))])
        };
        messages.iter().map(told).collect()
    }
}

#[tokio::test]
async fn a_letter_is_shaped_as_the_message_it_was_however_often_it_was_buried() {
    let mut headers = UserHeaders::new();
    headers.insert("kind".parse().unwrap(), "order".parse().unwrap());
    let (orders, dead) = (lane("orders", 3), lane("dead", 0));
    let once = buried(&orders, &message(41, &headers), 5);
    let twice = buried(&dead, &once, 6);
    let stranger = LaneName { pipeline: "other".to_owned(), ..lane("orders", 1) };
    let foreign = buried(&stranger, &message(1, &headers), 7);
    let none = message(8, &UserHeaders::new());
    let shaped =
        LetterShape(Told).shape(&dead, &[once.clone(), twice.clone(), foreign, none]).await;
    let texts: Vec<Vec<Bytes>> = shaped
        .into_iter()
        .map(|shaped| shaped.unwrap().into_iter().map(|(_, payload)| payload).collect())
        .collect();
    let was = Bytes::from_static(b"s/orders/3 41 kind");
    assert_eq!(texts, [vec![was.clone()], vec![was], vec![], vec![]]);
    let listed = letter_of("p", 0, &twice).unwrap();
    assert_eq!((listed.offset, listed.from_topic.as_deref()), (6, Some("s/orders")));
    assert_eq!((listed.from_partition, listed.from_offset), (Some(3), Some(41)));
    assert_eq!(listed.reason, "wrong type");
    assert_eq!(letter_of("other", 0, &twice), None, "it is of another pipeline");
}

#[test]
fn a_letter_that_is_too_large_is_one_without_its_payload_or_headers() {
    let mut headers = UserHeaders::new();
    for number in 0..180 {
        let value = "x".repeat(255);
        headers.insert(format!("{number:0255}").parse().unwrap(), value.parse().unwrap());
    }
    let full = message(1, &headers);
    let letter = Letter::of(&lane("orders", 0), &full, "wrong type");
    assert_eq!(letter.message().user_headers().len(), 185);
    // As full as it can be.
    let mut fitting = headers.clone();
    for size in [255, 1] {
        headers = fitting.clone();
        while headers.to_bytes().is_ok() {
            fitting = headers.clone();
            let name = format!("{:a>1$}", headers.len(), size.max(4));
            headers.insert(name.parse().unwrap(), "x".repeat(size).parse().unwrap());
        }
    }
    let letter = Letter::of(&lane("orders", 0), &message(1, &fitting), "wrong type");
    assert_eq!(letter.message().user_headers().len(), 5, "what is said of it counts for more");
    let bare = letter.without_payload();
    assert!(bare.payload().is_empty());
    let reason = bare.user_headers().get(header::REASON).unwrap().to_string();
    assert_eq!(reason, "2 bytes of payload are left out here: wrong type");
}
