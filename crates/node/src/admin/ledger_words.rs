//! Items of the ledger in words.

use super::ledger::Listed;
use alloc::string::{String, ToString};
use data::ledger::UNKNOWN_END;
use wire::ReplyWriter;

/// Fields of an item.
pub const FIELDS: usize = 12;

pub fn write_item(listed: &Listed, keyspace: &str, nodes: &[&str], w: &mut ReplyWriter<'_>) {
    let item = &listed.item;
    let request = item.request;
    let request_text = match request.is_none() {
        true => String::new(),
        false => alloc::format!("{}:{}:{}", request.origin.0, request.process.0, request.sequence),
    };
    for (name, value) in [
        ("id", item.id.to_string()),
        ("keyspace", keyspace.to_string()),
        ("mark", item.mark.name().to_string()),
        ("request", request_text),
    ] {
        w.bulk(name.as_bytes());
        w.bulk(value.as_bytes());
    }
    // -1: nobody knows how many.
    let through = if item.through == UNKNOWN_END { -1 } else { item.through.0 as i64 };
    let entries = item.entries().map_or(-1, |count| count as i64);
    for (name, value) in [
        ("epoch", item.id.position.epoch.0 as i64),
        ("index", item.id.position.index.0 as i64),
        ("through", through),
        ("entries", entries),
        ("lost-to", item.lost_to.0 as i64),
        ("time-ms", item.time_ms),
        ("payload-bytes", listed.payload_bytes as i64),
    ] {
        w.bulk(name.as_bytes());
        w.integer(value);
    }
    w.bulk(b"nodes");
    w.array(nodes.len());
    nodes.iter().for_each(|name| w.bulk(name.as_bytes()));
}
