//! Stories of sites: one scenario each.
// catalogue: I1 I2 I3 I4 I6 I7 I8 I9 J1 J3 J4 J6 J7 J14
// bugs: ML-03, ML-04, ML-05, ML-06, ML-07, ML-08, ML-19, ML-20, ML-24

use super::oracle::Act;
use super::sites::{Sites, limits, set};
use data::{SiteId, WriteStamp};
use protocol::multi_leader::{Family, Limits, Policy, Refusal, Report, SiteToken, Topology};
use std::time::Duration;

fn sites(count: u32, topology: Topology, policy: Policy) -> Sites {
    let mut sites = Sites::new(1, count, topology, policy);
    sites.run(200);
    sites
}
fn with_limits(count: u32, topology: Topology, limits: Limits) -> Sites {
    let mut sites = Sites::new(1, count, topology, Policy::Crdt);
    sites.limits = limits;
    (1..=count).for_each(|site| sites.failover(SiteId(site), 1));
    sites.run(400);
    sites
}
/// Nothing is wrong, and all living sites are equal.
fn well(sites: &mut Sites) {
    sites.settle(20_000);
    assert_eq!(sites.oracle.violation, None);
}
fn shown(sites: &Sites, key: &str) -> Vec<String> {
    sites.living().iter().map(|site| sites.get(site.0, key)).collect()
}
fn reports(sites: &Sites, is: impl Fn(&Report) -> bool) -> usize {
    sites.reports.iter().filter(|(_, report)| is(report)).count()
}
fn sent(sites: &Sites, stamp: WriteStamp) -> u64 {
    sites.sent.get(&stamp).copied().unwrap_or(0)
}

/// Two leaders set a price at once, 100 and 150. Whatever the policy, no two sites end up with different ones.
// catalogue: J1 J5 J14 J18
#[test]
fn price() {
    for policy in [Policy::Crdt, Policy::Siblings, Policy::LastWriteWins] {
        let mut sites = sites(3, Topology::AllToAll, policy);
        sites.cut(1, 2, 500);
        sites.write(1, "r:price", set("100"));
        sites.run(3);
        sites.write(2, "r:price", set("150"));
        sites.run(100);
        assert_eq!((sites.get(1, "r:price"), sites.get(2, "r:price")), ("100".into(), "150".into()));
        well(&mut sites);
        let is_lost =
            |report: &Report| matches!(report, Report::Lost(it) if it.lost.value.as_deref() == Some(b"100"));
        let is_conflict =
            |report: &Report| matches!(report, Report::Conflict { key } if **key == *b"r:price");
        if policy == Policy::LastWriteWins {
            assert_eq!(shown(&sites, "r:price"), ["150"; 3], "the later stamp");
            assert!(reports(&sites, is_lost) > 0, "the inbox has the other one");
        } else {
            assert_eq!(shown(&sites, "r:price"), ["100/150"; 3]);
            assert!(reports(&sites, is_conflict) > 0);
            // Whoever resolves it writes over what it saw; nothing else is written (bugs: ML-07).
            sites.write(3, "r:price", set("125"));
            well(&mut sites);
            assert_eq!(shown(&sites, "r:price"), ["125"; 3]);
        }
    }
    // Where one site writes a price there is no conflict.
    let mut sites = sites(3, Topology::AllToAll, Policy::Home);
    let slot = data::slot::slot(b"r:price");
    let home = sites.exchange(1).state().home(slot).0.0;
    let other = home % 3 + 1;
    sites.write(home, "r:price", set("100"));
    let refused = sites.write_all(other, &[("r:price", set("150"))]);
    assert_eq!(refused, Err(Refusal::Elsewhere { home: SiteId(home) }));
    well(&mut sites);
    assert_eq!(shown(&sites, "r:price"), ["100"; 3]);
    assert_eq!(reports(&sites, |report| matches!(report, Report::Conflict { .. })), 0);
    let families = [Policy::Home, Policy::Crdt, Policy::LastWriteWins, Policy::Siblings].map(Policy::family);
    assert_eq!(families, [Family::Avoid, Family::Converge, Family::Converge, Family::Resolve]);
}

