//! The node's ledger: what its copies lost and somebody may have been told of, until an operator lets it go; and what this
//! process knows of the answers that left.
//!
//! | item | when |
//! |---|---|
//! | acknowledged | this process led the entry's epoch, committed it, and its client's reply was released |
//! | perhaps | a follower's entry, one of another process, a forwarded one, one whose client was told INDETERMINATE, one whose slot may have moved to another group before the epoch that lost it: the group that has the slot has the entry too |
//! | announced | an election said that it may have lost something; ends when the copy that knows has come back |
//!
//! *Invariant:* every item here lies in the log, or is on its way there before the record that cuts its entry. An item goes only
//! by `LEDGER ACK`, or when its entry is committed again after all (a copy that held it led).
// catalogue: C2, C8, F5

use crate::group::Group;
use crate::io::{Event, Output};
use crate::node::Node;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use data::ledger::{Item, ItemId, Mark, Note, UNKNOWN_END};
use data::record::Record;
use data::{Epoch, GroupId, Index, Position, RequestId};
use protocol::single_leader::{LogWindow, Lost};

/// Payloads that a node keeps, bytes. Beyond, items are kept without: counted, and shown as such. A guess: seconds of a busy
/// keyspace's writes.
pub const BYTES_MAX: usize = 16 << 20;
/// Leaderships of a group whose answers are remembered.
const LEADERSHIPS_MAX: usize = 8;
/// Entries of one leadership that were committed and not answered as success, at most: beyond, the older ones are all in doubt.
const UNTOLD_MAX: usize = 1 << 16;

#[derive(Default)]
pub struct Ledger {
    items: BTreeMap<ItemId, Item>,
    bytes: usize,
    /// The epoch up to whose own entries a group was committed when it was last looked through for entries that came back.
    looked_through: BTreeMap<GroupId, Epoch>,
}

/// What the ledger holds, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Totals {
    pub items: u64,
    pub acknowledged: u64,
    pub announced: u64,
    pub bytes: u64,
    /// Entries whose payload is not here: the ledger was full, or the entry was no longer in memory.
    pub without_payload: u64,
}

impl Ledger {
    /// What a record of the log says.
    pub(crate) fn note(&mut self, record: &Record<'_>) {
        match Note::parse(record) {
            Ok(Note::Item(item)) => self.insert(item),
            Ok(Note::Gone(id)) => drop(self.remove(id)),
            Err(_) => debug_assert!(false, "a checked record decodes"),
        }
    }
    fn insert(&mut self, item: Item) {
        self.bytes += item.bytes();
        if let Some(old) = self.items.insert(item.id, item) {
            self.bytes -= old.bytes();
        }
    }
    /// Adds an item, without its payload when there is no room. Returns it as it is kept now: one without payload may have
    /// become part of the range before it.
    fn put(&mut self, mut item: Item) -> Item {
        if let Some(known) = self.remove(item.id) {
            item.join(&known);
        }
        if self.bytes + item.bytes() > BYTES_MAX {
            item.payload = None;
        }
        if item.payload.is_none()
            && let Some((_, before)) = self.items.range(..item.id).next_back()
            && before.payload.is_none()
            && (before.id.group, before.id.position.epoch) == (item.id.group, item.id.position.epoch)
            && (before.mark, before.lost_to, before.copy) == (item.mark, item.lost_to, item.copy)
            && before.through.next() == item.id.position.index
        {
            item = Item { through: item.through, ..before.clone() };
        }
        self.insert(item.clone());
        item
    }
    pub(crate) fn remove(&mut self, id: ItemId) -> Option<Item> {
        let item = self.items.remove(&id)?;
        self.bytes -= item.bytes();
        Some(item)
    }
    /// Items were added late: some may be there by now.
    pub(crate) fn look_again(&mut self, group: GroupId) {
        self.looked_through.remove(&group);
    }
    pub fn get(&self, id: ItemId) -> Option<&Item> {
        self.items.get(&id)
    }
    /// Ordered by group, epoch and index.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }
    fn of(&self, group: GroupId) -> impl Iterator<Item = &Item> {
        let first = ItemId { group, position: Position::default() };
        self.items.range(first..).map(|(_, item)| item).take_while(move |item| item.id.group == group)
    }
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { bytes: self.bytes as u64, ..Totals::default() };
        for item in self.items.values() {
            totals.items += 1;
            totals.acknowledged += u64::from(item.mark == Mark::Acknowledged);
            totals.announced += u64::from(item.mark == Mark::Announced);
            let kept = u64::from(item.payload.is_some());
            totals.without_payload += item.entries().unwrap_or(0).saturating_sub(kept);
        }
        totals
    }
}

