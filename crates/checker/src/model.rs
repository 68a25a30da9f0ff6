//! What a history can be asked, and what each question looks at.

use crate::operation::{Action, Operation};
use crate::verdict::Verdict;
use crate::{bank, convergence, counter, elements, register, session, staleness, unique};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a history is held against.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Model {
    /// Reads, writes and swaps of each key are linearizable.
    Register,
    /// Sets and lists keep what was added, once, and nothing else.
    Set,
    /// Sessions see registers move forward only.
    Session,
    /// Counters count each increment once.
    Counter,
    /// Accounts always add up to the same sum.
    Bank,
    /// Reads of registers are not older than a bound.
    Staleness,
    /// Copies are equal when all is at rest.
    Convergence,
    /// Nothing is given out twice.
    Unique,
}

impl Model {
    pub const ALL: [Model; 8] = [
        Model::Register,
        Model::Set,
        Model::Session,
        Model::Counter,
        Model::Bank,
        Model::Staleness,
        Model::Convergence,
        Model::Unique,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Model::Register => "register",
            Model::Set => "set",
            Model::Session => "session",
            Model::Counter => "counter",
            Model::Bank => "bank",
            Model::Staleness => "staleness",
            Model::Convergence => "convergence",
            Model::Unique => "unique",
        }
    }

    pub fn named(name: &str) -> Option<Model> {
        Model::ALL.into_iter().find(|model| model.name() == name)
    }

    /// One line for whoever chooses.
    pub fn about(self) -> &'static str {
        match self {
            Model::Register => "Reads, writes and swaps are linearizable, key by key",
            Model::Set => "Sets and lists: nothing lost, resurrected, invented or doubled",
            Model::Session => {
                "Read-your-writes, monotonic reads and writes, writes-follow-reads, consistent prefix"
            }
            Model::Counter => "Counters: every increment counts once",
            Model::Bank => "Accounts always add up to the same sum",
            Model::Staleness => "How old reads are",
            Model::Convergence => "Final reads of all copies are equal",
            Model::Unique => "Nothing is given out twice",
        }
    }

    /// Whether the model looks at an operation; it passes over all others.
    pub fn judges(self, operation: &Operation) -> bool {
        use Action::*;
        match self {
            Model::Register if operation.is_stale_read => false,
            Model::Register | Model::Session | Model::Staleness => {
                matches!(operation.action, Read { .. } | Write { .. } | Swap { .. })
            }
            Model::Set => {
                let action = &operation.action;
                matches!(action, Add { .. } | Remove { .. } | Members { .. } | Append { .. } | Range { .. })
            }
            Model::Counter => matches!(operation.action, Increment { .. } | Count { .. }),
            Model::Bank => matches!(operation.action, Transfer | Balances { .. }),
            Model::Convergence => operation.is_final && operation.action.is_read(),
            Model::Unique => matches!(operation.action, Issue { .. }),
        }
    }
}

/// What a judge needs to be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Searches are given up beyond so many states of one key; its verdict is "undecided" then.
    pub states_max: usize,
    /// How old a read may be, for [`Model::Staleness`]; without it, ages are only measured.
    pub staleness_ns_max: Option<u64>,
    /// What accounts add up to; without it, what the first of their reads saw.
    pub total: Option<i64>,
}

impl Default for Settings {
    fn default() -> Settings {
        // A guess: about a hundred MB for one key whose operations all overlap.
        Settings { states_max: 1_000_000, staleness_ns_max: None, total: None }
    }
}

/// The operations of one key, as places in the history, in the order of their starts.
pub(crate) struct Key<'a> {
    pub name: &'a Arc<str>,
    pub history: &'a [Operation],
    pub places: Vec<usize>,
}

impl<'a> Key<'a> {
    /// Each operation with its place.
    pub fn operations(&self) -> impl Iterator<Item = (usize, &'a Operation)> {
        self.places.iter().map(|at| (*at, &self.history[*at]))
    }
}

/// Holds a history against a model. Keys are judged one by one, in their order: equal histories get equal verdicts.
pub fn judge(history: &[Operation], model: Model, settings: &Settings) -> Verdict {
    let mut verdict = Verdict::new(model);
    let mut keys: BTreeMap<&Arc<str>, Vec<usize>> = BTreeMap::new();
    for (at, operation) in history.iter().enumerate().filter(|(_, it)| model.judges(it)) {
        verdict.judged(operation);
        keys.entry(&operation.key).or_default().push(at);
    }
    verdict.keys = keys.len() as u64;
    let mut ages = staleness::Ages::default();
    let mut compared = 0;
    for (name, mut places) in keys {
        places.sort_by_key(|at| (history[*at].start, history[*at].end, *at));
        let key = Key { name, history, places };
        match model {
            Model::Register => register::check(&key, settings, &mut verdict),
            Model::Set => elements::check(&key, settings, &mut verdict),
            Model::Session => session::check(&key, &mut verdict),
            Model::Counter => counter::check(&key, &mut verdict),
            Model::Bank => bank::check(&key, settings.total, &mut verdict),
            Model::Staleness => ages.check(&key, settings.staleness_ns_max, &mut verdict),
            Model::Convergence => compared += u64::from(convergence::check(&key, &mut verdict)),
            Model::Unique => unique::check(&key, &mut verdict),
        }
    }
    match model {
        Model::Staleness => verdict.measured = ages.measured(),
        Model::Convergence => verdict.measured.push(("keys_with_two_copies", compared)),
        _ => {}
    }
    verdict
}
