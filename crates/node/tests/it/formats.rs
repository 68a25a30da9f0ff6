//! The three formats of the log: the same commands, the same state on every copy, at different costs.
// catalogue: B5 D1 D2 D3 D4 D5 D6 D7 D8
// bugs: SL-23

use crate::rig::{Client, Cluster};
use commands::spec::{self, Class, Flags, Keys};
use data::{LogFormat, NodeId};
use node::audit::Pace;
use node::message::VERSION_MAX;
use std::time::Duration;

const N1: NodeId = NodeId(1);

/// Three nodes with a keyspace `k` of three copies that logs in this format, and a client of it on the first node.
pub(crate) fn set_up(options: &str) -> (Cluster, Client) {
    let every = Duration::from_millis(400);
    let mut cluster = Cluster::set_up(3, VERSION_MAX, Pace { every, log_bytes: usize::MAX });
    cluster.run(1000);
    let client = cluster.connect(N1);
    let made = cluster.ask(client, &format!("KEYSPACE CREATE k SINGLE-LEADER REPLICAS 3 {options}"));
    assert_eq!(made, "+OK");
    assert_eq!(cluster.ask(client, "SELECT k"), "+OK");
    assert_eq!(cluster.ask(client, "SET first 1"), "+OK");
    (cluster, client)
}

pub(crate) fn user(cluster: &mut Cluster, id: NodeId) -> Client {
    let client = cluster.connect(id);
    assert_eq!(cluster.ask(client, "SELECT k"), "+OK");
    client
}

/// What the copies of `k` hold: the state hash, and the bytes of every key, in their order.
fn copies(cluster: &Cluster) -> Vec<(NodeId, u64, Vec<u8>)> {
    let mut copies = Vec::new();
    for (id, node) in &cluster.nodes {
        for state in node.group_states().filter(|state| state.keyspace.name == "k") {
            let (mut keys, mut cursor, mut bytes) = (Vec::new(), 0, Vec::new());
            loop {
                cursor = state.table.scan(cursor, &mut |key, _| keys.push(key.to_vec()));
                if cursor == 0 {
                    break;
                }
            }
            // A bucket of the index keeps no order.
            keys.sort_unstable();
            for key in &keys {
                assert!(state.table.image(key, &mut bytes));
            }
            assert!(state.audit.is_sound(), "{id} is in doubt: {:?}", state.audit.doubt());
            copies.push((*id, state.table.state_hash(), bytes));
        }
    }
    copies
}

/// The copies are byte for byte alike.
fn assert_alike(cluster: &Cluster, count: usize) -> (u64, Vec<u8>) {
    let mut all = copies(cluster);
    assert_eq!(all.len(), count, "{:#?}", cluster.story);
    let (_, hash, bytes) = all.pop().expect("a copy");
    for (id, other_hash, other_bytes) in all {
        assert!((other_hash, &other_bytes) == (hash, &bytes), "{id} differs: {:#?}", cluster.story);
    }
    assert!(cluster.nodes.values().all(|node| node.statistics().audits_differed == 0));
    (hash, bytes)
}

fn info(cluster: &mut Cluster, id: NodeId) -> String {
    let client = cluster.connect(id);
    cluster.ask(client, "KEYSPACE INFO k")
}

/// SplitMix64, as everywhere.
pub(crate) struct Draw(pub u64);

impl Draw {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) as usize % bound
    }
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const OPTIONS: [&str; 20] = [
    "NX", "XX", "EX", "PX", "GET", "COUNT", "BYSCORE", "LIMIT", "LEFT", "RIGHT", "BEFORE", "AFTER", "STORE",
    "ALPHA", "BY", "-inf", "+inf", "u8", "INCRBY", "KEEPTTL",
];

