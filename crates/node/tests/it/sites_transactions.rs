//! MULTI, EXEC and WATCH in multi-leader keyspaces: one write of one site.
// catalogue: I4

use crate::rig::{Client, Cluster};
use crate::sites::{cut, insists, with};

/// The replies to a transaction of these commands.
fn exec(cluster: &mut Cluster, client: Client, lines: &[&str]) -> String {
    assert_eq!(cluster.ask(client, "MULTI"), "+OK");
    for line in lines {
        assert_eq!(cluster.ask(client, line), "+QUEUED", "{line}");
    }
    cluster.ask(client, "EXEC")
}

#[test]
fn a_transaction_is_one_write_of_its_site() {
    let (mut cluster, clients) = with(3, "");
    let (eu, us) = (clients[0], clients[1]);
    // Each command sees what those before it did, whatever it is.
    let lines = [
        "SET a 1",
        "GET a",
        "INCR n",
        "INCRBY n 4",
        "GET n",
        "RPUSH l x y",
        "LREM l 1 x",
        "LRANGE l 0 -1",
        "SADD s m n",
        "SREM s m",
        "SMEMBERS s",
        "DEL a",
        "EXISTS a",
        "PFADD p u v",
        "PFMERGE q p",
        "PFCOUNT q",
        "PING",
    ];
    let wanted = "*17 +OK $1 1 :1 :5 $1 5 :2 :1 *1 $1 y :2 :1 *1 $1 n :1 :0 :1 +OK :2 +PONG";
    let reply = exec(&mut cluster, eu, &lines);
    assert_eq!(reply, wanted);
    insists(&mut cluster, us, "GET n", "$1 5");
    for (line, wanted) in [("EXISTS a", ":0"), ("LRANGE l 0 -1", "*1 $1 y"), ("PFCOUNT q", ":2")] {
        assert_eq!(cluster.ask(us, line), wanted, "{line}: all of it came at once");
    }
    assert_eq!(cluster.ask(us, "INCR n"), ":6");
    insists(&mut cluster, eu, "GET n", "$1 6");
    // One that does not fit is told so, and the others are done.
    let reply = exec(&mut cluster, eu, &["SET b 1", "SADD s q", "INCR s", "KEYS *", "SET b 2"]);
    assert!(reply.starts_with("*5 +OK :1 -WRONGTYPE"), "{reply}");
    assert!(reply.contains("inside MULTI") && reply.ends_with("+OK"), "{reply}");
    insists(&mut cluster, us, "GET b", "$1 2");
    // What only reads writes nothing.
    assert_eq!(exec(&mut cluster, us, &["GET b", "GET none"]), "*2 $1 2 $-1");
    assert_eq!(exec(&mut cluster, us, &[]), "*0");
}

/// The newest command of a transaction wins where the newest wins.
#[test]
fn the_last_command_of_a_transaction_wins() {
    for options in ["CONFLICT last-write-wins", "CONFLICT siblings", "CONFLICT home"] {
        let (mut cluster, clients) = with(3, options);
        // With homes: from any site, at the one where the key is at home.
        for client in &clients {
            let reply = exec(&mut cluster, *client, &["SET {a} 1", "SET {a} 2", "GET {a}", "SET {a} 3"]);
            assert_eq!(reply, "*4 +OK +OK $1 2 +OK", "{options}");
            cluster.run(300);
        }
        for client in &clients {
            insists(&mut cluster, *client, "GET {a}", "$1 3");
        }
    }
}

