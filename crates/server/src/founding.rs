//! Before a node is a member: founds a cluster together with the other founders, or joins one.

use crate::clock;
use crate::peers::{FOUNDING_MAGIC, proved, send_founding};
use crate::settings::{Settings, StartError};
use crate::start::Handle;
use control::founding::{Founding, FoundingInput, FoundingMessage, FoundingOutput};
use control::{Addresses, ClusterMap, Founded};
use data::NodeId;
use data::codec::{Reader, Writer};
use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::Disk;
use storage::disk::{read_all, replace};

/// A founder asks to join so often while nobody answers.
const ASK_EVERY: Duration = Duration::from_millis(300);

/// A node's place in a cluster.
pub struct Membership {
    pub cluster: u64,
    pub node: NodeId,
    pub nonce: u64,
    /// How the cluster was founded, if this node took part.
    pub founded: Option<Founded>,
    /// The map that came with the answer to a request to join.
    pub map: Option<Arc<ClusterMap>>,
}

pub fn addresses(settings: &Settings) -> Addresses {
    Addresses { resp: settings.resp.clone(), peer: settings.peer.clone(), http: settings.http.clone() }
}

fn file(disk: Option<&dyn Disk>, name: &str) -> Option<Vec<u8>> {
    disk.and_then(|disk| read_all(disk, name).ok())
}

fn keep(disk: Option<&dyn Disk>, name: &str, bytes: &[u8]) -> Result<(), StartError> {
    match disk {
        Some(disk) => replace(disk, "", name, bytes).map_err(|error| StartError::new(error.to_string())),
        None => Ok(()),
    }
}

/// The nonce of this directory: drawn once, durable before anybody hears of it.
pub fn nonce(disk: Option<&dyn Disk>) -> Result<u64, StartError> {
    if let Some(bytes) = file(disk, "nonce")
        && let Some(bytes) = bytes.first_chunk::<8>()
    {
        return Ok(u64::from_le_bytes(*bytes));
    }
    let nonce = clock::random_u64();
    keep(disk, "nonce", &nonce.to_le_bytes())?;
    Ok(nonce)
}

/// The founding act that this directory remembers.
pub fn remembered(disk: Option<&dyn Disk>) -> Option<Founded> {
    file(disk, "founded").and_then(|bytes| Founded::decode(&mut Reader::new(&bytes)).ok())
}

/// The map that came with the answer to a request to join, as the directory remembers it.
pub fn remembered_map(disk: Option<&dyn Disk>) -> Option<Arc<ClusterMap>> {
    file(disk, "joined").and_then(|bytes| ClusterMap::decode(&mut Reader::new(&bytes)).ok()).map(Arc::new)
}

pub fn encoded(message: &FoundingMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut Writer::new(&mut bytes));
    bytes
}

/// Founds or joins; returns when this node is a member, or `None` when it was told to stop.
pub fn become_member(
    settings: &Settings,
    disk: Option<&dyn Disk>,
    listener: &TcpListener,
    handle: &Handle,
) -> Result<Option<Membership>, StartError> {
    if settings.founders.is_empty() && settings.join.is_empty() {
        return Err(StartError::new(
            "this node belongs to no cluster yet: --founders names the nodes that found one together, --join members of one that exists",
        ));
    }
    let nonce = nonce(disk)?;
    if let Err(error) = listener.set_nonblocking(true) {
        return Err(StartError::new(error.to_string()));
    }
    let mut asked: Vec<String> = settings.join.clone();
    let founders = settings.founders.clone();
    if !founders.is_empty() && !founders.contains(&settings.peer) {
        return Err(StartError::new(format!(
            "--founders must name this node's own peer address {}, exactly as --peer does",
            settings.peer
        )));
    }
    let mut founding =
        (!founders.is_empty()).then(|| Founding::new(settings.peer.clone(), nonce, founders.clone()));
    let mut asked_at: Option<Instant> = None;
    while !handle.ends() {
        let mut outputs = Vec::new();
        let now = clock::now().instant;
        for message in received(listener, &settings.secret) {
            match message {
                FoundingMessage::Hello(hello) => {
                    if let Some(founding) = &mut founding {
                        founding.step(now, FoundingInput::Hello(hello), &mut outputs);
                    }
                }
                FoundingMessage::JoinAnswer { cluster, node, map } if founding.is_none() => {
                    let mut bytes = Vec::new();
                    map.encode(&mut Writer::new(&mut bytes));
                    keep(disk, "joined", &bytes)?;
                    return Ok(Some(Membership { cluster, node, nonce, founded: None, map: Some(map) }));
                }
                FoundingMessage::JoinAnswer { .. }
                | FoundingMessage::JoinRequest { .. }
                | FoundingMessage::JoinLater => {}
            }
        }
        if let Some(founding) = &mut founding {
            founding.step(now, FoundingInput::Tick, &mut outputs);
        }
        for output in outputs {
            match output {
                FoundingOutput::Send { to, message } => {
                    send_founding(to, &settings.secret, encoded(&message))
                }
                FoundingOutput::Found { founded, node } => {
                    let mut bytes = Vec::new();
                    founded.encode(&mut Writer::new(&mut bytes));
                    keep(disk, "founded", &bytes)?;
                    let cluster = founded.cluster();
                    return Ok(Some(Membership { cluster, node, nonce, founded: Some(founded), map: None }));
                }
                FoundingOutput::JoinInstead => {
                    founding = None;
                    asked = founders.iter().filter(|peer| **peer != settings.peer).cloned().collect();
                }
            }
        }
        if founding.is_none() && asked_at.is_none_or(|at| at.elapsed() >= ASK_EVERY) {
            asked_at = Some(Instant::now());
            for peer in &asked {
                let (name, site) = (settings.name.clone(), settings.site.clone());
                let request =
                    FoundingMessage::JoinRequest { name, addresses: addresses(settings), site, nonce };
                send_founding(peer.clone(), &settings.secret, encoded(&request));
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}

/// Messages of connections that came in since the last look. Links that dial too early are closed: they come again.
fn received(listener: &TcpListener, secret: &str) -> Vec<FoundingMessage> {
    let mut messages = Vec::new();
    while let Ok((mut stream, _)) = listener.accept() {
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
        let mut magic = [0u8; 8];
        if stream.read_exact(&mut magic).is_err() || magic != *FOUNDING_MAGIC {
            continue;
        }
        let mut len = [0u8; 4];
        if stream.read_exact(&mut len).is_err() {
            continue;
        }
        let mut body = Vec::new();
        let len = u64::from(u32::from_le_bytes(len)).min(4 << 20);
        if stream.take(len).read_to_end(&mut body).is_ok()
            && let Some(body) = proved(secret, &body)
            && let Ok(message) = FoundingMessage::decode(&mut Reader::new(body))
        {
            messages.push(message);
        }
    }
    messages
}
