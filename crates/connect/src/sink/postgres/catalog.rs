//! What the database knows of a table: columns, their types, keys, rights.

use super::array::ArrayType;
use crate::postgres::session::{PgSession, TextRow};
use crate::postgres::trouble::PgError;
use crate::table::Layout;
use crate::table::name::TableName;
use crate::table::shape::{FoundColumn, FoundTable};

/// What is known of the type of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PgColumn {
    /// Its type without its length, as it stands in a cast.
    pub(super) cast: String,
    /// What it is an array of, if it is one.
    pub(super) array: Option<ArrayType>,
}

/// A column of a table that is there.
struct Known {
    found: FoundColumn,
    column: PgColumn,
}

const COLUMNS: &str = "SELECT a.attname, format_type(a.atttypid, a.atttypmod), format_type(a.atttypid, -1), \
    (a.attnotnull AND NOT a.atthasdef AND a.attidentity = '')::text, \
    CASE WHEN b.typcategory = 'A' AND b.typlen = -1 THEN e.typdelim END, e.typname \
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
    JOIN pg_catalog.pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END \
    LEFT JOIN pg_catalog.pg_type e ON e.oid = b.typelem \
    WHERE a.attrelid = to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/// One that is checked at the end of a transaction finds no row.
const KEYS: &str = "SELECT array_to_json(array_agg(a.attname ORDER BY k.number))::text \
    FROM pg_catalog.pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, number) \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
    WHERE i.indrelid = to_regclass($1::text) AND i.indisunique AND i.indisvalid AND i.indimmediate \
    AND i.indpred IS NULL AND i.indexprs IS NULL AND k.number <= i.indnkeyatts GROUP BY i.indexrelid ORDER BY i.indexrelid";

/// Whether a table is there.
pub(super) async fn is_there(session: &mut PgSession, table: &TableName) -> Result<bool, PgError> {
    let sql = "SELECT to_regclass($1::text)::text";
    let found = session.run_with(sql, &[Some(&table.sql())]).await?;
    Ok(text(found.rows.first(), 0).is_some())
}

async fn known(session: &mut PgSession, table: &TableName) -> Result<Vec<Known>, PgError> {
    let answer = session.run_with(COLUMNS, &[Some(&table.sql())]).await?;
    let read = |row: &TextRow| {
        let of = |index| text(Some(row), index).unwrap_or_default().to_owned();
        let documents = matches!(text(Some(row), 5), Some("json" | "jsonb"));
        let array = text(Some(row), 4).and_then(|text| text.chars().next());
        let array = array.map(|delimiter| ArrayType {
            delimiter,
            is_of_documents: documents,
            refuses_nul: text(Some(row), 5) == Some("jsonb"),
        });
        let found =
            FoundColumn { name: of(0), sql_type: of(1), is_required: of(3) == "true", fits: true };
        Known { found, column: PgColumn { cast: of(2), array } }
    };
    Ok(answer.rows.iter().map(read).collect())
}

/// The types of the columns of a layout, as they are in the table. One that is missing is as the file has it: what is
/// written then says that it is missing.
pub(super) async fn columns(
    session: &mut PgSession,
    layout: &Layout,
) -> Result<Vec<PgColumn>, PgError> {
    let known = known(session, &layout.name).await?;
    let of = |column: &crate::table::columns::Column| {
        let found = known.iter().find(|known| known.found.name == column.name);
        let missing = || PgColumn { cast: column.sql_type.clone(), array: None };
        found.map_or_else(missing, |known| known.column.clone())
    };
    Ok(layout.columns.iter().map(of).collect())
}

/// The table as it is; without columns if it is not there.
pub(super) async fn look(session: &mut PgSession, layout: &Layout) -> Result<FoundTable, PgError> {
    let table = &layout.name;
    let columns = known(session, table).await?.into_iter().map(|known| known.found).collect();
    let keys = session.run_with(KEYS, &[Some(&table.sql())]).await?;
    let names = |row: &TextRow| serde_json::from_str(text(Some(row), 0)?).ok();
    Ok(FoundTable { columns, keys: keys.rows.iter().filter_map(names).collect() })
}

/// The name of the type that the file says, in the words of the database.
pub(super) async fn type_name(session: &mut PgSession, sql_type: &str) -> Result<String, PgError> {
    session.value(&format!("SELECT pg_typeof(NULL::{sql_type})::text")).await
}

/// Whether a type as the file has it is the one of a column; `name` is what the database calls it.
pub(super) fn is_same_type(declared: &str, name: &str, found: &str) -> bool {
    let plain = |text: &str| match (text.find('('), text.find(')')) {
        (Some(begin), Some(end)) if begin < end => {
            let (front, behind) =
                (text.get(..begin).unwrap_or_default(), text.get(end + 1..).unwrap_or_default());
            let length = text.get(begin..=end).unwrap_or_default().replace(' ', "");
            (format!("{}{behind}", front.trim_end()), length)
        }
        _ => (text.to_owned(), String::new()),
    };
    let (found_name, found_length) = plain(found);
    let (_, length) = plain(declared);
    found_name == name && found_length == length
}

/// Which of some rights on a table the role does not have.
pub(super) async fn missing_rights(
    session: &mut PgSession,
    table: &TableName,
    rights: &[&str],
) -> Result<Vec<String>, PgError> {
    let mut missing = Vec::new();
    for right in rights {
        // A right on columns alone is tried with the rows.
        let sql = match *right {
            "DELETE" => "SELECT has_table_privilege(to_regclass($1::text), $2::text)::text",
            _ => "SELECT has_any_column_privilege(to_regclass($1::text), $2::text)::text",
        };
        let answer = session.run_with(sql, &[Some(&table.sql()), Some(right)]).await?;
        if text(answer.rows.first(), 0) == Some("false") {
            missing.push((*right).to_owned());
        }
    }
    Ok(missing)
}

/// Whether the role may make a table of that name; none: there is no such schema.
pub(super) async fn may_create(
    session: &mut PgSession,
    table: &TableName,
) -> Result<Option<bool>, PgError> {
    let sql = "SELECT has_schema_privilege(oid, 'CREATE')::text FROM pg_catalog.pg_namespace \
               WHERE nspname = COALESCE($1::text, current_schema())";
    let answer = session.run_with(sql, &[table.schema.as_deref()]).await?;
    Ok(text(answer.rows.first(), 0).map(|may| may == "true"))
}

/// Whether the role may change the table itself.
pub(super) async fn is_owner(session: &mut PgSession, table: &TableName) -> Result<bool, PgError> {
    let sql = "SELECT pg_has_role(relowner, 'USAGE')::text FROM pg_catalog.pg_class WHERE oid = to_regclass($1::text)";
    let answer = session.run_with(sql, &[Some(&table.sql())]).await?;
    Ok(text(answer.rows.first(), 0) == Some("true"))
}

/// A value of a row.
pub(super) fn text(row: Option<&TextRow>, index: usize) -> Option<&str> {
    row?.get(index)?.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_compared_with_their_lengths() {
        for (declared, name, found) in [
            ("numeric(12, 2)", "numeric", "numeric(12,2)"),
            ("int8", "bigint", "bigint"),
            ("timestamptz(3)", "timestamp with time zone", "timestamp(3) with time zone"),
            ("text[]", "text[]", "text[]"),
        ] {
            assert!(is_same_type(declared, name, found), "{declared}");
        }
        assert!(!is_same_type("varchar(9)", "character varying", "character varying(20)"));
        assert!(!is_same_type("numeric", "numeric", "numeric(12,2)"));
        assert!(!is_same_type("text", "text", "bigint"));
    }
}
