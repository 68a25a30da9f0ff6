//! The guarantee sheet of a multi-leader keyspace: what its sites promise together, and what each does by its commit rule.
// catalogue: A3 A5 I1 I4 I9 J17 J18
// bugs: ML-20

use crate::admin::option_words;
use crate::sheet::Claim;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use control::MultiLeader;
use data::keyspace::{CommitRule, Election, Level, OnTimeout, Settings};
use data::multi_leader::{Conflict, Topology};
use data::view::View;

const SURVIVES: &str = "acknowledged writes reach all sites";
const ONCE: &str = "increments count once at each site";
const DELETED: &str = "what was deleted at a site does not return";
const CONVERGES: &str = "sites become equal";
const CAUSES: &str = "no effect is shown before its cause";
const SERVES: &str = "liveness";
const ONE_ORDER: &str = "registers are linearizable";

/// What the sheet is made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    pub conflict: Conflict,
    pub topology: Topology,
    pub sites: Vec<String>,
    pub settings: Settings,
    /// What counts now, and the copies that count, in the group whose writes wait for the fewest.
    pub rule: CommitRule,
    pub electable: usize,
}

impl Facts {
    pub fn of<'a>(it: &MultiLeader, settings: Settings, views: impl Iterator<Item = &'a View>) -> Facts {
        // Nothing is promised that one of the groups does not keep.
        let weakest = views.min_by_key(|view| (view.followers_needed(), view.electable.len()));
        Facts {
            conflict: it.conflict.clone(),
            topology: it.topology.clone(),
            sites: it.sites.iter().map(|site| site.name.to_string()).collect(),
            settings,
            rule: weakest.map_or(settings.commit, |view| view.rule),
            electable: weakest.map_or(1, |view| view.electable.len()),
        }
    }
    fn k(&self) -> usize {
        self.rule.followers_needed(self.electable)
    }
    /// Commands go where their keys are at home.
    fn has_one_order(&self) -> bool {
        self.conflict == Conflict::Home && self.settings.forward
    }
    /// Writes are agreed to by a majority of the sites first.
    fn blocks(&self) -> bool {
        self.conflict == Conflict::Block
    }
    /// Whether what a site acknowledged may be on its leader alone: now, or once followers are late.
    fn may_lose(&self) -> bool {
        let asks_nobody = self.settings.commit.asks_nobody() || self.rule.asks_nobody();
        (asks_nobody || self.settings.on_timeout == OnTimeout::Degrade)
            && self.settings.election == Election::Best
    }
    fn degraded(&self) -> bool {
        self.k() < self.settings.commit.followers_needed(self.electable)
    }
    /// Sites that a write passes through at most, on its way to the last one.
    pub fn hops(&self) -> usize {
        let count = self.sites.len();
        match &self.topology {
            Topology::AllToAll => 1,
            Topology::Circular => count.saturating_sub(1),
            Topology::Star { .. } => 2.min(count.saturating_sub(1)),
            Topology::Tree { edges } => {
                let depth = |site: &str| {
                    let mut at = site.to_string();
                    let mut depth = 0;
                    while let Some((_, parent)) = edges.iter().find(|(child, _)| child.as_str() == at) {
                        at = parent.to_string();
                        depth += 1;
                        if depth > count {
                            break;
                        }
                    }
                    depth
                };
                let mut depths: Vec<usize> = self.sites.iter().map(|site| depth(site)).collect();
                depths.sort_unstable();
                depths.iter().rev().take(2).sum()
            }
        }
    }
}

