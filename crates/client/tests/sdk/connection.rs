//! Pipelining, reconnecting, and what becomes of requests.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use galgo::{
    CallError, Client, Fate, Loss, Message, NotSent, Partitioning, PollRequest, PollingStrategy,
    ReconnectPolicy, SendError, Start,
};
use galgo_wire::command::CommandCode;

use crate::support::{Act, Server, eventually, numbered, stream, texts, topic};

async fn send(client: &Client, number: usize) -> Result<(), SendError> {
    let message = [Message::new(number.to_string())];
    client.send(&stream(), &topic(), Partitioning::Balanced, &message).await
}

#[tokio::test]
async fn requests_are_written_without_waiting_and_answered_in_order() {
    let server = Server::start(1).await;
    let client = server.client().await;
    server.flow(false);
    let sends = join_all((0..100).map(|number| send(&client, number)));
    let opened = async {
        eventually("all are received, none is answered", || server.received() == 101).await;
        assert!(server.stored(0).is_empty());
        server.flow(true);
    };
    let (results, ()) = tokio::join!(sends, opened);
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(server.stored(0), texts(0..100));
}

#[tokio::test]
async fn replies_of_different_kinds_reach_their_requests() {
    let server = Server::start(1).await;
    let client = server.client().await;
    client.send(&stream(), &topic(), Partitioning::Balanced, &numbered(0..50)).await.unwrap();
    server.on_request(|number, _| if number % 3 == 0 { Act::Dribble } else { Act::Answer });
    let polls = join_all((0..50_u64).map(|offset| {
        let request = PollRequest::new(&stream(), &topic(), 0)
            .strategy(PollingStrategy::Offset(offset.into()))
            .count(1);
        client.poll(request)
    }));
    let (stream, topic) = (stream(), topic());
    let others = join_all((0..50).map(|_| client.topic(&stream, &topic)));
    let (polls, others) = tokio::join!(polls, others);
    for (offset, polled) in (0..).zip(polls) {
        assert_eq!(polled.unwrap().messages()[0].offset(), offset);
    }
    assert!(others.into_iter().all(|topic| topic.unwrap().is_some()));
}

#[tokio::test]
async fn a_reply_may_come_in_any_pieces() {
    let server = Server::start(1).await;
    let client = server.client().await;
    let large = vec![b'x'; 100_000];
    let message = [Message::new(large.clone())];
    client.send(&stream(), &topic(), Partitioning::Balanced, &message).await.unwrap();
    server.on_request(|_, _| Act::Dribble);
    let polled = client.poll(PollRequest::new(&stream(), &topic(), 0)).await.unwrap();
    assert_eq!(polled.messages()[0].payload(), &large);
}

#[tokio::test]
async fn reads_are_repeated_after_a_lost_connection() {
    for act in [Act::Close, Act::CloseUnanswered, Act::CloseMidReply, Act::ShutDown] {
        let server = Server::start(1).await;
        let client = server.client().await;
        server.once(CommandCode::GetTopic, 0, act);
        assert!(client.topic(&stream(), &topic()).await.unwrap().is_some(), "{act:?}");
        assert_eq!(server.connections(), 2, "{act:?}");
    }
}

#[tokio::test]
async fn a_send_of_unknown_fate_is_not_repeated() {
    for act in [Act::Close, Act::CloseUnanswered, Act::CloseMidReply, Act::ShutDown] {
        let server = Server::start(1).await;
        let client = server.client().await;
        server.once(CommandCode::SendMessages, 0, act);
        let error = send(&client, 0).await.unwrap_err();
        assert!(matches!(error, SendError::Unknown { fate: Fate::Lost(_), .. }), "{error:?}");
        assert!(!error.is_certainly_not_stored());
        assert!(error.to_string().contains("may store them twice"), "{error}");
        let stored = usize::from(act != Act::Close);
        assert_eq!(server.stored(0).len(), stored, "{act:?}");
        send(&client, 1).await.unwrap();
        assert_eq!(server.stored(0).len(), stored + 1, "{act:?}");
    }
}

#[tokio::test]
async fn of_pipelined_sends_each_knows_its_own_fate() {
    let server = Server::start(1).await;
    let client = server.client().await;
    server.once(CommandCode::SendMessages, 5, Act::CloseUnanswered);
    let results = join_all((0..10).map(|number| send(&client, number))).await;
    let known: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(known[..5], [true; 5]);
    assert!(!known[5]);
    // Those behind were written too, before the connection was lost: unknown as well.
    for result in &results[6..] {
        assert!(matches!(result, Err(SendError::Unknown { .. })), "{result:?}");
    }
    assert_eq!(server.stored(0), texts(0..6));
}

