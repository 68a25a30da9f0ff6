//! Clients and the administrator: connections, tasks, replies, history.

use super::{Event, World};
use crate::client::{Client, Request, Roams, Running};
use crate::faults::Fault;
use crate::history::{Did, Operation, Outcome, Place};
use crate::reply::Reply;
use crate::workload::quorum::is_strict;
use crate::workload::{self, Command, Next, Task, command};
use data::NodeId;
use node::{ConnectionId, Input};

/// How often, among a client's tasks, one that was answered under an id comes once more: after seconds, when there may be
/// other leaders, restarted from snapshots.
const ECHO_PER_MILLE: u64 = 8;
/// One way between a client and its node, at least.
const CLIENT_NS: u64 = 100_000;

impl World {
    pub(super) fn think(&mut self, client: usize) {
        let Some(it) = self.clients.get(client) else { return };
        if it.task.is_some() || (it.quiet && it.again.is_none()) {
            return;
        }
        if it.connection.is_none() {
            return self.open_connection(client);
        }
        if !it.selected {
            let mut commands = vec![command(&["SELECT", &self.spaces[it.keyspace].name])];
            commands.extend(it.says.map(|words| command(&words.split(' ').collect::<Vec<_>>())));
            if let Some(Roams { token: Some(token), with_token: true, .. }) = &it.roams {
                commands.push(command(&["SESSION", "RESUME", token]));
            }
            let replies = commands.len();
            self.clients[client].task = Some(Running { task: None, start: self.now, replies });
            return self.ask(client, commands);
        }
        if let Some((task, start)) = self.clients[client].again.take() {
            let commands = task.again.clone().unwrap_or_default();
            self.begin_task(client, task, commands);
            return self.clients[client].task.iter_mut().for_each(|running| running.start = start);
        }
        if self.clients[client].echo.is_some() && self.streams.workload.chance(ECHO_PER_MILLE) {
            let echo =
                self.clients[client].echo.take().map(|(commands, reply)| workload::echo(commands, reply));
            return echo.into_iter().for_each(|(task, commands)| self.begin_task(client, task, commands));
        }
        if let Some(reads) = &self.clients[client].reads {
            let next = reads.last().and_then(|(did, key)| workload::read_back(did, key));
            return next.into_iter().for_each(|(task, commands)| self.begin_task(client, task, commands));
        }
        let Some(kind) = self.streams.workload.pick(&self.clients[client].kinds) else { return };
        self.unique += 1;
        let (task, commands) = workload::begin(kind, self.now, self.unique, &mut self.streams.workload);
        self.begin_task(client, task, commands);
    }

    /// A client that reads these keys back.
    pub fn add_reader(&mut self, keyspace: usize, reads: Vec<(crate::history::Did, String)>) {
        let client = self.clients.len();
        let mut reader = Client::new(Vec::new(), keyspace, 1_000_000);
        reader.reads = Some(reads);
        self.clients.push(reader);
        self.after(0, Event::Think { client });
    }

    pub(super) fn begin_task(&mut self, client: usize, task: Task, commands: Vec<Command>) {
        let replies = task.replies;
        self.clients[client].task = Some(Running { task: Some(task), start: self.now, replies });
        self.ask(client, commands);
    }

    fn open_connection(&mut self, client: usize) {
        let running = self.running();
        let home = self.clients[client].home.filter(|home| running.contains(home));
        let Some(node) = home.or_else(|| self.streams.workload.pick(&running)) else {
            return self.after(100_000_000, Event::Think { client });
        };
        self.next_connection += 1;
        let connection = ConnectionId(self.next_connection);
        self.connected.insert((node, connection), client);
        self.clients[client].connection = Some((node, connection));
        self.clients[client].selected = false;
        let (address, local) = (format!("c{client}:1"), super::members::address(node.0, 2));
        self.step(node, Input::Connected { connection, address, local });
        self.after(CLIENT_NS, Event::Think { client });
    }

