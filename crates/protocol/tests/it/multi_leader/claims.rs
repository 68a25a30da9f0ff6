//! CONFLICT block, told by hand: who agrees to what, and when it is let go.
// catalogue: J2
// bugs: TC-85, TC-86, TC-87

use super::sites::{CALM, Sites, set};
use data::SiteId;
use protocol::multi_leader::{Policy, Refusal, Topology, Unclaimed};

fn three() -> Sites {
    let mut sites = Sites::new(1, 3, Topology::AllToAll, Policy::Block);
    sites.weather = CALM;
    sites.run(100);
    sites
}

#[test]
fn nothing_is_written_without_a_claim() {
    let mut sites = three();
    assert_eq!(sites.write_all(1, &[("r0", set("a"))]), Err(Refusal::Unclaimed));
    sites.claim(1, &[("r0", set("a"))]).expect("asked");
    assert_eq!(sites.get(1, "r0"), "nothing", "one round trip is not over");
    sites.run(15);
    assert_eq!((sites.get(1, "r0"), sites.claims_won), ("a".into(), 1));
    sites.settle(5_000);
    assert_eq!(sites.oracle.violation, None);
}

#[test]
fn of_two_that_ask_at_once_the_lower_site_goes_first() {
    let mut sites = three();
    sites.claim(2, &[("r0", set("150"))]).expect("asked");
    sites.claim(1, &[("r0", set("100"))]).expect("asked");
    sites.claim(3, &[("r1", set("7"))]).expect("another key");
    sites.run(30);
    // Site 3 had agreed to one of the two; the other one of them waited for it in vain.
    assert_eq!(sites.claims_lost.len(), 1, "{:?}", sites.claims_lost);
    let (loser, why) = sites.claims_lost[0];
    let winner = SiteId(3 - loser.0);
    assert!(matches!(why, Unclaimed::Held { by } if by == winner), "{why}");
    sites.settle(5_000);
    assert_eq!(sites.get(3, "r0"), if winner == SiteId(1) { "100" } else { "150" });
    assert_eq!(sites.get(2, "r1"), "7");
    assert_eq!(sites.oracle.violation, None);
}

#[test]
fn a_site_that_lacks_the_last_write_is_refused_until_it_has_it() {
    let mut sites = three();
    // What site 1 sends takes long to site 3, and no time to site 2.
    sites.delays.insert((SiteId(1), SiteId(3)), 400);
    sites.claim(1, &[("r0", set("a"))]).expect("asked");
    sites.run(60);
    assert_eq!((sites.get(2, "r0"), sites.get(3, "r0")), ("a".into(), "nothing".into()));
    sites.claim(3, &[("r0", set("b"))]).expect("it knows of nothing");
    sites.run(30);
    // Site 2 agrees to other keys.
    assert_eq!(sites.claims_lost, [(SiteId(3), Unclaimed::Unseen { at: SiteId(2) })]);
    sites.claim(3, &[("r1", set("c"))]).expect("asked");
    sites.run(30);
    assert_eq!(sites.get(3, "r1"), "c");
    sites.delays.clear();
    sites.run(1_000);
    sites.claim(3, &[("r0", set("b"))]).expect("asked");
    sites.settle(5_000);
    assert_eq!(sites.get(1, "r0"), "b");
    assert_eq!(sites.oracle.violation, None);
}

/// The leader that claimed is gone: its successor's word says what became of the write, and the key is free.
#[test]
fn a_claim_ends_with_its_leader() {
    let mut sites = three();
    sites.claim(1, &[("r0", set("a"))]).expect("asked");
    sites.run(7);
    sites.failover(SiteId(1), 200);
    sites.run(100);
    // Both have agreed, and nobody knows yet whether it was written.
    assert!(matches!(sites.claim(2, &[("r0", set("b"))]), Err(Unclaimed::Held { by: SiteId(1) })));
    sites.run(400);
    sites.claim(2, &[("r0", set("b"))]).expect("asked");
    sites.settle(5_000);
    assert_eq!(sites.get(1, "r0"), "b");
    assert_eq!(sites.oracle.violation, None);
}

/// What it writes now is always on its way; what it wrote long ago is there.
#[test]
fn a_site_that_never_rests_lets_go_of_what_it_wrote() {
    let mut sites = Sites::new(1, 3, Topology::Circular, Policy::Block);
    sites.weather = CALM;
    // Its writes go by way of site 2, its word does not.
    sites.delays.insert((SiteId(1), SiteId(2)), 60);
    sites.run(100);
    sites.claim(1, &[("r0", set("a"))]).expect("asked");
    for n in 0..200 {
        sites.claim(1, &[(&format!("b{n}"), set("x"))]).expect("asked");
        sites.run(5);
    }
    sites.claim(3, &[("r0", set("b"))]).expect("nobody has a claim on it");
    sites.settle(5_000);
    assert_eq!(sites.get(1, "r0"), "b");
    assert_eq!(sites.oracle.violation, None);
}

#[test]
fn alone_a_site_is_refused_at_once_and_an_answer_too_late_is_none() {
    let mut sites = three();
    sites.isolate(1, 3_000);
    sites.claim(1, &[("r0", set("a"))]).expect("it does not know yet");
    sites.run(800);
    assert_eq!(sites.claims_lost, [(SiteId(1), Unclaimed::TooFew { agreed: 1, needed: 2 })]);
    let refused = sites.claim(1, &[("r0", set("a"))]);
    assert_eq!(refused, Err(Unclaimed::TooFew { agreed: 1, needed: 2 }));
    sites.claim(2, &[("r0", set("b"))]).expect("asked");
    sites.settle(5_000);
    assert_eq!(sites.get(1, "r0"), "b");
    assert_eq!(sites.oracle.violation, None);
}
