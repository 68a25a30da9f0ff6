//! What clients saw, judged at the end of a run by `checker`, which knows nothing of the cluster. Here stands what a
//! keyspace promises, and what needs knowledge of expiry.

pub mod quorum;
pub mod site;

use crate::history::{Did, Operation, Outcome};
use crate::invariants::Violation;
use crate::workload::quorum::{is_agreed, is_strict};
use crate::workload::sites::is_swapped;
use checker::{Action, Kind, Model};
use std::collections::BTreeMap;

/// What a history adds up to.
#[derive(Default)]
pub struct Verdict {
    pub violation: Option<Violation>,
    pub acknowledged: u64,
    /// Acknowledged writes that are gone, in keyspaces that do not promise to keep them.
    pub lost: u64,
    pub copies: Copies,
    /// Answers that were seen on followers' copies before their questions.
    pub answers_first: u64,
    /// Reads that went back in sessions that went from node to node without a token.
    pub went_back: u64,
}

/// What was read from followers' copies, and how old it was.
#[derive(Clone, Copy, Default, Debug)]
pub struct Copies {
    pub reads: u64,
    /// A newer value had been acknowledged before.
    pub stale: u64,
    pub age_ns_max: u64,
}

impl std::ops::AddAssign for Copies {
    fn add_assign(&mut self, more: Copies) {
        self.reads += more.reads;
        self.stale += more.stale;
        self.age_ns_max = self.age_ns_max.max(more.age_ns_max);
    }
}

type ByKey<'a> = BTreeMap<(usize, &'a str), Vec<&'a Operation>>;

/// `durable`: by keyspace, whether what was acknowledged must survive; `returns`: whether what an election lost may come back.
/// `quorums`: by keyspace, what its quorums promise if it is leaderless; `has_sites`: whether it is multi-leader; `calm_at`: since when everything was in order.
pub fn judge(
    history: &[Operation],
    durable: &[bool],
    returns: &[bool],
    quorums: &[Option<crate::world::Quorums>],
    has_sites: &[bool],
    calm_at: u64,
) -> Verdict {
    let mut verdict = Verdict::default();
    let mut keys: ByKey<'_> = BTreeMap::new();
    verdict.violation = history.iter().find_map(shows_nothing);
    for operation in history {
        if operation.outcome == Outcome::Ok && !is_read(&operation.did) {
            verdict.acknowledged += 1;
        }
        keys.entry((operation.keyspace, &operation.key)).or_default().push(operation);
    }
    for ((keyspace, key), operations) in keys {
        let keeps = durable.get(keyspace).copied().unwrap_or(false);
        // What copies or sites agreed on has one order, as with a leader.
        let is_in_order = is_agreed(key) || is_swapped(key);
        let promise = quorums.get(keyspace).copied().flatten().filter(|_| !is_in_order);
        // What was asked for without stand-ins is promised without them, whatever the keyspace takes.
        let promise = promise.map(|it| crate::world::Quorums { strict: it.strict || is_strict(key), ..it });
        let lost = match operations.first().map(|operation| &operation.did) {
            // With homes a key has one order: judged below.
            _ if has_sites.get(keyspace) == Some(&true) && promise.is_some() => {
                promise.map_or(Ok(0), |promise| site::judge(&operations, promise, calm_at))
            }
            _ if promise.is_some() => {
                promise.map_or(Ok(0), |promise| quorum::judge(&operations, promise, calm_at))
            }
            Some(Did::SetExpiring { .. } | Did::ReadExpiring { .. }) => expiring(&operations, keeps),
            Some(Did::Observe { .. }) => observed(&operations, &mut verdict.answers_first),
            _ => {
                let loses =
                    if returns.get(keyspace) == Some(&true) { Loses::AndReturns } else { Loses::ForGood };
                judged(&operations, keeps, loses, &mut verdict.copies)
            }
        };
        let lost = lost.and_then(|lost| {
            verdict.went_back += roaming(&operations)?;
            Ok(lost)
        });
        match lost {
            Ok(lost) => verdict.lost += lost,
            Err(violation) => {
                let text = format!("keyspace {keyspace} key {key}: {}", violation.text);
                verdict.violation.get_or_insert(Violation { text, ..violation });
            }
        }
    }
    verdict
}

