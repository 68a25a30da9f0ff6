//! Audits: copies with equal logs are compared range by range; one that differs is noticed, not shown, and made anew.
//!
//! From time to time a leader appends an `audit` entry with the sum of one range of its table ([`data::table::RangeSum`]). Every
//! copy computes the same sum when it applies that entry and tells the leader. A copy that finds something else is *in doubt*: it
//! raises an alarm, is shown to no reader, takes no snapshot and claims to have applied nothing. Its log is as good as before, so it
//! goes on to acknowledge, to count and to seal. The vote ([`Round`]) ends the doubt: the copy was right, or it pulls a snapshot that
//! the leader took after the audit, replays its own log behind it, and is shown again.
//!
//! A leader in doubt serves nobody: it hands leadership over to a copy that is not. Copies in doubt are elected like others, for
//! what an election needs is their logs, and then do the same. A leader that outvoted itself may be gone before it could tell those who
//! were right, and then all are in doubt: nobody is better, so whoever leads first has them vote anew.
//!
//! What a difference shows as, and is left out: a range is compared when its turn comes, so a damaged value can be read until then;
//! of two copies nobody can tell which is right. The table of answers is not compared.
// catalogue: B5
// bugs: SL-23 TC-40

mod rounds;

use crate::group::Group;
use crate::replay::Unlike;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;
use data::codec::{DecodeError, Reader, Writer};
use data::plant::{self, Bug};
use data::record::{Kind, Record};
use data::table::{HashRange, RangeSum, Table};
use data::{Index, Instant, NodeId, Position, RequestId};
use protocol::single_leader::audit::Round;
use protocol::single_leader::{Mark, RoleName};

/// Peers of this message version know audits, in the log and in messages.
pub const SINCE_VERSION: u8 = 4;
/// A range has about so many keys and bytes, so that to sum it takes a fraction of a millisecond. Guesses. One value that is larger
/// is summed in one go all the same.
const RANGE_KEYS: usize = 2048;
const RANGE_BYTES: usize = 256 << 10;
/// Rounds that a leader still takes answers to.
const ROUNDS_MAX: usize = 4;
/// A copy in doubt tells so again, and a leader in doubt asks for another leader again. A guess: longer than a switchover's pause.
const REPEAT: Duration = Duration::from_millis(1200);
/// A leader in doubt waits so long for others to tell that they are in doubt too. Longer than until they tell so again.
const PATIENCE: Duration = Duration::from_millis(1800);
const REPLAY_BYTES: usize = 1 << 20;

/// How often a leader has a range compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// After so much time, whether anything was written or not.
    pub every: Duration,
    /// Or after so many bytes of the group's log.
    pub log_bytes: usize,
}

impl Default for Pace {
    /// Some percent of what the writes cost that make so much log. Guesses.
    fn default() -> Pace {
        Pace { every: Duration::from_secs(10), log_bytes: 4 << 20 }
    }
}

/// The payload of an `audit` entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    pub range: HashRange,
    pub sum: RangeSum,
}

impl Claim {
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.range.encode(w);
        self.sum.encode(w);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Claim, DecodeError> {
        Ok(Claim { range: HashRange::decode(r)?, sum: RangeSum::decode(r)? })
    }
}

/// What a copy tells its leader of the last audit that it applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The audit entry.
    pub position: Position,
    pub found: Claim,
    /// The range that this copy is in doubt about.
    pub doubt: Option<HashRange>,
    /// It has no log to go on with: whatever it found, it needs a snapshot.
    pub stuck: bool,
    /// A snapshot for it must lie behind this.
    pub after: Index,
}

impl Finding {
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.position.encode(w);
        self.found.encode(w);
        w.option(self.doubt, |w, range| range.encode(w));
        w.bool(self.stuck);
        self.after.encode(w);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Finding, DecodeError> {
        Ok(Finding {
            position: Position::decode(r)?,
            found: Claim::decode(r)?,
            doubt: r.option(HashRange::decode)?,
            stuck: r.bool()?,
            after: Index::decode(r)?,
        })
    }
}

/// Why a copy is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Doubt {
    /// The audit that found the difference.
    pub position: Position,
    pub range: HashRange,
    /// Here, and what the leader's table or the vote says.
    pub own: RangeSum,
    pub other: RangeSum,
}

