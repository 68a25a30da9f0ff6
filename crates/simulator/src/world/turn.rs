//! A node's turn, and what it wants carried out: the simulator's counterpart of the server's driver.

use super::{Event, World};
use crate::disk::{self, Job, Received};
use crate::faults::Fault;
use crate::host::Pending;
use data::codec::Writer;
use data::{Incarnation, NodeId, Process};
use node::{ConnectionId, Flow, Input, LoadedSnapshot, Output, PeerMessage};
use std::collections::{BTreeMap, VecDeque};
use storage::{Blockers, ReceivedSnapshot};

/// Shortest time of a disk job, ns; a flush takes longer.
const WRITE_NS: u64 = 30_000;
const FLUSH_NS: u64 = 400_000;

impl World {
    pub(super) fn deliver(
        &mut self,
        from: NodeId,
        to: NodeId,
        connection: u64,
        sender: (Incarnation, Process),
        kind: u8,
        body: &[u8],
    ) {
        let current = *self.network.connection(from, to);
        if current.number != connection || !current.up {
            return;
        }
        match PeerMessage::decode(kind, body) {
            Ok(message) => {
                let (incarnation, process) = sender;
                self.trace.note(self.now, || {
                    let text = format!("{message:?}");
                    format!("{from} to {to} {}", text.chars().take(300).collect::<String>())
                });
                let version = current.version;
                if matches!(message, PeerMessage::Control(control::Message::Heartbeat { .. })) {
                    self.invariants.suspicion.heard(self.now, to, from);
                }
                self.step(to, Input::Peer { from, incarnation, process, version, message });
            }
            Err(error) => self.invariants.fail("messages can be read", format!("kind {kind}: {error}")),
        }
    }

