//! A server that refuses in the middle: nothing is stored behind a refusal before the caller was told.
//!
//! What broke: with several batches in flight, one was refused (too large, disk full, right taken away) and those behind
//! it were stored. The partition had a hole, the messages of a key changed their order when the missing ones were
//! sent again, and the documentation promised otherwise. Chains (INV-LANE) make that impossible.

use std::collections::BTreeMap;
use std::time::Duration;

use galgo::{
    Client, Message, PartitionBy, ProduceError, Producer, Receipt, ReconnectPolicy, SendError,
    SendRetry,
};
use galgo_wire::command::CommandCode;
use galgo_wire::error_code::ErrorCode;

use crate::support::{Act, Server, eventually, stream, texts, topic};

/// What decides the partition of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Partition,
    Keyed,
    Balanced,
}

const WAYS: [Way; 3] = [Way::Partition, Way::Keyed, Way::Balanced];

const LASTING: [ErrorCode; 3] = [
    ErrorCode::CannotSaveMessagesToSegment,
    ErrorCode::TooBigMessagePayload,
    ErrorCode::Unauthorized,
];

fn is_send(code: CommandCode) -> bool {
    matches!(code, CommandCode::SendWith | CommandCode::SendMessages)
}

async fn send(producer: &Producer, way: Way, number: usize) -> Result<Receipt, ProduceError> {
    let message = Message::new(number.to_string());
    match way {
        Way::Keyed => producer.send_keyed_with_receipt(format!("{}", number % 7), message).await,
        Way::Partition | Way::Balanced => producer.send_with_receipt(message).await,
    }
}

async fn produce(client: &Client, way: Way, retry: SendRetry) -> Producer {
    let by = if way == Way::Partition { PartitionBy::Id(1) } else { PartitionBy::Balance };
    let builder = client.producer(&stream(), &topic()).partition_by(by).retry(retry);
    let builder = builder.batch_messages(5).max_in_flight(6).linger(Duration::ZERO);
    builder.build().await.unwrap()
}

/// A caller that is told of a failure begins again with the first message that was not acknowledged. Refusals change
/// nothing in what is stored in the end: each message once, in order.
async fn everything_arrives_once(server: &Server, way: Way, retry: SendRetry) {
    const MESSAGES: usize = 400;
    let client = server.client().await;
    let producer = produce(&client, way, retry).await;
    let mut left: Vec<usize> = (0..MESSAGES).collect();
    let mut told = 0;
    while !left.is_empty() {
        let mut receipts = Vec::new();
        for number in &left {
            match send(&producer, way, *number).await {
                Ok(receipt) => receipts.push((*number, receipt)),
                Err(ProduceError::Failed(_)) => break,
                Err(error) => panic!("{way:?}: {error:?}"),
            }
        }
        told += usize::from(producer.flush().await.is_err());
        for (number, receipt) in receipts {
            if receipt.await.is_ok() {
                left.retain(|other| *other != number);
            }
        }
    }
    assert!(told > 0, "{way:?}: nothing was refused");
    let mut seen = Vec::new();
    for partition in 0..3 {
        let numbers: Vec<usize> =
            server.stored(partition).iter().map(|text| text.parse().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{way:?} {retry:?}: {numbers:?}");
        seen.extend(numbers);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..MESSAGES).collect::<Vec<_>>(), "{way:?} {retry:?}");
}

#[tokio::test]
async fn a_caller_that_goes_on_from_what_failed_loses_and_reorders_nothing() {
    for seed in 0..24_usize {
        let server = Server::start(3).await;
        server.shared.world.lock().is_classic = seed % 4 == 3;
        let mut sends = 0;
        server.on_request(move |_, code| {
            sends += usize::from(is_send(code));
            let code = match (is_send(code), (sends * 7 + seed) % 11) {
                (true, 0) => LASTING[sends % 3],
                (true, 1) => ErrorCode::TaskTimeout,
                _ => return Act::Answer,
            };
            Act::Refuse(code)
        });
        let retry = [SendRetry::AtLeastOnce, SendRetry::AtMostOnce][seed % 2];
        everything_arrives_once(&server, WAYS[seed % 3], retry).await;
    }
}

/// As long as nobody was told, what is stored of a partition is the beginning of what was sent to it, whatever is refused
/// and however often the connection is lost.
#[tokio::test]
async fn nothing_is_stored_behind_a_refusal_before_it_was_told() {
    for seed in 0..24_usize {
        let (way, server) = (WAYS[seed % 3], Server::start(3).await);
        let delay = Duration::from_millis(1);
        let policy = ReconnectPolicy::default().delays(delay, delay);
        let client = server.builder().reconnect(policy).connect().await.unwrap();
        let retry = [SendRetry::AtLeastOnce, SendRetry::AtMostOnce][seed / 3 % 2];
        let producer = produce(&client, way, retry).await;
        let mut sends = 0;
        server.on_request(move |_, code| {
            sends += usize::from(is_send(code));
            match (is_send(code), sends + seed % 5) {
                (true, 4 | 9) => [Act::Close, Act::CloseUnanswered][seed % 2],
                (true, 12) => Act::Refuse(LASTING[seed % 3]),
                _ => Act::Answer,
            }
        });
        let mut sent: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for number in 0..300 {
            if send(&producer, way, number).await.is_err() {
                break;
            }
            let key = format!("{}", number % 7);
            let home = galgo_wire::consumer::key_partition(key.as_bytes(), 3).unwrap().get();
            let home = if way == Way::Keyed { home } else { 1 };
            sent.entry(home).or_default().push(number);
        }
        producer.flush().await.unwrap_err();
        for partition in 0..3 {
            let mut stored: Vec<usize> =
                server.stored(partition).iter().map(|text| text.parse().unwrap()).collect();
            // A batch whose answer was lost may be there twice, one time behind the other.
            let repeated = stored.len();
            stored.sort_unstable();
            stored.dedup();
            assert!(retry == SendRetry::AtLeastOnce || stored.len() == repeated, "seed {seed}");
            if way != Way::Balanced {
                let expected = sent.get(&partition).map_or(&[][..], |sent| &sent[..stored.len()]);
                assert_eq!(stored, expected, "seed {seed}, {way:?}, {retry:?}");
            }
        }
        if way == Way::Balanced {
            let mut stored: Vec<String> = (0..3).flat_map(|it| server.stored(it)).collect();
            stored.sort_by_key(|text| text.parse::<usize>().unwrap());
            stored.dedup();
            assert_eq!(stored, texts(0..stored.len()), "seed {seed}, {retry:?}");
        }
    }
}

