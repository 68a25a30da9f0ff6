//! Programs that follow a keyspace's log from outside: another engine, made of ordinary maps, that knows the words of operations and
//! nothing else.
// catalogue: D7
// bugs: SL-05

use crate::formats::{Draw, any_write, fitting_write, set_up, user};
use crate::rig::{Client, Cluster};
use data::NodeId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A reply of the Redis protocol, version 2.
#[derive(Clone, PartialEq, Debug)]
enum Reply {
    Text(String),
    Number(i64),
    Error(String),
    Null,
    List(Vec<Reply>),
}

impl Reply {
    fn parse(bytes: &mut &[u8]) -> Reply {
        let end = bytes.windows(2).position(|it| it == b"\r\n").expect("a line");
        let (line, rest) = (String::from_utf8_lossy(&bytes[1..end]).into_owned(), &bytes[end + 2..]);
        let kind = bytes[0];
        *bytes = rest;
        match kind {
            b'+' => Reply::Text(line),
            b'-' => Reply::Error(line),
            b':' => Reply::Number(line.parse().expect("a number")),
            b'$' => {
                let Ok(len) = line.parse::<usize>() else { return Reply::Null };
                // Every byte becomes a character: two engines that compare texts compare bytes.
                let text = rest[..len].iter().map(|byte| char::from(*byte)).collect();
                *bytes = &rest[len + 2..];
                Reply::Text(text)
            }
            b'*' => match line.parse::<usize>() {
                Ok(len) => Reply::List((0..len).map(|_| Reply::parse(bytes)).collect()),
                Err(_) => Reply::Null,
            },
            other => panic!("reply of kind {}", char::from(other)),
        }
    }
    fn text(&self) -> &str {
        match self {
            Reply::Text(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }
    fn list(&self) -> &[Reply] {
        match self {
            Reply::List(items) => items,
            other => panic!("{other:?} is no list"),
        }
    }
    fn texts(&self) -> Vec<String> {
        self.list().iter().map(|it| it.text().to_string()).collect()
    }
    /// A field of a map, which is a flat list here.
    fn field(&self, name: &str) -> &Reply {
        let at = self.list().iter().position(|it| *it == Reply::Text(name.into())).expect("the field");
        &self.list()[at + 1]
    }
}

fn ask(cluster: &mut Cluster, client: Client, line: &str) -> Reply {
    let bytes = cluster.ask_bytes(client, line);
    assert!(!bytes.is_empty(), "no reply to {line}");
    Reply::parse(&mut &bytes[..])
}

#[derive(Clone, PartialEq, Debug)]
enum Held {
    Text(String),
    Hash(BTreeMap<String, String>),
    List(VecDeque<String>),
    Set(BTreeSet<String>),
    Scores(BTreeMap<String, f64>),
}

impl Held {
    fn is_empty(&self) -> bool {
        match self {
            Held::Text(_) => false,
            Held::Hash(it) => it.is_empty(),
            Held::List(it) => it.is_empty(),
            Held::Set(it) => it.is_empty(),
            Held::Scores(it) => it.is_empty(),
        }
    }
}

/// The other engine. Its values are of other types than Tercet's, and it shares no code with them.
#[derive(Default, PartialEq, Debug)]
struct Engine {
    values: BTreeMap<String, Held>,
    expiry: BTreeMap<String, i64>,
}

fn pairs(words: &[&str]) -> Vec<(String, String)> {
    words.chunks(2).map(|it| (it[0].into(), it[1].into())).collect()
}
fn scores(words: &[&str]) -> BTreeMap<String, f64> {
    words.chunks(2).map(|it| (it[1].into(), it[0].parse().expect("a score"))).collect()
}

macro_rules! held {
    ($engine:expr, $key:expr, $kind:ident) => {
        match $engine.values.entry($key.into()).or_insert_with(|| Held::$kind(Default::default())) {
            Held::$kind(it) => it,
            other => panic!("{} is {other:?}", $key),
        }
    };
}

impl Engine {
    fn forget(&mut self, key: &str) {
        self.values.remove(key);
        self.expiry.remove(key);
    }
    /// The words behind a value say what becomes of the expiry.
    fn expire<'a, 'b>(&mut self, key: &str, words: &'a [&'b str]) -> &'a [&'b str] {
        match words {
            ["KEEPTTL", rest @ ..] => rest,
            ["PXAT", at, rest @ ..] => {
                self.expiry.insert(key.into(), at.parse().expect("a time"));
                rest
            }
            rest => {
                self.expiry.remove(key);
                rest
            }
        }
    }
    fn apply(&mut self, words: &[&str]) {
        let number = |text: &str| text.parse::<i64>().expect("a number");
        match words {
            ["FLUSHDB"] => *self = Engine::default(),
            ["SET", key, value, rest @ ..] => {
                self.expire(key, rest);
                self.values.insert((*key).into(), Held::Text((*value).into()));
            }
            ["PUT", key, rest @ ..] => {
                let [kind, items @ ..] = self.expire(key, rest) else { panic!("{words:?}") };
                let items = items.iter().copied();
                let words: Vec<&str> = items.clone().collect();
                let value = match *kind {
                    "string" => Held::Text(words[0].into()),
                    "hash" => Held::Hash(pairs(&words).into_iter().collect()),
                    "list" => Held::List(items.map(Into::into).collect()),
                    "set" => Held::Set(items.map(Into::into).collect()),
                    "zset" => Held::Scores(scores(&words)),
                    other => panic!("kind {other}"),
                };
                self.values.insert((*key).into(), value);
            }
            ["DEL", key] => self.forget(key),
            ["EXPIRED", key, at] => {
                if self.expiry.get(*key).is_some_and(|due| *due <= number(at)) {
                    self.forget(key);
                }
            }
            ["PEXPIREAT", key, at] => {
                self.expiry.insert((*key).into(), number(at));
            }
            ["PERSIST", key] => {
                self.expiry.remove(*key);
            }
            ["SETRANGE", key, offset, bytes] => {
                let (text, offset) = (held!(self, *key, Text), number(offset) as usize);
                let mut all: Vec<char> = text.chars().collect();
                all.resize(all.len().max(offset + bytes.chars().count()), '\0');
                all.splice(offset..offset + bytes.chars().count(), bytes.chars());
                *text = all.into_iter().collect();
            }
            ["INCRBY", key, delta] => {
                let text = held!(self, *key, Text);
                let old = if text.is_empty() { 0 } else { number(text) };
                *text = (old + number(delta)).to_string();
            }
            ["HSET", key, rest @ ..] => held!(self, *key, Hash).extend(pairs(rest)),
            ["HDEL", key, rest @ ..] => {
                held!(self, *key, Hash).retain(|field, _| !rest.contains(&&field[..]))
            }
            ["HINCRBY", key, field, delta] => {
                let text = held!(self, *key, Hash).entry((*field).into()).or_insert("0".into());
                *text = (number(text) + number(delta)).to_string();
            }
            ["LPUSH", key, rest @ ..] => {
                rest.iter().for_each(|it| held!(self, *key, List).push_front((*it).into()));
            }
            ["RPUSH", key, rest @ ..] => {
                rest.iter().for_each(|it| held!(self, *key, List).push_back((*it).into()));
            }
            ["LPOP", key, count] => (0..number(count)).for_each(|_| {
                held!(self, *key, List).pop_front();
            }),
            ["RPOP", key, count] => (0..number(count)).for_each(|_| {
                held!(self, *key, List).pop_back();
            }),
            ["LSET", key, at, element] => held!(self, *key, List)[number(at) as usize] = (*element).into(),
            ["LINSERT", key, at, element] => {
                held!(self, *key, List).insert(number(at) as usize, (*element).into());
            }
            ["LREM", key, places @ ..] => {
                let places: BTreeSet<usize> = places.iter().map(|it| number(it) as usize).collect();
                let mut at = 0;
                held!(self, *key, List).retain(|_| {
                    at += 1;
                    !places.contains(&(at - 1))
                });
            }
            ["SADD", key, rest @ ..] => {
                held!(self, *key, Set).extend(rest.iter().map(|it| it.to_string()));
            }
            ["SREM", key, rest @ ..] => held!(self, *key, Set).retain(|it| !rest.contains(&&it[..])),
            ["ZADD", key, rest @ ..] => held!(self, *key, Scores).extend(scores(rest)),
            ["ZINCRBY", key, by, member] => {
                let score = held!(self, *key, Scores).entry((*member).into()).or_insert(0.0);
                *score += by.parse::<f64>().expect("a number");
            }
            ["ZREM", key, rest @ ..] => held!(self, *key, Scores).retain(|it, _| !rest.contains(&&it[..])),
            ["RENAME", from, to] => {
                self.forget(to);
                let value = self.values.remove(*from).expect("what is renamed");
                self.values.insert((*to).into(), value);
                if let Some(at) = self.expiry.remove(*from) {
                    self.expiry.insert((*to).into(), at);
                }
            }
            other => panic!("unknown words {other:?}"),
        }
        // Nothing is left of a collection whose last member goes.
        let empty: Vec<String> =
            self.values.iter().filter(|(_, value)| value.is_empty()).map(|(key, _)| key.clone()).collect();
        empty.iter().for_each(|key| self.forget(key));
    }