/// A watch breaks by any write that its site has heard of, another site's too, and by nothing else.
#[test]
fn a_watch_breaks_by_what_the_site_heard() {
    let (mut cluster, clients) = with(6, "");
    for (watcher, writer) in [(0, 0), (0, 1), (3, 2), (4, 5)] {
        let (client, other) = (cluster.connect(clients[watcher].node), clients[writer]);
        assert_eq!(cluster.ask(client, "SELECT world"), "+OK");
        assert_eq!(cluster.ask(client, "WATCH k"), "+OK");
        assert_eq!(cluster.ask(other, "SET elsewhere 1"), "+OK");
        assert_eq!(exec(&mut cluster, client, &["SET k mine"]), "*1 +OK");
        assert_eq!(cluster.ask(client, "WATCH k"), "+OK");
        assert_eq!(cluster.ask(other, "SET k theirs"), "+OK");
        cluster.run(1_000);
        assert_eq!(exec(&mut cluster, client, &["SET k mine"]), "*-1");
        assert_eq!(cluster.ask(client, "GET k"), "$6 theirs");
        cluster.run(500);
    }
    // Of a site that is cut off nothing is heard: both do it, and both are told so; the policy settles it.
    assert_eq!(cluster.ask(clients[0], "WATCH k"), "+OK");
    cut(&mut cluster, "us", true);
    assert_eq!(cluster.ask(clients[1], "SADD both us"), "+OK".replace("+OK", ":1"));
    assert_eq!(exec(&mut cluster, clients[0], &["SET k eu", "SADD both eu"]), "*2 +OK :1");
    cut(&mut cluster, "us", false);
    for client in &clients {
        insists(&mut cluster, *client, "SCARD both", ":2");
    }
}

/// With homes a transaction goes to the home of its keys, and so does what it watches: there it is compare-and-set.
#[test]
fn with_homes_a_transaction_goes_to_the_home_of_its_keys() {
    let (mut cluster, clients) = with(6, "CONFLICT home");
    for (round, [watcher, writer]) in [[0, 1], [1, 2], [2, 0], [3, 4], [5, 0]].into_iter().enumerate() {
        let (client, other) = (cluster.connect(clients[watcher].node), clients[writer]);
        assert_eq!(cluster.ask(client, "SELECT world"), "+OK");
        let key = format!("{{k{round}}}");
        assert_eq!(cluster.ask(client, &format!("WATCH {key} {key}b")), "+OK");
        assert_eq!(cluster.ask(other, "SET elsewhere 1"), "+OK");
        let lines = [format!("INCR {key}"), format!("GET {key}")];
        let lines = [lines[0].as_str(), lines[1].as_str()];
        assert_eq!(exec(&mut cluster, client, &lines), "*2 :1 $1 1");
        assert_eq!(cluster.ask(client, &format!("WATCH {key}")), "+OK");
        assert_eq!(cluster.ask(other, &format!("SET {key} 7")), "+OK");
        assert_eq!(exec(&mut cluster, client, &lines), "*-1");
        // Behind a home that moved nothing that was watched before counts.
        assert_eq!(cluster.ask(client, &format!("WATCH {key}")), "+OK");
        for site in ["eu", "us"] {
            assert_eq!(cluster.ask(other, &format!("KEYSPACE MOVE-HOME world {key} TO {site}")), "+OK");
            cluster.run(1_500);
        }
        let reply = exec(&mut cluster, client, &lines);
        assert!(reply == "*-1" || reply == "*2 :8 $1 8", "{reply}");
        let wanted = if reply == "*-1" { "$1 7" } else { "$1 8" };
        assert_eq!(cluster.ask(other, &format!("GET {key}")), wanted);
        // One without keys is asked where it was watched, and nowhere else.
        assert_eq!(cluster.ask(client, &format!("WATCH {key}")), "+OK");
        assert_eq!(exec(&mut cluster, client, &["PING"]), "*1 +PONG");
        assert_eq!(cluster.ask(client, &format!("WATCH {key}")), "+OK");
        assert_eq!(cluster.ask(other, &format!("SET {key} 9")), "+OK");
        assert_eq!(exec(&mut cluster, client, &["PING"]), "*-1");
        assert_eq!(cluster.ask(client, "MULTI"), "+OK");
        assert_eq!(cluster.ask(client, &format!("INCR {key}")), "+QUEUED");
        assert!(cluster.ask(client, "INCR other").starts_with("-CROSSSLOT"));
        assert!(cluster.ask(client, "EXEC").starts_with("-EXECABORT"));
    }
}
