//! Passwords from the terminal, standard input or the environment, never from an argument.
//!
//! Part of INV-SECRET: a password is no argument, where `ps` and the shell's history would show it, and it
//! is never printed.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Args;

use crate::failure::{Failure, Outcome};

/// Where passwords come from; the terminal unless told otherwise.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SecretFrom {
    /// Read passwords from standard input, one a line
    #[arg(long)]
    password_stdin: bool,
    /// Take the password from this environment variable
    #[arg(long, value_name = "VARIABLE", conflicts_with = "password_stdin")]
    password_env: Option<String>,
}

impl SecretFrom {
    /// The password in this environment variable.
    pub(crate) fn variable(name: String) -> Self {
        Self { password_stdin: false, password_env: Some(name) }
    }

    /// Whether the password is that of an environment variable.
    pub(crate) fn is_variable(&self) -> bool {
        self.password_env.is_some()
    }

    /// An existing password, asked for once.
    pub(crate) fn existing(&self, prompt: &str) -> Outcome<String> {
        match self.given()? {
            Some(password) => Ok(password),
            None => ask(prompt),
        }
    }

    /// A new password, asked for twice on a terminal.
    pub(crate) fn new_one(&self, prompt: &str) -> Outcome<String> {
        if let Some(password) = self.given()? {
            return Ok(password);
        }
        let password = ask(prompt)?;
        if ask("The same again: ")? == password {
            return Ok(password);
        }
        Err(Failure::usage("nothing was changed: the two passwords differ"))
    }

    fn given(&self) -> Outcome<Option<String>> {
        if let Some(name) = &self.password_env {
            return match std::env::var(name) {
                Ok(password) if !password.is_empty() => Ok(Some(password)),
                _ => Err(Failure::usage(format!("the environment variable {name} is not set"))),
            };
        }
        if !self.password_stdin {
            return Ok(None);
        }
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        read.map_err(|error| Failure::io(format!("cannot read standard input: {error}")))?;
        match line.trim_end_matches(['\n', '\r']) {
            "" => Err(Failure::usage("standard input has no line with a password")),
            password => Ok(Some(password.to_owned())),
        }
    }
}

fn ask(prompt: &str) -> Outcome<String> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask for a password on")
            .hint("give it with --password-stdin or --password-env VARIABLE"));
    }
    rpassword::prompt_password(prompt)
        .map_err(|error| Failure::io(format!("cannot ask on the terminal: {error}")))
}
