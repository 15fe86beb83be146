//! `galgo token`: list, create and delete the caller's personal access tokens.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::confirm::Confirm;
use crate::dial::Target;
use crate::failure::Outcome;
use crate::output::text::visible;
use crate::output::{Format, table};
use crate::value::duration::parse_life;
use crate::value::time::show_time_short;

/// Arguments of `galgo token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// List your tokens, without their texts
    List,
    /// Create a token and print its text, this once
    Create(CreateTokenArgs),
    /// Delete one of your tokens; connections that logged in with it stay
    Delete {
        /// The name of the token
        name: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// Arguments of `galgo token create`.
#[derive(Args, Debug)]
pub(crate) struct CreateTokenArgs {
    /// The name, 3 to 30 bytes
    name: String,
    /// When it expires, from now: 30d, 12h or never
    #[arg(long, alias = "expires", value_name = "D", default_value = "30d", value_parser = parse_life)]
    expiry: Life,
}

/// How long a token is good; `None`: for ever.
pub(crate) type Life = Option<Duration>;

/// Runs the command.
pub(crate) async fn run(target: &Target, command: TokenCommand) -> Outcome {
    let output = target.output;
    match command {
        TokenCommand::List => {
            let tokens = target.connect().await?.tokens().await?;
            output.tell(&tokens, |tokens| {
                let columns = [table::text("NAME"), table::text("EXPIRES")];
                let rows = tokens.iter().map(|token| {
                    let expires = token.expiry_at.map(|at| show_time_short(at.get()));
                    let expires = expires.unwrap_or_else(|| "never".to_owned());
                    vec![token.name.to_string(), expires]
                });
                table::columns(&columns, rows, "no tokens")
            })
        }
        TokenCommand::Create(args) => {
            let client = target.connect().await?;
            let text = client.create_token(&args.name, args.expiry).await?;
            if output.format == Format::Table {
                output.remark(&format!(
                    "token {} created; this is its text, which is not shown again:",
                    visible(&args.name)
                ));
            }
            let fact = json!({ "created": "token", "name": args.name, "token": text });
            output.done(&text, &fact)
        }
        TokenCommand::Delete { name, confirm } => {
            let shown = visible(&name).into_owned();
            confirm.ask(&format!("Delete token {shown}?"))?;
            target.connect().await?.delete_token(&name).await?;
            let fact = json!({ "deleted": "token", "name": name });
            output.done(&format!("token {shown} deleted"), &fact)
        }
    }
}