pub fn claims(it: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut claim = |holds, text: String, checker| claims.push(Claim { holds, text, checker });
    let count = it.sites.len();
    claim(
        true,
        match (it.has_one_order(), it.blocks()) {
            (_, true) => format!(
                "Each of the {count} sites takes reads by itself, and writes as long as it hears a majority of them, itself included."
            ),
            (true, _) => format!(
                "Each of the {count} sites takes reads and writes of the keys that are at home there by itself, and goes on when it hears none of the others."
            ),
            _ => format!(
                "Each of the {count} sites takes reads and writes by itself, and goes on when it hears none of the others."
            ),
        },
        SERVES,
    );
    if it.degraded() {
        claim(
            false,
            format!(
                "Degraded now: at one of the sites {} followers hold a write when it is answered, fewer than asked for.",
                it.k()
            ),
            SURVIVES,
        );
    }
    if it.may_lose() {
        claim(
            false,
            "A failover within a site can lose its newest acknowledged writes that no other site has yet; the ledger does not keep them.".to_string(),
            SURVIVES,
        );
    } else {
        claim(
            true,
            "No failover within a site loses an acknowledged write, or sends one twice.".to_string(),
            SURVIVES,
        );
    }
    claim(
        true,
        "What a site acknowledged reaches every other one, by whatever way is left, once.".to_string(),
        SURVIVES,
    );
    claim(
        false,
        "A site that is lost for good takes along what it had not sent yet: KEYSPACE INFO tells how much that is.".to_string(),
        SURVIVES,
    );
    claim(true, "An increment counts once at each site, whatever comes twice.".to_string(), ONCE);
    claim(
        false,
        "A write that a client sends again is another write: no id of a client is known at all sites, so WITH REQUEST is refused.".to_string(),
        ONCE,
    );
    claim(
        true,
        "A removal that has reached a site is not undone there by what its site had seen.".to_string(),
        DELETED,
    );
    claim(true, "No site shows an effect without its cause, within a shard.".to_string(), CAUSES);
    claim(
        false,
        "Between shards, and for a client that goes to another site, it holds for who carries a session token along (SESSION TOKEN, SESSION RESUME), and for nobody else.".to_string(),
        CAUSES,
    );
    claim(
        true,
        "When sites hear each other and writes rest, all of them hold the same.".to_string(),
        CONVERGES,
    );
    match it.conflict {
        Conflict::Crdt => claim(
            true,
            "Concurrent writes merge by their types; a string keeps all concurrent values and shows the one with the highest stamp (CONFLICT crdt, family converge).".to_string(),
            CONVERGES,
        ),
        Conflict::Merge { .. } => claim(
            true,
            "Of concurrent strings readers are shown what the keyspace's function gives, nothing of that is written, and the inbox says where it failed (CONFLICT merge, family converge).".to_string(),
            CONVERGES,
        ),
        Conflict::Siblings => claim(
            true,
            "Concurrent values of a string stay until somebody writes over what GETV showed (CONFLICT siblings, family resolve).".to_string(),
            CONVERGES,
        ),
        Conflict::LastWriteWins => claim(
            false,
            "Of concurrent writes of one string or field the highest stamp stays, and what loses lies in the inbox (CONFLICT last-write-wins, family converge): clocks that differ decide wrongly.".to_string(),
            CONVERGES,
        ),
        Conflict::Block => {}
        Conflict::Home => {
            claim(
                true,
                "A key is written at its home site only: there are no conflicts (CONFLICT home, family avoid).".to_string(),
                CONVERGES,
            );
            claim(
                false,
                "Keys whose home cannot be reached take no writes; those of a site that is gone have no home.".to_string(),
                SERVES,
            );
        }
    }
    if it.blocks() {
        claim(
            true,
            "Each write of a key saw all acknowledged writes of it before: of two that did not know of each other one is refused with CONFLICT before anything is done (CONFLICT block, family avoid).".to_string(),
            CONVERGES,
        );
        claim(
            false,
            "A site that is cut off takes no writes; a key whose write was under way at a site that is gone takes none anywhere until that site is back.".to_string(),
            SERVES,
        );
    }
    if it.has_one_order() {
        claim(
            true,
            "Commands of a key go to its home from everywhere, reads too (FORWARD on): a key is linearizable, while its home stays and while it moves.".to_string(),
            ONE_ORDER,
        );
        claim(
            false,
            "Reads of copies (READ nearest, READ follower) are behind the home; a write under its client's own id counts as new at the next home.".to_string(),
            ONE_ORDER,
        );
    } else {
        claim(
            false,
            "It is not linearizable: two sites that do not know of each other's writes show different values meanwhile.".to_string(),
            CONVERGES,
        );
    }
    claim(
        false,
        "A site that cannot reach the control plane serves while its leaders live, and elects no other ones: views of all sites are kept by one control group.".to_string(),
        SERVES,
    );
    claims
}

