//! Publish/subscribe: cluster-wide, at most once.

use crate::io::ConnectionId;
use crate::message::PeerMessage;
use crate::node::{Flow, Node};
use crate::session::Session;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use bytes::Bytes;
use wire::{Protocol, ReplyWriter};

/// Who listens to what on this node.
#[derive(Default)]
pub(crate) struct PubSub {
    pub channels: BTreeMap<Box<[u8]>, BTreeSet<ConnectionId>>,
    pub patterns: BTreeMap<Box<[u8]>, BTreeSet<ConnectionId>>,
}

impl PubSub {
    pub fn forget(&mut self, connection: ConnectionId, session: &Session) {
        for channel in &session.channels {
            remove(&mut self.channels, channel, connection);
        }
        for pattern in &session.patterns {
            remove(&mut self.patterns, pattern, connection);
        }
    }
}

fn remove(map: &mut BTreeMap<Box<[u8]>, BTreeSet<ConnectionId>>, name: &[u8], connection: ConnectionId) {
    if let Some(listeners) = map.get_mut(name) {
        listeners.remove(&connection);
        if listeners.is_empty() {
            map.remove(name);
        }
    }
}

impl Node {
    /// SUBSCRIBE and PSUBSCRIBE: one confirmation for each name.
    pub(crate) fn subscribe(&mut self, connection: ConnectionId, names: &[&[u8]], patterns: bool) -> Flow {
        for name in names {
            let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
            let (mine, all) = if patterns {
                (&mut session.patterns, &mut self.pubsub.patterns)
            } else {
                (&mut session.channels, &mut self.pubsub.channels)
            };
            mine.insert((*name).into());
            all.entry((*name).into()).or_default().insert(connection);
            let count = session.subscriptions();
            let word: &[u8] = if patterns { b"psubscribe" } else { b"subscribe" };
            self.reply(connection, |w| {
                w.push(3);
                w.bulk(word);
                w.bulk(name);
                w.integer(count as i64);
            });
        }
        Flow::Continue
    }

    /// UNSUBSCRIBE and PUNSUBSCRIBE; without names from all.
    pub(crate) fn unsubscribe(&mut self, connection: ConnectionId, names: &[&[u8]], patterns: bool) -> Flow {
        let word: &[u8] = if patterns { b"punsubscribe" } else { b"unsubscribe" };
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let mine = if patterns { &session.patterns } else { &session.channels };
        let names: Vec<Box<[u8]>> = if names.is_empty() {
            mine.iter().cloned().collect()
        } else {
            names.iter().map(|name| (*name).into()).collect()
        };
        if names.is_empty() {
            let count = session.subscriptions();
            return self.reply(connection, |w| {
                w.push(3);
                w.bulk(word);
                w.null();
                w.integer(count as i64);
            });
        }
        for name in names {
            let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
            if patterns {
                session.patterns.remove(&name);
                remove(&mut self.pubsub.patterns, &name, connection);
            } else {
                session.channels.remove(&name);
                remove(&mut self.pubsub.channels, &name, connection);
            }
            let count = session.subscriptions();
            self.reply(connection, |w| {
                w.push(3);
                w.bulk(word);
                w.bulk(&name);
                w.integer(count as i64);
            });
        }
        Flow::Continue
    }

    /// PUBLISH: to this node's subscribers and to every other node's. The reply counts this node's, as in a Redis cluster.
    pub(crate) fn publish(&mut self, connection: ConnectionId, channel: &[u8], payload: &[u8]) -> Flow {
        self.statistics.published += 1;
        let receivers = self.deliver(channel, payload);
        let message = (Bytes::copy_from_slice(channel), Bytes::copy_from_slice(payload));
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            let (channel, payload) = message.clone();
            self.send(peer, PeerMessage::Publish { channel, payload });
        }
        self.reply(connection, |w| w.integer(receivers))
    }

    /// Gives a message to this node's subscribers; how many.
    pub(crate) fn deliver(&mut self, channel: &[u8], payload: &[u8]) -> i64 {
        let mut receivers = 0;
        let direct: Vec<ConnectionId> =
            self.pubsub.channels.get(channel).into_iter().flatten().copied().collect();
        for connection in direct {
            receivers += 1;
            self.push_message(connection, None, channel, payload);
        }
        let matching: Vec<(Box<[u8]>, Vec<ConnectionId>)> = self
            .pubsub
            .patterns
            .iter()
            .filter(|(pattern, _)| commands::glob::matches(pattern, channel))
            .map(|(pattern, listeners)| (pattern.clone(), listeners.iter().copied().collect()))
            .collect();
        for (pattern, listeners) in matching {
            for connection in listeners {
                receivers += 1;
                self.push_message(connection, Some(&pattern), channel, payload);
            }
        }
        receivers
    }

    fn push_message(
        &mut self,
        connection: ConnectionId,
        pattern: Option<&[u8]>,
        channel: &[u8],
        payload: &[u8],
    ) {
        let Some(session) = self.sessions.get_mut(connection) else { return };
        let mut bytes = Vec::new();
        let mut w = ReplyWriter::new(&mut bytes, session.protocol);
        match pattern {
            None => {
                w.push(3);
                w.bulk(b"message");
            }
            Some(pattern) => {
                w.push(4);
                w.bulk(b"pmessage");
                w.bulk(pattern);
            }
        }
        w.bulk(channel);
        w.bulk(payload);
        session.replies.push(&bytes);
        self.note_output(connection);
    }

    /// Whether a command may be sent by a RESP2 client that has subscriptions.
    pub(crate) fn allowed_while_subscribed(&self, connection: ConnectionId, name: &str) -> bool {
        let subscribed = |s: &Session| s.protocol == Protocol::Resp2 && s.subscriptions() > 0;
        !self.sessions.get(connection).is_some_and(subscribed)
            || matches!(
                name,
                "subscribe" | "unsubscribe" | "psubscribe" | "punsubscribe" | "ping" | "quit" | "reset"
            )
    }
}
