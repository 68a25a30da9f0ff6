//! The founding handshake, and the words in which a later node asks to join.
//!
//! Founding needs all founders, each empty. A founder draws a nonce and makes it durable before it tells anybody. All
//! say what they know until everybody has reported the same complete set of (address, nonce) pairs; only then does
//! anybody found. So a founder whose disk was wiped on the way, and who comes back with another nonce, cannot be part of
//! two clusters: whoever founded with its old nonce answers it with a set that lacks the new one, and it joins instead.
//!
//! | it hears | it does |
//! |---|---|
//! | from everybody the same complete set as its own | founds |
//! | of a cluster founded with its own pair | founds the same |
//! | of any other cluster | never founds: joins instead |

use crate::config::Addresses;
use crate::map::ClusterMap;
use core::time::Duration;
use data::codec::{DecodeError, Reader, Writer};
use data::{Instant, NodeId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Between two rounds of hellos: a guess, short against a person's patience.
const HELLO_EVERY: Duration = Duration::from_millis(100);

/// A cluster's founding act: every founder's peer address and the nonce it drew while empty, sorted by address. The
/// cluster's id is a hash of it, and node ids are ranks in it, so founders that agree on the pairs agree on everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Founded {
    founders: Vec<(String, u64)>,
}

impl Founded {
    pub fn new(mut founders: Vec<(String, u64)>) -> Founded {
        founders.sort();
        founders.dedup_by(|a, b| a.0 == b.0);
        Founded { founders }
    }
    pub fn is_empty(&self) -> bool {
        self.founders.is_empty()
    }
    /// FNV-1a over the pairs, never 0: 0 means "not founded". Ids only have to differ by accident, not against malice.
    pub fn cluster(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut eat = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for (address, nonce) in &self.founders {
            eat(&(address.len() as u64).to_le_bytes());
            eat(address.as_bytes());
            eat(&nonce.to_le_bytes());
        }
        hash.max(1)
    }
    /// Node id, peer address and nonce of every founder.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &str, u64)> {
        (1..).zip(&self.founders).map(|(rank, (address, nonce))| (NodeId(rank), address.as_str(), *nonce))
    }
    /// The first voters of the control plane.
    pub fn voters(&self) -> Vec<NodeId> {
        self.nodes().map(|(node, _, _)| node).collect()
    }
    pub fn contains(&self, address: &str, nonce: u64) -> bool {
        self.founders.iter().any(|(known, drawn)| known == address && *drawn == nonce)
    }
    pub fn node_of(&self, address: &str) -> Option<NodeId> {
        self.nodes().find(|(_, known, _)| *known == address).map(|(node, _, _)| node)
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.list(&self.founders, |w, (address, nonce)| {
            w.text(address);
            w.u64(*nonce);
        });
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Founded, DecodeError> {
        Ok(Founded::new(r.list(|r| Ok((r.text()?, r.u64()?)))?))
    }
}

/// What a founder tells another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    pub address: String,
    pub nonce: u64,
    /// The pairs that the sender knows, its own included.
    pub known: Founded,
    /// The cluster that the sender belongs to; 0 for none.
    pub cluster: u64,
    /// How that cluster was founded, if the sender took part.
    pub founded: Option<Founded>,
}

/// Messages of nodes that have no number yet. The node that receives a request to join proposes
/// [`crate::Command::AddNode`] and answers with what came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FoundingMessage {
    Hello(Hello),
    JoinRequest {
        name: String,
        addresses: Addresses,
        site: String,
        nonce: u64,
    },
    JoinAnswer {
        cluster: u64,
        node: NodeId,
        map: Arc<ClusterMap>,
    },
    /// Not now: no control leader is within reach.
    JoinLater,
}

#[derive(Clone, Debug)]
pub enum FoundingInput {
    /// Called every few milliseconds.
    Tick,
    Hello(Hello),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FoundingOutput {
    /// `to`: a peer address.
    Send { to: String, message: FoundingMessage },
    /// Make it durable, then start the plane with it; said once.
    Found { founded: Founded, node: NodeId },
    /// Another cluster exists: ask one of the founders to join it; said once.
    JoinInstead,
}

/// One node's part in the founding. Kept after its end: late founders ask.
#[derive(Debug)]
pub struct Founding {
    address: String,
    nonce: u64,
    founders: Vec<String>,
    heard: BTreeMap<String, u64>,
    reports: BTreeMap<String, Founded>,
    cluster: u64,
    founded: Option<Founded>,
    /// Founded, or joining instead.
    over: bool,
    hello_at: Instant,
}

impl Founding {
    /// An empty founder. `founders`: peer addresses, its own included; `nonce`: durable already.
    pub fn new(address: String, nonce: u64, founders: Vec<String>) -> Founding {
        let heard = BTreeMap::from([(address.clone(), nonce)]);
        Founding {
            address,
            nonce,
            founders,
            heard,
            reports: BTreeMap::new(),
            cluster: 0,
            founded: None,
            over: false,
            hello_at: Instant::ZERO,
        }
    }

