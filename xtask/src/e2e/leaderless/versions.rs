//! The judge of versions: of SETV behind GETV each value stays until a write that saw it, and then never comes back. Nobody else
//! decides between concurrent values, so none may be missing, and none that was replaced may be there.
// catalogue: J8 K10 K12

use std::collections::BTreeMap;

use super::history::{Did, Event, Outcome};

/// What contradicts what; empty where all is well. `judges_all`: every look meets what was acknowledged before it began.
pub fn judge(events: &[&Event], judges_all: bool) -> Vec<String> {
    let mut keys: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events {
        keys.entry(&event.key).or_default().push(event);
    }
    keys.iter().flat_map(|(key, events)| judge_key(key, events, judges_all)).collect()
}

struct Put<'e> {
    value: i64,
    saw: &'e [i64],
    event: &'e Event,
}

impl Put<'_> {
    fn of(event: &Event) -> Option<Put<'_>> {
        match &event.did {
            Did::Put { value, saw } => Some(Put { value: *value, saw, event }),
            _ => None,
        }
    }
}

fn judge_key(key: &str, events: &[&Event], judges_all: bool) -> Vec<String> {
    let puts: Vec<Put<'_>> = events.iter().filter_map(|event| Put::of(event)).collect();
    let mut found = Vec::new();
    for look in events.iter().filter(|it| it.outcome == Outcome::Ok) {
        let Did::Look { seen } = &look.did else { continue };
        for (at, value) in seen.iter().enumerate() {
            let put = puts.iter().find(|it| it.value == *value);
            if put
                .is_none_or(|it| it.event.asked_us > look.answered_us || it.event.outcome == Outcome::Refused)
            {
                found.push(format!("{key}: {value} is seen, and nobody put it, or was refused"));
            }
            if seen[..at].contains(value) {
                found.push(format!("{key}: {value} is there twice"));
            }
        }
        if !judges_all && !look.is_final {
            continue;
        }
        let before = |it: &&Put<'_>| it.event.outcome == Outcome::Ok && it.event.answered_us < look.asked_us;
        for put in puts.iter().filter(before) {
            for value in seen.iter().filter(|value| put.saw.contains(value)) {
                let text =
                    format!("{key}: {value} was replaced by {} at {} us", put.value, put.event.answered_us);
                found.push(format!("{text}, and is seen at {} us", look.asked_us));
            }
            let may_be_replaced = puts.iter().any(|it| {
                it.saw.contains(&put.value)
                    && it.event.outcome != Outcome::Refused
                    && it.event.asked_us <= look.answered_us
            });
            if !seen.contains(&put.value) && !may_be_replaced {
                let text = format!(
                    "{key}: {} was put at {} us, nobody replaced it",
                    put.value, put.event.answered_us
                );
                found.push(format!("{text}, and a look at {} us misses it", look.asked_us));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(did: Did, at: u64, outcome: Outcome) -> Event {
        Event {
            client: 1,
            keyspace: 0,
            key: "k".into(),
            did,
            asked_us: at,
            answered_us: at + 5,
            outcome,
            is_final: false,
        }
    }
    fn put(value: i64, saw: &[i64], at: u64, outcome: Outcome) -> Event {
        event(Did::Put { value, saw: saw.to_vec() }, at, outcome)
    }
    fn look(seen: &[i64], at: u64) -> Event {
        event(Did::Look { seen: seen.to_vec() }, at, Outcome::Ok)
    }
    fn count(events: &[Event]) -> usize {
        judge(&events.iter().collect::<Vec<_>>(), true).len()
    }

    #[test]
    fn concurrent_values_stay_until_they_are_seen() {
        use Outcome::{Ok, Refused, Unknown};
        let siblings = || vec![put(1, &[], 10, Ok), put(2, &[], 12, Ok)];
        let then = |more: &[Event]| {
            let mut events = siblings();
            events.extend_from_slice(more);
            count(&events)
        };
        assert_eq!(then(&[look(&[2, 1], 20)]), 0);
        assert_eq!(then(&[look(&[2], 20)]), 1, "one is missing");
        assert_eq!(then(&[look(&[2, 1, 1], 20)]), 1, "one is there twice");
        assert_eq!(then(&[look(&[2, 1, 9], 20)]), 1, "nobody put it");
        assert_eq!(then(&[put(3, &[1, 2], 30, Ok), look(&[3], 40)]), 0);
        assert_eq!(then(&[put(3, &[1, 2], 30, Ok), look(&[3, 1], 40)]), 1, "what was replaced is back");
        assert_eq!(then(&[put(3, &[1], 30, Ok), look(&[3], 40)]), 1, "it replaced what it saw and no more");
        for seen in [&[1, 2][..], &[3]] {
            assert_eq!(then(&[put(3, &[1, 2], 30, Unknown), look(seen, 40)]), 0);
        }
        assert_eq!(
            then(&[put(3, &[1, 2], 30, Refused), look(&[3], 40)]),
            3,
            "it was refused, and two are gone"
        );
    }

    #[test]
    fn where_quorums_need_not_meet_only_the_last_looks_are_held_to_it() {
        let missed = look(&[], 20);
        let last = Event { is_final: true, ..look(&[], 30) };
        let one = put(1, &[], 10, Outcome::Ok);
        assert!(judge(&[&one, &missed], false).is_empty());
        assert_eq!(judge(&[&one, &missed, &last], false).len(), 1);
    }
}
