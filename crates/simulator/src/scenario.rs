//! Named scenarios: stories of the catalogue, told by a schedule instead of drawn.

use crate::client::Client;
use crate::faults::Undo;
use crate::network::MS;
use crate::run::roamer;
use crate::workload::{Kind, command};
use crate::world::{Event, Space, World};
use data::NodeId;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scenario {
    /// catalogue: F3. The leader is cut off with some clients; the majority elects another.
    SplitBrain,
    /// catalogue: C2. The leader dies with what it had acknowledged alone.
    AsyncLossWindow,
    /// catalogue: A4. Many clients take from one purse; nobody gets more than there was.
    RedEnvelope,
    /// catalogue: G6. A client reads what it has just written, through other nodes: their leaders, or their copies with a token.
    LostOwnComment,
    /// catalogue: G6. A client's reads never go back in time, whatever nodes it asks, copies too if it has a token.
    TimeBackwards,
    /// catalogue: G6. Two keyspaces, one of whose copies lags: read there, the answer comes before the question, unless its token
    /// lies beside it.
    AnswerBeforeQuestion,
}

impl Scenario {
    pub const ALL: [(Scenario, &'static str, &'static str); 6] = [
        (Scenario::SplitBrain, "split-brain", "F3: a leader that is cut off acknowledges nothing"),
        (
            Scenario::AsyncLossWindow,
            "async-loss-window",
            "C2: what async loses is counted; majority loses nothing",
        ),
        (Scenario::RedEnvelope, "red-envelope", "A4: concurrent transfers keep the sum"),
        (
            Scenario::LostOwnComment,
            "lost-own-comment",
            "G6: reads see own writes, through any node; from copies with a token",
        ),
        (
            Scenario::TimeBackwards,
            "time-backwards",
            "G6: reads never go back, through any node; from copies with a token",
        ),
        (
            Scenario::AnswerBeforeQuestion,
            "answer-before-question",
            "G6: copies show an answer before its question, leaders and readers with its token never",
        ),
    ];
    pub fn named(name: &str) -> Option<Scenario> {
        Scenario::ALL.iter().find(|(_, known, _)| *known == name).map(|(scenario, ..)| *scenario)
    }
    pub fn nodes(self) -> u32 {
        3
    }
    pub fn spaces(self) -> Vec<Space> {
        let space = |name: &str, options: &str, durable| Space {
            name: name.to_owned(),
            options: options.split(' ').map(str::to_owned).collect(),
            durable,
        };
        if self == Scenario::AnswerBeforeQuestion {
            let options = "REPLICAS 3 COMMIT majority";
            return vec![space("questions", options, true), space("answers", options, true)];
        }
        let mut spaces = vec![space("strong", "REPLICAS 3 COMMIT majority", true)];
        if self == Scenario::AsyncLossWindow {
            spaces.push(space("quick", "REPLICAS 3 COMMIT async", false));
        }
        spaces
    }
    pub fn clients(self) -> Vec<Client> {
        let kinds = match self {
            Scenario::SplitBrain => vec![Kind::Register, Kind::Set],
            Scenario::AsyncLossWindow => vec![Kind::Set],
            Scenario::RedEnvelope => vec![Kind::Bank],
            Scenario::LostOwnComment => vec![Kind::Register, Kind::List],
            Scenario::TimeBackwards => vec![Kind::Register, Kind::Counter],
            Scenario::AnswerBeforeQuestion => return dialogue(),
        };
        if matches!(self, Scenario::LostOwnComment | Scenario::TimeBackwards) {
            return roaming(kinds);
        }
        let mut clients: Vec<Client> = (0..9).map(|_| Client::new(kinds.clone(), 0, 12 * MS)).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            match self {
                // Some of them stay with the deposed leader.
                Scenario::SplitBrain => client.home = Some(NodeId(1 + n as u32 % 3)),
                Scenario::AsyncLossWindow => client.keyspace = n % 2,
                _ => {}
            }
        }
        clients
    }

    /// The schedule, to its end.
    pub fn play(self, world: &mut World) {
        world.run_until(world.now + 3_000 * MS);
        match self {
            Scenario::SplitBrain | Scenario::AsyncLossWindow => {
                for _ in 0..5 {
                    isolate_leader(world, 2_500);
                    if self == Scenario::AsyncLossWindow {
                        // The cut-off leader goes on acknowledging alone for a moment, then dies.
                        world.run_until(world.now + 400 * MS);
                        crash_cut_off(world);
                    }
                    world.run_until(world.now + 4_000 * MS);
                }
            }
            Scenario::AnswerBeforeQuestion => talk(world),
            Scenario::RedEnvelope | Scenario::LostOwnComment | Scenario::TimeBackwards => {
                for round in 0..4 {
                    if self != Scenario::RedEnvelope {
                        lag(world);
                    }
                    world.run_until(world.now + 2_000 * MS);
                    let victim = NodeId(1 + round % 3);
                    world.stop(victim, false);
                    world.after(500 * MS, Event::Start { node: victim });
                    // Readers change nodes all the time.
                    for client in 0..world.clients.len() {
                        world.hang_up(client);
                    }
                }
            }
        }
    }
}