/// Which entries this process committed as leader and answered.
#[derive(Default, Debug)]
pub(crate) struct Told {
    leaderships: VecDeque<Leadership>,
    /// The map's newest change of who owns a slot.
    moved_at: u64,
}

#[derive(Debug)]
struct Leadership {
    epoch: Epoch,
    /// Committed by this leader.
    through: Index,
    /// Their clients got no success, or there was no client.
    untold: BTreeSet<Index>,
    /// Nothing is known any more of those through here.
    forgotten: Index,
}

impl Told {
    /// The leader of this epoch committed its log.
    pub fn committed(&mut self, epoch: Epoch, through: Index) {
        if self.leaderships.back().is_none_or(|last| last.epoch != epoch) {
            let forgotten = Index(0);
            self.leaderships.push_back(Leadership { epoch, through, untold: BTreeSet::new(), forgotten });
            if self.leaderships.len() > LEADERSHIPS_MAX {
                self.leaderships.pop_front();
            }
        } else if let Some(last) = self.leaderships.back_mut() {
            last.through = through;
        }
    }
    /// This entry of the present leadership is not answered as success.
    pub fn untold(&mut self, index: Index) {
        let Some(last) = self.leaderships.back_mut() else { return };
        last.untold.insert(index);
        if last.untold.len() > UNTOLD_MAX
            && let Some(oldest) = last.untold.pop_first()
        {
            last.forgotten = oldest;
        }
    }
    /// Slots have another owner, who holds what was committed here: nothing older is lost for certain when a copy lacks it.
    pub fn meet_moves(&mut self, moved_at: u64) {
        if moved_at > self.moved_at {
            self.moved_at = moved_at;
            self.leaderships.iter_mut().for_each(|it| it.forgotten = it.forgotten.max(it.through));
        }
    }
    fn knows(&self, position: Position) -> bool {
        let its = self.leaderships.iter().find(|it| it.epoch == position.epoch);
        its.is_some_and(|it| {
            let Position { index, .. } = position;
            index <= it.through && index > it.forgotten && !it.untold.contains(&index)
        })
    }
}

/// The entries from `from` to before `end`, as one range for each epoch: its first and its last entry. An epoch's very first entry
/// says only that it began, and names the loss that its election announced.
fn ranges(log: &LogWindow, mut from: Index, end: Index) -> Vec<(Position, Index)> {
    let mut ranges = Vec::new();
    while from < end {
        let epoch = log.epoch_at(from).unwrap_or_default();
        let begins = log.starts().contains(&Position { epoch, index: from });
        let next = log.starts().iter().find(|start| start.epoch > epoch).map_or(end, |it| it.index.min(end));
        let first = if begins { from.next() } else { from };
        if first < next {
            ranges.push((Position { epoch, index: first }, next.previous()));
        }
        from = next.max(from.next());
    }
    ranges
}

