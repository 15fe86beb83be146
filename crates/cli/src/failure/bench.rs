//! The errors of a load, sorted by who has to act.

use galgo_bench::{BenchCause, BenchError};

use crate::dial::Target;
use crate::failure::Failure;

/// A load did not come about, or broke off; it was for `target`, if that was named.
pub(crate) fn of_load(error: BenchError, target: Option<&Target>) -> Failure {
    let BenchError { cause, doing, hint } = error;
    let mut failure = match (cause, target) {
        (BenchCause::Connect(error), Some(target)) => target.explained(&error),
        (BenchCause::Connect(error), None) => Failure::from(&*error),
        (BenchCause::Call(error), _) => Failure::from(*error),
        (BenchCause::Refused { what, status, name }, _) => Failure::refused(what, status, name),
        (BenchCause::Usage(what), _) => Failure::usage(what),
        (BenchCause::Connection(what), _) => Failure::connection(what),
        (cause @ (BenchCause::Machine(_) | BenchCause::Interrupted), _) => Failure::io(cause),
    };
    if let Some(doing) = doing {
        failure = failure.while_doing(doing);
    }
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        of_load(error, None)
    }
}
