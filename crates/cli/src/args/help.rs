//! Help as one text for every width: the notes below the options are written here in lines of some
//! hundred characters, and a terminal may be narrower, so that a line broken twice leaves words alone.
//!
//! What reaches clap has one line for each paragraph, and clap alone breaks it. A line that
//! begins with a space is an example or a table and stays as it is.

use clap::Command;

/// `command` and all below it, the notes of each with their paragraphs in one line.
pub(super) fn unwrapped(command: Command) -> Command {
    let notes = command.get_after_help().map(|notes| paragraphs(&notes.to_string()));
    let command = match notes {
        Some(notes) => command.after_help(notes),
        None => command,
    };
    command.mut_subcommands(unwrapped)
}

/// `text` with every paragraph in one line.
fn paragraphs(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut before = "";
    for line in text.lines() {
        if is_prose(before) && is_prose(line) {
            joined.push(' ');
        } else if !joined.is_empty() {
            joined.push('\n');
        }
        joined.push_str(line);
        before = line;
    }
    joined
}

/// Whether the line is one of a paragraph: neither empty nor indented.
fn is_prose(line: &str) -> bool {
    !line.is_empty() && !line.starts_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_joined_and_lists_are_not() {
        let text = "One\ntwo.\n\nA list:\n  a b\n  c\nThree\nfour.";
        assert_eq!(paragraphs(text), "One two.\n\nA list:\n  a b\n  c\nThree four.");
    }

    /// Help was broken at a hundred columns by hand and again by the terminal's width, which left
    /// lines of one word in the middle of a sentence at every width but one.
    #[test]
    fn no_width_leaves_a_short_line_inside_a_paragraph() {
        for width in [60, 80, 90, 100, 120] {
            no_short_lines(&crate::args::command().term_width(width), width);
        }
    }

    fn no_short_lines(command: &Command, width: usize) {
        let Some(notes) = command.get_after_help().map(ToString::to_string) else {
            return command.get_subcommands().for_each(|below| no_short_lines(below, width));
        };
        let whole = command.clone().term_width(width).render_help().to_string();
        let last_note = notes.lines().last().unwrap_or_default();
        let first_word = notes.split_whitespace().next().unwrap_or_default();
        let begin = whole.rfind(&format!("\n\n{first_word}")).expect("the notes are in the help");
        assert!(
            whole.trim_end().ends_with(last_note.split_whitespace().last().unwrap_or_default())
        );
        let lines: Vec<&str> = whole.get(begin..).unwrap_or_default().trim().lines().collect();
        for pair in lines.windows(2) {
            let [this, next] = pair else { continue };
            if is_prose(this) && is_prose(next) {
                let word = next.split_whitespace().next().unwrap_or_default();
                assert!(
                    this.len() + 1 + word.len() > width,
                    "{} at {width}: `{this}` leaves no room for `{word}`?",
                    command.get_name()
                );
            }
        }
        command.get_subcommands().for_each(|below| no_short_lines(below, width));
    }
}
