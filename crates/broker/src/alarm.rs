//! Alarms: how what happens reaches a poll that waits for it.
//!
//! An alarm hangs on the bell of everything its poll waits for. Whoever rings a bell takes the alarms off
//! it first, and rings them when its own locks are free, as far as it can.
//!
//! INV-ALARM: a bell is guarded by the lock under which the thing it tells of changes. So a poll that
//! hangs its alarm up and looks again afterwards misses nothing: what it did not see then rings.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;

/// What an alarm tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    /// There may be messages.
    Look = 1,
    /// What was waited for will not come: the wait is over.
    Over = 2,
}

const _: () = assert!(
    0 < News::Look as u8 && (News::Look as u8) < News::Over as u8,
    "nothing is less than any news, and messages do not take back that a wait is over"
);

/// Rung by bells, waited for by one task.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// 0, or the most that was told as [`News`].
    told: AtomicU8,
    waker: AtomicWaker,
}

impl Alarm {
    /// Tells the waiting task.
    pub(crate) fn ring(&self, news: News) {
        // First what there is to tell, which whoever wakes looks for. The most of it counts: that a
        // wait is over is not taken back by messages.
        self.told.fetch_max(news as u8, Ordering::AcqRel);
        self.waker.wake();
    }

    /// What was told so far.
    pub(crate) fn news(&self) -> Option<News> {
        match self.told.load(Ordering::Acquire) {
            0 => None,
            1 => Some(News::Look),
            _ => Some(News::Over),
        }
    }

    /// Ready once the alarm has rung.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.news().is_none() {
            self.waker.register(cx.waker());
        }
        // It may have rung between the look and the registration.
        self.news().map_or(Poll::Pending, |_| Poll::Ready(()))
    }
}

/// The alarms that wait for one thing.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// Each with the offset that has to be reached before it rings.
    hung: Vec<(u64, Arc<Alarm>)>,
    over: bool,
}

/// Alarms that were taken off their bell, to be rung.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Rung(Vec<Arc<Alarm>>);

impl Bell {
    /// Adds an alarm that rings when `end` is reached; at once on a bell that will ring no more.
    pub(crate) fn hang(&mut self, alarm: &Arc<Alarm>, end: u64) {
        if self.over {
            alarm.ring(News::Over);
        } else {
            self.hung.push((end, Arc::clone(alarm)));
        }
    }

    /// Takes an alarm off, if it is still there.
    pub(crate) fn take_off(&mut self, alarm: &Arc<Alarm>) {
        self.hung.retain(|(_, hung)| !Arc::ptr_eq(hung, alarm));
        self.free();
    }

    /// The alarms that wait for no more than `end`.
    pub(crate) fn reached(&mut self, end: u64) -> Rung {
        // Almost always; an append pays no more than this look for those who might wait.
        if self.hung.is_empty() {
            return Rung::default();
        }
        let due = self.hung.extract_if(.., |(wanted, _)| *wanted <= end);
        let rung = Rung(due.map(|(_, alarm)| alarm).collect());
        self.free();
        rung
    }

    /// All alarms.
    pub(crate) fn all(&mut self) -> Rung {
        self.reached(u64::MAX)
    }

    /// All alarms, and those that come later ring at once.
    pub(crate) fn close(&mut self) -> Rung {
        self.over = true;
        self.all()
    }

    /// Whether no alarm waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.hung.is_empty()
    }

    /// Memory is for who waits, not for who waited.
    fn free(&mut self) {
        if self.hung.is_empty() {
            self.hung = Vec::new();
        }
    }
}

impl Rung {
    /// Rings them.
    pub(crate) fn ring(self, news: News) {
        for alarm in self.0 {
            alarm.ring(news);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_rings_those_whose_offset_is_reached_and_keeps_the_others() {
        let (early, late) = (Arc::new(Alarm::default()), Arc::new(Alarm::default()));
        let mut bell = Bell::default();
        bell.hang(&early, 3);
        bell.hang(&late, 9);
        bell.reached(2).ring(News::Look);
        assert_eq!((early.news(), late.news()), (None, None));
        bell.reached(8).ring(News::Look);
        assert_eq!((early.news(), late.news()), (Some(News::Look), None));
        bell.take_off(&late);
        assert!(bell.is_empty());
        bell.close().ring(News::Over);
        assert_eq!(late.news(), None);
        bell.hang(&late, 99);
        assert_eq!(late.news(), Some(News::Over), "nothing rings a closed bell");
    }

    #[test]
    fn the_end_of_the_wait_outweighs_what_else_is_told() {
        let alarm = Alarm::default();
        alarm.ring(News::Over);
        alarm.ring(News::Look);
        assert_eq!(alarm.news(), Some(News::Over));
    }
}
