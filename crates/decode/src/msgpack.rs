//! MessagePack as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmp::Marker;

use crate::writer::Writer;
use crate::{Limits, Reason};

/// The extension type of a time.
const TIME: i8 = -1;

/// The JSON of a payload. A guess is made of lists and maps only.
pub(crate) fn text(
    payload: &[u8],
    guesses: bool,
    limits: &Limits,
) -> Result<(String, bool), Reason> {
    let mut input = MsgpackInput { payload, at: 0 };
    let Some(first) = payload.first() else { return Err(Reason::Empty) };
    let holds_others = matches!(
        Marker::from_u8(*first),
        Marker::FixMap(_)
            | Marker::Map16
            | Marker::Map32
            | Marker::FixArray(_)
            | Marker::Array16
            | Marker::Array32
    );
    if guesses && !holds_others {
        return Err(Reason::Scalar);
    }
    let mut writer = Writer::new(limits);
    value(&mut input, &mut writer)?;
    match payload.len() - input.at {
        0 => Ok(writer.finish()),
        left => Err(Reason::LeftOver { left }),
    }
}

/// What is read.
struct MsgpackInput<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> MsgpackInput<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Reason> {
        let rest = self.payload.get(self.at..).and_then(|rest| rest.get(..len));
        let taken = rest.ok_or(Reason::Syntax { at: self.at })?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| Reason::Syntax { at })
    }

    fn u8(&mut self) -> Result<u8, Reason> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Reason> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Reason> {
        self.array().map(u32::from_be_bytes)
    }

    /// A length, in so many bytes.
    fn len(&mut self, bytes: u8) -> Result<usize, Reason> {
        match bytes {
            1 => self.u8().map(usize::from),
            2 => self.u16().map(usize::from),
            _ => {
                let at = self.at;
                usize::try_from(self.u32()?).map_err(|_| Reason::Syntax { at })
            }
        }
    }
}

fn value(input: &mut MsgpackInput<'_>, writer: &mut Writer) -> Result<(), Reason> {
    let at = input.at;
    match Marker::from_u8(input.u8()?) {
        Marker::Null => writer.scalar("null"),
        Marker::True => writer.scalar("true"),
        Marker::False => writer.scalar("false"),
        Marker::FixPos(number) => writer.scalar(&number.to_string()),
        Marker::FixNeg(number) => writer.scalar(&number.to_string()),
        Marker::U8 => writer.scalar(&input.u8()?.to_string()),
        Marker::U16 => writer.scalar(&input.u16()?.to_string()),
        Marker::U32 => writer.scalar(&input.u32()?.to_string()),
        Marker::U64 => writer.scalar(&u64::from_be_bytes(input.array()?).to_string()),
        Marker::I8 => writer.scalar(&i8::from_be_bytes(input.array()?).to_string()),
        Marker::I16 => writer.scalar(&i16::from_be_bytes(input.array()?).to_string()),
        Marker::I32 => writer.scalar(&i32::from_be_bytes(input.array()?).to_string()),
        Marker::I64 => writer.scalar(&i64::from_be_bytes(input.array()?).to_string()),
        // The shortest digits that are this number and no other of its width.
        Marker::F32 => writer.float(&format!("{:?}", f32::from_be_bytes(input.array()?))),
        Marker::F64 => writer.float(&format!("{:?}", f64::from_be_bytes(input.array()?))),
        Marker::FixStr(len) => string(input, writer, usize::from(len)),
        Marker::Str8 => input.len(1).and_then(|len| string(input, writer, len)),
        Marker::Str16 => input.len(2).and_then(|len| string(input, writer, len)),
        Marker::Str32 => input.len(4).and_then(|len| string(input, writer, len)),
        Marker::Bin8 => input.len(1).and_then(|len| writer.bytes(input.take(len)?)),
        Marker::Bin16 => input.len(2).and_then(|len| writer.bytes(input.take(len)?)),
        Marker::Bin32 => input.len(4).and_then(|len| writer.bytes(input.take(len)?)),
        Marker::FixArray(len) => array(input, writer, usize::from(len)),
        Marker::Array16 => input.len(2).and_then(|len| array(input, writer, len)),
        Marker::Array32 => input.len(4).and_then(|len| array(input, writer, len)),
        Marker::FixMap(len) => map(input, writer, usize::from(len)),
        Marker::Map16 => input.len(2).and_then(|len| map(input, writer, len)),
        Marker::Map32 => input.len(4).and_then(|len| map(input, writer, len)),
        Marker::FixExt1 => extension(input, writer, 1),
        Marker::FixExt2 => extension(input, writer, 2),
        Marker::FixExt4 => extension(input, writer, 4),
        Marker::FixExt8 => extension(input, writer, 8),
        Marker::FixExt16 => extension(input, writer, 16),
        Marker::Ext8 => input.len(1).and_then(|len| extension(input, writer, len)),
        Marker::Ext16 => input.len(2).and_then(|len| extension(input, writer, len)),
        Marker::Ext32 => input.len(4).and_then(|len| extension(input, writer, len)),
        Marker::Reserved => Err(Reason::Syntax { at }),
    }
}

