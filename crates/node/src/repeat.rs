//! Writes under an id that are asked for again: answered as they were, never executed twice.
// bugs: SL-25

use crate::answers::Known;
use crate::execute::Identity;
use crate::group::Target;
use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::options::{fingerprint, unsealed};
use alloc::string::String;
use bytes::Bytes;
use data::{GroupId, Position, RequestId};
use wire::Protocol;

const OTHER_COMMAND: &str = "ERR another command was executed under this id: nothing was done";
const OTHER_PROTOCOL: &str = "ERR the request was executed, and its answer is not told in this protocol: ask in the one it was sent in";
const TOO_OLD: &str =
    "REQUESTOLD the id is too old to know whether its request was executed: nothing was done now";
const ELSEWHERE: &str = "INDETERMINATE the same request was asked again: its answer goes there";

/// What is to be done with a request that carries an id.
pub(crate) enum Repeat {
    /// Execute it: nobody has.
    New,
    /// It was executed as this entry, with this reply.
    Answered {
        position: Position,
        reply: Bytes,
    },
    Refused(&'static str),
}

impl Node {
    /// The id that the command under way goes by: its client's own, where it gave one and the command may write.
    pub(crate) fn identify<'a>(
        &self,
        group: GroupId,
        writes: bool,
        words: impl Iterator<Item = &'a [u8]>,
        otherwise: Identity,
    ) -> Identity {
        let Some(options) = &self.options else { return otherwise };
        let (Some(client), Some(it), true) = (&options.client, self.groups.get(&group), writes) else {
            return otherwise;
        };
        Identity { request: client.id(&it.table), command: Some(fingerprint(&it.table, words)) }
    }

    /// Whether a request was executed before. What waits under the same id is asked for again by this.
    pub(crate) fn repeated(
        &mut self,
        group: GroupId,
        identity: Identity,
        protocol: Protocol,
        by: Option<RequestId>,
    ) -> Repeat {
        let Some(it) = self.groups.get_mut(&group) else { return Repeat::New };
        let found = it.answers.find(identity.request);
        match (found, identity.command) {
            (Known::New, _) => {
                self.take_over_blocked(group, identity, by);
                Repeat::New
            }
            (Known::Done { position, reply }, None) => Repeat::Answered { position, reply },
            (Known::Done { position, reply }, Some(command)) => match unsealed(&reply, protocol) {
                Some((same, Some(reply))) if same == command => {
                    // What it shows is committed with its own entry.
                    it.depended = position.index;
                    Repeat::Answered { position, reply: Bytes::copy_from_slice(reply) }
                }
                Some((same, None)) if same == command => Repeat::Refused(OTHER_PROTOCOL),
                _ => Repeat::Refused(OTHER_COMMAND),
            },
            (Known::TooOld, None) => {
                Repeat::Refused("INDETERMINATE the request is too old to know whether it was executed")
            }
            (Known::TooOld, Some(_)) => Repeat::Refused(TOO_OLD),
        }
    }

    /// Asked again while it waits for data: the newest asking is the one that is answered.
    fn take_over_blocked(&mut self, group: GroupId, identity: Identity, by: Option<RequestId>) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let waiting = it.blocked.of(|entry| entry.identity.request == identity.request);
        for number in waiting {
            let Some(entry) = self.groups.get_mut(&group).and_then(|it| it.blocked.remove(number)) else {
                continue;
            };
            match entry.to {
                Target::Client { connection, slot } => {
                    self.fill(connection, slot, alloc::format!("-{ELSEWHERE}\r\n").as_bytes());
                    self.resume(connection);
                }
                // A copy of the same asking: its forwarder waits for one answer.
                Target::Peer { request, .. } if Some(request) == by => {}
                Target::Peer { node, request, .. } => self.refuse_forwarded(node, request, ELSEWHERE),
            }
        }
    }

    /// A client of this node asks again: its reply, when there is nothing to execute.
    pub(crate) fn repeat_here(
        &mut self,
        connection: ConnectionId,
        group: GroupId,
        identity: Identity,
    ) -> Option<Flow> {
        identity.command?;
        let protocol = self.sessions.get(connection)?.protocol;
        match self.repeated(group, identity, protocol, None) {
            Repeat::New => None,
            Repeat::Answered { position, reply } => {
                let session = self.sessions.get_mut(connection)?;
                session.replies.begin().extend_from_slice(&reply);
                self.conclude_write(connection, group, position);
                Some(Flow::Continue)
            }
            Repeat::Refused(text) => Some(self.reply_error(connection, &String::from(text))),
        }
    }
}
