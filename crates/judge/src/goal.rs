//! How well the server is meant to do.

use std::fmt;

use serde::Serialize;

/// The bound that a figure is held to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// More is better.
    AtLeast(f64),
    /// Less is better.
    AtMost(f64),
}

impl Goal {
    /// Whether `value` is on the good side of the bound; what could not be measured is not.
    pub(crate) fn is_reached_by(self, value: Option<f64>) -> bool {
        value.is_some_and(|value| match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        })
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, ">= {bound:.2}"),
            Self::AtMost(bound) => write!(f, "<= {bound:.2}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_from_its_own_side() {
        for (goal, value, reached) in [
            (Goal::AtLeast(0.85), Some(0.85), true),
            (Goal::AtLeast(0.85), Some(1.4), true),
            (Goal::AtLeast(0.85), Some(0.84), false),
            (Goal::AtMost(1.35), Some(1.35), true),
            (Goal::AtMost(1.35), Some(0.2), true),
            (Goal::AtMost(1.35), Some(1.36), false),
            (Goal::AtMost(1.35), Some(f64::NAN), false),
            (Goal::AtLeast(0.85), None, false),
            (Goal::AtMost(1.35), None, false),
        ] {
            assert_eq!(goal.is_reached_by(value), reached, "{goal:?} {value:?}");
        }
    }

    #[test]
    fn goals_read_as_bounds() {
        assert_eq!(Goal::AtLeast(10.0).to_string(), ">= 10.00");
        assert_eq!(Goal::AtMost(1.35).to_string(), "<= 1.35");
        assert_eq!(serde_json::to_value(Goal::AtMost(1.5)).unwrap()["at_most"], 1.5);
    }
}
