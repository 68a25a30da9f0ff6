//! What a replica minted for whom, so that a mint request that comes again gets the same delta and the same answer; and what it
//! declined, so that a copy of the request that was long on its way is not minted after another replica was asked, or the client
//! was told that it did not fit.
// bugs: LL-24

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use data::causal::{Causal, Object, Outcome, Unfit};
use data::codec::Writer;
use data::{NodeId, Process, RequestId};

/// What became of a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Kept {
    Done(Causal<Object>, Outcome),
    /// Nothing was minted. With the reason, if it was the change itself: then it is the last word on the request.
    Declined(Option<Unfit>),
}

/// What became of the newest requests.
///
/// Invariant: a request that is neither here nor above its origin's floor may have been minted; it is never minted again.
#[derive(Clone, Default, Debug)]
pub struct Minted {
    requests: BTreeMap<RequestId, Kept>,
    /// The oldest first, with the encoded lengths of their deltas.
    order: VecDeque<(RequestId, usize)>,
    bytes: usize,
    /// Per coordinator the newest request that was let go.
    floors: BTreeMap<NodeId, (Process, u64)>,
}

pub enum Found<'a> {
    Kept(&'a Kept),
    /// Let go, or perhaps never made: nobody knows any more.
    Forgotten,
    New,
}

impl Minted {
    /// Remembers no request, and none above these was let go.
    pub fn with_floors(floors: impl Iterator<Item = (NodeId, Process, u64)>) -> Minted {
        let floors = floors.map(|(node, process, sequence)| (node, (process, sequence))).collect();
        Minted { floors, ..Minted::default() }
    }
    /// Lets all requests go.
    pub fn forget(&mut self) {
        self.shrink(0, 0);
    }
    pub fn floors(&self) -> impl Iterator<Item = (NodeId, Process, u64)> {
        self.floors.iter().map(|(node, (process, sequence))| (*node, *process, *sequence))
    }
    /// The oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (RequestId, &Kept)> {
        self.order.iter().filter_map(|(request, _)| Some((*request, self.requests.get(request)?)))
    }
    pub fn find(&self, request: RequestId) -> Found<'_> {
        if let Some(kept) = self.requests.get(&request) {
            return Found::Kept(kept);
        }
        let is_old = self
            .floors
            .get(&request.origin)
            .is_some_and(|floor| *floor >= (request.process, request.sequence));
        if is_old { Found::Forgotten } else { Found::New }
    }
    /// Keeps `count_max` requests and `bytes_max` bytes of deltas at most.
    pub fn insert(&mut self, request: RequestId, kept: Kept, count_max: usize, bytes_max: usize) {
        let mut encoded = Vec::new();
        if let Kept::Done(delta, _) = &kept {
            delta.encode(&mut Writer::new(&mut encoded));
        }
        if self.requests.insert(request, kept).is_none() {
            self.order.push_back((request, encoded.len()));
            self.bytes += encoded.len();
        }
        self.shrink(count_max, bytes_max);
    }
    fn shrink(&mut self, count_max: usize, bytes_max: usize) {
        while self.order.len() > count_max || self.bytes > bytes_max {
            let Some((old, bytes)) = self.order.pop_front() else { return };
            self.bytes -= bytes;
            self.requests.remove(&old);
            let floor = self.floors.entry(old.origin).or_default();
            *floor = (*floor).max((old.process, old.sequence));
        }
    }
}
