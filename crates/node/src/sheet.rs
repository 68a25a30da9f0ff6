//! The guarantee sheet of a keyspace: what it promises under which faults, what it does not, what a write waits for, and the
//! four-way trade-off, all from its live settings. Every claim names what checks it: an invariant or a verdict of the
//! simulator, by its name in `tercet sim --list`.
//!
//! catalogue: A3 A5 C17

use crate::admin::option_words;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use data::LogFormat;
use data::keyspace::{CommitRule, Election, Flush, Level, OnTimeout, Settings};
use data::view::View;

/// One promise, or the absence of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    pub holds: bool,
    pub text: String,
    /// What would notice if it were wrong.
    pub checker: &'static str,
}

/// What the sheet of a keyspace is made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    pub settings: Settings,
    /// What counts now; differs from what the settings ask for while degraded or in change.
    pub rule: CommitRule,
    /// Copies, and those of them that count, in the group that has the fewest.
    pub members: usize,
    pub electable: usize,
    /// Nodes of the cluster.
    pub nodes: usize,
}

impl Facts {
    /// Of a keyspace with these groups; without any it is shown as it would begin on so many nodes.
    pub fn of<'a>(settings: Settings, nodes: usize, views: impl Iterator<Item = &'a View>) -> Facts {
        let copies = nodes.min(settings.replicas as usize).max(1);
        let first = Facts { settings, rule: settings.commit, members: copies, electable: copies, nodes };
        // The weakest of its groups: nothing is promised that one of them does not keep.
        let weakest = views.min_by_key(|view| (view.followers_needed(), view.electable.len()));
        weakest.map_or(first.clone(), |view| Facts {
            rule: view.rule,
            members: view.members.len(),
            electable: view.electable.len(),
            ..first
        })
    }
    /// k: followers that hold an entry before it is acknowledged, at least: an in-sync set may shrink to its minimum.
    fn k(&self) -> usize {
        match self.rule {
            CommitRule::InSyncSet { minimum } | CommitRule::Chain { minimum } => {
                (minimum as usize).saturating_sub(1)
            }
            rule => rule.followers_needed(self.electable),
        }
    }
    fn may_lose(&self) -> bool {
        self.rule.asks_nobody() && self.settings.election == Election::Best
    }
    /// Electable copies that must reach each other and the control plane for writes, and for another leader.
    fn to_write(&self) -> usize {
        self.k() + 1
    }
    fn to_elect(&self) -> usize {
        match self.rule {
            rule if rule.asks_nobody() && self.settings.election == Election::Wait => self.electable,
            rule => rule.seals_needed(self.electable),
        }
    }
    fn degraded(&self) -> bool {
        let asked = self.settings.commit.followers_needed(self.electable);
        self.rule.followers_needed(self.electable) < asked
    }
}

pub fn claims(it: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    durability(it, &mut claims);
    consistency(it, &mut claims);
    claims
}

