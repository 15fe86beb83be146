//! Any payload of any command: a request that encodes to itself, or a code.
#![no_main]

use galgo_wire::command::{CommandCode, Request, SendHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (which, mut payload) = input;
    let code = CommandCode::ALL[usize::from(which) % CommandCode::ALL.len()];
    if code == CommandCode::SendMessages {
        let _ = SendHeader::parse(&mut payload);
        return;
    }
    if let Ok(request) = Request::decode(code.as_u32(), &payload) {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        assert_eq!(Request::decode(code.as_u32(), &bytes), Ok(request));
    }
});