#[tokio::test]
async fn those_on_their_way_behind_a_refusal_fail_with_its_reason() {
    for way in WAYS {
        let server = Server::start(3).await;
        let client = server.client().await;
        let producer = produce(&client, way, SendRetry::AtLeastOnce).await;
        // The partition of a key is asked for with the first one.
        send(&producer, way, 14).await.unwrap().await.unwrap();
        let mut sends = 0;
        server.on_request(move |_, code| {
            sends += usize::from(is_send(code));
            match is_send(code) && sends == 1 {
                true => Act::Refuse(ErrorCode::CannotSaveMessagesToSegment),
                false => Act::Answer,
            }
        });
        server.flow(false);
        let before = server.received();
        let mut receipts = Vec::new();
        for number in 0..15 {
            receipts.push(send(&producer, way, number).await.unwrap());
        }
        eventually("some are in flight", || server.received() >= before + 3).await;
        server.flow(true);
        let error = producer.flush().await.unwrap_err();
        assert_eq!(error.unacknowledged, 15, "{way:?}");
        for receipt in receipts {
            let error = receipt.await.unwrap_err();
            let ProduceError::Failed(SendError::Server(refusal)) = &error else {
                panic!("{error:?}")
            };
            assert!(refusal.is(ErrorCode::CannotSaveMessagesToSegment));
        }
        let stored: Vec<String> = (0..3).flat_map(|partition| server.stored(partition)).collect();
        assert_eq!(stored, ["14"], "{way:?}");
        // Told, the caller goes on as it likes.
        send(&producer, way, 7).await.unwrap();
        producer.close().await.unwrap();
        assert_eq!((producer.acknowledged(), producer.pending()), (2, 0));
    }
}

#[tokio::test]
async fn two_producers_of_a_connection_do_not_stop_each_other() {
    let server = Server::start(3).await;
    let client = server.client().await;
    let first = produce(&client, Way::Partition, SendRetry::AtLeastOnce).await;
    let second = produce(&client, Way::Keyed, SendRetry::AtLeastOnce).await;
    server.once(CommandCode::SendWith, 0, Act::Refuse(ErrorCode::Unauthorized));
    first.send_and_confirm(Message::new("refused")).await.unwrap_err();
    for number in 0..50 {
        send(&second, Way::Keyed, number).await.unwrap();
    }
    second.close().await.unwrap();
    assert!(first.flush().await.is_err());
}

#[tokio::test]
async fn a_request_over_the_limit_of_the_server_is_not_called_a_message_over_its_own() {
    let server = Server::start(1).await;
    let client = server.client().await;
    server.on_request(|_, code| match is_send(code) {
        true => Act::Refuse(ErrorCode::TooBigMessagePayload),
        false => Act::Answer,
    });
    let error = client
        .send(&stream(), &topic(), galgo::Partitioning::Balanced, &[Message::new("x")])
        .await
        .unwrap_err();
    let producer = produce(&client, Way::Balanced, SendRetry::AtLeastOnce).await;
    let other = producer.send_and_confirm(Message::new("x")).await.unwrap_err();
    for text in [error.to_string(), other.to_string()] {
        assert_eq!(
            text,
            "could not send messages to topic t of stream s: the request is larger than the server takes \
             (error 4022); send fewer or smaller messages at once, or raise limits.request_bytes of the server"
        );
    }
}

#[tokio::test]
async fn a_login_over_the_limit_of_connections_is_not_called_one_of_users() {
    let server = Server::start(1).await;
    server.once(CommandCode::LoginUser, 0, Act::Refuse(ErrorCode::UsersLimitReached));
    let error = server.builder().connect().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("takes no more connections"), "{text}");
    assert!(text.contains("limits.connections_per_address"), "{text}");
    assert!(!text.contains("users as allowed"), "{text}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn balanced_messages_with_ids_find_the_partition_they_are_in() {
    let server = Server::start(3).await;
    server.shared.world.lock().deduplicates = true;
    for round in 0..2 {
        let client = server.client().await;
        // Batches of another size, by another producer.
        let builder = client.producer(&stream(), &topic()).batch_messages(7 + round * 6);
        let producer = builder.build().await.unwrap();
        for id in 1..=200_u128 {
            producer.send(Message::new(id.to_string()).id(id)).await.unwrap();
        }
        producer.close().await.unwrap();
        let homes: Vec<Vec<String>> = (0..3).map(|partition| server.stored(partition)).collect();
        if round == 0 {
            assert_eq!(producer.stored_before(), 0);
            assert!(homes.iter().all(|texts| texts.len() > 20), "{homes:?}");
        } else {
            assert!(producer.stored_before() > 0);
        }
        for text in homes.iter().flatten() {
            let has_it = |texts: &&Vec<String>| texts.contains(text);
            assert_eq!(homes.iter().filter(has_it).count(), 1, "{text} is in one partition");
        }
    }
}
