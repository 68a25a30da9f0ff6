//! Where the time of a write goes, in a world whose delays are known: the parts come out as they are, and add up to what the client
//! waited.
// catalogue: C17

use crate::cluster::serving;
use crate::rig::{Client, Cluster};
use data::{KeyspaceId, NodeId};
use node::PeerMessage;
use node::latency::{Figures, Part, Sample};
use std::time::Duration;

const HOP_MS: u64 = 4;
const QUEUE_MS: u64 = 2;

/// A keyspace of three copies whose leader and followers have disks that take so long, and a client of its leader.
fn keyspace(cluster: &mut Cluster, options: &str, disks_ms: [u64; 3]) -> (Client, KeyspaceId) {
    let client = cluster.connect(NodeId(1));
    let words = format!("KEYSPACE CREATE timed SINGLE-LEADER REPLICAS 3 {options}");
    assert_eq!(cluster.ask(client, &words), "+OK");
    assert_eq!(cluster.ask(client, "SELECT timed"), "+OK");
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    cluster.run(1500);
    let leader = cluster.leader_of("timed").expect("a leader");
    cluster.hop_ms = HOP_MS;
    for (place, disk_ms) in disks_ms.into_iter().enumerate() {
        // In the order of a chain.
        let node = NodeId((leader.0 - 1 + place as u32) % 3 + 1);
        cluster.disk_ms.insert(node, disk_ms);
    }
    cluster.run(500);
    let client = cluster.connect(leader);
    assert_eq!(cluster.ask(client, "SELECT timed"), "+OK");
    (client, cluster.nodes[&leader].map().keyspace_named("timed").expect("it exists").id)
}
fn figures(cluster: &Cluster, client: Client, keyspace: KeyspaceId) -> Figures {
    cluster.nodes[&client.node].latency(keyspace)
}
/// The newest sample of the client's node.
fn newest(cluster: &Cluster, client: Client, keyspace: KeyspaceId) -> Sample {
    let of = |state: &node::GroupState<'_>| state.keyspace.id == keyspace;
    let mut states = cluster.nodes[&client.node].group_states().filter(of);
    let state = states.next().expect("it leads one group");
    *state.latency.samples().last().expect("a write was measured")
}
/// What the parts come to, `beside` being subtracted.
fn sum(sample: &Sample) -> Duration {
    let parts =
        [Part::Queue, Part::LeaderFlush, Part::RoundTrip, Part::FollowerFlush, Part::Follower, Part::Rest];
    let all: Duration = parts.into_iter().filter_map(|part| sample.part(part)).sum();
    all - sample.part(Part::Beside).unwrap_or_default()
}
/// Queue, leader's flush, round trip, follower's flush, both in one, rest, in ms.
fn parts(sample: &Sample) -> [Option<u64>; 6] {
    let ms = |part| sample.part(part).map(|length: Duration| length.as_millis() as u64);
    [
        ms(Part::Queue),
        ms(Part::LeaderFlush),
        ms(Part::RoundTrip),
        ms(Part::FollowerFlush),
        ms(Part::Follower),
        ms(Part::Rest),
    ]
}
/// Writes several times; what came out of the last one.
fn measured(cluster: &mut Cluster, client: Client, keyspace: KeyspaceId) -> [Option<u64>; 6] {
    let mut last = None;
    for value in 0..5 {
        let before = figures(cluster, client, keyspace).sum(Part::Total).0;
        let (reply, waited_ms) = cluster.time(client, &format!("SET a {value}"), QUEUE_MS);
        assert_eq!(reply, "+OK");
        // The answer of the follower may come after the reply.
        cluster.run(60);
        let writes = figures(cluster, client, keyspace).sum(Part::Total).0 - before;
        assert_eq!(writes, 1, "one write, measured once");
        let sample = newest(cluster, client, keyspace);
        let (parts, waited) = (sum(&sample), Duration::from_millis(waited_ms));
        assert!(parts.abs_diff(waited) * 20 <= waited, "{sample:?} beside {waited_ms} ms");
        assert_eq!(sample.part(Part::Total), Some(parts), "the parts are all there is: {sample:?}");
        last = Some(self::parts(&sample));
    }
    last.expect("five writes")
}
fn of(options: &str, disks_ms: [u64; 3]) -> [Option<u64>; 6] {
    let mut cluster = serving(3);
    let (client, keyspace) = keyspace(&mut cluster, options, disks_ms);
    measured(&mut cluster, client, keyspace)
}

