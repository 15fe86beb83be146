//! The producer: order, retries, bounds, and losing nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use galgo::{
    Client, Message, PartitionBy, ProduceError, ProducerBuilder, ReconnectPolicy, SendError,
    SendRetry,
};
use galgo_wire::command::CommandCode;
use galgo_wire::error_code::ErrorCode;

use crate::support::{Act, PATIENCE, Server, eventually, stream, texts, topic};

/// What a producer sends with where it can.
const SEND: CommandCode = CommandCode::SendWith;

fn producer(client: &Client) -> ProducerBuilder {
    client.producer(&stream(), &topic())
}

fn sends(server: &Server) -> usize {
    server.log().iter().filter(|code| **code == SEND).count()
}

/// Removes what is a repetition of an earlier run, as sending a batch again makes.
fn without_repetitions(stored: Vec<String>) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    for text in stored {
        let number: usize = text.parse().unwrap();
        match kept.last() {
            Some(last) if number == last + 1 => kept.push(number),
            None => kept.push(number),
            // A batch again: it must begin inside what is there, not skip ahead.
            Some(last) => {
                assert!(number <= *last, "{number} came after {last}");
                kept.truncate(number);
                kept.push(number);
            }
        }
    }
    kept
}

#[tokio::test]
async fn messages_are_batched_and_keep_their_order() {
    let server = Server::start(1).await;
    let client = server.client().await;
    let producer = producer(&client).batch_messages(100).build().await.unwrap();
    for number in 0..1000 {
        producer.send(Message::new(number.to_string())).await.unwrap();
    }
    producer.flush().await.unwrap();
    assert_eq!((producer.acknowledged(), producer.pending()), (1000, 0));
    assert_eq!(server.stored(0), texts(0..1000));
    assert!(sends(&server) <= 30, "{} sends", sends(&server));
}

#[tokio::test]
async fn batches_are_bounded_by_bytes() {
    let server = Server::start(1).await;
    let client = server.client().await;
    let linger = Duration::from_secs(60);
    let producer = producer(&client).batch_bytes(1_000).linger(linger).build().await.unwrap();
    for _ in 0..10 {
        producer.send(Message::new(vec![b'x'; 300])).await.unwrap();
    }
    // 380 bytes each: two to a batch, and one over the bound goes alone.
    producer.send(Message::new(vec![b'x'; 5_000])).await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(sends(&server), 6);
}

#[tokio::test]
async fn a_batch_waits_for_its_linger_and_no_longer() {
    let server = Server::start(1).await;
    let client = server.client().await;
    let linger = Duration::from_millis(300);
    let producer = producer(&client).linger(linger).build().await.unwrap();
    let begun = Instant::now();
    let receipt = producer.send_with_receipt(Message::new("0")).await.unwrap();
    let other = producer.send_with_receipt(Message::new("1")).await.unwrap();
    receipt.await.unwrap();
    assert!(begun.elapsed() >= linger);
    other.await.unwrap();
    assert_eq!(sends(&server), 1);
}

#[tokio::test]
async fn a_batch_that_somebody_waits_for_goes_at_once() {
    let server = Server::start(1).await;
    let client = server.client().await;
    let linger = Duration::from_secs(3_600);
    let producer = producer(&client).linger(linger).build().await.unwrap();
    let confirmed = tokio::time::timeout(PATIENCE, producer.send_and_confirm(Message::new("0")));
    confirmed.await.unwrap().unwrap();
}

