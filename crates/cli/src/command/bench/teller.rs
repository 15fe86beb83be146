//! Tells the person at the terminal what a load is doing.

use std::cell::OnceCell;

use galgo_bench::{Observer, SoFar};

use crate::output::{Output, measure};
use crate::progress::Progress;

/// Remarks, and a moving line while the load is on.
#[derive(Debug)]
pub(super) struct Teller {
    output: Output,
    progress: OnceCell<Progress>,
}

impl Teller {
    /// Tells it in the form that was asked for.
    pub(super) fn new(output: Output) -> Self {
        Self { output, progress: OnceCell::new() }
    }
}

impl Observer for Teller {
    fn remark(&self, sentence: &str) {
        self.output.remark(sentence);
    }

    fn begins(&self, messages: Option<u64>) {
        self.progress.get_or_init(|| Progress::start_load(self.output.format, messages));
    }

    fn goes_on(&self, so_far: SoFar) {
        let Some(progress) = self.progress.get() else { return };
        let SoFar { messages, bytes, elapsed, is_warm_up } = so_far;
        progress.set(messages, || {
            let speed = measure::bytes_per_second(measure::rate(bytes, elapsed));
            let messages = measure::per_second(measure::rate(messages, elapsed));
            let phase = if is_warm_up { "warming up, " } else { "" };
            format!("{messages}  {speed}  {phase}{:.0} s", elapsed.as_secs_f64())
        });
    }

    fn ends(&self) {
        if let Some(progress) = self.progress.get() {
            progress.finish();
        }
    }
}