#[test]
fn the_parts_are_the_delays_of_the_world() {
    let (queue, none) = (Some(QUEUE_MS), None);
    // The faster follower decides, and the slower leader's disk runs beside the way there.
    let found = of("COMMIT majority", [6, 3, 17]);
    assert_eq!(found, [queue, Some(6), Some(8), Some(3), none, Some(0)]);
    // The leader's own disk is the last; the followers' part is told all the same.
    let found = of("COMMIT majority", [40, 3, 17]);
    assert_eq!(found, [queue, Some(40), Some(8), Some(3), none, Some(0)]);
    // All of them: the slowest counts.
    let found = of("COMMIT in-sync-set", [6, 3, 17]);
    assert_eq!(found, [queue, Some(6), Some(8), Some(17), none, Some(0)]);
    // Down the chain and back over two links, and the tail's disk.
    let found = of("COMMIT chain", [6, 3, 17]);
    assert_eq!(found, [queue, Some(6), Some(16), Some(17), none, Some(0)]);
    // Nobody is waited for.
    let found = of("COMMIT async", [6, 3, 17]);
    assert_eq!(found, [queue, Some(6), none, none, none, Some(0)]);
    // Held by one, then applied by one: another round trip.
    let found = of("COMMIT majority LEVEL applied", [6, 3, 17]);
    assert_eq!(found, [queue, Some(6), Some(8), Some(3), none, Some(8)]);
}

#[test]
fn older_peers_are_not_asked_and_their_part_stays_whole() {
    let mut cluster = Cluster::speaking(3, 4);
    cluster.run(3000);
    let (client, keyspace) = keyspace(&mut cluster, "COMMIT majority", [6, 3, 17]);
    let found = measured(&mut cluster, client, keyspace);
    assert_eq!(found, [Some(QUEUE_MS), Some(6), None, None, Some(11), Some(0)]);
    let info = cluster.ask(client, "KEYSPACE INFO timed");
    assert!(info.contains("follower writes=") && !info.contains("round-trip writes="), "{info}");
}

#[test]
fn a_follower_is_not_believed_more_than_the_leader_saw() {
    let mut cluster = serving(3);
    let (client, keyspace) = keyspace(&mut cluster, "COMMIT majority", [6, 3, 17]);
    let group = cluster.group_of("timed").expect("a group");
    let liar = NodeId(client.node.0 % 3 + 1);
    cluster.send(client, "SET a 1");
    let state = |cluster: &Cluster| {
        let mut states = cluster.nodes[&client.node].group_states();
        states.find(|state| state.group == group).map(|it| it.replica.log().last().position)
    };
    let position = state(&cluster).expect("a log");
    let micros = Some(u64::MAX);
    cluster.deliver(liar, client.node, PeerMessage::LatencyAnswer { group, position, micros });
    cluster.run(60);
    let sample = newest(&cluster, client, keyspace);
    assert_eq!(parts(&sample)[2..4], [Some(0), Some(11)], "{sample:?}");
    assert_eq!(sample.part(Part::Total), Some(sum(&sample)));
    // Questions that no entry follows, and answers that nobody asked for, change nothing.
    let ahead = data::Position::new(position.epoch.0, position.index.0 + 1_000_000);
    cluster.deliver(client.node, liar, PeerMessage::LatencyAsk { group, position: ahead });
    cluster.deliver(liar, client.node, PeerMessage::LatencyAnswer { group, position: ahead, micros });
    let before = figures(&cluster, client, keyspace).sum(Part::Total).0;
    assert_eq!(cluster.ask(client, "SET a 2"), "+OK");
    cluster.run(60);
    assert_eq!(figures(&cluster, client, keyspace).sum(Part::Total).0, before + 1);
}

#[test]
fn sheet_and_info_tell_the_parts() {
    let mut cluster = serving(3);
    let (client, keyspace) = keyspace(&mut cluster, "COMMIT majority", [6, 3, 17]);
    let elsewhere = cluster.connect(NodeId(client.node.0 % 3 + 1));
    measured(&mut cluster, client, keyspace);
    let none = cluster.ask(elsewhere, "KEYSPACE SHEET timed");
    assert!(none.contains("no write measured yet by this node"), "{none}");
    let sheet = cluster.ask(client, "KEYSPACE SHEET timed");
    let told = "queue 2.000, leader-flush 6.000, round-trip 8.000, follower-flush 3.000, rest 0.000, beside 6.000, total 13.000";
    assert!(sheet.contains(told), "{sheet}");
    let info = cluster.ask(client, "KEYSPACE INFO timed");
    assert!(info.contains("round-trip writes=") && info.contains("p50-us=8000"), "{info}");
}
