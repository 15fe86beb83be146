//! The seeds of the fuzzer, and its short form.

use galgo_testkit::fuzz::Target;

use super::super::frame::{Opcode, unmask, write_header};
use super::*;

const MASK: [u8; 4] = [7, 77, 177, 9];

fn frame(out: &mut Vec<u8>, opcode: Opcode, last: bool, payload: &[u8]) {
    let at = out.len();
    write_header(out, opcode, last, payload.len() as u64);
    out[at + 1] |= 0x80;
    out.extend(MASK);
    let mut payload = payload.to_vec();
    unmask(&mut payload, MASK, 0);
    out.extend(payload);
}

#[test]
fn any_bytes_are_the_same_messages_however_they_are_cut() {
    let mut plain = vec![3, 5];
    frame(&mut plain, Opcode::Binary, true, b"one message");
    frame(&mut plain, Opcode::Close, true, &[3, 0xe8]);
    let mut mixed = vec![200, 200];
    frame(&mut mixed, Opcode::Binary, false, &[1; 200]);
    frame(&mut mixed, Opcode::Ping, true, b"still there?");
    frame(&mut mixed, Opcode::Continuation, true, &[2; 1_500]);
    frame(&mut mixed, Opcode::Text, true, b"not for us");
    frame(&mut mixed, Opcode::Pong, true, b"");
    frame(&mut mixed, Opcode::Binary, true, b"");
    frame(&mut mixed, Opcode::Binary, true, &[3; 70_000]);
    let seeds = vec![("one_message", plain), ("every_opcode", mixed)];
    Target { name: "websocket", entry: websocket, seeds }.hold();
}
