//! The inbox on whole nodes: what policies decided is told of by any node, and a word on it counts everywhere.
// catalogue: J1 J7 J14 J18
// bugs: LL-01, ML-07

use crate::leaderless::{at_once, keyspace};
use crate::rig::{Client, Cluster};
use data::NodeId;
use data::causal::ConflictId;

/// The value behind a name in a reply, as words.
fn field(reply: &str, name: &str) -> String {
    let mut words = reply.split(' ').skip_while(|word| *word != name);
    words.nth(2).unwrap_or_default().to_string()
}

fn id(cluster: &mut Cluster, client: Client) -> String {
    let list = cluster.ask(client, "INBOX LIST prices");
    let id = field(&list, "id");
    assert!(id.contains('-'), "{list}");
    id
}

#[test]
fn price_under_every_policy() {
    for (policy, state, family) in [
        ("last-write-wins", "decided", "converge"),
        ("crdt", "decided", "converge"),
        ("siblings", "open", "let users resolve"),
    ] {
        let (mut cluster, clients) = keyspace(3, "prices", &format!("CONFLICT {policy}"));
        at_once(&mut cluster, &clients, "SET price 100", "SET price 150");
        let shown = cluster.ask(clients[2], "GET price");
        for client in &clients {
            assert_eq!(cluster.ask(*client, "GET price"), shown, "{policy}");
        }
        let item = id(&mut cluster, clients[2]);
        for client in &clients {
            let reply = cluster.ask(*client, &format!("INBOX GET {item}"));
            assert_eq!(
                (field(&reply, "state"), field(&reply, "policy")),
                (state.into(), policy.into()),
                "{reply}"
            );
            assert!(reply.contains("$3 100") && reply.contains("$3 150"), "{reply}");
        }
        let sheet = cluster.ask(clients[0], "KEYSPACE SHEET prices");
        assert!(sheet.contains(&format!("conflicts: {policy} (family: {family})")), "{sheet}");
        // A person decides, on a node of their own.
        assert_eq!(cluster.ask(clients[2], "CLIENT SETNAME ann"), "+OK");
        assert_eq!(cluster.ask(clients[2], &format!("INBOX RESOLVE {item} VALUE 120")), "+OK");
        cluster.run(50);
        for client in &clients {
            assert_eq!(cluster.ask(*client, "GET price"), "$3 120", "{policy}");
            let reply = cluster.ask(*client, &format!("INBOX GET {item}"));
            assert_eq!((field(&reply, "state"), field(&reply, "how")), ("settled".into(), "resolved".into()));
            assert!(reply.contains("ann ") && reply.contains("at n3"), "{reply}");
        }
        assert_eq!(cluster.ask(clients[1], &format!("INBOX ACK {item}")), "+OK");
        cluster.run(50);
        assert_eq!(
            cluster.ask(clients[0], "INBOX LIST"),
            "*8 $5 items *0 $4 more :0 $7 dropped :0 $11 unreachable *0"
        );
        assert_eq!(cluster.ask(clients[0], &format!("INBOX GET {item}")), "$-1");
        assert!(cluster.ask(clients[0], &format!("INBOX ACK {item}")).starts_with("-ERR no such item"));
    }
}

/// What lost, or was ended unseen, stays with its value through later writes, restarts and a delete.
#[test]
fn a_loser_stays_until_it_is_let_go() {
    let (mut cluster, clients) = keyspace(3, "prices", "CONFLICT last-write-wins");
    at_once(&mut cluster, &clients, "SET price 100", "SET price 150");
    let item = id(&mut cluster, clients[0]);
    assert_eq!(cluster.ask(clients[0], "SET price 7"), "+OK");
    assert_eq!(cluster.ask(clients[1], "DEL price"), ":1");
    for node in 1..=3 {
        cluster.kill(NodeId(node));
        cluster.start(NodeId(node));
    }
    cluster.run(3000);
    let client = cluster.connect(NodeId(2));
    let reply = cluster.ask(client, &format!("INBOX GET {item}"));
    assert_eq!(
        (field(&reply, "state"), field(&reply, "how")),
        ("settled".into(), "overwritten".into()),
        "{reply}"
    );
    assert!(reply.contains("$3 100") && reply.contains("$3 150"), "{reply}");
    assert_eq!(cluster.ask(client, "SELECT prices"), "+OK");
    assert_eq!(cluster.ask(client, "GET price"), "$-1");
    // Whoever wants it back writes it again.
    let place = usize::from(field(&reply, "value") != "100");
    assert_eq!(cluster.ask(client, &format!("INBOX RESOLVE {item} KEEP {place}")), "+OK");
    assert_eq!(cluster.ask(client, "GET price"), "$3 100");
    let info = cluster.ask(client, "INFO leaderless");
    assert!(info.contains("inbox_keys:1"), "{info}");
}

