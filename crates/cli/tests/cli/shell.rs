//! What shells and `man` get.

use crate::harness::{galgo, run};

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let mut command = galgo();
        command.args(["completions", shell]);
        let script = run(command).ok().out;
        assert!(script.contains("permission") && script.contains("mirror"), "{shell}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = galgo();
    command.args(["man", "--output", "json", "--out"]).arg(dir.path());
    assert!(run(command).ok().json()["pages"].as_u64().unwrap() > 50);
    for page in ["galgo.1", "galgo-topic-create.1", "galgo-mirror.1"] {
        assert!(dir.path().join(page).exists(), "{page}");
    }
}
