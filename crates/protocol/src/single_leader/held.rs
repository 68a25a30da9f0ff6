//! Whom a commit waited for: the followers' part of it, seen apart from the leader's own disk. Nothing here decides anything; it tells
//! who did, for the measurement of a write's latency.
// catalogue: C17

use super::commit::committed;
use super::replica::{Replica, Role};
use data::{Index, NodeId};

impl Replica {
    /// Whether as many followers hold the entry as every rule in force needs, whatever this leader's own disk says. Under a rule
    /// that waits for nobody they do at once.
    pub fn is_held_by_followers(&self, index: Index) -> bool {
        let (Role::Leader(leader), Some(view)) = (&self.role, &self.view) else { return false };
        leader.quorums(view).all(|(rule, electable)| {
            let persisted = |replica| Replica::persisted_by(leader, replica);
            committed(rule, electable, self.me.node, index, persisted) >= index
        })
    }

    /// Whether any rule in force waits for followers.
    pub fn waits_for_followers(&self) -> bool {
        let (Role::Leader(leader), Some(view)) = (&self.role, &self.view) else { return false };
        leader.quorums(view).any(|(rule, electable)| rule.followers_needed(electable.len()) > 0)
    }

    /// Which electable follower a message of `from` told to hold the entry: itself, or, where others are fed through it, the one of
    /// them that is farthest away, for all of them spoke before it did.
    pub fn told_of(&self, from: NodeId, index: Index) -> NodeId {
        let (Role::Leader(leader), Some(view)) = (&self.role, &self.view) else { return from };
        let behind = self.links.behind(from);
        let holds = |node: &NodeId| {
            let mut lives = view.electable.iter().filter(|replica| replica.node == *node);
            lives.any(|replica| Replica::persisted_by(leader, *replica) >= index)
        };
        behind.into_iter().filter(holds).max_by_key(|node| self.links.depth(*node)).unwrap_or(from)
    }
}
