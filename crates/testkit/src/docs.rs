//! Tables of the pages in `docs/` that are made from the code, and kept so by a test.

use std::fs;
use std::path::Path;

/// Compares tables of a page with what the code says, each between `<!-- table: name -->` and `<!-- end: name -->`; writes
/// them when `UPDATE_DOCS` is set.
///
/// # Panics
/// When the page says something else; `test` is the command whose test called this, and is named.
pub fn check(page: &str, test: &str, tables: &[(&str, String)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let stands = fs::read_to_string(&path);
    let stands = stands.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let fresh =
        tables.iter().fold(stands.clone(), |page, (name, table)| with_table(&page, name, table));
    if stands == fresh {
        return;
    }
    let updated = std::env::var_os("UPDATE_DOCS").is_some() && fs::write(&path, fresh).is_ok();
    assert!(
        updated,
        "docs/{page} is not true any more; write its tables with: UPDATE_DOCS=1 {test}"
    );
}

/// `page` with `table` between the two markers of that name.
fn with_table(page: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- table: {name} -->"), format!("<!-- end: {name} -->"));
    let parts = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some(format!("{before}{begin}\n{table}{end}{after}"))
    });
    parts.unwrap_or_else(|| panic!("the page has no table {name}"))
}

/// Bytes of fields that are told as ``base `u64`, kind `u8` ``, with zeros as `3 zeros`; what has no length of its own counts
/// nothing.
#[must_use]
pub fn bytes_of(fields: &str) -> usize {
    let sizes = [("`u8`", 1), ("`u16`", 2), ("`u32`", 4), ("`u64`", 8), ("3 zeros", 3)];
    sizes.iter().map(|(form, size)| fields.matches(form).count() * size).sum()
}
