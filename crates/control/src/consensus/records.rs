//! What the control plane writes to disk. A record is the payload of one storage record of kind control, which adds
//! length and checksum.
//!
//! | tag | content | meaning |
//! |---|---|---|
//! | 1 | hard state, configuration, base, map, entries | replaces all records before it |
//! | 2 | hard state, entries | the entries replace those held from their first index on |
//! | 3 | map | replaces all before it; of a node that is no control member |

use super::log::ControlLog;
use crate::map::ClusterMap;
use data::codec::{DecodeError, Reader, Writer};
use raft::eraftpb::{ConfState, Entry, EntryType, HardState};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The tag of a record that replaces all before it.
const WHOLE: u8 = 1;

pub(crate) fn whole(log: &ControlLog) -> Vec<u8> {
    let mut bytes = Vec::new();
    let w = &mut Writer::new(&mut bytes);
    w.u8(WHOLE);
    encode_hard(&log.hard, w);
    w.list(&log.conf.voters, |w, node| w.u64(*node));
    w.list(&log.conf.voters_outgoing, |w, node| w.u64(*node));
    w.list(&log.conf.learners, |w, node| w.u64(*node));
    w.u64(log.base.0);
    w.u64(log.base.1);
    log.map.encode(w);
    w.length(log.entries.len());
    log.entries.iter().for_each(|entry| encode_entry(entry, w));
    bytes
}

pub(crate) fn appended(hard: &HardState, entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let w = &mut Writer::new(&mut bytes);
    w.u8(2);
    encode_hard(hard, w);
    w.list(entries, |w, entry| encode_entry(entry, w));
    bytes
}

pub(crate) fn known(map: &ClusterMap) -> Vec<u8> {
    let mut bytes = Vec::new();
    let w = &mut Writer::new(&mut bytes);
    w.u8(3);
    map.encode(w);
    bytes
}

/// What the records on disk add up to.
#[derive(Default)]
pub(crate) struct Replayed {
    /// `None` on a node that never was a control member.
    pub log: Option<ControlLog>,
    pub known: Option<Arc<ClusterMap>>,
}

/// Replays records in the order they were written. One that cannot be read ends the replay: storage has verified its
/// checksum, so it was written by a newer version. What it said, or what follows it, may have been a vote.
pub(crate) fn replay(records: &[Vec<u8>]) -> Result<Replayed, DecodeError> {
    let mut replayed = Replayed::default();
    // What the last whole record replaced may be gone in part: what is left of it says nothing.
    let from = records.iter().rposition(|record| record.first() == Some(&WHOLE)).unwrap_or(0);
    for record in &records[from..] {
        replay_one(&mut replayed, record)?;
    }
    Ok(replayed)
}

fn replay_one(replayed: &mut Replayed, record: &[u8]) -> Result<(), DecodeError> {
    let mut r = Reader::new(record);
    match r.u8()? {
        WHOLE => {
            let hard = decode_hard(&mut r)?;
            let conf = ConfState {
                voters: r.list(Reader::u64)?,
                voters_outgoing: r.list(Reader::u64)?,
                learners: r.list(Reader::u64)?,
                ..ConfState::default()
            };
            let base = (r.u64()?, r.u64()?);
            let map = Arc::new(ClusterMap::decode(&mut r)?);
            let mut log = ControlLog { hard, conf, base, entries: Default::default(), map };
            append_checked(&mut log, &r.list(decode_entry)?)?;
            let members = log.conf.voters.iter().chain(&log.conf.learners);
            let distinct: BTreeSet<u64> = members.clone().copied().collect();
            if log.applied() < log.base.0 || log.applied() > log.last() || distinct.len() != members.count() {
                return Err(DecodeError::Invalid("control state"));
            }
            replayed.log = Some(log);
        }
        2 => {
            // A node that joined votes, and hears of terms, before the first snapshot reaches it.
            let log = replayed.log.get_or_insert_default();
            log.hard = decode_hard(&mut r)?;
            append_checked(log, &r.list(decode_entry)?)?;
        }
        3 => replayed.known = Some(Arc::new(ClusterMap::decode(&mut r)?)),
        _ => return Err(DecodeError::Invalid("kind of control record")),
    }
    r.end()
}

