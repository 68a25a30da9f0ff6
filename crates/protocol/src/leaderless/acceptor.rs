//! A replica as a Paxos acceptor of one key's value. What it promised and accepted lies beside the key in its copy, so it is on
//! disk before anybody hears of it, comes with the copy when one is rebuilt, and is walked over.
// bugs: LL-03

use super::message::Message;
use super::replica::{Output, Replica};
use alloc::boxed::Box;
use alloc::vec::Vec;
use data::RequestId;
use data::causal::{Acceptor, Ballot, Context, Entry, Held, Object, Proposal, Step};
use data::plant::{self, Bug};
use data::value::Blob;

impl Replica {
    /// Promises to accept nothing below the ballot, unless it only asks, and says what is accepted.
    pub(super) fn prepare(
        &mut self,
        request: RequestId,
        key: Blob,
        ballot: Ballot,
        out: &mut Vec<Output>,
    ) -> Message {
        if let Some(why) = self.refusal() {
            return Message::Refused { request, why };
        }
        let object = self.durable.copy.object(&key);
        let is_plain = object.is_some_and(Object::is_plain);
        let mut state = object.and_then(Object::as_acceptor).cloned().unwrap_or_default();
        let floor = state.promised.max(state.accepted.ballot);
        if !ballot.is_none() && ballot < floor {
            return Message::Outbid { request, ballot, promised: floor };
        }
        if ballot > floor {
            state.promised = ballot;
            if !plant::is(Bug::PromisesNothing) {
                let promise = Acceptor { promised: ballot, accepted: Box::default() };
                self.note_acceptor(key, promise, out);
            }
        }
        let (promised, accepted, lives) = (state.promised, state.accepted, self.lives());
        Message::Promised { request, ballot, promised, accepted, is_plain, lives }
    }
    pub(super) fn accept(
        &mut self,
        request: RequestId,
        key: Blob,
        proposal: Box<Proposal>,
        out: &mut Vec<Output>,
    ) -> Message {
        if let Some(why) = self.refusal() {
            return Message::Refused { request, why };
        }
        let ballot = proposal.ballot;
        let state = self.durable.copy.object(&key).and_then(Object::as_acceptor);
        let floor = state.map_or(Ballot::default(), |state| state.promised.max(state.accepted.ballot));
        if ballot < floor || ballot.is_none() {
            return Message::Outbid { request, ballot, promised: floor };
        }
        if state.is_none_or(|state| state.accepted.ballot < ballot) {
            self.note_acceptor(key, Acceptor { promised: ballot, accepted: proposal }, out);
        }
        Message::Accepted { request, ballot, lives: self.lives() }
    }
    fn note_acceptor(&mut self, key: Blob, acceptor: Acceptor, out: &mut Vec<Output>) {
        let held = Held { object: Object::from(acceptor), recent: Context::new() };
        self.step(Step::Key { entry: Entry { key, held }, theirs: Context::new() }, out);
    }
}
