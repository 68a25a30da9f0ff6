//! The first three frames of a connection between nodes: who are you, can we work together, do you hold the secret.
//!
//! | frame | from | body |
//! |---|---|---|
//! | hello | initiator | its hello: identity, whom it looks for, a nonce |
//! | welcome | acceptor | its hello with its own nonce, and its proof |
//! | proof | initiator | its proof |
//! | refused | either | the reason; the connection ends |
//!
//! A proof is HMAC-SHA256 under the cluster's secret over the prover's role and both hellos, byte for byte. So a proof
//! cannot be used again (both nonces), not be sent back to its maker (the role), and nobody in between can change a
//! version, an id or a cluster (both hellos). It does not encrypt: that is TLS' part. A secret that can be guessed can be
//! searched for offline by whoever connects, so it should be random.
//!
//! Invariant: [`Agreed`] is given out only after the other side's proof was verified.

use crate::hello::{Hello, Identity, NONCE_LEN, Reason, Refusal, agree};
use crate::peer::{HANDSHAKE_VERSION, Part, PeerFrame, PeerHeader, PeerLimits};
use data::codec::{DecodeError, Reader, Writer};
use data::{Epoch, GroupId, KeyspaceId, NodeId, ViewNumber};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

/// Bytes of a handshake frame. A guess: five times what the longest name takes, room for later fields.
pub const FRAME_LEN_MAX: usize = 4096;

/// Kinds of the handshake's frames. Kinds of later messages have a number space of their own: their version differs.
const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const PROOF: u8 = 3;
const REFUSED: u8 = 4;

/// What both sides know after a handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreed {
    /// Who the other side has proven to be (as far as the holders of one secret trust each other).
    pub peer: Identity,
    /// The message version that both speak from here on: [`PeerLimits::version`].
    pub version: u8,
}

/// What a frame brought about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Bytes of the input that were used.
    pub consumed: usize,
    /// Set once: the handshake is over and later bytes are ordinary frames.
    pub agreed: Option<Agreed>,
}

/// One side of a handshake. Time-outs are the caller's: a peer that falls silent is to be disconnected.
pub struct Handshake {
    own: Hello,
    secret: Vec<u8>,
    state: State,
}

enum State {
    /// Acceptor: nothing came yet.
    AwaitHello,
    /// Initiator: the hello is sent.
    AwaitWelcome,
    /// Acceptor: the welcome is sent.
    AwaitProof(Box<Awaited>),
    /// Agreed or refused: whatever comes now is not the handshake's.
    Over,
}

/// What the initiator must prove, and what holds once it has.
struct Awaited {
    expected: Hmac<Sha256>,
    agreed: Agreed,
}

#[derive(Clone, Copy)]
enum Role {
    Initiator,
    Acceptor,
}

impl Handshake {
    /// The side that connects; its first frame is appended to `out`. `expects` is the node that is believed to live at the
    /// address, where that is known. `nonce` must be fresh randomness.
    pub fn initiate(
        identity: Identity,
        expects: Option<NodeId>,
        secret: &[u8],
        nonce: [u8; NONCE_LEN],
        out: &mut Vec<u8>,
    ) -> Handshake {
        let own = Hello { identity, expects: expects.unwrap_or(NodeId(0)), nonce };
        let handshake = Handshake { own, secret: secret.to_vec(), state: State::AwaitWelcome };
        handshake.send(HELLO, out, |w| handshake.own.encode(w));
        handshake
    }

    /// The side that was connected to. `nonce` must be fresh randomness.
    pub fn accept(identity: Identity, secret: &[u8], nonce: [u8; NONCE_LEN]) -> Handshake {
        let own = Hello { identity, expects: NodeId(0), nonce };
        Handshake { own, secret: secret.to_vec(), state: State::AwaitHello }
    }

