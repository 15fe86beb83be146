//! Reads a topic as a member of a consumer group.
//!
//! INV-SHOWN: an offset is stored only after its message was written out, so that what a member did
//! not show is shown by the next one.

use std::collections::BTreeMap;
use std::time::Duration;

use galgo::Offset;
use galgo::{
    CallError, Client, ConsumerIdentity, ErrorCode, Identifier, Life, OffsetOf, PollRequest,
    PolledMessages, PollingStrategy,
};
use galgo_wire::index::to_u32;

use crate::failure::{Failure, Outcome};
use crate::noun::group;
use crate::noun::topic::TopicPath;
use crate::output::message::MessageWriter;
use crate::tail::lane::{begins_anew, left_out};
use crate::tail::link::Link;

/// Messages asked for at once.
const BATCH_MESSAGES: u32 = 1_000;

/// Pause after a round that brought nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// A membership; it ends with the connection at the latest.
#[derive(Debug)]
pub(crate) struct TailMember<'a> {
    client: Client,
    path: &'a TopicPath,
    group: &'a Identifier,
    /// Polls after which each partition had its turn.
    round: u32,
    /// The life of each partition that was read from.
    lives: BTreeMap<u32, Life>,
    /// Where damaged messages end that are left out, by partition; `None`: nothing is left out.
    skipped: Option<BTreeMap<u32, u64>>,
}

impl<'a> TailMember<'a> {
    /// Joins the group.
    pub(crate) async fn join(
        client: &Client,
        path: &'a TopicPath,
        group: &'a Identifier,
    ) -> Outcome<Self> {
        let round = path.outline(client).await?.partitions_count.max(1);
        let (client, lives) = (client.clone(), BTreeMap::new());
        let member = Self { client, path, group, round, lives, skipped: None };
        member.enter().await?;
        Ok(member)
    }

    /// Leaves out what is damaged, from now on.
    pub(crate) fn skip_damaged(mut self) -> Self {
        self.skipped = Some(BTreeMap::new());
        self
    }

    async fn enter(&self) -> Outcome {
        let Self { client, path, group, .. } = self;
        let join = || client.join_consumer_group(&path.stream, &path.topic, group);
        let joined = match join().await {
            // The server closes a connection it took for dead; the next one can join.
            Err(error) if error.code() == Some(ErrorCode::StaleClient) => join().await,
            joined => joined,
        };
        joined.map_err(|error| {
            let (stream, topic) = (&path.stream, &path.topic);
            match error.code() {
                Some(ErrorCode::ConsumerGroupIdNotFound) => Failure::from(error)
                    .instead(format!("{} does not exist", group::phrase(group, path)))
                    .hint(format!("galgo group create {stream} {topic} {group} makes it")),
                _ => Failure::from(error),
            }
        })
    }

    /// Leaves the group, so that others need not wait for what is ours.
    pub(crate) async fn leave(self) -> Outcome {
        let left =
            self.client.leave_consumer_group(&self.path.stream, &self.path.topic, self.group);
        match left.await {
            // The server had noticed already.
            Err(error) if is_no_member(&error) => Ok(()),
            left => Ok(left?),
        }
    }

    /// Reads from the first partition of ours that has something; nothing when none has.
    pub(crate) async fn poll(&mut self, count: u32, auto_commit: bool) -> Outcome<PolledMessages> {
        let mut polled = PolledMessages::default();
        for _ in 0..self.round {
            let request = PollRequest::group(&self.path.stream, &self.path.topic, self.group);
            let mut request = request.count(count).auto_commit(auto_commit);
            if self.skipped.is_some() {
                request = request.tell_damage();
            }
            polled = match self.client.poll(request.clone()).await {
                Ok(polled) => self.behind_damage(request, polled).await?,
                Err(error) => self.again(error).await?,
            };
            if !polled.is_empty() || polled.damaged().is_some() {
                break;
            }
        }
        Ok(polled)
    }