impl Group {
    /// How sure it is that the client of an entry which that epoch lost was told of success. What came from another node was
    /// answered to that one, and whether its client heard of it is not known here. Nor is, before the map is known that elected
    /// that epoch's leader, whether slots have moved before.
    pub(crate) fn mark(&self, position: Position, request: RequestId, lost_to: Epoch) -> Mark {
        let met = self.replica.view().is_some_and(|view| view.epoch >= lost_to);
        match met && request.is_none() && self.told.knows(position) {
            true => Mark::Acknowledged,
            false => Mark::Perhaps,
        }
    }

    /// The items of what this copy is about to lose.
    fn lost_items(&self, lost: &Lost) -> Vec<Item> {
        let (group, keyspace) = (self.id(), self.keyspace.id);
        let blank = |position, through| Item {
            id: ItemId { group, position },
            keyspace,
            mark: Mark::Perhaps,
            through,
            lost_to: lost.epoch,
            copy: None,
            time_ms: 0,
            request: RequestId::NONE,
            payload: None,
        };
        // Before the window: ranges.
        let before = ranges(self.replica.log(), lost.after.next(), lost.first);
        let mut items: Vec<Item> = before.into_iter().map(|(from, through)| blank(from, through)).collect();
        let mut rest = &lost.records[..];
        while let Ok(record) = Record::parse(rest) {
            rest = &rest[record.len..];
            let header = record.header;
            if !header.kind.is_change() {
                continue;
            }
            let position = header.position();
            let mark = self.mark(position, header.request, lost.epoch);
            let payload = Some(Bytes::copy_from_slice(record.payload));
            let (time_ms, request) = (header.time_ms, header.request);
            items.push(Item { mark, time_ms, request, payload, ..blank(position, position.index) });
        }
        items
    }
}

