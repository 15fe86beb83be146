//! Command lines, good and bad.

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("galgo").chain(line.split_whitespace()))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_documented_surface_parses() {
    for line in [
        "server",
        "server --config galgo.toml --data-dir data --tcp 127.0.0.1:0 --durability os --dev",
        "server --quic off --websocket [::1]:0 --http 127.0.0.1:3000",
        "server --print-config",
        "ping",
        "ping -c 3",
        "stats",
        "client me",
        "client list",
        "me",
        "clients",
        "--server galgo://a:b@host:1 --output json ping",
        "ping --server galgo://host --output table",
        "stream list",
        "stream create orders",
        "stream get 7",
        "stream update 7 orders",
        "stream delete orders --yes",
        "stream purge orders -y",
        "topic list orders",
        "topic create s t",
        "topic create s t --partitions 4 --durability fsync --expiry 7days --max-size 10GiB",
        "topic create s t --expiry never --max-size unlimited",
        "topic get s t",
        "topic update s t --name u",
        "topic update s t --expiry default --max-size default --durability os",
        "topic update s t --deduplication on",
        "topic create s t --deduplication off",
        "topic retention s t --dry-run",
        "topic retention s t --expiry 7days --max-size 10GB",
        "topic delete s t --yes",
        "topic purge s t --yes",
        "partition create s t --count 3",
        "partition delete s t --count 3 --yes",
        "send s t",
        "send s t -",
        "send s t file --key k --header a=b --header c=d --batch 10",
        "send s t --key-field 4 --ack-log acks",
        "send s t --partition 2",
        "send s t --id 7 --key-field 1",
        "connect run a.toml b.toml --once --memory 16MiB --stop-timeout 5s",
        "connect run a.toml --dry-run",
        "connect run pipelines --http 127.0.0.1:9110",
        "connect check a.toml --sample 5",
        "connect check a.toml --rights",
        "connect status a.toml",
        "connect position a.toml",
        "connect position a.toml --partition 3 --next 17",
        "connect position a.toml --time 2026-05-01T12:00:00Z",
        "connect dead a.toml list --limit 5",
        "connect dead a.toml retry --memory 16MiB",
        "connect dead a.toml drop --yes",
        "connect conform -- python3 crm.py --fast",
        "connect conform --source --settings {} --timeout 5s -- cat",
        "connect cleanup a.toml --yes",
        "connect kinds",
        "connect new sqlite",
        "connect new file --from",
        "send s t --whole --id 018f3c1e-0000-7000-8000-0123456789ab",
        "send s t file --whole",
        "poll s t --partition 0",
        "poll s t --partition 0 --offset 7 --count 3 --consumer me --auto-commit",
        "poll s t --partition 0 --timestamp -10m",
        "poll s t --partition 0 --timestamp 2026-03-01T12:00:00Z",
        "poll s t --partition 0 --first",
        "poll s t --partition 0 --last",
        "poll s t --partition 0 --next",
        "tail s t",
        "tail s t -n 5 -f --format hex",
        "tail s t -f --from end",
        "tail s t --from -10m",
        "tail s t --from start -n 3 --format json",
        "offset get s t --partition 0 --consumer me",
        "offset set s t --partition 0 --consumer me 17",
        "offset delete s t --partition 0 --consumer me --yes",
        "mirror iggy://a:b@old:1 s t galgo://new s u",
        "mirror iggy://a:b@old:1 s t galgo://new s u -f --skip-checksums",
        "login",
        "login --profile work --server galgo://host --username anna --expiry 12h --password-stdin",
        "logout --profile work --local",
        "profile list",
        "client list",
        "client get 7",
        "client me",
        "snapshot",
        "snapshot --out a.zip --types server-logs,test --compression zstd",
        "user list",
        "user get anna",
        "user create anna --inactive --global read-servers --password-env SECRET",
        "user delete anna -y",
        "user update anna --name ann --status inactive",
        "user rename anna ann",
        "user activate 3",
        "user deactivate 3",
        "user password",
        "user password anna --password-env OLD --new-password-env NEW",
        "permission show anna",
        "permission set anna --global all --stream orders:read-topics --topic orders/paid:poll-messages",
        "permission clear anna --yes",
        "token list",
        "token create ci",
        "token create ci --expiry never",
        "token create ci --expires never",
        "token delete ci --yes",
        "group list s t",
        "group get s t g",
        "group create s t g",
        "group delete s t g --yes",
        "segment delete s t 0 --count 3 --yes",
        "partition rescue s t",
        "partition rescue s t 3",
        "offset get s t --partition 0 --group g",
        "completions zsh",
        "man --out pages",
        "ping --transport quic --tls --tls-ca ca.pem --tls-domain example.com",
        "bench produce --duration 1s --warm-up 0s",
        "bench report a.json b.json --html both.html",
    ] {
        if let Err(error) = parse(line) {
            panic!("galgo {line}\n{error}");
        }
    }
}

