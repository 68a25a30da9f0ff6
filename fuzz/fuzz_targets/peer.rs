//! Any bytes as peer frames, parts of messages and handshakes: refused by name, never a panic, never above the bound.
#![no_main]

use data::{Incarnation, NodeId, Process};
use libfuzzer_sys::fuzz_target;
use wire::handshake::Handshake;
use wire::hello::Identity;
use wire::parts::Assembler;
use wire::peer::{HEADER_LEN, PeerFrame, PeerLimits};

/// Gives `bytes` the length, checksum and magic of a frame, so that the fields behind them are reached.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; HEADER_LEN.max(bytes.len() + 9)];
    frame[9..9 + bytes.len()].copy_from_slice(bytes);
    frame[8] = 0xc3;
    let len = (frame.len() as u32).to_le_bytes();
    frame[..4].copy_from_slice(&len);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&len), &frame[8..]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    frame
}

fn identity() -> Identity {
    Identity {
        cluster: 0,
        node: NodeId(0),
        incarnation: Incarnation(0),
        process: Process(0),
        name: "fuzzed".into(),
        level: 0,
        level_max: u16::MAX,
        version_min: 1,
        version_max: u8::MAX,
    }
}

fuzz_target!(|input: &[u8]| {
    let version = input.first().copied().unwrap_or(0);
    let limits = PeerLimits { frame_len_max: 1 << 16, version };
    assert!(!matches!(PeerFrame::parse(input, &limits), Ok(Some((_, _, 0)))));

    let mut assembler = Assembler::new(4096);
    let mut handshakes = vec![
        Handshake::accept(identity(), b"secret", [1; 32]),
        Handshake::initiate(identity(), None, b"secret", [2; 32], &mut Vec::new()),
    ];
    for chunk in input.chunks(160) {
        let frame = sealed(chunk);
        if let Ok(Some((header, body, consumed))) = PeerFrame::parse(&frame, &limits) {
            assert_eq!(consumed, frame.len());
            let mut again = Vec::new();
            PeerFrame::write(&mut again, &header, |w| w.buffer.extend_from_slice(body));
            assert_eq!(again, frame);
            let _ = assembler.accept(&header, body);
            assert!(assembler.bytes() <= 4096);
        }
        for handshake in &mut handshakes {
            if let Ok(Some(step)) = handshake.receive(&frame, &mut Vec::new()) {
                assert_eq!(step.agreed, None, "agreed without the secret");
            }
        }
    }
});
