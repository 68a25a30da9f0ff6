//! The guarantee sheet of a leaderless keyspace: what quorums of these sizes promise, and what they do not.
// catalogue: A3 A5 K3 K4 K19 K23
// bugs: LL-03, LL-15

use crate::sheet::Claim;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use data::leaderless::{ConflictPolicy, Policy, ReadRepair};

const READS_MEET: &str = "reads see what was acknowledged before";
const SURVIVES: &str = "acknowledged writes survive in leaderless keyspaces";
const DELETED: &str = "what was deleted does not return";
const ONCE: &str = "increments count once";
const CONVERGES: &str = "copies of leaderless shards become equal";
const INBOX: &str = "what lost is told of in the inbox";
const AGREED: &str = "registers are linearizable";
const FORWARD: &str = "quorum reads do not go back";

pub fn claims(it: &Policy) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut claim = |holds, text: String, checker| claims.push(Claim { holds, text, checker });
    let (n, w, r) = (it.n, it.w, it.r);
    if it.sloppy {
        claim(
            false,
            "An acknowledged write may be on one replica and on stand-ins, which keep it for hours: with that replica's disk it is gone when they could not hand it over by then, or were removed."
                .to_string(),
            SURVIVES,
        );
    } else if w >= 2 {
        claim(
            true,
            format!(
                "An acknowledged write is on the disks of {w} nodes: it survives the loss of any {} for good.",
                w - 1
            ),
            SURVIVES,
        );
    } else {
        claim(
            false,
            "An acknowledged write may be on one disk alone: with that disk it is gone.".to_string(),
            SURVIVES,
        );
    }
    if it.overlaps() {
        claim(
            true,
            format!(
                "A read meets every write that was acknowledged under these numbers before it began: {w} + {r} > {n}."
            ),
            READS_MEET,
        );
    } else {
        let why = match it.sloppy {
            true => "stand-ins may have it, whom no read asks".to_string(),
            false => format!("{w} + {r} is not above {n}"),
        };
        claim(
            false,
            format!("A read may miss a write that was acknowledged before it began: {why}."),
            READS_MEET,
        );
    }
    if it.r == 1 {
        claim(
            false,
            "A read may be answered by one copy alone: one whose disk went back in time, restored from a backup, shows what it has until another node tells it."
                .to_string(),
            READS_MEET,
        );
    }
    claim(
        it.is_monotonic(),
        match (it.is_monotonic(), it.repair) {
            (true, _) => {
                format!("What one read shows no later one denies: it is on {r} copies before it is shown.")
            }
            (false, ReadRepair::Blocking) => {
                "A later read may show less than an earlier one: two reads need not meet.".to_string()
            }
            (false, _) => {
                "A later read may show less than an earlier one: repair does not hold the answer back."
                    .to_string()
            }
        },
        FORWARD,
    );
    claim(true, "A removal that was acknowledged is not undone: not by late messages, hints, repair or a copy that comes back.".to_string(), DELETED);
    if it.conflict == ConflictPolicy::LastWriteWins {
        claim(false, "Of two increments at once one may be lost to the other: each is a write of the sum, and the last one wins.".to_string(), ONCE);
    } else {
        claim(true, "An increment counts once, however often it was sent on; one answered INDETERMINATE counts once or not at all.".to_string(), ONCE);
    }
    claim(true, "When faults end, all copies become equal without being read.".to_string(), CONVERGES);
    claim(true, conflict_claim(it.conflict), INBOX);
    claim(
        false,
        "Plain commands are not linearizable: of two reads during one write the earlier may show it and the later may not, unless repair blocks; nothing compares and sets.".to_string(),
        READS_MEET,
    );
    claim(
        true,
        format!(
            "WITH LINEARIZABLE a key is linearizable while {} of its {n} copies can be reached, and no clock is asked but for its expiry.",
            n / 2 + 1
        ),
        AGREED,
    );
    claim(
        false,
        "A write answered INDETERMINATE, and one of several keys, may be there in part, and may come later."
            .to_string(),
        READS_MEET,
    );
    claim(
        false,
        format!("It does not survive the loss of {w} copies before others have taken their places."),
        SURVIVES,
    );
    claims
}

