//! What a site holds of one shard, as a function of the records in its log.

use super::claims::Claims;
use super::record::{Change, Record, Staged};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use data::causal::{Context, Lost, ShardCopy, Step};
use data::codec::{DecodeError, Reader, Writer};
use data::table::Seed;
use data::value::Blob;
use data::{Index, OriginVector, SiteId};

/// In front of a state: whether it is ready, and this if claims follow. States of other policies are as they always were.
const HAS_CLAIMS: u8 = 2;

/// A copy of another site that is not complete.
#[derive(Clone, PartialEq, Debug)]
pub struct Staging {
    pub from: SiteId,
    pub copy: u64,
    pub context: Context,
    pub vector: OriginVector,
    pub parts: Vec<Staged>,
}

impl Staging {
    /// The place at which the next part begins; nothing when all of them are here.
    pub fn next(&self) -> Option<u64> {
        self.parts.last().map_or(Some(0), |part| part.span.last.checked_add(1))
    }
}

/// What last-write-wins let go, and of which key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LostWrite {
    pub key: Blob,
    pub lost: Lost,
}

/// One site's state.
///
/// Invariant: whatever is included in `vector` has reached `copy`, and so have its causes: the state is never the effect
/// without the cause. A copy of another site is therefore kept apart until all of it is here.
#[derive(Clone, PartialEq, Debug)]
pub struct SiteState {
    pub(super) copy: ShardCopy,
    pub(super) vector: OriginVector,
    /// Slots that were given away, and how often.
    pub(super) homes: BTreeMap<u16, (SiteId, u64)>,
    pub(super) staging: Option<Staging>,
    /// What this site agreed to.
    pub(super) claims: Claims,
    pub(super) is_ready: bool,
    founders: Vec<SiteId>,
}

