//! A log record is what some writer made, or it is refused: no damaged byte goes unseen.
// bugs: SL-13, SL-17
// catalogue: D6

use data::record::{HEADER_LEN, Header, Kind, Record, RecordError};
use data::{Epoch, GroupId, Index, KeyspaceId, NodeId, Process, RequestId};

fn header(index: u64) -> Header {
    Header {
        kind: Kind::Operations,
        keyspace: KeyspaceId(3),
        group: GroupId(5),
        epoch: Epoch(7),
        index: Index(index),
        commit: Index(index - 1),
        time_ms: 1_700_000_000_123,
        request: RequestId { origin: NodeId(1), process: Process(2), sequence: 3 },
    }
}

fn record(index: u64, previous: u64, payload: &[u8]) -> (Vec<u8>, u64) {
    let mut bytes = Vec::new();
    let hash = Record::write(&mut bytes, &header(index), previous, |w| w.buffer.extend_from_slice(payload));
    (bytes, hash)
}

#[test]
fn a_record_is_read_back_with_what_follows_left_alone() {
    let (mut bytes, hash) = record(9, 77, b"payload");
    let len = bytes.len();
    bytes.extend_from_slice(b"the next record");
    let parsed = Record::parse(&bytes).expect("what was written is read");
    assert_eq!(parsed.header, header(9));
    assert_eq!((parsed.payload, parsed.len, parsed.hash), (&b"payload"[..], len, hash));
    assert_eq!(len, HEADER_LEN + 7);
    assert!(parsed.follows(77, &bytes));
    assert!(!parsed.follows(78, &bytes));
}

#[test]
fn every_flipped_bit_is_seen() {
    let (bytes, _) = record(9, 77, b"some payload of a record");
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(Record::parse(&damaged).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn every_cut_is_seen() {
    let (bytes, _) = record(9, 77, b"payload");
    for cut in 0..bytes.len() {
        assert_eq!(Record::parse(&bytes[..cut]), Err(RecordError::Truncated), "cut at {cut}");
    }
}

#[test]
fn histories_of_equal_length_and_other_content_differ() {
    let (_, a1) = record(1, 0, b"one");
    let (_, b1) = record(1, 0, b"two");
    let (_, a2) = record(2, a1, b"same");
    let (_, b2) = record(2, b1, b"same");
    assert_ne!(a1, b1);
    assert_ne!(a2, b2);
}

#[test]
fn every_kind_has_its_number() {
    for byte in 0..=u8::MAX {
        if let Some(kind) = Kind::from_byte(byte) {
            assert_eq!(kind as u8, byte);
        }
    }
    assert_eq!(Kind::from_byte(0), None);
    assert!(Kind::Operations.is_entry() && !Kind::Truncate.is_entry());
}
