//! Named steps and the comparisons they are made of.
//!
//! A step that fails says what was expected and what came; the steps after it still run.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use anyhow::{anyhow, bail};
use iggy::prelude::IggyError;

/// A classic client that gets the wrong error code reconnects for ever, so every step has an end.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);
const SCENARIO_TIMEOUT: Duration = Duration::from_secs(300);

/// Counts the steps of a run.
#[derive(Default)]
pub struct Checks {
    scenario: String,
    passed: u32,
    failed: u32,
}

impl Checks {
    /// Names the scenario that the next steps belong to.
    pub fn enter(&mut self, scenario: &str, transport: &str) {
        self.scenario = format!("{scenario} over {transport}");
    }

    /// Runs one step; its failure is printed and counted, not returned.
    pub async fn step(&mut self, name: &str, check: impl Future<Output = anyhow::Result<()>>) {
        self.record(name, bounded(STEP_TIMEOUT, check).await);
    }

    /// Counts a step that has already run.
    pub fn record(&mut self, name: &str, outcome: anyhow::Result<()>) {
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok      {}: {name}", self.scenario);
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED  {}: {name}\n        {error:#}", self.scenario);
            }
        }
    }

    pub fn passed(&self) -> u32 {
        self.passed
    }

    pub fn failed(&self) -> u32 {
        self.failed
    }
}

/// Gives up on a scenario whose own preparations hang.
pub async fn scenario(run: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    bounded(SCENARIO_TIMEOUT, run).await
}

async fn bounded(
    limit: Duration,
    check: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    match tokio::time::timeout(limit, check).await {
        Ok(outcome) => outcome,
        Err(_) => Err(anyhow!("no result after {limit:?}")),
    }
}

/// Fails unless both are equal.
pub fn equal<T: PartialEq + Debug>(what: &str, got: T, expected: T) -> anyhow::Result<()> {
    if got == expected {
        return Ok(());
    }
    bail!("{what}: expected {expected:?}, got {got:?}")
}

/// Fails unless the condition holds; `got` is what the reader needs to judge it.
pub fn holds(what: &str, condition: bool, got: impl Debug) -> anyhow::Result<()> {
    if condition {
        return Ok(());
    }
    bail!("expected {what}, got {got:?}")
}

/// Fails unless the call was refused with this code.
pub fn refused<T: Debug>(outcome: Result<T, IggyError>, code: u32) -> anyhow::Result<()> {
    refused_with_one_of(outcome, &[code])
}

/// Fails unless the call was refused with one of these codes.
pub fn refused_with_one_of<T: Debug>(
    outcome: Result<T, IggyError>,
    codes: &[u32],
) -> anyhow::Result<()> {
    let expected: Vec<String> = codes.iter().map(|code| named(*code)).collect();
    let expected = expected.join(" or ");
    match outcome {
        Err(error) if codes.contains(&error.as_code()) => Ok(()),
        Err(error) => bail!("expected error {expected}, got error {}", named(error.as_code())),
        Ok(value) => bail!("expected error {expected}, got {}", shortened(&value)),
    }
}

fn named(code: u32) -> String {
    format!("{code} ({})", IggyError::from_code_as_string(code))
}

fn shortened(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    text.chars().take(300).collect()
}
