//! Snapshots are there or not, never half; a transfer goes on where it stopped.
// catalogue: E1, L12; bugs: SL-16, X-05, X-08

use crate::rig::shared;
use data::{GroupId, KeyspaceId, Position};
use std::collections::BTreeMap;
use storage::memory::Fault;
use storage::snapshot::clean_up;
use storage::{Disk, Error, Mark, SimDisk, SnapshotHeader, SnapshotReader, SnapshotReceiver, SnapshotWriter};

fn header(index: u64) -> SnapshotHeader {
    SnapshotHeader {
        group: GroupId(4),
        keyspace: KeyspaceId(2),
        mark: Mark { position: Position::new(3, index), hash: 99 + index },
        time_ms: 1234,
        epochs: vec![1, 2, 3],
    }
}

fn write(disk: &SimDisk, index: u64, chunks: &[&[u8]]) -> Result<u64, Error> {
    let mut writer = SnapshotWriter::create(shared(disk), header(index))?;
    for chunk in chunks {
        writer.chunk(chunk)?;
    }
    writer.finish()
}

fn payload(disk: &SimDisk, position: Position) -> Result<Vec<u8>, Error> {
    let reader = SnapshotReader::open(disk, GroupId(4), position)?;
    reader.verify()?;
    let mut bytes = Vec::new();
    reader.payload(&mut |piece| bytes.extend_from_slice(piece))?;
    Ok(bytes)
}

const CHUNKS: [&[u8]; 3] = [b"some keys", &[7; 3000], b"the rest"];

// bugs: SL-16
#[test]
fn at_every_cut_the_old_or_the_new_snapshot_is_whole() {
    let disk = SimDisk::new();
    write(&disk, 10, &CHUNKS).expect("no fault");
    let before = disk.operations();
    write(&disk, 20, &CHUNKS).expect("no fault");
    for cut in 0..=disk.operations() - before {
        for seed in 0..8 {
            let disk = SimDisk::new();
            write(&disk, 10, &[b"old"]).expect("no fault");
            disk.power_off_after(cut);
            let acknowledged = write(&disk, 20, &CHUNKS).is_ok();
            disk.crash(seed);
            let newest = clean_up(&disk).expect("no fault")[&GroupId(4)];
            let expected = if newest == header(20).mark.position { CHUNKS.concat() } else { b"old".to_vec() };
            assert_eq!(payload(&disk, newest), Ok(expected));
            assert!(!acknowledged || newest == header(20).mark.position);
            assert_eq!(disk.list("snapshots").expect("listed").len(), 1, "nothing unfinished stays");
        }
    }
}

#[test]
fn every_flipped_byte_of_a_snapshot_is_found() {
    let disk = SimDisk::new();
    let len = write(&disk, 10, &CHUNKS).expect("no fault");
    let path = disk.paths()[0].clone();
    assert_eq!(disk.len_of(&path), Some(len));
    for offset in 0..len {
        assert!(disk.flip(&path, offset, 0x40));
        let found = payload(&disk, header(10).mark.position);
        assert!(matches!(found, Err(Error::Corrupt(_))), "byte {offset}: {found:?}");
        disk.flip(&path, offset, 0x40);
    }
    assert!(payload(&disk, header(10).mark.position).is_ok());
}

#[test]
fn a_failure_while_writing_leaves_the_old_one() {
    for (passes, fault) in [(0, Fault::FailWrite), (2, Fault::FailWrite), (0, Fault::FailFlush)] {
        let disk = SimDisk::new();
        write(&disk, 10, &[b"old"]).expect("no fault");
        disk.inject(passes, fault);
        write(&disk, 20, &CHUNKS).expect_err("injected");
        assert_eq!(payload(&disk, header(10).mark.position), Ok(b"old".to_vec()));
    }
    let disk = SimDisk::new();
    write(&disk, 10, &[b"old"]).expect("no fault");
    disk.limit(Some(1000));
    assert!(write(&disk, 20, &CHUNKS).expect_err("full").is_full());
    assert_eq!(clean_up(&disk).expect("no fault")[&GroupId(4)], header(10).mark.position);
}

#[test]
fn a_transfer_resumes_after_both_sides_restarted() {
    let (from, to) = (SimDisk::new(), SimDisk::new());
    let len = write(&from, 10, &CHUNKS).expect("no fault");
    let mark = header(10).mark;
    let send = |receiver: &mut SnapshotReceiver, pieces: usize| {
        let reader = SnapshotReader::open(&from, GroupId(4), mark.position).expect("there");
        assert_eq!(reader.len(), len);
        for _ in 0..pieces {
            let bytes = reader.read(receiver.received(), 500).expect("readable");
            receiver.write(receiver.received(), &bytes).expect("no fault");
        }
    };
    let mut receiver = SnapshotReceiver::open(shared(&to), GroupId(4), mark, len).expect("no fault");
    send(&mut receiver, 3);
    // A piece that comes twice, out of order, or too long changes nothing.
    assert_eq!(receiver.write(0, &[1; 10]), Ok(1500));
    assert_eq!(receiver.write(1500, &vec![1; len as usize]), Ok(1500));
    drop(receiver);
    to.kill();
    let mut receiver = SnapshotReceiver::open(shared(&to), GroupId(4), mark, len).expect("no fault");
    assert_eq!(receiver.received(), 1500);
    send(&mut receiver, 10);
    assert!(receiver.is_complete());
    let received = receiver.finish().expect("whole");
    assert_eq!(received.reader().header(), &header(10));
    assert_eq!(clean_up(&to).expect("no fault"), BTreeMap::new(), "nobody has accepted it yet");
    received.place().expect("no fault");
    to.crash(1);
    assert_eq!(payload(&to, mark.position), Ok(CHUNKS.concat()));
}

#[test]
fn a_damaged_transfer_is_thrown_away_and_begins_again() {
    let (from, to) = (SimDisk::new(), SimDisk::new());
    let len = write(&from, 10, &CHUNKS).expect("no fault");
    let mark = header(10).mark;
    let mut receiver = SnapshotReceiver::open(shared(&to), GroupId(4), mark, len).expect("no fault");
    receiver.write(0, &vec![3; len as usize]).expect("no fault");
    assert!(matches!(receiver.finish(), Err(Error::Corrupt(_))));
    let receiver = SnapshotReceiver::open(shared(&to), GroupId(4), mark, len).expect("no fault");
    assert_eq!(receiver.received(), 0);
    assert!(clean_up(&to).expect("no fault").is_empty());
}

#[test]
fn a_reader_keeps_the_old_one_while_a_newer_takes_its_place() {
    let disk = SimDisk::new();
    write(&disk, 10, &[b"old"]).expect("no fault");
    let reader = SnapshotReader::open(&disk, GroupId(4), header(10).mark.position).expect("there");
    write(&disk, 20, &[b"new"]).expect("no fault");
    assert_eq!(reader.verify(), Ok(()));
    let gone = SnapshotReader::open(&disk, GroupId(4), header(10).mark.position);
    assert!(matches!(gone, Err(Error::Missing { .. })));
}
