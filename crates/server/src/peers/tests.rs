//! The sending side against a peer that reads as the test says.

use super::*;
use bytes::Bytes;
use std::net::TcpListener;

const MIB: usize = 1 << 20;

fn identity(node: u32) -> Identity {
    Identity {
        cluster: 1,
        node: NodeId(node),
        incarnation: Incarnation(1),
        process: Process(1),
        name: format!("n{node}"),
        level: 1,
        level_max: 1,
        version_min: 1,
        version_max: 1,
        engine_format: 1,
    }
}

/// A link that both sides agreed on, and the peer's end of it.
fn agreed_link() -> (Outgoing, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let mut link = Outgoing::new(NodeId(2), address);
    link.dial(identity(1), b"", [0; 32]).expect("loopback connects");
    let (peer, _) = listener.accept().expect("it was dialled");
    link.handshake = None;
    link.sending.clear();
    link.agreed = Some(Agreed { peer: identity(2), version: 1 });
    (link, peer)
}

fn queue(link: &mut Outgoing, bytes: usize) -> bool {
    let from = Sender { node: NodeId(1), incarnation: Incarnation(1), process: Process(1) };
    let message =
        PeerMessage::Publish { channel: Bytes::from_static(b"c"), payload: Bytes::from(vec![7; bytes]) };
    link.queue(&from, &message)
}

/// A link that was busy without a pause was once closed after 256 MiB, however little of it still waited.
#[test]
fn the_limit_is_for_what_waits_not_for_what_was_sent() {
    let (mut link, mut peer) = agreed_link();
    let mut read = vec![0u8; MIB];
    // More than the sockets hold: from here on something always waits.
    for _ in 0..32 {
        assert!(queue(&mut link, MIB));
    }
    link.write().expect("the link stands");
    for round in 0..300 {
        peer.read_exact(&mut read).expect("there is enough to read");
        assert!(queue(&mut link, MIB), "closed in round {round} with about 32 MiB waiting");
        link.write().expect("the link stands");
    }
}

#[test]
fn a_peer_that_reads_nothing_is_given_up_at_the_limit() {
    let (mut link, _peer) = agreed_link();
    let limit = QUEUED_BYTES_MAX / MIB;
    let accepted = (0..limit + 64)
        .take_while(|_| {
            let goes_on = queue(&mut link, MIB);
            link.write().expect("the link stands");
            goes_on
        })
        .count();
    assert!((limit - 1..limit + 32).contains(&accepted), "{accepted} MiB were taken");
}