    /// What Tercet holds, asked for key by key.
    fn of(cluster: &mut Cluster, client: Client) -> Engine {
        let mut engine = Engine::default();
        for key in ask(cluster, client, "KEYS *").texts() {
            let mut read = |line: String| ask(cluster, client, &line);
            let value = match read(format!("TYPE {key}")).text() {
                "string" => Held::Text(read(format!("GET {key}")).text().into()),
                "hash" => {
                    let all = read(format!("HGETALL {key}")).texts();
                    let all: Vec<&str> = all.iter().map(String::as_str).collect();
                    Held::Hash(pairs(&all).into_iter().collect())
                }
                "list" => Held::List(read(format!("LRANGE {key} 0 -1")).texts().into()),
                "set" => Held::Set(read(format!("SMEMBERS {key}")).texts().into_iter().collect()),
                "zset" => {
                    let mut all = read(format!("ZRANGE {key} 0 -1 WITHSCORES")).texts();
                    all.chunks_mut(2).for_each(|it| it.reverse());
                    let all: Vec<&str> = all.iter().map(String::as_str).collect();
                    Held::Scores(scores(&all))
                }
                other => panic!("{key} is of type {other}"),
            };
            if let Reply::Number(at @ 0..) = read(format!("PEXPIRETIME {key}")) {
                engine.expiry.insert(key.clone(), at);
            }
            engine.values.insert(key, value);
        }
        engine
    }
}

