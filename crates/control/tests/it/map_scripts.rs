//! Commands of the cluster map as scripts: what each answers, and the view it leaves. Written anew with
//! `UPDATE_GOLDENFILES=1`; the difference is read like code.

use control::map::Advice;
use control::{Addresses, ClusterMap, Command, Founded};
use data::codec::{Reader, Writer};
use data::keyspace::{CommitRule, OnTimeout, Settings};
use data::table::Seed;
use data::view::{Leader, Replica};
use data::{GroupId, Incarnation, KeyspaceId, NodeId, Position, Process, ViewNumber};
use std::error::Error;
use std::path::Path;

/// Replicas are written `node/incarnation`, leaders `node/incarnation/process`, positions `epoch.index`.
#[derive(goldenscript::Command)]
enum Line {
    Found(u32),
    AddNode(u64),
    /// node, process, incarnation
    StartNode(u32, u64, u64),
    RemoveNode(u32),
    ForgetNode(u32),
    /// name, commit rule, replicas
    Create(String, String, u32),
    Alter(u32, String, u32),
    Rule(u32),
    DropKeyspace(u32),
    EnsureGroup(u32),
    StartElection(u32, u64),
    /// group, number, the only node that may win
    ForceElection(u32, u64, u32),
    FinishElection {
        group: u32,
        number: u64,
        leader: String,
        start: String,
        /// Where the epochs of the winner's log began, divided by commas.
        #[arg(key, optional)]
        starts: String,
        #[arg(key, optional)]
        loss: bool,
    },
    /// group, number, leader, electable set; the rule stays
    ChangeElectable(u32, u64, String, Vec<String>),
    /// group, number, leader, rule, electable set
    ChangeRule(u32, u64, String, String, Vec<String>),
    ChangeMembers(u32, u64, Vec<u32>),
    /// group, number, copies that are only read; the members stay
    ChangeReadReplicas(u32, u64, Vec<u32>),
    /// keyspace, replicas, copies beside them that are only read
    AlterReplicas(u32, u32, u32),
    Show(u32),
    Nodes,
}

#[derive(Default)]
struct Runner(ClusterMap);

type Parsed<T> = Result<T, Box<dyn Error>>;

fn numbers(text: &str, by: char) -> Parsed<Vec<u64>> {
    Ok(text.split(by).map(str::parse).collect::<Result<_, _>>()?)
}
fn replica(text: &str) -> Parsed<Replica> {
    match numbers(text, '/')?[..] {
        [node, life, ..] => Ok(Replica { node: NodeId(node as u32), incarnation: Incarnation(life) }),
        _ => Err("a replica is node/incarnation".into()),
    }
}
fn leader(text: &str) -> Parsed<Leader> {
    let process = numbers(text, '/')?.get(2).copied().ok_or("a leader is node/incarnation/process")?;
    Ok(Leader { replica: replica(text)?, process: Process(process) })
}
fn position(text: &str) -> Parsed<Position> {
    match numbers(text, '.')?[..] {
        [epoch, index] => Ok(Position::new(epoch, index)),
        _ => Err("a position is epoch.index".into()),
    }
}
fn settings(rule: &str, replicas: u32) -> Parsed<Settings> {
    let commit = match rule {
        "majority" => CommitRule::Majority,
        "in-sync-set" => CommitRule::InSyncSet { minimum: 2 },
        "async" => CommitRule::Async,
        "semi-sync" => CommitRule::SemiSync { acks: 1 },
        "degrading" => {
            let commit = CommitRule::SemiSync { acks: 1 };
            return Ok(Settings { replicas, commit, on_timeout: OnTimeout::Degrade, ..Settings::default() });
        }
        "strict" => CommitRule::InSyncSet { minimum: replicas },
        "synchronous" => CommitRule::Synchronous,
        "chain" => CommitRule::Chain { minimum: 2 },
        _ => return Err("no such rule".into()),
    };
    Ok(Settings { replicas, commit, ..Settings::default() })
}

