//! The question before something is deleted.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::Args;

use crate::failure::{Failure, Outcome};

/// The flag that answers the question in advance.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Confirm {
    /// Do not ask; needed when there is no terminal to ask on
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
}

impl Confirm {
    /// Asks whether to go on; without a terminal, insists on `--yes`.
    pub(crate) fn ask(self, question: &str) -> Outcome {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::usage(format!("will not go on unasked: {question}"))
                .hint("add --yes to do it without a question"));
        }
        let mut err = io::stderr().lock();
        let asked = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
        asked.map_err(|error| Failure::io(format!("cannot ask on the terminal: {error}")))?;
        let mut answer = String::new();
        io::stdin()
            .lock()
            .read_line(&mut answer)
            .map_err(|error| Failure::io(format!("cannot read the answer: {error}")))?;
        if is_yes(&answer) {
            return Ok(());
        }
        Err(Failure::usage("nothing was changed: the answer was not yes"))
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (answer, expected) in [
            ("y\n", true),
            ("YES\n", true),
            ("\n", false),
            ("", false),
            ("n\n", false),
            ("ye", false),
        ] {
            assert_eq!(is_yes(answer), expected, "{answer:?}");
        }
    }
}
