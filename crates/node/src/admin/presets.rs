//! Presets of KEYSPACE CREATE: one word for an architecture and options that go together. What is kept is the options, and the
//! sheet shows them; the word itself is forgotten.
// catalogue: I5 I10 C3

use super::keyspace::flush_name;
use crate::node::Node;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use data::keyspace::{CommitRule, Settings};

/// Name, architecture, options. None has ACKS, which would not go with each commit rule that may be said beside it.
const PRESETS: [(&str, &str, &str); 2] = [
    // Every site writes by itself, and what happens at once merges.
    (
        "active-active",
        "MULTI-LEADER",
        "TOPOLOGY all-to-all CONFLICT crdt REPLICAS 3 COMMIT majority FLUSH always",
    ),
    // One site writes, without waiting for another; a copy at a second one is there to go on from.
    ("disaster-recovery", "SINGLE-LEADER", "REPLICAS 3 COMMIT majority FLUSH always"),
];

/// For KEYSPACE HELP.
pub(super) const HELP: &str = "CREATE <name> PRESET active-active|disaster-recovery [SITE name] [RECOVERY-SITE name] [options of what it stands for]";

impl Node {
    /// Architecture and options that a preset stands for. `said` is its name and the options beside it: they come last, so
    /// that they win.
    pub(super) fn preset(&self, said: &[&[u8]]) -> Result<(&'static str, Vec<Vec<u8>>), String> {
        let known = || PRESETS.map(|(name, ..)| name).join(", ");
        let Some((name, beside)) = said.split_first() else {
            return Err(format!("ERR PRESET needs a name: {}", known()));
        };
        let Some((name, kind, options)) =
            PRESETS.iter().find(|(preset, ..)| name.eq_ignore_ascii_case(preset.as_bytes()))
        else {
            return Err(format!("ERR no such preset: there are {}", known()));
        };
        let mut options: Vec<&str> = options.split(' ').collect();
        // What becomes of conflicts is said once: by a policy's name, or by a function.
        let says = |word: &&[u8]| [&b"CONFLICT"[..], b"MERGE"].iter().any(|it| word.eq_ignore_ascii_case(it));
        if beside.iter().any(says)
            && let Some(at) = options.iter().position(|option| *option == "CONFLICT")
        {
            options.drain(at..at + 2);
        }
        let mut words: Vec<Vec<u8>> = options.iter().map(|word| word.as_bytes().to_vec()).collect();
        if *name == "disaster-recovery" {
            words.extend(self.recovery_words(beside)?);
        }
        words.extend(beside.iter().map(|word| word.to_vec()));
        Ok((kind, words))
    }

    /// SITE and RECOVERY-SITE where they follow from where nodes are: the asked node's own site, and the only other one.
    fn recovery_words(&self, beside: &[&[u8]]) -> Result<Vec<Vec<u8>>, String> {
        let said = |option: &str| {
            let mut pairs = beside.chunks_exact(2).rev();
            pairs.find(|pair| pair[0].eq_ignore_ascii_case(option.as_bytes())).map(|pair| pair[1].to_vec())
        };
        let mut words = Vec::new();
        let site = match said("SITE") {
            Some(site) => site,
            None => {
                let own = self.map.nodes.get(&self.config.node).map_or("", |node| &node.site[..]);
                if own.is_empty() {
                    return Err(
                        "ERR the asked node says no site: start nodes with --site, or name a SITE".into()
                    );
                }
                words.extend([b"SITE".to_vec(), own.as_bytes().to_vec()]);
                own.as_bytes().to_vec()
            }
        };
        if said("RECOVERY-SITE").is_none() {
            let others: Vec<String> = self.known_sites().iter().map(ToString::to_string).collect();
            let others: Vec<&String> = others.iter().filter(|name| name.as_bytes() != site).collect();
            match others[..] {
                [only] => words.extend([b"RECOVERY-SITE".to_vec(), only.as_bytes().to_vec()]),
                [] => return Err("ERR no node is at another site, to keep a copy there".into()),
                _ => {
                    let names = others.iter().map(|name| &name[..]).collect::<Vec<_>>().join(", ");
                    return Err(format!("ERR say RECOVERY-SITE: it could be {names}"));
                }
            }
        }
        Ok(words)
    }
}

/// Settings in the words of KEYSPACE CREATE: those that are always said, and what differs from nothing.
pub(crate) fn option_words(settings: &Settings) -> String {
    let mut words = format!("REPLICAS {} COMMIT {}", settings.replicas, settings.commit.name());
    let mut add = |word: &str, value: &dyn core::fmt::Display| words.push_str(&format!(" {word} {value}"));
    match settings.commit {
        CommitRule::SemiSync { acks } => add("ACKS", &acks),
        CommitRule::InSyncSet { minimum } | CommitRule::Chain { minimum } => {
            add("ACKS", &minimum.saturating_sub(1));
        }
        CommitRule::BestEffort => add("BACKLOG", &settings.backlog_bytes),
        CommitRule::Async | CommitRule::Majority | CommitRule::Synchronous => {}
    }
    add("LEVEL", &settings.level.name());
    add("FLUSH", &flush_name(settings.flush));
    add("TIMEOUT", &settings.timeout_ms);
    add("ON-TIMEOUT", &settings.on_timeout.name());
    if settings.commit.asks_nobody() {
        add("ELECTION", &settings.election.name());
    }
    add("SHARDS", &settings.shards);
    if settings.read_replicas > 0 {
        add("READ-REPLICAS", &settings.read_replicas);
    }
    if let Some(site) = &settings.site {
        add("SITE", site);
    }
    if let Some(site) = &settings.recovery_site {
        add("RECOVERY-SITE", site);
    }
    if settings.fan_out > 0 {
        add("FAN-OUT", &settings.fan_out);
    }
    if settings.min_replicas_to_write > 0 {
        add("MIN-REPLICAS-TO-WRITE", &settings.min_replicas_to_write);
        add("MIN-REPLICAS-MAX-LAG", &settings.min_replicas_max_lag_s);
    }
    if !settings.forward {
        add("FORWARD", &"off");
    }
    if settings.log != Settings::default().log {
        add("LOG", &settings.log.name());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::parse_settings;

    fn parsed(words: &str) -> Settings {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        parse_settings(Settings::default(), &words).expect("options that go together")
    }

    #[test]
    fn what_the_sheet_shows_makes_the_same_keyspace_again() {
        for words in [
            "REPLICAS 3 COMMIT majority",
            "COMMIT semi-sync ACKS 2 ON-TIMEOUT degrade TIMEOUT 20 LEVEL received",
            "COMMIT in-sync-set REPLICAS 5 ACKS 2 FAN-OUT 0 FLUSH 100",
            "COMMIT async ELECTION wait FORWARD off LOG statement FLUSH os",
            "COMMIT best-effort BACKLOG 4096 SHARDS 3 MIN-REPLICAS-TO-WRITE 1",
            "COMMIT chain SITE eu RECOVERY-SITE us READ-REPLICAS 2 LEVEL applied",
        ] {
            let settings = parsed(words);
            assert_eq!(parsed(&option_words(&settings)), settings, "{words}");
        }
    }

    #[test]
    fn presets_are_options_that_go_together() {
        for (name, kind, options) in PRESETS {
            let words = options.replace("TOPOLOGY all-to-all CONFLICT crdt ", "");
            assert_eq!(parsed(&words).replicas, 3, "{name}");
            assert_eq!(kind == "MULTI-LEADER", words != options, "{name}");
        }
    }
}
