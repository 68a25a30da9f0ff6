//! The checker of the crate `todc-utils`, written by others after other papers, on the same random histories.

use crate::brute_force::is_linearizable_register;
use crate::rig::{Random, tiny_register, verdict};
use checker::{Action, Model, Operation, Status, Value};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action as Event, History};
use todc_utils::specifications::Specification;

#[derive(Clone, Debug)]
enum Step {
    Read(Option<Value>),
    Write(Option<Value>),
    Swap(Option<Value>, Value),
    /// May have happened: as it is called after all others at the latest, it may also change nothing anybody sees.
    UnknownSwap(Option<Value>, Value),
}

struct Register;

impl Specification for Register {
    type State = Option<Value>;
    type Operation = Step;

    fn init() -> Option<Value> {
        None
    }

    fn apply(step: &Step, state: &Option<Value>) -> (bool, Option<Value>) {
        match step {
            Step::Read(seen) => (seen == state, state.clone()),
            Step::Write(value) => (true, value.clone()),
            Step::Swap(expected, value) => (expected == state, Some(value.clone())),
            Step::UnknownSwap(expected, value) if expected == state => (true, Some(value.clone())),
            Step::UnknownSwap(..) => (true, state.clone()),
        }
    }
}

fn step(operation: &Operation) -> Option<Step> {
    match (&operation.action, operation.status) {
        (_, Status::Fail) => None,
        (Action::Read { seen }, Status::Ok) => Some(Step::Read(seen.clone())),
        (Action::Write { value }, _) => Some(Step::Write(value.clone())),
        (Action::Swap { expected, value }, Status::Ok) => Some(Step::Swap(expected.clone(), value.clone())),
        (Action::Swap { expected, value }, _) => Some(Step::UnknownSwap(expected.clone(), value.clone())),
        _ => None,
    }
}

/// What the other checker says. It knows complete operations only: what never came back responds after everything, where
/// a write that did not happen hinders nobody.
fn is_linearizable(history: &[Operation]) -> bool {
    // (time, calls before responses at one time, process)
    let mut events: Vec<(u64, bool, usize, Step)> = Vec::new();
    for (process, operation) in history.iter().enumerate() {
        let Some(step) = step(operation) else { continue };
        events.push((operation.start, false, process, step.clone()));
        events.push((operation.end, true, process, step));
    }
    events.sort_by_key(|(time, is_response, process, _)| (*time, *is_response, *process));
    let events: Vec<(usize, Event<Step>)> = events
        .into_iter()
        .map(|(_, is_response, process, step)| {
            (process, if is_response { Event::Response(step) } else { Event::Call(step) })
        })
        .collect();
    events.is_empty() || WGLChecker::<Register>::is_linearizable(History::from_actions(events))
}

#[test]
fn others_say_the_same_of_registers() {
    for (seed, values) in [(0x0b1e_0001, None), (0x0b1e_0002, Some(2)), (0x0b1e_0003, Some(4))] {
        let mut random = Random(seed);
        for number in 0..4_000 {
            let history = tiny_register(&mut random, values);
            let theirs = is_linearizable(&history);
            let ours = verdict(Model::Register, &history).is_good();
            let brute = is_linearizable_register(&history);
            assert_eq!((ours, theirs), (brute, brute), "history {number}: {history:#?}");
        }
    }
}
