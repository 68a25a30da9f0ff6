//! One shard of one site on one node: the state that the committed log makes, and the exchange on top of it where this node
//! leads.
//!
//! A leader holds the state twice, as committed and as proposed: what it takes back when it is deposed is the second one, whole.

use super::claim::Parked;
use super::entry;
use super::session::Behind;
use crate::answers::Answers;
use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use commands::Spec;
use core::cell::Cell;
use data::causal::{MergeEngine, Merged, Object};
use data::codec::DecodeError;
use data::multi_leader::Conflict;
use data::record::Kind;
use data::rules::{Resolvers, Rule};
use data::table::Seed;
use data::{Index, Instant, RequestId, Site, SiteId, WriteStamp};
use protocol::clocks::ClockBounds;
use protocol::multi_leader::{
    Config, Exchange, Fetched, Leadership, Limits, Marks, Output, Policy, Record, Refusal, SiteState,
};
use protocol::single_leader::LogWindow;

/// Bytes of the newest committed records that a leader keeps for its peers; what is older is read from disk. A guess.
const RECENT_BYTES_MAX: usize = 4 << 20;
/// Writes whose stamps a leader can tell by their places in the log. A guess: receipts are asked for at once.
const STAMPS_MAX: usize = 8192;
/// A read of the log that was not answered for so long never will be.
const READ_PATIENCE: core::time::Duration = core::time::Duration::from_secs(2);

/// What the disk has of a shard's state: a snapshot's, and the committed records behind it.
#[derive(Default)]
pub(crate) struct RestoredSite {
    pub state: Option<SiteState>,
    pub records: Vec<(Index, Record)>,
    pub broken: Option<DecodeError>,
}

impl RestoredSite {
    /// The next committed `site` entry.
    pub fn take(&mut self, record: &data::record::Record<'_>, answers: &mut Answers) {
        let header = &record.header;
        match entry::read(record.payload) {
            Ok((answer, its)) => {
                if let Some(answer) = answer.filter(|_| header.request != RequestId::NONE) {
                    answers.insert(header.request, header.position(), answer);
                }
                self.records.push((header.index, its));
            }
            Err(error) => self.broken = Some(error),
        }
    }
}

/// A read of the log for a peer.
struct Reading {
    peer: SiteId,
    from: Index,
    next: Index,
    bytes_max: u64,
    at: Instant,
}

/// Invariants: `state` and `marks` are what the log's entries through `applied` make, all committed; `proposed` are the entries
/// behind it that this leader made; `recent` holds every record from `recent_from` through `applied`.
pub(crate) struct SiteShard {
    pub me: SiteId,
    pub name: Site,
    pub conflict: Conflict,
    /// The keyspace's function, if it has one.
    resolvers: Resolvers,
    rules: Vec<Rule>,
    /// What it did for readers.
    pub merged: Cell<Merged>,
    /// Names of the keyspace's sites.
    pub names: BTreeMap<SiteId, Site>,
    pub state: SiteState,
    marks: Marks,
    pub applied: Index,
    /// Why a committed entry could not be read: what lies behind it is not applied, and the node stops.
    pub broken: Option<DecodeError>,
    proposed: VecDeque<(Index, Record, usize)>,
    /// Committed, and not told to the exchange yet.
    fresh: Vec<(Index, Record)>,
    recent: VecDeque<(Index, Record, usize)>,
    recent_from: Index,
    recent_bytes: usize,
    readings: VecDeque<Reading>,
    /// The read of the log under way: from which index on, and since when.
    asked: Option<(Index, Instant)>,
    pub stamps: VecDeque<(Index, WriteStamp)>,
    pub exchange: Option<Exchange>,
    /// What the exchange wants done and nobody has looked at.
    pub late: Vec<Output>,
    /// Clients' writes, by the claims that they wait for.
    pub parked: BTreeMap<u64, Parked>,
    /// Commands of sessions that saw at other sites what is not here yet.
    pub behind: Vec<Behind>,
    /// Bytes of the last snapshot of the state.
    pub snapshot_bytes: usize,
    /// Who is away, and whether writes take detours, as last reported.
    pub routed: (Vec<SiteId>, bool),
}

