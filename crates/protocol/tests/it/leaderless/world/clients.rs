//! What clients ask of the world, and what they are told.

use super::{Call, Event, HOT_KEYS, KEYS, MS, World};
use data::NodeId;
use data::causal::{Amount, Wish};
use data::operation::End;
use data::value::Blob;
use protocol::leaderless::Reply;
use protocol::leaderless::coordinator::Level;

impl World {
    pub(super) fn client(&mut self) {
        let after = self.rng.between(1, 12) * if self.plan.hot { MS / 4 } else { MS };
        self.schedule(after, Event::Client);
        if self.healing {
            return;
        }
        let id = NodeId(self.rng.between(1, self.nodes.len() as u64) as u32);
        if !self.is_up(id) {
            return;
        }
        let key = match self.plan.hot {
            true => HOT_KEYS[self.rng.below(4) as usize],
            false => KEYS[self.rng.below(11) as usize],
        };
        let key = key.to_owned();
        self.next_call += 1;
        let call = self.next_call;
        let blob = |text: &str| Blob::from(text.as_bytes());
        let level = |required| Level { required, sloppy: self.plan.sloppy };
        let (w, r) = (level(self.plan.w), level(self.plan.r));
        let draw = self.rng.below(10);
        let wish = match (key.as_bytes()[0], draw) {
            (b's', 0..4) => {
                let member = format!("m{call}");
                self.oracle.add_called(&key, &member);
                let wish = Wish::SetAdd { members: vec![blob(&member)] };
                self.calls.insert(call, (self.now, Call::Add(key.clone(), member)));
                Some(wish)
            }
            (b's', 4..6) => {
                let pick = self.rng.next();
                let Some(member) = self.oracle.removable(&key, pick) else { return };
                self.oracle.remove_called(&key, &member);
                let wish = Wish::SetRemove { members: vec![blob(&member)] };
                self.calls.insert(call, (self.now, Call::Remove(key.clone(), member)));
                Some(wish)
            }
            (b'l', 0..4) => {
                let member = format!("m{call}");
                self.oracle.add_called(&key, &member);
                let end = if draw < 2 { End::Back } else { End::Front };
                let wish = Wish::ListPush { end, elements: vec![blob(&member)] };
                self.calls.insert(call, (self.now, Call::Add(key.clone(), member)));
                Some(wish)
            }
            (b'l', 4..7) => {
                let pick = self.rng.next();
                let Some(member) = self.oracle.removable(&key, pick) else { return };
                self.oracle.remove_called(&key, &member);
                let wish = Wish::ListRemove { count: 0, element: blob(&member) };
                self.calls.insert(call, (self.now, Call::Remove(key.clone(), member)));
                Some(wish)
            }
            (b'd', 0..6) => {
                self.oracle.count_called(self.now, &key, call, draw == 0);
                self.calls.insert(call, (self.now, Call::Count(key.clone())));
                Some(if draw == 0 { Wish::Delete } else { Wish::Increment { by: Amount::whole(1) } })
            }
            (b'c', 0..5) => {
                self.oracle.increment_called(&key);
                self.calls.insert(call, (self.now, Call::Increment(key.clone())));
                Some(Wish::Increment { by: Amount::whole(1) })
            }
            (b'r', 0..6) => {
                self.calls.insert(call, (self.now, Call::Register(key.clone())));
                if key == "r1" && draw < 2 {
                    Some(Wish::Delete)
                } else {
                    // Few values, so that equal ones meet.
                    let value = blob(&format!("v{}", call % 2));
                    Some(Wish::Set { value, expiry: data::Expiry::Keep })
                }
            }
            _ => None,
        };
        let now = self.clock(id).instant;
        let (repair, everybody) = (self.plan.repair, self.rng.chance(20));
        let mut out = Vec::new();
        let coordinator = &mut self.nodes[id.0 as usize - 1].coordinator;
        match wish {
            None if key.starts_with('a') => {
                self.calls.insert(call, (self.now, Call::Agree(key.clone())));
                coordinator.propose(now, call, (blob(&key), 0), draw < 4, &mut out);
            }
            Some(wish) => coordinator.write(now, call, blob(&key), wish, w, r, &mut out),
            None => {
                self.calls.insert(call, (self.now, Call::Read(key.clone())));
                coordinator.read(now, call, blob(&key), r, repair, everybody, &mut out);
            }
        }
        self.coordinated(id, out);
    }
    pub(super) fn replied(&mut self, coordinator: NodeId, client: u64, reply: Reply) {
        let Some((called, call)) = self.calls.remove(&client) else {
            return self.oracle.fail(format!("request {client} was answered twice"));
        };
        let now = self.now;
        match (call, reply) {
            (Call::Read(key), Reply::Value { state, receipt }) => {
                self.oracle.read(called, now, &key, &state.held.object, &receipt);
            }
            (call, Reply::Written(receipt)) => {
                let replicas = &self.nodes[coordinator.0 as usize - 1].placement.replicas;
                self.oracle.receipt(&receipt, replicas, !self.plan.sloppy);
                let Some(delta) = &receipt.delta else { return };
                match call {
                    Call::Count(key) => self.oracle.count_done(now, &key, client),
                    Call::Add(key, member) => {
                        if !key.starts_with('l') {
                            self.oracle.told(&key, true, delta, receipt.outcome);
                        }
                        self.oracle.added(now, &key, &member);
                    }
                    Call::Remove(key, member) => {
                        if !key.starts_with('l') {
                            self.oracle.told(&key, !delta.context.is_empty(), delta, receipt.outcome);
                        }
                        self.oracle.removed(now, &key, &member, delta, receipt.outcome);
                    }
                    Call::Increment(key) => {
                        self.oracle.told(&key, true, delta, receipt.outcome);
                        self.oracle.incremented(now, &key);
                    }
                    Call::Register(key) => {
                        self.oracle.told(&key, !delta.context.is_empty(), delta, receipt.outcome);
                        self.oracle.wrote(now, &key, delta);
                    }
                    Call::Read(_) | Call::Agree(_) => self.oracle.fail("a read was written".into()),
                }
            }
            (Call::Agree(key), Reply::Agreed { decided, value, .. }) => {
                self.agreement.agreed((called, now), client, &key, decided, &value);
                self.take_violation();
            }
            (_, Reply::Indeterminate { .. }) => self.indeterminate += 1,
            (_, Reply::NoQuorum { .. }) => {
                self.agreement.refused(client);
                self.no_quorum += 1;
            }
            (_, Reply::Refused(_) | Reply::Busy) => self.agreement.refused(client),
            (_, Reply::Agreed { .. } | Reply::Value { .. } | Reply::Names { .. } | Reply::Count { .. }) => {
                self.oracle.fail("a write was read".into());
            }
        }
    }
}