/// Equal stamps: the higher site wins, everywhere.
// catalogue: J6
#[test]
fn the_higher_site_breaks_a_tie() {
    let mut sites = sites(3, Topology::AllToAll, Policy::LastWriteWins);
    sites.write(3, "r", set("three"));
    sites.write(1, "r", set("one"));
    sites.write(2, "r", set("two"));
    well(&mut sites);
    assert_eq!(shown(&sites, "r"), ["three"; 3]);
}

/// A write takes no site's word but its own: 150 ms away or cut off altogether, it is committed as fast as here alone.
// catalogue: I1 I3 I4
#[test]
fn writes_wait_for_no_other_site() {
    let mut sites = sites(3, Topology::AllToAll, Policy::Crdt);
    for (from, to) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)] {
        sites.delays.insert((SiteId(from), SiteId(to)), 75);
    }
    sites.isolate(3, 1_000);
    for site in 1..=3 {
        let stamp = sites.write(site, "c", Act::Increment(1));
        sites.run(2);
        assert!(sites.exchange(site).vector().contains(stamp), "committed after a flush of one millisecond");
    }
    sites.run(900);
    let (outgoing, incoming) = sites.exchange(1).lag(data::Instant(sites.now), SiteId(3)).expect("a peer");
    assert_eq!(
        (outgoing.operations, incoming.operations),
        (2, 0),
        "of what is cut off only what it told is known"
    );
    assert!((600..=1_000).contains(&outgoing.ms), "{outgoing:?}");
    well(&mut sites);
    assert_eq!(shown(&sites, "c"), ["3"; 3]);
}

/// In calm each write goes over each edge of the topology's tree once: as often as there are other sites.
// catalogue: I6 I7 I8
// bugs: ML-01
#[test]
fn each_write_reaches_each_site_once() {
    let tree =
        Topology::Tree { parents: [(2, 1), (3, 1), (4, 3)].map(|(c, p)| (SiteId(c), SiteId(p))).into() };
    for topology in [Topology::AllToAll, Topology::Circular, Topology::Star { hub: SiteId(2) }, tree] {
        let mut sites = sites(4, topology.clone(), Policy::Crdt);
        let stamps: Vec<WriteStamp> = (1..=4).map(|site| sites.write(site, "c", Act::Increment(1))).collect();
        well(&mut sites);
        assert!(stamps.iter().all(|stamp| sent(&sites, *stamp) == 3), "{topology:?}: {:?}", sites.sent);
        assert_eq!(reports(&sites, |report| matches!(report, Report::Routed { is_detour: true, .. })), 0);
    }
}

/// One site of a ring is dead: the ring closes over it, says so, and opens again when it is back.
// catalogue: I7
// bugs: ML-03
#[test]
fn a_ring_with_a_dead_node() {
    for dead in 1..=4 {
        let mut sites = sites(4, Topology::Circular, Policy::Crdt);
        sites.isolate(dead, 3_000);
        sites.run(400);
        let writer = dead % 4 + 1;
        sites.write(writer, "c", Act::Increment(1));
        sites.run(400);
        for site in (1..=4).filter(|site| *site != dead) {
            assert_eq!(sites.get(site, "c"), "1", "site {site} without {dead}");
            let is_said = |(who, report): &(SiteId, Report)| {
                who.0 == site && matches!(report, Report::Routed { away, .. } if *away == [SiteId(dead)])
            };
            assert!(sites.reports.iter().any(is_said), "{site} announces that {dead} is away");
        }
        let before = sites.reports.len();
        well(&mut sites);
        assert_eq!(shown(&sites, "c"), ["1"; 4]);
        let restored = |(_, report): &&(SiteId, Report)| matches!(report, Report::Routed { away, is_detour: false } if away.is_empty());
        assert_eq!(
            sites.reports[before..].iter().filter(restored).count(),
            4,
            "and that all is as configured"
        );
    }
}

