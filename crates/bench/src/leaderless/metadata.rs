//! What a key costs beyond its name and value: in memory of a copy, on the log, and in the hands of a client. Written by a few clients,
//! then each key again by many others, every one a connection of its own: only replicas are actors, so that nothing may grow.
// catalogue: K10
// bugs: LL-13

use std::io;
use std::path::PathBuf;

use super::{KEYSPACE, VALUE_BYTES, connect, fill, found, ok, resident_bytes};
use crate::client::Client;
use crate::process::Server;
use crate::redis_load::key_name;
use crate::resp::Value;
use crate::servers::tercet::Cluster;
use crate::servers::wait_for;
use std::time::Duration;

/// The keys that many clients write.
const WRITTEN_BY_MANY: u64 = 1_000;
const SETTLE_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Clone, Debug)]
pub struct Plan {
    pub tercet: PathBuf,
    pub keys: u64,
    /// Connections that write one key each.
    pub clients: u64,
}

/// Measures; a table.
///
/// # Errors
/// When a node cannot be started, or a write is not acknowledged.
pub fn measure(plan: &Plan, progress: &mut dyn FnMut(&str)) -> io::Result<String> {
    let cluster = found(&plan.tercet, "W 2 R 2")?;
    let addresses = cluster.resp_addresses();
    let empty = resident_bytes(&servers(&cluster));
    fill(&addresses, plan.keys, b'a')?;
    settle(&cluster)?;
    let full = resident_bytes(&servers(&cluster));
    let few = context_bytes(&cluster, &key_name(0))?;
    progress(&format!("{} keys are written", plan.keys));
    for client in 0..plan.clients {
        let mut one = Client::connect(addresses[client as usize % addresses.len()], Duration::from_secs(5))?;
        one.send(&["SELECT", KEYSPACE]).map_err(io::Error::other)?;
        let name = key_name(client % WRITTEN_BY_MANY.min(plan.keys));
        one.send(&[b"SET".as_slice(), &name, &[b'b'; VALUE_BYTES]]).map_err(io::Error::other)?;
        let (selected, written) = (one.receive()?, one.receive()?);
        if selected != ok() || written != ok() {
            return Err(io::Error::other(format!("client {client}: {selected:?}, {written:?}")));
        }
        if (client + 1) % 20_000 == 0 {
            progress(&format!("{} clients wrote", client + 1));
        }
    }
    settle(&cluster)?;
    let many = context_bytes(&cluster, &key_name(0))?;
    let copies = addresses.len() as u64;
    let per_key = full.saturating_sub(empty) as f64 / (plan.keys * copies) as f64;
    let payload = key_name(0).len() + VALUE_BYTES;
    Ok(format!(
        "metadata, three nodes, keys of {payload} bytes\n  memory of a copy per key: {per_key:.0} bytes, {:.0} beyond name and value ({} keys)\n  \
         context that a client carries for a key: {few} bytes after a few clients, {many} after {} more, {} for each key\n",
        per_key - payload as f64,
        plan.keys,
        plan.clients,
        plan.clients / WRITTEN_BY_MANY.min(plan.keys),
    ))
}

fn servers(cluster: &Cluster) -> Vec<&Server> {
    cluster.nodes.iter().filter_map(|node| node.server.as_ref()).collect()
}

/// What is recent of each key goes once all copies told each other what they hold.
fn settle(cluster: &Cluster) -> io::Result<()> {
    wait_for("settled copies", SETTLE_TIMEOUT, || {
        let copies = cluster.nodes.iter().map(|node| super::copy_of(node.resp));
        copies.into_iter().try_fold((), |(), copy| {
            let (copy, _) = copy?;
            (copy.get("unsettled")? == "0").then_some(())
        })
    })
}

/// The length of the context that GETV tells.
fn context_bytes(cluster: &Cluster, key: &[u8]) -> io::Result<usize> {
    let reply = connect(cluster.nodes[0].resp)?.call(&[b"GETV".as_slice(), key]).map_err(io::Error::other)?;
    match reply.items().first() {
        Some(Value::Bulk(context)) => Ok(context.len()),
        _ => Err(io::Error::other(format!("GETV: {reply:?}"))),
    }
}