#[tokio::test]
async fn messages_of_a_key_stay_in_order_and_meet_the_servers_own_choice() {
    let server = Server::start(4).await;
    let client = server.client().await;
    let producer = producer(&client).batch_messages(10).build().await.unwrap();
    for number in 0..400 {
        let key = format!("key-{}", number % 13);
        let payload = format!("{key}:{number}");
        producer.send_keyed(key, Message::new(payload)).await.unwrap();
    }
    producer.close().await.unwrap();
    let mut count = 0;
    for partition in 0..4 {
        let mut last = std::collections::HashMap::new();
        for text in server.stored(partition) {
            let (key, number) = text.split_once(':').unwrap();
            let number: usize = number.parse().unwrap();
            let expected = galgo_wire::consumer::key_partition(key.as_bytes(), 4).unwrap();
            assert_eq!(expected.get(), partition);
            assert!(last.insert(key.to_owned(), number).is_none_or(|before| before < number));
            count += 1;
        }
    }
    assert_eq!(count, 400);
}

#[tokio::test]
async fn partitions_are_chosen_as_set() {
    let server = Server::start(3).await;
    let client = server.client().await;
    let by_id = producer(&client).partition_by(PartitionBy::Id(2)).build().await.unwrap();
    by_id.send_and_confirm(Message::new("id")).await.unwrap();
    assert_eq!(server.stored(2), ["id"]);
    let key = PartitionBy::Key(b"user-42".to_vec());
    let by_key = producer(&client).partition_by(key).build().await.unwrap();
    by_key.send_and_confirm(Message::new("key")).await.unwrap();
    assert_eq!(server.stored(1_635_883_646 % 3).last().unwrap(), "key");
    let balanced = producer(&client).build().await.unwrap();
    for number in 0..3 {
        balanced.send_and_confirm(Message::new(number.to_string())).await.unwrap();
    }
    assert!((0..3).all(|partition| !server.stored(partition).is_empty()));
    let elsewhere = client.producer(&stream(), &"nowhere".parse().unwrap());
    let error = elsewhere.partition_by(PartitionBy::Key(b"k".to_vec())).build().await.unwrap_err();
    assert!(matches!(error, ProduceError::NoTopic { .. }), "{error:?}");
    let error = balanced.send_keyed("", Message::new("x")).await.unwrap_err();
    assert!(matches!(error, ProduceError::Invalid(_)), "{error:?}");
}

#[tokio::test]
async fn lost_connections_lose_and_reorder_nothing() {
    for act in [Act::Close, Act::CloseUnanswered, Act::CloseMidReply, Act::ShutDown] {
        let server = Server::start(1).await;
        let client = server.client().await;
        let mut seen = 0;
        server.on_request(move |_, code| {
            seen += usize::from(code == SEND);
            if code == SEND && seen % 7 == 3 { act } else { Act::Answer }
        });
        let by = PartitionBy::Id(0);
        let builder = producer(&client).partition_by(by).batch_messages(10).max_in_flight(5);
        let producer = builder.build().await.unwrap();
        for number in 0..1000 {
            producer.send(Message::new(number.to_string())).await.unwrap();
        }
        producer.close().await.unwrap();
        assert_eq!(producer.acknowledged(), 1000);
        assert!(server.connections() > 5, "{act:?}");
        let kept = without_repetitions(server.stored(0));
        assert_eq!(kept, (0..1000).collect::<Vec<_>>(), "{act:?}");
    }
}

#[tokio::test]
async fn a_refusal_that_passes_is_retried_in_order() {
    let server = Server::start(1).await;
    let client = server.client().await;
    // From the third send on, everything is refused for a while, as by a partition that moves.
    let mut seen = 0;
    server.on_request(move |_, code| {
        seen += usize::from(code == SEND);
        match code {
            SEND if (3..9).contains(&seen) => Act::Refuse(ErrorCode::TaskTimeout),
            _ => Act::Answer,
        }
    });
    let by = PartitionBy::Id(0);
    let builder = producer(&client).partition_by(by).batch_messages(10).max_in_flight(4);
    let producer = builder.build().await.unwrap();
    for number in 0..300 {
        producer.send(Message::new(number.to_string())).await.unwrap();
    }
    producer.close().await.unwrap();
    assert_eq!(server.stored(0), texts(0..300));
}