    /// A member of a cluster, `founded` if it took part in the founding: it only answers.
    pub fn member(address: String, nonce: u64, cluster: u64, founded: Option<Founded>) -> Founding {
        let founding = Founding::new(address, nonce, Vec::new());
        Founding { cluster, founded, over: true, ..founding }
    }

    pub fn step(&mut self, now: Instant, input: FoundingInput, out: &mut Vec<FoundingOutput>) {
        match input {
            FoundingInput::Tick => {
                if !self.over && now >= self.hello_at {
                    self.hello_at = now + HELLO_EVERY;
                    for to in self.founders.iter().filter(|to| **to != self.address) {
                        out.push(FoundingOutput::Send { to: to.clone(), message: self.hello() });
                    }
                }
            }
            FoundingInput::Hello(hello) => self.on_hello(hello, out),
        }
        self.found_if_agreed(out);
    }

    fn known(&self) -> Founded {
        Founded::new(self.heard.iter().map(|(address, nonce)| (address.clone(), *nonce)).collect())
    }

    fn hello(&self) -> FoundingMessage {
        FoundingMessage::Hello(Hello {
            address: self.address.clone(),
            nonce: self.nonce,
            known: self.known(),
            cluster: self.cluster,
            founded: self.founded.clone(),
        })
    }

    fn on_hello(&mut self, hello: Hello, out: &mut Vec<FoundingOutput>) {
        if self.over {
            // Hellos of members are answers: answering them would never end.
            if hello.cluster == 0 {
                out.push(FoundingOutput::Send { to: hello.address, message: self.hello() });
            }
            return;
        }
        if hello.cluster != 0 {
            match hello.founded {
                Some(founded) if founded.contains(&self.address, self.nonce) => {
                    self.become_founded(founded, out);
                }
                _ => self.become_joiner(out),
            }
            return;
        }
        if self.founders.contains(&hello.address) && hello.address != self.address {
            self.heard.insert(hello.address.clone(), hello.nonce);
            self.reports.insert(hello.address, hello.known);
        }
    }

    fn found_if_agreed(&mut self, out: &mut Vec<FoundingOutput>) {
        if self.over || !self.founders.iter().all(|founder| self.heard.contains_key(founder)) {
            return;
        }
        let known = self.known();
        let mut others = self.founders.iter().filter(|founder| **founder != self.address);
        if others.all(|other| self.reports.get(other) == Some(&known)) {
            self.become_founded(known, out);
        }
    }

    fn become_founded(&mut self, founded: Founded, out: &mut Vec<FoundingOutput>) {
        let Some(node) = founded.node_of(&self.address) else { return };
        self.over = true;
        self.cluster = founded.cluster();
        self.founded = Some(founded.clone());
        out.push(FoundingOutput::Found { founded, node });
    }

    fn become_joiner(&mut self, out: &mut Vec<FoundingOutput>) {
        self.over = true;
        out.push(FoundingOutput::JoinInstead);
    }
}

impl FoundingMessage {
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            FoundingMessage::Hello(hello) => {
                w.u8(1);
                w.text(&hello.address);
                w.u64(hello.nonce);
                hello.known.encode(w);
                w.u64(hello.cluster);
                w.option(hello.founded.as_ref(), |w, founded| founded.encode(w));
            }
            FoundingMessage::JoinRequest { name, addresses, site, nonce } => {
                w.u8(2);
                w.text(name);
                addresses.encode(w);
                w.text(site);
                w.u64(*nonce);
            }
            FoundingMessage::JoinAnswer { cluster, node, map } => {
                w.u8(3);
                w.u64(*cluster);
                node.encode(w);
                map.encode(w);
            }
            FoundingMessage::JoinLater => w.u8(4),
        }
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<FoundingMessage, DecodeError> {
        Ok(match r.u8()? {
            1 => FoundingMessage::Hello(Hello {
                address: r.text()?,
                nonce: r.u64()?,
                known: Founded::decode(r)?,
                cluster: r.u64()?,
                founded: r.option(Founded::decode)?,
            }),
            2 => FoundingMessage::JoinRequest {
                name: r.text()?,
                addresses: Addresses::decode(r)?,
                site: r.text()?,
                nonce: r.u64()?,
            },
            3 => FoundingMessage::JoinAnswer {
                cluster: r.u64()?,
                node: NodeId::decode(r)?,
                map: Arc::new(ClusterMap::decode(r)?),
            },
            4 => FoundingMessage::JoinLater,
            _ => return Err(DecodeError::Invalid("founding message")),
        })
    }
}
