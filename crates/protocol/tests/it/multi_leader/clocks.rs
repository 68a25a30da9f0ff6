//! What a leader mints when others doubt its clock, and what it keeps for the inbox: two leaders, and messages handed over by hand.
// catalogue: J7 J14
// bugs: ML-05, LL-02, TC-79

use super::sites::blob;
use data::causal::Wish;
use data::operation::Expiry;
use data::table::Seed;
use data::{Epoch, GroupId, Index, Instant, NodeId, Now, OriginVector, SiteId, WallInterval};
use protocol::clocks::Clocks;
use protocol::multi_leader::{
    Config, Exchange, Leadership, Limits, Marks, Message, Output, Policy, Record, Refusal, Report, SiteState,
    Topology,
};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// So many ms after the start, on a clock that is wrong by `off`.
fn at(ms: u64, off: i64) -> Now {
    let wall = 1_000_000_000 + ms as i64 + off;
    Now {
        instant: Instant::from_millis(ms),
        wall: WallInterval { earliest_ms: wall - 1, latest_ms: wall + 1 },
    }
}

fn leader(site: u32, limits: Limits) -> Exchange {
    let founders = [SiteId(1), SiteId(2)];
    let me = Leadership { site: SiteId(site), epoch: Epoch(1), shard: GroupId(7) };
    let state = SiteState::new(Seed(1, 2), SiteId(site), &founders);
    let marks = Marks::new(Index(0), OriginVector::new());
    let mut exchange = Exchange::new(me, limits, Policy::Siblings, state, marks);
    let config = Config { version: 1, sites: founders.to_vec(), topology: Topology::AllToAll };
    exchange.configure(Instant::ZERO, config, &mut Vec::new());
    exchange
}

fn set(exchange: &mut Exchange, now: Now, key: &str, value: &str) -> Result<Vec<Output>, Refusal> {
    let mut out = Vec::new();
    let wish = Wish::Set { value: blob(value), expiry: Expiry::Keep };
    exchange.write(now, &[(blob(key), wish)], &mut out).map(|_| out)
}

/// The other site takes what was proposed here.
fn hand_over(now: Now, from: u32, out: &[Output], to: &mut Exchange) {
    let writes = out.iter().filter_map(|output| match output {
        Output::Propose { record: Record::Write(write) } => Some(write.clone()),
        _ => None,
    });
    let message = Message::Writes { writes: writes.collect() };
    to.receive(now, SiteId(from), message, &mut Vec::new());
}

#[test]
fn a_clock_that_most_contradict_mints_nothing_and_an_unknown_one_goes_on_from_what_was_sure() {
    let mut exchange = leader(1, Limits::default());
    let mut clocks = Clocks::default();
    let nodes = || (1..=5).map(NodeId);
    let hear = |clocks: &mut Clocks, node, now: Now| {
        clocks.hear(now.instant, NodeId(node), now.wall.middle_ms());
    };
    // Nobody was heard: the first stamp is late rather than early, whatever the clock says.
    exchange.hear_clocks(clocks.bounds(NodeId(1), nodes()));
    set(&mut exchange, at(1_000, HOUR), "k", "1").expect("alone it serves");
    let newest = |exchange: &Exchange| exchange.state().copy().newest().ms();
    assert!(newest(&exchange) < 10_000, "{}", newest(&exchange));
    // Two of four others agree: with itself that is most.
    (2..=3).for_each(|node| hear(&mut clocks, node, at(2_000, 0)));
    exchange.hear_clocks(clocks.bounds(NodeId(1), nodes()));
    set(&mut exchange, at(3_000, 0), "k", "2").expect("sure");
    assert_eq!(newest(&exchange), at(3_000, 0).wall.middle_ms());
    // Its clock jumps. Two of five contradict, and two were not heard: it goes on from the last time that was sure.
    set(&mut exchange, at(5_000, HOUR), "k", "3").expect("unknown");
    assert_eq!(newest(&exchange), at(5_000, 0).wall.middle_ms());
    hear(&mut clocks, 4, at(6_000, 0));
    exchange.hear_clocks(clocks.bounds(NodeId(1), nodes()));
    let refused = set(&mut exchange, at(7_000, HOUR), "k", "4");
    assert_eq!(refused.map(|_| ()), Err(Refusal::Ahead { by_ms: HOUR }));
    assert_eq!(newest(&exchange), at(5_000, 0).wall.middle_ms(), "nothing was done");
    let mut out = Vec::new();
    exchange.tick(at(7_100, HOUR), &mut out);
    exchange.tick(at(7_200, HOUR), &mut out);
    exchange.tick(at(7_300, 0), &mut out);
    let said = out
        .iter()
        .filter(|it| matches!(it, Output::Report(Report::ClockAhead { by_ms: HOUR } | Report::ClockRight)));
    assert_eq!(said.count(), 2, "once each");
    set(&mut exchange, at(8_000, 0), "k", "5").expect("its clock is right again");
}

/// Conflicts on so many keys, each ended by a write of site 1.
fn decided(one: &mut Exchange, two: &mut Exchange, keys: u32) {
    for number in 0..keys {
        let key = format!("k{number}");
        let mine = set(one, at(100, 0), &key, "100").expect("a write");
        let theirs = set(two, at(100, 0), &key, "150").expect("a write");
        hand_over(at(100, 0), 2, &theirs, one);
        let last = set(one, at(200, 0), &key, "120").expect("a write");
        hand_over(at(200, 0), 1, &mine, two);
        hand_over(at(200, 0), 1, &last, two);
    }
}

#[test]
fn the_inbox_of_sites_is_bounded_in_bytes_and_age() {
    let limits = Limits { inbox_bytes_max: 4_000, ..Limits::default() };
    let (mut one, mut two) = (leader(1, limits), leader(2, limits));
    decided(&mut one, &mut two, 40);
    let held = |exchange: &Exchange| exchange.state().copy().decision_bytes();
    assert!(held(&one) > 4_000 && held(&one) == held(&two));
    let mut out = Vec::new();
    one.tick(at(300, 0), &mut out);
    assert!((1..=4_000).contains(&held(&one)), "{}", held(&one));
    assert!(out.iter().any(|it| matches!(it, Output::Report(Report::Forgot { count }) if *count > 5)));
    hand_over(at(300, 0), 1, &out, &mut two);
    assert_eq!(one.state().copy(), two.state().copy(), "what goes goes everywhere, and values stay");
    assert_eq!(one.state().copy().len(), 40);

    // A week later the rest is too old; site 1, which does not hear the other one any more, is the lowest.
    let later = at(8 * DAY as u64, 0);
    one.tick(later, &mut Vec::new());
    assert_eq!(held(&one), 0);
    assert!(held(&two) > 0);
}
