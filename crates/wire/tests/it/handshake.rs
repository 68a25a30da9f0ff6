//! Two nodes meet: they agree, or each learns by name why not.
//! bugs: X-04 (mixed versions), X-11 (a wrong node answers at a reused address)

use data::{Incarnation, NodeId, Process};
use wire::handshake::{Agreed, Handshake};
use wire::hello::{Identity, Reason, Refusal};

fn identity(node: u32) -> Identity {
    Identity {
        cluster: 0xabc,
        node: NodeId(node),
        incarnation: Incarnation(1),
        process: Process(u64::from(node) + 100),
        name: format!("node-{node}"),
        level: 1,
        level_max: 2,
        version_min: 1,
        version_max: 3,
        engine_format: 1,
    }
}

struct Meeting {
    initiator: Result<Agreed, Refusal>,
    acceptor: Result<Agreed, Refusal>,
}

/// Carries frames between two sides until neither has more to say; `tamper` sees each before it arrives.
fn meet(
    mut initiator: Handshake,
    first: Vec<u8>,
    mut acceptor: Handshake,
    mut tamper: impl FnMut(usize, &mut Vec<u8>),
) -> Meeting {
    let silent = || Refusal { reason: Reason::Malformed, by_peer: false, detail: "silence".into() };
    let (mut ended_i, mut ended_a) = (None, None);
    let mut wire = first;
    for turn in 0.. {
        if wire.is_empty() {
            break;
        }
        tamper(turn, &mut wire);
        let (side, ended) =
            if turn % 2 == 0 { (&mut acceptor, &mut ended_a) } else { (&mut initiator, &mut ended_i) };
        for end in 0..wire.len() {
            assert_eq!(side.receive(&wire[..end], &mut Vec::new()), Ok(None), "half a frame does nothing");
        }
        let mut answer = Vec::new();
        match side.receive(&wire, &mut answer) {
            Ok(Some(step)) => {
                assert_eq!(step.consumed, wire.len());
                if let Some(agreed) = step.agreed {
                    *ended = Some(Ok(agreed));
                }
            }
            Ok(None) => break,
            Err(refusal) => *ended = Some(Err(refusal)),
        }
        wire = answer;
    }
    Meeting {
        initiator: ended_i.unwrap_or_else(|| Err(silent())),
        acceptor: ended_a.unwrap_or_else(|| Err(silent())),
    }
}

fn meeting(from: Identity, expects: Option<u32>, to: Identity, secrets: (&str, &str)) -> Meeting {
    let mut first = Vec::new();
    let (a, b) = (secrets.0.as_bytes(), secrets.1.as_bytes());
    let initiator = Handshake::initiate(from, expects.map(NodeId), a, [1; 32], &mut first);
    meet(initiator, first, Handshake::accept(to, b, [2; 32]), |_, _| {})
}

/// The acceptor sees the initiator's hello first, so it is the one that refuses.
fn refused_by_acceptor(from: Identity, to: Identity, reason: Reason) {
    let met = meeting(from, None, to, ("s", "s"));
    let refusal = met.acceptor.unwrap_err();
    assert_eq!((refusal.reason, refusal.by_peer), (reason, false), "{refusal}");
    let told = met.initiator.unwrap_err();
    assert_eq!((told.reason, told.by_peer), (reason, true), "{told}");
}

#[test]
fn members_of_one_cluster_agree_on_the_newest_common_version() {
    let older = Identity { version_max: 2, ..identity(2) };
    let met = meeting(identity(1), Some(2), older.clone(), ("secret", "secret"));
    assert_eq!(met.initiator, Ok(Agreed { peer: older, version: 2 }));
    assert_eq!(met.acceptor, Ok(Agreed { peer: identity(1), version: 2 }));
}

#[test]
fn who_belongs_to_no_cluster_yet_may_talk_to_anyone_with_the_secret() {
    let joiner = Identity { cluster: 0, node: NodeId(0), ..identity(0) };
    assert!(meeting(joiner.clone(), None, identity(1), ("s", "s")).acceptor.is_ok());
    // Two founders, neither numbered yet.
    assert!(meeting(joiner.clone(), None, joiner, ("s", "s")).acceptor.is_ok());
}