fn append_checked(log: &mut ControlLog, entries: &[Entry]) -> Result<(), DecodeError> {
    let Some(first) = entries.first() else { return Ok(()) };
    let ascending = entries.windows(2).all(|pair| pair[1].index == pair[0].index + 1);
    if !entries.iter().all(super::readable) {
        return Err(DecodeError::Invalid("control entry"));
    }
    if !ascending || first.index <= log.base.0 || first.index > log.last() + 1 {
        return Err(DecodeError::Invalid("index of a control entry"));
    }
    log.append(entries);
    Ok(())
}

fn encode_hard(hard: &HardState, w: &mut Writer<'_>) {
    w.u64(hard.term);
    w.u64(hard.vote);
    w.u64(hard.commit);
}

fn decode_hard(r: &mut Reader<'_>) -> Result<HardState, DecodeError> {
    Ok(HardState { term: r.u64()?, vote: r.u64()?, commit: r.u64()?, ..HardState::default() })
}

fn encode_entry(entry: &Entry, w: &mut Writer<'_>) {
    w.u8(match entry.get_entry_type() {
        EntryType::EntryNormal => 1,
        EntryType::EntryConfChange => 2,
        EntryType::EntryConfChangeV2 => 3,
    });
    w.u64(entry.term);
    w.u64(entry.index);
    w.bytes(&entry.data);
}

fn decode_entry(r: &mut Reader<'_>) -> Result<Entry, DecodeError> {
    let kind = match r.u8()? {
        1 => EntryType::EntryNormal,
        2 => EntryType::EntryConfChange,
        3 => EntryType::EntryConfChangeV2,
        _ => return Err(DecodeError::Invalid("type of a control entry")),
    };
    let (term, index) = (r.u64()?, r.u64()?);
    let data = r.bytes()?.to_vec().into();
    Ok(Entry { entry_type: kind, term, index, data, ..Entry::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(term: u64) -> Vec<u8> {
        appended(&HardState { term, vote: 7, ..HardState::default() }, &[])
    }
    fn replayed(records: &[Vec<u8>]) -> (u64, u64) {
        let log = replay(records).expect("readable").log.expect("a part in the control group");
        (log.hard.term, log.hard.vote)
    }

    /// A joiner votes before the first snapshot reaches it, and used to forget that, and all that came later, at a restart.
    #[test]
    fn a_promise_before_the_first_whole_record_counts() {
        let mut log = ControlLog::default();
        log.hard.term = 4;
        assert_eq!(replayed(&[promise(3)]), (3, 7));
        assert_eq!(replayed(&[promise(3), whole(&log), promise(5)]), (5, 7));
    }

    /// Segments go one by one: of what a whole record replaced any last part may still be there.
    #[test]
    fn what_is_left_of_replaced_records_is_skipped() {
        let mut log = ControlLog { base: (9, 2), ..ControlLog::default() };
        log.hard.term = 4;
        log.map = Arc::new(ClusterMap { version: 9, ..ClusterMap::default() });
        let entry = Entry { index: 8, term: 2, ..Entry::default() };
        let left = appended(&HardState { term: 3, ..HardState::default() }, &[entry]);
        assert_eq!(replayed(&[left, whole(&log)]), (4, 0));
    }

    /// What follows an unreadable record is unknown, and may be a vote: it must be said, not passed over.
    #[test]
    fn a_record_of_a_newer_version_is_not_passed_over() {
        assert!(replay(&[promise(3), promise(4)]).is_ok());
        assert!(replay(&[promise(3), vec![9, 1, 2], promise(4)]).is_err());
    }
}