/// A write of any kind, with arguments that often fit.
pub(crate) fn any_write(draw: &mut Draw) -> String {
    let writes: Vec<_> = spec::all()
        .filter(|it| it.run.is_some() && matches!(it.class, Class::Write | Class::Blocking))
        .collect();
    let spec = writes[draw.below(writes.len())];
    let mut words = vec![spec.name.to_string()];
    let least = spec.arity.unsigned_abs() as usize;
    let more = if spec.arity < 0 { draw.below(5) } else { 0 };
    while words.len() < least + more {
        let key = matches!(spec.keys, Keys::Range { .. }) && words.len() == 1;
        words.push(match draw.below(10) {
            0..=2 => format!("key{}", draw.below(10)),
            _ if key => format!("key{}", draw.below(10)),
            3..=5 => format!("{}", draw.below(9)),
            6 => format!("member{}", draw.below(5)),
            7 => "0.1".into(),
            _ => draw.pick(&OPTIONS).into(),
        });
    }
    if spec.flags.has(Flags::BLOCKING)
        && let Some(last) = words.last_mut()
    {
        *last = "0.01".into();
    }
    words.join(" ")
}

/// Writes that surely do something, and that copies could execute differently.
pub(crate) fn fitting_write(draw: &mut Draw) -> String {
    let (n, m) = (draw.below(6), draw.below(40));
    match draw.below(22) {
        0 => format!("SADD set{n} a{m} b{m} c{m}"),
        1 => format!("SPOP set{n} {}", draw.below(4)),
        2 => format!("SPOP set{n}"),
        3 => format!("SET text{n} value{m} PX {}", 20 + draw.below(300)),
        4 => format!("EXPIRE set{n} 1"),
        5 => format!("INCRBYFLOAT float{n} 0.{m}"),
        6 => format!("HINCRBYFLOAT hash{n} f 1.{m}"),
        7 => format!("HSET hash{n} field{m} {m} other{m} {n}"),
        8 => format!("RPUSH list{n} {m} x{m} y{m}"),
        9 => format!("LMOVE list{n} list{} LEFT RIGHT", draw.below(6)),
        10 => format!("SORT set{n} BY nosort STORE sorted{n}"),
        11 => format!("SORT list{n} ALPHA STORE sorted{n}"),
        12 => format!("ZADD zset{n} {m} a {n} b{m}"),
        13 => format!("ZUNIONSTORE zset{n} 2 zset{} set{n}", draw.below(6)),
        14 => format!("APPEND text{n} more{m}"),
        15 => format!("SETRANGE text{n} {m} here"),
        16 => format!("RENAME text{n} text{}", draw.below(6)),
        17 => format!("GEOADD geo{n} 13.{m} 52.{m} place{m}"),
        18 => format!("GEOSEARCHSTORE near{n} geo{n} FROMLONLAT 13.2 52.2 BYRADIUS 20 km"),
        19 => format!("COPY hash{n} hash{} REPLACE", draw.below(6)),
        20 => format!("GETEX text{n} PX {}", 20 + draw.below(200)),
        _ => "INCR counter".into(),
    }
}

/// One client's whole life under one format: its replies, and what all copies hold in the end.
fn life(format: LogFormat, seed: u64) -> (Vec<String>, u64, Vec<u8>) {
    let (mut cluster, mut client) = set_up(&format!("LOG {}", format.name()));
    let (mut draw, mut replies) = (Draw(seed), Vec::new());
    for turn in 0..900 {
        let lines: Vec<String> = match draw.below(8) {
            0 => {
                let mut lines = vec!["MULTI".to_string()];
                lines.extend((0..draw.below(4)).map(|_| fitting_write(&mut draw)));
                lines.push("EXEC".into());
                lines
            }
            // What is compared in the end shall not be next to nothing.
            1..=3 => {
                vec![any_write(&mut draw)].into_iter().filter(|it| turn < 500 || it != "flushdb").collect()
            }
            _ => vec![fitting_write(&mut draw)],
        };
        for line in lines {
            replies.push(format!("{line}: {}", cluster.ask(client, &line)));
        }
        cluster.run(draw.below(8) as u64);
        if turn % 300 == 150 {
            // A copy starts again and reads its own log; then the leader goes, and another takes its place.
            let leader = cluster.leader_of("k").expect("a leader");
            let victim = if turn == 150 { NodeId(leader.0 % 3 + 1) } else { leader };
            cluster.kill(victim);
            cluster.run(1500);
            cluster.start(victim);
            cluster.run(1500);
            client = user(&mut cluster, N1);
        }
    }
    cluster.run(1500);
    let (hash, bytes) = assert_alike(&cluster, 3);
    (replies, hash, bytes)
}