pub fn text(name: &str, it: &Facts) -> String {
    let mut sheet = format!(
        "{name}: multi-leader, sites {}, topology {}, conflict {}, in each site {} on {} copies\n",
        it.sites.join(","),
        it.topology,
        it.conflict.name(),
        it.settings.commit.name(),
        it.electable
    );
    sheet.push_str(&format!(
        "options: SITES {} TOPOLOGY {} CONFLICT {} {}\n",
        it.sites.join(","),
        it.topology,
        it.conflict.name(),
        option_words(&it.settings)
    ));
    let claims = claims(it);
    for (title, holds) in [("Holds", true), ("Does not hold", false)] {
        sheet.push_str(&format!("\n{title}\n"));
        for claim in claims.iter().filter(|claim| claim.holds == holds) {
            sheet.push_str(&format!("- {} [{}]\n", claim.text, claim.checker));
        }
    }
    let k = it.k();
    let held = match (it.settings.level_held() == Level::Flushed, k) {
        (true, 0) => "disk",
        (true, _) => "disks",
        (false, 0) => "copy",
        (false, _) => "copies",
    };
    sheet.push_str("\nA write waits for\n");
    let others = match it.blocks() {
        true => "first for the word of a majority of the sites",
        false => "for no other site",
    };
    sheet.push_str(&format!("- the leader of its site and {k} of its followers there; {others}\n"));
    sheet.push_str("\nTrade-off\n");
    let alone = if it.blocks() { "a majority of the sites" } else { "each site alone" };
    sheet.push_str(&format!("- availability: {alone}, with {} of its {} copies\n", k + 1, it.electable));
    sheet.push_str(&format!(
        "- durability: {} {} of one site before a write is acknowledged, all sites' after {} hops at most\n",
        k + 1,
        held,
        it.hops()
    ));
    let (latency, consistency) = match it.has_one_order() {
        _ if it.blocks() => (
            "a round trip to the nearest sites that make a majority, and their commit; reads that of the site",
            "writes of a key in one order, each behind all before it; reads of a site causal within a shard",
        ),
        true => {
            ("that of the key's home, and of the way there", "each key linearizable; causal within a shard")
        }
        false => (
            "that of the site",
            "causal within a shard; concurrent writes are settled by the policy, alike everywhere",
        ),
    };
    sheet.push_str(&format!("- latency: {latency}; other sites follow asynchronously\n"));
    sheet.push_str(&format!("- consistency: {consistency}\n"));
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::Site;

    #[test]
    fn what_is_promised_follows_from_the_settings() {
        let site = |name: &str| Site::named(name).expect("a site");
        let facts = |conflict, topology, commit| Facts {
            conflict,
            topology,
            sites: ["eu", "us", "ap", "sa"].map(String::from).to_vec(),
            settings: Settings { commit, ..Settings::default() },
            rule: commit,
            electable: 3,
        };
        let holds =
            |it: &Facts, checker: &str| claims(it).iter().filter(|c| c.checker == checker && c.holds).count();
        let safe = facts(Conflict::Crdt, Topology::AllToAll, CommitRule::Majority);
        let loose = facts(Conflict::LastWriteWins, Topology::Circular, CommitRule::Async);
        assert_eq!((holds(&safe, SURVIVES), holds(&loose, SURVIVES)), (2, 1));
        assert_eq!((holds(&safe, CONVERGES), holds(&loose, CONVERGES)), (2, 1));
        assert_eq!((safe.hops(), loose.hops()), (1, 3));
        let mut degrades = facts(Conflict::Crdt, Topology::AllToAll, CommitRule::SemiSync { acks: 1 });
        assert_eq!(holds(&degrades, SURVIVES), 2);
        degrades.settings.on_timeout = OnTimeout::Degrade;
        assert_eq!(holds(&degrades, SURVIVES), 1, "its rule may ask nobody when followers are late");
        assert!(text("world", &degrades).contains("durability: 2 disks of one site"));
        (degrades.rule, degrades.settings.level) = (CommitRule::Async, Level::Received);
        let sheet = text("world", &degrades);
        assert!(
            sheet.contains("Degraded now") && sheet.contains("durability: 1 copy of one site"),
            "{sheet}"
        );
        degrades.settings.election = Election::Wait;
        assert_eq!(holds(&degrades, SURVIVES), 2, "nobody leads before the old leader's copy has reported");
        let block = facts(Conflict::Block, Topology::AllToAll, CommitRule::Majority);
        assert_eq!((holds(&block, CONVERGES), holds(&block, SERVES)), (2, 1));
        assert!(text("world", &block).contains("availability: a majority of the sites"));
        let star = facts(Conflict::Crdt, Topology::Star { hub: site("eu") }, CommitRule::Majority);
        let edges = [("us", "eu"), ("ap", "us"), ("sa", "eu")].map(|(a, b)| (site(a), site(b))).to_vec();
        let tree = facts(Conflict::Home, Topology::Tree { edges }, CommitRule::Majority);
        assert_eq!((star.hops(), tree.hops()), (2, 3));
        assert!(
            text("world", &tree).starts_with("world: multi-leader, sites eu,us,ap,sa, topology tree:us->eu")
        );
    }
}
