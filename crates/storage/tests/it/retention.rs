//! Segments go when nobody needs them, and what must outlive them does.
// catalogue: E1; bugs: SL-16

use crate::rig::{Chain, Rig, record, recovered, start};
use data::record::Kind;
use data::{Epoch, GroupId, Index, KeyspaceId, Position};
use storage::index::write_snapshot_record;
use storage::{Mark, SimDisk};

const SEGMENT: u64 = 8 << 10;

fn fill(rig: &mut Rig, chain: &mut Chain, group: u32, entries: usize) {
    for _ in 0..entries {
        rig.write(&chain.entry(group, 700)).expect("no fault");
    }
}

#[test]
fn fence_view_and_snapshot_outlive_their_segment() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let mut chain = Chain::default();
    let (fence, _) = record(Kind::Fence, 1, 9, 0, 0, &[]);
    let (lower, _) = record(Kind::Fence, 1, 3, 0, 0, &[]);
    let (view, _) = record(Kind::View, 1, 9, 0, 0, b"the view");
    let (newer, _) = record(Kind::View, 1, 9, 0, 0, b"a newer view");
    rig.write(&[fence, lower, view, newer].concat()).expect("no fault");
    fill(&mut rig, &mut chain, 1, 40);
    let mark = Mark { position: Position::new(0, 40), hash: chain.hash };
    let mut snapshot = Vec::new();
    write_snapshot_record(&mut snapshot, KeyspaceId(0), GroupId(1), mark, 0);
    rig.write(&snapshot).expect("no fault");
    rig.log.release(GroupId(1), Index(40));
    // Until what must outlive it is durable elsewhere, the segment stays.
    assert!(rig.log.reclaim().is_empty() && rig.log.reclaim().is_empty());
    let carried = rig.seal(true).expect("usable").expect("the records to keep");
    assert!(rig.log.reclaim().is_empty());
    carried.perform(&rig.files).expect("no fault");
    assert!(rig.log.reclaim().is_empty());
    rig.log.completed(carried.batch);
    assert!(rig.reclaim() >= 3);
    fill(&mut rig, &mut chain, 1, 2);
    disk.crash(5);
    let restarted = start(&disk, 2, SEGMENT).expect("whole");
    let group = &restarted.groups[&GroupId(1)];
    assert_eq!(group.fence, Epoch(9));
    assert_eq!(group.view.as_deref(), Some(&b"a newer view"[..]));
    assert_eq!(group.base, Some(mark));
    assert_eq!(group.last.map(|m| (m.position.index, m.hash)), Some((Index(42), chain.hash)));
    assert_eq!(group.hole(), None);
    assert_eq!(restarted.rig.read(1, 41).map(|e| e.len()), Some(2));
}

#[test]
fn an_idle_group_that_holds_the_oldest_segment_is_named() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let (mut idle, mut busy) = (Chain::default(), Chain::default());
    fill(&mut rig, &mut idle, 7, 1);
    fill(&mut rig, &mut busy, 8, 60);
    rig.log.release(GroupId(8), Index(60));
    assert_eq!(rig.reclaim(), 0);
    let blockers = rig.log.blockers();
    assert_eq!(blockers.groups, [(GroupId(7), Index(1))]);
    assert!(blockers.behind_bytes > 60 * 700);
    rig.log.release(GroupId(7), Index(1));
    assert!(rig.reclaim() >= 4);
    assert!(rig.log.blockers().groups.is_empty());
}

/// Of the entries before a snapshot some may be gone with their segment, and what came before those is of an older epoch: that
/// says nothing against the entries behind it.
#[test]
fn entries_behind_an_own_snapshot_outlive_those_before_it() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let mut chain = Chain { index: 40, hash: 7, epoch: 3 };
    let snapshot = |rig: &mut Rig, chain: &Chain| {
        let mark = Mark { position: Position::new(chain.epoch, chain.index), hash: chain.hash };
        let mut record = Vec::new();
        write_snapshot_record(&mut record, KeyspaceId(0), GroupId(1), mark, 0);
        rig.write(&record).expect("no fault");
    };
    snapshot(&mut rig, &chain);
    chain.epoch = 5;
    fill(&mut rig, &mut chain, 1, 20);
    let taken = chain;
    fill(&mut rig, &mut chain, 1, 2);
    rig.log.release(GroupId(1), Index(taken.index));
    assert!(rig.reclaim() > 0);
    snapshot(&mut rig, &taken);
    let restarted = start(&disk, 2, SEGMENT).expect("whole");
    let last = restarted.groups[&GroupId(1)].last.map(|mark| (mark.position.index, mark.hash));
    assert_eq!(last, Some((Index(62), chain.hash)));
    assert_eq!(restarted.rig.read(1, 61).map(|entries| entries.len()), Some(2));
}

