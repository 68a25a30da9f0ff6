//! What must hold at every step, whatever happens. A violation is a sentence; the first one ends the run.

use data::record::Record;
use data::{Epoch, Index, NodeId, Position, Process};
use protocol::single_leader::{Mark, Replica};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Check {
    /// Under `async` acknowledged entries may be lost: only the laws of the logs hold.
    pub loss_allowed: bool,
    pub violation: Option<String>,
    leaders: BTreeMap<Epoch, (NodeId, Process)>,
    hashes: BTreeMap<Position, u64>,
    /// The committed history, by index from 1.
    committed: Vec<Mark>,
    /// The epoch in which each of them was committed.
    committed_in: Vec<Epoch>,
    pub reads: u64,
}

impl Check {
    pub fn new(loss_allowed: bool) -> Check {
        Check { loss_allowed, ..Check::default() }
    }
    pub fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }
    /// Index of the newest entry that any leader has acknowledged.
    pub fn acknowledged(&self) -> Index {
        Index(self.committed.len() as u64)
    }
    /// One leader process per epoch.
    pub fn leads(&mut self, epoch: Epoch, node: NodeId, process: Process) {
        let known = *self.leaders.entry(epoch).or_insert((node, process));
        if known != (node, process) {
            self.fail(format!("two leaders in {epoch}: {known:?} and {:?}", (node, process)));
        }
    }
    /// Equal position, equal history.
    pub fn written(&mut self, records: &[u8]) {
        let mut offset = 0;
        while let Ok(record) = Record::parse(&records[offset..]) {
            if record.header.kind.is_entry() {
                let position = record.header.position();
                if *self.hashes.entry(position).or_insert(record.hash) != record.hash {
                    self.fail(format!("two entries at {position}"));
                }
            }
            offset += record.len;
        }
    }
    /// A replica says that its log is committed through `index`.
    pub fn committed(&mut self, node: NodeId, replica: &Replica, index: Index) {
        if self.loss_allowed {
            return;
        }
        while self.acknowledged() < index {
            let next = self.acknowledged().next();
            let (Some(epoch), Some(hash)) = (replica.log().epoch_at(next), replica.log().hash_at(next))
            else {
                return self
                    .fail(format!("{node} commits {index}, but {next} was never committed by a leader"));
            };
            self.committed_in.push(replica.promised());
            self.committed.push(Mark { position: Position { epoch, index: next }, hash });
        }
        self.agrees(node, replica, index, "commits another history");
    }
    fn agrees(&mut self, node: NodeId, replica: &Replica, index: Index, what: &str) {
        let Some(at) = (index.0 as usize).checked_sub(1) else { return };
        let Some(mark) = self.committed.get(at).copied() else { return };
        let other = replica.log().hash_at(index).is_some_and(|hash| hash != mark.hash);
        if other || replica.log().epoch_at(index) != Some(mark.position.epoch) {
            self.fail(format!(
                "{node} {what} at {index}: {:?} is not {mark:?}",
                replica.log().epoch_at(index)
            ));
        }
    }
    /// Whoever is elected holds every acknowledged entry.
    pub fn elected(&mut self, node: NodeId, replica: &Replica) {
        if !self.loss_allowed {
            self.agrees(node, replica, self.acknowledged(), "is elected without an acknowledged entry");
        }
    }
    /// A cut on the word of a leader of `epoch` takes nothing that was committed by then: `held` is the first entry cut.
    /// A replica that has not heard of the epoch that committed an entry may still lose its copy to an older leader.
    pub fn cut(&mut self, node: NodeId, held: Option<Mark>, epoch: Epoch) {
        let Some(held) = held else { return };
        let at = held.position.index.0 as usize - 1;
        if self.committed.get(at) == Some(&held) && self.committed_in[at] <= epoch {
            self.fail(format!("{node} cuts the committed entry {} in {epoch}", held.position));
        }
    }
    /// A follower that acknowledges to its leader holds what the leader holds.
    pub fn acknowledges(&mut self, node: NodeId, follower: &Replica, leader: &Replica, matched: Index) {
        let epochs = (follower.log().epoch_at(matched), leader.log().epoch_at(matched));
        let hashes = follower.log().hash_at(matched).zip(leader.log().hash_at(matched));
        if epochs.0 != epochs.1 || hashes.is_some_and(|(a, b)| a != b) {
            self.fail(format!("{node} acknowledges {matched}, which is not what its leader has"));
        }
    }
    /// A read that began when everything through `floor` was acknowledged is answered from `replica`.
    pub fn read(&mut self, node: NodeId, replica: &Replica, floor: Index, leased: bool) {
        self.reads += 1;
        let epoch = replica.promised();
        let newest = self.committed.last().map_or(Epoch(0), |mark| mark.position.epoch);
        if leased && newest > epoch {
            self.fail(format!("{node} reads under a lease of {epoch} after {newest} has committed"));
        }
        if replica.commit() < floor {
            self.fail(format!("{node} reads {}, {floor} was acknowledged before", replica.commit()));
        }
        self.agrees(node, replica, replica.commit().min(self.acknowledged()), "reads another history");
    }
}
