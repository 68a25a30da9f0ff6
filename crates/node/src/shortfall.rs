//! What a group's copy on this node lacks of its history, beside what its leader's copy lacks: `COMMIT best-effort`.
//!
//! Everything here follows from the log and the snapshot: a `gap` record says what this copy went on without, and what has no meaning
//! without that is left out too; the first entry of an epoch says what its leader had gone on without before. A copy is *whole* when both are the same. One that is not
//!
//! - answers no reads, and takes part in no audit: what it holds is known to differ;
//! - is elected all the same, if nobody better is there; then what it lacks is lost, and goes to the ledgers: of the new leader as
//!   ranges, and with payloads of every copy that holds it, before that copy is made anew;
//! - is made anew, like a copy in doubt: after an election, before another rule counts it, before it is handed the leadership.
// catalogue: C4
// bugs: TC-80 TC-81 TC-82

use crate::group::Group;
use crate::node::Node;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use data::codec::{DecodeError, Reader, Writer};
use data::gaps::Gaps;
use data::keyspace::CommitRule;
use data::ledger::{Item, ItemId, Mark};
use data::plant::{self, Bug};
use data::record::{Kind, Record};
use data::{Epoch, GroupId, Index, Instant, NodeId, Position, RequestId};

/// A copy that shall be made anew asks its leader this often. A guess: longer than a small snapshot takes.
const ASKS_EVERY: Duration = Duration::from_millis(1200);

/// What a copy's table lacks, and what its leader's does.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Shortfall {
    own: Gaps,
    /// As the newest epoch's first entry told.
    leaders: Gaps,
    /// An epoch has begun since this copy went on without something: its leader holds another state.
    outlived: bool,
    /// The ledger does not know yet what this copy holds and its leader lacks, or as its leader what it lacks itself.
    news: Option<News>,
    /// The write that made it durable.
    kept_by: u64,
    /// Of a snapshot's giver with these gaps everything is kept.
    kept_for: u64,
    asked_at: Instant,
}

/// Entries that are lost with an epoch: this copy holds them, or lacks them as the new leader's.
#[derive(Clone, PartialEq, Eq, Debug)]
struct News {
    ranges: Vec<(Index, Index)>,
    lost_to: Epoch,
    holds: bool,
    /// Some of them may be there after all.
    wide: bool,
}

impl Shortfall {
    /// What every copy lacks that holds what this one does.
    pub fn own(&self) -> &Gaps {
        &self.own
    }
    /// Entries that an election lost: their index is in the history, what they did is not.
    pub fn lost(&self) -> &Gaps {
        &self.leaders
    }
    /// Whether the table lacks nothing that its leader's has, and has nothing that it lacks.
    pub fn is_whole(&self) -> bool {
        self.own.digest() == self.leaders.digest()
    }
    /// Entries that the leader's table has and this one lacks.
    pub fn missed(&self) -> u64 {
        if self.is_whole() {
            return 0;
        }
        self.own.without(&self.leaders).iter().map(|(first, last)| last.0 - first.0 + 1).sum()
    }
    /// An entry that every copy applies. `leads`: the epoch that this copy leads.
    pub(crate) fn note(&mut self, record: &Record<'_>, leads: Option<Epoch>) {
        match record.header.kind {
            Kind::Gap => {
                if let Some(gap) = record.gap() {
                    self.own.note(gap.first, record.header.index);
                }
            }
            Kind::Empty => {
                let told = Gaps::decode(&mut Reader::new(record.payload)).unwrap_or_default();
                let epoch = record.header.epoch;
                let mine = leads == Some(epoch);
                let ranges = if mine { self.own.without(&self.leaders) } else { told.without(&self.own) };
                let known = self.leaders == told;
                self.leaders = told;
                self.outlived = !self.is_whole();
                // What an epoch before was said to have lost, its successor may have after all.
                if ranges.is_empty() {
                    self.news = None;
                } else if !known && !plant::is(Bug::GapsUncounted) {
                    let wide = self.leaders.is_wide() || self.own.is_wide();
                    self.news = Some(News { ranges, lost_to: epoch, holds: !mine, wide });
                }
            }
            _ => {}
        }
    }
    /// This entry had no meaning here, without what came before it.
    pub(crate) fn leave_out(&mut self, index: Index) {
        self.own.note(index, index);
    }
    /// The table is that of a snapshot now. What the copy before it alone held is in the ledger.
    pub(crate) fn renew(&mut self, of: Shortfall) {
        *self = Shortfall { kept_by: self.kept_by, ..of };
    }
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        self.own.encode(w);
        self.leaders.encode(w);
        w.bool(self.outlived);
    }
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Shortfall, DecodeError> {
        let (own, leaders, outlived) = (Gaps::decode(r)?, Gaps::decode(r)?, r.bool()?);
        Ok(Shortfall { own, leaders, outlived, ..Shortfall::default() })
    }
    pub(crate) fn is_nothing(&self) -> bool {
        self.own.is_empty() && self.leaders.is_empty()
    }
}

