//! Fields of Protobuf messages by their numbers.
//!
//! Without a schema nothing tells a text from a message inside, nor a number from a truth. So bytes are shown as text
//! where they are printable, as a message where they are one from end to end, and else as base64; numbers without a sign.

use crate::writer::Writer;
use crate::{Limits, Reason, plain_text};

/// The largest number of a field.
const FIELD_MAX: u64 = (1 << 29) - 1;

/// A field: its number and its value.
struct Field<'a> {
    number: u64,
    value: Value<'a>,
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Group(Vec<Field<'a>>),
}

/// The JSON of a payload: a map of its fields, each a list when it comes more than once.
pub(crate) fn text(payload: &[u8], limits: &Limits) -> Result<(String, bool), Reason> {
    if payload.is_empty() {
        return Err(Reason::Empty);
    }
    let mut reader =
        FieldReader { payload, at: 0, values_left: limits.values, values_max: limits.values };
    let fields = reader.fields(None, limits.depth)?;
    let mut writer = Writer::new(limits);
    write(&mut writer, &fields, limits)?;
    Ok(writer.finish())
}

struct FieldReader<'a> {
    payload: &'a [u8],
    at: usize,
    values_left: usize,
    values_max: usize,
}

impl<'a> FieldReader<'a> {
    fn varint(&mut self) -> Result<u64, Reason> {
        let begin = self.at;
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.payload.get(self.at).ok_or(Reason::Syntax { at: begin })?;
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Reason::Syntax { at: begin })
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Reason> {
        let fault = Reason::Syntax { at: self.at };
        let Ok(len) = usize::try_from(len) else { return Err(fault) };
        let rest = self.payload.get(self.at..).and_then(|rest| rest.get(..len));
        let taken = rest.ok_or(fault)?;
        self.at += len;
        Ok(taken)
    }

    fn fixed(&mut self, len: u64) -> Result<u64, Reason> {
        let bytes = self.take(len)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    /// The fields up to the end, or up to the end of the group with this number.
    fn fields(&mut self, group: Option<u64>, depth_left: usize) -> Result<Vec<Field<'a>>, Reason> {
        let mut fields = Vec::new();
        while group.is_some() || self.at < self.payload.len() {
            let at = self.at;
            let key = self.varint()?;
            let number = key >> 3;
            if number == 0 || number > FIELD_MAX {
                return Err(Reason::Syntax { at });
            }
            let Some(values_left) = self.values_left.checked_sub(1) else {
                return Err(Reason::Values { limit: self.values_max });
            };
            self.values_left = values_left;
            let value = match key & 7 {
                0 => Value::Number(self.varint()?),
                1 => Value::Number(self.fixed(8)?),
                2 => {
                    let len = self.varint()?;
                    Value::Bytes(self.take(len)?)
                }
                3 => {
                    let Some(depth_left) = depth_left.checked_sub(1) else {
                        return Err(Reason::Syntax { at });
                    };
                    Value::Group(self.fields(Some(number), depth_left)?)
                }
                4 if group == Some(number) => return Ok(fields),
                5 => Value::Number(self.fixed(4)?),
                _ => return Err(Reason::Syntax { at }),
            };
            fields.push(Field { number, value });
        }
        Ok(fields)
    }
}

fn write(writer: &mut Writer, fields: &[Field<'_>], limits: &Limits) -> Result<(), Reason> {
    let mut sorted: Vec<&Field<'_>> = fields.iter().collect();
    // Stable: those of a number stay in their order.
    sorted.sort_by_key(|field| field.number);
    writer.enter("{")?;
    for (place, same) in sorted.chunk_by(|one, other| one.number == other.number).enumerate() {
        if place > 0 {
            writer.raw(",");
        }
        let [first, ..] = same else { unreachable!("a chunk has a first field") };
        writer.raw(&format!("\"{}\":", first.number));
        match same {
            [one] => write_value(writer, &one.value, limits)?,
            several => {
                writer.enter("[")?;
                for (place, field) in several.iter().enumerate() {
                    if place > 0 {
                        writer.raw(",");
                    }
                    write_value(writer, &field.value, limits)?;
                }
                writer.leave("]");
            }
        }
    }
    writer.leave("}");
    Ok(())
}

fn write_value(writer: &mut Writer, value: &Value<'_>, limits: &Limits) -> Result<(), Reason> {
    match value {
        Value::Number(number) => writer.scalar(&number.to_string()),
        Value::Group(fields) => write(writer, fields, limits),
        Value::Bytes(bytes) => {
            if let Ok(text) = plain_text(bytes, true) {
                return writer.string(text);
            }
            let (depth, values) = writer.left();
            let mut reader =
                FieldReader { payload: bytes, at: 0, values_left: values, values_max: values };
            match reader.fields(None, depth) {
                Ok(fields) if depth > 1 => write(writer, &fields, limits),
                _ => writer.bytes(bytes),
            }
        }
    }
}
