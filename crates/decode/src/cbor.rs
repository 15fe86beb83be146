//! CBOR as JSON.

use ciborium_ll::{Decoder, Error, Header};

use crate::writer::Writer;
use crate::{Limits, Reason};

/// Tags (RFC 8949, 3.4) that say how the bytes inside are meant: whole numbers without a limit.
const BIG_POSITIVE: u64 = 2;
const BIG_NEGATIVE: u64 = 3;
/// Seconds since the Unix epoch.
const EPOCH: u64 = 1;
/// The tag in front of a whole document, which only says that it is CBOR.
const SELF_DESCRIBED: u64 = 55_799;

/// The longest whole number that is written with its digits, in bytes; longer ones are base64.
const BIG_BYTES_MAX: usize = 1_024;

/// The JSON of a payload. A guess is made of lists and maps only.
pub(crate) fn text(
    payload: &[u8],
    guesses: bool,
    limits: &Limits,
) -> Result<(String, bool), Reason> {
    if payload.is_empty() {
        return Err(Reason::Empty);
    }
    let mut rest = payload;
    let mut input = CborInput { decoder: Decoder::from(&mut rest), len: payload.len() };
    let mut first = input.pull()?;
    if first == Header::Tag(SELF_DESCRIBED) {
        first = input.pull()?;
    } else if guesses && !matches!(first, Header::Array(_) | Header::Map(_)) {
        return Err(Reason::Scalar);
    }
    let mut writer = Writer::new(limits);
    value(&mut input, &mut writer, first)?;
    match rest.len() {
        0 => Ok(writer.finish()),
        left => Err(Reason::LeftOver { left }),
    }
}

/// What is read.
struct CborInput<'r, 'a> {
    decoder: Decoder<&'r mut &'a [u8]>,
    len: usize,
}

impl CborInput<'_, '_> {
    fn fault<E>(&mut self, error: Error<E>) -> Reason {
        let at = match error {
            Error::Io(_) => self.decoder.offset(),
            Error::Syntax(at) => at,
        };
        Reason::Syntax { at: at.min(self.len) }
    }

    fn pull(&mut self) -> Result<Header, Reason> {
        self.decoder.pull().map_err(|error| self.fault(error))
    }

    /// All bytes of a value that may come in pieces.
    fn bytes(&mut self, len: Option<usize>) -> Result<Vec<u8>, Reason> {
        let mut all = Vec::new();
        let mut buffer = [0; 4_096];
        let mut segments = self.decoder.bytes(len);
        loop {
            let segment = match segments.pull() {
                Ok(segment) => segment,
                Err(error) => return Err(self.fault(error)),
            };
            let Some(mut segment) = segment else { return Ok(all) };
            loop {
                match segment.pull(&mut buffer) {
                    Ok(Some(piece)) => all.extend_from_slice(piece),
                    Ok(None) => break,
                    Err(error) => return Err(self.fault(error)),
                }
            }
        }
    }

    /// All of a text that may come in pieces.
    fn text(&mut self, len: Option<usize>) -> Result<String, Reason> {
        let mut all = String::new();
        let mut buffer = [0; 4_096];
        let mut segments = self.decoder.text(len);
        loop {
            let segment = match segments.pull() {
                Ok(segment) => segment,
                Err(error) => return Err(self.fault(error)),
            };
            let Some(mut segment) = segment else { return Ok(all) };
            loop {
                match segment.pull(&mut buffer) {
                    Ok(Some(piece)) => all.push_str(piece),
                    Ok(None) => break,
                    Err(error) => return Err(self.fault(error)),
                }
            }
        }
    }
}

fn value(input: &mut CborInput<'_, '_>, writer: &mut Writer, header: Header) -> Result<(), Reason> {
    match header {
        Header::Positive(number) => writer.scalar(&number.to_string()),
        // By the format -1 - n, which needs one bit more than 64.
        Header::Negative(number) => writer.scalar(&(-1 - i128::from(number)).to_string()),
        Header::Float(number) => writer.float(&format!("{number:?}")),
        Header::Simple(ciborium_ll::simple::TRUE) => writer.scalar("true"),
        Header::Simple(ciborium_ll::simple::FALSE) => writer.scalar("false"),
        Header::Simple(ciborium_ll::simple::NULL | ciborium_ll::simple::UNDEFINED) => {
            writer.scalar("null")
        }
        Header::Simple(other) => writer.string(&format!("simple({other})")),
        Header::Tag(tag) => tagged(input, writer, tag),
        Header::Bytes(len) => {
            let bytes = input.bytes(len)?;
            writer.bytes(&bytes)
        }
        Header::Text(len) => {
            let text = input.text(len)?;
            writer.string(&text)
        }
        Header::Array(len) => array(input, writer, len),
        Header::Map(len) => map(input, writer, len),
        Header::Break => Err(Reason::Syntax { at: input.decoder.offset().saturating_sub(1) }),
    }
}

