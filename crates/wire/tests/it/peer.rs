//! Peer frames: what parses is what was written; a damaged byte never passes for another message.
//! bugs: X-04

use data::{Epoch, GroupId, Incarnation, KeyspaceId, NodeId, Process, ViewNumber};
use proptest::prelude::*;
use wire::peer::{HEADER_LEN, Part, PeerError, PeerFrame, PeerHeader, PeerLimits};

const LIMITS: PeerLimits = PeerLimits { frame_len_max: 1 << 20, version: 3 };

fn header() -> PeerHeader {
    PeerHeader {
        version: 3,
        kind: 9,
        part: Part { number: 2, is_last: false, is_abandoned: false },
        hops: 1,
        sender: NodeId(4),
        incarnation: Incarnation(5),
        process: Process(6),
        keyspace: KeyspaceId(7),
        group: GroupId(8),
        epoch: Epoch(9),
        view: ViewNumber(10),
        id: 11,
        time_left_ms: 12,
    }
}

fn written(header: &PeerHeader, body: &[u8]) -> Vec<u8> {
    let mut buffer = b"before".to_vec();
    let len = PeerFrame::write(&mut buffer, header, |w| w.buffer.extend_from_slice(body));
    assert_eq!(len, HEADER_LEN + body.len());
    buffer.split_off(6)
}

#[test]
fn the_layout_is_fixed() {
    let frame = written(&header(), b"body");
    assert_eq!(frame.len(), 76);
    assert_eq!(frame[..4], 76u32.to_le_bytes());
    assert_eq!(frame[8..16], [0xc3, 3, 9, 0, 2, 0, 1, 0]);
    assert_eq!(frame[16..20], 4u32.to_le_bytes());
    assert_eq!(frame[60..68], 11u64.to_le_bytes());
    assert_eq!(frame[68..72], 12u32.to_le_bytes());
    assert_eq!(&frame[72..], b"body");
}

#[test]
fn a_message_of_a_version_that_was_not_agreed_on_is_not_read() {
    // A newer member's message has fields that this one would drop: it refuses the frame instead of half-reading it.
    let frame = written(&PeerHeader { version: 4, ..header() }, b"body");
    assert_eq!(PeerFrame::parse(&frame, &LIMITS), Err(PeerError::Version(4)));
    assert_eq!(PeerFrame::parse(&frame, &PeerLimits { version: 0, ..LIMITS }), Err(PeerError::Version(4)));
}

#[test]
fn lengths_beyond_the_limit_are_refused_before_anything_is_awaited() {
    let limits = PeerLimits { frame_len_max: 80, ..LIMITS };
    assert!(PeerFrame::parse(&written(&header(), &[0; 8]), &limits).unwrap().is_some());
    let long = written(&header(), &[0; 9]);
    assert_eq!(PeerFrame::parse(&long[..4], &limits), Err(PeerError::Length(81)));
    assert_eq!(PeerFrame::parse(&[71, 0, 0, 0], &limits), Err(PeerError::Length(71)));
    assert!(matches!(PeerFrame::parse(b"GET / HTTP/1.1\r\n", &LIMITS), Err(PeerError::Magic(b'T'))));
}

#[test]
fn messages_that_wander_are_stopped() {
    let frame = written(&PeerHeader { hops: 3, ..header() }, b"");
    assert_eq!(PeerFrame::parse(&frame, &LIMITS), Err(PeerError::Hops(3)));
}

#[test]
fn no_flipped_bit_passes() {
    let frame = written(&header(), b"some body");
    for bit in 0..frame.len() * 8 {
        let mut damaged = frame.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let result = PeerFrame::parse(&damaged, &LIMITS);
        assert!(!matches!(result, Ok(Some(_))), "bit {bit}");
    }
}

fn headers() -> impl Strategy<Value = PeerHeader> {
    let part = (any::<u16>(), any::<bool>(), any::<bool>())
        .prop_map(|(number, is_last, is_abandoned)| Part { number, is_last, is_abandoned });
    let ids = (any::<u32>(), any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>());
    let place = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>());
    (any::<u8>(), part, 0..=2u8, ids, place).prop_map(|(kind, part, hops, ids, place)| PeerHeader {
        version: 3,
        kind,
        part,
        hops,
        sender: NodeId(ids.0),
        incarnation: Incarnation(ids.1),
        process: Process(ids.2),
        keyspace: KeyspaceId(ids.3),
        group: GroupId(ids.4),
        epoch: Epoch(place.0),
        view: ViewNumber(place.1),
        id: place.2,
        time_left_ms: place.3,
    })
}

proptest! {
    #[test]
    fn frames_come_back_whole(header in headers(), body in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = written(&header, &body);
        let len = bytes.len();
        for end in 0..len {
            prop_assert_eq!(PeerFrame::parse(&bytes[..end], &LIMITS), Ok(None));
        }
        bytes.extend_from_slice(b"next");
        prop_assert_eq!(PeerFrame::parse(&bytes, &LIMITS), Ok(Some((header, &body[..], len))));
    }

    #[test]
    fn no_changed_byte_passes(
        header in headers(),
        body in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        change in 1..=255u8,
    ) {
        let mut bytes = written(&header, &body);
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        // More bytes behind it, so that a changed length finds something to read.
        bytes.extend_from_slice(&[0; 300]);
        let passed = matches!(PeerFrame::parse(&bytes, &LIMITS), Ok(Some(_)));
        prop_assert!(!passed);
    }

    #[test]
    fn any_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let passed = matches!(PeerFrame::parse(&bytes, &LIMITS), Ok(Some(_)));
        prop_assert!(!passed);
    }
}
