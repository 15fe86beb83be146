//! Where the pieces of an answer come from that is too large to be there as a whole.
//!
//! Part of INV-ANSWER-MEMORY: a piece is read into memory only under a grant, which is held until it is written.
//! The next piece is asked for when the one before it is written.

use std::io;
use std::sync::Arc;

use galgo_broker::{Piece, Rest, memory_bytes};
use galgo_wire::id::UserId;
use galgo_wire::index::to_usize;

use super::outbox::Outbox;
use super::{Carrier, job};
use crate::transport::{Grant, Hub};

/// Gets the pieces of one answer.
pub(crate) struct Supply {
    /// What it draws on.
    pub(crate) hub: Arc<Hub>,
    /// Whose share of the memory it takes.
    pub(crate) user: Option<UserId>,
    /// Covers what is in memory of the answer.
    pub(crate) held: Grant,
}

impl Supply {
    /// The next piece, read where reading may block unless it is at hand.
    ///
    /// # Errors
    /// When its messages cannot be had any more, or the server stops: the answer is to be broken off, as its
    /// length was told.
    pub(crate) async fn next(&mut self, rest: Rest) -> io::Result<Piece> {
        if let Some(piece) = rest.read_cached() {
            self.held = Grant::default();
            return Ok(piece);
        }
        self.cover(rest.memory_bytes()).await?;
        let work = tokio::task::spawn_blocking(move || rest.read());
        let piece = work.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        let bytes = memory_bytes(&piece.slices);
        // A single message may be larger than pieces are otherwise.
        self.cover(bytes).await?;
        self.shrink(bytes);
        Ok(piece)
    }

    /// Writes the pieces of an answer that has begun.
    ///
    /// # Errors
    /// Those of [`Supply::next`] and of the stream.
    pub(crate) async fn write<S: Carrier>(
        &mut self,
        rest: Rest,
        outbox: &mut Outbox,
        stream: &mut S,
    ) -> io::Result<()> {
        let mut rest = Some(rest);
        while let Some(left) = rest {
            let piece = self.next(left).await?;
            outbox.slices(&piece.slices, stream).await?;
            rest = piece.rest;
        }
        Ok(())
    }

    /// Waits until so much of the answer is covered.
    ///
    /// # Errors
    /// When the server stops first.
    pub(crate) async fn cover(&mut self, bytes: u64) -> io::Result<()> {
        match job::cover(&self.hub, self.user, bytes, &mut self.held).await {
            true => Ok(()),
            false => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// Gives back what is covered beyond so much.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let bytes = to_usize(bytes);
        self.hub.answers.allowance(self.user).shrink(&mut self.held, bytes);
    }
}
