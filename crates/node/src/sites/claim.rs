//! Writes under `CONFLICT block`: a command that writes waits at its site's leader until a majority of the sites has agreed, and is
//! executed then as any other. While it waits nothing of it is done, so whatever ends the wait is a clean refusal.
//!
//! Commands of a connection go one after the other here: what follows a write waits for it, as behind a blocking command.
// catalogue: J2

use super::execute::JOINING;
use super::shard::SiteShard;
use crate::execute::Identity;
use crate::message::{Forward, Work};
use crate::node::Node;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use commands::Flags;
use core::time::Duration;
use data::multi_leader::Conflict;
use data::{GroupId, KeyspaceId, NodeId, RequestId, SiteId};
use protocol::multi_leader::Unclaimed;

/// How long the sites are asked where a client waits for ever.
const PATIENCE: Duration = Duration::from_secs(4);

/// A client's write that waits for its claim.
pub(crate) struct Parked {
    from: NodeId,
    forward: Forward,
}

impl Node {
    /// Whether a write of this keyspace waits for other sites before anything is done.
    pub(crate) fn claims_writes(&self, keyspace: KeyspaceId) -> bool {
        !self.map.multi_leader.is_empty()
            && self.map.multi_leader.get(&keyspace).is_some_and(|it| it.conflict == Conflict::Block)
    }

    /// Parks a write that has no claim yet. Gives back what need not wait.
    pub(crate) fn await_claim(&mut self, from: NodeId, group: GroupId, forward: Forward) -> Option<Forward> {
        let (now, is_full) = (self.now.instant, self.disk_full);
        let Some(site) = self.groups.get_mut(&group).and_then(|it| it.site.as_mut()) else {
            return Some(forward);
        };
        if site.exchange.as_ref().is_none_or(|it| it.is_claimed()) {
            return Some(forward);
        }
        // bugs: X-05. A full disk is told of before anybody is asked.
        if site.conflict != Conflict::Block || is_full {
            return Some(forward);
        }
        let Some(keys) = keys_written(&forward.work) else { return Some(forward) };
        // Sent twice: the first one is under way.
        let is_known = |it: &Parked| it.from == from && it.forward.request == forward.request;
        if site.parked.values().any(is_known) {
            return None;
        }
        // It was executed before, by this leader or another one: nobody needs to agree again.
        if self.is_answered(from, group, &forward) {
            return None;
        }
        let site = self.groups.get_mut(&group).and_then(|it| it.site.as_mut())?;
        let exchange = site.exchange.as_mut()?;
        // Its client shall hear a refusal before it gives the answer up.
        let left = Duration::from_millis(u64::from(forward.time_left_ms)) * 3 / 4;
        let patience = if left.is_zero() { PATIENCE } else { left };
        let mut out = Vec::new();
        let asked = exchange.claim(now, keys.iter().map(|key| &key[..]), patience, &mut out);
        match asked {
            Ok(claim) => {
                self.sites.claims += 1;
                site.parked.insert(claim, Parked { from, forward });
            }
            Err(why) => self.refuse_claim(group, &Parked { from, forward }, why),
        }
        self.carry_out_site(group, out);
        None
    }

    /// Answers a write that the log holds already.
    fn is_answered(&mut self, from: NodeId, group: GroupId, forward: &Forward) -> bool {
        let words: Vec<&[u8]> = match &forward.work {
            Work::Command(args) => args.iter().map(|arg| &arg[..]).collect(),
            Work::Transaction { commands, .. } => commands.iter().flatten().map(|arg| &arg[..]).collect(),
            _ => return false,
        };
        let outer = core::mem::replace(&mut self.options, forward.options.clone());
        let identity = self.identify(group, true, words.into_iter(), Identity::forwarded(forward.request));
        let is_answered = self.answered_before(from, group, forward.request, identity, forward.protocol);
        self.options = outer;
        is_answered
    }

