//! Rounds of audits: made by the leader, answered by its followers, counted, and what follows from the count.

use super::{Claim, Doubt, Finding, PATIENCE, REPEAT, REPLAY_BYTES, SINCE_VERSION, Told};
use crate::group::Group;
use crate::io::{Event, Output};
use crate::message::PeerMessage;
use crate::node::Node;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use data::record::Record;
use data::table::{HashRange, RangeSum};
use data::{GroupId, Index, NodeId, Position};
use protocol::single_leader::{Mark, RoleName};

impl Node {
    /// What a group's audits need by the clock.
    pub(crate) fn tend_audit(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group).filter(|_| self.stopped.is_none()) else { return };
        let (compared, differed) = (it.audit.compared, it.audit.differed);
        (it.audit.compared, it.audit.differed) = (0, 0);
        self.statistics.audits_compared += compared;
        self.statistics.audits_differed += differed;
        if core::mem::take(&mut it.audit.unheard)
            && let Some(doubt) = it.audit.doubt
        {
            it.abandon_walk();
            let keyspace = it.keyspace.name.clone();
            self.outputs.push(Output::Event(Event::Doubted { group, keyspace, doubt }));
        }
        self.replay(group);
        let Some(it) = self.groups.get(&group) else { return };
        match it.replica.role() {
            RoleName::Leader => {
                // As long as somebody may be better, an audit would only put others in doubt. A leader that had to leave out entries
                // of its predecessor lacks what its epoch's first entry did not tell: the next epoch's will.
                let sound = it.audit.is_sound() && it.shortfall.is_whole();
                if sound || !self.hand_over(group) {
                    self.audit_range(group);
                }
            }
            RoleName::Follower => self.tell_finding(group),
            RoleName::LeaderElect | RoleName::Sealed | RoleName::Removed => {}
        }
    }

    /// A leader has the next range compared when it is time.
    fn audit_range(&mut self, group: GroupId) {
        let (now, wall_ms) = (self.now.instant, self.now.wall.middle_ms());
        let Some(it) = self.groups.get_mut(&group) else { return };
        // A copy whose program does not know the entry could not read its log: nobody is known to be too old, or unknown.
        let me = self.config.node;
        let versions = &self.versions;
        let knows = |node: NodeId| node == me || versions.get(&node).is_some_and(|v| *v >= SINCE_VERSION);
        let compares = |view: &data::view::View| view.copies().count() > 1 && view.copies().all(knows);
        if self.disk_full || !it.replica.view().is_some_and(compares) {
            return;
        }
        let Some(claim) = it.due(now, self.config.audit) else { return };
        if it.append_audit(now, wall_ms, claim) {
            self.statistics.audits_made += 1;
            self.unflushed.insert(group);
        }
    }

    /// A follower tells its leader what it found, and again while it is in doubt.
    fn tell_finding(&mut self, group: GroupId) {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        let again = !it.audit.is_sound() && now.since(it.audit.told_at) >= REPEAT;
        if !it.audit.untold && !again {
            return;
        }
        let Some((leader, finding)) = it.replica.follows().zip(it.finding()) else { return };
        it.audit.untold = false;
        it.audit.told_at = now;
        self.send(leader, PeerMessage::AuditFinding { group, finding });
    }

    /// A follower tells what it found.
    pub(crate) fn on_audit_finding(&mut self, group: GroupId, from: NodeId, finding: Finding) {
        let me = self.config.node;
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some(epoch) = it.replica.leads() else { return };
        let Some(view) = it.replica.view().filter(|view| view.holds_copy(from)) else { return };
        let members = view.members.clone();
        let Finding { position, found, doubt, stuck, after } = finding;
        let told = Told { index: position.index, doubted: doubt.is_some() || stuck, after };
        it.audit.findings.insert(from, told);
        it.audit.again = it.audit.again.or(doubt);
        if !told.doubted {
            it.audit.wrong.remove(&from);
        }
        if stuck {
            return self.offer_rebuild(group, from, after);
        }
        let mut rounds = it.audit.rounds.iter_mut();
        let round = rounds.find(|it| position.epoch == epoch && it.index == position.index);
        let Some(round) = round.filter(|it| it.range == found.range) else { return };
        round.note(from, found.sum);
        let (own, range, index) = (round.own, round.range, round.index);
        let Some(right) = round.decided(me, &members) else {
            if round.is_disputed() {
                it.audit.again = Some(range);
            }
            return;
        };
        let told: Vec<(NodeId, RangeSum)> = round.told().collect();
        if right != own {
            // The others agree with each other against this copy.
            it.audit.raise(Doubt { position, range, own, other: right });
        } else {
            it.audit.again = it.audit.again.filter(|again| *again != range);
            self.clear_doubt(group, range);
        }
        // Whoever answered last decided it for all: those who differ may have told so before.
        for (node, sum) in told {
            let told = self.groups.get(&group).and_then(|it| it.audit.finding_of(node));
            let Some(told) = told else { continue };
            if sum == right && told.doubted {
                self.send(node, PeerMessage::AuditVerdict { group, position });
            } else if sum != right && right == own {
                let it = self.groups.get_mut(&group);
                let since = it.map(|it| *it.audit.wrong.entry(node).or_insert(index)).unwrap_or(index);
                // A snapshot at that audit itself will do, for the entry changes nothing; and so does the one that this copy
                // pulls already, however many audits it has failed since.
                self.offer_rebuild(group, node, told.after.max(since.previous()));
            }
        }
    }

    /// The vote says that this copy holds in this range what it should.
    fn clear_doubt(&mut self, group: GroupId, range: HashRange) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        if it.audit.doubt.take_if(|doubt| range.covers(doubt.range)).is_none() {
            return;
        }
        it.audit.rebuilding = it.audit.rebuilding.filter(|_| it.audit.replaying);
        it.audit.untold = true;
        self.outputs.push(Output::Event(Event::Cleared { group }));
        self.tend_parked(group);
    }

    /// The leader counted: this copy was right in what it found at this audit.
    pub(crate) fn on_audit_verdict(&mut self, group: GroupId, from: NodeId, position: Position) {
        let Some(it) = self.groups.get(&group).filter(|it| it.replica.follows() == Some(from)) else {
            return;
        };
        if let Some((_, claim)) = it.audit.last.filter(|(last, _)| *last == position) {
            self.clear_doubt(group, claim.range);
        }
    }

    /// A leader whose table is right offers a snapshot of it that lies behind `after`, or takes one.
    pub(crate) fn offer_rebuild(&mut self, group: GroupId, to: NodeId, after: Index) {
        let Some(it) = self.groups.get_mut(&group).filter(|it| it.audit.is_sound()) else { return };
        let from = it.released.max(it.shortfall.own().end());
        let serves = |mark: &Mark| mark.position.index >= from && mark.position.index > after;
        if let Some((mark, len)) = it.snapshots.stored.filter(|(mark, _)| serves(mark)) {
            self.send(to, PeerMessage::AuditOffer { group, mark, len });
            return;
        }
        it.audit.wanted_by.insert(to, after);
        // bugs: SL-16. A newer one would take away what somebody pulls; this copy asks again.
        if it.snapshots.pulled_by.is_empty() {
            self.begin_walk(group);
        }
    }

    /// A copy that lacks entries asks for a snapshot to be made anew from.
    pub(crate) fn ask_for_anew(&mut self, group: GroupId) {
        let Some(it) = self.groups.get(&group) else { return };
        let Some(leader) = it.replica.follows() else { return };
        let found = Claim { range: HashRange::default(), sum: RangeSum::default() };
        let (position, after) = (it.applied_position(), it.after());
        let finding = Finding { position, found, doubt: None, stuck: true, after };
        self.send(leader, PeerMessage::AuditFinding { group, finding });
    }

    /// A snapshot is stored: copies in doubt may wait for it.
    pub(crate) fn offer_stored(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group).filter(|it| it.replica.leads().is_some()) else { return };
        let Some((mark, _)) = it.snapshots.stored else { return };
        // Whom this one does not help asks again: until then the log may have gone on.
        for (to, after) in core::mem::take(&mut it.audit.wanted_by) {
            if mark.position.index > after {
                self.offer_rebuild(group, to, after);
            }
        }
    }

    /// The leader offers a snapshot to make this copy anew from.
    pub(crate) fn on_audit_offer(&mut self, group: GroupId, from: NodeId, mark: Mark, len: u64) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let follows = it.replica.role() == RoleName::Follower && it.replica.follows() == Some(from);
        let lacks = !it.shortfall.is_whole();
        let wants = it.audit.doubt.is_some() || it.lacks_log() || lacks;
        let newer = mark.position.index > it.after();
        if follows && lacks && !newer {
            // The leader knows only of the gaps that it sent itself.
            return self.ask_for_anew(group);
        }
        let serves = newer && it.snapshots.transfer.is_none();
        if !follows || !wants || !serves || it.replica.is_stranded() {
            return;
        }
        it.audit.rebuilding = Some(mark);
        self.take_snapshot(group, from, mark, len);
    }

    /// Goes on with the log behind the snapshot that this copy was made anew from; what memory no longer holds is read from disk.
    pub(crate) fn replay(&mut self, group: GroupId) {
        let going = |it: &&mut Group| it.audit.replaying && !it.audit.stuck;
        let Some(it) = self.groups.get_mut(&group).filter(going) else { return };
        if it.lacks_log() {
            if !core::mem::replace(&mut it.audit.reading, true) {
                let (to, from) = (self.config.node, it.applied.next());
                self.outputs.push(Output::ReadLog { group, to, from, bytes_max: REPLAY_BYTES });
            }
            return;
        }
        let mut out = Vec::new();
        it.audit.replaying = false;
        it.apply_through(it.replica.commit(), &mut out);
        let position = it.applied_position();
        it.audit.untold = true;
        if it.audit.doubt.is_none() {
            self.statistics.copies_rebuilt += 1;
            self.outputs.push(Output::Event(Event::Rebuilt { group, position }));
        }
        self.carry_out(group, out);
        self.tend_parked(group);
    }

    /// A piece of this node's own log, for a copy that is made anew.
    pub(crate) fn on_own_log_read(&mut self, group: GroupId, records: &Bytes) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        if it.site.is_some() {
            return self.on_site_log_read(group, records);
        }
        it.audit.reading = false;
        if !it.audit.replaying {
            return;
        }
        let (mut rest, before) = (&records[..], it.applied);
        while let Ok(record) = Record::parse(rest) {
            let header = &record.header;
            let first = record.gap().map_or(header.index, |gap| gap.first);
            if first == it.applied.next() && header.index <= it.replica.commit() {
                it.apply_next(&record);
            }
            rest = &rest[record.len..];
        }
        if it.applied == before {
            // The log no longer reaches back so far: the leader is asked for a newer snapshot.
            it.audit.stuck = true;
            return;
        }
        self.replay(group);
    }

    /// A leader in doubt serves nobody: it asks for another one, each of the followers in turn. Those first who tell that they are
    /// not in doubt, then those who tell nothing; if all are in doubt the vote has its time before. Returns whether anybody may be
    /// better than this copy.
    fn hand_over(&mut self, group: GroupId) -> bool {
        let (now, me) = (self.now.instant, self.config.node);
        let Some(it) = self.groups.get_mut(&group) else { return false };
        let Some(view) = it.replica.view() else { return false };
        let able = |node: &NodeId| {
            let progress = it.replica.followers().find(|(follower, _)| follower == node);
            *node != me && self.peers.contains_key(node) && progress.is_some_and(|(_, p)| p.is_replicating())
        };
        let mut able: Vec<NodeId> = view.electable.iter().map(|replica| replica.node).filter(able).collect();
        // Not in doubt, or nothing told, or in doubt.
        let rank = |node: &NodeId| match it.audit.finding_of(*node) {
            Some(told) if told.doubted => 2,
            Some(_) => 0,
            None => 1,
        };
        let is_new = now.since(it.audit.led_since) < PATIENCE;
        let best = able.iter().map(rank).min().unwrap_or(if is_new { 1 } else { 2 });
        able.retain(|node| rank(node) == best);
        if (is_new && best > 0) || now.since(it.audit.handed_at) < REPEAT || it.paused.is_some() {
            return best < 2;
        }
        it.audit.handed_at = now;
        it.audit.handed += 1;
        let Some(target) = able.get(it.audit.handed % able.len().max(1)).copied() else { return false };
        let ticket = self.new_ticket(None);
        self.control(control::Input::Switchover { ticket, group, target: Some(target) });
        best < 2
    }

    /// Changes a bit of this node's copy of a group, as failing memory would. For simulators and tests.
    pub fn damage_table(&mut self, group: GroupId, draw: u64) -> bool {
        self.groups.get_mut(&group).is_some_and(|it| it.table.damage(draw))
    }

    /// What is wrong with this node's copies, in words.
    pub(crate) fn alarm_of(&self, group: GroupId) -> Option<String> {
        let doubt = self.groups.get(&group)?.audit.doubt?;
        Some(alloc::format!(
            "range {} differs at {}: {} keys with sum {:016x} here, {} with {:016x} elsewhere",
            doubt.range,
            doubt.position,
            doubt.own.keys,
            doubt.own.sum,
            doubt.other.keys,
            doubt.other.sum
        ))
    }
}