    /// What is behind damage that was told: the group's place is in front of it until something behind it is
    /// committed.
    async fn behind_damage(
        &self,
        request: PollRequest,
        polled: PolledMessages,
    ) -> Outcome<PolledMessages> {
        let (partition, damaged) = (polled.partition(), polled.damaged());
        let skipped = self.skipped.as_ref().and_then(|skipped| skipped.get(&partition));
        match (skipped, damaged) {
            (Some(end), Some(damaged)) if damaged.end <= *end => {
                let next = PollingStrategy::Offset(Offset::new(*end));
                let request = request.partition(partition).strategy(next).life(polled.life());
                Ok(self.client.poll(request).await?)
            }
            _ => Ok(polled),
        }
    }

    /// What is to be told of an answer, if anything: that its partition begins anew, or that messages are
    /// left out.
    fn news(&mut self, polled: &PolledMessages) -> Vec<String> {
        let (partition, life) = (polled.partition(), polled.life());
        let mut news = Vec::new();
        if life.is_known()
            && let Some(before) = self.lives.insert(partition, life)
            && before.differs_from(life)
        {
            news.push(begins_anew(partition, self.path));
            if let Some(skipped) = &mut self.skipped {
                skipped.remove(&partition);
            }
        }
        if let (Some(skipped), Some(damaged)) = (&mut self.skipped, polled.damaged()) {
            skipped.insert(partition, damaged.end);
            news.push(left_out(partition, self.path, &damaged));
        }
        news
    }

    /// A new connection is no member: joins again, and has nothing for now.
    async fn again(&self, error: CallError) -> Outcome<PolledMessages> {
        if !is_no_member(&error) {
            return Err(error.into());
        }
        self.enter().await?;
        Ok(PolledMessages::default())
    }

    /// Writes messages and stores them as processed: `count` of them, or those there are, or, when
    /// the link follows, those to come as well.
    pub(crate) async fn consume(
        &mut self,
        count: Option<u64>,
        link: &mut Link<'_>,
        writer: &mut MessageWriter,
    ) -> Outcome {
        let mut left = count;
        while left != Some(0) {
            let ask = left.map_or(BATCH_MESSAGES, |left| to_u32(left.min(BATCH_MESSAGES.into())));
            let polled = match self.poll(ask, false).await {
                Ok(polled) => polled,
                Err(failure) => {
                    self.come_back(link, failure, writer).await?;
                    continue;
                }
            };
            for news in self.news(&polled) {
                link.tell(&news);
            }
            if polled.is_empty() && polled.damaged().is_some() {
                continue;
            }
            let Some(last) = polled.messages().last().map(|message| message.offset()) else {
                if !link.follows() {
                    break;
                }
                if writer.reader_is_gone() {
                    return Err(Failure::closed_pipe());
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            for message in polled.messages() {
                writer.write(message)?;
            }
            writer.flush()?;
            while let Err(failure) = self.store(polled.partition(), last, polled.life()).await {
                self.come_back(link, failure, writer).await?;
            }
            left = left.map(|left| left.saturating_sub(polled.len() as u64));
        }
        Ok(())
    }

    /// Connects and joins again, when the reader follows.
    async fn come_back(
        &mut self,
        link: &mut Link<'_>,
        mut failure: Failure,
        writer: &mut MessageWriter,
    ) -> Outcome {
        loop {
            link.again(failure, writer).await?;
            self.client = link.client().clone();
            match self.enter().await {
                Ok(()) => return Ok(()),
                Err(another) => failure = another,
            }
        }
    }

    /// What another member took over meanwhile is its to store; what belongs to a life that is over is
    /// nobody's.
    async fn store(&self, partition: u32, offset: u64, life: Life) -> Outcome {
        let of = OffsetOf {
            stream: self.path.stream.clone(),
            topic: self.path.topic.clone(),
            partition,
            consumer: ConsumerIdentity::group(self.group.clone()),
        };
        match self.client.store_offset_in(&of, offset, life).await.map(drop) {
            Err(error) if is_no_member(&error) => self.enter().await,
            Err(error) if error.code() == Some(ErrorCode::NotResolvedConsumer) => Ok(()),
            stored => Ok(stored?),
        }
    }
}

/// Whether the membership is over: with its connection, or because the server took it for dead.
fn is_no_member(error: &CallError) -> bool {
    use ErrorCode::{ConsumerGroupMemberNotFound, StaleClient};
    matches!(error.code(), Some(ConsumerGroupMemberNotFound | StaleClient))
}
