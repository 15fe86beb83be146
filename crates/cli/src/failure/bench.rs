//! The errors of a load, sorted by who has to act.

use galgo_bench::{BenchCause, BenchError};

use crate::connect::Target;
use crate::failure::Failure;

impl Failure {
    /// A load did not come about, or broke off; it was for `target`, if that was named.
    pub(crate) fn bench(error: BenchError, target: Option<&Target>) -> Self {
        let BenchError { cause, doing, hint } = error;
        let mut failure = match (cause, target) {
            (BenchCause::Connect(error), Some(target)) => target.explained(&error),
            (BenchCause::Connect(error), None) => Self::connect(&error),
            (BenchCause::Call(error), _) => Self::from(*error),
            (BenchCause::Refused { what, status, name }, _) => Self::refused(what, status, name),
            (BenchCause::Usage(what), _) => Self::usage(what),
            (BenchCause::Connection(what), _) => Self::connection(what),
            (cause @ (BenchCause::Machine(_) | BenchCause::Interrupted), _) => Self::io(cause),
        };
        if let Some(doing) = doing {
            failure = failure.while_doing(doing);
        }
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        Self::bench(error, None)
    }
}
