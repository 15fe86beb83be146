//! Publishing a batch.

use std::collections::VecDeque;

use rumqttc::{AsyncClient, PublishNotice, QoS};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::MqttTarget;
use crate::batch::Batch;
use crate::failure::Failure;
use crate::mqtt::link::{MqttAccess, ON_THE_WAY_MAX, OpenedMqtt};
use crate::place::{LaneName, Place};

/// The longest topic.
const TOPIC_BYTES_MAX: usize = 65_535;

/// Whether a text is a topic a message can be sent to. Brokers cut off who sends others.
pub(super) fn is_topic(text: &str) -> bool {
    let is_wild = |letter: char| matches!(letter, '+' | '#');
    // What Unicode has set aside for no letter.
    let is_none = |letter: char| {
        let code = u32::from(letter);
        code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
    };
    !text.is_empty()
        && text.len() <= TOPIC_BYTES_MAX
        && !text.starts_with('$')
        && !text.chars().any(|letter| is_wild(letter) || letter.is_control() || is_none(letter))
}

/// A connection that publishes, and the task that keeps it.
pub(super) struct PublishLink {
    access: MqttAccess,
    client: AsyncClient,
    lost: watch::Receiver<Option<Failure>>,
    driver: JoinHandle<()>,
}

impl PublishLink {
    pub(super) fn start(access: MqttAccess, opened: OpenedMqtt) -> Self {
        let (tell, lost) = watch::channel(None);
        let OpenedMqtt { client, mut events, .. } = opened;
        let place = access.clone();
        let driver = tokio::spawn(async move {
            let error = loop {
                if let Err(error) = events.poll().await {
                    break error;
                }
            };
            tell.send_replace(Some(place.meaning(&error)));
        });
        Self { access, client, lost, driver }
    }

    /// Whether it is there, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        self.lost.borrow().is_none()
    }

    /// Waits for something within the limit, unless the connection is lost.
    async fn ask<T>(&self, what: impl Future<Output = T>) -> Result<T, Failure> {
        let mut lost = self.lost.clone();
        tokio::select! {
            answer = self.access.within(what) => answer,
            _ = lost.wait_for(Option::is_some) => Err(self.why()),
        }
    }

    /// Why it is lost.
    fn why(&self) -> Failure {
        let lost = self.lost.borrow().clone();
        lost.unwrap_or_else(|| self.access.away("the connection is lost"))
    }
}

impl Drop for PublishLink {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A message on its way.
struct AwaitedAck {
    place: Place,
    notice: PublishNotice,
}

impl MqttTarget {
    pub(super) async fn deliver(
        &self,
        link: &PublishLink,
        lane: &LaneName,
        batch: &Batch,
    ) -> Result<(), Failure> {
        let taken = self.confirmed.begin(lane, batch);
        let topic_made_at = batch.end().topic_made_at;
        let settle = async |awaited: AwaitedAck| match link.ask(awaited.notice.wait_async()).await?
        {
            Ok(_) => {
                self.confirmed.add(lane, topic_made_at, awaited.place);
                Ok(())
            }
            Err(_) => Err(link.why()),
        };
        let mut bad = Vec::new();
        let mut first = None;
        let mut on_the_way = VecDeque::new();
        let topics = self.topic.of_all(lane, batch.rows()).await;
        let rows = batch.rows().iter().zip(topics);
        for (row, topic) in rows.filter(|(row, _)| !taken.contains(&row.place)) {
            let message = match self.message(lane, row, topic) {
                Ok(message) => message,
                Err(reason) => {
                    bad.push(row.place);
                    first.get_or_insert(reason);
                    continue;
                }
            };
            if on_the_way.len() >= usize::from(ON_THE_WAY_MAX)
                && let Some(awaited) = on_the_way.pop_front()
            {
                settle(awaited).await?;
            }
            let (topic, payload) = (message.topic, message.payload);
            let client = &link.client;
            let sent = client.publish_bytes_tracked(topic, QoS::AtLeastOnce, self.retain, payload);
            let notice = link.ask(sent).await?.map_err(|_| link.why())?;
            assert!(
                on_the_way.len() < usize::from(ON_THE_WAY_MAX),
                "INV-CONNECT-BUDGET: so many answers are waited for at most"
            );
            on_the_way.push_back(AwaitedAck { place: row.place, notice });
        }
        for awaited in on_the_way {
            settle(awaited).await?;
        }
        match first {
            None => {
                self.confirmed.forget(lane);
                Ok(())
            }
            Some(reason) => {
                assert!(!bad.is_empty(), "INV-PREFIX: bad messages are named");
                Err(Failure::Bad { places: bad, reason })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_have_no_wildcards_and_are_not_the_brokers_own() {
        for good in ["a", "/", "shop/orders/es", "a//b", "ü 1", "a$b"] {
            assert!(is_topic(good), "{good}");
        }
        let long = "x".repeat(TOPIC_BYTES_MAX + 1);
        for bad in ["", "a/+", "#", "$SYS/x", "a\0", "a\n", "\u{ffff}", "\u{fdd0}", &long] {
            assert!(!is_topic(bad), "{bad:.9}");
        }
    }
}