#[test]
fn nonsense_is_refused_with_the_usage_code() {
    for (line, kind) in [
        ("frobnicate", ErrorKind::InvalidSubcommand),
        ("stream", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("stream create", ErrorKind::MissingRequiredArgument),
        ("ping --output xml", ErrorKind::InvalidValue),
        ("server --tcp localhost", ErrorKind::ValueValidation),
        ("server --durability maybe", ErrorKind::InvalidValue),
        ("topic create s t --partitions 1001", ErrorKind::ValueValidation),
        ("topic create s t --partitions many", ErrorKind::ValueValidation),
        ("topic create s t --expiry soon", ErrorKind::ValueValidation),
        ("topic create s t --max-size big", ErrorKind::ValueValidation),
        ("partition create s t --count 0", ErrorKind::ValueValidation),
        ("partition delete s t 1", ErrorKind::UnknownArgument),
        ("send s t --key a --partition 1", ErrorKind::ArgumentConflict),
        ("send s t --key a --key-field 1", ErrorKind::ArgumentConflict),
        ("send s t --whole --key-field 1", ErrorKind::ArgumentConflict),
        ("send s t --key-field 0", ErrorKind::ValueValidation),
        ("send s t --header novalue", ErrorKind::ValueValidation),
        ("send s t --id 0", ErrorKind::ValueValidation),
        ("send s t --batch 0", ErrorKind::ValueValidation),
        ("poll s t", ErrorKind::MissingRequiredArgument),
        ("poll s t --partition 0 --first --last", ErrorKind::ArgumentConflict),
        ("poll s t --partition 0 --timestamp noon", ErrorKind::ValueValidation),
        ("tail s t --format xml", ErrorKind::InvalidValue),
        ("tail s t --from middle", ErrorKind::ValueValidation),
        ("offset set s t --partition 0 --consumer me", ErrorKind::MissingRequiredArgument),
        ("offset get s t --consumer me", ErrorKind::MissingRequiredArgument),
        ("user create", ErrorKind::MissingRequiredArgument),
        ("user password --password-stdin --password-env A", ErrorKind::ArgumentConflict),
        ("user update anna --status gone", ErrorKind::InvalidValue),
        ("permission set anna --global fly", ErrorKind::ValueValidation),
        ("permission set anna --topic orders:all", ErrorKind::ValueValidation),
        ("token create ci --expires soon", ErrorKind::ValueValidation),
        ("segment delete s t 0", ErrorKind::MissingRequiredArgument),
        ("segment delete s t 0 --count 0", ErrorKind::ValueValidation),
        ("offset get s t --partition 0 --group g --consumer c", ErrorKind::ArgumentConflict),
        ("snapshot --types everything", ErrorKind::ValueValidation),
        ("ping --transport carrier-pigeon", ErrorKind::InvalidValue),
        ("mirror galgo://a s t galgo://b s", ErrorKind::MissingRequiredArgument),
        ("bench produce --producers 0", ErrorKind::ValueValidation),
        ("bench produce --duration 0s", ErrorKind::ValueValidation),
        ("bench compare", ErrorKind::InvalidSubcommand),
    ] {
        match parse(line) {
            Ok(_) => panic!("galgo {line} was accepted"),
            Err(error) => assert_eq!(error.kind(), kind, "galgo {line}\n{error}"),
        }
    }
}

#[test]
fn digits_are_a_number_and_all_else_is_a_name() {
    let stream_of = |line| match parse(line).unwrap().command {
        GalgoCommand::Stream(stream::StreamCommand::Get { stream }) => stream,
        other => panic!("{other:?}"),
    };
    assert_eq!(stream_of("stream get 17"), galgo::Identifier::Numeric(17));
    assert_eq!(stream_of("stream get 17a").to_string(), "17a");
}

#[test]
fn help_tells_the_exit_codes() {
    let help = Cli::command().render_long_help().to_string();
    for code in ["0  done", "2  the command line", "3  no server", "4  the server answered"] {
        assert!(help.contains(code), "{help}");
    }
}

#[test]
fn a_broken_command_line_may_still_ask_for_json() {
    for (line, expected) in [
        ("galgo --output json frobnicate", true),
        ("galgo frobnicate --output=json", true),
        ("galgo frobnicate", false),
        ("galgo --output table json", false),
    ] {
        assert_eq!(wants_json(line.split(' ').map(str::to_owned)), expected, "{line}");
    }
}
