//! Lost, doubled, stale: pure functions of a history and of what was there in the end.

use std::collections::BTreeMap;

use super::history::{Event, History, Operation, Outcome, Register};

/// What a reader finds when all is over.
#[derive(Clone, Default)]
pub struct FinalState {
    pub counter: i64,
    /// Value per (client, number) of the keys used once; 0 for none.
    pub once: BTreeMap<(u32, u64), i64>,
    /// Items per client, in the order of its list.
    pub lists: BTreeMap<u32, Vec<u64>>,
    pub registers: BTreeMap<Register, i64>,
}

#[derive(Default, Debug)]
pub struct Verdict {
    /// Acknowledged writes that are not there.
    pub lost: usize,
    /// Writes that happened twice.
    pub doubled: usize,
    /// Reads of something older than what was known before they began.
    pub stale: usize,
    /// Writes that happened though they were refused, answers that no order explains.
    pub other: usize,
    /// Each of them as a sentence.
    pub findings: Vec<String>,
}

enum Kind {
    Lost,
    Doubled,
    Stale,
    Other,
}

impl Verdict {
    fn find(&mut self, kind: Kind, text: String) {
        match kind {
            Kind::Lost => self.lost += 1,
            Kind::Doubled => self.doubled += 1,
            Kind::Stale => self.stale += 1,
            Kind::Other => self.other += 1,
        }
        self.findings.push(text);
    }
}

pub fn judge(history: &History, end: &FinalState) -> Verdict {
    let mut verdict = Verdict::default();
    judge_once(history, end, &mut verdict);
    judge_lists(history, end, &mut verdict);
    judge_counter(history, end, &mut verdict);
    judge_registers(history, end, &mut verdict);
    verdict
}

/// A write that happened `times` although the client was told `outcome`.
fn judge_times(outcome: Outcome, times: i64, what: &str, verdict: &mut Verdict) {
    match (outcome, times) {
        (Outcome::Ok(_), 1) | (Outcome::Refused, 0) | (Outcome::Unknown, 0 | 1) => {}
        (Outcome::Ok(_), 0) => verdict.find(Kind::Lost, format!("{what} was acknowledged and is not there")),
        (Outcome::Refused, _) => {
            verdict.find(Kind::Other, format!("{what} was refused and happened {times} times"))
        }
        _ => verdict.find(Kind::Doubled, format!("{what} happened {times} times")),
    }
}

fn judge_once(history: &History, end: &FinalState, verdict: &mut Verdict) {
    for event in &history.events {
        let Operation::Once { number } = event.operation else { continue };
        let times = end.once.get(&(event.client, number)).copied().unwrap_or(0);
        judge_times(event.outcome, times, &format!("increment {number} of client {}", event.client), verdict);
    }
}

fn judge_lists(history: &History, end: &FinalState, verdict: &mut Verdict) {
    let mut times: BTreeMap<(u32, u64), i64> = BTreeMap::new();
    for (&client, items) in &end.lists {
        for &item in items {
            *times.entry((client, item)).or_default() += 1;
        }
    }
    for event in &history.events {
        let Operation::Append { number } = event.operation else { continue };
        let times = times.get(&(event.client, number)).copied().unwrap_or(0);
        judge_times(event.outcome, times, &format!("item {number} of client {}", event.client), verdict);
    }
}

/// Every answer of a counter is its place in the one order: places differ, and who began later stands later.
fn judge_counter(history: &History, end: &FinalState, verdict: &mut Verdict) {
    let counts: Vec<&Event> = history.events.iter().filter(|e| e.operation == Operation::Count).collect();
    let mut answered: Vec<(i64, &Event)> = Vec::new();
    let mut unknown = 0;
    for &event in &counts {
        match event.outcome {
            Outcome::Ok(place) => answered.push((place, event)),
            Outcome::Unknown => unknown += 1,
            Outcome::Refused => {}
        }
    }
    let known = answered.len() as i64;
    if end.counter < known {
        let text = format!("the counter is {} after {known} acknowledged increments", end.counter);
        verdict.find(Kind::Lost, text);
    }
    if end.counter > known + unknown {
        let text = format!("the counter is {} after at most {} increments", end.counter, known + unknown);
        verdict.find(Kind::Doubled, text);
    }
    answered.sort_by_key(|(place, event)| (*place, event.answered_us));
    for pair in answered.windows(2) {
        if pair[0].0 == pair[1].0 {
            verdict.find(Kind::Lost, format!("two increments were both answered {}", pair[0].0));
        }
    }
    // From the last place down: who stands here must not have begun after somebody further on was answered.
    let mut first_answer_after = u64::MAX;
    for (place, event) in answered.iter().rev() {
        if event.asked_us > first_answer_after {
            let text = format!("increment {place} began after a later place was already answered");
            verdict.find(Kind::Other, text);
        }
        first_answer_after = first_answer_after.min(event.answered_us);
    }
}

