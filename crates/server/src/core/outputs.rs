//! What the node wants done, carried out: log, snapshots, messages.

use super::*;
use crate::log_writer::LogReadDone;
use data::Index;

impl Core {
    /// Makes a snapshot of another node the group's state: on the disk first, then in the log, then in memory.
    pub(super) fn install(&mut self, received: &ReceivedSnapshot, snapshot: LoadedSnapshot) {
        let (header, len) = (received.reader().header(), received.reader().len());
        let (starts, giver, mark) = (snapshot.starts(), snapshot.shortfall(), from_storage(header.mark));
        if !self.node.accepts_snapshot(clock::now(), header.group, mark, starts, giver) {
            self.node.refuse_snapshot(header.group);
            return;
        }
        match received.place() {
            Ok(()) => {}
            Err(storage::Error::Missing { .. }) => return self.node.refuse_snapshot(header.group),
            Err(error) => return self.disk_failed(&error),
        }
        // The log must know that the group begins anew here, before the next entry is appended.
        let mut record = Vec::new();
        storage::index::write_snapshot_record(
            &mut record,
            header.keyspace,
            header.group,
            header.mark,
            header.time_ms,
        );
        if let Some(log) = &mut self.parts.log
            && let Err(error) = log.append_note(&record)
        {
            self.disk_failed(&error);
            return;
        }
        let replaced = self.node.install_snapshot(clock::now(), header.group, snapshot, len);
        if let Some((replaced, jobs)) = replaced.zip(self.snapshot_jobs.as_ref()) {
            let _ = jobs.send(SnapshotJob::Forget { replaced: Box::new(replaced) });
        }
    }

    /// Hands the node what was read of the log.
    pub(super) fn collect_reads(&mut self) {
        let Some(log) = &mut self.parts.log else { return };
        for LogReadDone { group, to, from, read } in log.take_reads() {
            let (before, records) = match read {
                Some((before, records)) => (from_storage(before), Bytes::from(records)),
                None => (gone(from), Bytes::new()),
            };
            self.node.step(clock::now(), Input::LogRead { group, to, before, records });
        }
    }

    pub(super) fn disk_failed(&mut self, error: &storage::Error) {
        eprintln!("{}: the log can no longer be written: {error}", self.parts.settings.name);
        self.parts.log = None;
        self.disk_failed = true;
        self.node.step(clock::now(), Input::DiskFailed { reason: error.to_string() });
    }

    pub(super) fn submit(&mut self) {
        let Some(log) = &mut self.parts.log else { return };
        match log.submit() {
            Ok(Some(token)) => self.on_persisted(token),
            Ok(None) => {}
            Err(error) => self.disk_failed(&error),
        }
    }

    pub(super) fn on_persisted(&mut self, token: u64) {
        let durable = self.parts.log.as_ref().map_or(0, |log| log.durable_batches());
        self.node.step(clock::now(), Input::Persisted { token, durable });
    }

