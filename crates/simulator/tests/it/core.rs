//! The core that a cluster must serve with: a majority, and no less.

use data::NodeId;
use simulator::faults::{Choice, Mix};
use simulator::scenario::Scenario;
use simulator::world::World;
use std::collections::BTreeSet;

#[test]
fn a_majority_suffices_and_one_of_three_does_not() {
    let mix = Mix::draw(1, Some(3), &Choice::Only(Vec::new()));
    let mut world = World::new(1, mix, Scenario::SplitBrain.spaces(), false);
    world.run_until(world.now + 3_000_000_000);
    let core = |ids: &[u32]| ids.iter().map(|id| NodeId(*id)).collect::<BTreeSet<_>>();
    assert!(world.suffices(&core(&[1, 2])) && world.suffices(&core(&[2, 3])));
    assert!(!world.suffices(&core(&[1])) && !world.suffices(&core(&[])));
    assert!(world.may_lose(NodeId(2)));
    world.stop(NodeId(1), false);
    world.hosts.remove(&NodeId(1));
    assert!(!world.may_lose(NodeId(2)), "one copy is gone already");
}