/// Whoever follows: the engine, and where it stands.
struct Follower {
    engine: Engine,
    position: String,
    entries: usize,
}

impl Follower {
    fn new() -> Follower {
        Follower { engine: Engine::default(), position: "START".into(), entries: 0 }
    }
    /// Takes what there is at this node; the error, if that is what it says.
    fn follow(&mut self, cluster: &mut Cluster, node: NodeId, count: usize) -> Result<(), String> {
        let client = cluster.connect(node);
        loop {
            let reply = ask(cluster, client, &format!("CHANGES k AFTER {} COUNT {count}", self.position));
            if let Reply::Error(text) = reply {
                return Err(text);
            }
            for entry in reply.field("entries").list() {
                self.entries += 1;
                for operation in entry.field("operations").list() {
                    let words = operation.field("operation").texts();
                    self.engine.apply(&words.iter().map(String::as_str).collect::<Vec<_>>());
                }
            }
            self.position = reply.field("position").text().into();
            if *reply.field("more") == Reply::Number(0) {
                return Ok(());
            }
        }
    }
}

#[test]
fn another_engine_follows_the_log_to_the_same_state_across_nodes_and_a_failover() {
    for (seed, options) in [(1, "LOG row"), (2, "LOG row COMMIT in-sync-set"), (3, "LOG physical")] {
        let (mut cluster, mut client) = set_up(options);
        let mut draw = Draw(seed);
        let mut follower = Follower::new();
        for turn in 0..700 {
            let line = if draw.below(3) == 0 { any_write(&mut draw) } else { fitting_write(&mut draw) };
            cluster.ask(client, &line);
            cluster.run(draw.below(8) as u64);
            if draw.below(10) == 0 {
                let (node, count) = (NodeId(1 + draw.below(3) as u32), 1 + draw.below(20));
                // A copy that is away or not up to date says so; another is asked at another time.
                if cluster.nodes.contains_key(&node) {
                    let _ = follower.follow(&mut cluster, node, count);
                }
            }
            if turn == 300 {
                let leader = cluster.leader_of("k").expect("a leader");
                cluster.kill(leader);
                cluster.run(1500);
                cluster.start(leader);
                cluster.run(1500);
                client = user(&mut cluster, NodeId(1));
            }
        }
        cluster.run(1000);
        follower.follow(&mut cluster, NodeId(2), 100).expect("the rest");
        assert!(follower.entries > 300, "{} entries", follower.entries);
        let held = Engine::of(&mut cluster, client);
        assert!(held.values.len() > 10, "{} keys", held.values.len());
        // Reading may have let keys expire: once more.
        cluster.run(100);
        follower.follow(&mut cluster, NodeId(3), 100).expect("what expired");
        assert_eq!(follower.engine, held, "{options}");
    }
}