#[test]
fn another_cluster_is_refused() {
    refused_by_acceptor(identity(1), Identity { cluster: 0xdef, ..identity(2) }, Reason::OtherCluster);
}

#[test]
fn a_wrong_secret_is_refused_by_the_first_who_can_tell() {
    let met = meeting(identity(1), None, identity(2), ("right", "wrong"));
    let refusal = met.initiator.unwrap_err();
    assert_eq!((refusal.reason, refusal.by_peer), (Reason::WrongSecret, false));
    assert_eq!(met.acceptor.unwrap_err().reason, Reason::WrongSecret);
}

#[test]
fn an_initiator_without_the_secret_is_not_agreed_with() {
    // It holds a wrong secret and does not care what the acceptor proves: it sends a made-up proof.
    let mut hello = Vec::new();
    Handshake::initiate(identity(1), None, b"guess", [1; 32], &mut hello);
    let mut acceptor = Handshake::accept(identity(2), b"secret", [2; 32]);
    let mut welcome = Vec::new();
    acceptor.receive(&hello, &mut welcome).unwrap().unwrap();
    let mut forged = Vec::new();
    wire::PeerFrame::write(
        &mut forged,
        &wire::PeerFrame::parse(&hello, &wire::PeerLimits { frame_len_max: 4096, version: 0 })
            .unwrap()
            .map(|(header, _, _)| wire::PeerHeader { kind: 3, ..header })
            .unwrap(),
        |w| w.buffer.extend_from_slice(&[7; 32]),
    );
    assert_eq!(acceptor.receive(&forged, &mut Vec::new()).unwrap_err().reason, Reason::WrongSecret);
    // And there is no second guess on this connection.
    assert_eq!(acceptor.receive(&forged, &mut Vec::new()).unwrap_err().reason, Reason::Malformed);
}

#[test]
fn a_recorded_proof_does_not_fit_another_meeting() {
    let mut recorded = Vec::new();
    let mut hello = Vec::new();
    let initiator = Handshake::initiate(identity(1), None, b"s", [1; 32], &mut hello);
    let met = meet(initiator, hello.clone(), Handshake::accept(identity(2), b"s", [2; 32]), |turn, frame| {
        if turn == 2 {
            recorded = frame.clone();
        }
    });
    assert!(met.acceptor.is_ok());
    let mut again = Handshake::accept(identity(2), b"s", [3; 32]);
    again.receive(&hello, &mut Vec::new()).unwrap().unwrap();
    assert_eq!(again.receive(&recorded, &mut Vec::new()).unwrap_err().reason, Reason::WrongSecret);
}

#[test]
fn an_acceptors_own_proof_sent_back_to_it_proves_nothing() {
    let (mut hello, mut welcome, mut echoed) = (Vec::new(), Vec::new(), Vec::new());
    Handshake::initiate(identity(1), None, b"unknown to the initiator", [1; 32], &mut hello);
    let mut acceptor = Handshake::accept(identity(2), b"s", [2; 32]);
    acceptor.receive(&hello, &mut welcome).unwrap().unwrap();
    let limits = wire::PeerLimits { frame_len_max: 4096, version: 0 };
    let (header, body, _) = wire::PeerFrame::parse(&welcome, &limits).unwrap().unwrap();
    // The proof is the welcome's last 32 bytes.
    let proof = &body[body.len() - 32..];
    let header = wire::PeerHeader { kind: 3, ..header };
    wire::PeerFrame::write(&mut echoed, &header, |w| w.buffer.extend_from_slice(proof));
    assert_eq!(acceptor.receive(&echoed, &mut Vec::new()).unwrap_err().reason, Reason::WrongSecret);
}

#[test]
fn versions_without_overlap_are_named_from_each_side() {
    let old = || Identity { version_min: 1, version_max: 2, ..identity(1) };
    let new = || Identity { version_min: 3, version_max: 4, ..identity(2) };
    refused_by_acceptor(old(), new(), Reason::PeerTooOld);
    refused_by_acceptor(new(), old(), Reason::PeerTooNew);
}

