//! Followers that lag behind what the leader has in memory are served from its log on disk: piece by piece, one a tick, so
//! that catching up is felt by nobody, and in larger pieces as long as they do not gain on the log.
// catalogue: E3, E5

use crate::io::Output;
use crate::node::Node;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use data::{GroupId, Index, NodeId};

/// The smallest piece, bytes: at one a tick some 25 MiB a second.
const PIECE_BYTES: usize = 128 << 10;

/// How one follower gets on.
#[derive(Debug)]
struct Pace {
    piece: usize,
    /// Entries that it lacked when the last piece was read.
    gap: u64,
}

/// The followers of a group that are served from disk.
#[derive(Debug, Default)]
pub struct CatchUp {
    wanted: BTreeMap<NodeId, (Index, usize)>,
    paces: BTreeMap<NodeId, Pace>,
}

impl CatchUp {
    /// Entries from `from` on are wanted, at most `bytes_max` of them at a time.
    pub fn want(&mut self, to: NodeId, from: Index, bytes_max: usize) {
        self.wanted.insert(to, (from, bytes_max));
    }
    /// Takes what is to be read now, when the log ends at `last`: follower, first entry, bytes.
    fn due(&mut self, last: Index) -> Vec<(NodeId, Index, usize)> {
        let mut due = Vec::new();
        while let Some((to, (from, bytes_max))) = self.wanted.pop_first() {
            let gap = last.0.saturating_sub(from.0);
            let pace = self.paces.entry(to).or_insert(Pace { piece: PIECE_BYTES, gap: u64::MAX });
            pace.piece = if gap >= pace.gap { pace.piece * 2 } else { pace.piece / 2 };
            pace.piece = pace.piece.max(PIECE_BYTES).min(bytes_max);
            pace.gap = gap;
            due.push((to, from, pace.piece));
        }
        due
    }
}

impl Node {
    pub(crate) fn tend_catch_up(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let last = it.replica.log().last().position.index;
        for (to, from, bytes_max) in it.catch_up.due(last) {
            self.outputs.push(Output::ReadLog { group, to, from, bytes_max });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_while_a_follower_does_not_gain_and_shrink_again() {
        let mut catch_up = CatchUp::default();
        let (node, limit) = (NodeId(2), 1 << 20);
        let mut piece = |from: u64, last: u64| {
            catch_up.want(node, Index(from), limit);
            catch_up.due(Index(last)).first().map(|(_, _, bytes)| *bytes)
        };
        assert_eq!(piece(1, 1000), Some(PIECE_BYTES), "the first");
        assert_eq!(piece(100, 1100), Some(2 * PIECE_BYTES), "as far behind as before");
        assert_eq!(piece(200, 1300), Some(4 * PIECE_BYTES), "farther");
        assert_eq!((piece(300, 1500), piece(400, 1700)), (Some(limit), Some(limit)), "bounded");
        assert_eq!(piece(1000, 1800), Some(limit / 2), "nearer");
        assert_eq!(catch_up.due(Index(1800)), Vec::new(), "each want is answered once");
    }
}
