//! A client: one connection at a time, one task at a time, no retries of its own.

use crate::history::Did;
use crate::reply::{Reply, Unread};
use crate::workload::{Command, Kind, Task};
use data::NodeId;
use node::ConnectionId;

pub struct Client {
    /// What it does; one is drawn for each task.
    pub kinds: Vec<Kind>,
    /// Index into the run's keyspaces.
    pub keyspace: usize,
    /// Mean pause between two tasks, ns.
    pub pause: u64,
    pub connection: Option<(NodeId, ConnectionId)>,
    /// The keyspace was selected on this connection.
    pub selected: bool,
    pub task: Option<Running>,
    received: Vec<u8>,
    /// Grows with every exchange: an old time-out does not hit a new one.
    pub exchange: u64,
    /// Stays with one node: for scenarios.
    pub home: Option<NodeId>,
    /// Said on every connection: its reads may be answered from the copy of the node that it is connected to.
    pub says: Option<&'static str>,
    /// Goes from node to node.
    pub roams: Option<Roams>,
    /// A task under an id of its own that is sent again, and when it began.
    pub again: Option<(Task, u64)>,
    /// A request under an id of its own that was answered, and how: it comes once more, some time.
    pub echo: Option<(Vec<Command>, Reply)>,
    /// No new tasks.
    pub quiet: bool,
    /// Keys to be read back, last first; each until it was answered.
    pub reads: Option<Vec<(Did, String)>>,
}

/// A session that goes from node to node: with a token it takes along what it has seen, without one it forgets.
#[derive(Clone, Debug)]
pub struct Roams {
    pub with_token: bool,
    /// Grows when a session was told that what it saw is lost, and begins anew.
    pub session: u64,
    pub token: Option<String>,
}

/// A task under way; `None` stands for selecting the keyspace.
pub struct Running {
    pub task: Option<Task>,
    pub start: u64,
    pub replies: usize,
}

impl Client {
    pub fn new(kinds: Vec<Kind>, keyspace: usize, pause: u64) -> Client {
        Client {
            kinds,
            keyspace,
            pause,
            connection: None,
            selected: false,
            task: None,
            received: Vec::new(),
            exchange: 0,
            home: None,
            says: None,
            roams: None,
            again: None,
            echo: None,
            quiet: false,
            reads: None,
        }
    }
    /// A client that reads keys back and is done then.
    pub fn is_done(&self) -> bool {
        self.reads.as_ref().is_none_or(Vec::is_empty) && self.task.is_none()
    }
    /// The connection is gone.
    pub fn disconnect(&mut self) -> Option<Running> {
        self.connection = None;
        self.selected = false;
        self.received.clear();
        self.exchange += 1;
        self.task.take()
    }
    /// Bytes came. All replies of the exchange, once the last one is there; `Err` when they are no replies.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Vec<Reply>>, Unread> {
        self.received.extend_from_slice(bytes);
        let Some(running) = &self.task else {
            // An unasked reply would be answered to the next command.
            return if self.received.is_empty() { Ok(None) } else { Err(Unread::Nonsense) };
        };
        let (mut replies, mut used) = (Vec::new(), 0);
        while replies.len() < running.replies {
            match Reply::parse(&self.received[used..]) {
                Ok((reply, len)) => {
                    replies.push(reply);
                    used += len;
                }
                Err(Unread::More) => return Ok(None),
                Err(Unread::Nonsense) => return Err(Unread::Nonsense),
            }
        }
        self.received.drain(..used);
        Ok(Some(replies))
    }
}

/// A command travelling to a node.
pub struct Request {
    pub client: usize,
    pub connection: ConnectionId,
    pub commands: Vec<Command>,
}
