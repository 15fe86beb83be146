//! Any bytes: permissions that encode to themselves, or a code.
#![no_main]

use galgo_wire::permission::{Action, Scope};
use galgo_wire::{Payload, Permissions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(permissions) = Permissions::from_bytes(bytes) {
        assert_eq!(Permissions::from_bytes(&permissions.to_bytes()).as_ref(), Ok(&permissions));
        for action in Action::ALL {
            let _ = permissions.allows(action, Scope::Server);
        }
    }
});