/// A copy that has applied nothing, not even the first entry of its group, has not been level with any leader.
///
/// bugs: SL-21
fn shows_nothing(operation: &Operation) -> Option<Violation> {
    let empty = operation.place.from_copy && operation.place.index == Some(0);
    let text = format!("{} was read from an empty copy on {}", operation.key, operation.node);
    empty.then_some(Violation { property: "an empty copy is not shown", text })
}

pub fn is_read(did: &Did) -> bool {
    matches!(
        did,
        Did::Read { .. }
            | Did::Count { .. }
            | Did::Members { .. }
            | Did::Range { .. }
            | Did::Total { .. }
            | Did::ReadExpiring { .. }
            | Did::Observe { .. }
            | Did::Anything
    )
}

fn always(property: &'static str, text: String) -> Result<u64, Violation> {
    Err(Violation { property, text })
}

/// What judges that know nothing of the cluster say about one key.
fn judged(
    operations: &[&Operation],
    keeps: bool,
    loses: Loses,
    copies: &mut Copies,
) -> Result<u64, Violation> {
    let clients: Vec<checker::Operation> = operations.iter().filter_map(|it| recorded(it, keeps)).collect();
    let Some((model, property)) = clients.first().and_then(model) else { return Ok(0) };
    let lost = held_against(&clients, model, property, keeps, loses)?;
    if operations.iter().any(|it| it.place.session.is_some()) {
        let asked = |it: &&&Operation| it.place.roamed != Some(false) || !is_read(&it.did);
        let sessions =
            operations.iter().filter(asked).filter_map(|it| recorded(it, keeps)).collect::<Vec<_>>();
        held_against(&sessions, Model::Session, "sessions move forward", keeps, loses)?;
        if keeps {
            bounded(operations)?;
        }
        *copies += ages(clients);
    }
    Ok(lost)
}

/// Clocks of nodes may count half of what passes, and the simulated ones do.
const SLOW_CLOCK: u64 = 2;

/// What copies showed was no older than their readers had allowed.
fn bounded(operations: &[&Operation]) -> Result<(), Violation> {
    let mut bounds: Vec<u64> = operations.iter().filter_map(|it| it.place.staleness_ms_max).collect();
    bounds.sort_unstable();
    bounds.dedup();
    for bound in bounds {
        let asked = |it: &&&Operation| it.place.staleness_ms_max == Some(bound) || !is_read(&it.did);
        let asked = operations.iter().filter(asked).filter_map(|it| it.recorded()).collect::<Vec<_>>();
        let staleness_ns_max = Some(bound * SLOW_CLOCK * 1_000_000);
        let settings = checker::Settings { staleness_ns_max, ..checker::Settings::default() };
        let verdict = checker::judge(&asked, Model::Staleness, &settings);
        if let Some(found) = verdict.violations.iter().find(|it| it.kind == Kind::Stale) {
            always("copies are as fresh as was asked for", format!("at most {bound} ms: {}", found.text))?;
        }
    }
    Ok(())
}

