//! Seals and opens again, and does not open what was changed.

use galgo_storage::disk::sim::SimDisk;
use galgo_wire::batch::{BatchBuilder, MessagesView, NewMessage, StampOptions, stamp};
use galgo_wire::id::{Offset, PartitionUid, Timestamp};

use super::record::{SealedKind, open, seal};
use super::*;
use crate::environment::ManualEnvironment;

const UID: PartitionUid = PartitionUid::new(5);

fn key(fill: u8) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode([fill; 32])
}

fn vault(keys: &str, active: Option<u32>, seed: u64) -> Vault {
    let keys = KeyRing::parse(keys, active).unwrap();
    let disk = SimDisk::new(1);
    disk.create_dir_all("/d".as_ref()).unwrap();
    let twin = Twin { path: "/d/encryption".into(), copy: "/d/copy/encryption".into() };
    Vault::open(&disk, twin, keys, &ManualEnvironment::new(1, seed)).unwrap().unwrap()
}

fn stamped() -> Vec<u8> {
    let mut batch = BatchBuilder::new();
    for (payload, user_headers) in [(&b"first"[..], &b"headers"[..]), (b"", b""), (b"third", b"")] {
        batch.push(&NewMessage { payload, user_headers, ..Default::default() }).unwrap();
    }
    let (indexes, messages) = batch.parts();
    let mut messages = messages.to_vec();
    let (first_offset, timestamp) = (Offset::new(9), Timestamp::new(3));
    let options = StampOptions { first_offset, timestamp, new_id: &mut |_| 7 };
    stamp(indexes, &mut messages, 3, options).unwrap();
    messages
}

fn sealed(vault: &Vault) -> Vec<u8> {
    vault.seal_messages(UID, &stamped(), 3).unwrap().unwrap()
}

#[test]
fn what_was_sealed_comes_back_as_it_was() {
    let vault = vault(&format!("1:{}", key(1)), Some(1), 1);
    let sealed = sealed(&vault);
    assert!(!sealed.windows(5).any(|part| part == b"first" || part == b"heade"));
    assert!(MessagesView::new(&sealed).flatten().all(|message| message.verify()));
    let first = Offset::new(9);
    assert_eq!(vault.open_messages(UID, sealed.clone(), first).unwrap(), stamped());
    let mixed = [stamped(), sealed].concat();
    let expected = [stamped(), stamped()].concat();
    assert_eq!(vault.open_messages(UID, mixed, first).unwrap(), expected);
    assert_eq!(vault.open_messages(UID, stamped(), first).unwrap(), stamped());
}

#[test]
fn nothing_that_was_changed_or_moved_opens() {
    let vault = vault(&format!("1:{}", key(1)), Some(1), 1);
    let sealed = sealed(&vault);
    let first = Offset::new(9);
    for at in 8..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        // The checksums, at the front of each message, are storage's to look after.
        let in_checksum = (104..112).contains(&at) || (196..204).contains(&at);
        if let (false, Ok(opened)) = (in_checksum, vault.open_messages(UID, changed, first)) {
            assert_ne!(opened, stamped(), "byte {at}");
        }
    }
    let elsewhere = vault.open_messages(PartitionUid::new(6), sealed, first);
    assert_eq!(elsewhere, Err(Unopened::Damaged(first)));
}

#[test]
fn a_key_that_is_missing_or_another_does_not_open() {
    let one = vault(&format!("1:{}", key(1)), Some(1), 1);
    let other = vault(&format!("1:{}", key(2)), Some(1), 1);
    let missing = vault(&format!("2:{}", key(1)), Some(2), 1);
    let first = Offset::new(9);
    assert_eq!(other.open_messages(UID, sealed(&one), first), Err(Unopened::Damaged(first)));
    assert_eq!(missing.open_messages(UID, sealed(&one), first), Err(Unopened::NoKey));
    let record = seal(Some(&one), SealedKind::Record, b"name".to_vec()).unwrap();
    assert_eq!(open(Some(&one), SealedKind::Record, &record).unwrap(), b"name");
    assert!(matches!(
        open(Some(&one), SealedKind::Snapshot, &record),
        Err(VaultError::Wrong { id: 1 })
    ));
    assert!(matches!(
        open(Some(&other), SealedKind::Record, &record),
        Err(VaultError::Wrong { id: 1 })
    ));
    assert!(matches!(open(None, SealedKind::Record, &record), Err(VaultError::Missing { id: 1 })));
}

/// INV-NONCE.
#[test]
fn the_same_messages_are_never_sealed_the_same_way() {
    let vault = vault(&format!("1:{}", key(1)), Some(1), 1);
    let nonces = |sealed: &[u8]| -> Vec<Vec<u8>> {
        MessagesView::new(sealed).flatten().map(|m| m.payload[..NONCE_LEN].to_vec()).collect()
    };
    let mut all: Vec<_> = (0..100).flat_map(|_| nonces(&sealed(&vault))).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 300);
}