/// What a follower told last.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub index: Index,
    pub doubted: bool,
    /// A snapshot for it must lie behind this.
    pub after: Index,
}

/// The audits of one group on this node.
#[derive(Debug, Default)]
pub struct Audit {
    doubt: Option<Doubt>,
    /// An alarm that nobody has heard of yet.
    unheard: bool,
    /// The last audit that was applied here, and what this copy held.
    last: Option<(Position, Claim)>,
    compared: u64,
    differed: u64,
    /// The leader has not been told of it.
    untold: bool,
    told_at: Instant,
    /// The snapshot that this copy is made anew from, from when it is asked for until the log behind it is replayed.
    rebuilding: Option<Mark>,
    replaying: bool,
    reading: bool,
    /// This disk no longer has the log that comes next: only another snapshot helps.
    stuck: bool,
    // What a leader remembers.
    made_at: Instant,
    pub(crate) log_bytes: usize,
    range: HashRange,
    again: Option<HashRange>,
    rounds: VecDeque<Round>,
    findings: BTreeMap<NodeId, Told>,
    /// Copies that were outvoted, and the audit since which they are.
    wrong: BTreeMap<NodeId, Index>,
    wanted_by: BTreeMap<NodeId, Index>,
    led_since: Instant,
    handed_at: Instant,
    handed: usize,
}

impl Audit {
    /// Whether the table may be shown, served from and written into snapshots.
    pub fn is_sound(&self) -> bool {
        self.doubt.is_none() && !self.replaying
    }
    /// Whether the table waits for a part of the log that is not in memory.
    pub(crate) fn is_replaying(&self) -> bool {
        self.replaying
    }
    pub fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }
    /// The last audit that was compared here.
    pub fn last(&self) -> Option<Index> {
        self.last.map(|(position, _)| position.index)
    }
    /// What a follower told last, on its leader.
    pub fn finding_of(&self, node: NodeId) -> Option<Told> {
        self.findings.get(&node).copied()
    }
    /// Compares the table with an audit entry, all entries before it being applied.
    pub(crate) fn compare(&mut self, record: &Record<'_>, table: &Table) {
        let Ok(claim) = Claim::decode(&mut Reader::new(record.payload)) else {
            debug_assert!(false, "a checked record decodes");
            return;
        };
        if plant::is(Bug::SkipsComparison) {
            return;
        }
        let position = record.header.position();
        let own = table.range_sum(claim.range);
        self.last = Some((position, Claim { range: claim.range, sum: own }));
        self.untold = true;
        self.compared += 1;
        if own != claim.sum {
            self.differed += 1;
            self.raise(Doubt { position, range: claim.range, own, other: claim.sum });
        }
    }
    /// An entry did something else here than where it was made: the whole table is to be compared.
    pub(crate) fn note_unlike(&mut self, position: Position, unlike: Unlike, table: &Table) {
        let keys = table.len() as u64;
        // What is in doubt already finds more with every entry.
        self.differed += u64::from(self.doubt.is_none());
        let sum = |sum| RangeSum { keys, sum };
        let (own, other) = (sum(unlike.own), sum(unlike.other));
        self.raise(Doubt { position, range: HashRange::default(), own, other });
    }
    fn raise(&mut self, doubt: Doubt) {
        if self.doubt.is_none() {
            self.doubt = Some(doubt);
            self.unheard = true;
        }
    }
    /// Another role begins, or another leader: what the last one remembered is over.
    pub(crate) fn forget_followers(&mut self, now: Instant) {
        self.rounds.clear();
        self.findings.clear();
        self.wrong.clear();
        self.wanted_by.clear();
        self.rebuilding = self.rebuilding.filter(|_| self.replaying);
        (self.made_at, self.log_bytes, self.handed_at, self.untold) = (now, 0, Instant::ZERO, true);
        self.again = self.doubt.map(|doubt| doubt.range);
    }
    /// The leader-elect leads now. What followers have told it since it was elected stands.
    pub(crate) fn begin_leading(&mut self, now: Instant) {
        (self.made_at, self.led_since, self.log_bytes) = (now, now, 0);
    }
    /// The table was replaced by the state at some position of the group's history.
    fn renewed(&mut self) {
        self.doubt = None;
        self.unheard = false;
        self.rebuilding = None;
        self.last = None;
    }
}