/// Clients that leaders answer, and sessions that read copies: some with their token, some without.
fn roaming(kinds: Vec<Kind>) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..5).map(|_| Client::new(kinds.clone(), 0, 12 * MS)).collect();
    for number in 0..3 {
        clients.push(roamer(0, number, true, 12 * MS));
        clients.push(roamer(0, 2 * number, false, 12 * MS));
        clients.push(roamer(0, 2 * number + 1, false, 12 * MS));
    }
    clients
}

/// What the leader sends to one follower takes its time.
fn lag(world: &mut World) {
    let Some(leader) = leader(world) else { return };
    let Some(far) = world.hosts.keys().copied().find(|id| *id != leader) else { return };
    world.network.slow.insert((leader, far), 300 * MS);
    world.after(1_900 * MS, Event::Undo(Undo::Quicken(leader, far)));
}

/// Of a reader who takes a copy as it is, whatever it saw before.
const NEAR: &str = "CONSISTENCY READ follower SESSION off";

/// Two who ask, two who answer, and observers: of leaders, and of the copies on the third node.
fn dialogue() -> Vec<Client> {
    let kinds = [Kind::Ask, Kind::Ask, Kind::Answer, Kind::Answer, Kind::Observe, Kind::Observe];
    let mut clients: Vec<Client> = kinds
        .into_iter()
        .map(|kind| Client::new(vec![kind], usize::from(kind != Kind::Ask), 12 * MS))
        .collect();
    for says in [None, Some(NEAR), Some(NEAR)] {
        let mut observer = Client::new(vec![Kind::Observe], 1, 12 * MS);
        (observer.home, observer.says) = (Some(NodeId(3)), says);
        clients.push(observer);
    }
    clients.push(Client::new(vec![Kind::AnswerSigned], 1, 12 * MS));
    for client in &mut clients {
        // Whoever asks and answers is next to the leaders, so that only the observers' copies are late.
        match client.kinds[0] {
            Kind::Ask => client.home = Some(NodeId(1)),
            Kind::Answer | Kind::AnswerSigned => client.home = Some(NodeId(2)),
            _ => {}
        }
    }
    for _ in 0..2 {
        let mut observer = Client::new(vec![Kind::ObserveSigned], 1, 12 * MS);
        (observer.home, observer.says) = (Some(NodeId(3)), Some("CONSISTENCY READ follower"));
        clients.push(observer);
    }
    clients
}

/// The keyspaces have different leaders, and the way from that of the questions to the third node is slow now and then.
fn talk(world: &mut World) {
    for (name, target) in [("questions", 1), ("answers", 2)] {
        let node = world.hosts.get(&NodeId(1)).and_then(|host| host.node.as_ref());
        let group = node.and_then(|node| {
            let keyspace = node.map().keyspace_named(name)?.id;
            node.map().groups_of(keyspace).next().map(|group| group.view.group)
        });
        if let Some(group) = group {
            let words = ["KEYSPACE", "SWITCHOVER", &group.0.to_string(), &target.to_string()];
            world.order(NodeId(1), vec![command(&words)]);
        }
        world.run_until(world.now + 1_000 * MS);
    }
    let (slow, far) = (NodeId(1), NodeId(3));
    for _ in 0..5 {
        world.network.slow.insert((slow, far), 150 * MS);
        world.after(1_000 * MS, Event::Undo(Undo::Quicken(slow, far)));
        world.run_until(world.now + 2_000 * MS);
    }
}

/// The node that leads most groups, as its own replicas say.
fn leader(world: &World) -> Option<NodeId> {
    let leads = |id: &NodeId| {
        let node = world.hosts.get(id).and_then(|host| host.node.as_ref());
        node.map_or(0, |node| node.group_states().filter(|state| state.replica.leads().is_some()).count())
    };
    world.hosts.keys().copied().max_by_key(leads)
}

fn isolate_leader(world: &mut World, ms: u64) {
    let Some(leader) = leader(world) else { return };
    let others: Vec<NodeId> = world.hosts.keys().copied().filter(|id| *id != leader).collect();
    let links: Vec<_> = others.iter().flat_map(|id| [(leader, *id), (*id, leader)]).collect();
    world.network.cut.extend(links.iter().copied());
    world.after(ms * MS, Event::Undo(crate::faults::Undo::Mend(links)));
}

fn crash_cut_off(world: &mut World) {
    let cut = world.network.cut.iter().next().copied();
    // The node that appears in every cut link.
    let alone = cut.and_then(|(a, b)| {
        let everywhere = |id: &NodeId| world.network.cut.iter().all(|(from, to)| from == id || to == id);
        [a, b].into_iter().find(everywhere)
    });
    if let Some(id) = alone {
        world.stop(id, false);
        world.after(3_000 * MS, Event::Start { node: id });
    }
}