/// The hub is lost for good: the lowest spoke stands in; then the operator names another.
// catalogue: I8
#[test]
fn the_loss_of_a_hub() {
    let mut sites = sites(4, Topology::Star { hub: SiteId(3) }, Policy::Crdt);
    sites.write(3, "c", Act::Increment(1));
    sites.run(200);
    sites.lose(SiteId(3));
    sites.run(400);
    let stamp = sites.write(4, "c", Act::Increment(10));
    sites.run(300);
    assert_eq!(shown(&sites, "c"), ["11"; 3]);
    assert_eq!(sent(&sites, stamp), 2, "4 to 1, 1 to 2");
    sites.configure([1, 2, 4].map(SiteId).into(), Topology::Star { hub: SiteId(4) });
    sites.run(200);
    let stamp = sites.write(1, "c", Act::Increment(100));
    well(&mut sites);
    assert_eq!((shown(&sites, "c"), sent(&sites, stamp)), (vec!["111".to_string(); 3], 2));
}

/// A site is struck off with traffic in flight: what it wrote still reaches everybody, and goes round no more.
// bugs: ML-02
#[test]
fn an_origin_that_was_removed() {
    let mut sites = sites(4, Topology::Circular, Policy::Crdt);
    sites.cut(2, 3, 1_000);
    sites.cut(2, 4, 1_000);
    let stamp = sites.write(1, "s", Act::Add("late".into()));
    sites.run(12);
    assert_eq!(sites.get(2, "s"), "late");
    sites.lose(SiteId(1));
    sites.configure([2, 3, 4].map(SiteId).into(), Topology::Circular);
    well(&mut sites);
    assert_eq!(shown(&sites, "s"), ["late"; 3]);
    assert!(sent(&sites, stamp) <= 5, "{}", sent(&sites, stamp));
}

/// An answer overtakes its question on a ten times slower link: nobody sees it before.
// catalogue: I9
// bugs: ML-04, ML-05
#[test]
fn an_effect_waits_for_its_cause() {
    let mut sites = sites(3, Topology::AllToAll, Policy::Crdt);
    // Clocks say the opposite of what happened.
    sites.at(SiteId(2)).skew_ms = -900;
    sites.delays.insert((SiteId(1), SiteId(3)), 100);
    sites.write(1, "s:question", Act::Add("why?".into()));
    sites.run(30);
    sites.write(2, "s:answer", Act::Add("because".into()));
    sites.run(30);
    assert_eq!((sites.get(3, "s:question"), sites.get(3, "s:answer")), ("nothing".into(), "nothing".into()));
    assert!(sites.exchange(3).waiting_bytes() > 0, "it is here, and waits");
    sites.run(100);
    assert_eq!((sites.get(3, "s:question"), sites.get(3, "s:answer")), ("why?".into(), "because".into()));
    well(&mut sites);
}

/// What waits is bounded: then the sender's state is copied.
// bugs: ML-04
#[test]
fn too_much_waits() {
    let mut sites = with_limits(3, Topology::AllToAll, Limits { waiting_bytes_max: 500, ..limits() });
    sites.cut(1, 3, 2_000);
    for number in 0..40 {
        sites.write(1, "s", Act::Add(format!("m{number}")));
        sites.run(8);
        sites.write(2, "c", Act::Increment(1));
        assert!(sites.exchange(3).waiting_bytes() <= 500);
    }
    well(&mut sites);
    assert_eq!(shown(&sites, "c"), ["40"; 3]);
}

/// A new site takes a copy while everybody goes on writing; what is overwritten meanwhile is in it as it was.
// catalogue: I10
#[test]
fn a_site_joins_under_load() {
    let mut sites = with_limits(2, Topology::AllToAll, Limits { part_bytes_max: 200, ..limits() });
    for number in 0..60 {
        sites.write(1 + number % 2, &format!("s{number}"), Act::Add("old".into()));
        sites.run(1);
    }
    sites.run(200);
    sites.trim(SiteId(1));
    sites.trim(SiteId(2));
    sites.found(SiteId(3));
    sites.configure([1, 2, 3].map(SiteId).into(), Topology::Circular);
    assert_eq!(sites.write_all(3, &[("c", Act::Increment(1))]), Err(Refusal::Joining));
    for number in 0..60 {
        sites.write(1 + number % 2, &format!("s{number}"), Act::Add("new".into()));
        sites.write(1 + number % 2, &format!("s{}", 59 - number), Act::Remove("old".into()));
        sites.run(5);
    }
    assert!(sites.exchange(3).state().is_ready());
    well(&mut sites);
    assert_eq!(sites.oracle.copied, 1, "one copy was enough");
    assert_eq!(shown(&sites, "s7"), ["new"; 3]);
    sites.write(3, "c", Act::Increment(1));
    well(&mut sites);
}

