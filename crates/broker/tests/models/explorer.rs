//! Breadth-first search of all states of a model.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::rc::Rc;

/// What a model does from a state.
pub(crate) trait Model: Clone + Eq + Hash + Debug {
    /// The states one step away.
    ///
    /// # Errors
    ///
    /// The promise that is broken in this state.
    fn steps(&self) -> Result<Vec<Self>, String>;
}

/// How a search ended.
#[derive(Debug)]
#[expect(dead_code, reason = "it is printed")]
pub(crate) enum Found {
    /// No promise is broken in any of so many states.
    Holds(usize),
    /// One is: which, after how many states, and the shortest way there.
    Broken { what: String, states: usize, way: Vec<String> },
}

/// Looks at every state that can be reached.
pub(crate) fn explore<M: Model>(first: M) -> Found {
    let first = Rc::new(first);
    let mut seen = HashSet::from([Rc::clone(&first)]);
    // Each with the place of the one it came from.
    let mut reached = vec![(first, 0)];
    let mut next = 0;
    while let Some((state, _)) = reached.get(next) {
        match Rc::clone(state).steps() {
            Err(what) => {
                return Found::Broken { what, states: next + 1, way: way_to(&reached, next) };
            }
            Ok(steps) => {
                for state in steps.into_iter().map(Rc::new) {
                    if seen.insert(Rc::clone(&state)) {
                        reached.push((state, next));
                    }
                }
            }
        }
        next += 1;
    }
    Found::Holds(next)
}

fn way_to<M: Model>(reached: &[(Rc<M>, usize)], mut at: usize) -> Vec<String> {
    let mut way = vec![format!("{:?}", reached[at].0)];
    while at != 0 {
        at = reached[at].1;
        way.push(format!("{:?}", reached[at].0));
    }
    way.reverse();
    way
}
