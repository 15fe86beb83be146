//! The task of a member: renews the membership, finds out which partitions are to be read, and waits for messages on
//! behalf of its readers.
//!
//! A partition that the server wants to give to another member is still held, and read by number; only polls in turn
//! leave it out. So what is to be read is what is held and takes turns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::sleep;

use crate::consumer::ConsumeError;
use crate::consumer::fetch::ERROR_PAUSE;
use crate::consumer::holdings::Holdings;
use crate::consumer::idle::Idle;
use crate::consumer::member::{listed, waits};
use crate::consumer::membership::{is_no_group, is_no_member};
use crate::consumer::seats::{GivenPartition, Seats};
use crate::groups::SESSION;
use crate::retry::is_passing;
use crate::topics::{is_gone, path};
use crate::{CallError, PollRequest};

/// The longest time between two looks at what is held: so late is the program told of a partition that another member
/// is to get.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// Pause before the server is asked again what it refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);
const _: () = assert!(
    REFUSED_PAUSE.as_millis() < LOOK_MAX.as_millis() && LOOK_MAX.as_secs() * 3 < SESSION.as_secs(),
    "INV-HOLD: a member looks several times before its membership ends"
);

pub(super) struct MemberWatch {
    pub(super) seats: Arc<Seats>,
    /// The connection that is a member; `None`: none is.
    pub(super) generation: Option<u64>,
    pub(super) idle: Idle,
}

impl MemberWatch {
    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            match self.look().await {
                Ok(given) => self.seats.settle(&given),
                Err(error) => {
                    self.stumble(error).await;
                    continue;
                }
            }
            let rest = self.due();
            tokio::select! {
                () = rest => {}
                () = self.seats.look_asked() => {}
                () = waits::wait_for_readers(&self.seats, &mut self.idle) => {}
            }
        }
    }

    /// Returns when it is time to look again.
    fn due(&self) -> impl Future<Output = ()> + use<> {
        let holdings = self.seats.membership.session.as_ref().map(|it| Arc::clone(&it.holdings));
        async move {
            match holdings {
                Some(holdings) => holdings.due_within(LOOK_MAX).await,
                None => sleep(LOOK_MAX).await,
            }
        }
    }

    /// The partitions that are this member's to read.
    async fn look(&mut self) -> Result<BTreeMap<u32, GivenPartition>, CallError> {
        let membership = &self.seats.membership;
        if self.generation == Some(membership.client.connection.generation()) {
            if membership.session.is_some() {
                membership.enter().await?;
            }
        } else {
            self.generation = Some(membership.join().await?);
            tracing::debug!(group = membership.name, "joined the group");
        }
        match &membership.session {
            Some(session) => self.held_in_turn(&session.holdings).await,
            None => listed::own_partitions(membership).await,
        }
    }

    /// What is held and takes turns.
    async fn held_in_turn(
        &self,
        holdings: &Holdings,
    ) -> Result<BTreeMap<u32, GivenPartition>, CallError> {
        let membership = &self.seats.membership;
        let (held, version) = (holdings.partitions(), holdings.version());
        // Each answer names the next one; nothing is asked for, so nothing counts as read.
        let request = PollRequest::group(&membership.stream, &membership.topic, &membership.group);
        let asked = held.iter().map(|_| membership.client.poll_once(request.clone().count(0)));
        let turns = try_join_all(asked).await?;
        let turns = turns.iter().filter(|turn| turn.life().is_known());
        let given = turns.filter_map(|turn| {
            // One that came to this member only just has its turn, and is found to be held by the next look.
            let tag = holdings.tag(turn.partition(), version)?;
            Some((turn.partition(), GivenPartition { tag: Some(tag), life: turn.life() }))
        });
        Ok(given.collect())
    }

    /// A lost membership or connection is put right here; of the rest the program hears.
    async fn stumble(&mut self, error: CallError) {
        let Seats { membership, .. } = &*self.seats;
        tracing::debug!(group = membership.name, %error, "what the member holds is not known");
        let is_refusal =
            matches!(&error, CallError::Server(refusal) if !is_passing(refusal.number()));
        if !is_refusal {
            // The connection is the client's to restore; but nobody waits for this member longer than was said.
            self.seats.lose_unsafe();
            sleep(ERROR_PAUSE).await;
            return;
        }
        self.generation = None;
        if let Some(session) = &membership.session {
            session.holdings.forget();
        }
        if is_no_member(&error) || (membership.creates && is_no_group(&error)) {
            sleep(ERROR_PAUSE).await;
            return;
        }
        self.seats.lose(|_| true);
        let topic = path(&membership.stream, &membership.topic);
        self.seats.trouble(match is_gone(&error) {
            true => ConsumeError::NoTopic { topic },
            false => ConsumeError::Poll(error),
        });
        sleep(REFUSED_PAUSE).await;
    }
}
