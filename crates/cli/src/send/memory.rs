//! What a topic remembers of the ids of messages, and what that means for a send with `--id` that is run again.

use std::time::Duration;

use galgo::Deduplication;
use galgo::model::{DeduplicationWindow, TopicSettings};

use crate::output::measure;
use crate::send::report::Report;

/// The window of a topic with deduplication.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicMemory(DeduplicationWindow);

impl TopicMemory {
    /// What a topic with these settings remembers, or the sentence that says that it does not.
    pub(crate) fn of(settings: &TopicSettings, topic: &str) -> Result<Self, String> {
        match settings.deduplication {
            // What a classic server does is not known; of it there is no window either.
            Some(Deduplication::On) | None => Ok(Self(settings.window)),
            Some(Deduplication::Off) => Err(format!(
                "{topic} does not deduplicate, so it stores a line again that is sent again with the same id; \
                 galgo topic update --deduplication on changes that"
            )),
        }
    }

    /// The sentence for a send after which the topic has forgotten some of its ids.
    pub(crate) fn too_short_for(self, report: &Report) -> Option<String> {
        let Self(DeduplicationWindow { entries, seconds }) = self;
        let remembered = Duration::from_secs(seconds.into());
        // The largest number stands for longer times, too; zeros for a server that does not tell.
        let is_over =
            (1..u16::MAX).contains(&seconds) && report.seconds >= remembered.as_secs_f64();
        let is_much = entries > 0 && report.messages > entries.into();
        (is_over || is_much).then(|| {
            format!(
                "the topic remembers the last {} of a partition, for {}: run again, this send would store the lines \
                 before those once more; --ack-log FILE goes on where a send stopped",
                measure::counted(entries.into(), "id"),
                measure::duration(remembered),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use galgo::Durability;

    use super::*;

    fn settings(deduplication: Deduplication) -> TopicSettings {
        let window = DeduplicationWindow { entries: 100, seconds: 60 };
        let (durability, deduplication) = (Some(Durability::Os), Some(deduplication));
        TopicSettings { durability, deduplication, window }
    }

    #[test]
    fn a_topic_without_deduplication_is_told_of() {
        let sentence = TopicMemory::of(&settings(Deduplication::Off), "topic t").unwrap_err();
        assert!(sentence.starts_with("topic t does not deduplicate"), "{sentence}");
    }

    #[test]
    fn a_send_beyond_the_window_is_told_of() {
        let memory = TopicMemory::of(&settings(Deduplication::On), "topic t").unwrap();
        let report = |messages, seconds| Report { messages, seconds, ..Report::default() };
        assert_eq!(memory.too_short_for(&report(100, 59.9)), None);
        for report in [report(101, 1.0), report(1, 60.0)] {
            let sentence = memory.too_short_for(&report).unwrap();
            assert!(sentence.contains("the last 100 ids of a partition, for 1m"), "{sentence}");
        }
        let untold = TopicMemory(DeduplicationWindow::default());
        assert_eq!(untold.too_short_for(&report(u64::MAX, 1e9)), None);
    }
}
