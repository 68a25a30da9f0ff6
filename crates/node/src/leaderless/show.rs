//! What operators see of leaderless shards: KEYSPACE CREATE's options, KEYSPACE INFO, and looks for metrics and invariants.

use super::Counts;
use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use control::map::LAST_STAYS_LAST;
use control::{Command, LeaderlessChange};
use data::causal::{Actor, FUNCTION_LEN_MAX, ShardCopy};
use data::leaderless::{ConflictPolicy, OnSiblings, Policy, ReadRepair, Stage};
use data::plant::{self, Bug};
use data::table::Seed;
use data::value::Blob;
use data::{GroupId, KeyspaceId, NodeId};
use wire::number::parse_integer;

/// A look at one copy.
pub struct ShardState<'a> {
    pub group: GroupId,
    pub keyspace: KeyspaceId,
    pub copy: &'a ShardCopy,
    /// As whom it mints, and the highest counter that it has given out.
    pub minted: (Actor, u64),
    /// Whether the ring has it; else it stands in.
    pub is_replica: bool,
    /// Whether it may answer.
    pub is_ready: bool,
    pub is_walking: bool,
    /// Hints that it keeps for others, in number and bytes.
    pub hints: usize,
    pub hint_bytes: u64,
    /// Targets that must be told that hints for them were dropped.
    pub missed: usize,
    /// Requests that this node coordinates.
    pub under_way: usize,
    /// What is kept here only so that deletes stay deletes, and how far the barrier that collects it has come.
    pub residue: u64,
    pub barrier: data::leaderless::Barrier,
}

