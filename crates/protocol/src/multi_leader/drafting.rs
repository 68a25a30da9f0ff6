//! A client's write, from one command or from several that are done as one (MULTI, EXEC): each command sees what those before it
//! are going to do, and all of it becomes one record under one stamp. So every site shows all of it at once or nothing.
// catalogue: I4

use super::exchange::{Exchange, Output};
use super::policy::{self, Policy, Refusal};
use super::record::Change;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use data::causal::{Causal, Minter, Object, Outcome, ShardCopy, Stamp, Wish, Write};
use data::plant::{self, Bug};
use data::value::Blob;
use data::{Now, WriteStamp};

/// What the commands so far are going to do. Nothing of it is in the state; to be [concluded](Exchange::conclude) or
/// [taken back](Exchange::take_back) before the exchange is asked for anything else.
#[derive(Default, Debug)]
pub struct Draft {
    deltas: Vec<(Blob, Causal<Object>)>,
    /// What the keys of the first `merged` deltas hold with these.
    objects: BTreeMap<Blob, Object>,
    merged: usize,
    /// Bytes that were asked for.
    bytes: u64,
    stamp: Option<Stamp>,
    /// The minter as it was.
    before: Option<Minter>,
}

impl Draft {
    /// Nothing is going to be changed.
    pub fn is_empty(&self) -> bool {
        self.deltas.is_empty()
    }
    /// Takes the deltas since the last time into the objects. A draft of one change is never asked.
    // bugs: TC-84
    fn merge(&mut self, copy: &ShardCopy) {
        if plant::is(Bug::ForgetsDraft) {
            return;
        }
        for (key, delta) in self.deltas.iter().skip(self.merged) {
            let object = match self.objects.remove(key) {
                Some(object) => object,
                None => copy.object(key).cloned().unwrap_or_default(),
            };
            self.objects.insert(key.clone(), policy::with(object, delta));
        }
        self.merged = self.deltas.len();
    }
    fn truncate(&mut self, count: usize) {
        self.deltas.truncate(count);
        self.objects.clear();
        self.merged = 0;
    }
}

impl Exchange {
    /// What a key holds behind the draft.
    pub fn drafted<'d>(&'d self, draft: &'d mut Draft, key: &[u8]) -> Option<&'d Object> {
        draft.merge(&self.state.copy);
        draft.objects.get(key).or_else(|| self.state.copy.object(key))
    }

    /// What a command would come to behind the draft, key by key, each key once. Nothing is done.
    ///
    /// # Errors
    /// When it would be refused for what the keys hold.
    pub fn judge(
        &self,
        now: Now,
        draft: &mut Draft,
        changes: &[(Blob, Wish)],
    ) -> Result<Vec<Outcome>, Refusal> {
        let (now_ms, nothing) = (now.wall.middle_ms(), Object::default());
        let mut judge = |(key, wish): &(Blob, Wish)| {
            let object = self.drafted(draft, key).unwrap_or(&nothing);
            policy::judge(self.policy, self.resolvers.of(key), wish, object, now_ms)
        };
        changes.iter().map(&mut judge).collect()
    }

    /// Adds a command to the draft: all of its changes or none.
    ///
    /// # Errors
    /// When nothing was added, and why.
    pub fn add(&mut self, now: Now, draft: &mut Draft, changes: &[(Blob, Wish)]) -> Result<(), Refusal> {
        if !self.state.is_ready {
            return Err(Refusal::Joining);
        }
        let bytes_max = self.limits.write_bytes_max;
        let asked: usize = changes.iter().map(|(key, wish)| key.len() + wish.bytes()).sum();
        let bytes = draft.bytes.saturating_add(asked as u64);
        if bytes > bytes_max {
            return Err(Refusal::TooLarge { bytes_max });
        }
        if self.policy == Policy::Home && !plant::is(Bug::WritesAwayFromHome) {
            let homes = changes.iter().map(|(key, _)| self.state.home(data::slot::slot(key)).0);
            if let Some(home) = homes.into_iter().find(|home| *home != self.me.site) {
                return Err(Refusal::Elsewhere { home });
            }
        }
        if !self.may_write(changes.iter().map(|(key, _)| &**key)) {
            return Err(Refusal::Unclaimed);
        }
        let stamp = match draft.stamp {
            Some(stamp) => stamp,
            None => {
                let time_ms = self.time(now)?;
                self.clock.mint_at(time_ms, now.wall).map_err(Refusal::Clock)?
            }
        };
        let (before, count, nothing) = (self.minter.clone(), draft.deltas.len(), Object::default());
        draft.stamp = Some(stamp);
        for (key, wish) in changes {
            if !draft.is_empty() {
                draft.merge(&self.state.copy);
            }
            let object = draft.objects.get(key).or_else(|| self.state.copy.object(key)).unwrap_or(&nothing);
            let mut write = Write::new(&mut self.minter, stamp);
            let merging = self.resolvers.of(key);
            match policy::mint(self.policy, merging, wish, object, &mut write, now.wall.middle_ms()) {
                Ok(delta) => draft.deltas.push((key.clone(), delta)),
                Err(refusal) => {
                    self.minter = before;
                    draft.truncate(count);
                    return Err(refusal);
                }
            }
        }
        draft.bytes = bytes;
        draft.before.get_or_insert(before);
        Ok(())
    }

    /// The draft is done. The reply waits until [`Exchange::committed`] tells of the stamp.
    pub fn conclude(&mut self, draft: Draft, out: &mut Vec<Output>) -> WriteStamp {
        self.make(Change::Deltas(draft.deltas), out)
    }

    /// Nothing of the draft is done.
    pub fn take_back(&mut self, draft: Draft) {
        if let Some(before) = draft.before {
            self.minter = before;
        }
    }

    /// A client's write of one command: all changes or none. The reply waits until [`Exchange::committed`] tells of the stamp.
    ///
    /// # Errors
    /// When nothing was done, and why.
    pub fn write(
        &mut self,
        now: Now,
        changes: &[(Blob, Wish)],
        out: &mut Vec<Output>,
    ) -> Result<WriteStamp, Refusal> {
        let mut draft = Draft::default();
        self.add(now, &mut draft, changes)?;
        Ok(self.conclude(draft, out))
    }
}
