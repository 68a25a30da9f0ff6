//! What comes from a peer or a disk may be anything: it is read or refused, never a panic.
// bugs: X-04

use crate::rig::{Rig, n};
use control::{Command, Config, FoundingMessage, Input, Message, Plane, Recovered, Timings};
use data::codec::{DecodeError, Reader, Writer};
use data::{Incarnation, Instant, Process};
use proptest::prelude::*;

fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
    Message::decode(&mut Reader::new(bytes))
}

fn recover(records: Vec<Vec<u8>>) -> Result<Plane, DecodeError> {
    let config = Config {
        node: n(1),
        name: String::new(),
        process: Process(9),
        incarnation: Incarnation(1),
        addresses: Default::default(),
        site: String::new(),
        founded: None,
        shards: 1,
        seed: 1,
        timings: Timings::default(),
    };
    Plane::new(config, Recovered { map: None, records }, Instant::ZERO)
}

/// It may have voted after the record that it cannot read.
#[test]
fn a_node_with_an_unreadable_control_record_is_not_made() {
    assert!(recover(Vec::new()).is_ok());
    assert!(recover(vec![vec![9, 1, 2]]).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = Command::decode(&mut Reader::new(&bytes));
        let _ = FoundingMessage::decode(&mut Reader::new(&bytes));
        let mut plane = recover(vec![bytes.clone()]).or_else(|_| recover(Vec::new()))?;
        let mut out = Vec::new();
        plane.step(Instant::ZERO, Input::Message { from: n(2), message: Message::Raft(bytes) }, &mut out);
        plane.step(Instant::from_millis(10), Input::Tick, &mut out);
    }

    #[test]
    fn a_damaged_message_is_read_or_refused(at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut rig = Rig::new(1, 3);
        rig.settle();
        let mut bytes = Vec::new();
        Message::Map(rig.map()).encode(&mut Writer::new(&mut bytes));
        prop_assert!(decode(&bytes).is_ok());
        let cut = at.index(bytes.len());
        prop_assert!(decode(&bytes[..cut]).is_err());
        bytes[cut] = value;
        let _ = decode(&bytes);
    }
}