fn durability(it: &Facts, claims: &mut Vec<Claim>) {
    let mut claim = |holds, text: String, checker| claims.push(Claim { holds, text, checker });
    let (k, e) = (it.k(), it.electable);
    const SURVIVE: &str = "acknowledged entries survive elections";
    if it.degraded() {
        claim(
            false,
            format!("Degraded now: {k} followers hold a write when it is answered, fewer than asked for."),
            SURVIVE,
        );
    }
    if it.may_lose() {
        claim(
            false,
            "An acknowledged write may be on its leader alone: a failover can lose the newest ones, and says so.".into(),
            SURVIVE,
        );
        claim(
            true,
            "What a failover lost lies in the ledger of the copy that held it, as soon as that is back (LEDGER LIST)."
                .into(),
            "what is lost lies in the ledger",
        );
    } else if k == 0 {
        claim(true, "No failover loses an acknowledged write: nobody leads before the old leader's copy has reported.".into(), SURVIVE);
        claim(false, "With the leader's disk the newest acknowledged writes are gone.".into(), SURVIVE);
    } else {
        let copies = if k == 1 { "any copy" } else { "copies" };
        let lost = if k == 1 { copies.to_string() } else { format!("any {k} {copies}") };
        claim(
            true,
            format!(
                "An acknowledged write is on its leader and {k} of {} followers: it survives the loss of {lost} for good.",
                e.saturating_sub(1)
            ),
            "electable replicas hold what is committed",
        );
        claim(true, "A failover loses no acknowledged write, however often it happens.".into(), SURVIVE);
        claim(
            false,
            format!("It does not survive the loss of {} copies at once, the leader's among them.", k + 1),
            SURVIVE,
        );
    }
    if it.rule == CommitRule::BestEffort {
        let backlog = it.settings.backlog_bytes;
        claim(
            false,
            format!(
                "Copies may differ for ever: a follower that has more than {backlog} bytes to come goes on without them. Each copy counts what it missed (KEYSPACE INFO, INFO)."
            ),
            "equal history, equal state",
        );
        claim(
            true,
            "A copy that missed writes answers no reads, and is made anew before another rule counts it, before it is handed the leadership, and after an election.".into(),
            "copies with gaps count for nothing",
        );
        claim(
            false,
            "A failover to a copy that missed writes loses them. It is taken only where no other has more; the ledger says what they were as soon as a copy that has them is back.".into(),
            "what is lost lies in the ledger",
        );
    }
    if let Some(site) = it.settings.recovery_site {
        claim(
            true,
            format!(
                "A copy at {site} knows how much it lacks, and can be made the leader when the others are gone (KEYSPACE PROMOTE)."
            ),
            "copies are as fresh as was asked for",
        );
        claim(
            false,
            format!(
                "What the copy at {site} lacks then is lost, until those who hold it come back: it lies in their ledgers."
            ),
            "what is lost lies in the ledger",
        );
    }
    if is_chain(it) {
        claim(
            true,
            "Copies hand writes on, one to the next, and nobody answers for another: whatever link breaks, no acknowledged write lacks a copy of the set.".into(),
            "electable replicas hold what is committed",
        );
        claim(
            true,
            "A copy that is gone leaves the chain, and the others close up: writes wait meanwhile.".into(),
            "liveness",
        );
    }
    match it.settings.level_held() {
        Level::Flushed | Level::Applied => claim(
            true,
            "A power cut of all nodes at once loses no acknowledged write.".into(),
            "a life keeps what it persisted",
        ),
        Level::Received => {
            let window = match it.settings.flush {
                Flush::Always => "before their flush".to_string(),
                Flush::EveryMs(ms) => format!("within {ms} ms"),
                Flush::Os => "before the operating system writes".to_string(),
            };
            claim(
                false,
                format!(
                    "A power cut of every copy that holds a write, {window}, loses it: copies answer when they have received it."
                ),
                "a life keeps what it persisted",
            );
        }
    }
    claim(true, "Nobody leads beside another: a leader that is cut off acknowledges nothing that its successor lacks.".into(), "one leader per epoch");
    claim(true, "A write that was answered INDETERMINATE is never shown before it is committed, and never comes back once it is gone.".into(), "committed entries stay");
}

