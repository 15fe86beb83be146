//! Any payload of any command: a request that encodes to itself, or a code.
#![no_main]

use galgo_wire::command::{CommandCode, Request, SendHeader, SendWithHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (which, mut payload) = input;
    let code = CommandCode::ALL[usize::from(which) % CommandCode::ALL.len()];
    if code == CommandCode::SendMessages {
        let _ = SendHeader::parse(&mut payload);
        return;
    }
    if code == CommandCode::SendWith {
        if let Ok(parts) = SendWithHeader::parse(&mut payload) {
            let _ = SendHeader::parse(parts.send);
        }
        return;
    }
    if let Ok(request) = Request::decode(code.as_u32(), &payload) {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        assert_eq!(Request::decode(code.as_u32(), &bytes), Ok(request));
    }
});
