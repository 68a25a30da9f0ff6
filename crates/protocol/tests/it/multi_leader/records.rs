//! What lies in a site's log, and what stands for it in a snapshot, is read back as it was; what is cut or damaged is refused or
//! read as something that a writer could have made, and nothing panics.
// catalogue: I3

use super::sites::blob;
use data::causal::{Actor, Amount, Context, Entry, Held, Minter, Object, Span, Stamp, Write};
use data::codec::Writer;
use data::table::Seed;
use data::{GroupId, Incarnation, NodeId, OriginVector, SiteId, WriteStamp};
use protocol::multi_leader::{Change, Record, SiteState, SiteWrite, Staged};
use std::sync::Arc;

const SEED: Seed = Seed(1, 2);

fn records() -> Vec<Record> {
    let actor = Actor { node: NodeId(1), incarnation: Incarnation(2), shard: GroupId(3) };
    let mut minter = Minter::new(actor, 0);
    let mut write = Write::new(&mut minter, Stamp(77));
    let delta = Object::default().increment(&mut write, 0, Amount::whole(5));
    let (stamp, cause) = (WriteStamp::new(1, 2, 1), WriteStamp::new(2, 1, 9));
    let vector: OriginVector = [stamp, cause].into_iter().collect();
    let entry =
        Entry { key: blob("key"), held: Held { object: delta.store.clone(), recent: Context::new() } };
    let whole = Span { first: 0, last: u64::MAX };
    let staged = Staged { span: whole, entries: vec![entry], homes: vec![(5, SiteId(2), 3)], bytes: 40 };
    let deltas = Change::Deltas(vec![(blob("key"), delta.clone()), (blob("other"), delta.clone())]);
    vec![
        Record::Write(Arc::new(SiteWrite { stamp, causes: vec![cause], change: deltas })),
        Record::Write(Arc::new(SiteWrite {
            stamp: WriteStamp::new(1, 2, 2),
            causes: vec![],
            change: Change::HandOver { slot: 5, to: SiteId(2), move_number: 1 },
        })),
        Record::CopyBegin {
            from: SiteId(2),
            copy: 7,
            context: delta.context.clone(),
            vector: vector.clone(),
        },
        Record::CopyPart(Box::new(staged)),
        Record::CopyEnd { vector },
    ]
}

#[test]
fn records_survive_the_round_trip_and_damage_is_harmless() {
    for record in records() {
        let mut bytes = Vec::new();
        record.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Record::decode(&bytes), Ok(record.clone()));
        for at in 0..bytes.len() {
            assert!(Record::decode(&bytes[..at]).is_err(), "{record:?} cut at {at}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                if let Ok(record) = Record::decode(&damaged) {
                    SiteState::new(SEED, SiteId(1), &[SiteId(1)]).apply(&record);
                }
            }
        }
        bytes.push(0);
        assert!(Record::decode(&bytes).is_err(), "{record:?} and a byte more");
    }
}

/// A snapshot at any record stands for all before it, a copy that is half here included.
#[test]
fn a_snapshot_anywhere_changes_nothing() {
    let mut state = SiteState::new(SEED, SiteId(3), &[SiteId(1), SiteId(2)]);
    for record in records() {
        state.apply(&record);
        let mut bytes = Vec::new();
        state.encode(&mut Writer::new(&mut bytes));
        assert_eq!(SiteState::decode(SEED, &bytes).as_ref(), Ok(&state), "after {record:?}");
        assert!(SiteState::decode(SEED, &bytes[..bytes.len() - 1]).is_err());
        state = SiteState::decode(SEED, &bytes).expect("just read");
    }
    assert!(state.is_ready() && state.vector().contains(WriteStamp::new(2, 1, 9)));
    assert_eq!(state.home(5), (SiteId(2), 3));
}
