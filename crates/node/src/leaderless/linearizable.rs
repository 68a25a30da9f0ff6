//! `WITH LINEARIZABLE DO <command>`: the copies of one key agree on its values one by one ([`protocol::leaderless`], rule 11), and the
//! command is executed here on the value before it, as on a plain table.
//!
//! A command may be executed several times before one of its outcomes is agreed on: each waits under the ballot that it was
//! decided under, and the client is told that of the ballot that came true.
// catalogue: K4
// bugs: LL-03

use super::receipt::{QuorumReceipt, ReadBy, WrittenBy};
use super::serve::{BUSY, refused};
use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::replies::SlotId;
use crate::session::Receipt;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use commands::alone::{self, Left};
use commands::{Class, Spec};
use data::causal::{Ballot, Proposal};
use data::value::Blob;
use data::{GroupId, KeyspaceId};
use protocol::leaderless::{Reply, WriteReceipt};
use wire::{Protocol, ReplyWriter};

/// What a value takes at most, in bytes: each write sends all of it to all copies. A guess.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// A command that is under way.
pub(super) struct Agreement {
    connection: ConnectionId,
    slot: SlotId,
    protocol: Protocol,
    /// Its number among the connection's.
    command: u64,
    keyspace: KeyspaceId,
    group: GroupId,
    spec: &'static Spec,
    words: Vec<Bytes>,
    /// What the client is told, by the ballot under which it was decided.
    replies: Vec<(Ballot, Vec<u8>)>,
}

/// By the coordinator's name for its client.
#[derive(Default)]
pub(super) struct Agreements {
    under_way: BTreeMap<u64, Agreement>,
}

impl Agreements {
    pub fn take(&mut self, client: u64) -> Option<Agreement> {
        self.under_way.remove(&client)
    }
    pub fn of_group(&self, group: GroupId) -> Vec<u64> {
        self.under_way.iter().filter(|(_, it)| it.group == group).map(|(client, _)| *client).collect()
    }
    pub fn count(&self) -> usize {
        self.under_way.len()
    }
}

fn too_large() -> String {
    format!(
        "ERR a linearizable value takes at most {VALUE_BYTES_MAX} bytes, for each write sends all of it: nothing was written"
    )
}

/// What a command makes of a key: its image and expiry, or nothing where it changes nothing.
type Change = Option<(Option<Blob>, Option<i64>)>;

impl Node {
    pub(super) fn serve_linearizable(
        &mut self,
        connection: ConnectionId,
        keyspace: KeyspaceId,
        spec: &'static Spec,
        args: &[&[u8]],
    ) -> Flow {
        match self.plan_linearizable(keyspace, spec, args) {
            Ok(key) => self.begin_agreement(connection, keyspace, spec, args, key),
            Err(error) => self.reply_error(connection, &error),
        }
    }

    fn plan_linearizable(
        &self,
        keyspace: KeyspaceId,
        spec: &'static Spec,
        args: &[&[u8]],
    ) -> Result<Blob, String> {
        self.levels_of_request(keyspace)?;
        let key = alone::key_alone(spec, args).map_err(|error| String::from(error.text()))?;
        if args.iter().map(|arg| arg.len()).sum::<usize>() > VALUE_BYTES_MAX {
            return Err(too_large());
        }
        let old = |node: &control::Node| {
            self.versions.get(&node.id).is_some_and(|version| *version < super::AGREEMENT_SINCE)
        };
        if let Some(node) = self.map.nodes.values().find(|node| old(node)) {
            return Err(format!(
                "TRYAGAIN node {} runs a version that knows no linearizable keys: upgrade it first",
                node.name
            ));
        }
        if self.disk_full && spec.class == Class::Write {
            return Err("MISCONF this node's disk is full: nothing was written; write to another node".into());
        }
        Ok(key.into())
    }

    fn begin_agreement(
        &mut self,
        connection: ConnectionId,
        keyspace: KeyspaceId,
        spec: &'static Spec,
        args: &[&[u8]],
        key: Blob,
    ) -> Flow {
        let group = self.shard_of(keyspace, &key);
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        session.replies.begin();
        session.replies.rollback();
        let slot = session.replies.hold();
        session.paused = true;
        let agreement = Agreement {
            connection,
            slot,
            protocol: session.protocol,
            command: session.commands,
            keyspace,
            group,
            spec,
            words: args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect(),
            replies: Vec::new(),
        };
        let client = self.leaderless.calls.next();
        self.leaderless.agreements.under_way.insert(client, agreement);
        self.leaderless.counts.agreements += 1;
        let now = self.now.instant;
        match self.leaderless.shards.get_mut(&group) {
            Some(it) => {
                let mut out = Vec::new();
                let bytes = args.iter().map(|arg| arg.len()).sum();
                it.coordinator.propose(now, client, (key, bytes), spec.class == Class::Read, &mut out);
                self.carry_out_coordinator(group, out);
            }
            None => self.on_quorum_reply(client, Reply::Busy),
        }
        if self.is_paused(connection) { Flow::Pause } else { Flow::Continue }
    }

