//! Any bytes as a reply: all readers agree on where it ends, and what was decoded encodes to the same frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::frame::{decode, downgrade, skip};
use wire::{Frame, Protocol};

fn holds_nan(frame: &Frame) -> bool {
    match frame {
        Frame::Double(value) => value.is_nan(),
        Frame::Map(pairs) => pairs.iter().any(|(key, value)| holds_nan(key) || holds_nan(value)),
        other => other.as_items().is_some_and(|items| items.iter().any(holds_nan)),
    }
}

fuzz_target!(|input: &[u8]| {
    let decoded = decode(input);
    assert_eq!(
        skip(input),
        decoded.as_ref().map(|found| found.as_ref().map(|(_, len)| *len)).map_err(|e| *e)
    );
    let mut resp2 = Vec::new();
    let downgraded = downgrade(input, &mut resp2);
    let Ok(Some((frame, len))) = decoded else {
        assert!(downgraded.is_err() && resp2.is_empty());
        return;
    };
    assert_eq!(downgraded, Ok(len));
    assert_eq!(skip(&resp2), Ok(Some(resp2.len())));
    // An error with a length becomes a line when it is written again, its line breaks spaces; NaN differs from itself.
    let mut again = Vec::new();
    frame.encode(&mut again, Protocol::Resp3);
    let (copy, copy_len) = decode(&again).unwrap().unwrap();
    assert_eq!(copy_len, again.len());
    if !holds_nan(&frame) && !input.contains(&b'!') {
        assert_eq!(copy, frame);
    }
});
