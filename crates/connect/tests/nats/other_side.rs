//! Whoever else uses the NATS server: makes streams, fills and reads them.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{Config, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, HeaderMap};
use futures_util::StreamExt as _;
use galgo_testkit::service::nats::{PASSWORD, USER};

pub(crate) struct OtherSide {
    pub(crate) client: Client,
    pub(crate) jetstream: Context,
}

impl OtherSide {
    pub(crate) async fn connect(port: u16) -> Self {
        let options = ConnectOptions::new().user_and_password(USER.into(), PASSWORD.into());
        let client = options.connect(format!("nats://127.0.0.1:{port}")).await.unwrap();
        Self { jetstream: jetstream::new(client.clone()), client }
    }

    pub(crate) async fn make_stream(&self, name: &str, subjects: &[&str]) -> Stream {
        let subjects = subjects.iter().map(ToString::to_string).collect();
        self.make(Config { name: name.into(), subjects, ..Config::default() }).await
    }

    pub(crate) async fn make(&self, config: Config) -> Stream {
        self.jetstream.create_stream(config).await.unwrap()
    }

    pub(crate) async fn publish(&self, subject: &str, headers: HeaderMap, payload: &str) {
        let payload = payload.to_owned().into();
        let published =
            self.jetstream.publish_with_headers(subject.to_owned(), headers, payload).await;
        published.unwrap().await.unwrap();
    }

    /// All messages of a stream, in order.
    pub(crate) async fn all(&self, stream: &str) -> Vec<async_nats::Message> {
        let mut stream = self.jetstream.get_stream(stream).await.unwrap();
        let count = stream.info().await.unwrap().state.messages;
        let config = pull::Config { ack_policy: AckPolicy::None, ..Default::default() };
        let consumer: PullConsumer = stream.create_consumer(config).await.unwrap();
        let mut messages = Vec::new();
        while (messages.len() as u64) < count {
            let batch = consumer.batch().max_messages(500).expires(Duration::from_secs(2));
            let mut batch = batch.messages().await.unwrap();
            while let Some(message) = batch.next().await {
                messages.push(message.unwrap().split().0);
            }
        }
        messages
    }
}