#[tokio::test]
async fn a_batch_refused_for_the_moment_is_not_overtaken_by_those_on_their_way() {
    let server = Server::start(1).await;
    let client = server.client().await;
    server.flow(false);
    server.once(SEND, 0, Act::Refuse(ErrorCode::TaskTimeout));
    let by = PartitionBy::Id(0);
    let builder = producer(&client).partition_by(by).batch_messages(1).max_in_flight(4);
    server.flow(true);
    let producer = builder.build().await.unwrap();
    server.flow(false);
    let before = server.received();
    let first = producer.send_with_receipt(Message::new("0")).await.unwrap();
    let second = producer.send_with_receipt(Message::new("1")).await.unwrap();
    eventually("both are in flight", || server.received() == before + 2).await;
    server.flow(true);
    first.await.unwrap();
    second.await.unwrap();
    producer.send_and_confirm(Message::new("2")).await.unwrap();
    assert_eq!(server.stored(0), ["0", "1", "2"]);
}

/// INV-TOLD.
#[tokio::test]
async fn a_lasting_refusal_stops_the_producer_until_flush_has_told_it() {
    let server = Server::start(1).await;
    let client = server.client().await;
    server.once(SEND, 2, Act::Refuse(ErrorCode::Unauthorized));
    let builder = producer(&client).partition_by(PartitionBy::Id(0)).batch_messages(10);
    let producer = builder.max_in_flight(1).build().await.unwrap();
    let mut accepted = 0;
    for number in 0..1000 {
        match producer.send(Message::new(number.to_string())).await {
            Ok(()) => accepted += 1,
            Err(error) => {
                assert!(matches!(error, ProduceError::Failed(SendError::Server(_))), "{error:?}");
                break;
            }
        }
    }
    let error = producer.flush().await.unwrap_err();
    assert_eq!(error.unacknowledged, accepted - 20);
    assert_eq!(producer.acknowledged(), 20);
    let text = error.to_string();
    assert!(
        text.contains(
            "messages were not acknowledged: could not send messages to topic t of stream s"
        ),
        "{text}"
    );
    assert_eq!(server.stored(0), texts(0..20), "no hole");
    producer.send_and_confirm(Message::new("again")).await.unwrap();
    producer.flush().await.unwrap();
}

#[tokio::test]
async fn at_most_once_never_repeats() {
    let server = Server::start(1).await;
    let client = server.client().await;
    server.once(SEND, 1, Act::CloseUnanswered);
    let builder = producer(&client).partition_by(PartitionBy::Id(0)).batch_messages(10);
    let producer = builder.retry(SendRetry::AtMostOnce).build().await.unwrap();
    let mut accepted = 0;
    for number in 0..100 {
        match producer.send(Message::new(number.to_string())).await {
            Ok(()) => accepted += 1,
            Err(ProduceError::Failed(SendError::Unknown { .. })) => break,
            Err(error) => panic!("{error:?}"),
        }
    }
    let error = producer.close().await.unwrap_err();
    assert!(error.unacknowledged >= 10);
    assert_eq!(producer.acknowledged() + error.unacknowledged, accepted);
    let stored = server.stored(0);
    assert_eq!(stored, texts(0..stored.len()), "nothing is stored behind what may be missing");
}