    /// One input and the end of its turn; kept for later when the process is paused.
    pub fn step(&mut self, id: NodeId, input: Input) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if host.node.is_none() {
            return;
        }
        if host.paused {
            host.inbox.push(Pending::Input(Box::new(input)));
            return;
        }
        let now = host.clock.now(self.now);
        if let Some(node) = &mut host.node {
            node.step(now, input);
        }
        self.end_turn(id);
    }

    /// Commands of one connection, as far as none of them has to wait.
    pub(super) fn request(&mut self, id: NodeId, connection: ConnectionId, commands: Vec<Vec<Vec<u8>>>) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let Some(node) = &mut host.node else { return };
        if host.paused {
            host.inbox.extend(commands.into_iter().flat_map(|words| [Pending::Request(connection, words)]));
            return;
        }
        let now = host.clock.now(self.now);
        let mut left = commands.into_iter();
        let behind = host.behind.entry(connection).or_default();
        if !behind.is_empty() || node.is_paused(connection) {
            behind.extend(left);
            return;
        }
        for words in left.by_ref() {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            if node.request(now, connection, &words) == Flow::Pause {
                break;
            }
        }
        behind.extend(left);
        if let Some(length) = host.pause_in_turn.take() {
            // bugs: SL-06. Between the reading and the check of the lease lies any length of time.
            host.paused = true;
            self.after(length, Event::Wake { node: id });
            return;
        }
        self.end_turn(id);
    }

    /// A paused process goes on: first with the turn that it was in, then with all that has come meanwhile.
    pub(super) fn wake(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if !std::mem::take(&mut host.paused) {
            return;
        }
        self.trace.note(self.now, || format!("{id} goes on"));
        self.end_turn(id);
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let (inbox, now) = (std::mem::take(&mut host.inbox), host.clock.now(self.now));
        for pending in inbox {
            let Some(host) = self.hosts.get_mut(&id) else { return };
            let Some(node) = &mut host.node else { return };
            match pending {
                Pending::Input(input) => node.step(now, *input),
                Pending::Request(connection, words) => {
                    let behind = host.behind.entry(connection).or_default();
                    if !behind.is_empty() || node.is_paused(connection) {
                        behind.push(words);
                    } else {
                        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                        node.request(now, connection, &words);
                    }
                }
            }
        }
        self.end_turn(id);
    }

    pub(super) fn end_turn(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let Some(node) = &mut host.node else { return };
        let mut outputs = Vec::new();
        node.end_turn(host.clock.now(self.now), &mut outputs);
        let (mut ready, mut resumed) = (Vec::new(), Vec::new());
        node.take_ready(&mut ready);
        node.take_resumed(&mut resumed);
        let mut replies = Vec::new();
        for connection in ready {
            let mut bytes = Vec::new();
            node.take_replies(connection, &mut bytes);
            replies.push((connection, bytes));
        }
        self.invariants.observe(self.now, host);
        if !self.mix.has(Fault::WildClocks) {
            // What was executed before an interruption of its turn was allowed then.
            let interrupts = [Fault::PauseInTurn, Fault::Squeeze, Fault::Cascade];
            let whole_turns = !interrupts.iter().any(|fault| self.mix.has(*fault));
            self.invariants.compare(self.now, &self.hosts, id, whole_turns);
        }
        for (connection, bytes) in replies {
            self.send_reply(id, connection, bytes);
        }
        shuffle(&mut outputs, &mut self.streams.order);
        for output in outputs {
            self.carry_out(id, output);
        }
        self.begin_jobs(id);
        for connection in resumed {
            let Some(host) = self.hosts.get_mut(&id) else { return };
            if let Some(commands) = host.behind.remove(&connection).filter(|it| !it.is_empty()) {
                self.request(id, connection, commands);
            }
        }
    }

    fn carry_out(&mut self, id: NodeId, output: Output) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if host.node.is_none() {
            return;
        }
        let process = host.process;
        let quick = WRITE_NS + self.streams.disk.below(200_000) + host.disk_slow;
        match output {
            Output::Send { to, message } => self.send(id, to, &message),
            Output::Persist { token, records, flush } => {
                self.invariants.logged(id, &records);
                let result = host.disk.persist(token, records, flush);
                self.check_disk(id, result);
            }
            Output::ReadLog { group, to, from, bytes_max } => {
                match host.disk.read_log(group, from, bytes_max) {
                    Ok((before, records)) => {
                        let input = Box::new(Input::LogRead { group, to, before, records });
                        self.after(quick, Event::Feed { node: id, process, input });
                    }
                    Err(error) => self.disk_failed(id, &error.to_string()),
                }
            }
            Output::WriteSnapshot { group, mark, bytes, first, last } => {
                let node = host.node.as_ref();
                let keyspace = node.and_then(|node| node.map().view(group)).map(|view| view.keyspace);
                let keyspace = keyspace.unwrap_or_default();
                let written = host.disk.write_snapshot(group, keyspace, mark, &bytes, first, last);
                if let Some(Some(len)) = self.check_disk(id, written) {
                    let input = Box::new(Input::SnapshotStored { group, mark, len });
                    self.after(quick, Event::Feed { node: id, process, input });
                }
            }
            Output::ReadSnapshot { group, to, position, offset, len_max } => {
                let bytes = host.disk.read_snapshot(group, position, offset, len_max);
                let input = Box::new(Input::SnapshotRead { group, to, position, offset, bytes });
                self.after(quick, Event::Feed { node: id, process, input });
            }
            Output::ReceiveSnapshot { group, mark, offset, bytes, len } => {
                let received = host.disk.receive_snapshot(group, mark, offset, &bytes, len);
                match self.check_disk(id, received) {
                    Some(Received::Part(offset)) => {
                        let input = Box::new(Input::SnapshotReceived { group, mark, offset });
                        self.after(quick, Event::Feed { node: id, process, input });
                    }
                    Some(Received::Whole(received, payload)) => self.install(id, &received, payload),
                    None => {}
                }
            }
            Output::ReleaseLog { group, through } => host.disk.release(group, through),
            Output::DropGroup { group } => {
                self.invariants.gave_back(id, group);
                let result = host.disk.drop_group(group);
                self.check_disk(id, result);
            }
            Output::JoinAnswer { peer, node, map } => self.answer_join(&peer, node, map),
            Output::Close { connection } => self.close_from_server(id, connection),
            Output::Shutdown => self.stop(id, false),
            Output::Abandon { reason } => self.abandoned(id, &reason),
            Output::Event(event) => {
                self.trace.note(self.now, || format!("{id} {event:?}"));
                let held_up = [
                    Fault::Pause,
                    Fault::PauseInTurn,
                    Fault::WildClocks,
                    Fault::Cascade,
                    Fault::Squeeze,
                    Fault::DiskSlow,
                    Fault::DiskFull,
                ];
                let timely = !held_up.iter().any(|fault| self.mix.has(*fault));
                self.invariants.told(self.now, id, &event, timely);
                self.react(id, &event);
            }
        }
    }

    fn install(&mut self, id: NodeId, received: &ReceivedSnapshot, payload: Vec<u8>) {
        let (header, len) = (received.reader().header(), received.reader().len());
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let (now, group) = (host.clock.now(self.now), header.group);
        let Some(node) = &mut host.node else { return };
        let mut pieces = Some(payload).into_iter();
        let snapshot = match LoadedSnapshot::read(&mut || pieces.next()) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                node.refuse_snapshot(group);
                let text = format!("{id} {group}: {error}");
                return self.invariants.fail("snapshots can be installed", text);
            }
        };
        let mark = disk::received(header.mark);
        if !node.accepts_snapshot(now, group, mark, snapshot.starts(), snapshot.shortfall()) {
            node.refuse_snapshot(group);
            return self.end_turn(id);
        }
        let adopted = host.disk.adopt_snapshot(received);
        self.check_disk(id, adopted);
        let Some(node) = self.hosts.get_mut(&id).and_then(|host| host.node.as_mut()) else { return };
        drop(node.install_snapshot(now, group, snapshot, len));
        self.end_turn(id);
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: &PeerMessage) {
        let current = *self.network.connection(from, to);
        let Some(host) = self.hosts.get(&from) else { return };
        if !current.up || from == to {
            return;
        }
        // Said before the node heard of this connection, for the one before it.
        if message.since_version() > current.version {
            return;
        }
        if let Some(violation) = self.invariants.hints.said(from, message) {
            self.invariants.fail(violation.property, violation.text);
        }
        let mut body = Vec::new();
        message.encode(&mut Writer::new(&mut body));
        let sender = (host.incarnation, host.process);
        let kind = message.kind();
        for at in self.network.travel(self.now, from, to, &mut self.streams.network).into_iter().flatten() {
            let (connection, body) = (current.number, body.clone());
            let event = Event::Deliver { from, to, connection, sender, kind, body };
            self.after(at - self.now, event);
        }
    }

    /// Starts what the disk may do now.
    fn begin_jobs(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let process = host.process;
        let jobs = host.disk.jobs();
        for job in self.check_disk(id, jobs).unwrap_or_default() {
            let delay = self.job_time(id, &job);
            self.after(delay, Event::Disk { node: id, process, job });
        }
    }

    fn job_time(&mut self, id: NodeId, job: &Job) -> u64 {
        let slow = self.hosts.get(&id).map_or(0, |host| host.disk_slow);
        let usual = match job {
            Job::Write(_) => WRITE_NS,
            Job::Flush(_) | Job::FlushAll(_) => FLUSH_NS,
            Job::Segment(_) => FLUSH_NS * 2,
        };
        usual + self.streams.disk.below(usual) + if slow > 0 { self.streams.disk.below(slow) } else { 0 }
    }

    pub(super) fn finish_job(&mut self, id: NodeId, process: Process, job: Job) {
        if !self.runs(id, process) {
            return;
        }
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let again = matches!(job, Job::Segment(_));
        let done = host.disk.perform(job);
        let Some(next) = self.check_disk(id, done) else { return };
        if let Some(job) = next {
            let delay = self.job_time(id, &job);
            self.after(delay, Event::Disk { node: id, process, job });
        }
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if let Some(token) = host.disk.persisted() {
            let durable = host.disk.durable();
            self.step(id, Input::Persisted { token, durable });
        } else if !again {
            self.begin_jobs(id);
        }
        // After a segment that could not be made, the clock tries again: a full disk stays full for a while.
    }

    pub(super) fn flush_clock(&mut self, id: NodeId, process: Process) {
        if !self.runs(id, process) {
            return;
        }
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let job = host.disk.flush_by_clock();
        if let Some(Some(job)) = self.check_disk(id, job) {
            let delay = self.job_time(id, &job);
            self.after(delay, Event::Disk { node: id, process, job });
        }
        self.begin_jobs(id);
        if let Some(full) = self.hosts.get_mut(&id).and_then(|host| host.disk.news_of_room()) {
            let input = Box::new(Input::DiskFull { full });
            self.after(0, Event::Feed { node: id, process, input });
        }
        let blockers = self.hosts.get(&id).map(|host| host.disk.log_blockers());
        let Blockers { behind_bytes, groups } = blockers.unwrap_or_default();
        if !groups.is_empty() {
            let input = Box::new(Input::LogBlocked { behind_bytes, by: groups });
            self.after(0, Event::Feed { node: id, process, input });
        }
        self.after(200_000_000, Event::FlushClock { node: id, process });
    }

    /// The value, or the end of this node's part in replication.
    fn check_disk<T>(&mut self, id: NodeId, result: storage::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.disk_failed(id, &error.to_string());
                None
            }
        }
    }

    fn disk_failed(&mut self, id: NodeId, reason: &str) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if host.disk.has_failed() {
            return;
        }
        self.trace.note(self.now, || format!("{id} disk failed: {reason}"));
        host.disk.fail();
        let (process, reason) = (host.process, reason.to_owned());
        let input = Box::new(Input::DiskFailed { reason });
        self.after(0, Event::Feed { node: id, process, input });
    }

    pub(super) fn tick(&mut self, id: NodeId, process: Process) {
        if !self.runs(id, process) {
            return;
        }
        let Some(host) = self.hosts.get(&id) else { return };
        let delay = host.clock.true_length(self.tick).max(1);
        if !host.paused {
            self.step(id, Input::Tick);
        }
        self.after(delay, Event::Tick { node: id, process });
    }
}

