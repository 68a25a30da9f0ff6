//! Items of the ledger are durable before the record that cuts their entries, and outlive segments and groups until they are let go.
// bugs: TC-10

use crate::rig::{Chain, Rig, record, start};
use bytes::Bytes;
use data::ledger::{Item, ItemId, Mark, Note};
use data::record::{Kind, Record};
use data::{Epoch, GroupId, Index, KeyspaceId, Position, RequestId};
use std::collections::BTreeMap;
use storage::SimDisk;

const SEGMENT: u64 = 8 << 10;

fn item(index: u64, payload_len: usize) -> Item {
    Item {
        id: ItemId { group: GroupId(1), position: Position::new(0, index) },
        keyspace: KeyspaceId(0),
        mark: Mark::Perhaps,
        through: Index(index),
        lost_to: Epoch(1),
        copy: None,
        time_ms: index as i64,
        request: RequestId::NONE,
        payload: Some(Bytes::from(vec![index as u8 | 1; payload_len])),
    }
}

fn written(items: &[Item]) -> Vec<u8> {
    let mut bytes = Vec::new();
    items.iter().for_each(|item| item.write_record(&mut bytes));
    bytes
}

/// The ledger that the records of a log add up to.
fn ledger(records: &[Vec<u8>]) -> BTreeMap<ItemId, Item> {
    let mut items = BTreeMap::new();
    for bytes in records {
        let record = Record::parse(bytes).expect("whole");
        if record.header.kind == Kind::Ledger {
            match Note::parse(&record).expect("own encoding") {
                Note::Item(item) => drop(items.insert(item.id, item)),
                Note::Gone(id) => drop(items.remove(&id)),
            }
        }
    }
    items
}

fn fill(rig: &mut Rig, chain: &mut Chain, entries: usize) {
    for _ in 0..entries {
        rig.write(&chain.entry(2, 700)).expect("no fault");
    }
}

#[test]
fn items_outlive_their_segment_and_their_group_until_they_are_let_go() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let (mut first, mut second) = (Chain::default(), Chain::default());
    rig.write(&first.entry(1, 100)).expect("no fault");
    let (kept, gone) = (item(5, 300), item(6, 20));
    rig.write(&written(&[kept.clone(), gone.clone()])).expect("no fault");
    fill(&mut rig, &mut second, 30);
    let mut bytes = Vec::new();
    gone.id.write_gone(KeyspaceId(0), &mut bytes);
    rig.write(&bytes).expect("no fault");
    rig.log.drop_group(GroupId(1));
    rig.log.release(GroupId(2), Index(30));
    assert!(rig.reclaim() >= 2, "the ledger keeps no segment");
    fill(&mut rig, &mut second, 30);
    rig.log.release(GroupId(2), Index(60));
    assert!(rig.reclaim() >= 2, "nor for ever");
    disk.crash(3);
    let restarted = start(&disk, 2, SEGMENT).expect("whole");
    assert_eq!(ledger(&restarted.records), BTreeMap::from([(kept.id, kept.clone())]));
    // What a restart found is carried on as well.
    let mut rig = restarted.rig;
    fill(&mut rig, &mut second, 40);
    rig.log.release(GroupId(2), Index(100));
    assert!(rig.reclaim() >= 2);
    disk.crash(4);
    let restarted = start(&disk, 3, SEGMENT).expect("whole");
    assert_eq!(ledger(&restarted.records), BTreeMap::from([(kept.id, kept)]));
}

/// Entries, their ledger, the cut behind it: the power goes at every single write of it.
#[test]
fn a_power_cut_never_leaves_a_cut_without_its_ledger() {
    for operations in 0..60 {
        for seed in 0..8 {
            let disk = SimDisk::new();
            let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
            let mut chain = Chain::default();
            let entries: Vec<u8> = (0..4).flat_map(|_| chain.entry(1, 900)).collect();
            rig.write(&entries).expect("no fault");
            disk.power_off_after(operations);
            let items = [item(3, 900), item(4, 900)];
            let (cut, _) = record(Kind::Truncate, 1, 1, 2, 0, &[]);
            let kept = rig.write(&written(&items)).is_ok();
            let cut = kept && rig.write(&cut).is_ok();
            disk.crash(seed);
            let restarted = start(&disk, 2, SEGMENT).expect("a torn ledger is no damage");
            let found = ledger(&restarted.records);
            let last = restarted.groups[&GroupId(1)].last.expect("entries").position.index;
            let what = format!("{operations} operations, seed {seed}");
            assert!(last == Index(4) || found.len() == 2, "{what}: cut to {last} with {found:?}");
            assert!(!kept || found.len() == 2, "{what}: durable, and gone");
            assert!(!cut || last == Index(2), "{what}: the cut is gone");
            // The ledger says nothing of what is committed or where the log ends.
            assert!(last == Index(4) || last == Index(2), "{what}: {last}");
        }
    }
}