impl Line {
    fn command(&self) -> Parsed<Option<Command>> {
        Ok(Some(match self {
            Line::Found(count) => {
                let founders = (1..=*count).map(|at| (format!("10.0.0.{at}:7"), u64::from(at))).collect();
                let seeds = (0..16).map(|at| Seed(at, at)).collect();
                Command::Found { founded: Founded::new(founders), seeds, shards: 1 }
            }
            Line::AddNode(nonce) => Command::AddNode {
                nonce: *nonce,
                name: format!("late-{nonce}"),
                addresses: Addresses::default(),
                site: String::new(),
            },
            Line::StartNode(node, process, incarnation) => Command::StartNode {
                node: NodeId(*node),
                name: format!("node-{node}"),
                addresses: Addresses::default(),
                site: String::new(),
                process: Process(*process),
                incarnation: Incarnation(*incarnation),
            },
            Line::RemoveNode(node) => Command::RemoveNode { node: NodeId(*node) },
            Line::ForgetNode(node) => Command::ForgetNode { node: NodeId(*node) },
            Line::Create(name, rule, replicas) => Command::CreateKeyspace {
                name: name.clone(),
                settings: settings(rule, *replicas)?,
                seed: Seed(1, 2),
            },
            Line::Alter(keyspace, rule, replicas) => Command::AlterKeyspace {
                keyspace: KeyspaceId(*keyspace),
                settings: settings(rule, *replicas)?,
            },
            Line::DropKeyspace(keyspace) => Command::DropKeyspace { keyspace: KeyspaceId(*keyspace) },
            Line::EnsureGroup(keyspace) => Command::EnsureGroup { keyspace: KeyspaceId(*keyspace) },
            Line::StartElection(group, number) => {
                Command::StartElection { group: GroupId(*group), number: ViewNumber(*number) }
            }
            Line::ForceElection(group, number, node) => {
                let (group, number) = (GroupId(*group), ViewNumber(*number));
                Command::ForceElection { group, number, node: NodeId(*node) }
            }
            Line::FinishElection { group, number, leader: winner, start, starts, loss } => {
                Command::FinishElection {
                    group: GroupId(*group),
                    number: ViewNumber(*number),
                    leader: leader(winner)?,
                    start: position(start)?,
                    starts: starts
                        .split(',')
                        .filter(|text| !text.is_empty())
                        .map(position)
                        .collect::<Result<_, _>>()?,
                    loss_possible: *loss,
                }
            }
            Line::ChangeElectable(group, number, by, electable) => Command::ChangeElectable {
                group: GroupId(*group),
                number: ViewNumber(*number),
                leader: leader(by)?,
                rule: data::keyspace::CommitRule::Majority,
                electable: electable.iter().map(|text| replica(text)).collect::<Result<_, _>>()?,
            },
            Line::ChangeRule(group, number, by, rule, electable) => Command::ChangeElectable {
                group: GroupId(*group),
                number: ViewNumber(*number),
                leader: leader(by)?,
                rule: settings(rule, 3)?.commit,
                electable: electable.iter().map(|text| replica(text)).collect::<Result<_, _>>()?,
            },
            Line::ChangeMembers(group, number, members) => Command::ChangeMembers {
                group: GroupId(*group),
                number: ViewNumber(*number),
                members: members.iter().copied().map(NodeId).collect(),
                read_replicas: Vec::new(),
            },
            Line::ChangeReadReplicas(group, number, nodes) => Command::ChangeMembers {
                group: GroupId(*group),
                number: ViewNumber(*number),
                members: Vec::new(),
                read_replicas: nodes.iter().copied().map(NodeId).collect(),
            },
            Line::AlterReplicas(keyspace, replicas, read_replicas) => Command::AlterKeyspace {
                keyspace: KeyspaceId(*keyspace),
                settings: Settings {
                    replicas: *replicas,
                    read_replicas: *read_replicas,
                    ..Settings::default()
                },
            },
            Line::Show(_) | Line::Rule(_) | Line::Nodes => return Ok(None),
        }))
    }
}

impl Runner {
    fn show(&self, group: u32) -> String {
        let Some(view) = self.0.view(GroupId(group)) else { return "no such group".into() };
        let one = |r: &Replica| format!("{}/{}", r.node.0, r.incarnation.0);
        let electable: Vec<String> = view.electable.iter().map(one).collect();
        let members: Vec<String> = view.members.iter().map(|node| node.0.to_string()).collect();
        let mut members = members;
        if !view.read_replicas.is_empty() {
            members.push("and".into());
            members.extend(view.read_replicas.iter().map(|node| node.0.to_string()));
        }
        let history: Vec<String> = view.history.iter().map(ToString::to_string).collect();
        let leader = view.leader.map(|l| format!("{}/{}", one(&l.replica), l.process.0)).unwrap_or_default();
        let election = view.election.map(|epoch| format!(" electing {epoch}")).unwrap_or_default();
        format!(
            "{} {} leader {leader}{election} members {} electable {} history {}",
            view.number,
            view.epoch,
            members.join(" "),
            electable.join(" "),
            history.join(" ")
        )
    }
}

impl goldenscript::Runner for Runner {
    type Command = Line;

    fn run(&mut self, line: &Line, _context: &goldenscript::Context) -> Result<String, Box<dyn Error>> {
        if let Line::Show(group) = line {
            return Ok(self.show(*group));
        }
        if let Line::Rule(group) = line {
            let view = self.0.view(GroupId(*group)).ok_or("no such group")?;
            return Ok(format!(
                "{:?}, asked for {:?}, degraded {}",
                view.rule,
                view.settings.commit,
                view.is_degraded()
            ));
        }
        let Some(mut command) = line.command()? else {
            let nodes = self.0.nodes.values();
            let lines = nodes.map(|n| format!("{} {} {} {:?}", n.id, n.process, n.incarnation, n.state));
            return Ok(lines.collect::<Vec<_>>().join("\n"));
        };
        if let (Line::ChangeElectable(..), Command::ChangeElectable { group, rule, .. }) =
            (line, &mut command)
        {
            *rule = self.0.view(*group).map_or(*rule, |view| view.rule);
        }
        if let (Line::ChangeReadReplicas(..), Command::ChangeMembers { group, members, .. }) =
            (line, &mut command)
        {
            *members = self.0.view(*group).map_or_else(Vec::new, |view| view.members.clone());
        }
        // Through the encoding, like in the log and in snapshots.
        let mut bytes = Vec::new();
        command.encode(&mut Writer::new(&mut bytes));
        let command = Command::decode(&mut Reader::new(&bytes))?;
        let version = self.0.version + 1;
        let result = self.0.apply(version, &command, &Advice { control_leader: NodeId(1), suspects: vec![] });
        let mut bytes = Vec::new();
        self.0.encode(&mut Writer::new(&mut bytes));
        assert_eq!(ClusterMap::decode(&mut Reader::new(&bytes))?, self.0);
        Ok(match result {
            Ok(applied) => format!("{applied:?}"),
            Err(refusal) => format!("refused: {refusal}"),
        })
    }
}

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/map");
    let mut scripts: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        goldenscript::run(&mut Runner::default(), &script).unwrap();
    }
}
