//! Whatever one fault does to flushed data: it is found, or it did no harm. It is never a shorter log.
// catalogue: N16; bugs: SL-13, SL-14

use crate::rig::{Chain, record, recovered, start};
use data::GroupId;
use data::record::Kind;
use storage::memory::Fault;
use storage::{Error, SimDisk};

/// A log of several batches in two segments, everything flushed; its records.
fn small_log(disk: &SimDisk, marked: bool) -> Vec<Vec<u8>> {
    let mut rig = start(disk, 1, 4096).expect("empty").rig;
    let mut chain = Chain::default();
    for len in [5, 300, 800, 1500, 0, 1100, 40, 3, 90] {
        rig.write(&chain.entry(1, len)).expect("no fault");
    }
    if marked {
        rig.mark(true).expect("no fault");
    }
    recovered(disk).expect("no fault").1
}

// bugs: SL-13
#[test]
fn no_flipped_byte_shortens_the_log() {
    for marked in [false, true] {
        let disk = SimDisk::new();
        let records = small_log(&disk, marked);
        assert_eq!(records.len(), 9);
        let (mut refused, mut harmless) = (0, 0);
        for path in disk.paths() {
            for offset in 0..disk.len_of(&path).expect("there") {
                for mask in [0x01, 0x80] {
                    assert!(disk.flip(&path, offset, mask));
                    match recovered(&disk) {
                        Ok((_, found)) => {
                            assert_eq!(found, records, "{path} byte {offset}");
                            harmless += 1;
                        }
                        Err(Error::Corrupt(found)) => {
                            assert_eq!(found.path, path);
                            assert!(offset < used_end(&disk, &path), "{path} byte {offset} holds nothing");
                            refused += 1;
                        }
                        Err(error) => panic!("{path} byte {offset}: {error}"),
                    }
                    disk.flip(&path, offset, mask);
                }
            }
        }
        // Every byte of every batch is refused, twice; what is free or stands in two places does no harm.
        assert!(refused >= 2 * records.iter().map(Vec::len).sum::<usize>(), "{refused} {harmless}");
        assert!(harmless > refused);
    }
}

/// Behind the last byte of a file that is not zero.
fn used_end(disk: &SimDisk, path: &str) -> u64 {
    let bytes = storage::disk::read_all(disk, path).expect("readable");
    // The flipped byte itself does not count.
    let mut used = (0..bytes.len()).rev().filter(|at| bytes[*at] != 0);
    let last = used.next().unwrap_or(0);
    match used.next() {
        Some(before) if last - before > 512 => before as u64 + 1,
        Some(_) => last as u64 + 1,
        None => 0,
    }
}

// bugs: SL-13
#[test]
fn a_start_proves_what_it_found() {
    let disk = SimDisk::new();
    small_log(&disk, false);
    start(&disk, 2, 4096).expect("whole");
    disk.crash(1);
    let segments = disk.paths();
    let path = &segments[segments.len() - 2];
    let last = (used_end(&disk, path) - 1) / 512 * 512;
    storage::Disk::open(&disk, path).expect("there").write_at(last, &[0; 512]).expect("writable");
    assert!(matches!(recovered(&disk), Err(Error::Corrupt(_))));
}

// bugs: SL-13
#[test]
fn a_byte_flipped_before_a_restart_is_found_after_it() {
    let disk = SimDisk::new();
    small_log(&disk, false);
    start(&disk, 2, 4096).expect("whole");
    let path = disk.paths()[0].clone();
    let data = (disk.len_of(&path).expect("there") - 4096) + 100;
    assert!(disk.flip(&path, data, 4));
    assert!(matches!(recovered(&disk), Err(Error::Corrupt(_))));
}

#[test]
fn erased_sectors_and_missing_segments_are_corruption_once_anything_later_was_written() {
    let disk = SimDisk::new();
    let records = small_log(&disk, true);
    for path in disk.paths() {
        let copy = disk.duplicate();
        let sectors = copy.len_of(&path).expect("there") / 512;
        for sector in 0..sectors {
            let file = storage::Disk::open(&copy, &path).expect("there");
            let mut old = [0; 512];
            file.read_at(sector * 512, &mut old).expect("readable");
            file.write_at(sector * 512, &[0; 512]).expect("writable");
            match recovered(&copy) {
                Ok((_, found)) => assert_eq!(found, records, "{path} sector {sector}"),
                Err(error) => assert!(matches!(error, Error::Corrupt(_)), "{error}"),
            }
            file.write_at(sector * 512, &old).expect("writable");
        }
    }
    let used: Vec<String> = disk.paths();
    assert!(used.len() >= 3);
    let copy = disk.duplicate();
    storage::Disk::remove(&copy, &used[1]).expect("there");
    assert!(matches!(recovered(&copy), Err(Error::Corrupt(_))), "the middle one of {used:?}");
}

#[test]
fn a_lost_and_a_misdirected_write_are_found_after_the_next_batch() {
    for fault in [Fault::LoseWrite, Fault::MisdirectWrite(1024), Fault::MisdirectWrite(512)] {
        let disk = SimDisk::new();
        let mut rig = start(&disk, 1, 16 << 10).expect("empty").rig;
        let mut chain = Chain::default();
        rig.write(&chain.entry(1, 100)).expect("no fault");
        disk.inject(0, fault);
        rig.write(&chain.entry(1, 100)).expect("the disk lies");
        rig.log.append(&chain.entry(1, 2000)).expect("usable");
        let job = rig.seal(true).expect("usable").expect("a job");
        job.perform(&rig.files).expect("no fault");
        rig.log.completed(job.batch);
        assert!(matches!(recovered(&disk), Err(Error::Corrupt(_))), "{fault:?}");
    }
}

// bugs: SL-14
#[test]
fn corruption_names_the_groups_it_hit_when_it_can() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, 16 << 10).expect("empty").rig;
    let (mut one, mut two) = (Chain::default(), Chain::default());
    rig.write(&[one.entry(1, 1000), two.entry(2, 10)].concat()).expect("no fault");
    rig.write(&one.entry(1, 10)).expect("no fault");
    let path = disk.paths()[0].clone();
    let data = disk.len_of(&path).expect("there") - (16 << 10);
    // A byte of the first record's payload, in a sector without any record's header.
    assert!(disk.flip(&path, data + 700, 1));
    let Err(Error::Corrupt(found)) = recovered(&disk) else { panic!("must be refused") };
    assert_eq!(found.groups, Some(vec![GroupId(1), GroupId(2)]));
    assert_eq!((found.offset - data) / 512, 1);
}

// bugs: SL-17
#[test]
fn an_entry_of_another_history_is_refused() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, 16 << 10).expect("empty").rig;
    let mut chain = Chain::default();
    rig.write(&chain.entry(1, 10)).expect("no fault");
    let (bytes, _) = record(Kind::Operations, 1, 0, 2, chain.hash ^ 1, b"forged");
    rig.write(&bytes).expect("no fault");
    assert!(matches!(recovered(&disk), Err(Error::Corrupt(c)) if c.groups == Some(vec![GroupId(1)])));
}

#[test]
fn another_clusters_directory_is_refused() {
    let disk = SimDisk::new();
    small_log(&disk, false);
    let other = storage::Owner { cluster: 0xc2, ..crate::rig::OWNER };
    let found =
        storage::recover(&crate::rig::shared(&disk), &storage::Options { owner: other }, &mut |_, _| {});
    assert!(matches!(found, Err(Error::Foreign { expected: 0xc2, found: 0xc1, .. })));
}