impl Node {
    /// State of the copies on this node, for metrics and invariants.
    pub fn shard_states(&self) -> impl Iterator<Item = ShardState<'_>> {
        self.leaderless.shards.iter().filter_map(|(group, it)| {
            let replica = &it.copy.as_ref()?.replica;
            let hints = replica.durable().hints();
            Some(ShardState {
                group: *group,
                keyspace: it.keyspace,
                copy: &replica.durable().copy,
                minted: replica.minted(),
                is_replica: it.placement.is_replica(self.config.node),
                is_ready: replica.durable().is_ready(),
                is_walking: replica.is_walking(),
                hints: hints.len(),
                hint_bytes: hints.bytes(),
                missed: hints.missed().len(),
                under_way: it.coordinator.under_way(),
                residue: replica.durable().copy.residue_count(),
                barrier: it.placement.barrier,
            })
        })
    }
    pub fn leaderless_counts(&self) -> Counts {
        self.leaderless.counts
    }
    /// Keys with news for the inbox, of the shards whose first living replica this node is.
    pub(crate) fn take_leaderless_news(&mut self) -> Vec<(KeyspaceId, GroupId, Vec<Blob>)> {
        let (me, peers) = (self.config.node, &self.peers);
        let mut news = Vec::new();
        for (group, it) in &mut self.leaderless.shards {
            let first = it.placement.replicas.iter().find(|node| **node == me || peers.contains_key(node));
            let keys = it.copy.as_mut().map(|copy| copy.replica.take_news()).unwrap_or_default();
            if !keys.is_empty() && first == Some(&me) {
                news.push((it.keyspace, *group, keys));
            }
        }
        news
    }
    /// Commands that wait for copies.
    pub fn quorum_calls(&self) -> usize {
        self.leaderless.calls.count() + self.leaderless.surveys.count() + self.leaderless.agreements.count()
    }

    pub(crate) fn create_leaderless(
        &mut self,
        connection: ConnectionId,
        name: String,
        options: &[&[u8]],
    ) -> Flow {
        let policy = match parse_policy(Policy::default(), true, options) {
            Ok(policy) => policy,
            Err(error) => return self.reply_error(connection, &error),
        };
        // A member of an older version could not read the map.
        let old =
            |node: &NodeId| self.versions.get(node).is_some_and(|version| *version < super::SINCE_VERSION);
        if let Some(node) = self.map.nodes.values().find(|node| old(&node.id)) {
            let text = format!(
                "TRYAGAIN node {} runs a version that knows no leaderless keyspaces: upgrade it first",
                node.name
            );
            return self.reply_error(connection, &text);
        }
        if let Some(error) = policy.merge.as_ref().and_then(|function| self.unfit_function(function)) {
            return self.reply_error(connection, &error);
        }
        let seed = Seed(self.random.draw(), self.random.draw());
        let change = LeaderlessChange::Create { name, policy, seed };
        self.administrate(connection, Command::ChangeLeaderless(change))
    }

    /// Why a keyspace cannot have this function.
    pub(crate) fn unfit_function(&self, function: &str) -> Option<String> {
        let old =
            |node: &control::Node| self.versions.get(&node.id).is_some_and(|it| *it < super::MERGE_SINCE);
        if let Some(node) = self.map.nodes.values().find(|node| old(node)) {
            return Some(format!(
                "TRYAGAIN node {} runs a version that knows no merge functions: upgrade it first",
                node.name
            ));
        }
        let accepted = self.config.merge_engine.accept(function);
        let why = accepted.err().filter(|_| !plant::is(Bug::AcceptsAnyFunction))?;
        Some(format!("ERR this function cannot be the keyspace's: {why}"))
    }

    /// KEYSPACE ALTER of what can change in use: everything but how many copies and shards there are. What is not said stays.
    pub(crate) fn alter_leaderless(
        &mut self,
        connection: ConnectionId,
        keyspace: KeyspaceId,
        options: &[&[u8]],
    ) -> Flow {
        let Some(known) = self.policy_of(keyspace) else {
            return self.reply_error(connection, "ERR no such keyspace");
        };
        let wins = |it: &Policy| it.conflict == ConflictPolicy::LastWriteWins;
        match parse_policy(known.clone(), false, options) {
            Ok(policy) if (policy.n, policy.shards) != (known.n, known.shards) => {
                let text = "ERR N and SHARDS of a leaderless keyspace cannot be altered in this version: make another keyspace; W, R, SLOPPY, READ-REPAIR, CONFLICT and ON-SIBLINGS can be altered";
                self.reply_error(connection, text)
            }
            Ok(policy) if wins(&policy) != wins(&known) => {
                self.reply_error(connection, &format!("ERR {LAST_STAYS_LAST}"))
            }
            Ok(policy) => {
                // The one that it has was accepted once.
                let fresh = policy.merge.as_ref().filter(|_| policy.merge != known.merge);
                if let Some(error) = fresh.and_then(|function| self.unfit_function(function)) {
                    return self.reply_error(connection, &error);
                }
                let change = LeaderlessChange::Alter { keyspace, policy };
                self.administrate(connection, Command::ChangeLeaderless(change))
            }
            Err(error) => self.reply_error(connection, &error),
        }
    }

    /// KEYSPACE INFO; nothing of a keyspace that has leaders.
    pub(crate) fn leaderless_info(&mut self, connection: ConnectionId, keyspace: KeyspaceId) -> Option<Flow> {
        let it = self.map.leaderless.get(&keyspace)?.clone();
        let policy = it.policy.clone();
        let keyspace_name = self.keyspace_name(keyspace);
        let name = |node: NodeId| self.map.nodes.get(&node).map_or_else(String::new, |it| it.name.clone());
        let names = |nodes: &[NodeId]| nodes.iter().map(|node| name(*node)).collect::<Vec<_>>();
        let shards: Vec<_> = it
            .shards
            .iter()
            .map(|shard| {
                let stand_ins = if policy.sloppy { self.map.stand_ins(shard) } else { Vec::new() };
                let joining: Vec<NodeId> = shard.joining.into_iter().collect();
                let awaited = match shard.barrier.stage {
                    Stage::Idle => Vec::new(),
                    Stage::Promise | Stage::Hold => self.map.awaited_by_barrier(shard.group),
                };
                let nodes = [names(&shard.replicas), names(&joining), names(&stand_ins), names(&awaited)];
                (shard.clone(), nodes)
            })
            .collect();
        Some(self.reply(connection, |w| {
            w.fields(|f| {
                f.text("name", &keyspace_name);
                f.text("kind", "leaderless");
                f.text("conflict", policy.conflict.name());
                if let Some(function) = &policy.merge {
                    f.text("merge", &**function);
                }
                f.text("sloppy", if policy.sloppy { "on" } else { "off" });
                f.text("read-repair", policy.repair.name());
                f.text("on-siblings", policy.on_siblings.name());
                f.text("reads-meet-writes", if policy.overlaps() { "yes" } else { "no" });
                f.integer("id", keyspace.0);
                f.integer("n", policy.n);
                f.integer("w", policy.w);
                f.integer("r", policy.r);
                f.integer("shards", policy.shards);
                let w = f.field("rings");
                w.array(shards.len());
                for (shard, [replicas, joining, stand_ins, awaited]) in &shards {
                    w.fields(|f| {
                        f.integer("shard", shard.group.0);
                        f.text("slots", format!("{}-{}", shard.slots.first, shard.slots.last));
                        f.integer("ring", shard.ring as i64);
                        f.text("barrier", shard.barrier.stage.name());
                        f.integer("barriers", shard.barrier.collected as i64);
                        f.field("replicas").list(replicas);
                        f.field("joining").list(joining);
                        f.field("stand-ins").list(stand_ins);
                        f.field("barrier-awaits").list(awaited);
                    });
                }
            });
        }))
    }

    pub(crate) fn leaderless_sheet(&self, keyspace: KeyspaceId) -> Option<String> {
        let policy = self.policy_of(keyspace)?;
        let nodes = self.map.nodes.values().filter(|node| node.usable()).count();
        Some(super::sheet::text(&self.keyspace_name(keyspace), &policy, nodes))
    }

    /// Fields of INFO.
    pub(crate) fn write_leaderless(&self, field: &mut dyn FnMut(&str, String)) {
        let (mut copies, mut stand_ins, mut rebuilding, mut hints, mut hint_bytes, mut keys) =
            (0, 0, 0, 0, 0, 0);
        let mut inbox = (0, 0, 0, 0);
        let mut residue = 0;
        for state in self.shard_states() {
            residue += state.residue;
            if state.is_replica {
                copies += 1;
                rebuilding += usize::from(!state.is_ready);
                keys += state.copy.len();
            } else {
                stand_ins += 1;
            }
            inbox.0 += state.copy.disputed().count() as u64;
            inbox.1 += state.copy.decision_bytes();
            inbox.2 += state.copy.dropped_decisions();
            inbox.3 += state.copy.agreed();
            hints += state.hints;
            hint_bytes += state.hint_bytes;
        }
        let counts = self.leaderless.counts;
        for (name, value) in [
            ("leaderless_copies", copies as u64),
            ("leaderless_stand_ins", stand_ins as u64),
            ("leaderless_copies_rebuilding", rebuilding as u64),
            ("leaderless_keys", keys),
            ("leaderless_calls", self.quorum_calls() as u64),
            ("leaderless_hints", hints as u64),
            ("leaderless_hint_bytes", hint_bytes),
            ("leaderless_hints_dropped", counts.hints_dropped),
            ("leaderless_merges", counts.merged.done),
            ("leaderless_merges_failed", counts.merged.failed),
            ("leaderless_reads", counts.reads),
            ("leaderless_writes", counts.writes),
            ("leaderless_no_quorum", counts.no_quorum),
            ("leaderless_linearizable", counts.agreements),
            ("leaderless_outbid", counts.outbid),
            ("leaderless_sloppy_writes", counts.sloppy),
            ("leaderless_read_repairs", counts.stale),
            ("leaderless_walks", counts.walks),
            ("leaderless_walks_abandoned", counts.walks_abandoned),
            ("leaderless_keys_walked", counts.keys_walked),
            ("leaderless_bytes_walked", counts.bytes_walked),
            ("leaderless_copies_rebuilt", counts.rebuilt),
            ("leaderless_checkpoints", counts.checkpoints),
            ("leaderless_residue", residue),
            ("leaderless_residue_collected", counts.collected),
            ("leaderless_barriers", counts.barriers),
            ("leaderless_other_ring", counts.other_ring),
            ("inbox_keys", inbox.0),
            ("inbox_bytes", inbox.1),
            ("inbox_dropped", inbox.2),
            ("inbox_equal_values", inbox.3),
        ] {
            field(name, format!("{value}"));
        }
        for state in self.shard_states() {
            let yes = |it: bool| if it { "yes" } else { "no" };
            let (copy, whole) = (state.copy, state.copy.tree().whole());
            let value = format!(
                "keyspace={},copy={},ready={},walking={},keys={},sum={:016x},context={:016x},unsettled={},hints={}",
                self.keyspace_name(state.keyspace),
                yes(state.is_replica),
                yes(state.is_ready),
                yes(state.is_walking),
                whole.entries,
                whole.sum,
                copy.context_hash(),
                copy.unsettled(),
                state.hints + state.missed,
            );
            field(&format!("leaderless_shard{}", state.group.0), value);
        }
    }
}

