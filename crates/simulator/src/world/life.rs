//! Processes and connections begin and end.

use super::{Event, World};
use control::Addresses;
use data::{NodeId, Process};
use node::{Config, Input, Node};
use protocol::lease;

/// Often enough that every range has its turn between two faults.
const AUDITS: node::audit::Pace =
    node::audit::Pace { every: std::time::Duration::from_millis(700), log_bytes: 16 << 10 };

impl World {
    /// Starts a node's process with what its disk holds.
    pub(super) fn start(&mut self, id: NodeId) {
        let cluster = self.founded.cluster();
        let flushed_only = self.flushed_only;
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if host.is_running() || host.lost || host.held_down {
            return;
        }
        let others: Vec<NodeId> = self.hosts.keys().copied().filter(|other| *other != id).collect();
        for other in &others {
            // Connections of the former life that nobody missed yet.
            if self.network.connection(id, *other).up {
                self.disconnect(id, *other);
            }
        }
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let opened = match host.disk.open(cluster, id, flushed_only) {
            Ok(opened) => opened,
            Err(error) => {
                host.disk.end(false, 0);
                let (now, text) = (self.now, error.to_string());
                let expected = matches!(
                    error,
                    storage::Error::Full { .. }
                        | storage::Error::Failed { .. }
                        | storage::Error::Poisoned { .. }
                );
                self.trace.note(now, || format!("{id} cannot start: {text}"));
                if !error.is_full() && !self.trusts(id, Some(&text)) {
                    return;
                }
                let Some(host) = self.hosts.get_mut(&id) else { return };
                if expected {
                    self.after(500_000_000, Event::Start { node: id });
                } else {
                    host.lost = true;
                    self.invariants.damaged(now, id, &text);
                }
                return;
            }
        };
        if host.harm.is_some() && !self.trusts(id, None) {
            return;
        }
        let Some(host) = self.hosts.get_mut(&id) else { return };
        host.process = opened.identity.process;
        host.runs += 1;
        host.incarnation = opened.identity.incarnation;
        let newest = self.lives.entry(id).or_insert(host.incarnation);
        *newest = host.incarnation.max(*newest);
        host.paused = false;
        host.inbox.clear();
        host.behind.clear();
        let now = host.clock.now(self.now);
        let config = self.config(id);
        let Some(host) = self.hosts.get_mut(&id) else { return };
        match Node::new(config, opened.restored, now) {
            Ok(node) => host.node = Some(node),
            Err(error) => {
                let text = format!("{id}: control log: {error}");
                return self.invariants.fail("recovery understands its own log", text);
            }
        }
        let process = host.process;
        self.trace.note(self.now, || format!("{id} starts as {process}"));
        self.invariants.started(id);
        let offset = self.streams.clocks.below(self.tick);
        self.after(offset, Event::Tick { node: id, process });
        self.after(200_000_000, Event::FlushClock { node: id, process });
        for other in others {
            self.try_connecting(id, other);
        }
        self.end_turn(id);
    }

    fn config(&self, id: NodeId) -> Config {
        let host = &self.hosts[&id];
        let (process, incarnation) = (host.process, host.incarnation);
        let name = format!("m{}", host.machine);
        let address = |port: u32| super::members::address(host.machine, port);
        let seed = self.seed.wrapping_mul(1_000_003) ^ u64::from(id.0) << 32 ^ host.runs;
        Config {
            node: id,
            name: name.clone(),
            incarnation,
            process,
            control: control::Config {
                node: id,
                name,
                process,
                incarnation,
                addresses: Addresses { resp: address(2), peer: address(1), http: address(3) },
                site: self.network.sites.name_of(host.machine).into(),
                founded: host.founder.then(|| self.founded.clone()),
                shards: 1,
                seed,
                timings: control::Timings::default(),
            },
            lease: lease::Timings::default(),
            password: None,
            connections_max: 1000,
            seed,
            snapshot_log_bytes: self.snapshot_log_bytes,
            transfer_bytes_per_second: 32 << 20,
            site_bytes_per_second: None,
            merge_engine: &merging::Lua,
            engine_format: data::log_format::ENGINE_FORMAT,
            audit: AUDITS,
            version: "simulated",
        }
    }

