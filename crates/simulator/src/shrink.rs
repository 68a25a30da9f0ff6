//! Makes a failing run smaller: fewer kinds of faults, less time, fewer clients, then fewer strikes, as long as the same
//! property breaks.

use crate::faults::{Choice, Skip, Strike};
use crate::run::{Outcome, Plan, run};

/// Runs spent on shrinking at most: a guess at a person's patience.
const TRIES_MAX: usize = 60;
/// And on single strikes: as many again.
const STRIKE_TRIES_MAX: usize = 60;

/// The smallest failing run that was found, beginning with one that fails.
pub fn shrink(failing: Outcome) -> Outcome {
    without_strikes(without_kinds(failing))
}

fn property(outcome: &Outcome) -> Option<&'static str> {
    outcome.violation.as_ref().map(|violation| violation.property)
}

fn without_kinds(failing: Outcome) -> Outcome {
    let mut best = failing;
    let mut tries = 0;
    loop {
        let before = tries;
        let mut improved = false;
        for plan in smaller(&best) {
            if tries >= TRIES_MAX {
                return best;
            }
            tries += 1;
            let outcome = run(&plan);
            if property(&outcome).is_some() && property(&outcome) == property(&best) {
                best = outcome;
                improved = true;
                break;
            }
        }
        if !improved || tries == before {
            return best;
        }
    }
}

/// Leaves out strikes by halves, then by smaller and smaller parts.
///
/// Source: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002), the complements of `ddmin`.
fn without_strikes(failing: Outcome) -> Outcome {
    let (mut best, mut parts, mut tries) = (failing, 1, 0);
    loop {
        let fallen: Vec<Strike> = best.strikes.iter().map(|(_, strike)| *strike).collect();
        if fallen.is_empty() {
            return best;
        }
        let size = fallen.len().div_ceil(parts);
        let mut smaller = None;
        for part in fallen.chunks(size) {
            if tries >= STRIKE_TRIES_MAX {
                return best;
            }
            tries += 1;
            let skip = Skip(best.plan.skip.0.iter().chain(part).copied().collect());
            let outcome = run(&Plan { skip, ..best.plan.clone() });
            if property(&outcome).is_some() && property(&outcome) == property(&best) {
                smaller = Some(outcome);
                break;
            }
        }
        match smaller {
            Some(outcome) => {
                best = outcome;
                parts = parts.saturating_sub(1).max(1);
            }
            None if size == 1 => return best,
            None => parts = (parts * 2).min(fallen.len()),
        }
    }
}

/// Plans that are smaller in one respect.
fn smaller(outcome: &Outcome) -> Vec<Plan> {
    let plan = &outcome.plan;
    let mut plans = Vec::new();
    for left_out in &outcome.faults {
        let kinds = outcome.faults.iter().copied().filter(|kind| kind != left_out).collect();
        plans.push(Plan { choice: Choice::Only(kinds), ..plan.clone() });
    }
    let second = 1_000_000_000;
    if outcome.plan.time > 4 * second {
        for time in [plan.time / 2, plan.time * 3 / 4] {
            plans.push(Plan { time: time / second * second, ..plan.clone() });
        }
    }
    let clients = plan.clients.unwrap_or(10);
    if clients > 1 {
        plans.push(Plan { clients: Some(clients / 2), ..plan.clone() });
        plans.push(Plan { clients: Some(clients - 1), ..plan.clone() });
    }
    plans
}