#[test]
fn the_same_commands_leave_the_same_bytes_on_every_copy_in_every_format() {
    for seed in [1, 2] {
        let (replies, hash, bytes) = life(LogFormat::Row, seed);
        assert!(bytes.len() > 1000, "something is there: {} bytes", bytes.len());
        for format in [LogFormat::Statement, LogFormat::Physical] {
            let (others, other_hash, other_bytes) = life(format, seed);
            let first = replies.iter().zip(&others).find(|(a, b)| a != b);
            assert_eq!(first, None, "{} answers otherwise", format.name());
            assert!((other_hash, other_bytes) == (hash, bytes.clone()), "{} differs", format.name());
        }
    }
}

/// Every entry says its own format: what a keyspace logs is changed while it is in use, and all of it is read again.
#[test]
fn the_format_changes_from_one_entry_to_the_next() {
    let (mut cluster, client) = set_up("LOG row");
    let mut draw = Draw(7);
    for round in 0..9 {
        let format = LogFormat::ALL[round % 3];
        assert_eq!(cluster.ask(client, &format!("KEYSPACE ALTER k LOG {}", format.name())), "+OK");
        cluster.run(20);
        for _ in 0..20 {
            cluster.ask(client, &fitting_write(&mut draw));
        }
    }
    let leader = cluster.leader_of("k").expect("a leader");
    let told = info(&mut cluster, leader);
    for format in LogFormat::ALL {
        assert!(told.contains(&format!("{} sadd entries=", format.name())), "{told}");
    }
    for victim in [NodeId(leader.0 % 3 + 1), leader] {
        cluster.kill(victim);
        cluster.run(1500);
        cluster.start(victim);
        cluster.run(2000);
    }
    assert_alike(&cluster, 3);
    let client = user(&mut cluster, N1);
    let refused = cluster.ask(client, "KEYSPACE ALTER k LOG binary");
    assert_eq!(refused, "-ERR LOG does not take 'binary' in this version");
}

/// A node whose engine writes values otherwise is refused by name and reason; the format is not changed for its sake.
#[test]
fn a_copy_of_another_engine_format_is_refused_shown_and_let_in_for_rows() {
    let (mut cluster, client) = set_up("LOG physical");
    let leader = cluster.leader_of("k").expect("a leader");
    let other = NodeId(if leader == NodeId(3) { 2 } else { 3 });
    cluster.kill(other);
    cluster.engines.insert(other, 2);
    cluster.start(other);
    cluster.run(1000);
    for n in 0..10 {
        assert_eq!(cluster.ask(client, &format!("SET more{n} {n}")), "+OK");
    }
    cluster.run(500);
    let admin = cluster.connect(leader);
    let status = cluster.ask(admin, "KEYSPACE STATUS");
    let why = "its engine writes values in format 2, ours in format 1";
    assert!(status.contains(&format!("\"refused\":\"{why}\"")), "{status}");
    assert!(cluster.story.iter().any(|line| line.contains("Refused") && line.contains(why)));
    let held = |cluster: &Cluster| {
        let mut states = cluster.nodes[&other].group_states();
        states.find(|state| state.keyspace.name == "k").is_some_and(|it| it.table.get(b"more9").is_some())
    };
    assert!(!held(&cluster), "nothing reached it");
    // Nor is a keyspace made, or changed, that it could not follow.
    let text = cluster.ask(admin, "KEYSPACE CREATE other SINGLE-LEADER LOG physical");
    let named = format!("-ERR node n{} cannot follow a physical log: {why}", other.0);
    assert_eq!(text, named);
    assert_eq!(cluster.ask(admin, "KEYSPACE CREATE rows SINGLE-LEADER"), "+OK");
    assert_eq!(cluster.ask(admin, "KEYSPACE ALTER rows LOG physical"), named);
    assert_eq!(cluster.ask(admin, "KEYSPACE ALTER rows LOG statement"), "+OK");
    // In the formats that it reads it follows.
    assert_eq!(cluster.ask(admin, "KEYSPACE ALTER k LOG row"), "+OK");
    assert_eq!(cluster.ask(client, "SET last 1"), "+OK");
    cluster.run(3000);
    assert!(held(&cluster), "it is let in: {:#?}", cluster.story);
    assert_alike(&cluster, 3);
}

