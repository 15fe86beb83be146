//! Names and types in statements: quoted, so that any name works and none becomes a part of the statement.

use std::fmt;

/// A table, in a schema if that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableName {
    pub(crate) schema: Option<String>,
    pub(crate) table: String,
}

impl TableName {
    /// Reads `orders`, `sales.orders` or, for names with a dot in them, `"sales.eu"."orders"`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is no name of a table; write TABLE, SCHEMA.TABLE or \"SCHEMA\".\"TABLE\""
            )
        };
        let (first, rest) = part(text).ok_or_else(wrong)?;
        let name = match rest.strip_prefix('.') {
            None if rest.is_empty() => Self { schema: None, table: first },
            None => return Err(wrong()),
            Some(rest) => match part(rest) {
                Some((table, "")) => Self { schema: Some(first), table },
                _ => return Err(wrong()),
            },
        };
        for part in name.schema.iter().chain([&name.table]) {
            check(part)?;
        }
        Ok(name)
    }

    /// Another table of the same schema.
    pub(crate) fn beside(&self, table: &str) -> Self {
        Self { schema: self.schema.clone(), table: table.to_owned() }
    }

    /// As it stands in a statement.
    pub(crate) fn sql(&self) -> String {
        let table = identifier(&self.table);
        match &self.schema {
            Some(schema) => format!("{}.{table}", identifier(schema)),
            None => table,
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.table),
            None => f.write_str(&self.table),
        }
    }
}

/// A part of a name, and what is behind it.
fn part(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(['.', '"']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return (!name.is_empty()).then(|| (name.to_owned(), rest));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (before, behind) = rest.split_once('"')?;
        name.push_str(before);
        match behind.strip_prefix('"') {
            Some(behind) => {
                name.push('"');
                rest = behind;
            }
            None => return (!name.is_empty()).then_some((name, behind)),
        }
    }
}

/// Whether it can be the name of a table or a column.
///
/// # Errors
/// Why not.
pub(super) fn check(name: &str) -> Result<(), String> {
    match name.is_empty() || name.contains('\0') {
        true => Err("a name of a table or a column is empty, or has a NUL in it".to_owned()),
        false => Ok(()),
    }
}

/// Whether it looks as a type does: nothing in it ends the place where a type may be.
pub(super) fn is_type(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || " _.,()[]\"".contains(c);
    let balanced = text.matches('(').count() == text.matches(')').count()
        && text.matches('"').count().is_multiple_of(2);
    !text.trim().is_empty()
        && text.chars().all(fits)
        && balanced
        && !text.starts_with(['(', ')', ','])
}

/// A name as it stands in a statement.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_quoted_whatever_is_in_them() {
        let sql = |text: &str| TableName::parse(text).map(|name| name.sql());
        assert_eq!(sql("orders").unwrap(), r#""orders""#);
        assert_eq!(sql("sales.orders").unwrap(), r#""sales"."orders""#);
        assert_eq!(sql(r#""a.b"."c ""d""; drop""#).unwrap(), r#""a.b"."c ""d""; drop""#);
        assert_eq!(sql("tägliche Bestellungen").unwrap(), r#""tägliche Bestellungen""#);
        for wrong in ["", "a.", ".a", "a.b.c", "\"a", "a\"b\"", "\"\"", "a\0b"] {
            assert!(sql(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_type_does_not_end_its_place() {
        for good in
            ["text", "numeric(12, 2)", "timestamp with time zone", "text[]", "\"My\".\"Type\""]
        {
            assert!(is_type(good), "{good}");
        }
        for bad in ["", " ", "text; drop table x", "text)", "int default 1--", "'a'", ", b int"] {
            assert!(!is_type(bad), "{bad}");
        }
    }
}
