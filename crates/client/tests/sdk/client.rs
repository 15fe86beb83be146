//! The commands of the client.

use galgo::{
    CallError, Client, ConnectError, Credentials, Durability, Message, Partitioning, PollRequest,
    PollingStrategy, SendError, TopicOptions,
};
use galgo_wire::command::CommandCode;
use galgo_wire::error_code::ErrorCode;

use crate::support::{Server, numbered, stream, texts, topic};

#[tokio::test]
async fn messages_come_back_as_they_were_sent() {
    let server = Server::start(2).await;
    let url = format!("galgo://galgo:galgo@{}", server.address);
    let client = Client::connect(&url).await.unwrap();
    let message = Message::new("hello").id(5).header("kind", "greeting").unwrap();
    let partitioning = Partitioning::PartitionId(1.into());
    client.send(&stream(), &topic(), partitioning, &[message, Message::new("")]).await.unwrap();
    let polled = client.poll(PollRequest::new(&stream(), &topic(), 1)).await.unwrap();
    assert_eq!((polled.partition(), polled.current_offset(), polled.len()), (1, 1, 2));
    let [first, second] = polled.messages() else { panic!() };
    assert_eq!((first.payload().as_ref(), first.id(), first.offset()), (&b"hello"[..], 5, 0));
    assert_eq!(first.headers().unwrap().get("kind").unwrap().as_str(), Some("greeting"));
    assert!(first.origin_timestamp() > 0 && first.timestamp() == 1_000);
    assert!(second.payload().is_empty() && second.headers().unwrap().is_empty());
    assert_eq!((second.id(), second.offset(), second.partition()), (7, 1, 1));
}

#[tokio::test]
async fn a_key_goes_where_the_server_puts_it_too() {
    let server = Server::start(3).await;
    let client = server.client().await;
    let partitioning = Partitioning::key(b"user-42").unwrap();
    client.send(&stream(), &topic(), partitioning, &numbered(0..3)).await.unwrap();
    assert_eq!(server.stored(1_635_883_646 % 3), texts(0..3));
}

#[tokio::test]
async fn a_wrong_password_is_told_with_user_and_place() {
    let server = Server::start(1).await;
    let url = format!("galgo://galgo:wrong@{}", server.address);
    let error = Client::connect(&url).await.unwrap_err();
    let ConnectError::Login(refusal) = &error else { panic!("{error:?}") };
    assert!(refusal.is(ErrorCode::InvalidCredentials));
    let text = error.to_string();
    assert!(text.contains("could not log in as user galgo at 127.0.0.1:"), "{text}");
    assert!(text.contains("check user name and password") && !text.contains("wrong at"), "{text}");
}

#[tokio::test]
async fn nobody_at_the_address_is_told() {
    let server = Server::start(1).await;
    server.stop_listening().await;
    let error = server.builder().connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("is the server running there?"));
    let error = Client::connect("galgo://h:x").await.unwrap_err();
    assert!(matches!(error, ConnectError::ConnectionString(_)));
}

#[tokio::test]
async fn what_is_no_galgo_server_is_told() {
    let server = Server::start(1).await;
    for (answer, hint) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "it speaks HTTP"),
        // An alert, as a TLS listener answers what is no handshake.
        (b"\x15\x03\x03\x00\x02\x02\x0a\x00", "it speaks TLS; turn TLS on"),
        (b"\x01\x00\x00\x00\x01\x00\x00\x00", "check that the port is that of the transport"),
    ] {
        server.on_request(move |_, _| crate::support::Act::Garbage(answer));
        let error = server.builder().connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::NotGalgo { .. }), "{error:?}");
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_names_deed_target_and_remedy() {
    let server = Server::start(1).await;
    let client = server.client().await;
    client.create_stream("shop").await.unwrap();
    let error = client.create_stream("shop").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::StreamNameAlreadyExists));
    assert!(error.is_certainly_not_done());
    let text = error.to_string();
    assert!(text.starts_with("could not create stream shop: "), "{text}");
    assert!(text.ends_with("; choose another name or use the existing stream"), "{text}");
}

