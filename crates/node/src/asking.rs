//! Replies that wait as their request asked, or for copies to have applied the entry ([`protocol::single_leader::asked`]).
// catalogue: C11, C12, C13; bugs: SL-09

use crate::group::{Group, Target, Waiter};
use crate::node::Node;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use data::keyspace::{Flush, Level, OnTimeout};
use data::{GroupId, Index, Instant};
use protocol::single_leader::{Asked, Who};

/// A write with a client's own id may be asked for again: where the keyspace lets writes block, it waits so long.
const BLOCK_WITH_ID: Duration = Duration::from_secs(600);

/// A reply of a write that waits for what was asked.
pub struct Asking {
    pub waiter: Waiter,
    pub asked: Asked,
    /// Newest other entry that the reply shows something of.
    depends: Index,
    deadline: Instant,
}

/// How far a wish is met: equal ones are looked at once.
struct Met {
    asked: Asked,
    commit: Index,
    reached: Index,
    /// It is less than the keyspace's rule: the reply does not wait for the commit.
    less: bool,
}

impl Group {
    /// An answer leaves, though its entry may not be committed: should it be cut, it is kept in the ledger.
    fn answers_ahead(&mut self, index: Index) {
        if index > self.replica.commit() {
            self.replica.told_ahead(index);
        }
    }
}

impl Met {
    fn of(it: &Group, asked: &Asked) -> Met {
        let (commit, reached, less) =
            (it.replica.commit(), it.replica.reached(asked), it.replica.asks_less(asked));
        Met { asked: asked.clone(), commit, reached, less }
    }
    /// Whether nothing holds the reply back any more.
    fn frees(&self, asking: &Asking) -> bool {
        let index = asking.waiter.index;
        asking.depends <= self.commit && (self.less || index <= self.commit) && index <= self.reached
    }
}

impl Node {
    /// How long a write of a group may wait for its reply.
    pub(crate) fn patience_asked(&self, settings: &data::keyspace::Settings) -> Duration {
        let options = self.options.as_deref();
        let asked = options.and_then(|options| options.asked.as_ref()).and_then(|asked| asked.timeout_ms);
        match asked {
            Some(ms) => Duration::from_millis(u64::from(ms)),
            None if settings.on_timeout == OnTimeout::Block
                && options.is_some_and(|it| it.client.is_some()) =>
            {
                BLOCK_WITH_ID
            }
            None => Duration::from_millis(u64::from(settings.patience_ms())),
        }
    }

    /// What the command under way asked for beside its keyspace's rule.
    pub(crate) fn asked(&self) -> Option<Box<Asked>> {
        self.options.as_ref()?.asked.clone().map(Box::new)
    }

    /// Why what the command under way asks for cannot be done: nothing is written then.
    pub(crate) fn refuse_asked(&self, group: GroupId) -> Option<String> {
        let asked = self.options.as_ref()?.asked.as_ref()?;
        let it = self.groups.get(&group)?;
        let view = it.replica.view()?;
        if asked.level == Some(Level::Flushed) && view.settings.flush != Flush::Always {
            return Some(String::from(
                "ERR LEVEL flushed needs a keyspace with FLUSH always: here copies answer before they flush; nothing was written",
            ));
        }
        let (electable, members) = (view.electable.len(), view.members.len());
        let needed = asked.who.followers_needed(view.followers_needed(), electable, members);
        let me = self.config.node;
        let counts = |replica: &&data::view::Replica| {
            replica.node != me && asked.who.names(replica.node) && self.peers.contains_key(&replica.node)
        };
        let reachable = view.electable.iter().filter(counts).count();
        let named = matches!(asked.who, Who::First { .. } | Who::Any { .. });
        (reachable < needed && asked.who != Who::Keyspace).then(|| {
            let which = if named { "of those named " } else { "" };
            format!(
                "NOREPLICAS {needed} followers {which}shall hold this write, {reachable} can be reached: nothing was written"
            )
        })
    }

    /// Holds the reply of a write until it is committed, or as the command under way asks, or until copies have applied it
    /// where the keyspace's level says so.
    pub(crate) fn hold_write(&mut self, group: GroupId, level: Level, waiter: Waiter) {
        match self.options.is_none() && level != Level::Applied {
            true => self.wait_for_commit(group, waiter),
            false => self.wait_as_asked(group, waiter),
        }
    }

    fn wait_as_asked(&mut self, group: GroupId, waiter: Waiter) {
        let Some(it) = self.groups.get(&group) else { return };
        let deadline = waiter.since + self.patience_asked(&it.keyspace.settings);
        let asked = self.options.as_ref().and_then(|options| options.asked.clone()).unwrap_or_default();
        let Some(it) = self.groups.get_mut(&group) else { return };
        let asking = Asking { waiter, asked, depends: it.depended, deadline };
        if Met::of(it, &asking.asked).frees(&asking) {
            it.answers_ahead(asking.waiter.index);
            self.release(group, asking.waiter);
        } else {
            it.asking.push(asking);
        }
    }

    /// Followers or the commit index got farther: whose wish is met is answered.
    pub(crate) fn tend_asking(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let all = core::mem::take(&mut it.asking);
        let (mut known, mut met, mut waiting) = (None::<Met>, Vec::new(), Vec::new());
        for asking in all {
            let same = known.take().filter(|known| known.asked == asking.asked);
            let now = same.unwrap_or_else(|| Met::of(it, &asking.asked));
            if now.frees(&asking) {
                it.answers_ahead(asking.waiter.index);
                met.push(asking)
            } else {
                waiting.push(asking)
            }
            known = Some(now);
        }
        let commit = it.replica.commit();
        let level = it.keyspace.settings.level;
        let to_be_applied = |asking: &Asking| {
            asking.asked.level.unwrap_or(level) == Level::Applied && asking.waiter.index <= commit
        };
        let announces = waiting.iter().any(to_be_applied);
        it.asking = waiting;
        if announces {
            let mut out = Vec::new();
            it.replica.announce_commit(self.now.instant, &mut out);
            self.carry_out(group, out);
        }
        for asking in met {
            self.release(group, asking.waiter);
        }
    }

    /// Replies that waited as long as they may.
    pub(crate) fn time_out_asking(&mut self, group: GroupId) {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        if it.asking.is_empty() {
            return;
        }
        let all = core::mem::take(&mut it.asking);
        let (late, waiting): (Vec<Asking>, Vec<Asking>) = all.into_iter().partition(|it| now >= it.deadline);
        it.asking = waiting;
        let commit = it.replica.commit();
        for Asking { waiter, .. } in late {
            self.not_told(group, &waiter);
            // The forwarder has its own clock.
            let Target::Client { connection, slot } = waiter.to else { continue };
            if waiter.index > commit {
                self.give_up_client(
                    connection,
                    slot,
                    true,
                    group,
                    "not held in time where it was asked to be",
                );
                continue;
            }
            self.statistics.indeterminate += 1;
            if let Some(receipt) = self.sessions.get_mut(connection).and_then(|s| s.receipt.as_mut()) {
                receipt.indeterminate = true;
            }
            let text = "-INDETERMINATE committed by the keyspace's rule, but not held in time where it was asked to be\r\n";
            self.fill(connection, slot, text.as_bytes());
        }
    }
}