/// Sessions that go from node to node. With a token none goes back, whatever an election lost: it is told, and begins anew.
/// Without one, how often one went back.
///
/// Only what is certain counts: an acknowledged write that ended before another one began is older, in any history.
fn roaming(operations: &[&Operation]) -> Result<u64, Violation> {
    let mut written: BTreeMap<i64, &Operation> = BTreeMap::new();
    for operation in operations {
        if let Did::Write { value } = operation.did {
            written.insert(value, operation);
        }
    }
    let is_older = |value: Option<i64>, than: i64| match value {
        None => true,
        Some(value) => match (written.get(&value), written.get(&than)) {
            (Some(value), Some(than)) => value.outcome == Outcome::Ok && value.end < than.start,
            _ => false,
        },
    };
    let mut went_back = 0;
    // What each session wrote and saw last.
    let mut newest: BTreeMap<u64, i64> = BTreeMap::new();
    for operation in operations.iter().filter(|it| it.outcome == Outcome::Ok) {
        let (Some(session), Some(with_token)) = (operation.place.session, operation.place.roamed) else {
            continue;
        };
        match operation.did {
            Did::Write { value } => {
                newest.insert(session, value);
            }
            Did::Read { value } => {
                if let Some(known) = newest.get(&session).filter(|known| is_older(value, **known)) {
                    if with_token {
                        let text = format!(
                            "session {session} knew {known}, and saw {value:?} on {}",
                            operation.node
                        );
                        return always("sessions with a token do not go back", text);
                    }
                    went_back += 1;
                }
                if let Some(value) = value {
                    newest.insert(session, value);
                }
            }
            // These only grow.
            Did::Increment { seen } | Did::Count { seen } => {
                let known = newest.insert(session, seen).filter(|known| *known > seen);
                if let Some(known) = known.filter(|_| with_token) {
                    let text =
                        format!("session {session} knew {known}, and counted {seen} on {}", operation.node);
                    return always("sessions with a token do not go back", text);
                }
            }
            _ => {}
        }
    }
    Ok(went_back)
}

/// The ages of what followers' copies showed.
fn ages(mut clients: Vec<checker::Operation>) -> Copies {
    clients.retain(|it| it.is_stale_read || !it.action.is_read());
    let verdict = checker::judge(&clients, Model::Staleness, &checker::Settings::default());
    let measured = |wanted: &str| verdict.measured.iter().find(|(name, _)| *name == wanted);
    let measured = |wanted: &str| measured(wanted).map_or(0, |(_, value)| *value);
    Copies { reads: measured("reads"), stale: measured("stale_reads"), age_ns_max: measured("age_ns_max") }
}

fn held_against(
    clients: &[checker::Operation],
    model: Model,
    property: &'static str,
    keeps: bool,
    loses: Loses,
) -> Result<u64, Violation> {
    let settings = checker::Settings { total: Some(0), ..checker::Settings::default() };
    let verdict = checker::judge(clients, model, &settings);
    let mut lost = 0;
    for (kind, count) in &verdict.counts {
        match (class(model, *kind), verdict.violations.iter().find(|it| it.kind == *kind)) {
            (Class::Loss, _) if !keeps && model == Model::Set => lost += count,
            (Class::Loss, _) if !keeps => lost = 1,
            (Class::Order, _) if !keeps => {}
            (Class::Return, _) if !keeps && loses == Loses::AndReturns => {}
            (_, Some(violation)) => {
                return always(property, format!("{}: {}", kind.name(), violation.text));
            }
            (_, None) => return always(property, kind.name().to_owned()),
        }
    }
    match verdict.undecided.is_empty() {
        true => Ok(lost),
        false => always(property, "no judge could decide".to_owned()),
    }
}

/// What a keyspace that may lose acknowledged writes does with them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Loses {
    ForGood,
    /// Under `best-effort` a copy that holds what the leader before it lacked may lead: what was asked for again meanwhile, and done
    /// again, is there twice.
    AndReturns,
}

/// Which promise a violation breaks.
enum Class {
    /// Acknowledged writes are gone: a promise of some keyspaces only.
    Loss,
    /// Only keyspaces that lose nothing have one order for all.
    Order,
    /// Only where what was lost may come back this may be.
    Return,
    /// No keyspace may do this.
    Always,
}

fn class(model: Model, kind: Kind) -> Class {
    match (model, kind) {
        // Without a promise to keep what was acknowledged, a register may show anything that somebody wrote.
        (Model::Register, Kind::Stale | Kind::Lost | Kind::LostUpdate | Kind::NotLinearizable) => {
            Class::Order
        }
        (
            Model::Session,
            Kind::ReadYourWrites
            | Kind::MonotonicReads
            | Kind::MonotonicWrites
            | Kind::WritesFollowReads
            | Kind::ConsistentPrefix
            | Kind::NotLinearizable,
        ) => Class::Order,
        // A push that was seen, lost with its leader and done again by its forwarder stands elsewhere then.
        (Model::Set, Kind::Rearranged | Kind::Vanished) => Class::Order,
        // So does an increment: both counts were shown, one of them was lost.
        (Model::Counter, Kind::TooHigh) => Class::Order,
        (Model::Set, Kind::Lost | Kind::Stale) => Class::Loss,
        (Model::Set, Kind::Duplicated) => Class::Return,
        // The count went back with its leader.
        (Model::Unique, Kind::Duplicated) => Class::Loss,
        (Model::Counter, Kind::Stale | Kind::TooLow | Kind::Duplicated) => Class::Loss,
        _ => Class::Always,
    }
}

