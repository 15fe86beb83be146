//! Partitions that took no writes since a sync failed, or could not be opened, and take them again; see
//! `partition::rescue` and `reopen`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Member, Shard};
use crate::causes::Causes;

impl Shard {
    /// Notes that a member takes no writes any more.
    pub(crate) fn has_fenced(&self) {
        self.has_fenced.store(true, Ordering::Relaxed);
    }

    /// Whether there may be partitions to look after; forgets it, so that whoever finds some says so again.
    pub(crate) fn take_has_fenced(&self) -> bool {
        !self.is_fenced() && !self.is_abandoned() && self.has_fenced.swap(false, Ordering::Relaxed)
    }

    /// Has the checkpoint worker try and take writes again in these partitions.
    pub(crate) fn ask_rescue(&self, due: Vec<Arc<dyn Member>>) {
        let mut rescues = self.rescues.lock();
        for member in due {
            // Once each: a member that was taken back into writes must not be so a second time in the round.
            if rescues.iter().all(|asked| asked.uid() != member.uid()) {
                rescues.push(member);
            }
        }
        drop(rescues);
        self.ask_checkpoint();
    }

    /// Tries it in all that were asked for; tells whether there were any. Blocks on the disk.
    pub fn rescue_round(&self) -> bool {
        let due = std::mem::take(&mut *self.rescues.lock());
        let any = !due.is_empty();
        let (offline, fenced): (Vec<_>, Vec<_>) = due.into_iter().partition(|it| it.is_offline());
        if !offline.is_empty() {
            self.reopen(&offline);
        }
        let mut written: Vec<_> =
            fenced.into_iter().filter(|member| Arc::clone(member).write_anew()).collect();
        if written.is_empty() {
            return any;
        }
        // INV-VOID: looked at before the checkpoint is taken. Without their markers, they stop no checkpoint now.
        written.retain(|partition| partition.is_marked());
        match self.checkpoint() {
            Ok(()) => written.iter().for_each(|partition| partition.unfence()),
            Err(error) => {
                let error = Causes(&error);
                tracing::warn!(%error, "partitions still take no writes: no checkpoint");
                written.iter().for_each(|partition| partition.not_rescued(&error));
            }
        }
        any
    }
}