/// What becomes of writes that did not know of each other.
// catalogue: J18
fn conflict_claim(policy: ConflictPolicy) -> String {
    match policy {
        ConflictPolicy::Crdt => {
            "Concurrent writes are told of in the inbox until they are let go: of strings the highest (time, node) is shown, collections and counters merge."
        }
        ConflictPolicy::Siblings => {
            "Concurrent strings stay side by side, the highest (time, node) shown, until somebody resolves them or overwrites them; the inbox tells of each."
        }
        ConflictPolicy::LastWriteWins => {
            "Of concurrent strings the highest (time, node) wins, the same one on every copy; what lost is in the inbox with its value, whatever the clocks say."
        }
        ConflictPolicy::Merge => {
            "Of concurrent strings readers are shown what the keyspace's function gives; nothing of that is written. All stay side by side until a write that saw them, and the inbox tells of each, and why where the function failed: then the highest (time, node) is shown."
        }
    }
    .to_string()
}

pub fn text(name: &str, it: &Policy, nodes: usize) -> String {
    let (n, w, r) = (it.n as usize, it.w as usize, it.r as usize);
    let mut sheet = format!(
        "{name}: leaderless, n {n}, w {w}, r {r} on {nodes} nodes, {} shards, {} quorums, repair {}\n",
        it.shards,
        if it.sloppy { "sloppy" } else { "strict" },
        it.repair.name()
    );
    let claims = claims(it);
    for (title, holds) in [("Holds", true), ("Does not hold", false)] {
        sheet.push_str(&format!("\n{title}\n"));
        for claim in claims.iter().filter(|claim| claim.holds == holds) {
            sheet.push_str(&format!("- {} [{}]\n", claim.text, claim.checker));
        }
    }
    sheet.push_str(&super::anomalies::section(it));
    sheet.push_str("\nA write waits for\n");
    sheet.push_str(&format!("- the disk of the copy that gives it its dot, then those of {} more\n", w - 1));
    sheet
        .push_str(&format!("- before that, where it removes something: {r} copies that say what there is\n"));
    sheet.push_str("\nTrade-off\n");
    let stand = if it.sloppy { ", stand-ins for those that are away beside one of them" } else { "" };
    sheet.push_str(&format!(
        "- availability: writes need {w} of {n} copies{stand}, reads {r}: nobody is elected\n"
    ));
    sheet.push_str(&format!("- durability: {w} disks before a write is acknowledged, {n} in the end\n"));
    sheet.push_str("- latency: a read takes a round trip, a write two; any node coordinates\n");
    let consistency = match it.conflict {
        ConflictPolicy::Crdt | ConflictPolicy::Siblings => "concurrent writes merge by their types",
        ConflictPolicy::LastWriteWins => "of concurrent strings the last one wins, collections merge",
        ConflictPolicy::Merge => "of concurrent strings a function's result is shown, collections merge",
    };
    sheet.push_str(&format!("- consistency: {consistency}; nobody orders them\n"));
    if let Some(function) = &it.merge {
        sheet.push_str(&format!("- merge function: {function}\n"));
    }
    sheet.push_str(&format!(
        "- conflicts: {} (family: {}); INBOX LIST {name} tells of each\n",
        it.conflict.name(),
        it.conflict.family().name()
    ));
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_follows_from_the_numbers() {
        let holds = |policy: &Policy, checker: &str| {
            claims(policy).iter().find(|claim| claim.checker == checker).is_some_and(|claim| claim.holds)
        };
        let policy = |n, w, r, sloppy| Policy { n, w, r, sloppy, ..Policy::default() };
        for (it, reads_meet, forward, survives) in [
            (policy(3, 2, 2, false), true, true, true),
            (policy(3, 1, 1, false), false, false, false),
            (policy(3, 3, 1, false), true, false, true),
            (policy(3, 2, 2, true), false, false, false),
            (Policy { repair: ReadRepair::Off, ..policy(3, 2, 2, false) }, true, false, true),
        ] {
            assert_eq!(holds(&it, READS_MEET), reads_meet, "{it:?}");
            assert_eq!(holds(&it, FORWARD), forward, "{it:?}");
            assert_eq!(holds(&it, SURVIVES), survives, "{it:?}");
            assert!(holds(&it, INBOX) && holds(&it, DELETED) && holds(&it, ONCE) && holds(&it, CONVERGES));
        }
        assert!(
            text("carts", &policy(3, 2, 2, true), 5)
                .starts_with("carts: leaderless, n 3, w 2, r 2 on 5 nodes")
        );
    }
}
