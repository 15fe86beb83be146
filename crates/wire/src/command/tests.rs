//! Placeholder until the round trips are here.