impl SiteState {
    /// Before the first record. `founders` are the sites that the keyspace was made with, in their order: they are ready
    /// at once, and share the homes of slots. A site that joins later is ready when it has copied another.
    pub fn new(seed: Seed, site: SiteId, founders: &[SiteId]) -> SiteState {
        SiteState {
            copy: ShardCopy::new(seed),
            vector: OriginVector::new(),
            homes: BTreeMap::new(),
            staging: None,
            claims: Claims::default(),
            is_ready: founders.contains(&site),
            founders: founders.to_vec(),
        }
    }
    pub fn copy(&self) -> &ShardCopy {
        &self.copy
    }
    /// As [`ShardCopy::open_moment`].
    pub fn open_moment(&mut self, id: u64, index: Index) {
        self.copy.open_moment(id, index);
    }
    pub fn close_moment(&mut self, id: u64) {
        self.copy.close_moment(id);
    }
    /// Keys of which the inbox has something new to tell.
    pub fn take_news(&mut self) -> Vec<Blob> {
        self.copy.take_news()
    }
    /// The writes that are in it.
    pub fn vector(&self) -> &OriginVector {
        &self.vector
    }
    /// Whether it may be read, written and copied.
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }
    /// Where a slot is at home, and how often it has moved.
    pub fn home(&self, slot: u16) -> (SiteId, u64) {
        let first = self.founders.get(usize::from(slot) % self.founders.len().max(1));
        self.homes.get(&slot).copied().unwrap_or((first.copied().unwrap_or_default(), 0))
    }

    /// Returns what last-write-wins let go, for the inbox.
    pub fn apply(&mut self, record: &Record) -> Vec<LostWrite> {
        let mut lost = Vec::new();
        match record {
            Record::Write(write) => {
                match &write.change {
                    Change::Deltas(deltas) => {
                        for (key, delta) in deltas {
                            let step = Step::Delta { key: key.clone(), delta: delta.clone() };
                            self.step(key, &step, &mut lost);
                        }
                    }
                    Change::HandOver { slot, to, move_number } => {
                        let (home, moves) = self.home(*slot);
                        // Only the home gives away, and each move follows the one before.
                        if home == write.stamp.origin.site && moves.checked_add(1) == Some(*move_number) {
                            self.homes.insert(*slot, (*to, *move_number));
                        }
                    }
                }
                self.vector.raise(write.stamp);
            }
            Record::CopyBegin { from, copy, context, vector } => {
                self.staging = Some(Staging {
                    from: *from,
                    copy: *copy,
                    context: context.clone(),
                    vector: vector.clone(),
                    parts: Vec::new(),
                });
            }
            Record::CopyPart(part) => {
                if let Some(staging) = self.staging.as_mut().filter(|it| it.next() == Some(part.span.first)) {
                    staging.parts.push(Staged::clone(part));
                }
            }
            Record::CopyEnd { .. } => {
                if let Some(staging) = self.staging.take_if(|staging| staging.next().is_none()) {
                    self.take_over(staging, &mut lost);
                }
            }
            Record::Claim { id, places } => self.claims.add(*id, places),
            Record::Unclaim { claims } => claims.iter().for_each(|id| self.claims.remove(*id)),
        }
        // Nobody puts sites together key by key.
        self.copy.settle_all();
        lost
    }
    fn step(&mut self, key: &Blob, step: &Step, lost: &mut Vec<LostWrite>) {
        let losers = self.copy.apply(step).into_iter();
        lost.extend(losers.map(|loser| LostWrite { key: key.clone(), lost: loser }));
    }
    /// All of another site's state is here: join it with this one's, under both contexts.
    fn take_over(&mut self, staging: Staging, lost: &mut Vec<LostWrite>) {
        let Staging { context, vector, parts, .. } = staging;
        self.copy.apply(&Step::Begin { theirs: context.clone() });
        for Staged { span, entries, homes, .. } in parts {
            for entry in &entries {
                // Key by key first: what the span loses would not tell its key.
                let step = Step::Key { entry: entry.clone(), theirs: context.clone() };
                self.step(&entry.key, &step, lost);
            }
            self.copy.apply(&Step::Span { span, entries, theirs: context.clone() });
            self.copy.apply(&Step::Pass { span });
            for (slot, home, moves) in homes {
                if moves > self.home(slot).1 {
                    self.homes.insert(slot, (home, moves));
                }
            }
        }
        self.copy.apply(&Step::Finish);
        self.vector.merge(&vector);
        self.is_ready = true;
    }

    /// For a snapshot, behind which the log may go. With what is staged: records that follow may complete it.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        let claims = u8::from(!self.claims.is_empty()) * HAS_CLAIMS;
        writer.u8(u8::from(self.is_ready) | claims);
        if claims > 0 {
            self.claims.encode(writer);
        }
        writer.list(&self.founders, |writer, site| site.encode(writer));
        self.vector.encode(writer);
        writer.length(self.homes.len());
        for (slot, (home, moves)) in &self.homes {
            writer.u16(*slot);
            home.encode(writer);
            writer.u64(*moves);
        }
        writer.option(self.staging.as_ref(), |writer, staging| {
            staging.from.encode(writer);
            writer.u64(staging.copy);
            let mut context = Vec::new();
            staging.context.encode(&mut Writer::new(&mut context));
            writer.bytes(&context);
            staging.vector.encode(writer);
            writer.list(&staging.parts, |writer, part| part.encode(writer));
        });
        self.copy.encode(writer);
    }
    /// Reads what [`SiteState::encode`] wrote under the same seed, all of the input.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode(seed: Seed, input: &[u8]) -> Result<SiteState, DecodeError> {
        let reader = &mut Reader::new(input);
        let head = reader.u8()?;
        if head > (1 | HAS_CLAIMS) {
            return Err(DecodeError::Invalid("head of a site's state"));
        }
        let is_ready = head & 1 == 1;
        let claims = if head & HAS_CLAIMS > 0 { Claims::decode(reader)? } else { Claims::default() };
        let founders = reader.list(SiteId::decode)?;
        let vector = OriginVector::decode(reader)?;
        let homes = reader.list(|reader| Ok((reader.u16()?, (SiteId::decode(reader)?, reader.u64()?))))?;
        let staging = reader.option(|reader| {
            Ok(Staging {
                from: SiteId::decode(reader)?,
                copy: reader.u64()?,
                context: Context::decode(reader.bytes()?)?,
                vector: OriginVector::decode(reader)?,
                parts: reader.list(Staged::decode)?,
            })
        })?;
        let rest = reader.remaining();
        let mut copy = ShardCopy::decode(seed, reader.take(rest)?)?;
        copy.settle_all();
        Ok(SiteState {
            copy,
            vector,
            homes: homes.into_iter().collect(),
            staging,
            claims,
            is_ready,
            founders,
        })
    }
}