#[tokio::test]
async fn what_is_buffered_is_bounded() {
    let server = Server::start(1).await;
    let client = server.client().await;
    let builder = producer(&client).buffer_bytes(10_000).batch_messages(10).max_in_flight(2);
    let producer = builder.build().await.unwrap();
    let before = server.received();
    server.flow(false);
    let accepted = Arc::new(AtomicUsize::new(0));
    let sending = tokio::spawn({
        let (producer, accepted) = (producer.clone(), Arc::clone(&accepted));
        async move {
            for number in 0..1000 {
                producer.send(Message::new(number.to_string())).await.unwrap();
                accepted.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    // A little over 80 bytes each.
    eventually("the buffer is full", || accepted.load(Ordering::SeqCst) >= 100).await;
    server.settle().await;
    let count = accepted.load(Ordering::SeqCst);
    assert!(count <= 125, "{count} accepted");
    assert_eq!(server.received() - before, 2, "two batches");
    server.flow(true);
    sending.await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(server.stored(0), texts(0..1000));
}

#[tokio::test]
async fn a_message_over_the_buffer_goes_alone() {
    let server = Server::start(1).await;
    let client = server.client().await;
    let producer = producer(&client).buffer_bytes(1_000).build().await.unwrap();
    producer.send(Message::new(vec![b'x'; 5_000])).await.unwrap();
    producer.send(Message::new("1")).await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(server.stored(0).len(), 2);
}

#[tokio::test]
async fn close_waits_for_everything_and_takes_nothing_more() {
    let server = Server::start(1).await;
    let client = server.client().await;
    server.on_request(|_, _| Act::Delay(Duration::from_millis(10)));
    let linger = Duration::from_secs(60);
    let builder = producer(&client).batch_messages(7).linger(linger);
    let producer = builder.build().await.unwrap();
    let senders = (0..4).map(|sender| {
        let producer = producer.clone();
        tokio::spawn(async move {
            for number in 0..100 {
                producer.send(Message::new(format!("{sender}:{number}"))).await.unwrap();
            }
        })
    });
    for joined in join_all(senders).await {
        joined.unwrap();
    }
    producer.close().await.unwrap();
    assert_eq!(server.stored(0).len(), 400);
    let error = producer.send(Message::new("late")).await.unwrap_err();
    assert!(matches!(error, ProduceError::Closed), "{error:?}");
    producer.close().await.unwrap();
}

#[tokio::test]
async fn dropped_it_sends_what_it_accepted() {
    let server = Server::start(1).await;
    let client = server.client().await;
    let producer = producer(&client).linger(Duration::from_millis(20)).build().await.unwrap();
    for number in 0..10 {
        producer.send(Message::new(number.to_string())).await.unwrap();
    }
    drop((producer, client));
    eventually("everything is stored", || server.stored(0).len() == 10).await;
}

#[tokio::test]
async fn messages_that_cannot_be_delivered_in_time_fail_with_their_fate() {
    let server = Server::start(1).await;
    let client = server.client().await;
    server.stop_listening().await;
    server.once(SEND, 0, Act::Close);
    let builder = producer(&client).batch_messages(1).partition_by(PartitionBy::Id(0));
    let producer = builder.delivery_timeout(Duration::from_millis(200)).build().await.unwrap();
    let first = producer.send_with_receipt(Message::new("0")).await.unwrap();
    let error = first.await.unwrap_err();
    assert!(matches!(error, ProduceError::Failed(SendError::Unknown { .. })), "{error:?}");
    assert_eq!(producer.flush().await.unwrap_err().unacknowledged, 1);
    let error = producer.send_and_confirm(Message::new("1")).await.unwrap_err();
    assert!(matches!(error, ProduceError::Failed(SendError::NotSent { .. })), "{error:?}");
    server.listen_again().await;
    assert!(producer.flush().await.is_err());
    producer.send_and_confirm(Message::new("2")).await.unwrap();
    assert_eq!(server.stored(0), ["2"]);
}

#[tokio::test]
async fn when_the_client_gives_up_the_producer_says_so() {
    let server = Server::start(1).await;
    let delay = Duration::from_millis(5);
    let policy = ReconnectPolicy::default().attempts(1).delays(delay, delay);
    let client = server.builder().reconnect(policy).connect().await.unwrap();
    let producer = producer(&client).batch_messages(1).build().await.unwrap();
    server.stop_listening().await;
    server.once(SEND, 0, Act::Close);
    let error = producer.send_and_confirm(Message::new("0")).await.unwrap_err();
    assert!(matches!(error, ProduceError::Failed(SendError::Unknown { .. })), "{error:?}");
    assert!(producer.close().await.is_err());
}

#[tokio::test]
async fn every_receipt_resolves_whatever_happens_to_the_connection() {
    for seed in 0..40_usize {
        let server = Server::start(4).await;
        let delay = Duration::from_millis(1);
        let policy = match seed % 2 {
            0 => ReconnectPolicy::never().delays(delay, delay),
            _ => ReconnectPolicy::default().delays(delay, delay),
        };
        let client = server.builder().reconnect(policy).connect().await.unwrap();
        let acts = [Act::Close, Act::CloseUnanswered, Act::CloseMidReply, Act::ShutDown];
        let mut requests = 0;
        server.on_request(move |_, code| {
            requests += usize::from(code == SEND);
            match code {
                SEND if (requests + seed) % (seed + 3) == 0 => acts[(seed + requests) % 4],
                _ => Act::Answer,
            }
        });
        let retry = [SendRetry::AtLeastOnce, SendRetry::AtMostOnce][seed / 2 % 2];
        let builder = producer(&client).retry(retry).batch_messages(20).buffer_bytes(20_000);
        let producer = builder.build().await.unwrap();
        let mut receipts = Vec::new();
        for number in 0..1000_usize {
            let key = (number % 17).to_string();
            let message = Message::new(number.to_string());
            match producer.send_keyed_with_receipt(key, message).await {
                Ok(receipt) => receipts.push(receipt),
                Err(_) => break,
            }
        }
        let accepted = receipts.len();
        let closed = tokio::time::timeout(Duration::from_secs(20), producer.close()).await;
        let closed = closed.unwrap_or_else(|_| panic!("seed {seed}: close hangs"));
        let verdicts = tokio::time::timeout(Duration::from_secs(5), join_all(receipts)).await;
        let verdicts = verdicts.unwrap_or_else(|_| panic!("seed {seed}: a receipt hangs"));
        let good = verdicts.iter().filter(|verdict| verdict.is_ok()).count();
        assert_eq!(producer.acknowledged(), good as u64, "seed {seed}");
        let failed = closed.err().map_or(0, |error| error.unacknowledged);
        assert_eq!(failed, (accepted - good) as u64, "seed {seed}");
        assert_eq!(producer.pending(), 0, "seed {seed}");
    }
}

#[tokio::test]
async fn where_ids_are_remembered_a_batch_sent_again_is_stored_once() {
    let server = Server::start(3).await;
    server.shared.world.lock().deduplicates = true;
    let client = server.client().await;
    let producer = producer(&client).batch_messages(10).build().await.unwrap();
    let mut sends = 0;
    server.on_request(move |_, code| {
        sends += usize::from(code == SEND);
        match code == SEND && sends.is_multiple_of(7) {
            true => Act::CloseUnanswered,
            false => Act::Answer,
        }
    });
    for number in 0..1000 {
        producer.send(Message::new(number.to_string())).await.unwrap();
    }
    producer.close().await.unwrap();
    assert!(server.connections() > 5, "{} connections", server.connections());
    let stored = (0..3).map(|partition| server.stored(partition));
    assert!(stored.clone().all(|texts| texts.len() > 200), "partitions take turns");
    let mut numbers: Vec<usize> = stored.flatten().map(|text| text.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
    assert!(producer.stored_before() > 0, "what was sent again is counted");
}

#[tokio::test]
async fn a_classic_server_is_asked_for_nothing_it_does_not_know_twice() {
    let server = Server::start(1).await;
    server.shared.world.lock().is_classic = true;
    let client = server.client().await;
    for _ in 0..2 {
        let producer = producer(&client).build().await.unwrap();
        producer.send_and_confirm(Message::new("1")).await.unwrap();
    }
    let asked = server.log().iter().filter(|code| **code == CommandCode::GetFeatures).count();
    assert_eq!(asked, 1);
    assert!(!server.log().contains(&SEND));
    assert!(!server.log().contains(&CommandCode::GetTopicSettings));
}