/// Puts a turn's outputs in any order, but each stream keeps its own: the disk's and that to each peer.
fn shuffle(outputs: &mut Vec<Output>, random: &mut crate::random::Random) {
    if outputs.len() < 2 {
        return;
    }
    let mut streams: BTreeMap<u64, VecDeque<Output>> = BTreeMap::new();
    let mut order = Vec::with_capacity(outputs.len());
    for (at, output) in outputs.drain(..).enumerate() {
        let stream = match &output {
            Output::Persist { .. }
            | Output::WriteSnapshot { .. }
            | Output::ReceiveSnapshot { .. }
            | Output::ReleaseLog { .. }
            | Output::DropGroup { .. } => 0,
            Output::Send { to, .. } => 1 + u64::from(to.0),
            Output::ReadLog { .. }
            | Output::ReadSnapshot { .. }
            | Output::JoinAnswer { .. }
            | Output::Close { .. }
            | Output::Shutdown
            | Output::Abandon { .. }
            | Output::Event(_) => 1 << 40 | at as u64,
        };
        order.push(stream);
        streams.entry(stream).or_default().push_back(output);
    }
    random.shuffle(&mut order);
    let mut next = |stream: u64| streams.get_mut(&stream).and_then(VecDeque::pop_front);
    outputs.extend(order.into_iter().filter_map(&mut next));
}
