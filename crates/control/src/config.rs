//! What a plane is made of: who this node is, where it is reached, and the lengths of time.

use crate::founding::Founded;
use core::time::Duration;
use data::codec::{DecodeError, Reader, Writer};
use data::{Incarnation, NodeId, Process};

/// Where a node is reached, each as `host:port`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Addresses {
    pub resp: String,
    pub peer: String,
    pub http: String,
}

impl Addresses {
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.text(&self.resp);
        w.text(&self.peer);
        w.text(&self.http);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Addresses, DecodeError> {
        Ok(Addresses { resp: r.text()?, peer: r.text()?, http: r.text()? })
    }
}

/// Lengths of time, all on the monotonic clock. The same on every node of a cluster: `lease` is a promise between nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timings {
    /// Between two ticks of the consensus library.
    pub raft_tick: Duration,
    /// Ticks between heartbeats of the control leader.
    pub raft_heartbeat_ticks: usize,
    /// Ticks of silence before the first control member campaigns; each member adds a few of its own, at most as many.
    pub raft_election_ticks: usize,
    /// A control member campaigns so long after its connection to the control leader was reset, and as much later again
    /// as its number in the list of voters says, so that two rarely campaign at once.
    pub campaign_delay: Duration,
    /// Between two heartbeats of a node to the control leader.
    pub heartbeat: Duration,
    /// Bounds of the silence after which a node is suspected; in between its own rhythm decides.
    pub suspicion_min: Duration,
    pub suspicion_max: Duration,
    /// Silence allowed after the connection was reset.
    pub reset_grace: Duration,
    /// Length of a control lease as the control leader counts it.
    pub lease: Duration,
    /// What the holder takes off its lease, against clocks that run apart.
    pub lease_margin: Duration,
    /// Between two requests to seal, or two proposals of the same change.
    pub retry: Duration,
    /// How long an election under `async` waits for more than one replica.
    pub best_wait: Duration,
    /// How long a switchover may take before it is called off.
    pub switchover: Duration,
    /// How long a proposal may wait for its answer.
    pub answer: Duration,
}

impl Default for Timings {
    fn default() -> Timings {
        Timings {
            // A guess: half a heartbeat of the nodes.
            raft_tick: Duration::from_millis(20),
            raft_heartbeat_ticks: 2,
            // 300 ms and up to as much again: half of etcd's default at worst.
            raft_election_ticks: 15,
            campaign_delay: Duration::from_millis(15),
            heartbeat: Duration::from_millis(40),
            // Seven lost heartbeats; below it scheduling delays of a busy machine look like failures.
            suspicion_min: Duration::from_millis(300),
            suspicion_max: Duration::from_millis(1000),
            // One heartbeat and a half: a node that reconnects at once is not suspected.
            reset_grace: Duration::from_millis(60),
            lease: Duration::from_millis(300),
            // Clocks may differ in rate by a sixth.
            lease_margin: Duration::from_millis(50),
            retry: Duration::from_millis(100),
            best_wait: Duration::from_millis(250),
            switchover: Duration::from_millis(1000),
            answer: Duration::from_millis(3000),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    pub node: NodeId,
    pub name: String,
    /// This run of the process: greater than that of any earlier run of this node.
    pub process: Process,
    pub incarnation: Incarnation,
    pub addresses: Addresses,
    pub site: String,
    /// How the cluster was founded, on every node that took part, at every start; `None` on a node that joined later.
    /// The founders are the first voters.
    pub founded: Option<Founded>,
    /// Of a founder: groups that the slots of each numbered keyspace are divided among, from the founding on.
    pub shards: u32,
    /// Randomness of this start: seeds of tables come out of it.
    pub seed: u64,
    pub timings: Timings,
}