    /// The process ends at once; with `power` the whole machine does.
    pub fn stop(&mut self, id: NodeId, power: bool) {
        self.invariants.ledgers.power_lost |= power;
        if self.hosts.get(&id).is_some_and(|host| host.is_running()) {
            self.forget_restored(id);
        }
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if !host.is_running() {
            if power {
                host.disk.end(true, self.streams.disk.draw());
            }
            return;
        }
        self.trace.note(self.now, || format!("{id} ends{}", if power { " without power" } else { "" }));
        host.node = None;
        host.paused = false;
        host.inbox.clear();
        host.behind.clear();
        host.disk.end(power, self.streams.disk.draw());
        if power {
            // The clock of the machine's run begins again somewhere.
            let shown = self.streams.clocks.between(1, 1 << 40);
            host.clock.restart(self.now, shown);
        }
        self.invariants.stopped(id);
        let others: Vec<NodeId> = self.hosts.keys().copied().filter(|other| *other != id).collect();
        for other in others {
            let number = self.network.connection(id, other).number;
            // A dead machine says nothing: its peers find out later than those of a dead process.
            let most = if power { 1_000_000_000 } else { 5_000_000 };
            let delay = self.streams.network.below(most);
            self.after(delay, Event::Disconnect { a: id, b: other, number });
        }
        let clients: Vec<_> =
            self.connected.range((id, node::ConnectionId(0))..).map(|(k, v)| (*k, *v)).collect();
        for ((node, connection), client) in clients {
            if node == id {
                self.connected.remove(&(node, connection));
                let delay = self.streams.workload.below(2_000_000);
                self.after(delay, Event::Closed { client, connection });
            }
        }
    }

    /// Both ends learn that the connection is gone; each tries again.
    pub(super) fn disconnect(&mut self, a: NodeId, b: NodeId) {
        let was_up = self.network.connection(a, b).up;
        self.network.reset(a, b);
        if was_up {
            self.trace.note(self.now, || format!("{a} and {b} are disconnected"));
            self.invariants.suspicion.lost(self.now, a, b);
            self.invariants.suspicion.lost(self.now, b, a);
            self.step(a, Input::PeerDown { node: b });
            self.step(b, Input::PeerDown { node: a });
        }
        self.try_connecting(a, b);
    }

    fn try_connecting(&mut self, a: NodeId, b: NodeId) {
        if std::mem::replace(&mut self.network.connection(a, b).trying, true) {
            return;
        }
        let delay = self.streams.network.between(1_000_000, 60_000_000);
        self.after(delay, Event::Connect { a, b });
    }

    pub(super) fn connect(&mut self, a: NodeId, b: NodeId) {
        let alive = |id: &NodeId| self.hosts.get(id).is_some_and(|host| host.is_running());
        let both = alive(&a) && alive(&b);
        let passable = self.network.passable(a, b);
        let connection = self.network.connection(a, b);
        connection.trying = false;
        if !both {
            // Whoever starts later tries again. A connection to a dead machine ends here at the latest.
            if connection.up {
                self.disconnect(a, b);
            }
            return;
        }
        if !passable {
            self.try_connecting(a, b);
            return;
        }
        if connection.up {
            return;
        }
        let version = self.hosts[&a].version.min(self.hosts[&b].version);
        connection.up = true;
        connection.version = version;
        connection.number += 1;
        let engine_format = data::log_format::ENGINE_FORMAT;
        self.step(a, Input::PeerUp { node: b, version, engine_format });
        self.step(b, Input::PeerUp { node: a, version, engine_format });
    }

    /// Ids of the processes as they are now: for scenarios and tests.
    pub fn process_of(&self, id: NodeId) -> Option<Process> {
        self.hosts.get(&id).filter(|host| host.is_running()).map(|host| host.process)
    }
}
