//! Protocols of the log as models: every order of their steps, every crash, every choice of what a disk kept.
//!
//! A model is small and complete where the crash tests are large and random. Each comes with mutants: the same
//! model with one rule left out, which has to fail, or the model would prove nothing.

#![expect(clippy::unwrap_used, reason = "a test that fails by a panic has done its work")]

mod explorer;
mod rescue;