impl Node {
    /// A replica is about to cut these: they are written down first, and flushed whatever the keyspace's settings say.
    pub(crate) fn keep_lost(&mut self, group: GroupId, token: u64, lost: &Lost) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        self.token += 1;
        it.persisting.push_back((self.token, token));
        let items = it.lost_items(lost);
        let records = self.write_items(group, items);
        self.outputs.push(Output::Persist { token: self.token, records, flush: true });
    }

    /// Takes items into the ledger; their records.
    pub(crate) fn write_items(&mut self, group: GroupId, items: Vec<Item>) -> Bytes {
        let mut records = Vec::new();
        let (mut count, mut acknowledged) = (0, 0);
        for item in items {
            count += 1;
            acknowledged += u64::from(item.mark == Mark::Acknowledged);
            self.ledger.put(item).write_record(&mut records);
        }
        self.outputs.push(Output::Event(Event::Ledger { group, items: count, acknowledged }));
        Bytes::from(records)
    }

    /// Writes records of the ledger that nobody waits for.
    pub(crate) fn note_in_ledger(&mut self, records: Vec<u8>) {
        if records.is_empty() || self.stopped.is_some() {
            return;
        }
        self.token += 1;
        self.outputs.push(Output::Persist { token: self.token, records: Bytes::from(records), flush: true });
    }

    /// Lets items go. Returns those that were here.
    pub(crate) fn let_go(&mut self, ids: &[ItemId]) -> Vec<Item> {
        let gone: Vec<Item> = ids.iter().filter_map(|id| self.ledger.remove(*id)).collect();
        let mut records = Vec::new();
        gone.iter().for_each(|item| item.id.write_gone(item.keyspace, &mut records));
        self.note_in_ledger(records);
        gone
    }

    /// What the copies of a group that this node gives up alone hold, as far as the map tells.
    pub(crate) fn keep_before_leaving(&mut self, group: GroupId, history: &[Position]) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        if let Some(lost) = it.replica.alone(history) {
            let items = it.lost_items(&lost);
            let records = self.write_items(group, items);
            self.note_in_ledger(records.to_vec());
        }
    }

    /// This node leads a group whose election announced a loss. How much it was only the copy that led before can tell.
    pub(crate) fn note_announced_loss(&mut self, group: GroupId) {
        let Some(it) = self.groups.get(&group) else { return };
        let Some(view) = it.replica.view() else { return };
        let begun = view.history.last().copied().filter(|begun| begun.epoch == view.last_loss);
        let Some(position) = begun.filter(|begun| it.replica.leads() == Some(begun.epoch)) else { return };
        let id = ItemId { group, position };
        if self.ledger.get(id).is_some() {
            return;
        }
        let item = Item {
            id,
            keyspace: it.keyspace.id,
            mark: Mark::Announced,
            through: UNKNOWN_END,
            lost_to: position.epoch,
            copy: it.deposed.filter(|copy| copy.node != self.config.node),
            time_ms: it.replica.log().time_ms(),
            request: RequestId::NONE,
            payload: None,
        };
        let records = self.write_items(group, Vec::from([item]));
        self.note_in_ledger(records.to_vec());
    }

    /// Items of a group whose entry is committed again, and announced losses whose copy has come back, go.
    pub(crate) fn tend_ledger(&mut self, group: GroupId) {
        if self.ledger.items.is_empty() {
            return;
        }
        let Some(it) = self.groups.get(&group) else { return };
        let replica = &it.replica;
        let mut ids = Vec::new();
        if replica.leads().is_some() {
            let back = |item: &&Item| {
                item.copy.is_some_and(|copy| {
                    replica.followers().any(|(node, progress)| {
                        let same = node == copy.node && progress.incarnation == Some(copy.incarnation);
                        same && progress.is_replicating() && progress.matched >= item.id.position.index
                    })
                })
            };
            ids.extend(self.ledger.of(group).filter(back).map(|item| item.id));
        }
        // Of its history nothing older can come any more: once an epoch is enough.
        // A table that is replayed does not know yet what its leader went on without.
        if let Some(epoch) = replica.settled_in().filter(|_| !it.audit.is_replaying())
            && self.ledger.looked_through.insert(group, epoch) != Some(epoch)
        {
            let commit = replica.commit();
            let survives = |item: &&Item| {
                let Position { epoch, index } = item.id.position;
                item.mark != Mark::Announced
                    // Of a range all must be there, or it stays: whoever lost some of it may have nothing else to say of that.
                    && item.through <= commit
                    // What the leader of its epoch or a later one was told to go on without is not there.
                    && !it.shortfall.lost().meets(index, item.through)
                    && replica.log().epoch_at(index) == Some(epoch)
                    && replica.log().epoch_at(item.through) == Some(epoch)
            };
            ids.extend(self.ledger.of(group).filter(survives).map(|item| item.id));
        }
        if !ids.is_empty() {
            self.let_go(&ids);
        }
    }

    /// What lies in this node's ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::{KeyspaceId, NodeId};

    fn item(index: u64, payload: usize) -> Item {
        Item {
            id: ItemId { group: GroupId(1), position: Position::new(2, index) },
            keyspace: KeyspaceId(0),
            mark: Mark::Perhaps,
            through: Index(index),
            lost_to: Epoch(3),
            copy: None,
            time_ms: 0,
            request: RequestId::NONE,
            payload: (payload > 0).then(|| Bytes::from(alloc::vec![7; payload])),
        }
    }

    #[test]
    fn without_room_items_lose_their_payload_are_counted_and_join_into_ranges() {
        let mut ledger = Ledger::default();
        ledger.put(item(1, BYTES_MAX - 1000));
        for index in 2..100 {
            ledger.put(item(index, 5000));
        }
        let totals = ledger.totals();
        assert_eq!((totals.items, totals.without_payload), (2, 98));
        assert_eq!(ledger.items().last().map(|it| it.through), Some(Index(99)));
        // A small one still fits.
        ledger.put(item(100, 10));
        assert_eq!((ledger.totals().items, ledger.totals().without_payload), (3, 98));
        assert!(ledger.totals().bytes <= BYTES_MAX as u64);
    }

    #[test]
    fn the_stronger_mark_stays() {
        let mut ledger = Ledger::default();
        ledger.put(Item { mark: Mark::Acknowledged, ..item(1, 10) });
        assert_eq!(ledger.put(item(1, 10)).mark, Mark::Acknowledged);
        let bytes = ledger.totals().bytes;
        assert!(ledger.remove(item(1, 10).id).is_some());
        assert_eq!((bytes, ledger.totals()), (item(1, 10).bytes() as u64, Totals::default()));
    }

    #[test]
    fn a_range_stays_whole_beside_the_payload_of_its_first_entry() {
        let range = Item { through: Index(9), ..item(1, 0) };
        for (first, second) in [(range.clone(), item(1, 10)), (item(1, 10), range)] {
            let mut ledger = Ledger::default();
            ledger.put(first);
            let kept = ledger.put(second);
            assert_eq!((kept.through, kept.payload.is_some()), (Index(9), true));
            assert_eq!((ledger.totals().items, ledger.totals().without_payload), (1, 8));
        }
    }

    /// The name of what an election announced was taken by the entry that began the epoch: once the copy that was deposed then had
    /// come back, what the epoch itself had lost left the ledger with the announcement.
    // bugs: TC-10
    #[test]
    fn a_range_does_not_begin_with_what_only_began_an_epoch() {
        let starts = [Position::new(1, 1), Position::new(2, 4), Position::new(3, 9), Position::new(4, 10)];
        let end = protocol::single_leader::Mark { position: Position::new(4, 20), hash: 0 };
        let log = LogWindow::new(end, starts.to_vec(), 0);
        let ranges = |from, end| -> Vec<(u64, u64, u64)> {
            let all = ranges(&log, Index(from), Index(end)).into_iter();
            all.map(|(from, through)| (from.epoch.0, from.index.0, through.0)).collect()
        };
        assert_eq!(ranges(2, 20), [(1, 2, 3), (2, 5, 8), (4, 11, 19)]);
        assert_eq!(ranges(4, 9), [(2, 5, 8)]);
        assert_eq!(ranges(9, 10), []);
        assert_eq!(ranges(6, 8), [(2, 6, 7)]);
    }

    #[test]
    fn who_knows_what_is_lost_knows_more_than_an_announcement() {
        let copy = Some(data::view::Replica { node: NodeId(3), incarnation: data::Incarnation(1) });
        let announced = Item { mark: Mark::Announced, through: UNKNOWN_END, copy, ..item(1, 0) };
        let known = Item { request: RequestId { sequence: 7, ..RequestId::NONE }, ..item(1, 10) };
        for (mut first, second) in [(announced.clone(), known.clone()), (known.clone(), announced)] {
            first.join(&second);
            assert_eq!(first, Item { copy, ..known.clone() });
        }
        let mut range = Item { through: Index(9), ..item(1, 0) };
        range.join(&known);
        assert_eq!((range.through, range.request, range.payload), (Index(9), known.request, known.payload));
    }

    #[test]
    fn what_was_answered_before_slots_moved_may_lie_with_their_new_owner() {
        let mut told = Told::default();
        told.committed(Epoch(2), Index(5));
        told.meet_moves(9);
        told.committed(Epoch(2), Index(7));
        told.meet_moves(9);
        let knows = |index| told.knows(Position::new(2, index));
        assert!(!knows(5) && knows(6) && knows(7));
    }

    #[test]
    fn only_what_was_committed_and_answered_is_known() {
        let mut told = Told::default();
        told.committed(Epoch(2), Index(5));
        told.untold(Index(7));
        told.committed(Epoch(2), Index(8));
        let knows = |epoch, index| told.knows(Position::new(epoch, index));
        assert!(knows(2, 6) && knows(2, 8));
        assert!(!knows(2, 7), "given up");
        assert!(!knows(2, 9), "not committed");
        assert!(!knows(1, 3), "another leader's");
    }
}