#[test]
fn subscribers_hear_of_conflicts_once() {
    let (mut cluster, clients) = keyspace(3, "prices", "CONFLICT siblings");
    let (one, all) = (cluster.connect(NodeId(3)), cluster.connect(NodeId(2)));
    assert_eq!(cluster.ask(one, "INBOX SUBSCRIBE prices"), "*3 $9 subscribe $12 inbox:prices :1");
    assert_eq!(cluster.ask(all, "INBOX SUBSCRIBE"), "*3 $10 psubscribe $7 inbox:* :1");
    at_once(&mut cluster, &clients, "SET price 100", "SET price 150");
    cluster.run(500);
    for client in [one, all] {
        let heard = cluster.received(client);
        assert_eq!(heard.matches("\"state\":\"conflict\"").count(), 1, "{heard}");
        assert!(heard.contains("\"key\":\"price\",\"state\":\"conflict\",\"versions\":2"), "{heard}");
    }
    assert_eq!(cluster.ask(clients[0], "SET price 1"), "+OK");
    cluster.run(500);
    assert!(cluster.received(one).contains("\"state\":\"settled\""));
}

#[test]
fn bad_words_change_nothing() {
    let (mut cluster, clients) = keyspace(3, "prices", "CONFLICT siblings");
    at_once(&mut cluster, &clients, "SET price 100", "SET price 150");
    let item = id(&mut cluster, clients[0]);
    let id = ConflictId(7);
    for (line, answer) in [
        ("INBOX".to_string(), "-ERR wrong number of arguments for 'inbox' command"),
        ("INBOX GET".into(), "-ERR wrong number of arguments for 'inbox|get'"),
        ("INBOX GET nonsense".into(), "-ERR an item of the inbox is named"),
        ("INBOX LIST nowhere".into(), "-ERR no such keyspace"),
        ("INBOX SUBSCRIBE nowhere".into(), "-ERR no such keyspace"),
        ("INBOX LIST prices BEFORE 1-1".into(), "-ERR syntax error"),
        (format!("INBOX RESOLVE {item}"), "-ERR wrong number of arguments"),
        (format!("INBOX RESOLVE {item} MAYBE"), "-ERR say VALUE"),
        (format!("INBOX RESOLVE {item} KEEP two"), "-ERR KEEP takes the place"),
        (format!("INBOX RESOLVE {item} KEEP 2"), "-ERR the conflict has no such version"),
        (format!("INBOX RESOLVE 1-{:x} DELETE", id.0), "-ERR no such item"),
        (format!("INBOX ACK {item}"), "-ERR this conflict lasts"),
        ("INBOX NONSENSE".into(), "-ERR unknown subcommand"),
    ] {
        let reply = cluster.ask(clients[0], &line);
        assert!(reply.starts_with(answer), "{line}: {reply}");
    }
    assert_eq!(field(&cluster.ask(clients[0], &format!("INBOX GET {item}")), "state"), "open");
    let last = cluster.ask(clients[0], &format!("INBOX LIST prices AFTER {item}"));
    assert!(last.starts_with("*8 $5 items *0"), "{last}");
    // A node that is away may know more.
    cluster.kill(NodeId(3));
    cluster.run(50);
    assert!(cluster.ask(clients[0], "INBOX LIST").contains("unreachable *1 $2 n3"));
    assert!(cluster.ask(clients[0], "INBOX GET 1-7").starts_with("-TRYAGAIN"));
    // Two of three are enough to settle it.
    assert_eq!(cluster.ask(clients[0], &format!("INBOX RESOLVE {item} KEEP 1")), "+OK");
}

/// Each question gathers what every node has: they were held without a bound.
#[test]
fn questions_to_all_nodes_are_bounded() {
    let (mut cluster, clients) = keyspace(3, "prices", "CONFLICT crdt");
    for command in ["INBOX LIST", "LEDGER LIST"] {
        cluster.pipeline(clients[0], &[command; 300]);
        cluster.run(1000);
        let replies = cluster.received(clients[0]);
        assert_eq!(replies.matches("-TRYAGAIN too many questions").count(), 300 - 256, "{command}");
        assert!(!cluster.ask(clients[0], command).starts_with('-'));
    }
}

/// A list has at most a mebibyte, and what follows comes when it is asked for; one that is larger comes alone.
#[test]
fn large_conflicts_come_one_by_one() {
    let (mut cluster, clients) = keyspace(3, "prices", "CONFLICT siblings");
    let value = |letter: &str| letter.repeat(700_000);
    for key in ["a", "b", "c"] {
        at_once(
            &mut cluster,
            &clients,
            &format!("SET {key} {}", value("x")),
            &format!("SET {key} {}", value("y")),
        );
    }
    let mut after = String::new();
    for count in 1..=3 {
        let list = cluster.ask(clients[2], &format!("INBOX LIST prices{after}"));
        assert_eq!(list.matches("$2 id ").count(), 1, "item {count}");
        after = format!(" AFTER {}", field(&list, "id"));
        let item = field(&list, "id");
        assert_eq!(cluster.ask(clients[1], &format!("INBOX GET {item}")).matches(&value("y")).count(), 1);
    }
    let list = cluster.ask(clients[2], &format!("INBOX LIST prices{after}"));
    assert_eq!(list.matches("$2 id ").count(), 0, "{list}");
}
