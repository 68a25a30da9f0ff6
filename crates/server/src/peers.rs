//! Links between nodes: each node dials every other and sends on that connection; it receives on the ones it accepts. A
//! peer is up when both stand.
//!
//! Urgent messages (heartbeats, control, acknowledgements) never wait behind large ones: those travel in parts, one part at
//! a time.

use crate::tryout::Way;
use data::codec::Writer;
use data::{Epoch, Incarnation, KeyspaceId, NodeId, Process, ViewNumber};
use hmac::{Hmac, KeyInit, Mac};
use mio::net::TcpStream;
use node::PeerMessage;
use node::message::PACKED_KIND;
use sha2::Sha256;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};
use wire::handshake::{Agreed, Handshake};
use wire::hello::Identity;
use wire::parts::Assembler;
use wire::peer::Part;
use wire::{PeerFrame, PeerHeader, PeerLimits};

mod distance;
mod packing;

use distance::Distance;

/// Bodies beyond this travel in parts.
const PART_LEN_MAX: usize = 128 << 10;
/// A frame is never longer than a part and its header.
const FRAME_LEN_MAX: usize = PART_LEN_MAX + 4096;
/// Bytes that wait for one peer at most: beyond, the link is closed and begins anew.
const QUEUED_BYTES_MAX: usize = 256 << 20;
/// Bytes of messages in parts that one peer may have unfinished here.
const ASSEMBLED_BYTES_MAX: usize = 640 << 20;
/// A handshake is done within so long or given up. A guess: many round trips of the slowest networks.
const AGREED_WITHIN: Duration = Duration::from_secs(3);
/// A link whose peer acknowledges nothing for so long is closed by the system. A guess: longer than a peer that is stopped
/// for a moment, shorter than the quarter of an hour that the system would wait by itself.
const UNACKNOWLEDGED_MS_MAX: libc::c_uint = 10_000;
const REDIAL_MIN: Duration = Duration::from_millis(20);
const REDIAL_MAX: Duration = Duration::from_millis(500);

/// Who sends.
#[derive(Clone, Debug)]
pub struct Sender {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub process: Process,
}

/// A connection that this node made, to send on.
pub struct Outgoing {
    pub node: NodeId,
    pub address: String,
    pub stream: Option<TcpStream>,
    handshake: Option<Handshake>,
    pub agreed: Option<Agreed>,
    input: Vec<u8>,
    /// Being written; whole frames only follow.
    sending: Vec<u8>,
    sent: usize,
    /// Bytes that the socket took since the process started.
    written: u64,
    urgent: Vec<u8>,
    bulk: VecDeque<Vec<u8>>,
    bulk_bytes: usize,
    next_id: u64,
    dialled_at: Instant,
    redial_at: Instant,
    redial_after: Duration,
    /// The peer's address is a name that a thread looks up: the core waits for no name server.
    looked_up: Option<Receiver<std::io::Result<SocketAddr>>>,
    /// Only where a distance or a cut is simulated.
    distance: Option<Box<Distance>>,
}

impl Outgoing {
    pub fn new(node: NodeId, address: String) -> Outgoing {
        Outgoing {
            node,
            address,
            stream: None,
            handshake: None,
            agreed: None,
            input: Vec::new(),
            sending: Vec::new(),
            sent: 0,
            written: 0,
            urgent: Vec::new(),
            bulk: VecDeque::new(),
            bulk_bytes: 0,
            next_id: 0,
            dialled_at: Instant::now(),
            redial_at: Instant::now(),
            redial_after: REDIAL_MIN,
            looked_up: None,
            distance: None,
        }
    }

    pub fn is_due(&self) -> bool {
        let is_cut = self.distance.as_ref().is_some_and(|distance| distance.is_cut());
        self.stream.is_none() && !is_cut && Instant::now() >= self.redial_at
    }

