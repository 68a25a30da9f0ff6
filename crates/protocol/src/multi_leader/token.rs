//! What a session has written and seen at sites: a vector for each shard, to be taken along to another site.
//!
//! A site that holds a shard's vector shows everything that the session wrote or saw there, and whatever that depended on in the
//! same shard. Across shards order holds for who carries the token: each shard is asked for its own vector before it answers.
// catalogue: I9

use alloc::collections::BTreeMap;
use data::codec::{DecodeError, Reader, Writer};
use data::{GroupId, OriginVector};

/// Shards that one token names at most. A guess: as many as a session keeps positions.
const SHARDS_MAX: usize = 4096;

/// Invariant: at most [`SHARDS_MAX`] shards.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SiteToken {
    shards: BTreeMap<GroupId, OriginVector>,
}

impl SiteToken {
    /// The session wrote or read at a site that held this. False when there is no room: then the session must stay there.
    pub fn note(&mut self, shard: GroupId, vector: &OriginVector) -> bool {
        if self.shards.len() >= SHARDS_MAX && !self.shards.contains_key(&shard) {
            return false;
        }
        self.shards.entry(shard).or_default().merge(vector);
        true
    }
    /// What a site must hold of a shard before it answers the session.
    pub fn wanted(&self, shard: GroupId) -> Option<&OriginVector> {
        self.shards.get(&shard)
    }
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.length(self.shards.len());
        for (shard, vector) in &self.shards {
            shard.encode(writer);
            vector.encode(writer);
        }
    }
    /// # Errors
    /// When the bytes are not what [`SiteToken::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<SiteToken, DecodeError> {
        let mut shards = BTreeMap::new();
        for (shard, vector) in
            reader.list(|reader| Ok((GroupId::decode(reader)?, OriginVector::decode(reader)?)))?
        {
            if shards.last_key_value().is_some_and(|(last, _)| *last >= shard) || shards.len() >= SHARDS_MAX {
                return Err(DecodeError::Invalid("token"));
            }
            shards.insert(shard, vector);
        }
        Ok(SiteToken { shards })
    }
}
