//! Fields of a document, found in one pass over its text.
//!
//! What is found is a piece of the text: nothing is parsed that no column asks for, and a number keeps its digits.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A member of an object.
    Member(String),
    /// An element of an array.
    Element(usize),
}

/// Where a value is in a document: `.a.b[0]["x y"]`; `.` is all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path(pub(crate) Vec<Step>);

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            Err(format!(
                "\"{text}\" is no path: {what}; write .a.b[0][\"x y\"], or @time for what is known of the message"
            ))
        };
        let Some(mut rest) = text.strip_prefix('.') else {
            return wrong("it begins with a dot");
        };
        let mut steps = Vec::new();
        // A name, or nothing in front of a bracket, is behind the first dot.
        let mut name_next = !rest.is_empty() && !rest.starts_with('[');
        while !rest.is_empty() || name_next {
            if name_next {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let (name, behind) = rest.split_at(end);
                if name.is_empty() {
                    return wrong("a name is empty");
                }
                steps.push(Step::Member(name.to_owned()));
                (rest, name_next) = (behind, false);
            } else if let Some(behind) = rest.strip_prefix('.') {
                (rest, name_next) = (behind, true);
            } else if rest.starts_with("[\"") {
                // The text with its quote, behind the bracket.
                let Some(quoted) = rest.strip_prefix('[') else {
                    unreachable!("what begins with a bracket and a quote begins with a bracket")
                };
                let mut strings = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
                let Some(Ok(name)) = strings.next() else {
                    return wrong("a name in quotes does not end");
                };
                let Some(behind) = quoted.get(strings.byte_offset()..) else {
                    unreachable!("what is behind a text is within what it was read from")
                };
                let Some(behind) = behind.strip_prefix(']') else {
                    return wrong("a bracket is not closed");
                };
                steps.push(Step::Member(name));
                rest = behind;
            } else if let Some((index, behind)) =
                rest.strip_prefix('[').and_then(|rest| rest.split_once(']'))
            {
                let Ok(index) = index.parse() else {
                    return wrong("between brackets is a number or a name in quotes");
                };
                steps.push(Step::Element(index));
                rest = behind;
            } else {
                return wrong("a bracket is not closed");
            }
        }
        Ok(Self(steps))
    }
}

/// The fields that are looked for. Each has a slot for what is found.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldTree {
    root: Node,
    slots: usize,
}

#[derive(Clone, Debug, Default)]
struct Node {
    slot: Option<usize>,
    children: Vec<(Step, Node)>,
}

/// What is found: the text of a value for each slot.
pub(crate) type Slots<'a> = Vec<Option<&'a str>>;

/// Members of the document that no column takes whole.
pub(crate) type Rest<'a> = Vec<(Cow<'a, str>, &'a str)>;

impl FieldTree {
    /// The slot of a path; two of the same share it.
    pub(crate) fn slot(&mut self, path: &Path) -> usize {
        let mut node = &mut self.root;
        for step in &path.0 {
            let at = node.children.iter().position(|(known, _)| known == step);
            let at = at.unwrap_or_else(|| {
                node.children.push((step.clone(), Node::default()));
                node.children.len() - 1
            });
            let Some((_, child)) = node.children.get_mut(at) else {
                unreachable!("it was found or added")
            };
            node = child;
        }
        let slots = &mut self.slots;
        *node.slot.get_or_insert_with(|| {
            *slots += 1;
            *slots - 1
        })
    }

    /// The member of a document in which the field of a slot is.
    pub(crate) fn member_of(&self, slot: usize) -> Option<&str> {
        let has = |(_, node): &&(Step, Node)| node.has(slot);
        self.root.children.iter().find(has).and_then(|(step, _)| match step {
            Step::Member(name) => Some(name.as_str()),
            Step::Element(_) => None,
        })
    }

    /// Finds the fields of a document; `rest` takes the members of its that are taken by no slot as a whole.
    ///
    /// # Errors
    /// It is no document of JSON.
    pub(crate) fn find<'a>(
        &self,
        text: &'a str,
        slots: &mut Slots<'a>,
        rest: Option<&mut Rest<'a>>,
    ) -> Result<(), serde_json::Error> {
        slots.clear();
        slots.resize(self.slots, None);
        let text = text.trim_ascii();
        let mut whole = serde_json::Deserializer::from_str(text);
        if self.root.slot.is_some() || !text.starts_with(['{', '[']) {
            let raw = <&RawValue as serde::Deserialize>::deserialize(&mut whole)?;
            whole.end()?;
            return self.root.found(raw.get(), slots, rest);
        }
        self.root.descend(&mut whole, slots, rest)?;
        whole.end()
    }
}

impl Node {
    fn has(&self, slot: usize) -> bool {
        self.slot == Some(slot) || self.children.iter().any(|(_, child)| child.has(slot))
    }

    fn clear(&self, slots: &mut Slots<'_>) {
        if let Some(slot) = self.slot.and_then(|slot| slots.get_mut(slot)) {
            *slot = None;
        }
        for (_, child) in &self.children {
            child.clear(slots);
        }
    }

    /// The text of this node's value is found.
    fn found<'a>(
        &self,
        raw: &'a str,
        slots: &mut Slots<'a>,
        rest: Option<&mut Rest<'a>>,
    ) -> Result<(), serde_json::Error> {
        if let Some(slot) = self.slot.and_then(|slot| slots.get_mut(slot)) {
            *slot = Some(raw);
        }
        if (self.children.is_empty() && rest.is_none()) || !raw.starts_with(['{', '[']) {
            return Ok(());
        }
        self.descend(&mut serde_json::Deserializer::from_str(raw), slots, rest)
    }

    fn descend<'a>(
        &self,
        text: &mut serde_json::Deserializer<serde_json::de::StrRead<'a>>,
        slots: &mut Slots<'a>,
        rest: Option<&mut Rest<'a>>,
    ) -> Result<(), serde_json::Error> {
        text.deserialize_any(Fields { node: self, slots, rest })
    }
}