#[tokio::test]
async fn a_poll_that_commits_what_is_next_is_not_repeated() {
    let server = Server::start(1).await;
    let client = server.client().await;
    client.send(&stream(), &topic(), Partitioning::Balanced, &numbered(0..5)).await.unwrap();
    let request =
        PollRequest::new(&stream(), &topic(), 0).strategy(PollingStrategy::Next).auto_commit(true);
    server.once(CommandCode::PollMessages, 0, Act::CloseUnanswered);
    let error = client.poll(request).await.unwrap_err();
    assert!(matches!(error, CallError::Unknown { .. }), "repeating would skip: {error:?}");
    server.once(CommandCode::PollMessages, 0, Act::CloseUnanswered);
    let request = PollRequest::new(&stream(), &topic(), 0).auto_commit(true);
    assert_eq!(client.poll(request).await.unwrap().len(), 5);
}

#[tokio::test]
async fn deleting_is_not_repeated() {
    let server = Server::start(1).await;
    let client = server.client().await;
    server.once(CommandCode::DeleteStream, 0, Act::CloseUnanswered);
    let error = client.delete_stream(&stream()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, CallError::Unknown { .. }), "{error:?}");
    assert!(text.starts_with("the outcome of the request to delete stream s is unknown"), "{text}");
}

#[tokio::test]
async fn requests_wait_for_a_server_that_comes_back() {
    let server = Server::start(1).await;
    let client = server.client().await;
    server.turn_away().await;
    server.once(CommandCode::GetStreams, 0, Act::Close);
    let reading = tokio::spawn({
        let client = client.clone();
        async move { client.streams().await }
    });
    server.turned_away(1).await;
    let sending = tokio::spawn({
        let client = client.clone();
        // Never written before, so it is safe to send later.
        async move { send(&client, 0).await }
    });
    server.turned_away(3).await;
    assert!(!reading.is_finished() && !sending.is_finished());
    server.on_request(|_, _| Act::Answer);
    server.stop_listening().await;
    server.listen_again().await;
    reading.await.unwrap().unwrap();
    sending.await.unwrap().unwrap();
    assert_eq!(server.stored(0), texts(0..1));
}

#[tokio::test]
async fn when_reconnecting_is_given_up_what_waits_fails_and_later_requests_try_again() {
    let server = Server::start(1).await;
    let delay = Duration::from_millis(5);
    let policy = ReconnectPolicy::default().attempts(2).delays(delay, delay);
    let client = server.builder().reconnect(policy).connect().await.unwrap();
    server.stop_listening().await;
    server.once(CommandCode::GetStreams, 0, Act::Close);
    let error = client.streams().await.unwrap_err();
    let CallError::NotSent { reason: NotSent::GaveUp(_), .. } = &error else { panic!("{error:?}") };
    assert!(error.to_string().contains("is the server running there?"), "{error}");
    server.listen_again().await;
    client.streams().await.unwrap();
}

#[tokio::test]
async fn a_login_refused_on_reconnect_is_told_to_what_waits() {
    let server = Server::start(1).await;
    let client = server.client().await;
    server.shared.world.lock().password = "changed".into();
    server.once(CommandCode::GetStreams, 0, Act::Close);
    let error = client.streams().await.unwrap_err();
    assert!(error.to_string().contains("check user name and password"), "{error}");
    server.shared.world.lock().password = "galgo".into();
    client.streams().await.unwrap();
}

#[tokio::test]
async fn a_request_times_out_and_its_late_reply_disturbs_nobody() {
    let server = Server::start(1).await;
    let timeout = Duration::from_millis(300);
    let client = server.builder().request_timeout(timeout).connect().await.unwrap();
    server.once(CommandCode::SendMessages, 0, Act::Delay(Duration::from_millis(350)));
    let error = send(&client, 0).await.unwrap_err();
    assert!(matches!(error, SendError::Unknown { fate: Fate::TimedOut(_), .. }), "{error:?}");
    assert!(client.topic(&stream(), &topic()).await.unwrap().is_some());
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_request_that_was_never_written_times_out_as_not_sent() {
    let server = Server::start(1).await;
    let timeout = Duration::from_millis(100);
    let client = server.builder().request_timeout(timeout).connect().await.unwrap();
    server.stop_listening().await;
    server.once(CommandCode::GetStreams, 0, Act::Close);
    assert!(client.streams().await.is_err());
    let error = send(&client, 0).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent { .. }), "{error:?}");
    assert!(error.is_certainly_not_stored());
    server.listen_again().await;
    send(&client, 1).await.unwrap();
    assert_eq!(server.stored(0), ["1"]);
}

