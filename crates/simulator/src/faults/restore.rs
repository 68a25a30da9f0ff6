//! A machine's disk is replaced by an old backup of it.
//!
//! It is restored only where every other node knows more of the machine than the backup does, so the product must notice, whatever
//! else happens: the restored node leads nothing and nothing that it says counts, and it ends by itself. Then the operator sets the
//! machine up anew. When one of those who know stops before that, the operator takes the restored machine away at once: of two
//! nodes that forgot nobody could tell.

use super::{Fault, Undo};
use crate::host::{Backup, Harm};
use crate::network::MS;
use crate::random::Random;
use crate::world::{OldDisk, World};
use data::NodeId;
use node::message::{VERSION_MAX, VERSION_MIN};

impl World {
    pub(super) fn back_up_or_restore(&mut self, id: NodeId, length: u64, random: &mut Random) {
        let flush_lost = random.draw();
        let old = self.hosts.keys().copied().find(|id| self.knows_more_than_backup(*id));
        if let Some(id) = old.filter(|id| self.may_lose(*id)) {
            self.stop(id, true);
            let Some(host) = self.hosts.get_mut(&id) else { return };
            let Some(backup) = host.backup.take() else { return };
            backup.medium.crash(flush_lost);
            host.disk.medium = backup.medium;
            host.harm = Some(Harm::Restored);
            host.held_down = true;
            self.restored.push(OldDisk { node: id, from: self.now, until: u64::MAX });
            self.trace.note(self.now, || format!("{id} gets an old backup of its disk"));
            return self.after(length.min(2_000 * MS), crate::world::Event::Undo(Undo::Restart(id)));
        }
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let first = host.backup.is_none() || random.chance(300);
        if first && host.is_running() && host.harm.is_none() && !host.disk.has_failed() {
            let (medium, batches) = (host.disk.medium.duplicate(), host.disk.batches());
            let voters = host.node.as_ref().map_or(0, |node| node.map().voters.len());
            host.backup = Some(Backup { medium, process: host.process, batches, voters });
            self.trace.note(self.now, || format!("{id} is backed up"));
        }
    }

    /// Whether every other node runs and has been told of more than the backup can hold.
    fn knows_more_than_backup(&self, id: NodeId) -> bool {
        let Some(backup) = self.hosts.get(&id).and_then(|host| host.backup.as_ref()) else { return false };
        let knows = |other: &crate::host::Host| {
            let life = other.node.as_ref().and_then(|node| node.known_life(id));
            // One that governed alone needs nobody to go on, until somebody reaches it.
            backup.voters > 1
                && life
                    .is_some_and(|life| life.process > backup.process.next() || life.durable > backup.batches)
        };
        // Nodes of the first message version neither tell nor remember.
        let told = self.hosts.values().all(|host| host.version == VERSION_MAX);
        told && self.hosts.len() > 1 && self.hosts.values().filter(|other| other.id != id).all(knows)
    }

    /// A node stops: it forgets what it knew of a restored one.
    pub(crate) fn forget_restored(&mut self, stopping: NodeId) {
        let restored = |host: &&crate::host::Host| host.harm == Some(Harm::Restored) && host.id != stopping;
        let Some(id) = self.hosts.values().find(restored).map(|host| host.id) else { return };
        self.trace.note(self.now, || format!("{id} is taken away: {stopping} knew what it had forgotten"));
        self.set_up_anew(id);
    }

    /// A node gave its directory up.
    pub(crate) fn abandoned(&mut self, id: NodeId, reason: &str) {
        self.trace.note(self.now, || format!("{id} gives up: {reason}"));
        if self.hosts.get(&id).is_none_or(|host| host.harm.is_none()) {
            let text = format!("{id}: {reason}");
            return self.invariants.fail("only a disk that went back in time is given up", text);
        }
        self.invariants.restored_noticed += 1;
        self.set_up_anew(id);
    }

    fn set_up_anew(&mut self, id: NodeId) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.harm = None;
        }
        for life in self.restored.iter_mut().filter(|life| life.node == id) {
            life.until = life.until.min(self.now);
        }
        self.invariants.rebuilt += 1;
        self.wipe(id, 500 * MS, 0);
    }

    /// A node is restarted with another version of the program: mostly a newer one.
    pub(super) fn change_version(&mut self, id: NodeId, length: u64, random: &mut Random) {
        let back = random.chance(250);
        if self.hosts.values().any(|host| host.harm == Some(Harm::Restored)) {
            return;
        }
        let Some(host) = self.hosts.get_mut(&id) else { return };
        host.version = if back { VERSION_MIN } else { VERSION_MAX };
        let version = host.version;
        self.trace.note(self.now, || format!("{id} is restarted with message version {version}"));
        self.take_down(id, false, length.min(1_000 * MS));
    }

    /// The version of a machine's program when it is set up.
    pub(crate) fn first_version(&self, random: &mut Random) -> u8 {
        let old = random.chance(700);
        if self.mix.has(Fault::Upgrade) && old { VERSION_MIN } else { VERSION_MAX }
    }
}
