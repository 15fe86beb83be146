//! INV-EPOCH on frames that only a disk with two writers can hold.

use super::*;

#[test]
fn what_a_deposed_owner_wrote_behind_the_new_one_is_left_out_and_told() {
    let disk = SimDisk::new(3);
    let journal = open(&disk, 0).unwrap();
    let as_owner = |epoch: u64, payload: &[u8]| {
        journal.state.lock().owner = Epoch::new(epoch);
        put(&journal, payload, true).unwrap();
    };
    // No journal takes it; a disk that two processes write to might show it.
    for (epoch, payload) in [(0, b"a"), (4, b"b"), (7, b"c"), (5, b"d"), (0, b"e"), (7, b"f")] {
        as_owner(epoch, payload);
    }
    for journal in [journal, open(&disk, 0).unwrap()] {
        let mut seen = Vec::new();
        let report = journal.read(Lsn::new(1), &mut |frame| {
            seen.extend_from_slice(frame.payload);
            ControlFlow::Continue(())
        });
        assert_eq!(seen, b"abcef");
        assert_eq!(report.unwrap().deposed, [4..=4]);
        // The ones before the place where it is read from tell as well who owns it there.
        let report = journal.read(Lsn::new(4), &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!((report.deposed, report.frames, report.last), (vec![4..=4], 2, Lsn::new(6)));
    }
}