fn judge_registers(history: &History, end: &FinalState, verdict: &mut Verdict) {
    let mut by_register: BTreeMap<Register, (Vec<&Event>, Vec<&Event>)> = BTreeMap::new();
    for event in &history.events {
        match event.operation {
            Operation::Write { register, .. } => by_register.entry(register).or_default().0.push(event),
            Operation::Read { register } => by_register.entry(register).or_default().1.push(event),
            _ => {}
        }
    }
    let last = history.events.iter().map(|e| e.answered_us).max().unwrap_or(0);
    for (register, (writes, mut reads)) in by_register {
        let final_read = end.registers.get(&register).map(|&value| Event {
            client: u32::MAX,
            operation: Operation::Read { register },
            asked_us: last + 1,
            answered_us: last + 2,
            outcome: Outcome::Ok(value),
        });
        reads.extend(&final_read);
        judge_register(register, &writes, &reads, verdict);
    }
}

/// One writer with growing values: a read must see the last write that was acknowledged before it began or a later
/// one, nothing that was not yet asked for, and nothing older than a read that ended before it began.
fn judge_register(register: Register, writes: &[&Event], reads: &[&Event], verdict: &mut Verdict) {
    let name = register.key();
    let mut answered_writes: Vec<(u64, i64)> = Vec::new();
    let mut writes_by_value: BTreeMap<i64, &Event> = BTreeMap::new();
    for event in writes {
        let Operation::Write { value, .. } = event.operation else { continue };
        writes_by_value.insert(value, event);
        if let Outcome::Ok(_) = event.outcome {
            answered_writes.push((event.answered_us, value));
        }
    }
    let values = |events: &[&Event]| -> Vec<(u64, u64, i64)> {
        let read = |e: &&Event| {
            if let Outcome::Ok(v) = e.outcome { Some((e.asked_us, e.answered_us, v)) } else { None }
        };
        events.iter().filter_map(read).collect()
    };
    let mut by_begin = values(reads);
    by_begin.sort_unstable();
    // Both kinds of knowledge, writes acknowledged and reads answered, in the order in which they were gained.
    let read_knowledge = by_begin.iter().map(|&(_, end, value)| (end, value, false));
    let mut known: Vec<(u64, i64, bool)> =
        answered_writes.iter().map(|&(end, value)| (end, value, true)).chain(read_knowledge).collect();
    known.sort_unstable();
    let mut known = known.into_iter().peekable();
    let (mut newest, mut is_write) = (0, false);
    for (asked, answered, value) in by_begin {
        while let Some((_, seen, by_write)) = known.next_if(|(end, _, _)| *end < asked) {
            if seen > newest {
                (newest, is_write) = (seen, by_write);
            }
        }
        if value < newest && asked > 0 {
            let source = if is_write { "acknowledged" } else { "read" };
            let text = format!("{name}: read {value} at {asked} µs, after {newest} had been {source}");
            verdict
                .find(if register_ended(reads, asked) && is_write { Kind::Lost } else { Kind::Stale }, text);
        }
        match writes_by_value.get(&value) {
            _ if value == 0 => {}
            None => verdict.find(Kind::Other, format!("{name}: read {value}, which nobody wrote")),
            Some(write) if write.outcome == Outcome::Refused => {
                verdict.find(Kind::Other, format!("{name}: read {value}, whose write was refused"));
            }
            Some(write) if write.asked_us > answered => {
                verdict.find(Kind::Other, format!("{name}: read {value} before it was written"));
            }
            Some(_) => {}
        }
    }
}

