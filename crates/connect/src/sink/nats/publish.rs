//! Publishing a batch, and what the answers mean.

use std::collections::{BTreeSet, VecDeque};
use std::error::Error as _;

use async_nats::jetstream::context::{
    GetStreamByNameErrorKind, PublishAckFuture, PublishError, PublishErrorKind,
};
use async_nats::jetstream::{Error as JetStreamError, ErrorCode};

use super::{NatsPublication, NatsTarget};
use crate::batch::Batch;
use crate::failure::Failure;
use crate::nats::link::NatsLink;
use crate::place::{LaneName, Place};

/// Messages of a batch that are on their way together.
const ON_THE_WAY_MAX: usize = 1_000;

/// What one message is not taken for.
enum Trouble {
    /// For what it is.
    Bad(String),
    /// For something that passes, or for what somebody else has to mend.
    Other(Failure),
}

/// A message on its way.
struct Awaited {
    place: Place,
    subject: String,
    answer: PublishAckFuture,
}

/// What became of a batch so far.
#[derive(Default)]
struct PublishOutcome {
    bad: BTreeSet<Place>,
    reason: Option<String>,
}

impl PublishOutcome {
    fn bad(&mut self, place: Place, reason: String) {
        self.bad.insert(place);
        self.reason.get_or_insert(reason);
    }
}

/// Whether a text is a subject a message can be sent to.
pub(super) fn is_subject(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word != "*"
            && word != ">"
            && !word.chars().any(|letter| letter.is_whitespace() || letter.is_control())
    };
    text.split('.').all(is_word)
}

impl NatsTarget {
    pub(super) async fn deliver(
        &self,
        link: &NatsLink,
        lane: &LaneName,
        batch: &Batch,
    ) -> Result<(), Failure> {
        let taken = self.confirmed.begin(lane, batch);
        let topic_made_at = batch.end().topic_made_at;
        let mut outcome = PublishOutcome::default();
        let mut on_the_way = VecDeque::new();
        let subjects = self.subject.of_all(lane, batch.rows()).await;
        let rows = batch.rows().iter().zip(subjects);
        for (row, subject) in rows.filter(|(row, _)| !taken.contains(&row.place)) {
            let publication = match self.publication(lane, row, subject) {
                Ok(publication) => publication,
                Err(reason) => {
                    outcome.bad(row.place, reason);
                    continue;
                }
            };
            if !self.jetstream {
                self.send(link, publication).await?;
                continue;
            }
            if on_the_way.len() >= ON_THE_WAY_MAX
                && let Some(awaited) = on_the_way.pop_front()
            {
                self.settle(link, lane, topic_made_at, awaited, &mut outcome).await?;
            }
            let NatsPublication { subject, headers, payload } = publication;
            let publish = link.jetstream.publish_with_headers(subject.clone(), headers, payload);
            match link.ask(publish).await? {
                Ok(answer) => {
                    assert!(
                        on_the_way.len() < ON_THE_WAY_MAX,
                        "INV-CONNECT-BUDGET: so many answers are waited for at most"
                    );
                    on_the_way.push_back(Awaited { place: row.place, subject, answer });
                }
                Err(error) => match self.trouble(link, &subject, &error).await? {
                    Trouble::Bad(reason) => outcome.bad(row.place, reason),
                    Trouble::Other(failure) => return Err(failure),
                },
            }
        }
        for awaited in on_the_way {
            self.settle(link, lane, topic_made_at, awaited, &mut outcome).await?;
        }
        if !self.jetstream {
            let flushed = link.ask(link.client.flush()).await?;
            flushed.map_err(|error| link.away(&error.to_string()))?;
        }
        let Some(reason) = outcome.reason else {
            self.confirmed.forget(lane);
            return Ok(());
        };
        assert!(!outcome.bad.is_empty(), "INV-PREFIX: bad messages are named");
        Err(Failure::Bad { places: outcome.bad.into_iter().collect(), reason })
    }

    /// Sends without a stream: the server has it, and whoever listens gets it.
    async fn send(&self, link: &NatsLink, publication: NatsPublication) -> Result<(), Failure> {
        let NatsPublication { subject, headers, payload } = publication;
        let sent = link.client.publish_with_headers(subject, headers, payload);
        link.ask(sent).await?.map_err(|error| link.away(&error.to_string()))
    }

    /// Waits for the answer to a message.
    async fn settle(
        &self,
        link: &NatsLink,
        lane: &LaneName,
        topic_made_at: u64,
        awaited: Awaited,
        outcome: &mut PublishOutcome,
    ) -> Result<(), Failure> {
        let Awaited { place, subject, answer } = awaited;
        match link.ask(answer.into_future()).await? {
            // Of what it had already, too.
            Ok(_) => self.confirmed.add(lane, topic_made_at, place),
            Err(error) => match self.trouble(link, &subject, &error).await? {
                Trouble::Bad(reason) => outcome.bad(place, reason),
                Trouble::Other(failure) => return Err(failure),
            },
        }
        Ok(())
    }

    /// What an answer means that is no acknowledgement.
    async fn trouble(
        &self,
        link: &NatsLink,
        subject: &str,
        error: &PublishError,
    ) -> Result<Trouble, Failure> {
        let code = error.source().and_then(|source| source.downcast_ref::<JetStreamError>());
        let code = code.map(JetStreamError::error_code);
        match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => Ok(Trouble::Bad(
                "it is larger than NATS takes (max_payload of the server)".to_owned(),
            )),
            _ if code == Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM) => Ok(Trouble::Bad(
                "it is larger than its stream takes (max_msg_size of the stream)".to_owned(),
            )),
            // Nobody answered: there is no stream, or the one there is has no leader for a moment.
            PublishErrorKind::StreamNotFound => match link.find_stream(subject).await? {
                Some(_) => Ok(Trouble::Other(link.away("the stream does not answer"))),
                None => Ok(Trouble::Bad(format!(
                    "no stream takes the subject of {}: make one that does",
                    self.subject
                ))),
            },
            _ => Ok(Trouble::Other(link.away(&format!("it did not take a message: {error}")))),
        }
    }
}

impl NatsLink {
    /// Asks whether JetStream is there, whatever it says of itself.
    ///
    /// # Errors
    /// [`Failure`] when it is not.
    pub(super) async fn find_jetstream(&self) -> Result<(), Failure> {
        let asked = self.jetstream.request::<_, _, serde_json::Value>("INFO", &());
        match self.ask(asked).await? {
            Ok(info) if info.get("error").is_none() => Ok(()),
            Ok(_) => Err(self.refused(
                "JetStream is not there for this user",
                "have the server run it for the account; or jetstream = false if what nobody listens to may be lost",
            )),
            Err(error) => Err(self.away(&format!("JetStream does not answer: {error}"))),
        }
    }

    /// The stream that takes a subject, if there is one.
    ///
    /// # Errors
    /// [`Failure`] when it could not be asked.
    pub(super) async fn find_stream(&self, subject: &str) -> Result<Option<String>, Failure> {
        match self.ask(self.jetstream.stream_by_subject(subject)).await? {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.away(&format!("JetStream does not answer: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_words_with_points_between_them() {
        for good in ["a", "shop.orders.es", "$x.y-z", "ü.1"] {
            assert!(is_subject(good), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a.*", ">", "a b", "a.\n", "a\r\nPUB x"] {
            assert!(!is_subject(bad), "{bad}");
        }
    }
}
