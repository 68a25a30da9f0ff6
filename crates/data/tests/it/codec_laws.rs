//! What is written is read back; what is damaged is refused without a panic.
// catalogue: D6

use crate::model::{Plain, operation, value};
use data::codec::{DecodeError, Reader, Writer};
use data::operation::Before;
use data::value::Value;
use data::{Epoch, Index, NodeId, Operation, Position, Process, RequestId};
use proptest::collection::vec;
use proptest::prelude::*;

fn encoded(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Writer::new(&mut bytes));
    bytes
}

proptest! {
    #[test]
    fn operations_survive_the_round_trip(operation in operation()) {
        let bytes = encoded(|w| operation.encode(w));
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(Operation::decode(&mut reader).expect("what was written is read"), operation);
        prop_assert!(reader.is_empty());
        for cut in 0..bytes.len() {
            prop_assert!(Operation::decode(&mut Reader::new(&bytes[..cut])).is_err(), "cut at {}", cut);
        }
    }

    #[test]
    fn values_survive_with_their_order(value in value()) {
        let bytes = value.as_ref().to_bytes();
        let read = Value::decode(&mut Reader::new(&bytes)).expect("what was written is read");
        prop_assert_eq!(Plain::of(read.as_ref()), Plain::of(value.as_ref()));
        prop_assert_eq!(read.as_ref().to_bytes(), bytes);
    }

    #[test]
    fn before_images_survive(
        bytes in vec(any::<u8>(), 0..40),
        expires_at_ms in prop::option::of(any::<i64>()),
        len in any::<u64>(),
    ) {
        let images = [
            Before::Absent,
            Before::Bytes { bytes: bytes.into(), expires_at_ms },
            Before::Summary { kind: 3, len, expires_at_ms },
        ];
        for image in images {
            let bytes = encoded(|w| image.encode(w));
            prop_assert_eq!(Before::decode(&mut Reader::new(&bytes)).expect("read back"), image);
        }
    }

    #[test]
    fn noise_never_panics(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Operation::decode(&mut Reader::new(&bytes));
        let _ = Value::decode(&mut Reader::new(&bytes));
        let _ = Before::decode(&mut Reader::new(&bytes));
        let _ = RequestId::decode(&mut Reader::new(&bytes));
        let _ = Reader::new(&bytes).length();
        let _ = Reader::new(&bytes).text();
    }

    #[test]
    fn lengths_survive(length in any::<usize>()) {
        let length = length >> 1; // 63 bits travel.
        let bytes = encoded(|w| w.length(length));
        prop_assert_eq!(Reader::new(&bytes).length(), Ok(length));
    }

    #[test]
    fn ids_survive(a in any::<u32>(), b in any::<u64>(), c in any::<u64>()) {
        let id = RequestId { origin: NodeId(a), process: Process(b), sequence: c };
        let bytes = encoded(|w| id.encode(w));
        prop_assert_eq!(bytes.len(), 20);
        prop_assert_eq!(RequestId::decode(&mut Reader::new(&bytes)), Ok(id));
        let position = Position { epoch: Epoch(b), index: Index(c) };
        let bytes = encoded(|w| position.encode(w));
        prop_assert_eq!(Position::decode(&mut Reader::new(&bytes)), Ok(position));
    }
}

#[test]
fn a_count_beyond_the_input_allocates_nothing() {
    let bytes = encoded(|w| w.length(1 << 40));
    assert_eq!(Reader::new(&bytes).list(|r| r.u8()), Err(DecodeError::Truncated));
}

#[test]
fn a_score_that_is_no_number_is_refused() {
    let bytes = encoded(|w| {
        w.u8(4);
        w.length(1);
        w.bytes(b"m");
        w.f64(f64::NAN);
    });
    assert!(Value::decode(&mut Reader::new(&bytes)).is_err());
}

/// What no command yields is refused where it is read, not where it would be applied.
#[test]
fn senseless_operations_are_refused() {
    let senseless = [
        Operation::ZSetAdd { key: b"z".into(), members: vec![(b"m".into(), f64::NAN)] },
        Operation::ZSetIncrement { key: b"z".into(), member: b"m".into(), by: f64::NAN },
        Operation::ListRemove { key: b"l".into(), places: vec![3, 3] },
        Operation::Put { key: b"s".into(), value: Value::Set(Box::default()), expiry: data::Expiry::Never },
    ];
    for operation in senseless {
        let bytes = encoded(|w| operation.encode(w));
        let read = Operation::decode(&mut Reader::new(&bytes));
        assert!(matches!(read, Err(DecodeError::Invalid(_))), "{read:?}");
    }
}

#[test]
fn the_more_advanced_position_is_of_the_later_epoch() {
    assert!(Position::new(2, 1) > Position::new(1, 100));
    assert!(Position::new(2, 3) > Position::new(2, 2));
    assert_eq!(Index(0).previous(), Index(0));
}
