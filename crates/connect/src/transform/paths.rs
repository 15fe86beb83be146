//! The simple transforms: fields that are left out or kept, and conditions, without a program.

use std::cmp::Ordering;

use galgo_jq::{Map, Num, Rc, Val};

/// Where a value is in a document, as in RFC 6901: `/customer/name`, `/items/0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer(Vec<String>);

impl Pointer {
    /// Reads `/a/b`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("\"{text}\" is no path: it begins with /, as in \"/card/number\""));
        };
        let names = rest.split('/').map(|name| name.replace("~1", "/").replace("~0", "~"));
        Ok(Self(names.collect()))
    }

    fn get<'v>(&self, value: &'v Val) -> Option<&'v Val> {
        self.0.iter().try_fold(value, |value, name| match value {
            Val::Obj(members) => members.get(&Val::utf8_str(name.clone())),
            Val::Arr(items) => items.get(name.parse::<usize>().ok()?),
            _ => None,
        })
    }
}

/// Leaves out what is at these places.
pub(crate) fn without(value: Val, pointers: &[Pointer]) -> Val {
    pointers.iter().fold(value, |mut value, pointer| {
        remove(&mut value, &pointer.0);
        value
    })
}

fn remove(value: &mut Val, names: &[String]) {
    let Some((name, rest)) = names.split_first() else { return };
    let key = || Val::utf8_str(name.clone());
    match (value, rest.is_empty()) {
        (Val::Obj(members), true) => drop(Rc::make_mut(members).shift_remove(&key())),
        (Val::Obj(members), false) => {
            if let Some(member) = Rc::make_mut(members).get_mut(&key()) {
                remove(member, rest);
            }
        }
        (Val::Arr(items), last) => {
            let Some(at) = name.parse::<usize>().ok().filter(|at| *at < items.len()) else {
                return;
            };
            let items = Rc::make_mut(items);
            match items.get_mut(at) {
                Some(_) if last => drop(items.remove(at)),
                Some(item) => remove(item, rest),
                None => {}
            }
        }
        _ => {}
    }
}

/// Keeps only what is at these places, with the objects around it. A list on the way is kept whole.
pub(crate) fn only(value: &Val, pointers: &[Pointer]) -> Val {
    let names: Vec<&[String]> = pointers.iter().map(|pointer| &pointer.0[..]).collect();
    kept(value, &names)
}

fn kept(value: &Val, wanted: &[&[String]]) -> Val {
    let Val::Obj(members) = value else { return value.clone() };
    let mut result = Map::default();
    for (key, member) in members.iter() {
        let Val::TStr(name) = key else { continue };
        let below: Vec<&[String]> = wanted
            .iter()
            .filter_map(|names| names.split_first())
            .filter(|(first, _)| first.as_bytes() == &name[..])
            .map(|(_, rest)| rest)
            .collect();
        let is_named = below.iter().any(|rest| rest.is_empty());
        match member {
            member if is_named => drop(result.insert(key.clone(), member.clone())),
            Val::Obj(_) | Val::Arr(_) if !below.is_empty() => {
                result.insert(key.clone(), kept(member, &below));
            }
            // Not wanted, or there is nothing below it.
            _ => {}
        }
    }
    Val::obj(result)
}

/// `json./status = "paid"`, or several such with `and` between them.
#[derive(Clone, Debug)]
pub(crate) struct Condition(Vec<PathComparison>);

#[derive(Clone, Debug)]
struct PathComparison {
    pointer: Pointer,
    /// With what it is compared, as JSON: a value of jq is bound to a thread. `None` asks whether there is a value.
    compares: Option<(Operator, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// Longer ones first, as one begins like another.
const OPERATORS: [(&str, Operator); 6] = [
    ("!=", Operator::Unequal),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.trim();
        let mut comparisons = Vec::new();
        loop {
            let (comparison, behind) = PathComparison::parse(rest)?;
            comparisons.push(comparison);
            if behind.is_empty() {
                return Ok(Self(comparisons));
            }
            let next = behind.strip_prefix("and").filter(|next| next.starts_with(' '));
            rest = next.map(str::trim_start).ok_or_else(|| {
                format!(
                    "\"{behind}\" is left over; conditions are joined by `and`, for more use jq"
                )
            })?;
        }
    }

    pub(crate) fn holds(&self, value: &Val) -> bool {
        self.0.iter().all(|comparison| comparison.holds(value))
    }
}

impl PathComparison {
    /// The comparison that a text begins with, and what is behind it.
    fn parse(text: &str) -> Result<(Self, &str), String> {
        let wanted = "a condition looks so: json./status = \"paid\", or json./status exists";
        let rest = text.strip_prefix("json.").ok_or(wanted)?;
        let (path, rest) = rest.split_once(' ').ok_or(wanted)?;
        let pointer = Pointer::parse(path)?;
        let rest = rest.trim_start();
        if let Some(behind) = rest.strip_prefix("exists") {
            return Ok((Self { pointer, compares: None }, behind.trim_start()));
        }
        let operator =
            OPERATORS.iter().find_map(|(sign, it)| Some((*it, rest.strip_prefix(sign)?)));
        let (operator, rest) = operator
            .ok_or_else(|| format!("behind {path} comes one of = != < <= > >= and exists"))?;
        let mut values =
            serde_json::Deserializer::from_str(rest).into_iter::<&serde_json::value::RawValue>();
        let value = values.next().and_then(Result::ok).ok_or_else(|| {
            format!("behind {path} comes a value of JSON: text in double quotes, a number, true, false or null")
        })?;
        let behind = rest.get(values.byte_offset()..).unwrap_or("").trim_start();
        galgo_jq::read(value.get().as_bytes()).map_err(|bad| bad.0)?;
        Ok((Self { pointer, compares: Some((operator, value.get().to_owned())) }, behind))
    }

    /// Whether it holds. Values of different types are unequal and in no order; what is not there is unequal to everything.
    fn holds(&self, document: &Val) -> bool {
        let found = self.pointer.get(document);
        let Some((operator, wanted)) = &self.compares else { return found.is_some() };
        let Some(found) = found else { return *operator == Operator::Unequal };
        let order = galgo_jq::read(wanted.as_bytes()).ok().and_then(|it| order(found, &it));
        match operator {
            Operator::Equal => order == Some(Ordering::Equal),
            Operator::Unequal => order != Some(Ordering::Equal),
            Operator::Less => order == Some(Ordering::Less),
            Operator::AtMost => order.is_some_and(Ordering::is_le),
            Operator::Greater => order == Some(Ordering::Greater),
            Operator::AtLeast => order.is_some_and(Ordering::is_ge),
        }
    }
}

fn order(one: &Val, other: &Val) -> Option<Ordering> {
    let is_nan = |number: &Num| matches!(number, Num::Float(float) if float.is_nan());
    match (one, other) {
        (Val::Num(one), Val::Num(other)) if is_nan(one) || is_nan(other) => None,
        (Val::Num(_), Val::Num(_))
        | (Val::TStr(_), Val::TStr(_))
        | (Val::Bool(_), Val::Bool(_))
        | (Val::Null, Val::Null)
        | (Val::Arr(_), Val::Arr(_))
        | (Val::Obj(_), Val::Obj(_)) => Some(one.cmp(other)),
        _ => None,
    }
}