#[test]
fn who_saw_what_an_election_dropped_is_told_where_the_histories_part() {
    let (mut cluster, client) = set_up("COMMIT async");
    assert_eq!(cluster.ask(client, "SET kept 1"), "+OK");
    cluster.run(200);
    let leader = cluster.leader_of("k").expect("a leader");
    let mut follower = Follower::new();
    follower.follow(&mut cluster, leader, 10).expect("everything");
    let parted = follower.position.clone();
    let mine = user(&mut cluster, leader);
    let others: Vec<NodeId> = (1..=3).map(NodeId).filter(|n| *n != leader).collect();
    for other in &others {
        cluster.cut.insert((leader, *other));
        cluster.cut.insert((*other, leader));
    }
    assert_eq!(cluster.ask(mine, "SET lost 1"), "+OK");
    follower.follow(&mut cluster, leader, 10).expect("what this leader still calls committed");
    assert!(follower.engine.values.contains_key("lost"));
    cluster.run(1500);
    cluster.cut.clear();
    cluster.run(2500);
    for node in (1..=3).map(NodeId) {
        let told = follower.follow(&mut cluster, node, 10).expect_err("its position is of no history");
        assert!(told.starts_with("TRUNCATED "), "{told}");
        assert!(told.contains(&format!(" {parted}.")), "they part at {parted}: {told}");
    }
    follower = Follower { position: parted, ..Follower::new() };
    follower.follow(&mut cluster, others[0], 10).expect("the new history");
    assert!(!follower.engine.values.contains_key("lost"));
}

#[test]
fn questions_that_have_no_answer_get_a_reason() {
    let (mut cluster, client) = set_up("LOG statement");
    cluster.ask(client, "SET a 1");
    let mut error = |line: &str| match ask(&mut cluster, client, line) {
        Reply::Error(text) => text,
        other => panic!("{line}: {other:?}"),
    };
    assert!(error("CHANGES k AFTER START").starts_with("STATEMENT the entry at "));
    assert!(error("CHANGES nowhere").starts_with("ERR no such keyspace"));
    assert!(error("CHANGES k AFTER here").starts_with("ERR a position is"));
    assert!(error("CHANGES k COUNT 0").starts_with("ERR COUNT"));
    assert!(error("CHANGES k SHARD 7").starts_with("ERR the keyspace has 1 shards"));
    assert!(error("CHANGES k AFTER").starts_with("ERR syntax"));
    assert!(error("CHANGES 9 AFTER START").starts_with("ERR nothing was written"));
    assert!(error("CHANGES").starts_with("ERR wrong number of arguments"));
}