/// A copy without entries behind its snapshot took another node's snapshot of the same index, but of another history, and what
/// came behind that was taken for damage at the next start.
#[test]
fn a_snapshot_of_the_same_index_and_another_epoch_begins_anew() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let mut chain = Chain::default();
    for epoch in [3, 5] {
        let mark = Mark { position: Position::new(epoch, 40), hash: epoch * 1000 };
        let mut snapshot = Vec::new();
        write_snapshot_record(&mut snapshot, KeyspaceId(0), GroupId(1), mark, 0);
        rig.write(&snapshot).expect("no fault");
        chain = Chain { index: 40, hash: mark.hash, epoch };
    }
    fill(&mut rig, &mut chain, 1, 2);
    assert_eq!(rig.read(1, 41).map(|entries| entries.len()), Some(2));
    let restarted = start(&disk, 2, SEGMENT).expect("whole");
    let group = &restarted.groups[&GroupId(1)];
    assert_eq!(group.base.map(|base| base.position), Some(Position::new(5, 40)));
    assert_eq!(group.last.map(|m| (m.position.index, m.hash)), Some((Index(42), chain.hash)));
}

/// A copy that was rebuilt from a snapshot further back had released more of its former history than that.
// bugs: SL-16
#[test]
fn what_was_released_of_another_history_says_nothing_of_this_one() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let mut chain = Chain { epoch: 3, ..Chain::default() };
    fill(&mut rig, &mut chain, 1, 40);
    rig.log.release(GroupId(1), Index(40));
    let mark = Mark { position: Position::new(5, 20), hash: 77 };
    let mut snapshot = Vec::new();
    write_snapshot_record(&mut snapshot, KeyspaceId(0), GroupId(1), mark, 0);
    rig.write(&snapshot).expect("no fault");
    chain = Chain { index: 20, hash: mark.hash, epoch: 5 };
    fill(&mut rig, &mut chain, 1, 40);
    rig.reclaim();
    assert_eq!(rig.read(1, 21).map(|entries| entries.len()), Some(40));
    let restarted = start(&disk, 2, SEGMENT).expect("whole");
    assert_eq!(restarted.groups[&GroupId(1)].hole(), None);
}

// bugs: SL-16
#[test]
fn a_joiners_pin_keeps_what_it_still_has_to_read() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let mut chain = Chain::default();
    fill(&mut rig, &mut chain, 1, 60);
    let pin = rig.log.pin(GroupId(1), Index(21)).expect("still there");
    rig.log.release(GroupId(1), Index(60));
    rig.reclaim();
    assert_eq!(rig.read(1, 21).map(|entries| entries.len()), Some(40));
    assert!(rig.read(1, 2).is_none(), "what was before the pin is gone");
    assert_eq!(rig.log.blockers().groups.len(), 1, "the pin keeps it");
    assert!(rig.log.pin(GroupId(1), Index(1)).is_none());
    rig.log.move_pin(pin, Index(50));
    assert!(rig.reclaim() > 0);
    assert_eq!(rig.read(1, 50).map(|entries| entries.len()), Some(11));
    rig.log.unpin(pin);
    assert!(rig.reclaim() > 0);
}

#[test]
fn a_dropped_group_holds_nothing() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let mut chain = Chain::default();
    fill(&mut rig, &mut chain, 1, 30);
    assert_eq!(rig.reclaim(), 0);
    rig.log.drop_group(GroupId(1));
    assert!(rig.reclaim() >= 2);
}

#[test]
fn a_record_larger_than_a_segment_gets_one_of_its_own() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let mut chain = Chain::default();
    rig.prepare().expect("no fault");
    for len in [10, 100_000, 10] {
        rig.write(&chain.entry(1, len)).expect("no fault");
    }
    assert_eq!(rig.read(1, 1).map(|entries| entries.len()), Some(3));
    for path in rig.log.reclaim() {
        rig.files.remove(&path).expect("the spare that was too small");
    }
    assert_eq!(recovered(&disk).expect("whole").1.len(), 3);
}

/// Two streams in one run, then one stream only: the group's records come in the order of the runs.
#[test]
fn recovery_reads_all_streams_present() {
    use crate::rig::{OWNER, shared};
    use storage::{Files, Log, LogConfig, Options, recover};
    let disk = SimDisk::new();
    let mut chain = Chain::default();
    for (process, stream) in [(1, 1), (2, 0), (3, 1)] {
        let mut found = recover(&shared(&disk), &Options { owner: OWNER }, &mut |_, _| {}).expect("whole");
        let files = Files::new(shared(&disk));
        let config = LogConfig { owner: OWNER, process, segment_bytes: SEGMENT };
        let log = Log::open(&files, config, found.take_stream(stream)).expect("no fault");
        let mut rig = Rig { disk: disk.clone(), files, log, process };
        if process == 3 {
            // Cuts what an earlier run wrote to another stream.
            let (truncate, _) = record(Kind::Truncate, 1, 0, 5, 0, &[]);
            rig.write(&truncate).expect("no fault");
            continue;
        }
        fill(&mut rig, &mut chain, 1, 4);
    }
    let (found, records) = recovered(&disk).expect("whole");
    assert_eq!(records.len(), 9);
    let last = found.groups[&GroupId(1)].last.expect("entries");
    let fifth = data::record::Record::parse(&records[4]).expect("whole");
    assert_eq!((last.position.index, last.hash), (Index(5), fifth.hash));
    assert_eq!(found.streams.len(), 2);
}