fn model(operation: &checker::Operation) -> Option<(Model, &'static str)> {
    match operation.action {
        Action::Read { .. } | Action::Write { .. } | Action::Swap { .. } => {
            Some((Model::Register, "registers are linearizable"))
        }
        Action::Add { .. } | Action::Members { .. } => Some((Model::Set, "sets keep what was added")),
        Action::Append { .. } | Action::Range { .. } => Some((Model::Set, "lists keep what was pushed")),
        Action::Increment { .. } | Action::Count { .. } => Some((Model::Counter, "counters count once")),
        Action::Issue { .. } => Some((Model::Unique, "ids are given out once")),
        Action::Transfer | Action::Balances { .. } => Some((Model::Bank, "transfers are atomic")),
        _ => None,
    }
}

/// An operation as its judge reads it. Where writes may be lost a refused one may have been seen: done, seen, lost with its
/// leader, and refused when its forwarder asked the next one. There its outcome counts as unknown.
fn recorded(operation: &Operation, keeps: bool) -> Option<checker::Operation> {
    let mut recorded = operation.recorded()?;
    if !keeps {
        // Positions are used again after a loss.
        recorded.index = None;
    }
    if !keeps && operation.outcome == Outcome::Fail && !is_read(&operation.did) {
        (recorded.status, recorded.end) = (checker::Status::Info, checker::NEVER);
    }
    Some(recorded)
}

/// Who sees an answer sees its question after it, in another keyspace too: leaders promise that, copies do not.
fn observed(operations: &[&Operation], answers_first: &mut u64) -> Result<u64, Violation> {
    for operation in operations.iter().filter(|it| it.outcome == Outcome::Ok) {
        match operation.did {
            Did::Observe { answer, question, .. } if answer <= question => {}
            Did::Observe { copies: true, .. } => *answers_first += 1,
            Did::Observe { answer, question, .. } => {
                let text = format!("answer {answer} was there, and then only question {question}");
                return always("answers follow questions", text);
            }
            _ => {}
        }
    }
    Ok(0)
}

