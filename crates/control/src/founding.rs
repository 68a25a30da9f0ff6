//! The founding handshake.

use data::NodeId;
use data::codec::{DecodeError, Reader, Writer};

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
