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
    /// catalogue: C8. A semi-synchronous leader and the only follower that acknowledged lose their power at once.
    SemiSyncPhantom,
    /// catalogue: F5. An asynchronous leader that hears of no follower stops taking writes after the lag that is allowed.
    BoundedLoss,
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
    pub const ALL: [(Scenario, &'static str, &'static str); 8] = [
        (Scenario::SplitBrain, "split-brain", "F3: a leader that is cut off acknowledges nothing"),
        (
            Scenario::AsyncLossWindow,
            "async-loss-window",
            "C2: what async loses is counted; majority loses nothing",
        ),
        (
            Scenario::SemiSyncPhantom,
            "semi-sync-phantom",
            "C8: leader and acknowledging follower die together: ACKS 1 loses and says so, ACKS 2 does not",
        ),
        (
            Scenario::BoundedLoss,
            "bounded-loss",
            "F5: what async loses spans no more time than min-replicas-max-lag allows",
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
        // The control plane keeps its majority without the followers.
        if self == Scenario::BoundedLoss { 5 } else { 3 }
    }
    pub fn spaces(self) -> Vec<Space> {
        let space = |name: &str, options: &str, durable| Space {
            name: name.to_owned(),
            options: options.split(' ').map(str::to_owned).collect(),
            durable,
            quorums: None,
            has_sites: false,
        };
        if self == Scenario::AnswerBeforeQuestion {
            let options = "REPLICAS 3 COMMIT majority";
            return vec![space("questions", options, true), space("answers", options, true)];
        }
        if self == Scenario::SemiSyncPhantom {
            let options = "REPLICAS 3 LEVEL received FLUSH os ON-TIMEOUT block COMMIT semi-sync ACKS";
            return vec![
                space("pair", &format!("{options} 1"), false),
                space("trio", &format!("{options} 2"), true),
            ];
        }
        if self == Scenario::BoundedLoss {
            let options = "REPLICAS 3 COMMIT async MIN-REPLICAS-TO-WRITE 1 MIN-REPLICAS-MAX-LAG 1";
            return vec![space("guarded", options, false)];
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
            Scenario::AsyncLossWindow | Scenario::SemiSyncPhantom | Scenario::BoundedLoss => vec![Kind::Set],
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
                Scenario::AsyncLossWindow | Scenario::SemiSyncPhantom => client.keyspace = n % 2,
                Scenario::BoundedLoss => client.home = Some(NodeId(1 + n as u32 % 5)),
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
            Scenario::SemiSyncPhantom => (0..5).for_each(|_| die_together(world)),
            Scenario::BoundedLoss => (0..3).for_each(|_| go_on_alone(world)),
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

/// Leader and followers of a keyspace's group.
fn copies(world: &World, name: &str) -> Option<(NodeId, Vec<NodeId>)> {
    let map = world.newest_map()?;
    let view = &map.groups_of(map.keyspace_named(name)?.id).next()?.view;
    let leader = view.leader?.replica.node;
    Some((leader, view.members.iter().copied().filter(|node| *node != leader).collect()))
}

fn part(world: &mut World, from: &[NodeId], to: &[NodeId], ms: u64) {
    let links: Vec<_> = from.iter().flat_map(|a| to.iter().flat_map(|b| [(*a, *b), (*b, *a)])).collect();
    world.network.cut.extend(links.iter().copied());
    world.after(ms * MS, Event::Undo(Undo::Mend(links)));
}

/// One follower is cut off, so that the other alone acknowledges; then that one and the leader lose their power at once.
fn die_together(world: &mut World) {
    let Some((leader, followers)) = copies(world, "pair") else { return };
    let [near, far] = followers[..] else { return };
    part(world, &[far], &[leader, near], 1_000);
    world.run_until(world.now + 700 * MS);
    for victim in [leader, near] {
        world.stop(victim, true);
        world.after(1_500 * MS, Event::Start { node: victim });
    }
    world.run_until(world.now + 8_000 * MS);
}

/// The leader hears of no follower for longer than the keyspace allows, then dies; the followers elect one of themselves.
fn go_on_alone(world: &mut World) {
    let Some((leader, followers)) = copies(world, "guarded") else { return };
    part(world, &[leader], &followers, 3_500);
    world.run_until(world.now + 2_500 * MS);
    world.stop(leader, false);
    world.after(4_000 * MS, Event::Start { node: leader });
    world.run_until(world.now + 9_000 * MS);
}
