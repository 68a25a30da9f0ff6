//! SESSION: what a connection has written and seen, as a token that takes it to another one.
// catalogue: G2 G3 G4 I5

use super::wait::Question;
use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use commands::spec::{unknown_subcommand, wrong_arity};
use data::id::CONTROL_GROUP;
use data::{GroupId, Position};
use protocol::multi_leader::SiteToken;
use protocol::session::{Positions, is_lost};
use wire::{Protocol, ReplyWriter};

const HELP: &[&str] = &[
    "SESSION <subcommand> [<arg>]. Subcommands are:",
    "TOKEN",
    "    What this session has written and seen, for another connection or node.",
    "RESUME <token>",
    "    Go on from there: reads show what that session wrote and saw, or answer TOKENLOST.",
    "RESET",
    "    Forget what was written and seen.",
    "HELP",
];

impl Node {
    pub(super) fn session(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        let subcommand = args[1].to_ascii_lowercase();
        match (&subcommand[..], &args[2..]) {
            // Of commands that are not answered yet nobody knows whether they will have happened.
            (b"token", []) => self.ask_later(connection, Question::Token, None, None, None),
            (b"resume", [token]) => self.resume_session(connection, token),
            (b"reset", []) => {
                if let Some(session) = self.sessions.get_mut(connection) {
                    session.restart();
                }
                self.reply(connection, |w| w.ok())
            }
            (b"help", []) => self.reply(connection, |w| {
                w.array(HELP.len());
                HELP.iter().for_each(|line| w.simple(line));
            }),
            (b"token" | b"resume" | b"reset" | b"help", _) => {
                let shown = format!("session|{}", String::from_utf8_lossy(&subcommand));
                self.reply_error(connection, &wrong_arity(&shown))
            }
            _ => self.reply_error(connection, &unknown_subcommand("session", args[1])),
        }
    }

    /// The reply to SESSION TOKEN, when everything before it was answered.
    /// `sites`: what those sites hold that the session saw something of; `untold`: a group of one that did not tell.
    pub(super) fn token_bytes(
        &mut self,
        connection: ConnectionId,
        sites: &SiteToken,
        untold: Option<GroupId>,
    ) -> Vec<u8> {
        let map = &self.map;
        // A number below the next one that is not in the map is of a group that is gone for ever.
        // What was heard of the map elsewhere is kept: this node may know an older one, after a restart.
        let keeps =
            |group: GroupId| group == CONTROL_GROUP || group >= map.next_group || map.view(group).is_some();
        let mut bytes = Vec::new();
        let mut w = ReplyWriter::new(&mut bytes, Protocol::Resp2);
        let Some(session) = self.sessions.get_mut(connection) else { return bytes };
        session.seen.retain(keeps);
        if map.moved_at > 0 {
            // Of the map itself: who goes on from here must know who owns what as well as this node does.
            session.seen.note(CONTROL_GROUP, Position::new(1, map.moved_at));
        }
        map.views().for_each(|view| session.seen.settle(view));
        session.sites.retain(|(keyspace, _)| map.keyspaces.contains_key(&keyspace));
        let mut held = session.sites.clone();
        let has_room = held.join(sites);
        let token = session.seen.token(map.cluster, &held).filter(|_| has_room);
        match session.seen.unplaced() {
            _ if untold.is_some() => w.error(&format!(
                "TRYAGAIN the leader of group {} did not say what its site holds: no token can carry what was seen there now",
                untold.unwrap_or_default().0
            )),
            Some(group) => w.error(&format!(
                "TRYAGAIN group {} is led by a node of an older version, which does not tell where what was read stands: no token can carry it",
                group.0
            )),
            None => match token {
                Some(token) => w.bulk(token.as_bytes()),
                None => w.error("ERR this session saw more shards than a token can carry: SESSION RESET begins anew"),
            },
        }
        bytes
    }

    fn resume_session(&mut self, connection: ConnectionId, token: &[u8]) -> Flow {
        let (positions, sites) = match Positions::from_token(token, self.map.cluster) {
            Ok((mut positions, sites)) => {
                self.follow_moves_since(&mut positions);
                (positions, sites)
            }
            Err(error) => return self.reply_error(connection, &format!("TOKENINVALID {error}")),
        };
        let lost = positions.iter().find_map(|(group, position)| {
            let view = self.map.view(group).filter(|view| is_lost(view, position))?;
            Some(self.lost_text(view, position))
        });
        if let Some(text) = lost {
            self.statistics.sessions_lost += 1;
            return self.reply_error(connection, &text);
        }
        let session = self.sessions.get_mut(connection);
        if session.is_some_and(|session| session.resume(&positions, &sites).is_err()) {
            let text = "ERR a session cannot keep all that this token and those before it name: SESSION RESET begins anew";
            return self.reply_error(connection, text);
        }
        let told = |group: &GroupId| self.shard_of_site(*group).is_some_and(|it| sites.wanted(it).is_some());
        let carried: Vec<(GroupId, Position)> = positions.iter().filter(|(group, _)| told(group)).collect();
        if let Some(session) = self.sessions.get_mut(connection) {
            session.carried.extend(carried);
        }
        self.reply(connection, |w| w.ok())
    }
}