#[tokio::test]
async fn names_and_sizes_are_checked_before_anything_is_sent() {
    let server = Server::start(1).await;
    let client = server.client().await;
    let before = server.received();
    assert!(matches!(client.create_stream("").await, Err(CallError::Invalid(_))));
    assert!(matches!(client.create_stream(&"n".repeat(256)).await, Err(CallError::Invalid(_))));
    let large = [Message::new(vec![0; 64_000_001])];
    let sent = client.send(&stream(), &topic(), Partitioning::Balanced, &large).await;
    assert!(matches!(sent, Err(SendError::Invalid(_))), "{sent:?}");
    assert!(Message::new("").header("", "x").is_err());
    assert_eq!(server.received(), before);
}

#[tokio::test]
async fn login_and_logout_change_who_the_connection_is_also_after_a_reconnect() {
    let server = Server::start(1).await;
    let client =
        Client::builder().address("127.0.0.1", server.address.port()).connect().await.unwrap();
    assert_eq!(client.streams().await.unwrap_err().code(), Some(ErrorCode::Unauthenticated));
    let wrong = client.login(Credentials::password("galgo", "wrong")).await.unwrap_err();
    assert_eq!(wrong.code(), Some(ErrorCode::InvalidCredentials));
    assert_eq!(client.login(Credentials::password("galgo", "galgo")).await.unwrap(), 0);
    client.streams().await.unwrap();
    server.once(CommandCode::GetStreams, 0, crate::support::Act::Close);
    client.streams().await.unwrap();
    assert_eq!(server.connections(), 2);
    client.logout().await.unwrap();
    server.once(CommandCode::GetStreams, 0, crate::support::Act::Close);
    assert_eq!(client.streams().await.unwrap_err().code(), Some(ErrorCode::Unauthenticated));
}

#[tokio::test]
async fn durability_needs_a_server_that_knows_it_and_says_so() {
    let server = Server::start(1).await;
    let client = server.client().await;
    let options = TopicOptions::default().durability(Durability::Os);
    client.create_topic(&stream(), "t", options.clone()).await.unwrap();
    let settings = client.topic_settings(&stream(), &topic()).await.unwrap().unwrap();
    assert_eq!(settings.durability, Some(Durability::Os));
    let asked = |server: &Server| {
        server.log().iter().filter(|code| **code == CommandCode::GetFeatures).count()
    };
    assert_eq!(asked(&server), 1, "asked once per connection");

    let classic = Server::start(1).await;
    classic.shared.world.lock().is_classic = true;
    let client = classic.client().await;
    let error = client.create_topic(&stream(), "t", options).await.unwrap_err();
    assert!(matches!(error, CallError::Unsupported(_)), "{error:?}");
    assert!(error.to_string().contains("leave the durability out"), "{error}");
    client.create_topic(&stream(), "t", TopicOptions::default()).await.unwrap();
    assert_eq!(asked(&classic), 1);
}

#[tokio::test]
async fn offsets_are_stored_by_consumer_and_polled_behind() {
    let server = Server::start(1).await;
    let client = server.client().await;
    client.send(&stream(), &topic(), Partitioning::Balanced, &numbered(0..5)).await.unwrap();
    let of = galgo::OffsetOf {
        stream: stream(),
        topic: topic(),
        partition: 0,
        consumer: galgo::ConsumerIdentity::new("billing".parse().unwrap()),
    };
    assert_eq!(client.get_offset(&of).await.unwrap(), None);
    client.store_offset(&of, 2).await.unwrap();
    assert_eq!(client.get_offset(&of).await.unwrap().unwrap().stored_offset.get(), 2);
    let request = PollRequest::new(&stream(), &topic(), 0)
        .strategy(PollingStrategy::Next)
        .consumer(of.consumer.id.clone());
    let polled = client.poll(request).await.unwrap();
    assert_eq!(polled.messages().first().unwrap().offset(), 3);
}
