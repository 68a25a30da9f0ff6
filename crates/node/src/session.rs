//! What the node remembers of a client connection.

use crate::io::ConnectionId;
use crate::options::{ClientRequest, Options};
use crate::reads::{ReadFrom, ReadOptions};
use crate::replies::Replies;
use crate::snapshot_reads::OpenSnapshot;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use commands::Spec;
use core::time::Duration;
use data::{GroupId, Instant, KeyspaceId, NodeId, Position, RequestId};
use protocol::multi_leader::SiteToken;
use protocol::session::Positions;
use protocol::single_leader::Asked;
use wire::Protocol;

/// Commands queued after MULTI.
#[derive(Default)]
pub struct Queue {
    pub commands: Vec<(&'static Spec, Vec<Bytes>)>,
    pub bytes: usize,
    /// A command could not be queued: EXEC will refuse all.
    pub failed: bool,
}

/// What the last data command achieved: the content of RECEIPT.
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    pub keyspace: KeyspaceId,
    pub group: GroupId,
    /// The node that executed it.
    pub node: NodeId,
    pub position: Position,
    pub write: bool,
    /// Nobody knows whether it happened.
    pub indeterminate: bool,
    /// Read from a follower's copy; `position` is how far that had come.
    pub stale: bool,
    /// What was asked for beside the keyspace's rule.
    pub asked: Option<Box<Asked>>,
    /// What the write goes by where its place in the log is not known.
    pub name: Option<Box<WriteName>>,
    /// What that copy lacks was acknowledged no longer ago than this, if that was proved.
    pub age: Option<Duration>,
    /// Of a command in a leaderless keyspace: the other fields say little there.
    pub(crate) quorum: Option<Box<crate::leaderless::QuorumReceipt>>,
}

/// The ids of a write: its forwarder's, and its client's own where it has one.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct WriteName {
    pub request: RequestId,
    pub client: Option<ClientRequest>,
}

/// Whether replies are sent (CLIENT REPLY).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// The next reply is skipped.
    SkipNext,
}

pub struct Session {
    pub id: ConnectionId,
    pub address: String,
    pub local: String,
    pub name: String,
    pub library: (String, String),
    pub protocol: Protocol,
    pub keyspace: KeyspaceId,
    pub authenticated: bool,
    pub replies: Replies,
    pub queue: Option<Queue>,
    /// The watch in force and the group whose leader keeps it.
    pub watch: Option<(GroupId, u64)>,
    pub channels: BTreeSet<Box<[u8]>>,
    pub patterns: BTreeSet<Box<[u8]>>,
    pub receipt: Option<Receipt>,
    /// The number of the command that it is of.
    pub receipt_command: u64,
    /// Of each group the last write whose place in the log is known.
    pub written: Vec<Receipt>,
    pub reply_mode: ReplyMode,
    /// CONSISTENCY: what its commands ask for that say nothing else.
    pub defaults: Option<Box<Options>>,
    /// The reply of the last command ends with its receipt: nothing is executed before that is there.
    pub receipt_due: bool,
    /// Who may answer reads, and with what.
    pub reads: ReadOptions,
    /// Goes on from a token: from then on it hears of what is lost, whoever answers.
    pub resumed: bool,
    /// Reads show this in place of the state of now.
    pub snapshot: Option<Box<OpenSnapshot>>,
    /// The leader answers reads, and nothing else is asked for: none of the three above says otherwise.
    pub plain: bool,
    /// What it wrote and saw.
    pub seen: Positions,
    /// What it wrote and saw at other sites: no site answers it before it holds that.
    pub sites: SiteToken,
    /// Of groups of sites what came with a token that says what their sites held: nobody need ask them again.
    pub carried: BTreeMap<GroupId, Position>,
    /// Commands sent to (or waiting for) a leader elsewhere: later ones must not overtake them.
    pub forwarded: usize,
    /// The command being answered may wait: nothing behind it is executed.
    pub paused: bool,
    /// Listed among the connections with output.
    pub listed: bool,
    pub closing: bool,
    pub created: Instant,
    pub active: Instant,
    pub last_command: &'static str,
    pub commands: u64,
}

impl Session {
    /// Notes what a command achieved.
    /// `command`: its number among the connection's; what came later is not replaced by what settled late.
    pub fn achieved(&mut self, command: u64, receipt: Receipt) {
        if receipt.write && receipt.position != Position::default() {
            // One that was asked for again stands where it stood.
            match self.written.iter_mut().find(|known| known.group == receipt.group) {
                Some(known) if known.position < receipt.position => *known = receipt.clone(),
                Some(_) => {}
                None => self.written.push(receipt.clone()),
            }
        }
        if command >= self.receipt_command {
            self.receipt_command = command;
            self.receipt = Some(receipt);
        }
    }

