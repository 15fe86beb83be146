//! Arrays of JSON as PostgreSQL reads arrays.
//!
//! An element becomes what a column of its type would be given: a text without its quotes, a number digit for digit, an object as the
//! document it is. `null` is NULL. An array in an array is a dimension; of `json` and `jsonb` it is an element, which may be any
//! document, so those arrays have one dimension. Each element is in quotes, so that nothing in it is taken for a part of the array.

use serde_json::value::RawValue;

use crate::table::Nul;
use crate::table::rows::{Cell, string, text};

/// Dimensions an array may have in PostgreSQL.
const DIMENSIONS_MAX: usize = 6;

/// What an array is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ArrayType {
    /// What stands between elements; a comma for all types but one.
    pub(super) delimiter: char,
    /// Whether its elements are documents.
    pub(super) is_of_documents: bool,
    /// Whether these may have no escaped NUL.
    pub(super) refuses_nul: bool,
}

impl ArrayType {
    /// An array of JSON as text.
    ///
    /// # Errors
    /// What is wrong with it, without its values.
    pub(super) fn literal(self, json: &str, nul: Nul) -> Result<String, String> {
        let mut out = String::with_capacity(json.len() + 2);
        self.put_array(&mut out, json, nul, 1)?;
        Ok(out)
    }

    fn put_array(
        self,
        out: &mut String,
        json: &str,
        nul: Nul,
        dimension: usize,
    ) -> Result<(), String> {
        if dimension > DIMENSIONS_MAX {
            return Err(format!("an array has more than {DIMENSIONS_MAX} dimensions"));
        }
        let elements: Vec<&RawValue> =
            serde_json::from_str(json).map_err(|_| "it is no array of JSON".to_owned())?;
        out.push('{');
        for (number, element) in elements.into_iter().enumerate() {
            if number > 0 {
                out.push(self.delimiter);
            }
            let element = element.get();
            match element.as_bytes().first() {
                Some(b'n') => out.push_str("NULL"),
                Some(b'[') if !self.is_of_documents => {
                    self.put_array(out, element, nul, dimension + 1)?;
                }
                _ => self.put_element(out, element, nul)?,
            }
        }
        out.push('}');
        Ok(())
    }

    fn put_element(self, out: &mut String, element: &str, nul: Nul) -> Result<(), String> {
        let cell = match element.starts_with('"') && !self.is_of_documents {
            true => text(string(element)?, nul)?,
            false => crate::table::rows::checked(element.into(), self.refuses_nul, nul)?,
        };
        let (Cell::Text(value) | Cell::Document(value)) = cell else {
            unreachable!("it is a text or a document")
        };
        put_quoted(out, &value);
        Ok(())
    }
}

/// Appends a value in quotes.
pub(super) fn put_quoted(out: &mut String, value: &str) {
    out.push('"');
    for letter in value.chars() {
        if matches!(letter, '"' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: ArrayType =
        ArrayType { delimiter: ',', is_of_documents: false, refuses_nul: false };
    const DOCUMENTS: ArrayType =
        ArrayType { delimiter: ',', is_of_documents: true, refuses_nul: true };

    fn literal(of: ArrayType, json: &str) -> String {
        of.literal(json, Nul::Bad).unwrap()
    }

    #[test]
    fn elements_are_what_a_column_of_their_type_is_given() {
        assert_eq!(
            literal(TEXTS, r#"["a", null, "", "NULL", "x,y", "q\"\\", "{}", " é\n"]"#),
            "{\"a\",NULL,\"\",\"NULL\",\"x,y\",\"q\\\"\\\\\",\"{}\",\" é\n\"}"
        );
        assert_eq!(
            literal(TEXTS, r#"[1, 12345678901234567890123, 1.10, true, {"a": "b"}]"#),
            r#"{"1","12345678901234567890123","1.10","true","{\"a\": \"b\"}"}"#
        );
        assert_eq!(literal(TEXTS, "[]"), "{}");
        assert_eq!(
            literal(ArrayType { delimiter: ';', ..TEXTS }, r#"["(1,2),(3,4)", null]"#),
            r#"{"(1,2),(3,4)";NULL}"#
        );
    }

    #[test]
    fn arrays_in_arrays_are_dimensions_but_of_documents() {
        assert_eq!(literal(TEXTS, "[[1, null], [3, 4]]"), r#"{{"1",NULL},{"3","4"}}"#);
        assert_eq!(
            literal(DOCUMENTS, r#"[[1, [2]], {"a": null}, "x", null]"#),
            r#"{"[1, [2]]","{\"a\": null}","\"x\"",NULL}"#
        );
        let deep = format!("{}1{}", "[".repeat(7), "]".repeat(7));
        assert!(TEXTS.literal(&deep, Nul::Bad).unwrap_err().contains("more than 6 dimensions"));
        assert!(TEXTS.literal(&"[".repeat(100_000), Nul::Bad).is_err());
    }

    #[test]
    fn a_nul_is_bad_or_left_out() {
        let json = r#"["MARKED\u0000x"]"#;
        for of in [TEXTS, DOCUMENTS] {
            let said = of.literal(json, Nul::Bad).unwrap_err();
            assert!(said.contains("NUL") && !said.contains("MARKED"), "INV-MUTE: {said}");
            assert!(of.literal(json, Nul::Strip).unwrap().contains("MARKEDx"));
        }
    }
}
