//! What a send says at its end.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::output::measure;

/// The result of a send in which everything was acknowledged.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Messages acknowledged.
    pub(crate) messages: u64,
    /// Bytes of their payloads.
    pub(crate) bytes: u64,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Messages per second.
    pub(crate) messages_per_second: f64,
    /// Bytes of payload per second.
    pub(crate) bytes_per_second: f64,
    /// Of the messages, how many the topic did not store, because it had stored their ids before.
    pub(crate) stored_before: u64,
    /// Empty lines, which are not sent.
    pub(crate) skipped_empty: u64,
    /// Lines the acknowledgement log listed already.
    pub(crate) skipped_acknowledged: u64,
    /// Lines without the field of `--key-field`.
    pub(crate) without_key: u64,
}

impl Report {
    /// The report as sentences.
    pub(crate) fn render(&self) -> String {
        let mut text = format!(
            "{} sent, {}, in {} ({}, {})",
            measure::counted(self.messages, "message"),
            measure::bytes(self.bytes),
            measure::duration(Duration::from_secs_f64(self.seconds)),
            measure::per_second(self.messages_per_second),
            measure::bytes_per_second(self.bytes_per_second),
        );
        if self.stored_before > 0 {
            let messages = measure::counted(self.stored_before, "message");
            text.push_str(&format!("\n{messages} of these stored before, by id, and not again"));
        }
        for (count, what) in [
            (self.skipped_empty, "empty and not sent"),
            (self.skipped_acknowledged, "acknowledged before and not sent again"),
            (self.without_key, "without the key field, sent with the key `-`"),
        ] {
            if count > 0 {
                text.push_str(&format!("\n{} {what}", measure::counted(count, "line")));
            }
        }
        text
    }

    /// Fills in the rates.
    pub(crate) fn timed(mut self, elapsed: Duration) -> Self {
        self.seconds = elapsed.as_secs_f64();
        self.messages_per_second = measure::rate(self.messages, elapsed);
        self.bytes_per_second = measure::rate(self.bytes, elapsed);
        self
    }
}

/// Takes the time of a send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch(Instant);

impl Watch {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_as_a_sentence() {
        let report = Report { messages: 10_000, bytes: 3 << 20, ..Report::default() };
        let report = report.timed(Duration::from_millis(500));
        assert_eq!(
            report.render(),
            "10,000 messages sent, 3.0 MiB, in 500.0 ms (20,000/s, 6.3 MB/s)"
        );
    }

    #[test]
    fn what_was_stored_before_is_said() {
        let report = Report { messages: 5, stored_before: 2, ..Report::default() };
        let text = report.timed(Duration::from_secs(1)).render();
        assert!(
            text.ends_with("\n2 messages of these stored before, by id, and not again"),
            "{text}"
        );
    }

    #[test]
    fn what_was_not_sent_is_said() {
        let report = Report { skipped_empty: 1, skipped_acknowledged: 2000, ..Report::default() };
        let text = report.timed(Duration::from_secs(1)).render();
        assert!(text.ends_with(
            "\n1 line empty and not sent\n2,000 lines acknowledged before and not sent again"
        ));
    }
}
