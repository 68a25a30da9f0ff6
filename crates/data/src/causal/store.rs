//! What every causal value can do, and the pair of value and context that is a state or a delta.

use super::codec::{Decoder, Encoder, Legend};
use super::context::Context;
use super::dot::{Mark, Write};
use super::stamp::Stamp;
use crate::codec::{DecodeError, Reader, Writer};
use crate::value::Blob;
use alloc::vec::Vec;
use core::fmt::Debug;

/// A causal value without its context, which lies beside it: one for a whole shard at rest, one of its own in a
/// delta.
///
/// Law: over all values that mutators can make, `join` with the contexts merged beside it is commutative, associative
/// and idempotent, so the state is a function of the set of deltas that arrived (ML-15). `tests/it/causal` holds each
/// type to it.
pub trait Store: Clone + Default + PartialEq + Debug {
    /// Whether a last-write-wins register can lie in it, so that merging may report losers.
    const MAY_LOSE: bool = false;
    /// Whether deletes can leave something behind in it that a barrier lets go.
    const MAY_REMAIN: bool = false;

    /// Takes over what the other one knows. `own` and `theirs` are the contexts before the merge.
    fn join(&mut self, own: &Context, other: &Self, theirs: &Context, losers: &mut Losers);
    /// Equal to a store that was never written: nothing needs to be kept.
    fn is_bottom(&self) -> bool;
    /// Whether a reader sees something. What is neither alive nor bottom is residue: it keeps deletes deleted.
    fn is_alive(&self) -> bool;
    /// The highest mark of what a reader sees.
    fn newest(&self) -> Option<Mark>;
    /// A delta that removes exactly what is seen here; what is concurrent survives it (ML-06).
    fn clear(&self, write: &mut Write<'_>) -> Causal<Self>;

    /// Adds the dots of its residue: of what is kept only so that a delete stays one, and needs nothing else of this value.
    fn residue(&self, _: &mut Context) {}
    /// Lets that residue go which the context names and which is residue still. Only behind a barrier: whoever could still
    /// bring what was deleted must know of the delete (`crates/protocol/src/leaderless/barrier.rs`).
    fn collect(&mut self, _: &Context) {}

    /// Tells the legend what `encode` is going to name.
    fn note(&self, legend: &mut Legend);
    fn encode(&self, encoder: &mut Encoder<'_, '_>);
    /// # Errors
    /// When the bytes are not what `encode` writes.
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError>;
}

/// A value that last-write-wins let go although the winner had not seen it: for the inbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    /// The fields of the maps on the way to it.
    pub path: Vec<Blob>,
    pub mark: Mark,
    /// `None` when a delete lost.
    pub value: Option<Blob>,
    pub winner: Mark,
}

/// Collects what a merge let go. A value may be reported by several replicas: its mark tells that it is the same one.
#[derive(Default, Debug)]
pub struct Losers {
    pub(super) path: Vec<Blob>,
    pub lost: Vec<Lost>,
}

impl Losers {
    pub(super) fn push(&mut self, mark: Mark, value: Option<Blob>, winner: Mark) {
        self.lost.push(Lost { path: self.path.clone(), mark, value, winner });
    }
}

/// A value with a context: a state on its own, or a delta.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Causal<S> {
    pub store: S,
    /// In a delta exactly the dots that it mints, removes or brings along, all of them dots of its key.
    pub context: Context,
}

impl<S: Store> Causal<S> {
    pub fn new() -> Causal<S> {
        Causal::default()
    }
    /// Takes over a state or a delta; two deltas become one that does what both do. Returns what last-write-wins let
    /// go.
    pub fn merge(&mut self, other: &Causal<S>) -> Vec<Lost> {
        let mut losers = Losers::default();
        self.store.join(&self.context, &other.store, &other.context, &mut losers);
        self.context.merge(&other.context);
        losers.lost
    }
    /// As [`Causal::merge`], for deltas of one write: nothing in them competes.
    #[must_use]
    pub fn and(mut self, other: &Causal<S>) -> Causal<S> {
        self.merge(other);
        self
    }
    /// The same delta, of what the store is a part of.
    pub(super) fn map<T>(self, wrap: impl FnOnce(S) -> T) -> Causal<T> {
        Causal { store: wrap(self.store), context: self.context }
    }
    /// Legend, context, value.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        let mut encoder = Encoder::new(writer, self.legend());
        self.context.encode_in(&mut encoder);
        self.store.encode(&mut encoder);
    }
    /// Reads all of the input.
    ///
    /// # Errors
    /// When it is not what [`Causal::encode`] writes.
    pub fn decode(input: &[u8]) -> Result<Causal<S>, DecodeError> {
        let mut decoder = Decoder::new(Reader::new(input))?;
        let context = Context::decode_in(&mut decoder)?;
        let causal = Causal { store: S::decode(&mut decoder)?, context };
        decoder.end(&causal.legend())?;
        Ok(causal)
    }
    /// The newest stamp in it, deletes included: what the clock of whoever takes it over must have observed, and
    /// refuses if it lies too far ahead (LL-02).
    pub fn newest_stamp(&self) -> Option<Stamp> {
        self.legend().newest()
    }
    fn legend(&self) -> Legend {
        let mut legend = Legend::default();
        self.context.note(&mut legend);
        self.store.note(&mut legend);
        legend
    }
}

/// A store alone, as it lies in a table and as it is hashed: the context is the shard's.
pub fn encode_store<S: Store>(store: &S, writer: &mut Writer<'_>) {
    store.encode(&mut Encoder::new(writer, legend_of(store)));
}

/// Length of what [`encode_store`] writes.
pub fn encoded_len<S: Store>(store: &S) -> usize {
    let mut bytes = Vec::new();
    encode_store(store, &mut Writer::new(&mut bytes));
    bytes.len()
}

/// Reads what [`encode_store`] wrote, all of the input.
///
/// # Errors
/// When it is something else.
pub fn decode_store<S: Store>(input: &[u8]) -> Result<S, DecodeError> {
    let mut decoder = Decoder::new(Reader::new(input))?;
    let store = S::decode(&mut decoder)?;
    decoder.end(&legend_of(&store))?;
    Ok(store)
}

fn legend_of<S: Store>(store: &S) -> Legend {
    let mut legend = Legend::default();
    store.note(&mut legend);
    legend
}