pub(crate) fn policy_of(conflict: &Conflict) -> Policy {
    match conflict {
        // What a function gives is shown and not written.
        Conflict::Crdt | Conflict::Merge { .. } => Policy::Crdt,
        Conflict::Siblings => Policy::Siblings,
        Conflict::LastWriteWins => Policy::LastWriteWins,
        Conflict::Home => Policy::Home,
        Conflict::Block => Policy::Block,
    }
}

/// What was read for another site: the peer, behind which index, and what was there.
type Answer = (SiteId, Index, Fetched);

/// Keys of a command and what readers are shown of them.
type ShownKeys<'o> = Vec<(&'o [u8], Option<Cow<'o, Object>>)>;

impl SiteShard {
    /// `through`: the snapshot's index; `applied`: that of the last committed entry on this disk.
    pub fn open(
        (me, name): (SiteId, Site),
        founders: &[SiteId],
        (conflict, seed): (Conflict, Seed),
        restored: RestoredSite,
        (through, applied): (Index, Index),
    ) -> SiteShard {
        let state = restored.state.unwrap_or_else(|| SiteState::new(seed, me, founders));
        let marks = Marks::new(through, state.vector().clone());
        let mut shard = SiteShard {
            me,
            name,
            conflict,
            resolvers: Resolvers::default(),
            rules: Vec::new(),
            merged: Cell::default(),
            names: BTreeMap::new(),
            state,
            marks,
            applied,
            broken: None,
            proposed: VecDeque::new(),
            fresh: Vec::new(),
            recent: VecDeque::new(),
            recent_from: applied.next(),
            recent_bytes: 0,
            readings: VecDeque::new(),
            asked: None,
            stamps: VecDeque::new(),
            exchange: None,
            late: Vec::new(),
            parked: BTreeMap::new(),
            behind: Vec::new(),
            snapshot_bytes: 0,
            routed: (Vec::new(), false),
        };
        for (index, record) in restored.records {
            shard.apply(index, record, 0);
        }
        shard
    }
    fn apply(&mut self, index: Index, record: Record, len: usize) {
        self.state.apply(&record);
        self.marks.note(index, &record);
        if self.exchange.is_none() {
            return;
        }
        self.fresh.push((index, record.clone()));
        self.recent.push_back((index, record, len));
        self.recent_bytes += len;
        while self.recent_bytes > RECENT_BYTES_MAX
            && let Some((gone, _, len)) = self.recent.pop_front()
        {
            self.recent_bytes -= len;
            self.recent_from = gone.next();
        }
    }
    /// Applies what is committed and not applied yet. `executed`: the answers of entries through here are known.
    pub fn advance(&mut self, log: &LogWindow, executed: Index, commit: Index, answers: &mut Answers) {
        let from = self.applied.next();
        if from > commit || self.broken.is_some() {
            return;
        }
        log.each(from, commit, |record| {
            let header = &record.header;
            if header.kind != Kind::Site || self.broken.is_some() {
                return;
            }
            while self.proposed.front().is_some_and(|(index, ..)| *index < header.index) {
                self.proposed.pop_front();
            }
            let len = record.payload.len();
            if self.proposed.front().is_some_and(|(index, ..)| *index == header.index)
                && let Some((index, its, _)) = self.proposed.pop_front()
            {
                return self.apply(index, its, len);
            }
            let (answer, its) = match entry::read(record.payload) {
                Ok(read) => read,
                Err(error) => {
                    self.broken = Some(error);
                    return;
                }
            };
            if let Some(answer) = answer.filter(|_| header.index > executed && !header.request.is_none()) {
                answers.insert(header.request, header.position(), answer);
            }
            self.apply(header.index, its, len);
        });
        if self.broken.is_none() {
            self.applied = commit;
        }
    }
    /// A snapshot takes the place of everything.
    pub fn install(&mut self, state: SiteState, through: Index) -> SiteState {
        self.step_down();
        self.marks = Marks::new(through, state.vector().clone());
        self.applied = through;
        core::mem::replace(&mut self.state, state)
    }
    /// Entries before `first` are gone from the log.
    pub fn trimmed(&mut self, first: Index) {
        self.marks.trim(first);
        if let Some(exchange) = &mut self.exchange {
            exchange.trimmed(first);
        }
    }
    /// This node leads, and everything in its log is committed and applied.
    pub fn lead(&mut self, me: Leadership, now: Instant, config: Config, clocks: ClockBounds) {
        let policy = policy_of(&self.conflict);
        let mut marks = self.marks.clone();
        // From here on records are in memory, also where what is before cannot be read any more.
        marks.set(self.applied);
        let mut exchange = Exchange::new(me, Limits::default(), policy, self.state.clone(), marks);
        exchange.set_resolvers(self.resolvers.clone());
        exchange.hear_clocks(clocks);
        exchange.configure(now, config, &mut self.late);
        self.recent_from = self.applied.next();
        self.exchange = Some(exchange);
    }
    /// What the map says of conflicts: functions and rules may be others by now.
    pub fn set_conflict(&mut self, conflict: &Conflict, rules: &[Rule], engine: &'static dyn MergeEngine) {
        let is_known = self.rules == rules && self.conflict == *conflict;
        if is_known && (!self.resolvers.is_empty() || conflict.function().is_none()) {
            return;
        }
        if conflict.function().is_some() {
            self.conflict = conflict.clone();
        }
        self.rules = rules.to_vec();
        self.resolvers = Resolvers::new(engine, rules, conflict.function());
        if let Some(exchange) = &mut self.exchange {
            exchange.set_resolvers(self.resolvers.clone());
        }
    }
    /// Why a command that is about what nobody else writes cannot be executed here, whatever it would write.
    pub fn refusal_here<'k>(&self, mut keys: impl Iterator<Item = &'k [u8]>) -> Option<Refusal> {
        let home = |key| Some(self.home(data::slot::slot(key))).filter(|home| *home != self.me);
        let home = keys.find_map(home).filter(|_| self.conflict == Conflict::Home)?;
        Some(Refusal::Elsewhere { home })
    }
    /// What readers of a command are shown of its keys.
    pub fn shown<'o>(&self, spec: &Spec, found: &[(&'o [u8], Option<&'o Object>)]) -> ShownKeys<'o> {
        let merges = !self.resolvers.is_empty() && !commands::causal::shows_versions(spec);
        let mut count = self.merged.get();
        let mut shown = |key: &[u8], object: &'o Object| match self.resolvers.of(key).filter(|_| merges) {
            Some(merging) => object.merged(merging, &mut count),
            None => Cow::Borrowed(object),
        };
        let shown =
            found.iter().map(|(key, object)| (*key, object.map(|object| shown(key, object)))).collect();
        self.merged.set(count);
        shown
    }
    pub fn step_down(&mut self) {
        self.exchange = None;
        self.proposed.clear();
        self.fresh.clear();
        self.late.clear();
        self.recent.clear();
        self.recent_bytes = 0;
        self.readings.clear();
        self.asked = None;
        self.stamps.clear();
    }
    /// Where a slot is at home: as proposed where this node leads, else as committed.
    pub fn home(&self, slot: u16) -> SiteId {
        let state = self.exchange.as_ref().map_or(&self.state, |exchange| exchange.state());
        state.home(slot).0
    }
    pub fn proposed(&mut self, index: Index, record: Record, len: usize) {
        self.proposed.push_back((index, record, len));
    }
    pub fn note_stamp(&mut self, index: Index, stamp: WriteStamp) {
        if self.stamps.len() >= STAMPS_MAX {
            self.stamps.pop_front();
        }
        self.stamps.push_back((index, stamp));
    }
    /// The stamp of the write at this place, as far as this leader remembers.
    pub fn stamp_at(&self, index: Index) -> Option<WriteStamp> {
        let at = self.stamps.binary_search_by_key(&index, |(at, _)| *at).ok()?;
        self.stamps.get(at).map(|(_, stamp)| *stamp)
    }
    /// The exchange hears of what is committed.
    pub fn tell_committed(&mut self, now: data::Now, out: &mut Vec<Output>) {
        let fresh = core::mem::take(&mut self.fresh);
        if let Some(exchange) = &mut self.exchange {
            fresh.iter().for_each(|(index, record)| exchange.committed(now, *index, record, out));
        }
    }
    /// Committed records for a peer, from memory; nothing when they have to be read from disk, from the index that is told then.
    pub fn fetch(
        &mut self,
        now: Instant,
        (peer, from, bytes_max): (SiteId, Index, u64),
    ) -> Result<Fetched, Option<(Index, u64)>> {
        if from >= self.recent_from {
            let at = self.recent.partition_point(|(index, ..)| *index < from);
            let mut bytes = 0;
            let mut records = Vec::new();
            for (index, record, len) in self.recent.iter().skip(at) {
                if bytes > 0 && bytes + *len as u64 > bytes_max {
                    break;
                }
                bytes += *len as u64;
                records.push((*index, record.clone()));
            }
            return Ok(Fetched::Records(records));
        }
        self.readings.retain(|reading| reading.peer != peer && now.since(reading.at) < READ_PATIENCE);
        let reading = Reading { peer, from, next: from, bytes_max, at: now };
        self.readings.push_back(reading);
        Err(self.next_reading(now))
    }
    /// What was read of the log from this index on: whom it is for. `Err` asks for a further read.
    pub fn read(
        &mut self,
        now: Instant,
        asked: Index,
        records: &[u8],
    ) -> Result<Option<Answer>, (Index, u64)> {
        // The answer to a question that was given up says nothing of where the log begins for another peer.
        if self.asked.take_if(|(from, _)| *from == asked).is_none() {
            return Ok(None);
        }
        let Some(reading) = self.readings.front_mut().filter(|it| it.next == asked) else { return Ok(None) };
        let mut found = Vec::new();
        let (mut rest, mut next, mut any) = (records, reading.next, false);
        while let Ok(record) = data::record::Record::parse(rest) {
            rest = &rest[record.len..];
            let header = &record.header;
            if header.index < next || header.index > self.applied {
                continue;
            }
            if header.index > next {
                break;
            }
            any = true;
            next = header.index.next();
            if header.kind == Kind::Site
                && let Ok((_, its)) = entry::read(record.payload)
            {
                found.push((header.index, its));
            }
        }
        if any && found.is_empty() && next <= self.applied {
            // Nothing but other entries: on with what follows.
            reading.next = next;
            reading.at = now;
            self.asked = Some((next, now));
            return Err((next, reading.bytes_max));
        }
        let Some(Reading { peer, from, .. }) = self.readings.pop_front() else { return Ok(None) };
        let fetched = if any { Fetched::Records(found) } else { Fetched::Gone { first: from.next() } };
        Ok(Some((peer, from, fetched)))
    }
    /// The next read of the log that waits for its turn. One at a time: answers do not say whom they are for.
    pub fn next_reading(&mut self, now: Instant) -> Option<(Index, u64)> {
        if self.asked.is_some_and(|(_, at)| now.since(at) < READ_PATIENCE) {
            return None;
        }
        let reading = self.readings.front_mut()?;
        reading.at = now;
        self.asked = Some((reading.next, now));
        Some((reading.next, reading.bytes_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::Position;
    use data::record::{Header, Record as Entry};
    use protocol::single_leader::Mark;

    /// A read for one peer took so long that it asked again, and another peer's question was the first by then.
    #[test]
    fn an_answer_to_another_question_does_not_say_that_the_log_is_gone() {
        let site = Site::named("eu").expect("a site");
        let (first, second) = (SiteId(2), SiteId(3));
        let restored = RestoredSite::default();
        let through = (Index(0), Index(50));
        let setting = (Conflict::Crdt, Seed(1, 2));
        let mut shard = SiteShard::open((SiteId(1), site), &[SiteId(1)], setting, restored, through);
        let at = |ms: u64| Instant::ZERO + core::time::Duration::from_millis(ms);
        // Entries of another kind count as well: they say that the log is there.
        let piece = |from: u64| {
            let mut bytes = Vec::new();
            for index in from..=50 {
                let header = Header { kind: Kind::Audit, index: Index(index), ..header() };
                Entry::write(&mut bytes, &header, 0, |_| ());
            }
            bytes
        };
        assert_eq!(shard.fetch(at(0), (first, Index(10), 100)).unwrap_err(), Some((Index(10), 100)));
        assert_eq!(shard.fetch(at(1), (second, Index(30), 100)).unwrap_err(), None);
        assert_eq!(shard.fetch(at(2500), (first, Index(10), 100)).unwrap_err(), Some((Index(10), 100)));
        assert_eq!(shard.fetch(at(2600), (second, Index(30), 100)).unwrap_err(), None);
        assert_eq!(shard.fetch(at(2700), (first, Index(20), 100)).unwrap_err(), None);
        // The second peer's question is the first now, and this is the answer to one that was given up.
        assert_eq!(shard.read(at(2800), Index(10), &piece(10)), Ok(None));
        assert_eq!(shard.next_reading(at(2800)), Some((Index(30), 100)));
        assert_eq!(shard.read(at(2900), Index(10), &piece(10)), Ok(None), "it came twice");
        assert_eq!(shard.next_reading(at(2900)), None);
        let found = Fetched::Records(Vec::new());
        assert_eq!(shard.read(at(3000), Index(30), &piece(30)), Ok(Some((second, Index(30), found))));
        // A log that does not reach back so far says so, to whom it was asked for.
        assert_eq!(shard.next_reading(at(3000)), Some((Index(20), 100)));
        let gone = Fetched::Gone { first: Index(21) };
        assert_eq!(shard.read(at(3100), Index(20), &[]), Ok(Some((first, Index(20), gone))));
    }

    /// A record that was skipped made a copy that differs, and nobody knew.
    #[test]
    fn an_entry_that_cannot_be_read_is_not_skipped() {
        let site = Site::named("eu").expect("a site");
        let through = (Index(0), Index(10));
        let setting = (Conflict::Crdt, Seed(1, 2));
        let restored = RestoredSite::default();
        let mut shard = SiteShard::open((SiteId(1), site), &[SiteId(1)], setting, restored, through);
        let mut log = LogWindow::new(Mark { position: Position::new(1, 10), hash: 0 }, Vec::new(), 0);
        let (mut bytes, first) = (Vec::new(), Header { index: Index(11), ..header() });
        let hash = Entry::write(&mut bytes, &first, 0, |w| w.u8(9));
        log.push(first.position(), Mark { position: first.position(), hash }, 0, bytes.into());
        shard.advance(&log, Index(10), Index(11), &mut Answers::default());
        assert!(shard.broken.is_some());
        assert_eq!(shard.applied, Index(10));
    }

    fn header() -> Header {
        Header {
            kind: Kind::Site,
            keyspace: data::KeyspaceId(1),
            group: data::GroupId(1),
            epoch: data::Epoch(1),
            index: Index(0),
            commit: Index(0),
            time_ms: 0,
            request: RequestId::NONE,
        }
    }
}
