//! Which tables are asked for.

use std::fmt;

use postgres_protocol::escape::escape_literal;

/// Tables by name, and schemas of which all are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableChoice(Vec<TablePattern>);

/// A table, or all of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TablePattern {
    schema: String,
    /// None: all.
    table: Option<String>,
}

impl TableChoice {
    /// Reads `schema.table`, `table` (of the schema `public`) and `schema.*`.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn parse(names: &[String]) -> Result<Self, String> {
        if names.is_empty() {
            return Err("tables: name at least one, or \"public.*\"".to_owned());
        }
        let pattern = |name: &String| {
            let (schema, table) = name.split_once('.').unwrap_or(("public", name));
            if schema.is_empty() || table.is_empty() || schema.contains('*') {
                return Err(format!("tables: \"{name}\" is neither schema.table nor schema.*"));
            }
            if table != "*" && table.contains('*') {
                return Err(format!(
                    "tables: \"{name}\": a star stands for all tables of a schema"
                ));
            }
            let table = (table != "*").then(|| table.to_owned());
            Ok(TablePattern { schema: schema.to_owned(), table })
        };
        Ok(Self(names.iter().map(pattern).collect::<Result<_, _>>()?))
    }

    /// Whether a table is meant.
    pub(super) fn has(&self, schema: &str, table: &str) -> bool {
        self.0.iter().any(|pattern| pattern.has(schema, table))
    }

    /// The patterns.
    pub(super) fn patterns(&self) -> &[TablePattern] {
        &self.0
    }

    /// A condition of SQL on the name of a schema and that of a table.
    pub(super) fn condition(&self, schema: &str, table: &str) -> String {
        let one = |pattern: &TablePattern| {
            let of_schema = format!("{schema} = {}", escape_literal(&pattern.schema));
            match &pattern.table {
                None => of_schema,
                Some(name) => format!("{of_schema} AND {table} = {}", escape_literal(name)),
            }
        };
        let all: Vec<String> = self.0.iter().map(|it| format!("({})", one(it))).collect();
        format!("({})", all.join(" OR "))
    }
}

impl TablePattern {
    /// Whether a table is meant.
    pub(super) fn has(&self, schema: &str, table: &str) -> bool {
        self.schema == schema && self.table.as_deref().is_none_or(|name| name == table)
    }

    /// Whether it names a table, not a schema.
    pub(super) fn is_one(&self) -> bool {
        self.table.is_some()
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table.as_deref().unwrap_or("*"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(names: &[&str]) -> Result<TableChoice, String> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        TableChoice::parse(&names)
    }

    #[test]
    fn names_mean_tables() {
        let choice = choice(&["orders", "sales.*", "odd.na.me"]).unwrap();
        for (schema, table, expected) in [
            ("public", "orders", true),
            ("public", "order", false),
            ("sales", "anything", true),
            ("odd", "na.me", true),
            ("odd", "na", false),
        ] {
            assert_eq!(choice.has(schema, table), expected, "{schema}.{table}");
        }
        assert_eq!(
            choice.condition("n", "t"),
            "((n = 'public' AND t = 'orders') OR (n = 'sales') OR (n = 'odd' AND t = 'na.me'))"
        );
        let shown: Vec<String> = choice.patterns().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["public.orders", "sales.*", "odd.na.me"]);
    }

    #[test]
    fn other_names_are_refused() {
        for names in [&[][..], &["*.a"], &["a."], &[".a"], &["a.b*"], &[""]] {
            assert!(choice(names).is_err(), "{names:?}");
        }
    }
}