    /// The coordinator asks what a command makes of a value.
    pub(super) fn decide_linearizable(&mut self, client: u64, ballot: Ballot, value: &Proposal) -> Change {
        let agreement = self.leaderless.agreements.under_way.get_mut(&client)?;
        let args: Vec<&[u8]> = agreement.words.iter().map(|word| &word[..]).collect();
        let (spec, protocol) = (agreement.spec, agreement.protocol);
        let (now_ms, random) = (self.now.wall.middle_ms(), &mut self.random);
        let mut reply = Vec::new();
        let left = alone::execute(spec, &args, value.image.as_deref(), now_ms, random, protocol, &mut reply);
        let change = match left {
            Ok(Left::Same) => None,
            Ok(Left::Other { image, .. }) if image.as_ref().is_some_and(|it| it.len() > VALUE_BYTES_MAX) => {
                reply.clear();
                ReplyWriter::new(&mut reply, protocol).error(&too_large());
                None
            }
            Ok(Left::Other { image, expires_at_ms }) => Some((image, expires_at_ms)),
            Err(error) => {
                ReplyWriter::new(&mut reply, protocol).error(error.text());
                None
            }
        };
        agreement.replies.push((ballot, reply));
        change
    }

    /// A command has its end.
    pub(super) fn on_agreement(&mut self, agreement: Agreement, reply: Reply) {
        let is_write = agreement.spec.class == Class::Write;
        let mut receipt = QuorumReceipt::of(1);
        if let Some(it) = self.leaderless.shards.get(&agreement.group) {
            receipt.ring = it.placement.ring;
        }
        let mut bytes = Vec::new();
        let done = if is_write { "written" } else { "read" };
        let error = match reply {
            Reply::Agreed { decided, value, required, replicas } => {
                if is_write {
                    receipt.outcome = "acknowledged";
                    let (stand_ins, delta, outcome) = (Vec::new(), None, None);
                    let by = WriteReceipt { required, replicas, stand_ins, delta, outcome };
                    receipt.wrote(WrittenBy::of(&by));
                } else {
                    let (stand_ins, stale) = (Vec::new(), Vec::new());
                    receipt.read(ReadBy { required, replicas, stand_ins, stale });
                }
                bytes = self.reply_of(&agreement, decided, &value);
                None
            }
            Reply::Indeterminate { acknowledged, required, receipt: by } => {
                self.statistics.indeterminate += 1;
                receipt.outcome = "indeterminate";
                receipt.wrote(WrittenBy::of(&by));
                Some(format!(
                    "INDETERMINATE {acknowledged} of {required} copies agreed in time: the write may or may not take effect"
                ))
            }
            Reply::NoQuorum { required, alive } => {
                self.leaderless.counts.no_quorum += 1;
                receipt.outcome = "no-quorum";
                Some(format!(
                    "NOQUORUM {required} copies must agree on this key, {alive} did or can be reached: nothing was {done}"
                ))
            }
            Reply::Refused(why) => {
                self.leaderless.counts.outbid += u64::from(why == protocol::leaderless::Why::Outbid);
                self.statistics.refused_writes += u64::from(is_write);
                receipt.outcome = "refused";
                Some(refused(why).into())
            }
            _ => {
                receipt.outcome = "refused";
                Some(BUSY.into())
            }
        };
        if let Some(error) = error {
            self.statistics.errors += 1;
            ReplyWriter::new(&mut bytes, agreement.protocol).error(&error);
        }
        if let Some(session) = self.sessions.get_mut(agreement.connection) {
            let receipt = Receipt {
                keyspace: agreement.keyspace,
                group: agreement.group,
                node: self.config.node,
                write: is_write,
                quorum: Some(Box::new(receipt)),
                ..Receipt::default()
            };
            session.achieved(agreement.command, receipt);
        }
        self.fill(agreement.connection, agreement.slot, &bytes);
        self.resume(agreement.connection);
    }

    /// What was decided under the ballot that came true; a read is executed now, on the value that was agreed on.
    fn reply_of(&mut self, agreement: &Agreement, decided: Ballot, value: &Proposal) -> Vec<u8> {
        let known = agreement.replies.iter().find(|(ballot, _)| *ballot == decided && !decided.is_none());
        if let Some((_, reply)) = known {
            return reply.clone();
        }
        let args: Vec<&[u8]> = agreement.words.iter().map(|word| &word[..]).collect();
        let (now_ms, random) = (self.now.wall.middle_ms(), &mut self.random);
        let (image, protocol) = (value.image.as_deref(), agreement.protocol);
        let mut reply = Vec::new();
        if let Err(error) = alone::execute(agreement.spec, &args, image, now_ms, random, protocol, &mut reply)
        {
            ReplyWriter::new(&mut reply, protocol).error(error.text());
        }
        reply
    }
}