fn string(input: &mut MsgpackInput<'_>, writer: &mut Writer, len: usize) -> Result<(), Reason> {
    let at = input.at;
    let text = str::from_utf8(input.take(len)?);
    writer.string(text.map_err(|error| Reason::Syntax { at: at + error.valid_up_to() })?)
}

fn array(input: &mut MsgpackInput<'_>, writer: &mut Writer, len: usize) -> Result<(), Reason> {
    writer.enter("[")?;
    for place in 0..len {
        if place > 0 {
            writer.raw(",");
        }
        value(input, writer)?;
    }
    writer.leave("]");
    Ok(())
}

fn map(input: &mut MsgpackInput<'_>, writer: &mut Writer, len: usize) -> Result<(), Reason> {
    writer.enter("{")?;
    for place in 0..len {
        if place > 0 {
            writer.raw(",");
        }
        let mut key = writer.part();
        value(input, &mut key)?;
        writer.key(key);
        value(input, writer)?;
    }
    writer.leave("}");
    Ok(())
}

/// A time as text; others as their type and their bytes.
fn extension(input: &mut MsgpackInput<'_>, writer: &mut Writer, len: usize) -> Result<(), Reason> {
    let kind = i8::from_be_bytes(input.array()?);
    let data = input.take(len)?;
    if kind == TIME
        && let Some(time) = time(data)
    {
        return writer.string(&time.to_string());
    }
    writer.enter("{")?;
    writer.raw("\"ext\":");
    writer.scalar(&kind.to_string())?;
    writer.raw(",\"base64\":\"");
    writer.raw(&STANDARD.encode(data));
    writer.raw("\"");
    writer.leave("}");
    Ok(())
}

/// The time in one of its three forms: seconds; nanoseconds and seconds in 30 and 34 bits; both at full width.
fn time(data: &[u8]) -> Option<jiff::Timestamp> {
    let (seconds, nanoseconds) = if let Ok(bytes) = <[u8; 4]>::try_from(data) {
        (i64::from(u32::from_be_bytes(bytes)), 0)
    } else if let Ok(bytes) = <[u8; 8]>::try_from(data) {
        let both = u64::from_be_bytes(bytes);
        (i64::try_from(both & 0x3_ffff_ffff).ok()?, u32::try_from(both >> 34).ok()?)
    } else {
        let (nanoseconds, seconds) = data.split_first_chunk::<4>()?;
        let seconds = i64::from_be_bytes(seconds.try_into().ok()?);
        (seconds, u32::from_be_bytes(*nanoseconds))
    };
    let nanoseconds = i32::try_from(nanoseconds).ok().filter(|part| *part < 1_000_000_000)?;
    jiff::Timestamp::new(seconds, nanoseconds).ok()
}