/// Whether the read that began at `asked` is the last of all: what it misses is lost, not late.
fn register_ended(reads: &[&Event], asked: u64) -> bool {
    reads.iter().all(|read| read.asked_us <= asked && (read.asked_us < asked || read.client == u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const R: Register = Register { owner: 1, generation: 0 };

    fn event(operation: Operation, asked_us: u64, answered_us: u64, outcome: Outcome) -> Event {
        Event { client: 1, operation, asked_us, answered_us, outcome }
    }

    fn verdict(events: Vec<Event>, end: FinalState) -> Verdict {
        judge(&History { events, ..History::default() }, &end)
    }

    fn once(outcome: Outcome, times: i64) -> Verdict {
        let end = FinalState { once: BTreeMap::from([((1, 7), times)]), ..FinalState::default() };
        verdict(vec![event(Operation::Once { number: 7 }, 1, 2, outcome)], end)
    }

    #[test]
    fn a_key_used_once_shows_loss_and_repetition() {
        assert!(once(Outcome::Ok(1), 1).findings.is_empty());
        assert!(once(Outcome::Unknown, 0).findings.is_empty());
        assert!(once(Outcome::Unknown, 1).findings.is_empty());
        assert_eq!(once(Outcome::Ok(1), 0).lost, 1);
        assert_eq!(once(Outcome::Ok(1), 2).doubled, 1);
        assert_eq!(once(Outcome::Unknown, 2).doubled, 1);
        assert_eq!(once(Outcome::Refused, 1).other, 1);
    }

    #[test]
    fn a_list_shows_loss_and_repetition() {
        let append = |number| event(Operation::Append { number }, 1, 2, Outcome::Ok(1));
        let end = FinalState { lists: BTreeMap::from([(1, vec![5, 5])]), ..FinalState::default() };
        let verdict = verdict(vec![append(5), append(6)], end);
        assert_eq!((verdict.lost, verdict.doubled), (1, 1));
    }

    #[test]
    fn counter_places_follow_real_time() {
        let count = |asked, answered, place| event(Operation::Count, asked, answered, Outcome::Ok(place));
        let end = |counter| FinalState { counter, ..FinalState::default() };
        assert!(verdict(vec![count(1, 5, 2), count(2, 6, 1)], end(2)).findings.is_empty());
        assert_eq!(verdict(vec![count(1, 2, 2), count(3, 4, 1)], end(2)).other, 1);
        assert_eq!(verdict(vec![count(1, 2, 1), count(3, 4, 1)], end(2)).lost, 1);
        assert_eq!(verdict(vec![count(1, 2, 1), count(3, 4, 2)], end(1)).lost, 1);
        assert_eq!(verdict(vec![count(1, 2, 1)], end(2)).doubled, 1);
    }

    fn registers(reads: &[(u64, u64, i64)], last: i64) -> Verdict {
        let write = |value, asked, answered, outcome| {
            event(Operation::Write { register: R, value }, asked, answered, outcome)
        };
        let mut events = vec![
            write(1, 10, 20, Outcome::Ok(0)),
            write(2, 30, 40, Outcome::Refused),
            write(3, 50, 60, Outcome::Ok(0)),
            write(4, 70, 80, Outcome::Unknown),
        ];
        let read =
            |&(a, b, v): &(u64, u64, i64)| event(Operation::Read { register: R }, a, b, Outcome::Ok(v));
        events.extend(reads.iter().map(read));
        verdict(events, FinalState { registers: BTreeMap::from([(R, last)]), ..FinalState::default() })
    }

    #[test]
    fn an_unknown_write_may_show_up_late_or_never() {
        assert!(registers(&[(15, 16, 0), (21, 22, 1), (90, 91, 3), (95, 96, 4)], 4).findings.is_empty());
        assert!(registers(&[(90, 91, 3)], 3).findings.is_empty());
    }

    #[test]
    fn each_way_to_read_wrongly_is_found() {
        assert_eq!(registers(&[(21, 22, 0)], 3).stale, 1, "older than an acknowledged write");
        assert_eq!(registers(&[(90, 91, 4), (92, 93, 3)], 4).stale, 1, "older than an earlier read");
        assert_eq!(registers(&[(11, 12, 3)], 3).other, 1, "from the future");
        assert_eq!(registers(&[(35, 45, 2)], 3).other, 1, "a refused write");
        assert_eq!(registers(&[(91, 92, 9)], 9).other, 2, "nobody's value");
        assert_eq!(registers(&[], 1).lost, 1, "an acknowledged write is gone in the end");
    }
}
