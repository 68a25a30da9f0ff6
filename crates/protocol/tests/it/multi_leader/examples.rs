//! The worked examples of docs/multi-leader.md, executed: what the table says is what sites do.
// catalogue: J1 J5 J8 J9 J10 J12 J17 N10

use super::sites::{CALM, Sites, blob};
use data::Expiry;
use data::causal::{Amount, Deadline, Wish};
use data::operation::Expiry as At;
use protocol::multi_leader::{Policy, Topology};

const PAGE: &str = include_str!("../../../../../docs/multi-leader.md");

fn policy(word: &str) -> Policy {
    match word {
        "crdt" => Policy::Crdt,
        "siblings" => Policy::Siblings,
        "last-write-wins" => Policy::LastWriteWins,
        word => panic!("no policy: {word}"),
    }
}
fn wish(command: &str) -> Wish {
    let words: Vec<&str> = command.split_whitespace().collect();
    let members = || words[1..].iter().map(|word| blob(word)).collect();
    match words[0] {
        "SET" if words.len() == 4 => {
            Wish::Set { value: blob(words[1]), expiry: At::At(words[3].parse().expect("ms")) }
        }
        "SET" => Wish::Set { value: blob(words[1]), expiry: Expiry::Never },
        "INCRBY" => Wish::Increment { by: Amount::whole(words[1].parse().expect("a number")) },
        "SADD" => Wish::SetAdd { members: members() },
        "SREM" => Wish::SetRemove { members: members() },
        "HSET" => Wish::HashSet { fields: vec![(blob(words[1]), blob(words[2]))] },
        "HINCRBY" => Wish::HashIncrement {
            field: blob(words[1]),
            by: Amount::whole(words[2].parse().expect("a number")),
        },
        "HDEL" => Wish::HashRemove { fields: members() },
        "PERSIST" => Wish::Expire { deadline: Deadline::Never },
        "PEXPIREAT" => Wish::Expire { deadline: Deadline::At(words[1].parse().expect("ms")) },
        "DEL" => Wish::Delete,
        word => panic!("no command: {word}"),
    }
}
fn ask(sites: &mut Sites, site: u32, commands: &str) {
    for command in commands.split(';').map(str::trim).filter(|command| !command.is_empty()) {
        sites.ask(site, "x", wish(command));
    }
}
/// The rows behind a heading whose last column is headed "all sites show".
fn rows() -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_matches('|');
        inner.split('|').map(|cell| cell.trim().replace('`', "")).collect()
    };
    let mut lines = PAGE.lines().skip_while(|line| !line.contains("| all sites show"));
    lines.next();
    lines.next();
    lines.take_while(|line| line.starts_with('|')).map(cells).collect()
}

#[test]
fn the_examples_of_the_page_are_true() {
    let rows = rows();
    assert!(rows.len() >= 15, "{} rows", rows.len());
    for row in rows {
        let [name, word, before, one, two, expected] = &row[..] else { panic!("{row:?}") };
        // Whoever writes first, and whoever is heard first.
        for first in [1, 2] {
            let mut sites = Sites::new(3, 2, Topology::AllToAll, policy(word));
            sites.weather = CALM;
            sites.run(200);
            ask(&mut sites, 1, before);
            sites.run(200);
            sites.cut(1, 2, 300);
            // The second one's clock is later by 5 ms, whenever it writes: so it wins under last-write-wins.
            let late = if first == 1 { 0 } else { 10 };
            sites.at(data::SiteId(2)).skew_ms = late;
            for site in [first, 3 - first] {
                ask(&mut sites, site, if site == 1 { one } else { two });
                sites.run(5);
            }
            sites.settle(10_000);
            assert_eq!(sites.oracle.violation, None, "{name}");
            for site in [1, 2] {
                assert_eq!(&sites.get(site, "x"), expected, "{name}, at site {site}, {row:?}");
            }
        }
    }
}
