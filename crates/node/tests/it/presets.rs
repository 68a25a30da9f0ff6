//! Presets of KEYSPACE CREATE: a word for options, which the sheet shows and which others beside it replace.
// catalogue: C3 I5 I10

use crate::cluster::served;
use crate::rig::{Client, Cluster};
use data::NodeId;

fn at(sites: &[&'static str]) -> (Cluster, Client) {
    let mut cluster = served(Cluster::at_sites(3, sites));
    let client = cluster.connect(NodeId(1));
    (cluster, client)
}

fn sheet(cluster: &mut Cluster, client: Client, name: &str) -> String {
    cluster.run(300);
    cluster.ask(client, &format!("KEYSPACE SHEET {name}"))
}

#[test]
fn a_preset_is_the_options_that_the_sheet_shows() {
    let (mut cluster, client) = at(&["eu", "us", "ap"]);
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE world PRESET active-active"), "+OK");
    let shown = sheet(&mut cluster, client, "world");
    let options = "options: SITES ap,eu,us TOPOLOGY all-to-all CONFLICT crdt REPLICAS 3 COMMIT majority LEVEL flushed FLUSH always";
    assert!(shown.contains(options), "{shown}");

    let line = "KEYSPACE CREATE own PRESET Active-Active CONFLICT last-write-wins SITES eu,us COMMIT async";
    assert_eq!(cluster.ask(client, line), "+OK");
    let shown = sheet(&mut cluster, client, "own");
    let options = "options: SITES eu,us TOPOLOGY all-to-all CONFLICT last-write-wins REPLICAS 3 COMMIT async";
    assert!(shown.contains(options), "{shown}");

    for (line, error) in [
        ("PRESET", "-ERR PRESET needs a name: active-active, disaster-recovery"),
        ("PRESET fast", "-ERR no such preset: there are active-active"),
        ("PRESET active-active CONFLICT", "-ERR every option"),
        ("PRESET active-active CONFLICT never", "-ERR CONFLICT does not take"),
        ("PRESET active-active LOG row", "-ERR LOG does not go with"),
        ("PRESET disaster-recovery", "-ERR say RECOVERY-SITE: it could be ap, us"),
        ("PRESET disaster-recovery RECOVERY-SITE eu", "-ERR "),
        ("PRESET disaster-recovery CONFLICT crdt RECOVERY-SITE us", "-ERR unknown keyspace option"),
    ] {
        let reply = cluster.ask(client, &format!("KEYSPACE CREATE bad {line}"));
        assert!(reply.starts_with(error), "{line}: {reply}");
    }
    assert!(cluster.ask(client, "KEYSPACE SHEET bad").starts_with("-ERR no such keyspace"));
}

#[test]
fn disaster_recovery_keeps_a_copy_at_the_other_site() {
    let (mut cluster, client) = at(&["eu", "eu", "us"]);
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE shop PRESET disaster-recovery"), "+OK");
    let shown = sheet(&mut cluster, client, "shop");
    let options = "options: REPLICAS 3 COMMIT majority LEVEL flushed FLUSH always TIMEOUT 1000 ON-TIMEOUT fail SHARDS 1 READ-REPLICAS 1 SITE eu RECOVERY-SITE us";
    assert!(shown.contains(options) && shown.contains("A copy at us knows how much it lacks"), "{shown}");

    let line = "KEYSPACE CREATE other PRESET disaster-recovery SITE us COMMIT semi-sync ACKS 1";
    assert_eq!(cluster.ask(client, line), "+OK");
    let shown = sheet(&mut cluster, client, "other");
    assert!(
        shown.contains("COMMIT semi-sync ACKS 1") && shown.contains("SITE us RECOVERY-SITE eu"),
        "{shown}"
    );
}

#[test]
fn presets_say_what_sites_they_need() {
    let (mut cluster, client) = at(&["eu"]);
    let reply = cluster.ask(client, "KEYSPACE CREATE shop PRESET disaster-recovery");
    assert!(reply.starts_with("-ERR no node is at another site"), "{reply}");
}
