//! A data directory that went back in time: restored from a backup, copied, or on a disk that lost what it had reported done.
//!
//! Such a node forgot votes, grants and acknowledgements that its peers still count on, and it would use numbers again that it had
//! used before. It cannot know that by itself, but its peers can. Every node tells each peer, before anything else on a new
//! connection and then along with the heartbeats, its [`Life`]; each peer remembers the most that it was told. A later run of the
//! process must begin with a log that holds at least what an earlier run had called durable. One that does not is told so
//! ([`PeerMessage::Forgotten`]) and nothing else that it says counts: it gives its directory up ([`Output::Abandon`]), and the
//! machine joins anew, empty, as after the loss of its disk.
//!
//! Peers remember in memory. So a directory that went back is noticed when one of them ran since, and is reached; when all of them
//! were restarted too, nobody can know; and what a leaderless copy acknowledged by itself alone (W 1) before it was told goes with its
//! directory, as what it answered by itself alone (R 1) was old. Peers of message version 1 neither tell nor remember.
//!
//! bugs: LL-11, SL-02

use crate::io::Output;
use crate::message::PeerMessage;
use crate::node::Node;
use alloc::collections::BTreeMap;
use alloc::format;
use core::time::Duration;
use data::codec::{DecodeError, Reader, Writer};
use data::plant::{self, Bug};
use data::{Instant, NodeId, Process};

/// Peers of this message version tell their life.
pub(crate) const SINCE_VERSION: u8 = 2;
/// A life is told again after so long although nothing of it changed. A guess: on a stream it is never needed.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// One run of a node's process, and how far its log reaches.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Life {
    pub process: Process,
    /// Drawn by this run: two processes that began with the same directory have the same number and not the same draw.
    pub run: u64,
    /// Batches that the log held when the process began.
    pub began: u64,
    /// Batches of the log that survive a power cut by now.
    pub durable: u64,
}

impl Life {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        self.process.encode(w);
        w.u64(self.run);
        w.u64(self.began);
        w.u64(self.durable);
    }
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Life, DecodeError> {
        Ok(Life { process: Process::decode(r)?, run: r.u64()?, began: r.u64()?, durable: r.u64()? })
    }

    /// Whether this life remembers all that `earlier` had, as far as that was told.
    fn follows(&self, earlier: &Life) -> bool {
        match self.process.cmp(&earlier.process) {
            core::cmp::Ordering::Less => false,
            core::cmp::Ordering::Equal => self.run == earlier.run,
            core::cmp::Ordering::Greater => self.began >= earlier.durable,
        }
    }
}

/// What the nodes know of each other's lives.
#[derive(Default)]
pub(crate) struct Lives {
    pub own: Life,
    /// The most that each peer has told.
    known: BTreeMap<NodeId, Life>,
    /// What each peer was told last, and when.
    told: BTreeMap<NodeId, (Life, Instant)>,
}

impl Lives {
    pub fn new(own: Life) -> Lives {
        Lives { own, ..Lives::default() }
    }

    /// A peer tells its life. An error names the life that it forgot.
    fn hear(&mut self, from: NodeId, life: Life) -> Result<(), Life> {
        let known = self.known.entry(from).or_insert(life);
        let is_believed = plant::is(Bug::RollbackUnnoticed) || plant::is(Bug::ReusesActor);
        if !life.follows(known) && !is_believed {
            return Err(*known);
        }
        // Within a run the later of two messages may come first.
        let durable =
            if life.process == known.process { known.durable.max(life.durable) } else { life.durable };
        *known = Life { durable, ..life };
        Ok(())
    }

    /// Whether this process of the peer has told a life that follows from what is known of it.
    fn accepts(&self, from: NodeId, process: Process) -> bool {
        self.known.get(&from).is_some_and(|known| known.process == process)
    }
}

impl Node {
    /// Tells the peer this node's life, if there is anything to tell; `at_once` on a new connection.
    pub(crate) fn tell_life(&mut self, to: NodeId, at_once: bool) {
        if self.peers.get(&to).is_none_or(|version| *version < SINCE_VERSION) {
            return;
        }
        let (now, own) = (self.now.instant, self.lives.own);
        let due = |(told, at): &(Life, Instant)| *told != own || now.since(*at) >= TELL_EVERY;
        if at_once || self.lives.told.get(&to).is_none_or(due) {
            self.lives.told.insert(to, (own, now));
            self.send(to, PeerMessage::Life(own));
        }
    }

    pub(crate) fn on_life(&mut self, from: NodeId, life: Life) {
        if let Err(forgotten) = self.lives.hear(from, life)
            && self.peers.contains_key(&from)
        {
            let durable = forgotten.durable;
            self.send(from, PeerMessage::Forgotten { process: life.process, run: life.run, durable });
        }
    }

    /// The most that the peer has told of itself.
    pub fn known_life(&self, peer: NodeId) -> Option<Life> {
        self.lives.known.get(&peer).copied()
    }

    /// Whether what this process of a peer says counts.
    pub(crate) fn is_heard(&self, from: NodeId, process: Process, version: u8) -> bool {
        version < SINCE_VERSION || self.lives.accepts(from, process)
    }

    /// A peer remembers more of this node than the node itself does.
    pub(crate) fn on_forgotten(&mut self, from: NodeId, process: Process, run: u64, durable: u64) {
        let own = self.lives.own;
        if (process, run) != (own.process, own.run) || self.stopped.is_some() {
            return;
        }
        let reason = format!(
            "the data directory is older than what {from} has seen of this node: it knows of a log of {durable} batches from another run, this run ({process}) began with {}. It was restored from a backup, is a copy of another node's, or its disk lost what it had written. What this node promised since then is gone, so it must not go on with it: start the machine with an empty data directory and --join, and remove the old node (KEYSPACE REMOVE-NODE {})",
            own.began, self.config.node.0,
        );
        self.stopped = Some(reason.clone());
        self.outputs.push(Output::Abandon { reason });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(2);

    fn life(process: u64, run: u64, began: u64, durable: u64) -> Life {
        Life { process: Process(process), run, began, durable }
    }

    // bugs: LL-11
    #[test]
    fn a_run_that_begins_with_less_than_was_durable_is_not_heard() {
        let mut lives = Lives::default();
        assert!(!lives.accepts(PEER, Process(1)));
        assert_eq!(lives.hear(PEER, life(1, 7, 0, 0)), Ok(()));
        assert_eq!(lives.hear(PEER, life(1, 7, 0, 30)), Ok(()));
        // A message that was overtaken takes nothing back.
        assert_eq!(lives.hear(PEER, life(1, 7, 0, 20)), Ok(()));
        assert_eq!(lives.hear(PEER, life(2, 8, 29, 29)), Err(life(1, 7, 0, 30)));
        assert!(lives.accepts(PEER, Process(1)) && !lives.accepts(PEER, Process(2)));
        // What was not durable may be gone after a power cut, what was may not.
        assert_eq!(lives.hear(PEER, life(2, 9, 30, 30)), Ok(()));
        assert!(lives.accepts(PEER, Process(2)) && !lives.accepts(PEER, Process(1)));
    }

    #[test]
    fn a_number_that_another_run_had_is_not_heard() {
        let mut lives = Lives::default();
        assert_eq!(lives.hear(PEER, life(5, 7, 10, 12)), Ok(()));
        assert!(lives.hear(PEER, life(5, 8, 12, 12)).is_err(), "two runs of one number");
        assert!(lives.hear(PEER, life(4, 6, 12, 12)).is_err(), "a run that was over");
    }
}
