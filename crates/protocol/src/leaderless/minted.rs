//! What a replica minted for whom, so that a mint request that comes again gets the same delta; and what it declined, so that
//! a copy of the request that was long on its way is not minted after another replica was asked.
// bugs: LL-24

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use data::causal::{Causal, Object};
use data::codec::Writer;
use data::{NodeId, Process, RequestId};

/// The newest deltas by request.
///
/// Invariant: a request that is neither here nor above its origin's floor may have been minted; it is never minted again.
#[derive(Clone, Default, Debug)]
pub struct Minted {
    /// Nothing for what was declined.
    deltas: BTreeMap<RequestId, Option<Causal<Object>>>,
    /// The oldest first, with the encoded lengths of their deltas.
    order: VecDeque<(RequestId, usize)>,
    bytes: usize,
    /// Per coordinator the newest request that was let go.
    floors: BTreeMap<NodeId, (Process, u64)>,
}

pub enum Found<'a> {
    Done(&'a Causal<Object>),
    Declined,
    /// Let go, or perhaps never made: nobody knows any more.
    Forgotten,
    New,
}

impl Minted {
    pub fn find(&self, request: RequestId) -> Found<'_> {
        match self.deltas.get(&request) {
            Some(Some(delta)) => return Found::Done(delta),
            Some(None) => return Found::Declined,
            None => {}
        }
        let is_old = self
            .floors
            .get(&request.origin)
            .is_some_and(|floor| *floor >= (request.process, request.sequence));
        if is_old { Found::Forgotten } else { Found::New }
    }
    /// Keeps `count_max` requests and `bytes_max` bytes of deltas at most.
    pub fn insert(
        &mut self,
        request: RequestId,
        delta: Option<Causal<Object>>,
        count_max: usize,
        bytes_max: usize,
    ) {
        let mut encoded = Vec::new();
        delta.iter().for_each(|delta| delta.encode(&mut Writer::new(&mut encoded)));
        if self.deltas.insert(request, delta).is_none() {
            self.order.push_back((request, encoded.len()));
            self.bytes += encoded.len();
        }
        while self.order.len() > count_max || self.bytes > bytes_max {
            let Some((old, bytes)) = self.order.pop_front() else { return };
            self.bytes -= bytes;
            self.deltas.remove(&old);
            let floor = self.floors.entry(old.origin).or_default();
            *floor = (*floor).max((old.process, old.sequence));
        }
    }
}
