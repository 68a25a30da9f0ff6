//! Disks that damage what they hold, or say that they wrote what they did not; and how a copy is rebuilt after that.
//!
//! At most as many copies are harmed as the keyspaces promise to survive ([`World::may_lose`]). The node is to notice when
//! it reads, at the latest when it starts: then it stops with a reason, and the operator lets the machine join anew, empty.
//! A flipped bit that no check notices would be a bug. A write that was lost at the very end of the log cannot be told
//! from one that the power cut short, by nobody who has only this disk: such a copy is rebuilt too, and not held against it.

use super::{Fault, Undo};
use crate::host::Harm;
use crate::network::MS;
use crate::random::Random;
use crate::world::{Event, World};
use data::NodeId;
use storage::memory::Fault as DiskFault;

/// Files whose contents nothing verifies: notes that a node can do without.
const UNCHECKED: [&str; 1] = ["joined"];

impl World {
    pub(super) fn damage(&mut self, fault: Fault, id: NodeId, length: u64, random: &mut Random) {
        if !self.may_lose(id) {
            return;
        }
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let harm = match fault {
            Fault::BitFlip => {
                let medium = &host.disk.medium;
                let checked = |path: &String| !UNCHECKED.contains(&path.as_str());
                let paths: Vec<String> = medium.paths().into_iter().filter(checked).collect();
                let Some(path) = paths.get(random.below(paths.len() as u64) as usize) else { return };
                let at = random.below(medium.len_of(path).unwrap_or(0));
                if !medium.flip(path, at, 1 << random.below(8)) {
                    return;
                }
                self.trace.note(self.now, || format!("{id} has a flipped bit at {at} of {path}"));
                Harm::Flipped
            }
            Fault::LostWrite => {
                host.disk.medium.inject(random.below(4), DiskFault::LoseWrite);
                Harm::Missing
            }
            _ => {
                let by = random.between(1, 64) * 512;
                host.disk.medium.inject(random.below(4), DiskFault::MisdirectWrite(by));
                Harm::Missing
            }
        };
        // A missing write is the worse of the two.
        let worse = host.harm == Some(Harm::Missing);
        host.harm = if worse { host.harm } else { Some(harm) };
        // If the node noticed while it ran, it has stopped: somebody starts it again.
        self.after(length, Event::Undo(Undo::Restart(id)));
    }

    /// A node starts and its disk was harmed: whether it may go on with what it found.
    pub(crate) fn trusts(&mut self, id: NodeId, damage: Option<&str>) -> bool {
        let Some(host) = self.hosts.get_mut(&id) else { return true };
        if host.harm == Some(Harm::Restored) {
            // A whole disk: that it is an old one its peers must notice.
            return true;
        }
        let Some(harm) = host.harm.take() else { return true };
        if harm == Harm::Flipped && damage.is_none() {
            // Where the bit flipped nothing is kept, or not any more.
            return true;
        }
        self.invariants.rebuilt += 1;
        self.trace.note(self.now, || format!("{id} is rebuilt: {}", damage.unwrap_or("a write is missing")));
        self.wipe(id, 500 * MS, 0);
        false
    }

    /// The operator has a disk that may be damaged read.
    pub(super) fn scrub(&mut self, id: NodeId) {
        if self.hosts.get(&id).is_some_and(|host| matches!(host.harm, Some(Harm::Flipped | Harm::Missing))) {
            self.stop(id, false);
            self.after(0, Event::Start { node: id });
        }
    }
}