    /// Takes the frame at the front of `input`, `None` while it is not whole, and appends what is to be sent to `out`:
    /// with a refusal too, so that the other side learns the reason.
    pub fn receive(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Option<Step>, Refusal> {
        let limits = PeerLimits { frame_len_max: FRAME_LEN_MAX, version: HANDSHAKE_VERSION };
        let result = match PeerFrame::parse(input, &limits) {
            Ok(None) => return Ok(None),
            Ok(Some((header, body, consumed))) => {
                self.frame(header.kind, body, out).map(|agreed| Some(Step { consumed, agreed }))
            }
            Err(error) => Err(Refusal::new(Reason::Malformed, format!("{error}"))),
        };
        if let Err(refusal) = &result {
            self.state = State::Over;
            if !refusal.by_peer {
                self.send(REFUSED, out, |w| w.u8(refusal.reason as u8));
            }
        }
        result
    }

    fn frame(&mut self, kind: u8, body: &[u8], out: &mut Vec<u8>) -> Result<Option<Agreed>, Refusal> {
        match (core::mem::replace(&mut self.state, State::Over), kind) {
            (_, REFUSED) => Err(refused_by_peer(body)),
            (State::AwaitHello, HELLO) => self.welcome(body, out).map(|()| None),
            (State::AwaitWelcome, WELCOME) => self.prove(body, out).map(Some),
            (State::AwaitProof(awaited), PROOF) => {
                let Awaited { expected, agreed } = *awaited;
                verify(expected, body)?;
                Ok(Some(agreed))
            }
            (_, kind) => {
                Err(Refusal::new(Reason::Malformed, format!("frame {kind} is not the handshake's next")))
            }
        }
    }

    /// Acceptor: answers the initiator's hello with its own and its proof.
    fn welcome(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        let peer = Hello::decode(&mut Reader::new(body)).map_err(malformed)?;
        let version = agree(&self.own.identity, &peer.identity, NodeId(0))?;
        // The other half of the check that the initiator makes: it is told at once, and by name, that it came to a
        // wrong address (a container got another node's old IP).
        if peer.expects != NodeId(0) && peer.expects != self.own.identity.node {
            let detail = format!("{} is looked for here, this is {}", peer.expects, self.own.identity.node);
            return Err(Refusal::new(Reason::WrongNode, detail));
        }
        let mut own = Vec::new();
        self.own.encode(&mut Writer::new(&mut own));
        let proof = self.transcript(Role::Acceptor, body, &own).finalize().into_bytes();
        self.send(WELCOME, out, |w| {
            w.bytes(&own);
            w.bytes(&proof);
        });
        let expected = self.transcript(Role::Initiator, body, &own);
        let agreed = Agreed { peer: peer.identity, version };
        self.state = State::AwaitProof(Box::new(Awaited { expected, agreed }));
        Ok(())
    }

    /// Initiator: checks the acceptor's hello and proof and sends its own proof.
    fn prove(&self, body: &[u8], out: &mut Vec<u8>) -> Result<Agreed, Refusal> {
        let mut r = Reader::new(body);
        let theirs = r.bytes().map_err(malformed)?;
        let their_proof = r.bytes().map_err(malformed)?;
        let peer = Hello::decode(&mut Reader::new(theirs)).map_err(malformed)?;
        let version = agree(&self.own.identity, &peer.identity, self.own.expects)?;
        let mut own = Vec::new();
        self.own.encode(&mut Writer::new(&mut own));
        verify(self.transcript(Role::Acceptor, &own, theirs), their_proof)?;
        let proof = self.transcript(Role::Initiator, &own, theirs).finalize().into_bytes();
        self.send(PROOF, out, |w| w.buffer.extend_from_slice(&proof));
        Ok(Agreed { peer: peer.identity, version })
    }

    /// What the holder of `role` proves: its role and both hellos, each behind its length.
    fn transcript(&self, role: Role, initiator: &[u8], acceptor: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of every length");
        mac.update(match role {
            Role::Initiator => b"tercet handshake 1: initiator\0",
            Role::Acceptor => b"tercet handshake 1: acceptor\0\0",
        });
        for hello in [initiator, acceptor] {
            mac.update(&(hello.len() as u64).to_le_bytes());
            mac.update(hello);
        }
        mac
    }

    fn send(&self, kind: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Writer<'_>)) {
        let own = &self.own.identity;
        let header = PeerHeader {
            version: HANDSHAKE_VERSION,
            kind,
            part: Part::WHOLE,
            hops: 0,
            sender: own.node,
            incarnation: own.incarnation,
            process: own.process,
            keyspace: KeyspaceId(0),
            group: GroupId(0),
            epoch: Epoch(0),
            view: ViewNumber(0),
            id: 0,
            time_left_ms: 0,
        };
        PeerFrame::write(out, &header, body);
    }
}

/// Compares in constant time.
fn verify(expected: Hmac<Sha256>, proof: &[u8]) -> Result<(), Refusal> {
    expected
        .verify_slice(proof)
        .map_err(|_| Refusal::new(Reason::WrongSecret, "its proof does not fit our secret".into()))
}

fn malformed(error: DecodeError) -> Refusal {
    Refusal::new(Reason::Malformed, format!("{error}"))
}

fn refused_by_peer(body: &[u8]) -> Refusal {
    let reason = body.first().and_then(|byte| Reason::from_byte(*byte));
    Refusal {
        reason: reason.unwrap_or(Reason::Malformed),
        by_peer: true,
        detail: "its log has the values".into(),
    }
}