    /// Reads are answered so from now on; the options until now.
    pub fn read_as(&mut self, options: ReadOptions) -> ReadOptions {
        let before = core::mem::replace(&mut self.reads, options);
        self.settle_plain();
        before
    }
    fn settle_plain(&mut self) {
        self.plain = self.reads.from == ReadFrom::Leader && !self.resumed && self.snapshot.is_none();
    }
    /// Reads show a snapshot from now on, or the state of now again; the snapshot until now.
    pub(crate) fn read_snapshot(&mut self, snapshot: Option<Box<OpenSnapshot>>) -> Option<Box<OpenSnapshot>> {
        let before = core::mem::replace(&mut self.snapshot, snapshot);
        self.settle_plain();
        before
    }
    /// What another session saw was seen by this one.
    ///
    /// # Errors
    /// When it is more than a session can keep: nothing was taken over.
    pub fn resume(&mut self, positions: &Positions, sites: &SiteToken) -> Result<(), ()> {
        let mut all = self.sites.clone();
        if !all.join(sites) {
            return Err(());
        }
        self.sites = all;
        self.seen.join(positions);
        self.resumed = true;
        self.plain = false;
        Ok(())
    }
    /// What was seen is forgotten.
    pub fn restart(&mut self) {
        self.seen.clear();
        self.sites = SiteToken::default();
        self.carried.clear();
        self.resumed = false;
        self.settle_plain();
    }
    /// Whether reads must show what the session has seen, or say that it is lost. A leader's readers see the newest of its history,
    /// and ask for no more unless they came with a token.
    pub fn guards(&self) -> bool {
        self.resumed || (self.reads.session && self.reads.from != ReadFrom::Leader)
    }

    pub fn new(
        id: ConnectionId,
        address: String,
        local: String,
        authenticated: bool,
        now: Instant,
    ) -> Session {
        Session {
            id,
            address,
            local,
            name: String::new(),
            library: (String::new(), String::new()),
            protocol: Protocol::Resp2,
            keyspace: KeyspaceId(0),
            authenticated,
            replies: Replies::default(),
            queue: None,
            watch: None,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            receipt: None,
            receipt_command: 0,
            written: Vec::new(),
            reply_mode: ReplyMode::On,
            defaults: None,
            receipt_due: false,
            reads: ReadOptions::default(),
            resumed: false,
            snapshot: None,
            plain: true,
            seen: Positions::default(),
            sites: SiteToken::default(),
            carried: BTreeMap::new(),
            forwarded: 0,
            paused: false,
            listed: false,
            closing: false,
            created: now,
            active: now,
            last_command: "NULL",
            commands: 0,
        }
    }
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }
}

/// All sessions, found by the low 32 bits of their number: drivers number connections so that these stay small.
#[derive(Default)]
pub struct Sessions {
    places: Vec<Option<Box<Session>>>,
    len: usize,
}

impl Sessions {
    fn place(id: ConnectionId) -> usize {
        id.0 as u32 as usize
    }
    pub fn insert(&mut self, session: Session) {
        let place = Sessions::place(session.id);
        if place >= self.places.len() {
            self.places.resize_with(place + 1, || None);
        }
        if self.places[place].replace(Box::new(session)).is_none() {
            self.len += 1;
        }
    }
    pub fn remove(&mut self, id: ConnectionId) -> Option<Box<Session>> {
        let place = self.places.get_mut(Sessions::place(id))?;
        if place.as_ref().is_none_or(|session| session.id != id) {
            return None;
        }
        self.len -= 1;
        place.take()
    }
    pub fn get(&self, id: ConnectionId) -> Option<&Session> {
        self.places.get(Sessions::place(id))?.as_deref().filter(|session| session.id == id)
    }
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Session> {
        self.places.get_mut(Sessions::place(id))?.as_deref_mut().filter(|session| session.id == id)
    }
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.places.iter().filter_map(|place| place.as_deref())
    }
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.places.iter_mut().filter_map(|place| place.as_deref_mut())
    }
    /// Number of open sessions.
    pub fn count(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(ConnectionId(1), String::new(), String::new(), true, Instant::ZERO)
    }
    fn write(group: u32, index: u64) -> Receipt {
        let position = Position::new(1, index);
        Receipt { group: GroupId(group), position, write: true, ..Receipt::default() }
    }

    /// Answers of two leaders come in any order.
    #[test]
    fn what_settles_late_is_not_the_last_command() {
        let mut it = session();
        it.achieved(2, Receipt { indeterminate: true, ..Receipt::default() });
        it.achieved(1, write(1, 7));
        assert!(it.receipt.as_ref().is_some_and(|receipt| receipt.indeterminate));
        assert_eq!(it.written.len(), 1, "WAIT knows of it");
        it.achieved(3, write(2, 1));
        assert!(it.receipt.is_some_and(|receipt| receipt.group == GroupId(2)));
    }

    /// A write that was asked for again under its id stands where it stood, and what came behind it is waited for too.
    #[test]
    fn of_each_group_the_newest_write_is_kept() {
        let mut it = session();
        for (command, group, index) in [(1, 1, 10), (2, 1, 11), (3, 2, 5), (4, 1, 10), (5, 2, 6)] {
            it.achieved(command, write(group, index));
        }
        let mut written: Vec<(u32, u64)> =
            it.written.iter().map(|it| (it.group.0, it.position.index.0)).collect();
        written.sort_unstable();
        assert_eq!(written, [(1, 11), (2, 6)]);
    }
}