    fn ask(&mut self, client: usize, commands: Vec<Command>) {
        let it = &mut self.clients[client];
        let Some((_, connection)) = it.connection else { return };
        it.exchange += 1;
        let exchange = it.exchange;
        let delay = CLIENT_NS + self.streams.workload.below(CLIENT_NS * 4);
        self.after(delay, Event::Request(Request { client, connection, commands }));
        self.after(self.client_timeout, Event::Timeout { client, exchange });
    }

    pub(super) fn arrive(&mut self, request: Request) {
        let Some((node, connection)) = self.clients[request.client].connection else { return };
        if connection == request.connection {
            self.trace.note(self.now, || {
                let words = |it: &Command| {
                    it.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect::<Vec<_>>().join(" ")
                };
                let text = request.commands.iter().map(words).collect::<Vec<_>>().join("; ");
                format!("{node} client {} asks {text}", request.client)
            });
            self.request(node, connection, request.commands);
        }
    }

    pub(super) fn send_reply(&mut self, node: NodeId, connection: ConnectionId, bytes: Vec<u8>) {
        let Some(client) = self.connected.get(&(node, connection)).copied() else { return };
        // A stream keeps its order: the delay does not vary.
        self.after(CLIENT_NS, Event::Reply { client, connection, bytes });
    }

