//! The chains of a connection: batches that are taken one behind the other or not at all.
//!
//! A client that keeps several batches in flight learns of a refusal when those behind are on their way. In a
//! chain they are not taken: the place of the refused batch stays empty, and none goes on from an empty place
//! until the client, who was told, sends the missing batch or begins the chain anew.
//!
//! INV-SEND-CHAIN: a batch of a chain is staged only directly behind the batch of the position before it, on the
//! same connection, and while no commit of its chain has failed.

use std::collections::{BTreeMap, VecDeque};

use galgo_wire::command::ChainLink;

use crate::ticket::{Ticket, TicketWatch};

/// Most chains of a connection. A client with more has to begin some of them anew now and then, no worse.
pub(crate) const CHAINS_MAX: usize = 256;

/// The chains of one connection, by lane.
#[derive(Debug, Default)]
pub(crate) struct Chains(BTreeMap<u32, ConnectionChain>);

#[derive(Debug, Default)]
struct ConnectionChain {
    /// The position that goes on; `None` when none does.
    next: Option<u64>,
    /// Commits that are under way, oldest first; as many as the connection may have answers waiting.
    committing: VecDeque<TicketWatch>,
}

impl Chains {
    /// Whether the batch at `link` may be taken now.
    pub(crate) fn admit(&mut self, link: ChainLink) -> bool {
        if link.begins {
            return true;
        }
        let chain = self.0.get_mut(&link.lane);
        chain.is_some_and(|chain| chain.goes_on_at() == Some(link.position))
    }

    /// Notes that the batch at `link` was taken; `ticket` tells when it is committed.
    pub(crate) fn took(&mut self, link: ChainLink, ticket: Option<&Ticket>) {
        let chain = self.chain(link.lane);
        if link.begins {
            // A failure of what came before must not end the chain that begins here.
            chain.committing.clear();
        }
        chain.next = link.position.checked_add(1);
        chain.committing.extend(ticket.map(Ticket::watch));
    }

    fn chain(&mut self, lane: u32) -> &mut ConnectionChain {
        if self.0.len() >= CHAINS_MAX && !self.0.contains_key(&lane) {
            // Whoever counts its lanes up gives up the oldest.
            self.0.pop_first();
        }
        let is_bounded = self.0.len() < CHAINS_MAX || self.0.contains_key(&lane);
        assert!(is_bounded, "the chains of a connection are bounded");
        self.0.entry(lane).or_default()
    }
}

impl ConnectionChain {
    fn goes_on_at(&mut self) -> Option<u64> {
        while let Some(outcome) = self.committing.front().and_then(TicketWatch::outcome) {
            self.committing.pop_front();
            // What was staged is taken back, so its place is empty again.
            if outcome.is_err() {
                self.committing.clear();
                self.next = None;
            }
        }
        self.next
    }
}

#[cfg(test)]
mod tests {
    use galgo_storage::journal::CommitError;

    use super::*;
    use crate::ticket::ticket;

    fn link(lane: u32, position: u64) -> ChainLink {
        ChainLink { lane, position, begins: false }
    }

    fn beginning(lane: u32, position: u64) -> ChainLink {
        ChainLink { begins: true, ..link(lane, position) }
    }

    #[test]
    fn a_chain_goes_on_at_the_next_position_only() {
        let mut chains = Chains::default();
        assert!(!chains.admit(link(1, 0)), "it has not begun");
        assert!(chains.admit(beginning(1, 5)));
        assert!(!chains.admit(link(1, 6)), "what was admitted need not be taken");
        chains.took(beginning(1, 5), None);
        for (position, admitted) in [(4, false), (5, false), (6, true), (7, false)] {
            assert_eq!(chains.admit(link(1, position)), admitted, "{position}");
        }
        assert!(!chains.admit(link(2, 6)), "each lane has a chain of its own");
        chains.took(link(1, 6), None);
        assert!(chains.admit(link(1, 7)));
    }

    #[test]
    fn the_last_position_has_none_behind_it() {
        let mut chains = Chains::default();
        chains.took(beginning(1, u64::MAX), None);
        assert!(!chains.admit(link(1, 0)));
        assert!(!chains.admit(link(1, u64::MAX)));
    }

    /// A commit that fails takes a batch back when those behind it may have been staged or not. If the chain went
    /// on, a partition that takes messages again soon would have a hole.
    #[test]
    fn a_failed_commit_ends_the_chain_wherever_it_is() {
        let mut chains = Chains::default();
        let (tickets, resolvers): (Vec<_>, Vec<_>) = (0..3).map(|_| ticket()).unzip();
        for (position, ticket) in (0..).zip(&tickets) {
            let link = if position == 0 { beginning(1, 0) } else { link(1, position) };
            assert!(chains.admit(link));
            chains.took(link, Some(ticket));
        }
        let mut outcomes = [Ok(()), Err(CommitError::Disk), Ok(())].into_iter();
        for (resolver, admitted) in resolvers.into_iter().zip([true, false, false]) {
            resolver.resolve(outcomes.next().unwrap());
            assert_eq!(chains.admit(link(1, 3)), admitted);
        }
        assert!(chains.admit(beginning(1, 1)));
        chains.took(beginning(1, 1), None);
        assert!(chains.admit(link(1, 2)));
    }

    #[test]
    fn the_oldest_of_too_many_chains_has_to_begin_anew() {
        let mut chains = Chains::default();
        for lane in 0..=u32::try_from(CHAINS_MAX).unwrap() {
            chains.took(beginning(lane, 0), None);
        }
        assert_eq!(chains.0.len(), CHAINS_MAX);
        assert!(!chains.admit(link(0, 1)));
        assert!(chains.admit(link(1, 1)));
    }
}