    pub(super) fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send { to, message } => {
                let config = self.node.config();
                let from = PeerSender {
                    node: config.node,
                    incarnation: config.incarnation,
                    process: config.process,
                };
                if self.outgoing.get_mut(&to).is_some_and(|link| !link.queue(&from, &message)) {
                    self.lose_outgoing(to);
                    self.watch_links();
                }
            }
            Output::Persist { token, records, flush } => self.persist(token, &records, flush),
            Output::ReadLog { group, to, from, bytes_max } => {
                let reads = self.parts.log.as_ref().is_some_and(|log| log.read(group, to, from, bytes_max));
                if !reads {
                    let (before, records) = (gone(from), Bytes::new());
                    self.node.step(clock::now(), Input::LogRead { group, to, before, records });
                }
            }
            Output::WriteSnapshot { group, mark, bytes, first, last } => {
                self.write_snapshot(group, mark, bytes, first, last);
            }
            Output::ReadSnapshot { group, to, position, offset, len_max } => {
                self.read_snapshot(group, to, position, offset, len_max);
            }
            Output::ReceiveSnapshot { group, mark, offset, bytes, len } => {
                self.receive_snapshot(group, mark, offset, bytes, len);
            }
            Output::ReleaseLog { group, through } => {
                if let Some(log) = &mut self.parts.log {
                    log.release(group, through);
                }
            }
            Output::DropGroup { group } => {
                if let Some(log) = &mut self.parts.log {
                    log.drop_group(group);
                }
                self.memory_snapshots.remove(&group);
                if let Some(jobs) = &self.snapshot_jobs {
                    let _ = jobs.send(SnapshotJob::Drop { group });
                }
            }
            Output::JoinAnswer { peer, node, map } => {
                let cluster = self.parts.membership.cluster;
                send_founding(
                    peer,
                    &self.parts.settings.secret,
                    encoded(&FoundingMessage::JoinAnswer { cluster, node, map }),
                );
            }
            Output::Close { connection } => {
                let Some(place) = self.place_of(connection) else { return };
                if let Some(it) = self.connections[place].as_deref_mut() {
                    it.closing = true;
                    self.node.take_replies(connection, &mut it.output);
                }
                self.write_client(place);
            }
            Output::Shutdown => {
                self.stopping.get_or_insert(Instant::now() + Duration::from_millis(50));
            }
            Output::Abandon { reason } => {
                self.abandoned = Some(reason);
                self.stopping.get_or_insert(Instant::now() + Duration::from_millis(50));
            }
            Output::Event(event) => crate::metrics::log_event(&self.parts.settings.name, &event),
        }
    }

    pub(super) fn persist(&mut self, token: u64, records: &Bytes, flush: bool) {
        if !flush && !self.unflushed_noted {
            self.unflushed_noted = true;
            if let Some(disk) = &self.parts.disk
                && let Err(error) = replace(&**disk, "", UNFLUSHED, b"1")
            {
                self.disk_failed(&error);
                return;
            }
        }
        match &mut self.parts.log {
            Some(log) => {
                if let Err(error) = log.append(token, records, flush) {
                    self.disk_failed(&error);
                }
            }
            // Nothing is kept: what is in memory is all there is.
            None if self.parts.disk.is_none() => self.persisted = Some(token),
            None => {}
        }
        if let Some(token) = self.persisted.take() {
            self.on_persisted(token);
        }
    }

    pub(super) fn write_snapshot(
        &mut self,
        group: GroupId,
        mark: Mark,
        bytes: Vec<u8>,
        first: bool,
        last: bool,
    ) {
        if let Some(jobs) = &self.snapshot_jobs {
            let state = self.node.group_states().find(|state| state.group == group);
            let keyspace = state.as_ref().map(|state| state.keyspace.id).unwrap_or_default();
            let time_ms = state.map_or(0, |state| state.replica.log().time_ms());
            let header =
                SnapshotHeader { group, keyspace, mark: to_storage(mark), time_ms, epochs: Vec::new() };
            let _ = jobs.send(SnapshotJob::Write { header, bytes, first, last });
            return;
        }
        let writing = self.memory_writing.entry(group).or_default();
        if first {
            writing.clear();
        }
        writing.extend_from_slice(&bytes);
        if last {
            let bytes = std::mem::take(writing);
            let len = bytes.len() as u64;
            self.memory_snapshots.insert(group, (mark, bytes));
            self.node.step(clock::now(), Input::SnapshotStored { group, mark, len });
        }
    }

    pub(super) fn read_snapshot(
        &mut self,
        group: GroupId,
        to: NodeId,
        position: Position,
        offset: u64,
        len_max: usize,
    ) {
        if let Some(jobs) = &self.snapshot_jobs {
            let _ = jobs.send(SnapshotJob::Read { group, to, position, offset, len_max });
            return;
        }
        let stored = self.memory_snapshots.get(&group).filter(|(mark, _)| mark.position == position);
        let bytes = stored.map(|(_, bytes)| {
            let from = (offset as usize).min(bytes.len());
            Bytes::copy_from_slice(&bytes[from..bytes.len().min(from + len_max)])
        });
        let bytes = bytes.unwrap_or_default();
        self.node.step(clock::now(), Input::SnapshotRead { group, to, position, offset, bytes });
    }

    pub(super) fn receive_snapshot(
        &mut self,
        group: GroupId,
        mark: Mark,
        offset: u64,
        bytes: Bytes,
        len: u64,
    ) {
        if let Some(jobs) = &self.snapshot_jobs {
            let _ = jobs.send(SnapshotJob::Receive { group, mark, offset, bytes, len });
            return;
        }
        let (known, received) = self.memory_receiving.entry(group).or_insert((mark, Vec::new()));
        if *known != mark {
            *known = mark;
            received.clear();
        }
        if offset == received.len() as u64 {
            received.extend_from_slice(&bytes);
        }
        let offset = received.len() as u64;
        if offset < len {
            self.node.step(clock::now(), Input::SnapshotReceived { group, mark, offset });
            return;
        }
        let whole = std::mem::take(received);
        self.memory_snapshots.insert(group, (mark, whole.clone()));
        let mut pieces = Some(whole).into_iter();
        match LoadedSnapshot::read(&mut || pieces.next()) {
            Ok(snapshot) => drop(self.node.install_snapshot(clock::now(), group, snapshot, len)),
            Err(error) => {
                eprintln!("{}: snapshot: {error}", self.parts.settings.name);
                self.node.refuse_snapshot(group);
            }
        }
    }
}

/// What a log says that does not reach back to the entry before `from`.
fn gone(from: Index) -> Mark {
    Mark { position: Position { index: from.previous(), ..Position::default() }, hash: 0 }
}