#[tokio::test]
async fn a_silent_server_is_left() {
    let server = Server::start(1).await;
    let client = server
        .builder()
        .heartbeat_interval(Duration::from_millis(20))
        .silence_max(Duration::from_millis(100))
        .connect()
        .await
        .unwrap();
    // Idle is not silent: pings are answered, for longer than a server may be silent.
    eventually("pings are answered", || server.pings() > 10).await;
    assert_eq!(server.connections(), 1);
    server.flow(false);
    let error = send(&client, 0).await.unwrap_err();
    assert!(matches!(error, SendError::Unknown { fate: Fate::Lost(Loss::Silent(_)), .. }));
    server.flow(true);
    client.streams().await.unwrap();
}

#[tokio::test]
async fn garbage_ends_the_connection_not_the_client() {
    for garbage in [
        &b"HTTP/1.1 200 OK\r\n\r\n"[..],
        // An error with a payload.
        &[3, 0, 0, 0, 1, 0, 0, 0, 0],
    ] {
        let server = Server::start(1).await;
        let client = server.client().await;
        server.once(CommandCode::SendMessages, 0, Act::Garbage(garbage));
        let error = send(&client, 0).await.unwrap_err();
        let SendError::Unknown { fate: Fate::Lost(Loss::Garbled(_)), .. } = error else {
            panic!("{error:?}")
        };
        client.streams().await.unwrap();
    }
}

#[tokio::test]
async fn a_reply_over_the_limit_is_not_asked_for_again() {
    let server = Server::start(1).await;
    let client = server.builder().reply_bytes_max(10_000).connect().await.unwrap();
    let message = [Message::new(vec![b'x'; 6_000])];
    for _ in 0..3 {
        client.send(&stream(), &topic(), Partitioning::Balanced, &message).await.unwrap();
    }
    let error = client.poll(PollRequest::new(&stream(), &topic(), 0)).await.unwrap_err();
    assert!(error.is_reply_too_large(), "{error:?}");
    assert!(error.to_string().contains("ask for less at once"), "{error}");
    let one = PollRequest::new(&stream(), &topic(), 0).count(1);
    assert_eq!(client.poll(one).await.unwrap().len(), 1);
    // A consumer asks for less by itself.
    let builder = client.consumer(&stream(), &topic()).start(Start::First).until_end();
    let consumer = builder.build().await.unwrap();
    assert_eq!(consumer.map(|message| message.unwrap()).count().await, 3);
}

#[tokio::test]
async fn what_waits_is_bounded_by_count_and_by_bytes() {
    for (requests, bytes, expected) in [(7, 1 << 20, 7), (1000, 1000, 9)] {
        let server = Server::start(1).await;
        let client = server.builder().in_flight_max(requests, bytes).connect().await.unwrap();
        server.flow(false);
        let before = server.received();
        // A little over 100 bytes each.
        let sends = (0..20).map(|number| send(&client, number));
        let check = async {
            eventually("as many as allowed", || server.received() - before == expected).await;
            server.settle().await;
            assert_eq!(server.received() - before, expected, "callers wait");
            server.flow(true);
        };
        let (results, ()) = tokio::join!(join_all(sends), check);
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(server.stored(0), texts(0..20), "first come, first served");
    }
}

#[tokio::test]
async fn a_request_over_the_bound_goes_alone() {
    let server = Server::start(1).await;
    let client = server.builder().in_flight_max(10, 100).connect().await.unwrap();
    let message = [Message::new(vec![b'x'; 10_000])];
    client.send(&stream(), &topic(), Partitioning::Balanced, &message).await.unwrap();
}

#[tokio::test]
async fn a_request_dropped_before_it_was_written_never_happens() {
    let server = Server::start(1).await;
    let client = server.client().await;
    server.turn_away().await;
    server.once(CommandCode::GetStreams, 0, Act::Close);
    let reading = tokio::spawn({
        let client = client.clone();
        async move { client.streams().await }
    });
    server.turned_away(1).await;
    assert!(send(&client, 0).now_or_never().is_none(), "it waits for a connection");
    server.stop_listening().await;
    server.listen_again().await;
    reading.await.unwrap().unwrap();
    send(&client, 1).await.unwrap();
    assert_eq!(server.stored(0), ["1"]);
}

#[tokio::test]
async fn dropping_the_last_client_closes_the_connection() {
    let server = Server::start(1).await;
    let client = server.client().await;
    let other = client.clone();
    drop(client);
    other.streams().await.unwrap();
    drop(other);
    // The server's side of the connection ends, and lets go of what it shares.
    eventually("the connection is closed", || std::sync::Arc::strong_count(&server.shared) <= 2)
        .await;
}
