//! Whoever else uses the broker: publishes and listens.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use galgo_testkit::service::mosquitto::{PASSWORD, USER};
use rumqttc::{AsyncClient, Broker, Event, MqttOptions, Packet, Publish, QoS};
use tokio::task::JoinHandle;

/// A connection, which is made again when it is lost.
pub(crate) struct OtherSide {
    client: AsyncClient,
    seen: Arc<Mutex<Vec<Publish>>>,
    task: JoinHandle<()>,
}

impl Drop for OtherSide {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl OtherSide {
    /// Connects, and listens to all topics under a name, if there is one.
    pub(crate) async fn connect(port: u16, name: &str, topics: Option<&str>) -> Self {
        let mut options = MqttOptions::new(name, Broker::tcp("127.0.0.1", port));
        options.set_credentials(USER, PASSWORD);
        options.set_max_packet_size(1 << 20, 1 << 20);
        // Who listens gets what came while it was away.
        options.set_clean_session(topics.is_none());
        let (client, mut events) = AsyncClient::builder(options).unbounded().build();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (sight, subscriber, topics) = (seen.clone(), client.clone(), topics.map(str::to_owned));
        let (ready, mut is_ready) = tokio::sync::watch::channel(false);
        let task = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => match &topics {
                        Some(topics) => {
                            subscriber.subscribe(topics.clone(), QoS::AtLeastOnce).await.unwrap();
                        }
                        None => {
                            ready.send_replace(true);
                        }
                    },
                    Ok(Event::Incoming(Packet::SubAck(_))) => {
                        ready.send_replace(true);
                    }
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        sight.lock().unwrap().push(publish);
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        is_ready.wait_for(|ready| *ready).await.unwrap();
        Self { client, seen, task }
    }

    /// Publishes, and waits until the broker has it.
    pub(crate) async fn publish(&self, topic: &str, retain: bool, payload: &str) {
        let payload = payload.to_owned();
        let sent = self.client.publish_tracked(topic, QoS::AtLeastOnce, retain, payload);
        sent.await.unwrap().wait_async().await.unwrap();
    }

    /// Publishes `{"n":N}` for each number.
    pub(crate) async fn fill(&self, topic: &str, numbers: std::ops::Range<u64>) {
        let mut notices = Vec::new();
        for n in numbers {
            let payload = format!("{{\"n\":{n}}}");
            let sent = self.client.publish_tracked(topic, QoS::AtLeastOnce, false, payload);
            notices.push(sent.await.unwrap());
        }
        for notice in notices {
            notice.wait_async().await.unwrap();
        }
    }

    /// How many messages came so far.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// What came of a topic so far, once nothing more comes.
    pub(crate) async fn seen(&self, topic: &str) -> Vec<Publish> {
        loop {
            let before = self.count();
            tokio::time::sleep(Duration::from_millis(100)).await;
            if self.count() == before {
                let seen = self.seen.lock().unwrap();
                return seen.iter().filter(|it| it.topic == topic.as_bytes()).cloned().collect();
            }
        }
    }
}
