//! License expressions: `MIT OR Apache-2.0`, `(MIT OR Apache-2.0) AND Unicode-3.0`, the older `MIT/Apache-2.0`.
//!
//! An expression that cannot be read permits nothing.

/// Whether the expression leaves us a choice among the allowed licenses.
pub(super) fn permits(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words, allowed };
    parser.any() == Some(true) && parser.words.is_empty()
}

struct Parser<'a, 'w> {
    words: &'a [&'w str],
    allowed: &'a [&'a str],
}

impl<'w> Parser<'_, 'w> {
    fn any(&mut self) -> Option<bool> {
        let mut permitted = self.every()?;
        while self.takes("OR") {
            permitted |= self.every()?;
        }
        Some(permitted)
    }

    fn every(&mut self) -> Option<bool> {
        let mut permitted = self.one()?;
        while self.takes("AND") {
            permitted &= self.one()?;
        }
        Some(permitted)
    }

    fn one(&mut self) -> Option<bool> {
        if self.takes("(") {
            let permitted = self.any()?;
            return self.takes(")").then_some(permitted);
        }
        let name = self.next()?;
        let name =
            if self.takes("WITH") { format!("{name} WITH {}", self.next()?) } else { name.into() };
        Some(self.allowed.contains(&name.as_str()))
    }

    fn takes(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if *first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }

    fn next(&mut self) -> Option<&'w str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::permits;

    #[test]
    fn a_choice_needs_one_and_a_sum_needs_all() {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"];
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(GPL-3.0 OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(permits(good, &allowed), "{good}");
        }
        for bad in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT)", "MIT OR", "MIT MIT", "MIT WITH x"]
        {
            assert!(!permits(bad, &allowed), "{bad}");
        }
    }
}