/// What the format of the log gives and costs.
// catalogue: D1 D4 D6
fn logged(it: &Facts, claim: &mut impl FnMut(bool, &str, &'static str)) {
    const EQUAL: &str = "equal history, equal state";
    const DOUBTED: &str = "only harmed copies are doubted";
    match it.settings.log {
        LogFormat::Row => claim(
            true,
            "The log says what each write changed and what was there before: copies execute nothing (LOG row).",
            EQUAL,
        ),
        LogFormat::Statement => {
            claim(
                true,
                "The log holds commands, and every copy executes them; what draws, counts from now or rounds is rewritten first (LOG statement).",
                EQUAL,
            );
            claim(
                true,
                "A copy on which a command does something else is noticed at that entry, shown to nobody, and made anew.",
                DOUBTED,
            );
            claim(
                false,
                "Copies whose programs execute a command differently cannot follow each other: those that differ are made anew again and again.",
                DOUBTED,
            );
        }
        LogFormat::Physical => {
            claim(
                true,
                "The log holds whole values in the engine's bytes; a copy that held something else before is noticed, shown to nobody, and made anew (LOG physical).",
                DOUBTED,
            );
            claim(
                false,
                "A copy whose engine has another format is refused, and counts for nothing; a change of one byte logs the whole value.",
                EQUAL,
            );
        }
    }
}

/// What comparing the copies gives, where memory fails.
fn audited(it: &Facts, claim: &mut impl FnMut(bool, &str, &'static str)) {
    const DOUBTED: &str = "only harmed copies are doubted";
    if it.members < 3 {
        claim(
            false,
            "With fewer than three copies nobody can tell which one of two that differ is right: an alarm is raised and stays.",
            DOUBTED,
        );
    } else {
        claim(
            true,
            "A copy whose memory failed is noticed when its range of keys has its turn; from then on nobody is shown it, and it is made anew.",
            DOUBTED,
        );
    }
    claim(false, "Until its range has its turn a value that failing memory changed can be read.", DOUBTED);
}

fn consistency(it: &Facts, claims: &mut Vec<Claim>) {
    let mut claim =
        |holds, text: &str, checker| claims.push(Claim { holds, text: text.to_string(), checker });
    let between = if it.may_lose() { " Between two announced losses only." } else { "" };
    let with = |text: &str| format!("{text}{between}");
    claim(
        true,
        &with("Reads and writes of a key are linearizable, on every node, unless copies are asked for."),
        "registers are linearizable",
    );
    claim(
        true,
        &with("Who reads an answer reads what it answers, in other keyspaces too."),
        "answers follow questions",
    );
    claim(true, &with("A transaction is seen whole or not at all."), "transfers are atomic");
    claim(true, &with("A command that a node sends on, or again, happens once."), "counters count once");
    claim(
        true,
        &with("Members of sets and lists: none lost, none that was removed comes back, none twice."),
        "sets keep what was added",
    );
    claim(
        true,
        "What has expired stays expired, whatever the clocks of the nodes say.",
        "the expired stays expired",
    );
    claim(true, "Copies with the same log have the same state.", "equal history, equal state");
    logged(it, &mut claim);
    audited(it, &mut claim);
    claim(
        false,
        "A copy (CONSISTENCY READ follower, READONLY) may be old, unless MAX-STALENESS bounds it.",
        "sessions move forward",
    );
    claim(
        true,
        "A session that reads copies sees what it wrote and saw, on every node that it takes its token to, or hears TOKENLOST.",
        "sessions move forward",
    );
    if it.settings.shards > 1 {
        claim(
            false,
            "Commands over several shards (KEYS, SCAN, DBSIZE, FLUSHDB) show no single moment; transactions and multi-key commands need one slot.",
            "transfers are atomic",
        );
    }
}

/// What a write waits for, one part a line.
fn latency(it: &Facts) -> Vec<String> {
    let (k, flushed) = (it.k(), it.settings.level_held() == Level::Flushed);
    let flush =
        |whose: &str| if flushed { format!("{whose} flush") } else { format!("{whose} append (no flush)") };
    let mut parts = alloc::vec![flush("the leader's")];
    if is_chain(it) && it.electable > 1 {
        let links = it.electable - 1;
        parts.push(format!("beside it the way down the chain and back, {links} links, with the flushes of all beside each other"));
    } else if k > 0 {
        let followers = it.electable.saturating_sub(1);
        let which = match k {
            k if k >= followers => "the slowest electable follower".to_string(),
            1 => format!("the fastest of {followers} followers"),
            k => format!("the {k} fastest of {followers} followers"),
        };
        parts.push(format!("beside it a round trip to {which}, and {}", flush("its")));
    }
    if it.settings.level == Level::Applied && k > 0 {
        parts.push("then a round trip until as many followers have it in their state".into());
    }
    parts.push("one more round trip from a node that does not lead".into());
    let bound = it.settings.patience_ms();
    parts.push(match it.settings.on_timeout {
        OnTimeout::Degrade => format!(
            "at most {bound} ms: after {} ms the rule is degraded, recorded first",
            it.settings.timeout_ms
        ),
        OnTimeout::Fail | OnTimeout::Block => format!("at most {bound} ms, then INDETERMINATE"),
    });
    parts
}

fn is_chain(it: &Facts) -> bool {
    matches!(it.rule, CommitRule::Chain { .. })
}

fn shrinks(it: &Facts) -> bool {
    it.rule.drops_laggards() && it.to_write() < it.electable
}

/// One line for each corner of the trade-off.
fn trade_off(it: &Facts) -> [(&'static str, String); 4] {
    let (e, write, elect) = (it.electable, it.to_write().min(it.electable), it.to_elect());
    let consistency = match it.may_lose() {
        true => "linearizable while no failover loses anything; a loss is announced",
        false => "linearizable reads and writes",
    };
    let keeps = e.saturating_sub(write.max(elect));
    let availability = format!(
        "writes need {write} of {e} electable copies, a new leader {elect}: {keeps} may be away{}{}",
        if shrinks(it) { ", once the set has shrunk" } else { "" },
        if it.settings.min_replicas_to_write > 0 {
            format!(", and {} followers must keep up", it.settings.min_replicas_to_write)
        } else {
            String::new()
        }
    );
    let latency = match (it.k(), it.settings.level_held()) {
        (0, Level::Received) => "an append on the leader".to_string(),
        (0, Level::Flushed | Level::Applied) => "one flush on the leader".to_string(),
        _ if is_chain(it) => "the way down the chain and back, while all flush".to_string(),
        (k, Level::Received) => format!("a round trip to {k} followers"),
        (k, Level::Flushed | Level::Applied) => {
            format!("a flush, and a round trip to {k} followers that flush meanwhile")
        }
    };
    let complexity = match (it.rule, it.settings.shards) {
        (CommitRule::BestEffort, 1) => {
            "copies differ, and losses have to be looked for after a failover".to_string()
        }
        (CommitRule::Async, 1) => "losses have to be looked for after a failover".to_string(),
        (_, 1) => "none for clients: any node, any command".to_string(),
        (_, shards) => format!("keys used together need one hash tag, for there are {shards} shards"),
    };
    [
        ("consistency", consistency.to_string()),
        ("availability", availability),
        ("latency", latency),
        ("complexity", complexity),
    ]
}

/// The whole sheet as text.
pub fn text(name: &str, it: &Facts) -> String {
    let mut sheet = format!(
        "{name}: single-leader, {} of {} copies electable on {} nodes, {} shards, commit {}, level {}\n",
        it.electable,
        it.members,
        it.nodes,
        it.settings.shards,
        it.rule.name(),
        it.settings.level.name()
    );
    sheet.push_str(&format!("options: {}\n", option_words(&it.settings)));
    let claims = claims(it);
    for (title, holds) in [("Holds", true), ("Does not hold", false)] {
        sheet.push_str(&format!("\n{title}\n"));
        for claim in claims.iter().filter(|claim| claim.holds == holds) {
            sheet.push_str(&format!("- {} [{}]\n", claim.text, claim.checker));
        }
    }
    sheet.push_str("\nA write waits for\n");
    latency(it).iter().for_each(|part| sheet.push_str(&format!("- {part}\n")));
    sheet.push_str("\nTrade-off\n");
    trade_off(it).iter().for_each(|(corner, line)| sheet.push_str(&format!("- {corner}: {line}\n")));
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(commit: CommitRule, electable: usize) -> Facts {
        let settings = Settings { commit, ..Settings::default() };
        Facts { settings, rule: commit, members: electable, electable, nodes: electable }
    }

    #[test]
    fn numbers_follow_from_the_rule() {
        type Row = (CommitRule, usize, &'static str);
        let table: [Row; 8] = [
            (CommitRule::Majority, 3, "writes need 2 of 3 electable copies, a new leader 2: 1 may be away"),
            (CommitRule::Majority, 5, "writes need 3 of 5 electable copies, a new leader 3: 2 may be away"),
            (
                CommitRule::SemiSync { acks: 1 },
                3,
                "writes need 2 of 3 electable copies, a new leader 2: 1 may be away",
            ),
            (
                CommitRule::InSyncSet { minimum: 2 },
                3,
                "writes need 2 of 3 electable copies, a new leader 1: 1 may be away, once the set has shrunk",
            ),
            (
                CommitRule::Synchronous,
                3,
                "writes need 3 of 3 electable copies, a new leader 1: 0 may be away",
            ),
            (
                CommitRule::Chain { minimum: 2 },
                3,
                "writes need 2 of 3 electable copies, a new leader 1: 1 may be away, once the set has shrunk",
            ),
            (CommitRule::BestEffort, 3, "writes need 1 of 3 electable copies, a new leader 1: 2 may be away"),
            (CommitRule::Async, 3, "writes need 1 of 3 electable copies, a new leader 1: 2 may be away"),
        ];
        for (rule, electable, expected) in table {
            let [_, (_, availability), ..] = trade_off(&facts(rule, electable));
            assert_eq!(availability, expected, "{rule:?}");
        }
    }

    #[test]
    fn a_loss_is_never_hidden() {
        let says = |it: &Facts, words: &str| {
            claims(it).iter().any(|claim| !claim.holds && claim.text.contains(words))
        };
        assert!(says(&facts(CommitRule::Async, 3), "can lose the newest"));
        assert!(says(&facts(CommitRule::BestEffort, 3), "can lose the newest"));
        assert!(says(&facts(CommitRule::BestEffort, 3), "may differ for ever"));
        let mut degraded = facts(CommitRule::SemiSync { acks: 1 }, 3);
        assert!(!says(&degraded, "Degraded"));
        degraded.rule = CommitRule::Async;
        assert!(says(&degraded, "Degraded") && says(&degraded, "can lose the newest"));
        let mut received = facts(CommitRule::Majority, 3);
        received.settings.level = Level::Received;
        assert!(says(&received, "power cut"));
    }
}