/// A site comes back after its peers' logs have gone on without it; what was deleted meanwhile stays deleted.
// bugs: ML-08
#[test]
fn a_site_comes_back_late() {
    let mut sites = sites(3, Topology::AllToAll, Policy::Crdt);
    sites.write(1, "s", Act::Add("old".into()));
    sites.run(200);
    sites.isolate(3, 60_000);
    sites.write(3, "s", Act::Add("mine".into()));
    sites.write(1, "s", Act::Delete);
    sites.run(400);
    sites.write(2, "r", set("new"));
    sites.run(200);
    sites.trim(SiteId(1));
    sites.trim(SiteId(2));
    well(&mut sites);
    assert_eq!(
        (shown(&sites, "s"), shown(&sites, "r")),
        (vec!["mine".to_string(); 3], vec!["new".to_string(); 3])
    );
    assert_eq!(sites.oracle.copied, 1);
}

/// Leaders fail over under load: the next one writes under another name and goes on where its log ends.
// catalogue: I2
// bugs: ML-24
#[test]
fn a_local_failover() {
    let mut sites = sites(2, Topology::AllToAll, Policy::Crdt);
    for round in 0..10 {
        for _ in 0..5 {
            sites.write(1, "c", Act::Increment(1));
            sites.write(2, "c", Act::Increment(1));
            sites.run(1);
        }
        sites.failover(SiteId(1 + round % 2), 20);
        sites.run(60);
    }
    well(&mut sites);
    let names: Vec<WriteStamp> = sites.exchange(1).vector().iter().collect();
    assert_eq!(
        names.len(),
        11,
        "five leaders after the first of site 1, five of site 2, the last without a write: {names:?}"
    );
}

/// A site that lost what it had sent gets it back from whoever has it.
// bugs: ML-13
#[test]
fn a_vector_that_shrank() {
    let mut sites = sites(2, Topology::AllToAll, Policy::Crdt);
    sites.may_lose_committed = true;
    for _ in 0..40 {
        sites.write(1, "c", Act::Increment(1));
        sites.run(40);
        sites.failover(SiteId(1), 20);
        sites.run(300);
    }
    assert!(sites.shrunk > 0, "some of these failovers took committed records along");
    well(&mut sites);
    assert_eq!(shown(&sites, "c"), ["40"; 2], "every write had reached the other site");
}

/// One site's clock runs far ahead: the others stop listening to it and both sides say so; nothing is left out when it is right
/// again.
#[test]
fn a_clock_far_ahead_stops_its_links() {
    let mut sites = sites(3, Topology::AllToAll, Policy::LastWriteWins);
    sites.at(SiteId(1)).skew_ms = 5_000;
    sites.write(1, "r", set("future"));
    sites.write(2, "r", set("present"));
    sites.write(1, "s", Act::Add("behind it".into()));
    sites.run(1_000);
    assert_eq!(
        (sites.get(2, "r"), sites.get(3, "r"), sites.get(3, "s")),
        ("present".into(), "present".into(), "nothing".into())
    );
    assert_eq!(
        reports(&sites, |it| matches!(it, Report::Stopped { peer: SiteId(1), by_ms: 4_900..=5_100 })),
        2
    );
    assert!(reports(&sites, |it| matches!(it, Report::Unheard { .. })) >= 2);
    sites.at(SiteId(1)).skew_ms = 0;
    assert!(
        matches!(sites.write_all(1, &[("r", set("now"))]), Err(Refusal::Clock(_))),
        "better no write than one refused"
    );
    well(&mut sites);
    assert_eq!(
        (shown(&sites, "r"), shown(&sites, "s")),
        (vec!["future".to_string(); 3], vec!["behind it".to_string(); 3])
    );
    assert_eq!(reports(&sites, |it| matches!(it, Report::Resumed { .. })), 2);
}

