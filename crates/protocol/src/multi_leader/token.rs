//! What a session has written and seen at sites: a vector for each shard, to be taken along to another site.
//!
//! A site that holds a shard's vector shows everything that the session wrote or saw there, and whatever that depended on in the
//! same shard. Across shards order holds for who carries the token: each shard is asked for its own vector before it answers.
//!
//! Source: Terry and others, "Session Guarantees for Weakly Consistent Replicated Data" (1994): read and write sets as vectors.
// catalogue: I5

use alloc::collections::BTreeMap;
use data::codec::{DecodeError, Reader, Writer};
use data::{KeyspaceId, OriginVector};

/// Shards that one token names at most. A guess: as many as a session keeps positions.
const SHARDS_MAX: usize = 4096;

/// The same part of a keyspace's slots at every site: its number among the groups of each.
pub type Shard = (KeyspaceId, u16);

/// Invariant: at most [`SHARDS_MAX`] shards.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SiteToken {
    shards: BTreeMap<Shard, OriginVector>,
}

impl SiteToken {
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }
    /// The session wrote or read at a site that held this. False when there is no room: then the session must stay there.
    pub fn note(&mut self, shard: Shard, vector: &OriginVector) -> bool {
        if self.shards.len() >= SHARDS_MAX && !self.shards.contains_key(&shard) {
            return false;
        }
        self.shards.entry(shard).or_default().merge(vector);
        true
    }
    /// What another session wrote or saw was seen by this one too. False when there was no room for all of it.
    pub fn join(&mut self, other: &SiteToken) -> bool {
        other.shards.iter().all(|(shard, vector)| self.note(*shard, vector))
    }
    /// What a site must hold of a shard before it answers the session.
    pub fn wanted(&self, shard: Shard) -> Option<&OriginVector> {
        self.shards.get(&shard)
    }
    /// A site that held this has answered: from now on the session's place in that site's log says all.
    pub fn met(&mut self, shard: Shard, held: &OriginVector) {
        if self.shards.get(&shard).is_some_and(|wanted| held.covers(wanted)) {
            self.shards.remove(&shard);
        }
    }
    /// Keeps what `keeps` names: keyspaces that are gone for ever need no place.
    pub fn retain(&mut self, keeps: impl Fn(Shard) -> bool) {
        self.shards.retain(|shard, _| keeps(*shard));
    }
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.length(self.shards.len());
        for ((keyspace, shard), vector) in &self.shards {
            keyspace.encode(writer);
            writer.u16(*shard);
            vector.encode(writer);
        }
    }
    /// # Errors
    /// When the bytes are not what [`SiteToken::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<SiteToken, DecodeError> {
        let mut shards = BTreeMap::new();
        let one = |reader: &mut Reader<'_>| {
            Ok(((KeyspaceId::decode(reader)?, reader.u16()?), OriginVector::decode(reader)?))
        };
        for (shard, vector) in reader.list(one)? {
            if shards.last_key_value().is_some_and(|(last, _)| *last >= shard) || shards.len() >= SHARDS_MAX {
                return Err(DecodeError::Invalid("token"));
            }
            shards.insert(shard, vector);
        }
        Ok(SiteToken { shards })
    }
}
