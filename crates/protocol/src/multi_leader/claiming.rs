//! Claiming: under the policy `block` a write is made once a majority of the sites have agreed that its site may write the keys.
//!
//! The leader that wants to write asks every site (`Claim`), and tells what it holds. A site agrees when no other site has a claim
//! on the keys there, and when it knows of no write of them that the asker has not. What it agrees to is a record of its log first,
//! so a failover does not forget it. Two majorities share a site: of two writes of a key that do not know of each other one is
//! refused before anything was done, and the other sees all that was written before it.
//!
//! A claim is over when its write is committed, or is not made any more. Statuses tell which claims of a leader are left; a site
//! lets go of the others once it holds all that the status said was committed, so never before the write that a claim was for. A
//! claim of an earlier epoch is over as well: what its leader had not committed is in the status of the next one, or never will be.
//!
//! Clocks decide nothing here: a claim that nobody answers is given up by its asker, and stays at those that agreed until a status
//! reaches them. Sites of such a keyspace are those that it was made with, for majorities of different sets need not meet.
//!
//! Source: Gray and Cheriton's leases and quorum consensus (Gifford, "Weighted Voting for Replicated Data", 1979) without time; the
//! certification of MySQL Group Replication is the nearest relative, and orders all writes in place of those of a key.
// catalogue: J2
// bugs: TC-85 TC-86 TC-87

use super::claims::{ClaimId, OpenClaims, PLACES_MAX, Unclaimed, is_over};
use super::exchange::{Exchange, Output, Report};
use super::message::Message;
use super::record::{Change, Record, SiteWrite};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use data::plant::{self, Bug};
use data::{Epoch, Instant, OriginVector, SiteId, WriteStamp};

/// Claims of one leader at a time. A guess: as many clients wait for a round trip between sites.
const OPEN_MAX: usize = 4096;
/// Claims of all sites on a copy, in keys. A guess: 40 MB. Beyond it nobody is answered until there is room.
const HELD_MAX: usize = 1 << 20;
/// Claims that one record lets go.
const UNCLAIM_MAX: usize = 4096;
/// Keys of which a leader remembers the newest write while some site may lack it. Beyond it an asker must hold all that is there.
const WRITTEN_MAX: usize = 1 << 16;
/// Who does not answer is asked again. A guess: above most round trips between sites.
const ASK_AGAIN: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Asking,
    /// Enough sites have agreed.
    Won,
    /// The write was proposed under this stamp.
    Written(WriteStamp),
}

/// A claim of this leader.
#[derive(Debug)]
struct Own {
    places: Vec<u64>,
    stage: Stage,
    until: Instant,
    asked_at: Instant,
    agreed: BTreeSet<SiteId>,
    refused: BTreeMap<SiteId, Unclaimed>,
}

/// What a leader knows of claims beside its site's state. All of it may go with the leader.
#[derive(Default, Debug)]
pub(super) struct Claiming {
    last: u64,
    own: BTreeMap<u64, Own>,
    /// The own claim under which writes are made at this moment.
    using: Option<u64>,
    /// Agreed to, and not committed in the log yet.
    granting: BTreeSet<ClaimId>,
    /// Claims of other sites that their leaders have no more, and what those sites had written by the first word of that.
    over: BTreeMap<ClaimId, Arc<OriginVector>>,
    /// The newest write of each place, but for those that all sites hold.
    written: BTreeMap<u64, WriteStamp>,
    /// All writes that are not in `written`, as far as some site may lack them.
    floor: OriginVector,
    prune_at: usize,
}

impl Claiming {
    /// Nothing is known of what the state holds but that it does.
    pub fn new(held: OriginVector) -> Claiming {
        Claiming { floor: held, ..Claiming::default() }
    }
    pub fn left(&self) -> OpenClaims {
        OpenClaims { next: self.last + 1, open: self.own.keys().copied().collect() }
    }
}

impl Exchange {
    pub(super) fn blocks(&self) -> bool {
        self.policy == super::Policy::Block
    }
    /// Sites that must agree, this one included.
    fn needed(&self) -> usize {
        self.config.sites.len() / 2 + 1
    }
    /// The places of keys, each once.
    fn places<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Vec<u64> {
        let places: BTreeSet<u64> = keys.map(|key| self.state.copy.place(key)).collect();
        places.into_iter().collect()
    }

