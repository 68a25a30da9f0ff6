//! Sending: statuses, routes, and the log to whoever lacks something of it.
// catalogue: I3

use super::exchange::{Exchange, Output, Report};
use super::message::{Message, Status};
use super::record::Record;
use super::routes::{Hearing, Routes};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use data::plant::{self, Bug};
use data::{Index, Instant, Now, Origin, OriginVector, SiteId};

/// The log's answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Fetched {
    /// Committed records in order, beginning with the index that was asked for.
    Records(Vec<(Index, Record)>),
    /// The log begins with this index, behind the one that was asked for.
    Gone { first: Index },
}

impl Exchange {
    pub(super) fn heard(&self, now: Instant) -> BTreeSet<SiteId> {
        let up = self.links.iter().filter(|(_, link)| link.is_up(now, self.limits.dead_after));
        up.map(|(site, _)| *site).collect()
    }
    /// Chooses the ways anew when who hears whom has changed.
    pub(super) fn reroute(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mut hearing = Hearing::new();
        let everybody: BTreeSet<SiteId> = self.config.sites.iter().copied().collect();
        for site in self.heard(now) {
            // Who has not spoken yet is believed to hear everybody.
            let hears = self.links.get(&site).and_then(|link| link.hears()).unwrap_or(&everybody);
            hearing.insert(site, hears.clone());
        }
        hearing.insert(self.me.site, self.heard(now));
        if hearing == self.hearing {
            return;
        }
        self.hearing = hearing;
        let routes = Routes::new(&self.config, self.me.site, &self.hearing);
        if routes == self.routes {
            return;
        }
        if (routes.is_detour, &routes.away) != (self.routes.is_detour, &self.routes.away) {
            let (away, is_detour) = (routes.away.clone(), routes.is_detour);
            out.push(Output::Report(Report::Routed { away, is_detour }));
        }
        self.routes = routes;
        // What was not for a peer from here may be now.
        self.links.values_mut().for_each(|link| link.rewind(&self.marks, false));
    }
    pub(super) fn tick_status(&mut self, now: Instant, out: &mut Vec<Output>) {
        let waited = self.status_at.map(|at| now.since(at));
        let is_due = waited.is_none_or(|waited| {
            waited >= self.limits.status_every
                || (self.must_acknowledge && waited >= self.limits.acknowledge_every)
        });
        if !is_due {
            return;
        }
        self.status_at = Some(now);
        self.must_acknowledge = false;
        self.status_number += 1;
        // Only what is committed: a failover here must not lose what a peer no longer keeps for us (bugs: ML-13).
        let proposed = plant::is(Bug::AcknowledgesProposed);
        let vector = if proposed { self.state.vector.clone() } else { self.marks.vector().clone() };
        let hears = self.heard(now);
        let claims = self.blocks().then(|| self.claiming.left());
        for (site, link) in &self.links {
            let status = Status {
                epoch: self.me.epoch,
                number: self.status_number,
                version: self.config.version,
                vector: vector.clone(),
                hears: hears.clone(),
                is_ready: self.state.is_ready,
                is_beyond_log: link.is_blocked(),
                stopped_by_ms: link.stopped.map(|(_, by_ms)| by_ms),
                claims: claims.clone(),
            };
            out.push(Output::Send { to: *site, message: Message::Status(Box::new(status)) });
        }
    }
    pub(super) fn take_status(&mut self, now: Instant, from: SiteId, status: Status, out: &mut Vec<Output>) {
        let Some(link) = self.links.get_mut(&from) else { return };
        let was_stopped = link.status.as_ref().and_then(|status| status.stopped_by_ms).is_some();
        let (is_beyond_log, stopped) = (status.is_beyond_log, status.stopped_by_ms);
        let lacks = !self.state.vector.covers(&status.vector);
        if !link.take_status(now, status, &self.marks) {
            return out.push(Output::Report(Report::Dropped("an old status")));
        }
        self.note_claims_over(from);
        let Some(link) = self.links.get_mut(&from) else { return };
        link.beyond_since = link.beyond_since.filter(|_| is_beyond_log && lacks);
        if is_beyond_log && lacks && link.beyond_since.is_none() {
            link.beyond_since = Some(now);
        }
        if let Some(by_ms) = stopped.filter(|_| !was_stopped) {
            out.push(Output::Report(Report::Unheard { peer: from, by_ms }));
        }
        self.reroute(now, out);
        self.pump(now, from, out);
    }
    pub(super) fn tick_links(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (resend_after, overdue_after) = (self.limits.resend_after, self.limits.overdue_after);
        for (site, link) in &mut self.links {
            link.refill(now, self.limits.bandwidth_bytes_per_s);
            let is_up = link.is_up(now, self.limits.dead_after);
            if link.tick(now, &self.marks, resend_after, overdue_after) && is_up {
                out.push(Output::Report(Report::Overdue { peer: *site }));
            }
        }
    }
    pub(super) fn pump_all(&mut self, now: Instant, out: &mut Vec<Output>) {
        let sites: Vec<SiteId> = self.links.keys().copied().collect();
        sites.into_iter().for_each(|site| self.pump(now, site, out));
    }
    /// Asks the log for what a peer may lack.
    fn pump(&mut self, now: Instant, peer: SiteId, out: &mut Vec<Output>) {
        let (window, part) = (self.limits.in_flight_bytes_max, self.limits.part_bytes_max);
        let Some(link) = self.links.get_mut(&peer) else { return };
        let is_ready = link.status.as_ref().is_some_and(|status| status.is_ready);
        if !link.is_up(now, self.limits.dead_after) || !is_ready {
            return;
        }
        if let Some((from, bytes_max)) = link.ask(now, &self.marks, window, part) {
            out.push(Output::Fetch { peer, from, bytes_max });
        }
    }
    /// The log's answer to [`Output::Fetch`].
    pub fn fetched(&mut self, now: Now, peer: SiteId, from: Index, fetched: Fetched, out: &mut Vec<Output>) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        if !link.take_fetched(from) {
            return;
        }
        let records = match fetched {
            Fetched::Records(records) => records,
            Fetched::Gone { first } => {
                self.marks.trim(first);
                return link.rewind(&self.marks, false);
            }
        };
        let mut writes = Vec::new();
        let (mut last, mut bytes) = (OriginVector::new(), 0);
        for (index, record) in records {
            match record {
                Record::Write(write) => {
                    let stamp = write.stamp;
                    let Origin { site, epoch } = stamp.origin;
                    // Back to its origin only if another leader there says that it lacks it: then it was lost.
                    let is_ours = if site == peer {
                        link.epoch() > epoch
                    } else {
                        link.is_rescued || self.routes.sends(site, peer)
                    };
                    if is_ours && link.lacks(stamp) && !last.contains(stamp) {
                        bytes += write.bytes();
                        last.raise(stamp);
                        writes.push(write);
                    }
                }
                // What a copy brought is in no record of this log: the peer must have it from elsewhere first.
                Record::CopyEnd { vector } => {
                    if !link.has_all(&vector) && !plant::is(Bug::SendsPastCopy) {
                        link.block(vector);
                        break;
                    }
                }
                Record::CopyBegin { .. }
                | Record::CopyPart(_)
                | Record::Claim { .. }
                | Record::Unclaim { .. } => {}
            }
            link.pass(index);
        }
        if !writes.is_empty() {
            link.send(now.instant, last, bytes);
            out.push(Output::Send { to: peer, message: Message::Writes { writes } });
        }
        self.pump(now.instant, peer, out);
    }
}