impl Group {
    /// Whether the snapshot is the one that this copy asked for to be made anew: of its own history, and of nothing that is not
    /// committed here. The log stays as it is.
    pub(crate) fn rebuilds_from(&self, mark: Mark) -> bool {
        let log = self.replica.log();
        let index = mark.position.index;
        self.audit.rebuilding == Some(mark)
            && index <= self.replica.commit()
            && log.epoch_at(index) == Some(mark.position.epoch)
            && log.hash_at(index).is_none_or(|hash| hash == mark.hash)
    }
    /// The table is that of a snapshot now: what follows is replayed from the log. Comparing begins anew with it.
    pub(crate) fn begin_replay(&mut self) {
        self.audit.renewed();
        self.audit.replaying = true;
        (self.audit.reading, self.audit.stuck) = (false, false);
    }
    /// The table is that of a snapshot which the log begins with: there is nothing between.
    pub(crate) fn end_replay(&mut self) {
        self.audit.replaying = false;
    }
    /// Where the log in memory begins, if that is behind what the table needs next.
    pub(crate) fn lacks_log(&self) -> bool {
        self.applied < self.replica.log().floor().position.index
    }
    /// What a snapshot must lie behind to be of use: what the log on this disk reaches back to, and the audit.
    fn after(&self) -> Index {
        let stored = self.snapshots.stored.map_or(Index(0), |(mark, _)| mark.position.index);
        let least = if self.lacks_log() { self.replica.log().floor().position.index } else { Index(0) };
        // Behind the last gap: what the log has from there on is all that comes.
        let gaps = self.shortfall.own().end().previous();
        let gaps = if self.shortfall.is_whole() { Index(0) } else { gaps };
        stored.max(self.released).max(least).max(gaps)
    }
    fn finding(&self) -> Option<Finding> {
        let nothing = Claim { range: HashRange::default(), sum: RangeSum::default() };
        let stuck = self.audit.stuck;
        // In doubt there is something to tell even if nothing was compared since the start.
        let tells = stuck || self.audit.doubt.is_some();
        let (position, found) = self.audit.last.or(tells.then_some((self.applied_position(), nothing)))?;
        let doubt = self.audit.doubt.map(|doubt| doubt.range);
        Some(Finding { position, found, doubt, stuck, after: self.after() })
    }
    /// The next audit, if it is time for one and the table holds exactly what the log does.
    fn due(&mut self, now: Instant, pace: Pace) -> Option<Claim> {
        let audit = &self.audit;
        let waited = now.since(audit.made_at);
        let due = waited >= pace.every
            || audit.log_bytes >= pace.log_bytes
            || (audit.again.is_some() && waited >= pace.every.min(REPEAT))
            || (audit.doubt.is_some() && audit.rounds.is_empty());
        if self.site.is_some() {
            // Its table is empty, and nothing compares its state yet.
            return None;
        }
        let level = self.applied == self.replica.newest().index && !audit.replaying;
        if !due || !level || self.paused.is_some() || self.replica.role() != RoleName::Leader {
            return None;
        }
        let bits = self.table.range_bits(RANGE_KEYS, RANGE_BYTES);
        let wanted = audit.doubt.map(|doubt| doubt.range).or(audit.again);
        self.audit.again = None;
        let range = wanted.unwrap_or_else(|| self.audit.range.next(bits));
        Some(Claim { range, sum: self.table.range_sum(range) })
    }
    /// Makes an audit entry.
    fn append_audit(&mut self, now: Instant, wall_ms: i64, claim: Claim) -> bool {
        let position = self.replica.propose(Kind::Audit, RequestId::NONE, wall_ms, |w| claim.encode(w));
        let Some(position) = position else { return false };
        self.undo.push_back((position.index, Vec::new()));
        self.applied = position.index;
        let audit = &mut self.audit;
        (audit.made_at, audit.log_bytes, audit.range) = (now, 0, claim.range);
        if audit.rounds.len() == ROUNDS_MAX {
            audit.rounds.pop_front();
        }
        audit.rounds.push_back(Round::new(position.index, claim.range, claim.sum));
        true
    }
}
