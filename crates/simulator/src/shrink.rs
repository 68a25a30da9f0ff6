//! Makes a failing run smaller: fewer kinds of faults, less time, fewer clients, as long as the same property breaks.

use crate::faults::Choice;
use crate::run::{Outcome, Plan, run};

/// Runs spent on shrinking at most: a guess at a person's patience.
const TRIES_MAX: usize = 60;

/// The smallest failing run that was found, beginning with one that fails.
pub fn shrink(failing: Outcome) -> Outcome {
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
            let same = outcome.violation.as_ref().map(|violation| violation.property)
                == best.violation.as_ref().map(|violation| violation.property);
            if outcome.violation.is_some() && same {
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