/// A value that a later read missed is never seen again.
fn expiring(operations: &[&Operation], keeps: bool) -> Result<u64, Violation> {
    const NAME: &str = "the expired stays expired";
    let mut reads: Vec<(&Operation, Option<i64>)> = Vec::new();
    for operation in operations.iter().filter(|it| it.outcome == Outcome::Ok) {
        if let Did::ReadExpiring { value } = operation.did {
            reads.push((operation, value));
        }
    }
    for write in operations.iter().filter(|it| it.outcome != Outcome::Info) {
        let Did::SetExpiring { value } = write.did else { continue };
        let seen = |read: &Option<i64>| *read == Some(value);
        if write.outcome == Outcome::Fail && reads.iter().any(|(_, read)| seen(read)) {
            return always(NAME, format!("{value} was refused, and is there"));
        }
        let missed = reads.iter().filter(|(it, read)| it.start > write.end && !seen(read));
        let first_missed = missed.map(|(it, _)| it.end).min().unwrap_or(u64::MAX);
        if keeps && reads.iter().any(|(it, read)| seen(read) && it.start > first_missed) {
            return always(NAME, format!("{value} was gone and came back"));
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Place;
    use data::NodeId;

    /// In keyspaces with leaders.
    fn judge(history: &[Operation], durable: &[bool]) -> Verdict {
        super::judge(history, durable, &[], &[], &[], u64::MAX)
    }

    fn it(did: Did, start: u64, end: u64, outcome: Outcome) -> Operation {
        let place = Place::default();
        Operation {
            client: 0,
            node: NodeId(1),
            keyspace: 0,
            key: "k".into(),
            did,
            place,
            start,
            end,
            outcome,
        }
    }
    fn broken(history: &[Operation]) -> bool {
        judge(history, &[true]).violation.is_some()
    }

    #[test]
    fn a_lost_a_refused_and_an_invented_element_are_found() {
        let add = |element, outcome| it(Did::Add { element }, 0, 1, outcome);
        let read = |seen: &[i64]| it(Did::Members { seen: seen.to_vec() }, 5, 6, Outcome::Ok);
        assert!(!broken(&[add(1, Outcome::Ok), read(&[1])]));
        assert!(broken(&[add(1, Outcome::Ok), read(&[])]));
        assert!(broken(&[add(1, Outcome::Fail), read(&[1])]));
        assert!(broken(&[add(1, Outcome::Ok), read(&[1, 2])]));
        assert!(!broken(&[add(1, Outcome::Info), read(&[])]));
        let loose = judge(&[add(1, Outcome::Ok), read(&[])], &[false]);
        assert!(loose.violation.is_none() && loose.lost == 1);
    }

    #[test]
    fn a_list_out_of_order_and_a_doubled_element_are_found() {
        let push = |element, start| it(Did::Push { element }, start, start + 1, Outcome::Ok);
        let read = |seen: &[i64]| it(Did::Range { seen: seen.to_vec() }, 50, 60, Outcome::Ok);
        assert!(!broken(&[push(1, 0), push(2, 10), read(&[1, 2])]));
        assert!(broken(&[push(1, 0), push(2, 10), read(&[2, 1])]));
        assert!(broken(&[push(1, 0), read(&[1, 1])]));
    }

    #[test]
    fn counters_count_each_increment_once() {
        let add = |seen, start| it(Did::Increment { seen }, start, start + 1, Outcome::Ok);
        let unknown = it(Did::Increment { seen: 0 }, 0, u64::MAX, Outcome::Info);
        let count = |seen| it(Did::Count { seen }, 90, 91, Outcome::Ok);
        assert!(!broken(&[add(1, 0), add(2, 5), count(2)]));
        assert!(broken(&[add(1, 0), add(1, 5)]));
        assert!(broken(&[add(2, 0), add(1, 5)]));
        assert!(broken(&[add(1, 0), add(3, 5)]));
        assert!(!broken(&[add(1, 0), unknown.clone(), add(3, 5)]));
        assert!(broken(&[add(1, 0), count(2)]));
        assert!(!broken(&[add(1, 0), unknown, count(2)]));
    }

    #[test]
    fn an_id_that_two_got_is_found_where_nothing_may_be_lost() {
        let issue = |id, outcome| it(Did::Issue { id }, 0, 1, outcome);
        assert!(!broken(&[issue(1, Outcome::Ok), issue(2, Outcome::Ok), issue(0, Outcome::Info)]));
        // What a refused one holds is no id.
        assert!(!broken(&[issue(0, Outcome::Fail), issue(0, Outcome::Fail)]));
        let twice = [issue(1, Outcome::Ok), issue(2, Outcome::Ok), issue(1, Outcome::Ok)];
        assert!(broken(&twice));
        assert_eq!(judge(&twice, &[false]).lost, 1);
    }

    #[test]
    fn an_old_copy_may_be_late_but_not_go_back_nor_show_what_was_refused() {
        let placed = |did, start, session, index, from_copy| Operation {
            place: Place { session: Some(session), index, from_copy, ..Place::default() },
            ..it(did, start, start + 1, Outcome::Ok)
        };
        let write = |value, start, index| placed(Did::Write { value }, start, 1, Some(index), false);
        let read = |value, start, index| placed(Did::Read { value }, start, 2, index, true);
        let writes = [write(1, 0, 5), write(2, 10, 6)];
        let with = |reads: &[Operation]| [&writes[..], reads].concat();
        let late = with(&[read(Some(1), 20, Some(5)), read(Some(2), 30, Some(6))]);
        let verdict = judge(&late, &[true]);
        assert!(verdict.violation.is_none(), "{:?}", verdict.violation);
        assert_eq!((verdict.copies.reads, verdict.copies.stale, verdict.copies.age_ns_max), (2, 1, 9));
        let back = with(&[read(Some(2), 20, None), read(Some(1), 30, None)]);
        assert!(broken(&back) && judge(&back, &[false]).violation.is_none());
        assert!(broken(&with(&[read(Some(1), 20, Some(6))])), "not what its position says");
        let refused = Operation { outcome: Outcome::Fail, ..write(3, 15, 7) };
        assert!(broken(&with(&[refused, read(Some(3), 20, None)])));
        assert!(judge(&with(&[read(Some(9), 20, None)]), &[false]).violation.is_some(), "invented");
        // A leader's answer is no copy's.
        assert!(broken(&with(&[placed(Did::Read { value: Some(1) }, 20, 2, None, false)])));
    }

    // catalogue: G1 G2 G3
    #[test]
    fn a_session_with_a_token_may_not_go_back_and_one_without_is_counted() {
        let step = |did, start, with_token| Operation {
            place: Place { session: Some(7), roamed: Some(with_token), from_copy: true, ..Place::default() },
            ..it(did, start, start + 1, Outcome::Ok)
        };
        let write = |value, start| it(Did::Write { value }, start, start + 1, Outcome::Ok);
        let read = |value, start, with_token| step(Did::Read { value }, start, with_token);
        for keeps in [true, false] {
            let told = |history: &[Operation]| {
                let verdict = judge(history, &[keeps]);
                (verdict.violation.map(|it| it.property), verdict.went_back)
            };
            let back = |with_token| {
                told(&[
                    write(1, 0),
                    write(2, 10),
                    read(Some(2), 20, with_token),
                    read(Some(1), 30, with_token),
                ])
            };
            assert_eq!(back(false), (None, 1));
            assert!(back(true).0.is_some());
            let own =
                |with_token| told(&[step(Did::Write { value: 1 }, 0, with_token), read(None, 5, with_token)]);
            assert_eq!(own(false), (None, 1));
            assert!(own(true).0.is_some());
            // Of writes that overlap either may be the older one.
            let beside = Operation { end: 15, ..write(2, 0) };
            let both = [write(1, 5), beside, read(Some(2), 20, true), read(Some(1), 30, true)];
            assert_eq!(roaming(&both.iter().collect::<Vec<_>>()).ok(), Some(0));
        }
    }

    // catalogue: G1
    #[test]
    fn a_copy_that_is_older_than_allowed_is_found() {
        const MS: u64 = 1_000_000;
        let write = |value, start| it(Did::Write { value }, start, start + 1, Outcome::Ok);
        let read = |start, bound| Operation {
            place: Place {
                session: Some(start),
                from_copy: true,
                staleness_ms_max: Some(bound),
                ..Place::default()
            },
            ..it(Did::Read { value: Some(1) }, start, start + 1, Outcome::Ok)
        };
        let with = |read: Operation| broken(&[write(1, 0), write(2, 10 * MS), read]);
        assert!(!with(read(29 * MS, 10)) && with(read(31 * MS, 10)));
        assert!(with(read(10 * MS + 5, 0)));
    }

    #[test]
    fn an_answer_before_its_question_is_counted_of_copies_and_judged_of_leaders() {
        let look = |answer, question, copies| {
            judge(&[it(Did::Observe { answer, question, copies }, 0, 1, Outcome::Ok)], &[true])
        };
        let both = |verdict: Verdict| (verdict.violation.is_some(), verdict.answers_first);
        assert_eq!(both(look(3, 3, false)), (false, 0));
        assert_eq!(both(look(3, 2, true)), (false, 1));
        assert_eq!(both(look(3, 2, false)), (true, 0));
    }

    #[test]
    fn what_expired_stays_away() {
        let read = |value, start| it(Did::ReadExpiring { value }, start, start + 1, Outcome::Ok);
        let write = it(Did::SetExpiring { value: 7 }, 0, 1, Outcome::Ok);
        assert!(!broken(&[write.clone(), read(Some(7), 2), read(None, 9)]));
        assert!(broken(&[write, read(None, 4), read(Some(7), 9)]));
    }
}