/// The header of the next of `len` values, or of the next before a break; none behind the last.
fn next(
    input: &mut CborInput<'_, '_>,
    len: Option<usize>,
    place: usize,
) -> Result<Option<Header>, Reason> {
    if len == Some(place) {
        return Ok(None);
    }
    match input.pull()? {
        Header::Break if len.is_none() => Ok(None),
        header => Ok(Some(header)),
    }
}

fn array(
    input: &mut CborInput<'_, '_>,
    writer: &mut Writer,
    len: Option<usize>,
) -> Result<(), Reason> {
    writer.enter("[")?;
    let mut place = 0;
    while let Some(header) = next(input, len, place)? {
        if place > 0 {
            writer.raw(",");
        }
        value(input, writer, header)?;
        place += 1;
    }
    writer.leave("]");
    Ok(())
}

fn map(
    input: &mut CborInput<'_, '_>,
    writer: &mut Writer,
    len: Option<usize>,
) -> Result<(), Reason> {
    writer.enter("{")?;
    let mut place = 0;
    while let Some(header) = next(input, len, place)? {
        if place > 0 {
            writer.raw(",");
        }
        let mut key = writer.part();
        value(input, &mut key, header)?;
        writer.key(key);
        let header = input.pull()?;
        value(input, writer, header)?;
        place += 1;
    }
    writer.leave("}");
    Ok(())
}

/// What is behind a tag. Those that say more than the value does are heeded; the rest is the value.
fn tagged(input: &mut CborInput<'_, '_>, writer: &mut Writer, tag: u64) -> Result<(), Reason> {
    let header = input.pull()?;
    match (tag, header) {
        (BIG_POSITIVE | BIG_NEGATIVE, Header::Bytes(len)) => {
            let bytes = input.bytes(len)?;
            if bytes.len() > BIG_BYTES_MAX {
                return writer.bytes(&bytes);
            }
            writer.scalar(&digits(&bytes, tag == BIG_NEGATIVE))
        }
        (EPOCH, Header::Positive(seconds)) => {
            let time = i64::try_from(seconds).ok();
            match time.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()) {
                Some(time) => writer.string(&time.to_string()),
                None => writer.scalar(&seconds.to_string()),
            }
        }
        // A tag in a tag lies as deep as a list in a list: what goes on for ever must not be followed for ever.
        (_, header @ Header::Tag(_)) => {
            writer.enter("")?;
            value(input, writer, header)?;
            writer.leave("");
            Ok(())
        }
        (_, header) => value(input, writer, header),
    }
}

/// The decimal digits of a whole number; of a negative one what stands in the bytes is -1 - n.
fn digits(big_endian: &[u8], is_negative: bool) -> String {
    const BASE: u64 = 1_000_000_000;
    // In limbs of nine digits, the lowest first.
    let mut limbs: Vec<u64> = vec![0];
    for byte in big_endian {
        let mut carry = u64::from(*byte);
        for limb in &mut limbs {
            let sum = *limb * 256 + carry;
            (*limb, carry) = (sum % BASE, sum / BASE);
        }
        if carry > 0 {
            limbs.push(carry);
        }
    }
    if is_negative {
        let mut carry = 1;
        for limb in &mut limbs {
            let sum = *limb + carry;
            (*limb, carry) = (sum % BASE, sum / BASE);
        }
        if carry > 0 {
            limbs.push(carry);
        }
    }
    let mut rest = limbs.iter().rev();
    let sign = if is_negative { "-" } else { "" };
    let Some(first) = rest.next() else {
        unreachable!("a number has a limb");
    };
    let rest: String = rest.map(|limb| format!("{limb:09}")).collect();
    format!("{sign}{first}{rest}")
}