impl Group {
    /// The replica hears what the table lacks, before it says anything of what is applied.
    pub(crate) fn tell_lacks(&mut self) {
        self.replica.note_lacks(&self.shortfall.own, self.shortfall.is_whole(), self.shortfall.missed());
    }
    /// Whether this copy, which is not whole, is to be made anew: under `best-effort` it stays as it is while the leader does that
    /// made it so.
    fn wants_anew(&self) -> bool {
        let stays = |view: &data::view::View| {
            (view.rule, view.settings.commit) == (CommitRule::BestEffort, CommitRule::BestEffort)
        };
        let outlived = self.shortfall.outlived || !self.replica.view().is_some_and(stays);
        !self.shortfall.is_whole() && outlived && self.replica.follows().is_some()
    }
    /// The items of entries that an epoch's first entry, or a snapshot, tells to be lost.
    fn gap_items(&self, news: &News) -> Vec<Item> {
        let mut items = Vec::new();
        let log = self.replica.log();
        for (first, last) in &news.ranges {
            let mut next = *first;
            // Of what its table lacks, this copy has in its log what was left out.
            log.each(*first, *last, |record| {
                let header = &record.header;
                if header.index < next || header.kind == Kind::Gap {
                    return;
                }
                self.blanks(next, header.index, news.lost_to, &mut items);
                next = header.index.next();
                if !header.kind.is_change() {
                    return;
                }
                let position = header.position();
                let mark = self.mark(position, header.request, news.lost_to);
                items.push(Item {
                    mark: if news.wide || !news.holds { Mark::Perhaps } else { mark },
                    time_ms: header.time_ms,
                    request: header.request,
                    payload: Some(Bytes::copy_from_slice(record.payload)),
                    ..self.blank(position, header.index, news.lost_to)
                });
            });
            // Of what is not in its log, or no longer in memory, only where it stood is known.
            self.blanks(next, last.next(), news.lost_to, &mut items);
        }
        items
    }
    /// Ranges without payload, one for each epoch, from `from` up to `end`.
    fn blanks(&self, mut from: Index, end: Index, lost_to: Epoch, items: &mut Vec<Item>) {
        let starts = self.replica.log().starts();
        while from < end {
            let epoch = self.replica.log().epoch_at(from).unwrap_or_default();
            let next =
                starts.iter().find(|start| start.index > from).map_or(end, |start| start.index.min(end));
            items.push(self.blank(Position { epoch, index: from }, next.previous(), lost_to));
            from = next;
        }
    }
    fn blank(&self, position: Position, through: Index, lost_to: Epoch) -> Item {
        Item {
            id: ItemId { group: self.id(), position },
            keyspace: self.keyspace.id,
            mark: Mark::Perhaps,
            through,
            lost_to,
            copy: None,
            time_ms: self.replica.log().time_ms(),
            request: RequestId::NONE,
            payload: None,
        }
    }
}

impl Node {
    /// What a copy with gaps, or the leader of one, needs by the clock.
    pub(crate) fn tend_shortfall(&mut self, group: GroupId) {
        let now = self.now.instant;
        self.keep_gaps(group);
        let persisted = self.persisted;
        let Some(it) = self.groups.get_mut(&group).filter(|it| it.wants_anew()) else { return };
        let kept = it.shortfall.news.is_none() && it.shortfall.kept_by <= persisted;
        if !kept || it.audit.is_replaying() || it.replica.is_stranded() || it.snapshots.transfer.is_some() {
            return;
        }
        if now.since(it.shortfall.asked_at) < ASKS_EVERY {
            return;
        }
        it.shortfall.asked_at = now;
        self.ask_for_anew(group);
    }

    /// What is lost with gaps is written down as soon as it is known.
    fn keep_gaps(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group).filter(|_| self.stopped.is_none()) else { return };
        let Some(news) = it.shortfall.news.take() else { return };
        let deposed = it.deposed.filter(|copy| copy.node != self.config.node);
        let mut items = it.gap_items(&news);
        if !news.holds {
            items.iter_mut().for_each(|item| item.copy = deposed);
        }
        if items.is_empty() {
            return;
        }
        let records = self.write_items(group, items);
        self.note_in_ledger(records.to_vec());
        self.ledger.look_again(group);
        let token = self.token;
        if let Some(it) = self.groups.get_mut(&group) {
            it.shortfall.kept_by = token;
        }
    }

    /// A snapshot takes this copy's place: what its giver lacks and this copy holds is kept before. False until that is durable.
    pub(crate) fn keeps_gaps_of(&mut self, group: GroupId, giver: &Shortfall) -> bool {
        self.keep_gaps(group);
        let persisted = self.persisted;
        let Some(it) = self.groups.get_mut(&group) else { return false };
        let through = it.replica.log().last().position.index;
        let held = giver.own.without(&it.shortfall.own).into_iter().filter(|(first, _)| *first <= through);
        let ranges: Vec<_> = held.map(|(first, last)| (first, last.min(through))).collect();
        let known = giver.own.digest() == it.shortfall.leaders.digest();
        let kept = known || it.shortfall.kept_for == giver.own.digest();
        if !ranges.is_empty() && !kept && !plant::is(Bug::GapsUncounted) {
            let lost_to = it.replica.promised();
            it.shortfall.kept_for = giver.own.digest();
            let wide = giver.own.is_wide() || it.shortfall.own.is_wide();
            it.shortfall.news = Some(News { ranges, lost_to, holds: true, wide });
            self.keep_gaps(group);
        }
        let kept_by = self.groups.get(&group).map_or(0, |it| it.shortfall.kept_by);
        kept_by <= persisted
    }

    /// Whether a follower could lead without losing anything that it went on without; if not, it is made anew.
    pub(crate) fn is_whole_or_made(&mut self, group: GroupId, target: NodeId) -> bool {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return false };
        if it.replica.is_whole(target) {
            return true;
        }
        if now.since(it.shortfall.asked_at) >= ASKS_EVERY {
            it.shortfall.asked_at = now;
            let after = it.replica.skipped_through(target).previous();
            self.offer_rebuild(group, target, after);
        }
        false
    }
}
