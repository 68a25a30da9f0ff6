//! Who owns a directory, and which life this is.
// bugs: SL-02, SL-15

use crate::rig::start;
use data::{Incarnation, NodeId, Process};
use storage::identity::lock;
use storage::{Error, Identity, SimDisk};

fn founded(disk: &SimDisk) -> Identity {
    assert_eq!(Identity::load(disk), Ok(None));
    let mut identity = Identity::new(0xc1, NodeId(1), "a");
    identity.begin_run(disk, "boot 1", false).expect("no fault");
    identity
}

#[test]
fn the_process_number_grows_with_every_start_and_the_life_ends_with_an_unclean_reboot() {
    let disk = SimDisk::new();
    let first = founded(&disk);
    assert_eq!((first.process, first.incarnation), (Process(1), Incarnation(1)));
    for (boot, clean, flushed_only, expected) in [
        ("boot 1", false, false, 1),
        ("boot 2", false, true, 1),
        ("boot 3", true, false, 1),
        ("boot 4", false, false, 2),
        ("", false, false, 3),
        ("", false, false, 4),
    ] {
        let mut identity = Identity::load(&disk).expect("whole").expect("there");
        let process = identity.process;
        if clean {
            identity.end_run(&disk).expect("no fault");
        }
        identity.begin_run(&disk, boot, flushed_only).expect("no fault");
        assert_eq!(
            (identity.process, identity.incarnation),
            (process.next(), Incarnation(expected)),
            "{boot}"
        );
        assert!(!identity.clean);
    }
}

// bugs: SL-12
#[test]
fn a_failed_disk_ends_the_life_of_what_was_promised_unflushed() {
    let disk = SimDisk::new();
    let mut identity = founded(&disk);
    identity.note_disk_failure(&disk).expect("no fault");
    identity.begin_run(&disk, "boot 1", false).expect("no fault");
    assert_eq!(identity.incarnation, Incarnation(2));
}

#[test]
fn at_every_cut_the_identity_is_the_old_or_the_new_one() {
    for cut in 0..12 {
        for seed in 0..8 {
            let disk = SimDisk::new();
            let old = founded(&disk);
            disk.power_off_after(cut);
            let mut new = old.clone();
            let stored = new.begin_run(&disk, "boot 2", true);
            disk.crash(seed);
            let found = Identity::load(&disk).expect("whole").expect("there");
            assert!(found == old || found == new);
            assert!(stored.is_err() || found == new);
        }
    }
}

#[test]
fn damage_another_cluster_and_a_missing_identity_are_refused() {
    let disk = SimDisk::new();
    let identity = founded(&disk);
    assert!(matches!(identity.check_cluster(0xc2), Err(Error::Foreign { .. })));
    for offset in 0..disk.len_of("identity").expect("there") {
        disk.flip("identity", offset, 2);
        assert!(matches!(Identity::load(&disk), Err(Error::Corrupt(_))), "byte {offset}");
        disk.flip("identity", offset, 2);
    }
    start(&disk, 1, 4096).expect("empty");
    storage::Disk::remove(&disk, "identity").expect("there");
    assert!(matches!(Identity::load(&disk), Err(Error::Corrupt(_))), "a log without its identity");
}

#[test]
fn two_processes_never_share_a_directory() {
    let disk = SimDisk::new();
    let guard = lock(&disk).expect("free");
    assert!(matches!(lock(&disk), Err(Error::Locked { .. })));
    drop(guard);
    assert!(lock(&disk).is_ok());
}