/// Options of `KEYSPACE CREATE name LEADERLESS`, and of `KEYSPACE ALTER`; the first contradiction as an error for the client.
pub(super) fn parse_policy(mut policy: Policy, is_new: bool, options: &[&[u8]]) -> Result<Policy, String> {
    let (mut w, mut r, mut conflict, mut function) = (None, None, None, None);
    let mut given: Vec<String> = Vec::new();
    let mut rest = options;
    while let [option, behind @ ..] = rest {
        let [value, behind @ ..] = behind else {
            return Err("ERR every option of a keyspace has a value".into());
        };
        rest = behind;
        let (option, raw) = (option.to_ascii_uppercase(), *value);
        let value = raw.to_ascii_lowercase();
        let option = String::from_utf8_lossy(&option[..option.len().min(64)]).into_owned();
        let text = String::from_utf8_lossy(&value[..value.len().min(64)]).into_owned();
        let number = || {
            let number = parse_integer(&value).and_then(|number| u32::try_from(number).ok());
            number.ok_or_else(|| format!("ERR {option} takes a number"))
        };
        if given.contains(&option) {
            return Err(format!("ERR {option} is given twice"));
        }
        match &option[..] {
            "N" => policy.n = number()?,
            "W" => w = Some(number()?),
            "R" => r = Some(number()?),
            "SHARDS" => policy.shards = number()?,
            "SLOPPY" => {
                policy.sloppy = match &text[..] {
                    "on" => true,
                    "off" => false,
                    _ => return Err("ERR SLOPPY is on or off".into()),
                }
            }
            "READ-REPAIR" => {
                let known = ReadRepair::ALL.into_iter().find(|repair| repair.name() == text);
                policy.repair =
                    known.ok_or_else(|| "ERR READ-REPAIR is blocking, background or off".to_string())?;
            }
            "ON-SIBLINGS" => {
                let known = OnSiblings::ALL.into_iter().find(|it| it.name() == text);
                policy.on_siblings = known.ok_or_else(|| "ERR ON-SIBLINGS is show or error".to_string())?;
            }
            "CONFLICT" => {
                let said = conflict_named(&text)?;
                conflict = Some(said);
                // Its function follows, or stands behind MERGE.
                if let ([text, behind @ ..], ConflictPolicy::Merge) = (rest, said)
                    && !text.eq_ignore_ascii_case(b"MERGE")
                {
                    function = Some(function_of(text)?);
                    given.push("MERGE".into());
                    rest = behind;
                }
            }
            "MERGE" => function = Some(function_of(raw)?),
            _ => return Err(unknown(&option)),
        }
        given.push(option);
    }
    // More than half, unless it is said: reads meet writes, and reads meet reads.
    let majority = policy.n / 2 + 1;
    policy.w = w.unwrap_or(if is_new { majority } else { policy.w });
    policy.r = r.unwrap_or(if is_new { majority } else { policy.r });
    policy.conflict = match (conflict, &function) {
        (Some(ConflictPolicy::Merge) | None, Some(_)) => ConflictPolicy::Merge,
        (Some(said), _) => said,
        (None, None) => policy.conflict,
    };
    policy.merge = match policy.conflict {
        // One without a new one keeps the one that it has.
        ConflictPolicy::Merge => function.or(policy.merge),
        _ => function,
    };
    policy.check().map_err(|why| format!("ERR {why}"))?;
    Ok(policy)
}