    /// Asks the sites whether this one may write the keys. [`Output::Claimed`] or [`Output::Unclaimed`] follows; whoever has a claim
    /// writes [under it](Exchange::under).
    ///
    /// # Errors
    /// When nobody needs to be asked, for it cannot be.
    pub fn claim<'k>(
        &mut self,
        now: Instant,
        keys: impl Iterator<Item = &'k [u8]>,
        patience: Duration,
        out: &mut Vec<Output>,
    ) -> Result<u64, Unclaimed> {
        let (me, places, needed) = (self.me.site, self.places(keys), self.needed());
        if !self.state.is_ready {
            return Err(Unclaimed::Joining);
        }
        if places.len() > PLACES_MAX {
            return Err(Unclaimed::TooLarge);
        }
        if self.claiming.own.len() >= OPEN_MAX {
            return Err(Unclaimed::Full);
        }
        if let Some(by) = places.iter().find_map(|place| self.state.claims.held_by_other(*place, me)) {
            return Err(Unclaimed::Held { by });
        }
        let there = self.heard(now).len() + 1;
        if there < needed {
            return Err(Unclaimed::TooFew { agreed: there, needed });
        }
        self.claiming.last += 1;
        let number = self.claiming.last;
        let (agreed, refused) = (BTreeSet::new(), BTreeMap::new());
        let own = Own { places, stage: Stage::Asking, until: now + patience, asked_at: now, agreed, refused };
        self.claiming.own.insert(number, own);
        self.ask(number, out);
        self.count(number, out);
        Ok(number)
    }
    /// Whether writes are made under a claim at this moment.
    pub fn is_claimed(&self) -> bool {
        self.claiming.using.is_some()
    }
    /// The writes that follow are made under this claim, which was won, until it is called with none. A claim that nothing was
    /// written under is given up then.
    pub fn under(&mut self, claim: Option<u64>) {
        let is_won = |own: &Own| own.stage == Stage::Won;
        if let Some(before) = self.claiming.using.take()
            && self.claiming.own.get(&before).is_some_and(is_won)
        {
            self.close(before);
        }
        self.claiming.using = claim.filter(|number| self.claiming.own.get(number).is_some_and(is_won));
    }
    /// Gives a claim up that nothing was written under.
    fn close(&mut self, number: u64) {
        if self.claiming.own.remove(&number).is_some() {
            self.must_acknowledge = true;
        }
    }
    fn lose(&mut self, number: u64, why: Unclaimed, out: &mut Vec<Output>) {
        self.close(number);
        out.push(Output::Unclaimed { claim: number, why });
    }
    /// Whether the keys may be written now.
    pub(super) fn may_write<'k>(&self, mut keys: impl Iterator<Item = &'k [u8]>) -> bool {
        if !self.blocks() {
            return true;
        }
        let own = self.claiming.using.and_then(|number| self.claiming.own.get(&number));
        let has = |own: &Own, key| own.places.binary_search(&self.state.copy.place(key)).is_ok();
        own.is_some_and(|own| keys.all(|key| has(own, key)))
    }
    /// A write was made, here or elsewhere, and is going to be in the log.
    pub(super) fn note_written(&mut self, write: &SiteWrite) {
        let Change::Deltas(deltas) = &write.change else { return };
        if !self.blocks() {
            return;
        }
        for (key, _) in deltas {
            self.claiming.written.insert(self.state.copy.place(key), write.stamp);
        }
        if let Some(own) = self.claiming.using.and_then(|number| self.claiming.own.get_mut(&number))
            && write.stamp.origin.site == self.me.site
        {
            own.stage = Stage::Written(write.stamp);
        }
        if self.claiming.written.len() > self.claiming.prune_at.max(64) {
            let all = |stamp: &WriteStamp| self.links.values().all(|link| link.acknowledged.contains(*stamp));
            self.claiming.written.retain(|_, stamp| !all(stamp));
            if self.claiming.written.len() > WRITTEN_MAX {
                self.forget_written();
            }
            self.claiming.prune_at = 2 * self.claiming.written.len();
        }
    }
    /// From here on an asker must hold all that is held here.
    pub(super) fn forget_written(&mut self) {
        self.claiming.written.clear();
        self.claiming.floor = self.state.vector.clone();
    }

    fn ask(&mut self, number: u64, out: &mut Vec<Output>) {
        let Some(own) = self.claiming.own.get(&number) else { return };
        let (epoch, seen) = (self.me.epoch, &self.state.vector);
        for to in self.links.keys().filter(|site| !own.agreed.contains(*site)) {
            let message = Message::Claim { epoch, number, places: own.places.clone(), seen: seen.clone() };
            out.push(Output::Send { to: *to, message });
        }
    }
    /// Looks whether a claim is won or lost by now.
    fn count(&mut self, number: u64, out: &mut Vec<Output>) {
        let (needed, sites) = (self.needed(), self.config.sites.len());
        let Some(own) = self.claiming.own.get_mut(&number).filter(|own| own.stage == Stage::Asking) else {
            return;
        };
        if own.agreed.len() + 1 >= needed {
            own.stage = Stage::Won;
            return out.push(Output::Claimed { claim: number });
        }
        if sites - own.refused.len().min(sites) < needed
            && let Some(why) = own.refused.values().next().copied()
        {
            self.lose(number, why, out);
        }
    }

    /// Another site's leader wants to write.
    pub(super) fn take_claim(
        &mut self,
        id: ClaimId,
        places: Vec<u64>,
        seen: &OriginVector,
        out: &mut Vec<Output>,
    ) {
        let ClaimId { site, epoch, number } = id;
        let Some(link) = self.links.get(&site).filter(|_| self.blocks()) else { return };
        let newest = link.status.as_ref();
        let is_late = newest.is_some_and(|status| {
            let left = status.claims.as_ref();
            epoch < status.epoch || left.is_some_and(|left| is_over(id, status.epoch, left))
        });
        if is_late || !self.state.is_ready || places.len() > PLACES_MAX {
            return out.push(Output::Report(Report::Dropped("a claim that is over, or cannot be judged")));
        }
        if self.state.claims.has(id) {
            if !self.claiming.granting.contains(&id) {
                out.push(Output::Send { to: site, message: Message::Agreed { epoch, number } });
            }
            return;
        }
        let refuse = |why| Output::Send { to: site, message: Message::Refused { epoch, number, why } };
        if let Some(by) = places.iter().find_map(|place| self.state.claims.held_by_other(*place, site)) {
            return out.push(refuse(Unclaimed::Held { by }));
        }
        let is_unseen = |place: &u64| self.claiming.written.get(place).is_some_and(|it| !seen.contains(*it));
        if places.iter().any(is_unseen) && !plant::is(Bug::AgreesBlindly) {
            return out.push(refuse(Unclaimed::Unseen { at: self.me.site }));
        }
        // It may be of another key: once the asker holds all of it, it is told.
        let is_vague = !seen.covers(&self.claiming.floor) && !plant::is(Bug::AgreesBlindly);
        if is_vague || self.state.claims.len() + places.len() > HELD_MAX {
            return out.push(Output::Report(Report::Dropped("a claim that cannot be judged yet")));
        }
        let is_asked = |own: &Own| {
            own.stage == Stage::Asking && own.places.iter().any(|place| places.binary_search(place).is_ok())
        };
        let asked: Vec<u64> =
            self.claiming.own.iter().filter(|(_, own)| is_asked(own)).map(|(number, _)| *number).collect();
        // Of two that ask each other one must give way, and always the same.
        if !asked.is_empty() && site > self.me.site {
            return out.push(refuse(Unclaimed::Held { by: self.me.site }));
        }
        asked.into_iter().for_each(|number| self.lose(number, Unclaimed::Held { by: site }, out));
        if plant::is(Bug::AgreesUnlogged) {
            self.state.claims.add(id, &places);
            return out.push(Output::Send { to: site, message: Message::Agreed { epoch, number } });
        }
        self.claiming.granting.insert(id);
        self.propose(Record::Claim { id, places }, out);
    }
    /// What this site agreed to is in its log for good.
    pub(super) fn claim_committed(&mut self, id: ClaimId, out: &mut Vec<Output>) {
        self.claiming.granting.remove(&id);
        let ClaimId { site, epoch, number } = id;
        if self.links.contains_key(&site) {
            out.push(Output::Send { to: site, message: Message::Agreed { epoch, number } });
        }
    }
    /// A write of this leader is committed.
    pub(super) fn write_committed(&mut self, stamp: WriteStamp) {
        if self.claiming.own.is_empty() || stamp.origin.site != self.me.site {
            return;
        }
        let before = self.claiming.own.len();
        self.claiming.own.retain(|_, own| own.stage != Stage::Written(stamp));
        self.must_acknowledge |= self.claiming.own.len() < before;
    }
    pub(super) fn take_agreed(&mut self, from: SiteId, epoch: Epoch, number: u64, out: &mut Vec<Output>) {
        if let Some(own) = self.claiming.own.get_mut(&number).filter(|_| epoch == self.me.epoch) {
            own.agreed.insert(from);
            own.refused.remove(&from);
            self.count(number, out);
        }
    }
    pub(super) fn take_refused(
        &mut self,
        from: SiteId,
        (epoch, number): (Epoch, u64),
        why: Unclaimed,
        out: &mut Vec<Output>,
    ) {
        let own = self.claiming.own.get_mut(&number).filter(|_| epoch == self.me.epoch);
        // A word of before it agreed may come behind.
        let asking = |own: &Own| own.stage == Stage::Asking && !own.agreed.contains(&from);
        let Some(own) = own.filter(|own| asking(own)) else { return };
        // Once that write is here this one would be behind it, and its client would not know.
        if matches!(why, Unclaimed::Unseen { .. }) {
            return self.lose(number, why, out);
        }
        own.refused.insert(from, why);
        self.count(number, out);
    }
    /// Asks again, gives up, and lets go of what is over.
    pub(super) fn tick_claims(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.tend_own_claims(now, out);
        self.let_claims_go(out);
    }
    /// The first two of these, which propose nothing.
    pub(super) fn tend_own_claims(&mut self, now: Instant, out: &mut Vec<Output>) {
        let asking = |(number, own): (&u64, &Own)| (own.stage == Stage::Asking).then_some(*number);
        let asking: Vec<u64> = self.claiming.own.iter().filter_map(asking).collect();
        let needed = self.needed();
        for number in asking {
            let Some(own) = self.claiming.own.get_mut(&number) else { continue };
            if now >= own.until {
                let why = own.refused.values().next().copied();
                let too_few = Unclaimed::TooFew { agreed: own.agreed.len() + 1, needed };
                self.lose(number, why.unwrap_or(too_few), out);
            } else if now.since(own.asked_at) >= ASK_AGAIN {
                own.asked_at = now;
                self.ask(number, out);
            }
        }
    }
    /// A site tells which claims it has left: what the others were for is in what it has written by now. Later words tell of more,
    /// which may be on its way as long as that site writes.
    pub(super) fn note_claims_over(&mut self, site: SiteId) {
        let Some(status) = self.links.get(&site).and_then(|link| link.status.as_ref()) else { return };
        let Some(left) = &status.claims else { return };
        let mut written: Option<Arc<OriginVector>> = None;
        for id in self.state.claims.over(site, status.epoch, left) {
            let its = || Arc::new(status.vector.iter().filter(|stamp| stamp.origin.site == site).collect());
            let written = written.get_or_insert_with(its);
            self.claiming.over.entry(id).or_insert_with(|| Arc::clone(written));
        }
    }
    /// Claims of other sites that are over, once what they were for is here. With ticks and writes, which rest while nothing may be
    /// proposed.
    pub(super) fn let_claims_go(&mut self, out: &mut Vec<Output>) {
        if self.claiming.over.is_empty() {
            return;
        }
        let held = &self.state.vector;
        let is_here = |written: &OriginVector| held.covers(written) || plant::is(Bug::LetsClaimsGoEarly);
        let over = self.claiming.over.iter().filter(|(_, written)| is_here(written));
        let over: Vec<ClaimId> = over.map(|(id, _)| *id).collect();
        for id in &over {
            self.claiming.over.remove(id);
        }
        for part in over.chunks(UNCLAIM_MAX) {
            self.propose(Record::Unclaim { claims: part.to_vec() }, out);
        }
    }
}