/// The state of a site whose clock ran far ahead is refused once, and copied when its time has come: not asked for again and again
/// in between.
#[test]
fn a_state_far_ahead_is_copied_when_its_time_has_come() {
    let mut sites = sites(2, Topology::AllToAll, Policy::Crdt);
    sites.run(100);
    sites.cut(1, 2, 300);
    sites.at(SiteId(1)).skew_ms = 5_000;
    for number in 0..200 {
        sites.write(1, "s", Act::Add(format!("member {number}")));
        sites.run(1);
    }
    sites.trim(SiteId(1));
    sites.at(SiteId(1)).skew_ms = 0;
    sites.run(3_000);
    assert_eq!(sites.get(2, "s"), "nothing", "its time has not come");
    let begun = reports(&sites, |it| matches!(it, Report::CopyStarted { from: SiteId(1) }));
    assert_eq!(begun, 1, "a copy that would be refused again is not asked for");
    assert_eq!(reports(&sites, |it| matches!(it, Report::Stopped { peer: SiteId(1), .. })), 1);
    well(&mut sites);
    assert_eq!(reports(&sites, |it| matches!(it, Report::Resumed { peer: SiteId(1) })), 1);
    assert_eq!(reports(&sites, |it| matches!(it, Report::CopyDone { from: SiteId(1) })), 1);
}

/// In flight and per second no more than allowed.
#[test]
fn a_link_is_bounded() {
    let bounds = Limits { bandwidth_bytes_per_s: Some(10_000), in_flight_bytes_max: 2_000, ..limits() };
    let mut sites = with_limits(2, Topology::AllToAll, bounds);
    sites.cut(1, 2, 300);
    for number in 0..300 {
        sites.write(1, "s", Act::Add(format!("a member of some length, number {number}")));
    }
    sites.run(300);
    let (begin, mut most) = (sites.now, 0);
    while sites.converged().is_err() && sites.now - begin < 60_000_000_000 {
        sites.run(20);
        most = most.max(sites.exchange(1).in_flight_bytes(SiteId(2)));
    }
    let ms = (sites.now - begin) / 1_000_000;
    assert!(most <= 2_000 + 200, "{most} bytes in flight");
    assert!((1_500..8_000).contains(&ms), "some 30 kB took {ms} ms");
    well(&mut sites);
}

/// A copy of the state takes no more per second than writes may, and nobody loses patience with it.
#[test]
fn a_copy_is_bounded() {
    let bounds = Limits { bandwidth_bytes_per_s: Some(5_000), ..limits() };
    let mut sites = with_limits(2, Topology::AllToAll, bounds);
    sites.run(100);
    sites.cut(1, 2, 300);
    for number in 0..600 {
        sites.write(1, "s", Act::Add(format!("a member of some length, number {number}")));
        sites.write(1, &format!("key {}", number % 200), set("a value of some length"));
        sites.run(1);
    }
    sites.trim(SiteId(1));
    sites.run(300);
    let begin = sites.now;
    while sites.converged().is_err() && sites.now - begin < 120_000_000_000 {
        sites.run(20);
    }
    let ms = (sites.now - begin) / 1_000_000;
    assert!((5_000..40_000).contains(&ms), "more than 25 kB took {ms} ms");
    assert_eq!(reports(&sites, |it| matches!(it, Report::CopyAbandoned { .. })), 0);
    assert_eq!(reports(&sites, |it| matches!(it, Report::CopyDone { from: SiteId(1) })), 1);
    well(&mut sites);
}

/// Topologies change under load, again and again.
#[test]
fn topologies_change_live() {
    let mut sites = sites(4, Topology::AllToAll, Policy::Crdt);
    let all: Vec<SiteId> = (1..=4).map(SiteId).collect();
    for round in 0..12 {
        let topology = match round % 3 {
            0 => Topology::Circular,
            1 => Topology::Star { hub: SiteId(1 + round % 4) },
            _ => Topology::AllToAll,
        };
        (1..=4).for_each(|site| {
            sites.write(site, "c", Act::Increment(1));
        });
        sites.run(7);
        sites.configure(all.clone(), topology);
    }
    well(&mut sites);
    assert_eq!(shown(&sites, "c"), ["48"; 4]);
}

