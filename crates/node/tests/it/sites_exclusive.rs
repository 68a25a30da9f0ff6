//! Commands that only mean something if nobody else writes meanwhile: where keys have a home, or sites agree to each write, they mean
//! what they mean on a single server.
// catalogue: J2 J3 J4

use crate::rig::{Client, Cluster};
use crate::sites::{insists, with};

/// Until the site has heard of what the others wrote.
fn retry(cluster: &mut Cluster, client: Client, line: &str) -> String {
    for _ in 0..40 {
        let reply = cluster.ask(client, line);
        if !reply.starts_with("-CONFLICT") {
            return reply;
        }
        cluster.run(50);
    }
    panic!("{line} is refused for ever");
}

#[test]
fn one_of_all_takes_a_lock() {
    for options in ["CONFLICT home", "CONFLICT block"] {
        let (mut cluster, clients) = with(3, options);
        for round in 0..10 {
            for (at, client) in clients.iter().enumerate() {
                cluster.send(*client, &format!("SET lock holder{at} NX PX 60000"));
            }
            cluster.run(2_000);
            let replies: Vec<String> = clients.iter().map(|client| cluster.received(*client)).collect();
            let mut takers = replies.iter().filter(|reply| *reply == "+OK").count();
            // Where all refuse each other one comes again.
            if takers == 0 {
                takers += usize::from(retry(&mut cluster, clients[0], "SET lock holder0 NX") == "+OK");
            }
            assert_eq!(takers, 1, "{options}, round {round}: {replies:?}");
            for client in &clients {
                assert_eq!(retry(&mut cluster, *client, "SETNX lock me"), ":0", "{options}");
            }
            let held = retry(&mut cluster, clients[round % 3], "GETDEL lock");
            assert!(held.starts_with("$7 holder"), "{options}: {held}");
            cluster.run(500);
        }
    }
}

#[test]
fn a_queue_gives_each_element_once() {
    for options in ["CONFLICT home", "CONFLICT block"] {
        let (mut cluster, clients) = with(3, options);
        let jobs: Vec<String> = (0..30).map(|job| format!("job{job}")).collect();
        assert_eq!(cluster.ask(clients[0], &format!("RPUSH jobs {}", jobs.join(" "))), ":30");
        let mut taken = Vec::new();
        for turn in 0..30 {
            let reply = retry(&mut cluster, clients[turn % 3], "LPOP jobs");
            taken.push(reply.split(' ').next_back().unwrap_or_default().to_owned());
        }
        assert_eq!(taken, jobs, "{options}");
        assert_eq!(retry(&mut cluster, clients[1], "LPOP jobs"), "$-1");
        assert_eq!(retry(&mut cluster, clients[1], "LPUSHX jobs a"), ":0");
        for client in &clients {
            insists(&mut cluster, *client, "EXISTS jobs", ":0");
        }
    }
}

#[test]
fn they_are_parts_of_transactions() {
    let (mut cluster, clients) = with(3, "CONFLICT home");
    for line in ["MULTI", "SETNX {t}a 1", "APPEND {t}a 2", "SETNX {t}a 3", "RENAME {t}a {t}b", "LPOP {t}b"] {
        cluster.ask(clients[2], line);
    }
    let reply = cluster.ask(clients[2], "EXEC");
    assert_eq!(reply, "*5 :1 :2 :0 +OK -WRONGTYPE Operation against a key holding the wrong kind of value");
    for client in &clients {
        insists(&mut cluster, *client, "MGET {t}a {t}b", "*2 $-1 $2 12");
    }
}

/// With FORWARD off reads are those of one's own site: what depends on what a key holds is refused away from its home.
#[test]
fn away_from_home_they_are_refused_whatever_they_would_write() {
    let (mut cluster, clients) = with(3, "CONFLICT home FORWARD off");
    let mut done = 0;
    for client in &clients {
        let reply = cluster.ask(*client, "SETNX a 1");
        done += usize::from(reply == ":1");
        assert!(reply == ":1" || reply.starts_with("-HOME the key is at home at site"), "{reply}");
        cluster.run(500);
    }
    assert_eq!(done, 1);
    let refused =
        clients.iter().filter(|client| cluster.ask(**client, "SETNX a 1").starts_with("-HOME")).count();
    assert_eq!(refused, 2, "not even a word on what there is");
}