#[test]
fn a_program_that_cannot_read_the_clusters_level_stays_out() {
    let old = || Identity { cluster: 0, level: 0, level_max: 1, ..identity(1) };
    let raised = || Identity { level: 2, ..identity(2) };
    refused_by_acceptor(old(), raised(), Reason::PeerTooOld);
    refused_by_acceptor(raised(), old(), Reason::PeerTooNew);
}

#[test]
fn a_wrong_node_at_a_reused_address_is_refused_by_both_sides() {
    // The acceptor notices that it is not the one looked for.
    let met = meeting(identity(1), Some(3), identity(2), ("s", "s"));
    assert_eq!(met.acceptor.unwrap_err().reason, Reason::WrongNode);
    assert_eq!(met.initiator.unwrap_err().reason, Reason::WrongNode);
}

#[test]
fn a_wrong_node_is_noticed_by_the_initiator_even_if_the_other_side_does_not_look() {
    // The acceptor answers another hello, one that looks for anybody, and its welcome reaches who looks for node 3.
    let mut anybody = Vec::new();
    Handshake::initiate(identity(1), None, b"s", [1; 32], &mut anybody);
    let mut welcome = Vec::new();
    Handshake::accept(identity(2), b"s", [2; 32]).receive(&anybody, &mut welcome).unwrap();
    let mut initiator = Handshake::initiate(identity(1), Some(NodeId(3)), b"s", [1; 32], &mut Vec::new());
    let refusal = initiator.receive(&welcome, &mut Vec::new()).unwrap_err();
    assert_eq!((refusal.reason, refusal.by_peer), (Reason::WrongNode, false));
}

#[test]
fn a_copied_data_directory_is_noticed() {
    let copy = Identity { process: Process(999), ..identity(1) };
    refused_by_acceptor(identity(1), copy, Reason::SameNode);
    refused_by_acceptor(identity(1), identity(1), Reason::SameNode);
}

#[test]
fn nobody_in_between_can_change_a_hello() {
    // Every byte of hello and welcome bodies, checksum repaired: the meeting never ends in agreement.
    for turn in [0usize, 1] {
        for at in 72.. {
            let mut first = Vec::new();
            let initiator = Handshake::initiate(identity(1), None, b"s", [1; 32], &mut first);
            let mut done = false;
            let acceptor = Handshake::accept(identity(2), b"s", [2; 32]);
            let met = meet(initiator, first, acceptor, |now, frame| {
                if now != turn {
                    return;
                }
                let limits = wire::PeerLimits { frame_len_max: 4096, version: 0 };
                let Ok(Some((header, body, _))) = wire::PeerFrame::parse(frame, &limits) else { return };
                let mut body = body.to_vec();
                let Some(byte) = body.get_mut(at - 72) else {
                    done = true;
                    return;
                };
                *byte ^= 1;
                let mut changed = Vec::new();
                wire::PeerFrame::write(&mut changed, &header, |w| w.buffer.extend_from_slice(&body));
                *frame = changed;
            });
            if done {
                assert!(met.initiator.is_ok() && met.acceptor.is_ok());
                break;
            }
            assert!(met.acceptor.is_err(), "turn {turn} byte {at}");
        }
    }
}

#[test]
fn a_newer_hello_with_more_fields_is_understood() {
    // The newer program appended a field; both still prove the whole hello, byte for byte.
    let mut hello = Vec::new();
    Handshake::initiate(identity(1), None, b"s", [1; 32], &mut hello);
    let limits = wire::PeerLimits { frame_len_max: 4096, version: 0 };
    let (header, body, _) = wire::PeerFrame::parse(&hello, &limits).unwrap().unwrap();
    let mut longer = Vec::new();
    wire::PeerFrame::write(&mut longer, &header, |w| {
        w.buffer.extend_from_slice(body);
        w.text("a field of the future");
    });
    let mut welcome = Vec::new();
    let step = Handshake::accept(identity(2), b"s", [2; 32]).receive(&longer, &mut welcome).unwrap().unwrap();
    assert_eq!((step.consumed, step.agreed), (longer.len(), None));
}

#[test]
fn a_long_name_is_cut_at_a_character() {
    let long = Identity { name: "é".repeat(200), ..identity(1) };
    let met = meeting(long, None, identity(2), ("s", "s"));
    assert_eq!(met.acceptor.unwrap().peer.name, "é".repeat(127));
}
