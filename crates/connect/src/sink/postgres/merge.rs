//! What the rows of a batch come to, key by key, so that few statements write them.
//!
//! What is done to one key stays in order. Two texts of one value would be two keys here; rows that are put are compared by the database
//! once more, and changes of a database give a value one text.

use std::collections::{BTreeMap, HashMap};

use crate::postgres::session::TextRow;

/// What is done to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// These rows are put, the newest of them counts.
    Put(Vec<TextRow>),
    /// A row is put of which these columns are not known.
    Part(TextRow, Vec<usize>),
    /// It is deleted.
    Delete(TextRow),
}

/// What is done to all keys.
#[derive(Debug, Default)]
pub(super) struct Merged {
    numbers: HashMap<TextRow, usize>,
    deeds: Vec<Vec<Deed>>,
    /// Whether an older row changes nothing: only the database can tell which one is older.
    has_newer: bool,
}

/// What can be done at once: there is one deed for each key in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) deletes: Vec<TextRow>,
    pub(super) puts: Vec<TextRow>,
    /// By the columns that are not known.
    pub(super) parts: BTreeMap<Vec<usize>, Vec<TextRow>>,
}

impl Merged {
    pub(super) fn new(has_newer: bool) -> Self {
        Self { has_newer, ..Self::default() }
    }

    /// Adds what is done next.
    pub(super) fn add(&mut self, key: TextRow, deed: Deed) {
        let next = self.deeds.len();
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.deeds.push(Vec::new());
        }
        let Some(deeds) = self.deeds.get_mut(number) else { unreachable!("it was found or added") };
        match (deed, deeds.last_mut()) {
            (Deed::Delete(row), _) => *deeds = vec![Deed::Delete(row)],
            (Deed::Put(rows), Some(Deed::Put(before))) if self.has_newer => before.extend(rows),
            (deed @ Deed::Put(_), _) if !self.has_newer => {
                // A row that was deleted takes along what it had in columns that nobody names.
                deeds.retain(|before| matches!(before, Deed::Delete(_)));
                deeds.push(deed);
            }
            (Deed::Part(row, out), Some(Deed::Put(before))) if !self.has_newer => {
                for before in before {
                    overlay(before, &row, &out);
                }
            }
            (Deed::Part(row, out), Some(Deed::Part(before, out_before))) if !self.has_newer => {
                overlay(before, &row, &out);
                out_before.retain(|index| out.contains(index));
            }
            (deed, _) => deeds.push(deed),
        }
    }

    /// What is done, turn by turn.
    pub(super) fn turns(self) -> Vec<Turn> {
        let mut turns: Vec<Turn> = Vec::new();
        for deeds in self.deeds {
            for (number, deed) in deeds.into_iter().enumerate() {
                if turns.len() <= number {
                    turns.push(Turn::default());
                }
                let Some(turn) = turns.get_mut(number) else { unreachable!("it was added") };
                match deed {
                    Deed::Put(rows) => turn.puts.extend(rows),
                    Deed::Part(row, out) if out.is_empty() => turn.puts.push(row),
                    Deed::Part(row, out) => turn.parts.entry(out).or_default().push(row),
                    Deed::Delete(row) => turn.deletes.push(row),
                }
            }
        }
        turns
    }
}

/// Puts what is known of a row over another one.
fn overlay(under: &mut TextRow, row: &TextRow, out: &[usize]) {
    for (index, (under, value)) in under.iter_mut().zip(row).enumerate() {
        if !out.contains(&index) {
            under.clone_from(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(texts: &[&str]) -> TextRow {
        texts.iter().map(|text| (*text != "-").then(|| (*text).to_owned())).collect()
    }

    fn merged(has_newer: bool, deeds: Vec<Deed>) -> Vec<Turn> {
        let mut merged = Merged::new(has_newer);
        deeds.into_iter().for_each(|deed| merged.add(row(&["k"]), deed));
        merged.turns()
    }

    fn put(texts: &[&str]) -> Deed {
        Deed::Put(vec![row(texts)])
    }

    #[test]
    fn the_last_word_on_a_key_counts() {
        let turns = merged(false, vec![put(&["k", "1", "a"]), put(&["k", "2", "b"])]);
        assert_eq!(turns, [Turn { puts: vec![row(&["k", "2", "b"])], ..Turn::default() }]);
        let part = Deed::Part(row(&["k", "3", "-"]), vec![2]);
        let turns = merged(false, vec![put(&["k", "2", "b"]), part.clone()]);
        assert_eq!(turns, [Turn { puts: vec![row(&["k", "3", "b"])], ..Turn::default() }]);
        let turns = merged(false, vec![part.clone(), Deed::Part(row(&["k", "-", "c"]), vec![1])]);
        assert_eq!(turns, [Turn { puts: vec![row(&["k", "3", "c"])], ..Turn::default() }]);
        let delete = Deed::Delete(row(&["k", "-", "-"]));
        let turns = merged(false, vec![put(&["k", "2", "b"]), part, delete.clone()]);
        assert_eq!(turns.len(), 1);
        assert_eq!(turns[0].deletes.len(), 1);
        let turns = merged(false, vec![delete, put(&["k", "1", "a"]), put(&["k", "2", "b"])]);
        assert_eq!((turns.len(), turns[0].deletes.len(), turns[1].puts.len()), (2, 1, 1));
    }

    #[test]
    fn where_the_newest_counts_nothing_is_thrown_away_but_what_is_deleted() {
        let part = Deed::Part(row(&["k", "3", "-"]), vec![2]);
        let turns = merged(
            true,
            vec![put(&["k", "2", "b"]), put(&["k", "1", "a"]), part, put(&["k", "4", "d"])],
        );
        assert_eq!(turns.len(), 3);
        assert_eq!((turns[0].puts.len(), turns[1].parts.len(), turns[2].puts.len()), (2, 1, 1));
        let turns = merged(true, vec![put(&["k", "9", "b"]), Deed::Delete(row(&["k", "-", "-"]))]);
        assert_eq!((turns.len(), turns[0].puts.len()), (1, 0));
    }
}