    /// The sites have agreed: what waited is executed in this very turn.
    pub(super) fn claimed(&mut self, group: GroupId, claim: u64) {
        let parked = self.under_claim(group, Some(claim)).and_then(|site| site.parked.remove(&claim));
        if let Some(Parked { from, forward }) = parked {
            self.on_forward(from, forward);
        }
        self.under_claim(group, None);
    }
    fn under_claim(&mut self, group: GroupId, claim: Option<u64>) -> Option<&mut SiteShard> {
        let site = self.groups.get_mut(&group)?.site.as_mut()?;
        site.exchange.as_mut()?.under(claim);
        Some(site)
    }

    pub(super) fn unclaimed(&mut self, group: GroupId, claim: u64, why: Unclaimed) {
        let site = self.groups.get_mut(&group).and_then(|it| it.site.as_mut());
        if let Some(parked) = site.and_then(|site| site.parked.remove(&claim)) {
            self.refuse_claim(group, &parked, why);
        }
    }

    fn refuse_claim(&mut self, group: GroupId, parked: &Parked, why: Unclaimed) {
        self.sites.claims_refused += 1;
        // What was watched for an EXEC is watched no more.
        if let Work::Transaction { watch: Some(watch), .. } = &parked.forward.work
            && let Some(it) = self.groups.get_mut(&group)
        {
            it.watches.end(*watch);
        }
        let Some(site) = self.groups.get(&group).and_then(|it| it.site.as_ref()) else { return };
        let text = refusal_text(site, why);
        self.refuse_forwarded(parked.from, parked.forward.request, &text);
    }

    /// A client is gone: its write is not made. The claim, should it be won, is let go.
    pub(crate) fn cancel_parked(&mut self, from: NodeId, request: RequestId) {
        for site in self.groups.values_mut().filter_map(|it| it.site.as_mut()) {
            site.parked.retain(|_, it| it.from != from || it.forward.request != request);
        }
    }

    /// This node leads no more: whoever waits here asks the next leader.
    pub(crate) fn turn_parked_away(&mut self, group: GroupId) {
        self.turn_behind_away(group);
        let site = self.groups.get_mut(&group).and_then(|it| it.site.as_mut());
        let parked = site.map(|site| core::mem::take(&mut site.parked)).unwrap_or_default();
        for Parked { from, forward } in parked.into_values() {
            self.not_leader(from, forward.request);
        }
    }
}

/// The keys of a write, those that it reads too; nothing for what writes none.
fn keys_written(work: &Work) -> Option<Vec<Bytes>> {
    let mut keys = Vec::new();
    let mut take = |args: &[Bytes]| {
        let words: Vec<&[u8]> = args.iter().map(|arg| &arg[..]).collect();
        let Some(spec) = words.first().and_then(|name| commands::find(name)) else { return false };
        let its = commands::docs::keys_of(spec, &words);
        keys.extend(its.iter().flatten().map(|key| Bytes::copy_from_slice(key)));
        spec.flags.has(Flags::WRITE)
    };
    let writes = match work {
        Work::Command(args) => take(args),
        // All of its keys: what it read shall still be so when it writes.
        Work::Transaction { commands, .. } => {
            commands.iter().map(|args| take(args)).fold(false, |any, writes| any | writes)
        }
        Work::Settle { key, .. } => {
            keys.push(key.clone());
            true
        }
        _ => false,
    };
    (writes && !keys.is_empty()).then_some(keys)
}

/// Why a write was not made, for a client.
fn refusal_text(site: &SiteShard, why: Unclaimed) -> String {
    let name = |id: SiteId| site.names.get(&id).map_or_else(|| format!("{id}"), |name| format!("{name}"));
    match why {
        Unclaimed::Joining => JOINING.into(),
        Unclaimed::Held { by } => format!(
            "CONFLICT site {} is writing this key: nothing was written; read it again before another try",
            name(by)
        ),
        Unclaimed::Unseen { at } => format!(
            "CONFLICT site {} knows of a write of this key that has not arrived here: nothing was written; read it again before another try",
            name(at)
        ),
        Unclaimed::TooFew { agreed, needed } => format!(
            "NOREPLICAS {needed} sites must agree to a write in this keyspace, {agreed} did: nothing was written"
        ),
        Unclaimed::Full => "TRYAGAIN too many writes wait for other sites: slow down".into(),
        Unclaimed::TooLarge => {
            "ERR a write has at most 65536 keys in this keyspace: nothing was written".into()
        }
    }
}