#[test]
fn nodes_of_older_programs_are_given_rows_only() {
    let mut cluster = Cluster::speaking(3, 4);
    cluster.run(1000);
    let client = cluster.connect(N1);
    let text = cluster.ask(client, "KEYSPACE CREATE k SINGLE-LEADER LOG statement");
    assert!(text.starts_with("-ERR node n") && text.contains("reads no statement log"), "{text}");
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE k SINGLE-LEADER LOG row"), "+OK");
    assert!(cluster.ask(client, "KEYSPACE ALTER k LOG physical").contains("reads no physical log"));
    assert_eq!(cluster.ask(client, "KEYSPACE ALTER k TIMEOUT 900"), "+OK");
}

/// Bytes of the log for one more command of this name, by format.
fn bytes_of(format: LogFormat, before: &[String], command: &str) -> (u64, u64) {
    let (mut cluster, client) = set_up(&format!("LOG {}", format.name()));
    for line in before {
        cluster.ask(client, line);
    }
    let count = |cluster: &Cluster| {
        let name = command.split(' ').next().expect("a name").to_ascii_lowercase();
        let keyspace = cluster.nodes[&N1].map().keyspace_named("k").expect("it").id;
        let rows = cluster.nodes.values().flat_map(|node| node.logged(keyspace).rows().to_vec());
        let own = rows.filter(|row| row.command == name);
        own.fold((0, 0), |(changes, bytes), row| (changes + row.changes, bytes + row.bytes))
    };
    let (changes, bytes) = count(&cluster);
    let reply = cluster.ask(client, command);
    assert!(!reply.starts_with('-'), "{command}: {reply}");
    let (all_changes, all_bytes) = count(&cluster);
    (all_changes - changes, all_bytes - bytes)
}

/// `cargo test -p node bytes_per_command -- --nocapture` prints the table of docs/single-leader.md.
#[test]
fn bytes_per_command_by_format() {
    let large = "x".repeat(64 << 10);
    let fields: Vec<String> = (0..50)
        .map(|n| {
            format!(
                "HSET hash {}",
                (0..20).map(|m| format!("field{n}-{m} value{m}")).collect::<Vec<_>>().join(" ")
            )
        })
        .collect();
    let members: Vec<String> = (0..300).map(|n| format!("m{n}")).collect();
    let set = |key: &str, value: &str| format!("SET {key} {value}");
    let rows: [(&str, Vec<String>, String); 9] = [
        ("SET, a value of 10 bytes", vec![], set("k", "0123456789")),
        ("SET, the same again", vec![set("k", "0123456789")], set("k", "9876543210")),
        ("SET, a value of 64 KiB", vec![], set("k", &large)),
        ("APPEND of 10 bytes to 64 KiB", vec![set("k", &large)], "APPEND k 0123456789".into()),
        ("INCR", vec![set("n", "41")], "INCR n".into()),
        ("HSET in a hash of 1,000 fields", fields, "HSET hash field7-7 other".into()),
        ("SADD to a set of 300", vec![format!("SADD s {}", members.join(" "))], "SADD s one-more".into()),
        ("LPUSH to a list of 300", vec![format!("RPUSH l {}", members.join(" "))], "LPUSH l one-more".into()),
        ("DEL of 4 keys", vec!["MSET a 1 b 2 c 3 d 4".into()], "DEL a b c d".into()),
    ];
    println!("{:<32}{:>8}{:>8}{:>11}{:>10}", "bytes of one entry", "changes", "row", "statement", "physical");
    for (name, before, command) in rows {
        let [row, statement, physical] = LogFormat::ALL.map(|format| bytes_of(format, &before, &command));
        println!("{name:<32}{:>8}{:>8}{:>11}{:>10}", row.0, row.1, statement.1, physical.1);
        let words = command.len() as u64;
        assert!((words..words + 32).contains(&statement.1), "a statement is about as long as its command");
        if name.contains(" to ") || name.contains(" in a ") {
            assert!(physical.1 > 1000 && row.1 < 100, "one pays for the value, the other for the change");
        }
        if name.starts_with("DEL") {
            assert!(row.0 == 4 && row.1 > statement.1, "one event for each key");
        }
    }
}