    pub(super) fn receive(&mut self, client: usize, connection: ConnectionId, bytes: &[u8]) {
        let it = &mut self.clients[client];
        let Some((node, _)) = it.connection.filter(|(_, of)| *of == connection) else { return };
        self.trace.note(self.now, || {
            format!("{node} answers client {client} {}", String::from_utf8_lossy(bytes).replace("\r\n", " "))
        });
        let it = &mut self.clients[client];
        let replies = match it.receive(bytes) {
            Ok(Some(replies)) => replies,
            Ok(None) => return,
            Err(_) => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                return self.invariants.fail("replies answer commands", format!("client {client}: {text:?}"));
            }
        };
        let Some(mut running) = it.task.take() else { return };
        it.exchange += 1;
        let lost = self.hear_of_loss(client, &replies);
        let it = &mut self.clients[client];
        let Some(task) = &mut running.task else {
            it.selected = replies.iter().all(Reply::is_ok);
            let delay = if it.selected { CLIENT_NS } else { 100_000_000 };
            return self.after(delay, Event::Think { client });
        };
        match task.replied(&replies) {
            Next::Send(commands) => {
                // Only the second exchange has an effect.
                let (start, replies) = (self.now, task.replies);
                self.clients[client].task = Some(Running { start, replies, ..running });
                self.ask(client, commands);
            }
            Next::Done(outcome) => {
                if let Some(reads) = &mut self.clients[client].reads
                    && outcome == Outcome::Ok
                {
                    reads.pop();
                }
                if outcome != Outcome::Ok && self.sends_again(client, &mut running, &replies) {
                    return;
                }
                self.hear_echo(client, &running, outcome, &replies);
                let token = running.task.as_mut().and_then(|task| task.token.take());
                self.record(client, node, running, outcome, self.now);
                if self.roam_on(client, token, lost) {
                    return;
                }
                let pause = self.streams.workload.around(self.clients[client].pause);
                self.after(pause, Event::Think { client });
            }
        }
    }

    /// What has an id of its client's is sent again, often to another node; one that is too old to know is given up.
    fn sends_again(&mut self, client: usize, running: &mut Running, replies: &[Reply]) -> bool {
        let error = replies.iter().find_map(Reply::error).unwrap_or_default();
        let Some(task) =
            running.task.take_if(|task| task.again.is_some() && !error.starts_with("REQUESTOLD"))
        else {
            return false;
        };
        if error.contains("another command") {
            self.invariants.fail("an id names one command", format!("client {client}: {error}"));
        }
        self.clients[client].again = Some((task, running.start));
        if self.streams.workload.chance(500) {
            self.hang_up(client);
        } else {
            let pause = self.streams.workload.around(50_000_000);
            self.after(pause, Event::Think { client });
        }
        true
    }

    /// What was answered under an id is kept, to be asked once more; what comes of that must be the same answer.
    fn hear_echo(&mut self, client: usize, running: &Running, outcome: Outcome, replies: &[Reply]) {
        let (Some(task), Some(reply), Outcome::Ok) = (&running.task, replies.last(), outcome) else { return };
        let durable = self.spaces[self.clients[client].keyspace].durable;
        if let Some(expected) = task.expects.as_ref().filter(|expected| *expected != reply) {
            let text = format!("client {client}: {expected:?}, and then {reply:?}");
            self.invariants.fail("an id has one answer", text);
        }
        // Where an acknowledged write may be lost its answer goes with it: sent again it is done, behind what came since.
        if let Some(commands) = task.again.as_ref().filter(|_| durable) {
            self.clients[client].echo.get_or_insert_with(|| (commands.clone(), reply.clone()));
        }
    }

    /// A session is told that what it saw is lost: it begins anew. Where nothing may be lost that is a lie.
    fn hear_of_loss(&mut self, client: usize, replies: &[Reply]) -> bool {
        let is_loss = |text: &&str| text.starts_with("TOKENLOST");
        let Some(text) = replies.iter().filter_map(Reply::error).find(is_loss) else { return false };
        let it = &mut self.clients[client];
        // A node of an older version tells no epochs of its log in an election.
        if self.spaces[it.keyspace].durable && !self.mix.has(Fault::Upgrade) {
            self.invariants.fail("what is kept is not called lost", format!("client {client}: {text}"));
        }
        if let Some(roams) = &mut it.roams {
            self.unique += 1;
            (roams.token, roams.session) = (None, self.unique as u64);
        }
        self.told_lost += 1;
        true
    }

    /// The session takes its token along, and now and then goes to another node: true when it does.
    fn roam_on(&mut self, client: usize, token: Option<String>, lost: bool) -> bool {
        let Some(roams) = &mut self.clients[client].roams else { return false };
        match token.filter(|_| !lost) {
            Some(token) => roams.token = Some(token),
            // What this session saw last is in no token: whoever goes on from the one before is another one.
            None if !lost => {
                self.unique += 1;
                (roams.token, roams.session) = (None, self.unique as u64);
            }
            None => {}
        }
        let moves = lost || self.streams.workload.chance(400);
        if moves {
            self.hang_up(client);
        }
        moves
    }

    fn record(&mut self, client: usize, node: NodeId, running: Running, outcome: Outcome, end: u64) {
        let Some(task) = running.task else { return };
        let keyspace = self.clients[client].keyspace;
        let it = &self.clients[client];
        // Two connections under READONLY may show two copies, and a copy less than the leader that was asked before it.
        let from_copy = task.place.from_copy;
        let connection = it.connection.filter(|_| from_copy).map(|(_, id)| 1 << 32 | id.0);
        let is_session = task.receipt && !is_strict(&task.key);
        let session = is_session.then(|| connection.unwrap_or(client as u64));
        let roams = it.roams.as_ref().filter(|_| task.receipt);
        let session = roams.map(|roams| 2 << 32 | roams.session).or(session);
        let staleness_ms_max = it.says.and_then(|words| words.split_once("MAX-STALENESS ")?.1.parse().ok());
        let staleness_ms_max = staleness_ms_max.filter(|_| from_copy);
        // Positions in the logs of two groups cannot be compared.
        let index = task.place.index.filter(|_| !self.mix.has(Fault::SlotMove));
        let place =
            Place { session, index, roamed: roams.map(|it| it.with_token), staleness_ms_max, ..task.place };
        let (key, mut did, start) = (task.key, task.did, running.start);
        if let Did::Observe { copies, .. } = &mut did {
            // Whoever takes over a token sees what stood behind it.
            *copies = it.says.is_some() && key != "signed";
        }
        self.history.push(Operation { client, node, keyspace, key, did, place, start, end, outcome });
    }

    pub(super) fn time_out(&mut self, client: usize, exchange: u64) {
        if self.clients[client].exchange != exchange {
            return;
        }
        let Some((node, connection)) = self.clients[client].connection else { return };
        self.connected.remove(&(node, connection));
        self.step(node, Input::Closed { connection });
        self.forget_connection(client, node);
    }

    pub(super) fn lose_connection(&mut self, client: usize, connection: ConnectionId) {
        if let Some((node, _)) = self.clients[client].connection.filter(|(_, of)| *of == connection) {
            self.forget_connection(client, node);
        }
    }

    pub(super) fn close_from_server(&mut self, node: NodeId, connection: ConnectionId) {
        if let Some(client) = self.connected.remove(&(node, connection)) {
            self.step(node, Input::Closed { connection });
            self.after(CLIENT_NS * 2, Event::Closed { client, connection });
        }
    }

    /// What was under way may have happened or not.
    fn forget_connection(&mut self, client: usize, node: NodeId) {
        if let Some(mut running) = self.clients[client].disconnect() {
            match running.task.take_if(|task| task.again.is_some()) {
                Some(task) => self.clients[client].again = Some((task, running.start)),
                None => self.record(client, node, running, Outcome::Info, u64::MAX),
            }
        }
        let pause = self.streams.workload.around(50_000_000);
        self.after(pause, Event::Think { client });
    }

    /// The run ends: what is still under way may have happened or not.
    pub fn record_unfinished(&mut self) {
        for client in 0..self.clients.len() {
            let connection = self.clients[client].connection;
            if let (Some((node, _)), Some(running)) = (connection, self.clients[client].disconnect()) {
                self.record(client, node, running, Outcome::Info, u64::MAX);
            }
            if let Some((task, start)) = self.clients[client].again.take() {
                let running = Running { task: Some(task), start, replies: 0 };
                self.record(client, NodeId(0), running, Outcome::Info, u64::MAX);
            }
        }
    }

    /// A client hangs up in the middle of whatever it does.
    pub fn hang_up(&mut self, client: usize) {
        let exchange = self.clients[client].exchange;
        self.time_out(client, exchange);
    }

    /// The administrator makes the keyspaces that are missing, on any node; asked for again until they are there.
    pub(super) fn administer(&mut self) {
        let running = self.running();
        let Some(id) = self.streams.workload.pick(&running) else {
            return self.after(200_000_000, Event::Administer);
        };
        let Some(node) = self.hosts.get(&id).and_then(|host| host.node.as_ref()) else { return };
        let made = self.spaces.iter().filter(|space| !space.options.is_empty());
        let wanted: Vec<Command> = made
            .filter_map(|space| {
                let mut words = match node.map().keyspace_named(&space.name) {
                    None => {
                        let kind = match (space.has_sites, &space.quorums) {
                            (true, _) => "MULTI-LEADER",
                            (false, Some(_)) => "LEADERLESS",
                            (false, None) => "SINGLE-LEADER",
                        };
                        command(&["KEYSPACE", "CREATE", &space.name, kind])
                    }
                    // Nobody has used it yet.
                    Some(it) if it.id.0 < 16 && !space.is_set(&it.settings) => {
                        command(&["KEYSPACE", "ALTER", &space.name])
                    }
                    Some(_) => return None,
                };
                words.extend(space.options.iter().map(|word| word.as_bytes().to_vec()));
                Some(words)
            })
            .collect();
        if !wanted.is_empty() {
            self.order(id, wanted);
            return self.after(300_000_000, Event::Administer);
        }
        for client in 0..self.clients.len() {
            let delay = self.streams.workload.below(50_000_000);
            self.after(delay, Event::Think { client });
        }
    }

    /// Commands whose replies nobody reads.
    pub fn order(&mut self, id: NodeId, commands: Vec<Command>) {
        self.next_connection += 1;
        let connection = ConnectionId(self.next_connection);
        let input = Input::Connected { connection, address: "admin:1".into(), local: "host:2".into() };
        self.step(id, input);
        self.trace.note(self.now, || {
            let text: Vec<_> = commands.iter().flatten().map(|w| String::from_utf8_lossy(w)).collect();
            format!("{id} is ordered {}", text.join(" "))
        });
        self.request(id, connection, commands);
    }
}