pub(crate) fn function_of(text: &[u8]) -> Result<Arc<str>, String> {
    let text = core::str::from_utf8(text).map_err(|_| "ERR a merge function is text in UTF-8")?;
    if text.len() > FUNCTION_LEN_MAX {
        return Err(format!("ERR {}", data::leaderless::FUNCTION_BOUNDS));
    }
    Ok(text.into())
}

/// The policies that have a machine in this mode, and why the others do not.
fn conflict_named(text: &str) -> Result<ConflictPolicy, String> {
    if let Some(policy) = ConflictPolicy::ALL.into_iter().find(|policy| policy.name() == text) {
        return Ok(policy);
    }
    let missing = match text {
        "home" | "block" => "it is about leaders at sites, and here nobody leads: use CONFLICT crdt",
        _ if text.starts_with("merge:") => "functions have no names: CONFLICT merge \"<lua>\"",
        _ => {
            return Err(
                "ERR CONFLICT is crdt, siblings, last-write-wins or merge \"<lua>\" in a leaderless keyspace"
                    .into(),
            );
        }
    };
    Err(format!("ERR CONFLICT {text}: {missing}"))
}

fn unknown(option: &str) -> String {
    const LEADERS: [&str; 16] = [
        "REPLICAS",
        "READ-REPLICAS",
        "FAN-OUT",
        "SITE",
        "RECOVERY-SITE",
        "FORWARD",
        "COMMIT",
        "ACKS",
        "LEVEL",
        "FLUSH",
        "TIMEOUT",
        "ON-TIMEOUT",
        "ELECTION",
        "LOG",
        "MIN-REPLICAS-TO-WRITE",
        "MIN-REPLICAS-MAX-LAG",
    ];
    if LEADERS.contains(&option) {
        return format!(
            "ERR {option} is about a leader and its followers, and a leaderless keyspace has none: N, W and R say how many copies there are and how many answer"
        );
    }
    format!(
        "ERR unknown option '{option}': a leaderless keyspace takes N, W, R, SLOPPY, READ-REPAIR, CONFLICT, MERGE, ON-SIBLINGS and SHARDS"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Policy, String> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        parse_policy(Policy::default(), true, &words)
    }

    #[test]
    fn a_majority_is_asked_for_unless_it_is_said() {
        assert_eq!(parsed(""), Ok(Policy::default()));
        assert_eq!(parsed("n 5"), Ok(Policy { n: 5, w: 3, r: 3, ..Policy::default() }));
        let said =
            "N 4 W 1 R 4 SLOPPY on READ-REPAIR off CONFLICT last-write-wins ON-SIBLINGS error SHARDS 3";
        let policy = Policy {
            shards: 3,
            n: 4,
            w: 1,
            r: 4,
            sloppy: true,
            repair: ReadRepair::Off,
            on_siblings: OnSiblings::Error,
            conflict: ConflictPolicy::LastWriteWins,
            merge: None,
        };
        assert_eq!(parsed(said), Ok(policy));
    }

    #[test]
    fn a_function_follows_its_policy_or_its_own_word() {
        let words =
            |line: &[&'static str]| -> Vec<&'static [u8]> { line.iter().map(|it| it.as_bytes()).collect() };
        let of = |known: &Policy, line: &[&'static str]| parse_policy(known.clone(), false, &words(line));
        let text = "Return a.Value";
        let merging =
            Policy { conflict: ConflictPolicy::Merge, merge: Some(text.into()), ..Policy::default() };
        for line in [
            &["CONFLICT", "merge", text][..],
            &["MERGE", text],
            &["conflict", "MERGE", "merge", text],
            &["MERGE", text, "CONFLICT", "merge", "MERGE"][..4],
        ] {
            assert_eq!(of(&Policy::default(), line), Ok(merging.clone()), "{line:?}");
        }
        assert_eq!(of(&merging, &["W", "3"]), Ok(Policy { w: 3, ..merging.clone() }));
        assert_eq!(of(&merging, &["CONFLICT", "crdt"]), Ok(Policy::default()));
        assert_eq!(
            of(&Policy::default(), &["W", "3", "CONFLICT", "merge", "W", "R", "1"]).map(|it| it.merge),
            Ok(Some("W".into()))
        );
        for line in [
            &["CONFLICT", "merge"][..],
            &["CONFLICT", "merge", "MERGE"],
            &["CONFLICT", "crdt", "MERGE", text],
            &["CONFLICT", "merge", text, "MERGE", text],
        ] {
            assert!(of(&Policy::default(), line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn contradictions_are_refused_with_what_to_do() {
        for (line, part) in [
            ("N", "has a value"),
            ("N 3 W 4", "W must be between 1 and N"),
            ("N 3 R 0", "R must be between 1 and N"),
            ("N 99", "N must be between"),
            ("N three", "takes a number"),
            ("W 1 W 2", "given twice"),
            ("COMMIT majority", "has none"),
            ("CONFLICT merge:max", "have no names"),
            ("CONFLICT home", "nobody leads"),
            ("CONFLICT coin", "siblings, last-write-wins or merge"),
            ("SLOPPY maybe", "on or off"),
            ("FOO 1", "unknown option 'FOO'"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.starts_with("ERR ") && error.contains(part), "{line}: {error}");
        }
    }
}
