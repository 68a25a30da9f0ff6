//! A session goes to another site: its token makes that site wait for what it wrote and saw, or say that it has not got it.
// catalogue: I5
// bugs: ML-20

use crate::rig::{Client, Cluster};
use crate::sites::{cut, insists, with};

fn token(cluster: &mut Cluster, client: Client) -> String {
    let reply = cluster.ask(client, "SESSION TOKEN");
    let (_, token) = reply.split_once(' ').unwrap_or_else(|| panic!("a token: {reply}"));
    token.to_owned()
}

#[test]
fn another_site_answers_a_session_with_no_less() {
    for (nodes, options) in
        [(3, ""), (9, "REPLICAS 3 COMMIT majority"), (3, "SHARDS 4"), (3, "TOPOLOGY star:ap")]
    {
        let (mut cluster, clients) = with(nodes, options);
        let mut carried = String::new();
        for turn in 0..40 {
            let client = clients[turn % clients.len()];
            assert_eq!(cluster.ask(client, "SESSION RESET"), "+OK");
            if !carried.is_empty() {
                assert_eq!(cluster.ask(client, &format!("SESSION RESUME {carried}")), "+OK");
            }
            // Reads, writes, several keys, transactions and commands about all keys, each as the first one.
            let n = turn.to_string();
            match turn % 5 {
                0 => assert_eq!(
                    cluster.ask(client, "GET n"),
                    if turn == 0 { "$-1".into() } else { format!("${} {n}", n.len()) },
                    "{options}"
                ),
                1 => assert_eq!(
                    cluster.ask(client, "MGET {n}a n"),
                    format!("*2 $-1 ${} {n}", n.len()),
                    "{options}"
                ),
                2 => assert_eq!(cluster.ask(client, "KEYS n"), "*1 $1 n", "{options}"),
                3 => {
                    cluster.ask(client, "MULTI");
                    cluster.ask(client, "GET n");
                    assert_eq!(cluster.ask(client, "EXEC"), format!("*1 ${} {n}", n.len()), "{options}");
                }
                _ => {}
            }
            assert_eq!(cluster.ask(client, "INCR n"), format!(":{}", turn + 1), "{options} {turn}");
            carried = token(&mut cluster, client);
        }
    }
}

#[test]
fn a_site_that_is_cut_off_says_that_it_has_not_got_it() {
    let (mut cluster, clients) = with(3, "");
    cut(&mut cluster, "us", true);
    assert_eq!(cluster.ask(clients[0], "SET a 1"), "+OK");
    let carried = token(&mut cluster, clients[0]);
    let [other, away] = [clients[2], clients[1]];
    for client in [other, away] {
        assert_eq!(cluster.ask(client, &format!("SESSION RESUME {carried}")), "+OK");
    }
    assert_eq!(cluster.ask(other, "GET a"), "$1 1", "a site that hears of it answers");
    for line in ["GET a", "SET a 2", "DBSIZE", "WITH READ follower DO GET a", "SNAPSHOT OPEN"] {
        let reply = cluster.ask(away, line);
        assert!(reply.starts_with("-TRYAGAIN this site has not heard yet"), "{line}: {reply}");
    }
    // Its token still says what it has not seen here.
    let passed_on = token(&mut cluster, away);
    let next = cluster.connect(away.node);
    assert_eq!(cluster.ask(next, "SELECT world"), "+OK");
    assert_eq!(cluster.ask(next, &format!("SESSION RESUME {passed_on}")), "+OK");
    assert!(cluster.ask(next, "GET a").starts_with("-TRYAGAIN this site has not heard yet"));
    // Others are not concerned, and whoever asks for it begins anew.
    let nobody = cluster.connect(away.node);
    assert_eq!(cluster.ask(nobody, "SELECT world"), "+OK");
    assert_eq!(cluster.ask(nobody, "GET a"), "$-1");
    assert_eq!(cluster.ask(next, "SESSION RESET"), "+OK");
    assert_eq!(cluster.ask(next, "GET a"), "$-1");
    cut(&mut cluster, "us", false);
    insists(&mut cluster, away, "GET a", "$1 1");
    // From then on it is a session of this site: its own leader answers at once.
    cut(&mut cluster, "us", true);
    assert_eq!(cluster.ask(away, "SET b 1"), "+OK");
    assert_eq!(cluster.ask(away, "GET b"), "$1 1");
}

#[test]
fn what_a_session_saw_is_known_when_its_site_is_gone() {
    let (mut cluster, clients) = with(3, "");
    assert_eq!(cluster.ask(clients[0], "SET a 1"), "+OK");
    let carried = token(&mut cluster, clients[0]);
    insists(&mut cluster, clients[1], "GET a", "$1 1");
    cluster.kill(clients[0].node);
    cluster.run(2_000);
    assert_eq!(cluster.ask(clients[1], &format!("SESSION RESUME {carried}")), "+OK");
    assert_eq!(cluster.ask(clients[1], "GET a"), "$1 1");
}

/// A token of a session that has seen nothing new says what the one said that it came with.
#[test]
fn tokens_are_handed_on() {
    let (mut cluster, clients) = with(3, "");
    cut(&mut cluster, "us", true);
    assert_eq!(cluster.ask(clients[0], "SET a 1"), "+OK");
    let mut carried = token(&mut cluster, clients[0]);
    for client in [clients[0], clients[2], clients[2], clients[0]] {
        assert_eq!(cluster.ask(client, &format!("SESSION RESUME {carried}")), "+OK");
        assert_eq!(cluster.ask(client, "GET a"), "$1 1");
        carried = token(&mut cluster, client);
    }
    assert_eq!(cluster.ask(clients[1], &format!("SESSION RESUME {carried}")), "+OK");
    assert!(cluster.ask(clients[1], "GET a").starts_with("-TRYAGAIN this site has not heard yet"));
}

/// Where keys have a home its leader shows the newest there is of them, to whomever.
#[test]
fn homes_answer_at_once_and_copies_not_with_less() {
    let (mut cluster, clients) = with(9, "REPLICAS 3 COMMIT majority CONFLICT home");
    for turn in 0..30 {
        let [writer, reader] = [clients[turn % 9], clients[(turn + 4) % 9]];
        assert_eq!(cluster.ask(writer, &format!("SET k{turn} {turn}")), "+OK");
        let carried = token(&mut cluster, writer);
        assert_eq!(cluster.ask(reader, "SESSION RESET"), "+OK");
        assert_eq!(cluster.ask(reader, &format!("SESSION RESUME {carried}")), "+OK");
        let shown = format!("${} {turn}", turn.to_string().len());
        assert_eq!(cluster.ask(reader, &format!("WITH READ nearest DO GET k{turn}")), shown);
        assert_eq!(cluster.ask(reader, &format!("GET k{turn}")), shown);
    }
}
