//! A channel with confirms: what was sent on it and is not confirmed yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use amqprs::channel::{BasicPublishArguments, ConfirmSelectArguments};
use tokio::time::timeout;

use super::Outgoing;
use crate::bridge::confirmed::Confirmed;
use crate::failure::Failure;
use crate::place::{LaneName, Place};
use crate::rabbitmq::link::{ChannelEvent, RabbitLink};

/// A message that waits for its confirm.
#[derive(Debug)]
pub(super) struct UnconfirmedMessage {
    /// Whose it is.
    pub lane: Arc<LaneName>,
    /// Of which topic of that name.
    pub topic_made_at: u64,
    /// Where it is from.
    pub place: Place,
    /// How it is called: what is sent back has no number.
    pub message_id: String,
    /// It was sent back.
    pub is_returned: bool,
}

/// What the server says of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConfirmAnswer {
    /// Its number; 0 for all there are.
    pub tag: u64,
    /// All up to it, too.
    pub multiple: bool,
    /// Whether it took them.
    pub taken: bool,
}

/// What became of messages, by what the server said.
#[derive(Debug, Default)]
pub(super) struct ConfirmLedger {
    /// By the number the channel gave them.
    open: BTreeMap<u64, UnconfirmedMessage>,
    last_tag: u64,
    returned: Vec<(Arc<LaneName>, Place)>,
    not_taken: u64,
}

impl ConfirmLedger {
    /// A message is sent.
    pub(super) fn sent(&mut self, sent: UnconfirmedMessage) {
        self.last_tag += 1;
        let before = self.open.insert(self.last_tag, sent);
        assert!(before.is_none(), "INV-DELIVERED: each message waits for a confirm of its own");
    }

    /// The server sent one back. It has no number, but comes in front of its confirm.
    pub(super) fn returned(&mut self, message_id: Option<&str>) {
        let is_it = |sent: &&mut UnconfirmedMessage| {
            !sent.is_returned && Some(sent.message_id.as_str()) == message_id
        };
        if let Some(sent) = self.open.values_mut().find(is_it) {
            sent.is_returned = true;
        }
    }

    /// The server took one, or all up to it, or did not.
    pub(super) fn confirmed(&mut self, answer: ConfirmAnswer, confirmed: &Confirmed) {
        let ConfirmAnswer { tag, multiple, taken } = answer;
        let settled: Vec<UnconfirmedMessage> = match multiple {
            false => self.open.remove(&tag).into_iter().collect(),
            true => {
                // 0 stands for all there are.
                let behind = match tag {
                    0 => BTreeMap::new(),
                    tag => self.open.split_off(&tag.saturating_add(1)),
                };
                std::mem::replace(&mut self.open, behind).into_values().collect()
            }
        };
        assert!(
            self.open.last_key_value().is_none_or(|(tag, _)| *tag <= self.last_tag),
            "INV-DELIVERED: only what was sent waits for a confirm"
        );
        for sent in settled {
            match (taken, sent.is_returned) {
                (false, _) => self.not_taken += 1,
                (true, true) => self.returned.push((sent.lane, sent.place)),
                (true, false) => confirmed.add(&sent.lane, sent.topic_made_at, sent.place),
            }
        }
    }
}

/// A channel with confirms.
pub(super) struct ConfirmChannel {
    link: RabbitLink,
    ledger: ConfirmLedger,
    limit: Duration,
}

impl ConfirmChannel {
    /// Asks for confirms on a new link.
    pub(super) async fn new(mut link: RabbitLink) -> Result<Self, Failure> {
        let channel = link.channel.clone();
        link.ask(channel.confirm_select(ConfirmSelectArguments::new(false))).await?;
        let limit = link.limit();
        Ok(Self { link, ledger: ConfirmLedger::default(), limit })
    }

    /// Whether messages can be sent on it.
    pub(super) fn is_open(&self) -> bool {
        self.link.is_open()
    }

    /// Sends a message; what becomes of it is told later.
    pub(super) async fn publish(
        &mut self,
        exchange: &str,
        outgoing: Outgoing,
        sent: UnconfirmedMessage,
    ) -> Result<(), Failure> {
        let mut arguments = BasicPublishArguments::new(exchange, &outgoing.routing_key);
        arguments.mandatory(true);
        let channel = self.link.channel.clone();
        let payload = outgoing.payload.to_vec();
        // In front of the message, so that a confirm is never too early.
        self.ledger.sent(sent);
        self.link.ask(channel.basic_publish(outgoing.properties, payload, arguments)).await
    }

    /// Takes note of what the server has said so far.
    pub(super) fn look(&mut self, confirmed: &Confirmed) -> Result<(), Failure> {
        while let Ok(event) = self.link.events.try_recv() {
            self.note(event, confirmed)?;
        }
        Ok(())
    }

    /// Waits until nothing is open; each confirm has the whole limit. A server that takes that long may have stopped for want of memory and
    /// go on later, so the line is kept then, and the next batch waits for what is open first.
    pub(super) async fn settle(&mut self, confirmed: &Confirmed) -> Result<(), Failure> {
        while !self.ledger.open.is_empty() {
            match timeout(self.limit, self.link.events.recv()).await {
                Ok(Some(event)) => self.note(event, confirmed)?,
                Ok(None) => return Err(self.link.why("the connection is lost").await),
                Err(_) => {
                    return Err(Failure::away(format!(
                        "RabbitMQ has not confirmed {} messages within {:?}; it stops taking messages when it is short of \
                         memory or disk",
                        self.ledger.open.len(),
                        self.limit
                    )));
                }
            }
        }
        match std::mem::take(&mut self.ledger.not_taken) {
            0 => Ok(()),
            count => Err(Failure::away(format!("RabbitMQ could not take {count} messages"))),
        }
    }

    /// Forgets what was sent back before.
    pub(super) fn forget_returns(&mut self) {
        self.ledger.returned.clear();
    }

    /// The messages of a lane that were sent back.
    pub(super) fn returned(&self, lane: &LaneName) -> Vec<Place> {
        let of_lane = self.ledger.returned.iter().filter(|(of, _)| **of == *lane);
        of_lane.map(|(_, place)| *place).collect()
    }

    fn note(&mut self, event: ChannelEvent, confirmed: &Confirmed) -> Result<(), Failure> {
        match event {
            ChannelEvent::Confirmed { tag, multiple, taken } => {
                self.ledger.confirmed(ConfirmAnswer { tag, multiple, taken }, confirmed);
            }
            ChannelEvent::Returned { message_id } => self.ledger.returned(message_id.as_deref()),
            ChannelEvent::Closed { code, text } => return Err(self.link.closed(code, &text)),
            ChannelEvent::Cancelled => {}
        }
        Ok(())
    }
}
