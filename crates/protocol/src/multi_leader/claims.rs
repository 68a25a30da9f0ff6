//! Claims: who may write which keys under the policy `block`, as a site's log knows it.
//!
//! What a site agreed to is part of the state that its log makes; who asks and who judges is in `claiming`.
// catalogue: J2

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;
use data::codec::{DecodeError, Reader, Writer};
use data::{Epoch, SiteId};

/// Keys of one claim at most. A guess: an MSET of more is divided by its client.
pub(super) const PLACES_MAX: usize = 1 << 16;

/// A claim's name: the leader that made it, and its number there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ClaimId {
    pub site: SiteId,
    pub epoch: Epoch,
    pub number: u64,
}

impl ClaimId {
    pub(super) fn encode(self, w: &mut Writer<'_>) {
        self.site.encode(w);
        self.epoch.encode(w);
        w.u64(self.number);
    }
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<ClaimId, DecodeError> {
        Ok(ClaimId { site: SiteId::decode(r)?, epoch: Epoch::decode(r)?, number: r.u64()? })
    }
}

/// Which claims of its epoch a leader still has: those at or above `next` are to come.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct OpenClaims {
    pub next: u64,
    pub open: BTreeSet<u64>,
}

/// Why a claim was not won. Nothing was written, and never will be under it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unclaimed {
    /// This site is being copied from another one.
    Joining,
    /// The other site has a claim on one of the keys.
    Held { by: SiteId },
    /// That site knows of a write of one of the keys that this one does not hold.
    Unseen { at: SiteId },
    /// So many sites agreed, or can be reached at all, of those that must.
    TooFew { agreed: usize, needed: usize },
    /// As many claims as there may be are under way.
    Full,
    /// More keys than one claim may have.
    TooLarge,
}

impl fmt::Display for Unclaimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unclaimed::Joining => f.write_str("this site is being copied from another one"),
            Unclaimed::Held { by } => write!(f, "{by} is writing one of the keys"),
            Unclaimed::Unseen { at } => write!(f, "{at} knows of a write that this site does not hold"),
            Unclaimed::TooFew { agreed, needed } => write!(f, "{agreed} of {needed} sites agreed"),
            Unclaimed::Full => f.write_str("too many claims are under way"),
            Unclaimed::TooLarge => write!(f, "a write has at most {PLACES_MAX} keys here"),
        }
    }
}
impl core::error::Error for Unclaimed {}

/// What a site has agreed to: part of the state that its log makes.
///
/// Invariant: `by_place` is of `claims`, and no place is two sites'.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Claims {
    claims: BTreeMap<ClaimId, Vec<u64>>,
    by_place: BTreeMap<u64, (SiteId, u32)>,
    /// Places of all claims.
    places: usize,
}

impl Claims {
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }
    pub fn has(&self, id: ClaimId) -> bool {
        self.claims.contains_key(&id)
    }
    /// Places of all claims: one that several of them name counts as often.
    pub fn len(&self) -> usize {
        self.places
    }
    /// The site that has a claim on a place, if it is another one.
    pub fn held_by_other(&self, place: u64, me: SiteId) -> Option<SiteId> {
        self.by_place.get(&place).map(|(site, _)| *site).filter(|site| *site != me)
    }
    pub fn add(&mut self, id: ClaimId, places: &[u64]) {
        if self.has(id) {
            return;
        }
        for place in places {
            self.by_place.entry(*place).or_insert((id.site, 0)).1 += 1;
        }
        self.places += places.len();
        self.claims.insert(id, places.to_vec());
    }
    pub fn remove(&mut self, id: ClaimId) {
        let places = self.claims.remove(&id).unwrap_or_default();
        self.places -= places.len();
        for place in places {
            if let Some((_, count)) = self.by_place.get_mut(&place) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.by_place.remove(&place);
                }
            }
        }
    }
    /// Claims of a site that its leader does not have any more.
    pub fn over<'c>(
        &'c self,
        site: SiteId,
        epoch: Epoch,
        left: &'c OpenClaims,
    ) -> impl Iterator<Item = ClaimId> + 'c {
        let first = ClaimId { site, epoch: Epoch(0), number: 0 };
        let its = self.claims.range(first..).map(|(id, _)| *id).take_while(move |id| id.site == site);
        its.filter(move |id| is_over(*id, epoch, left))
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.length(self.claims.len());
        for (id, places) in &self.claims {
            id.encode(w);
            w.list(places, |w, place| w.u64(*place));
        }
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Claims, DecodeError> {
        let mut claims = Claims::default();
        for (id, places) in r.list(|r| Ok((ClaimId::decode(r)?, r.list(|r| r.u64())?)))? {
            claims.add(id, &places);
        }
        Ok(claims)
    }
}

pub(super) fn is_over(id: ClaimId, epoch: Epoch, left: &OpenClaims) -> bool {
    id.epoch < epoch || (id.epoch == epoch && id.number < left.next && !left.open.contains(&id.number))
}