/// Lost writes are listed, and applied again where that is what they did, whatever the format that they were logged in.
// catalogue: C2
#[test]
fn what_was_lost_is_applied_again_from_every_format() {
    for format in LogFormat::ALL {
        let (mut cluster, client) = set_up(&format!("LOG {}", format.name()));
        for line in ["SET same 1", "SET changed 1", "RPUSH list a b"] {
            cluster.ask(client, line);
        }
        cluster.run(200);
        let leader = cluster.leader_of("k").expect("a leader");
        let mine = user(&mut cluster, leader);
        let others: Vec<NodeId> = (1..=3).map(NodeId).filter(|n| *n != leader).collect();
        for other in &others {
            cluster.cut.insert((leader, *other));
            cluster.cut.insert((*other, leader));
        }
        for line in ["INCR same", "INCR changed", "RPUSH list c"] {
            assert!(cluster.ask(mine, &format!("WITH COMMIT async DO {line}")).starts_with(':'));
        }
        cluster.run(1500);
        let theirs = user(&mut cluster, others[0]);
        assert_eq!(cluster.ask(theirs, "INCRBY changed 10"), ":11");
        cluster.cut.clear();
        cluster.run(2500);
        let list = cluster.ask(theirs, "LEDGER LIST");
        let ids: Vec<String> = list
            .split(' ')
            .filter(|word| word.matches('-').count() == 2 && word.starts_with(|c: char| c.is_ascii_digit()))
            .map(ToString::to_string)
            .collect();
        assert_eq!(ids.len(), 3, "{}: {list}", format.name());
        let mut told = Vec::new();
        for id in &ids {
            let item = cluster.ask(theirs, &format!("LEDGER GET {id}"));
            let reply = cluster.ask(theirs, &format!("LEDGER REAPPLY {id}"));
            if item.contains("changed") {
                assert!(reply.starts_with("-CONFLICT key 'changed' was changed since"), "{reply}");
                assert_eq!(cluster.ask(theirs, &format!("LEDGER REAPPLY {id} FORCE")), "+OK");
            } else {
                assert_eq!(reply, "+OK", "{}: {item}", format.name());
            }
            told.push(item);
        }
        assert_eq!(cluster.ask(theirs, "GET same"), "$1 2");
        assert_eq!(cluster.ask(theirs, "LRANGE list 0 -1"), "*3 $1 a $1 b $1 c");
        // An increment is made to what is there; a value is put back as it was.
        let forced = if format == LogFormat::Physical { "$1 2" } else { "$2 12" };
        assert_eq!(cluster.ask(theirs, "GET changed"), forced, "{}", format.name());
        if format == LogFormat::Statement {
            assert!(told.iter().any(|item| item.contains("INCR") && item.contains("same")), "{told:?}");
        }
        cluster.run(500);
        assert_alike(&cluster, 3);
    }
}