struct Fields<'n, 's, 'a> {
    node: &'n Node,
    slots: &'s mut Slots<'a>,
    rest: Option<&'s mut Rest<'a>>,
}

impl<'a> Visitor<'a> for Fields<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        // Documents of a topic mostly have their members in one order: the search begins behind what was found last.
        let mut from = 0;
        while let Some(name) = map.next_key_seed(Name)? {
            let (before, behind) = self.node.children.split_at_checked(from).unwrap_or_default();
            let named =
                |child: &&(Step, Node)| matches!(&child.0, Step::Member(known) if *known == name);
            let next = behind.iter().position(|child| named(&child)).map(|at| from + at);
            let found = next.or_else(|| before.iter().position(|child| named(&child)));
            let child = found.and_then(|at| {
                from = at + 1;
                self.node.children.get(at)
            });
            match (child, &mut self.rest) {
                (None, None) => {
                    map.next_value::<IgnoredAny>()?;
                }
                (None, Some(rest)) => {
                    let raw: &'a RawValue = map.next_value()?;
                    set(rest, name, raw.get());
                }
                (Some((_, child)), rest) => {
                    let raw: &'a RawValue = map.next_value()?;
                    // Of two members of one name the last counts, as everywhere else.
                    child.clear(self.slots);
                    child.found(raw.get(), self.slots, None).map_err(A::Error::custom)?;
                    if let (None, Some(rest)) = (child.slot, rest) {
                        set(rest, name, raw.get());
                    }
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(raw) = elements.next_element::<&'a RawValue>()? {
            let wanted = self.node.children.iter().find(|(step, _)| *step == Step::Element(index));
            if let Some((_, child)) = wanted {
                child.found(raw.get(), self.slots, None).map_err(A::Error::custom)?;
            }
            index += 1;
        }
        Ok(())
    }
}

fn set<'a>(rest: &mut Rest<'a>, name: Cow<'a, str>, raw: &'a str) {
    match rest.iter_mut().find(|(known, _)| *known == name) {
        Some(member) => member.1 = raw,
        None => rest.push((name, raw)),
    }
}

/// The name of a member, borrowed where nothing in it is escaped.
struct Name;

impl<'a> DeserializeSeed<'a> for Name {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Name {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'a str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(paths: &[&str], text: &str) -> Vec<Option<String>> {
        let mut tree = FieldTree::default();
        let slots: Vec<_> =
            paths.iter().map(|path| tree.slot(&Path::parse(path).unwrap())).collect();
        let mut found = Vec::new();
        tree.find(text, &mut found, None).unwrap();
        slots.iter().map(|slot| found[*slot].map(str::to_owned)).collect()
    }

    #[test]
    fn values_are_found_as_they_were_written() {
        let text = r#" {"a": 12345678901234567890.10, "b":{"c":[1, {"x y":"é\n"}]}, "d":null, "\u0061b": true} "#;
        let paths = [".a", ".b.c[1][\"x y\"]", ".d", ".ab", ".b", ".none", ".a.x", ".b.c[7]"];
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            found(&paths, text),
            [
                some("12345678901234567890.10"),
                some(r#""é\n""#),
                some("null"),
                some("true"),
                some(r#"{"c":[1, {"x y":"é\n"}]}"#),
                None,
                None,
                None
            ]
        );
        assert_eq!(found(&["."], " [1, 2] "), [some("[1, 2]")]);
        assert_eq!(found(&[".[1]", "."], "[1, 2]"), [some("2"), some("[1, 2]")]);
        assert_eq!(found(&[".a"], "7"), [None]);
    }

    #[test]
    fn of_two_members_of_one_name_the_last_counts() {
        let text = r#"{"a":{"b":1},"a":{"c":2}}"#;
        assert_eq!(found(&[".a.b", ".a.c"], text), [None, Some("2".to_owned())]);
    }

    #[test]
    fn what_no_column_takes_whole_is_left() {
        let mut tree = FieldTree::default();
        tree.slot(&Path::parse(".a").unwrap());
        tree.slot(&Path::parse(".b.c").unwrap());
        let (mut slots, mut rest) = (Vec::new(), Vec::new());
        tree.find(r#"{"a":1,"b":{"c":2,"d":3},"e":4,"e":5}"#, &mut slots, Some(&mut rest)).unwrap();
        let rest: Vec<_> = rest.iter().map(|(name, raw)| (name.as_ref(), *raw)).collect();
        assert_eq!(rest, [("b", r#"{"c":2,"d":3}"#), ("e", "5")]);
    }

    #[test]
    fn what_is_no_document_and_what_is_no_path_is_refused() {
        let tree = FieldTree::default();
        for text in ["", "{", "{} x", "[1,", "nul", "{\"a\" 1}"] {
            assert!(tree.find(text, &mut Vec::new(), None).is_err(), "{text}");
        }
        for path in [
            "", "a", ".a..b", ".a[", ".a[x]", ".a[\"x]", ".a[0", "..", ".a.", ".a[\"x\"", ".[0].",
            ".a[0]b",
        ] {
            assert!(Path::parse(path).is_err(), "{path}");
        }
        assert_eq!(Path::parse(".").unwrap(), Path(Vec::new()));
        let steps =
            vec![Step::Member("a\"]".to_owned()), Step::Element(3), Step::Member("b".to_owned())];
        assert_eq!(Path::parse(r#".["a\"]"][3].b"#).unwrap(), Path(steps));
    }
}