    /// What lies between this node and the peer from now on.
    pub fn set_way(&mut self, way: Way) {
        if way == Way::default() && self.distance.as_ref().is_none_or(|distance| distance.bytes() == 0) {
            self.distance = None;
        } else {
            self.distance.get_or_insert_default().set_way(way, Instant::now());
        }
    }

    /// Whether the link is cut for so long that nobody would keep its connection.
    pub fn is_given_up(&self) -> bool {
        let is_given_up = |distance: &Distance| distance.is_given_up(Instant::now());
        self.stream.is_some() && self.distance.as_deref().is_some_and(is_given_up)
    }

    /// When the next bytes that are under way to a far peer arrive there.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.distance.as_ref()?.next().filter(|_| self.sent == self.sending.len())
    }

    /// Whether the peer was dialled and has let the time for an answer pass: a cut network answers nothing at all, and the
    /// system would try the same connection at ever longer intervals, long after the network is whole again.
    pub fn is_overdue(&self) -> bool {
        self.stream.is_some() && self.agreed.is_none() && self.dialled_at.elapsed() > AGREED_WITHIN
    }

    /// Begins to connect. The caller registers the stream, if there is one already.
    pub fn dial(&mut self, identity: Identity, secret: &[u8], nonce: [u8; 32]) -> std::io::Result<()> {
        self.redial_at = Instant::now() + self.redial_after;
        self.redial_after = (self.redial_after * 2).min(REDIAL_MAX);
        let Some(address) = self.look_up()? else { return Ok(()) };
        let stream = TcpStream::connect(address)?;
        let _ = stream.set_nodelay(true);
        give_up_unacknowledged(&stream);
        self.dialled_at = Instant::now();
        self.sending.clear();
        self.sent = 0;
        let handshake = Handshake::initiate(identity, Some(self.node), secret, nonce, &mut self.sending);
        self.handshake = Some(handshake);
        self.stream = Some(stream);
        Ok(())
    }

    /// Where the peer is; `None` while that is being found out.
    fn look_up(&mut self) -> std::io::Result<Option<SocketAddr>> {
        if let Ok(address) = self.address.parse() {
            return Ok(Some(address));
        }
        let Some(answer) = &self.looked_up else {
            let (sender, answer) = channel();
            let name = self.address.clone();
            std::thread::spawn(move || {
                let first = name.to_socket_addrs().map(|mut found| found.next());
                let _ = sender.send(first.and_then(|it| it.ok_or_else(|| ErrorKind::NotFound.into())));
            });
            self.looked_up = Some(answer);
            return Ok(None);
        };
        let answer = match answer.try_recv() {
            Ok(answer) => answer.map(Some),
            Err(TryRecvError::Empty) => return Ok(None),
            Err(TryRecvError::Disconnected) => Err(ErrorKind::NotFound.into()),
        };
        // Asked anew for the next connection: the name may lead elsewhere by then.
        self.looked_up = None;
        answer
    }

    /// The link is lost: what was queued goes with it, its senders ask again.
    pub fn reset(&mut self) {
        if self.agreed.is_some() {
            self.redial_after = REDIAL_MIN;
        }
        self.stream = None;
        self.handshake = None;
        self.agreed = None;
        self.input.clear();
        self.sending.clear();
        self.sent = 0;
        self.urgent.clear();
        self.bulk.clear();
        self.bulk_bytes = 0;
        if let Some(distance) = &mut self.distance {
            distance.clear();
        }
        self.redial_at = Instant::now() + self.redial_after;
    }

    /// Queues a message; false when too much waits.
    pub fn queue(&mut self, from: &Sender, message: &PeerMessage) -> bool {
        let Some(agreed) = self.agreed.as_ref().filter(|agreed| message.since_version() <= agreed.version)
        else {
            return true;
        };
        self.next_id += 1;
        let version = agreed.version;
        let mut header = PeerHeader {
            version,
            kind: message.kind(),
            part: Part::WHOLE,
            hops: 0,
            sender: from.node,
            incarnation: from.incarnation,
            process: from.process,
            keyspace: KeyspaceId(0),
            group: message.group(),
            epoch: Epoch(0),
            view: ViewNumber(0),
            id: self.next_id,
            time_left_ms: 0,
        };
        let before = self.urgent.len();
        PeerFrame::write(&mut self.urgent, &header, |w| message.encode(w));
        let packed = match packing::is_for(message, version) {
            true => packing::pack(header.kind, &self.urgent[before + wire::peer::HEADER_LEN..]),
            false => None,
        };
        if let Some(packed) = &packed {
            header.kind = PACKED_KIND;
            self.urgent.truncate(before);
            PeerFrame::write(&mut self.urgent, &header, |w| w.buffer.extend_from_slice(packed));
        }
        let len = self.urgent.len() - before;
        // Messages of a group keep their order: behind a large one they wait in the same queue.
        let ordered = matches!(message, PeerMessage::Replication { .. }) && !self.bulk.is_empty();
        if len > PART_LEN_MAX || ordered {
            self.urgent.truncate(before);
            let body = packed.unwrap_or_else(|| {
                let mut body = Vec::with_capacity(len);
                message.encode(&mut Writer::new(&mut body));
                body
            });
            let Some(parts) = wire::parts::split(&body, PART_LEN_MAX) else { return false };
            for (part, bytes) in parts {
                let mut frame = Vec::with_capacity(bytes.len() + 128);
                PeerFrame::write(&mut frame, &PeerHeader { part, ..header }, |w| {
                    w.buffer.extend_from_slice(bytes);
                });
                self.bulk_bytes += frame.len();
                self.bulk.push_back(frame);
            }
        }
        self.unsent() <= QUEUED_BYTES_MAX
    }

    /// Bytes written to the peer since this process started, over all connections.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that wait for the socket.
    fn unsent(&self) -> usize {
        let under_way = self.distance.as_ref().map_or(0, |distance| distance.bytes());
        self.sending.len() - self.sent + self.urgent.len() + self.bulk_bytes + under_way
    }

    /// Takes what is to be written next; false when there is nothing.
    fn take_queued(&mut self) -> bool {
        if !self.urgent.is_empty() {
            std::mem::swap(&mut self.sending, &mut self.urgent);
        } else if let Some(frame) = self.bulk.pop_front() {
            self.bulk_bytes -= frame.len();
            self.sending = frame;
        } else {
            return false;
        }
        true
    }

    /// The same where the peer is far: everything leaves at once, and what is there by now is to be written.
    fn take_arrived(&mut self, mut distance: Box<Distance>) -> bool {
        let now = Instant::now();
        while self.take_queued() {
            distance.send(std::mem::take(&mut self.sending), now);
        }
        let arrived = distance.arrived(now);
        self.distance = Some(distance);
        let is_there = arrived.is_some();
        self.sending = arrived.unwrap_or_default();
        is_there
    }

    /// Writes what it can. Ends with an error when the link is lost.
    pub fn write(&mut self) -> std::io::Result<()> {
        if self.distance.as_ref().is_some_and(|distance| distance.is_cut()) {
            return Ok(());
        }
        loop {
            if self.sent == self.sending.len() {
                self.sending.clear();
                self.sent = 0;
                if self.agreed.is_none() {
                    return Ok(());
                }
                let is_more = match self.distance.take() {
                    None => self.take_queued(),
                    Some(distance) => self.take_arrived(distance),
                };
                if !is_more {
                    return Ok(());
                }
            }
            let Some(stream) = &mut self.stream else { return Ok(()) };
            match stream.write(&self.sending[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.sent += count;
                    self.written += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads the peer's part of the handshake. True when the link has just been agreed on.
    pub fn read(&mut self) -> std::io::Result<bool> {
        let Some(stream) = &mut self.stream else { return Ok(false) };
        let mut chunk = [0u8; 4096];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut agreed = false;
        while let Some(handshake) = &mut self.handshake {
            match handshake.receive(&self.input, &mut self.sending) {
                Ok(None) => break,
                Ok(Some(step)) => {
                    self.input.drain(..step.consumed);
                    if step.agreed.is_some() {
                        self.agreed = step.agreed;
                        self.handshake = None;
                        agreed = true;
                    }
                }
                Err(refusal) => {
                    let why = format!("{:?}: {}", refusal.reason, refusal.detail);
                    return Err(std::io::Error::new(ErrorKind::PermissionDenied, why));
                }
            }
        }
        Ok(agreed)
    }
}

/// Asks the system to close the connection when the peer acknowledges nothing for long. Without it, a machine that vanished
/// without a word keeps its link, and a healed network finds it waiting for the next try of a slow schedule.
fn give_up_unacknowledged(stream: &TcpStream) {
    let millis = UNACKNOWLEDGED_MS_MAX;
    // SAFETY: the descriptor is open while `stream` lives; the option's value is one unsigned int, which outlives the call.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_USER_TIMEOUT,
            (&raw const millis).cast(),
            size_of::<libc::c_uint>() as libc::socklen_t,
        );
    }
}

/// What came on an accepted connection.
pub enum Received {
    /// The peer has proved who it is.
    Agreed(NodeId),
    Message {
        from: NodeId,
        incarnation: Incarnation,
        process: Process,
        /// The message version that was agreed on.
        version: u8,
        message: PeerMessage,
    },
    /// A message of the founding handshake, outside any link.
    Founding(Vec<u8>),
}

/// A connection that another node made, to receive on.
pub struct Incoming {
    pub stream: TcpStream,
    handshake: Option<Handshake>,
    pub agreed: Option<Agreed>,
    /// When it was accepted.
    pub since: Instant,
    input: Vec<u8>,
    output: Vec<u8>,
    assembler: Assembler,
}

/// What a founding message begins with; a handshake begins otherwise.
pub const FOUNDING_MAGIC: &[u8; 8] = b"TERCETf1";
const TAG_LEN: usize = 32;
const FOUNDING_LEN_MAX: usize = 4 << 20;

impl Incoming {
    pub fn new(stream: TcpStream, identity: Identity, secret: &[u8], nonce: [u8; 32]) -> Incoming {
        let _ = stream.set_nodelay(true);
        Incoming {
            stream,
            handshake: Some(Handshake::accept(identity, secret, nonce)),
            agreed: None,
            since: Instant::now(),
            input: Vec::new(),
            output: Vec::new(),
            assembler: Assembler::new(ASSEMBLED_BYTES_MAX),
        }
    }

    /// Whether it has let the time to prove who it is pass.
    pub fn is_overdue(&self) -> bool {
        self.agreed.is_none() && self.since.elapsed() > AGREED_WITHIN
    }

    /// Reads and understands what came. An error ends the connection.
    pub fn read(&mut self, each: &mut dyn FnMut(Received)) -> std::io::Result<()> {
        let mut closed = false;
        loop {
            let len = self.input.len();
            self.input.resize(len + (64 << 10), 0);
            let read = self.stream.read(&mut self.input[len..]);
            let count = *read.as_ref().unwrap_or(&0);
            self.input.truncate(len + count);
            match read {
                Ok(0) => {
                    closed = true;
                    break;
                }
                Ok(count) if count < 64 << 10 => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.understand(each)?;
        if closed { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn understand(&mut self, each: &mut dyn FnMut(Received)) -> std::io::Result<()> {
        let invalid = |what: String| std::io::Error::new(ErrorKind::InvalidData, what);
        let magic = FOUNDING_MAGIC.len().min(self.input.len());
        if self.handshake.is_some() && magic > 0 && self.input[..magic] == FOUNDING_MAGIC[..magic] {
            return self.understand_founding(each);
        }
        while let Some(handshake) = &mut self.handshake {
            match handshake.receive(&self.input, &mut self.output) {
                Ok(None) => break,
                Ok(Some(step)) => {
                    self.input.drain(..step.consumed);
                    if let Some(agreed) = step.agreed {
                        each(Received::Agreed(agreed.peer.node));
                        self.agreed = Some(agreed);
                        self.handshake = None;
                    }
                }
                Err(refusal) => {
                    let _ = self.flush();
                    return Err(invalid(format!("{:?}: {}", refusal.reason, refusal.detail)));
                }
            }
        }
        self.flush()?;
        let Some(agreed) = &self.agreed else { return Ok(()) };
        let version = agreed.version;
        let limits = PeerLimits { frame_len_max: FRAME_LEN_MAX, version };
        let (from, incarnation, process) = (agreed.peer.node, agreed.peer.incarnation, agreed.peer.process);
        let mut used = 0;
        loop {
            let parsed =
                PeerFrame::parse(&self.input[used..], &limits).map_err(|e| invalid(format!("{e:?}")))?;
            let Some((header, body, consumed)) = parsed else { break };
            // bugs: X-11. The frames of a link are its peer's, and no other life's of it.
            if header.sender != from || header.incarnation != incarnation || header.process != process {
                return Err(invalid("a frame of another sender".into()));
            }
            if let Ok(Some(body)) = self.assembler.accept(&header, body)
                && let Some(message) = decode(header.kind, &body)
            {
                each(Received::Message { from, incarnation, process, version, message });
            }
            used += consumed;
        }
        self.input.drain(..used);
        Ok(())
    }

    fn understand_founding(&mut self, each: &mut dyn FnMut(Received)) -> std::io::Result<()> {
        let Some(rest) = self.input.get(FOUNDING_MAGIC.len()..) else { return Ok(()) };
        let Some(len) = rest.first_chunk::<4>() else { return Ok(()) };
        let len = u32::from_le_bytes(*len) as usize;
        if len > FOUNDING_LEN_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        if let Some(body) = rest.get(4..4 + len) {
            each(Received::Founding(body.to_vec()));
            self.input.clear();
        }
        Ok(())
    }

    /// Writes this side's part of the handshake: a few bytes, which fit the socket.
    fn flush(&mut self) -> std::io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => {
                    self.output.drain(..count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The message of a frame, or of its parts put together. What nobody here would have sent is dropped: its sender's time-out brings
/// what it meant again.
fn decode(kind: u8, body: &[u8]) -> Option<PeerMessage> {
    if kind != PACKED_KIND {
        return PeerMessage::decode(kind, body).ok();
    }
    let (kind, body) = packing::unpack(body, ASSEMBLED_BYTES_MAX)?;
    PeerMessage::decode(kind, &body).ok()
}

/// Sends one founding message to an address, on a connection of its own, from a thread of its own.
pub fn send_founding(address: String, secret: &str, body: Vec<u8>) {
    let mut proof = tag(secret, &body);
    proof.extend_from_slice(&body);
    let body = proof;
    std::thread::spawn(move || {
        let Ok(mut addresses) = std::net::ToSocketAddrs::to_socket_addrs(&address) else { return };
        let Some(address) = addresses.next() else { return };
        let Ok(mut stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(500))
        else {
            return;
        };
        let _ = stream.set_write_timeout(Some(Duration::from_millis(500)));
        let mut bytes = FOUNDING_MAGIC.to_vec();
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&body);
        // Whoever does not hear it is asked or answered again.
        let _ = stream.write_all(&bytes);
    });
}

/// HMAC-SHA256 of a founding message under the cluster's secret: who does not know it can neither join nor misdirect.
fn tag(secret: &str, body: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map(|mac| mac.chain_update(body));
    mac.map(|mac| mac.finalize().into_bytes().to_vec()).unwrap_or_default()
}

/// The message behind a proof that holds.
pub fn proved<'a>(secret: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (proof, body) = bytes.split_at_checked(TAG_LEN)?;
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?.chain_update(body);
    mac.verify_slice(proof).ok().map(|()| body)
}

#[cfg(test)]
mod tests;