/// A session takes its vector along: another site answers when it holds it.
// bugs: ML-20
#[test]
fn a_session_goes_to_another_site() {
    let mut sites = sites(2, Topology::AllToAll, Policy::Crdt);
    sites.cut(1, 2, 300);
    sites.write(1, "r", set("mine"));
    sites.run(50);
    let shard = (data::KeyspaceId(4), 0);
    let mut token = SiteToken::default();
    assert!(token.note(shard, sites.exchange(1).vector()));
    let mut bytes = Vec::new();
    token.encode(&mut data::codec::Writer::new(&mut bytes));
    let token = SiteToken::decode(&mut data::codec::Reader::new(&bytes)).expect("as it was written");
    let wanted = token.wanted(shard).expect("noted").clone();
    assert!(!sites.exchange(2).holds(&wanted), "it would show less than the session has written");
    sites.run(600);
    assert!(sites.exchange(2).holds(&wanted));
    assert_eq!(sites.get(2, "r"), "mine");
}

/// A home moves while both sites write: never do both take writes, and the new home has seen all of the old one's.
// catalogue: J3 J4
#[test]
fn a_home_moves_live() {
    let mut sites = sites(2, Topology::AllToAll, Policy::Home);
    let slot = data::slot::slot(b"r0");
    let old = sites.exchange(1).state().home(slot).0.0;
    let new = 3 - old;
    sites.delays.insert((SiteId(old), SiteId(new)), 80);
    sites.write(old, "r0", set("before"));
    assert_eq!(
        sites.hand_over(new, slot, old),
        Err(Refusal::Elsewhere { home: SiteId(old) }),
        "only the home gives away"
    );
    assert_eq!(sites.hand_over(old, slot, 9), Err(Refusal::NotASite(SiteId(9))));
    sites.hand_over(old, slot, new).expect("the home's word");
    let refused = |sites: &mut Sites, site| sites.write_all(site, &[("r0", set("x"))]).is_err();
    assert!(refused(&mut sites, old), "from the moment of its word");
    sites.run(40);
    assert!(refused(&mut sites, new), "not before it has applied it");
    sites.run(100);
    assert_eq!(sites.get(new, "r0"), "before");
    sites.write(new, "r0", set("after"));
    sites.failover(SiteId(old), 10);
    sites.run(300);
    assert!(refused(&mut sites, old), "it lies in the log");
    well(&mut sites);
    assert_eq!(shown(&sites, "r0"), ["after"; 2]);
}

/// Delete here, delete and insert there: the insert saw the first value only, and survives everywhere.
// bugs: ML-06
#[test]
fn delete_against_delete_and_insert() {
    let mut sites = sites(2, Topology::AllToAll, Policy::Crdt);
    sites.write(1, "r", set("first"));
    sites.run(100);
    sites.cut(1, 2, 300);
    sites.write(1, "r", Act::Delete);
    sites.write(2, "r", Act::Delete);
    sites.write(2, "r", set("second"));
    well(&mut sites);
    assert_eq!(shown(&sites, "r"), ["second"; 2]);
}

/// A storm of conflicts costs as many messages as there were writes: settling them writes nothing.
// bugs: ML-07, ML-19
#[test]
fn a_conflict_storm() {
    let mut sites = sites(3, Topology::AllToAll, Policy::LastWriteWins);
    (1..=3).for_each(|site| sites.isolate(site, 1_000));
    for number in 0..50 {
        (1..=3).for_each(|site| {
            sites.write(site, "r", set(&format!("{site}.{number}")));
        });
        sites.run(3);
    }
    well(&mut sites);
    assert_eq!(sites.oracle.written.len(), 150);
    // Twice to two sites at most: once into the cut, once when it has healed; and some by way of a third.
    assert!(sites.writes_sent <= 5 * 150, "{} sent", sites.writes_sent);
    let told = sites.reports.len();
    // Equal values are no conflict.
    sites.cut(1, 2, 200);
    sites.write(1, "x:same", set("same"));
    sites.write(2, "x:same", set("same"));
    well(&mut sites);
    assert!(!sites.reports[told..].iter().any(|(_, report)| matches!(report, Report::Lost(_))));
}

/// Settings that a keyspace gets unless it says otherwise are consistent with each other.
#[test]
fn limits_fit_together() {
    let Limits { status_every, resend_after, dead_after, overdue_after, copy_after, .. } = Limits::default();
    assert!(status_every * 4 < dead_after && resend_after < overdue_after && dead_after < overdue_after);
    assert!(copy_after > status_every * 2 && copy_after > Duration::from_secs(1));
}
