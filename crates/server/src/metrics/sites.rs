//! Metrics and log lines of multi-leader keyspaces.

use super::Page;
use data::GroupId;
use node::Node;
use protocol::multi_leader::Report;
use std::fmt::Write;

/// Of sites' groups. Lag is told by the leader of a site: how far each other site is behind it, and it behind each.
// catalogue: I3
pub(super) fn metrics(page: &mut Page, node: &Node) {
    let c = node.site_counts();
    for (name, help, value) in [
        ("tercet_sites_messages_sent_total", "Messages to other sites.", c.sent),
        ("tercet_sites_messages_received_total", "Messages of other sites.", c.received),
        (
            "tercet_sites_writes_sent_total",
            "Writes sent to other sites, those sent again too.",
            c.writes_sent,
        ),
        (
            "tercet_sites_writes_received_total",
            "Writes that came from other sites, duplicates too.",
            c.writes_received,
        ),
        (
            "tercet_sites_conflicts_total",
            "Keys that held concurrent values when a remote write came.",
            c.conflicts,
        ),
        (
            "tercet_sites_values_lost_total",
            "Values that last-write-wins let go unseen by the winner.",
            c.lost,
        ),
        ("tercet_sites_copies_total", "Copies of other sites that were taken.", c.copies),
        ("tercet_sites_overdue_total", "Times that a site had to be served out of its turn.", c.overdue),
        ("tercet_sites_stopped_total", "Links that stamps too far ahead stopped.", c.stopped),
        (
            "tercet_sites_inbox_dropped_total",
            "Decisions on conflicts that the inbox let go.",
            c.inbox_dropped,
        ),
        ("tercet_sites_claims_total", "Writes for which other sites were asked (CONFLICT block).", c.claims),
        ("tercet_sites_claims_refused_total", "Of them those that were refused.", c.claims_refused),
        (
            "tercet_sites_clock_ahead_total",
            "Times that this node's clock was found to be ahead of most others.",
            c.clock_ahead,
        ),
    ] {
        page.one(name, "counter", help, value);
    }
    let states: Vec<_> = node.site_states().filter(|state| state.is_leader).collect();
    type Figure = fn(&node::sites::LinkState) -> u64;
    let figures: [(&str, &str, Figure); 6] = [
        ("tercet_site_lacks_operations", "Writes of this site that the other lacks.", |it| {
            it.outgoing.operations
        }),
        ("tercet_site_lacks_ms", "For how long the oldest of them has been missing.", |it| it.outgoing.ms),
        ("tercet_site_lacking_operations", "Writes of the other site that are lacking here.", |it| {
            it.incoming.operations
        }),
        ("tercet_site_lacking_ms", "For how long the oldest of them has been missing.", |it| it.incoming.ms),
        ("tercet_site_in_flight_bytes", "Writes on their way to the other site.", |it| it.in_flight_bytes),
        ("tercet_site_away", "Whether the other site cannot be reached.", |it| u64::from(it.is_away)),
    ];
    for (name, help, figure) in figures {
        page.metric(name, "gauge", help);
        for state in &states {
            for link in &state.links {
                let (group, from, to) = (state.group.0, state.name, link.name);
                let value = figure(link);
                let _ = writeln!(page.0, "{name}{{group=\"{group}\",site=\"{from}\",peer=\"{to}\"}} {value}");
            }
        }
    }
}

/// A line for the operator, for what is worth one.
pub(super) fn log_report(name: &str, group: GroupId, report: &Report) {
    let group = group.0;
    match report {
        Report::Dropped(_)
        | Report::Conflict { .. }
        | Report::Lost(_)
        | Report::Forgot { .. }
        | Report::CopyAbandoned { .. } => {}
        Report::Routed { away, is_detour } if away.is_empty() && !is_detour => {
            eprintln!("{name}: group {group}: writes go between sites as the topology says");
        }
        Report::Routed { away, is_detour } => eprintln!(
            "{name}: group {group}: sites {away:?} cannot be reached{}",
            if *is_detour { "; writes take detours" } else { "" }
        ),
        Report::Stopped { peer, by_ms } => eprintln!(
            "{name}: ALARM: group {group}: the clock of site {peer} is {by_ms} ms ahead: nothing of it is taken until its time has come"
        ),
        Report::Resumed { peer } => eprintln!("{name}: group {group}: writes of site {peer} are taken again"),
        Report::Unheard { peer, by_ms } => eprintln!(
            "{name}: ALARM: group {group}: site {peer} takes no writes of this one, whose clock is {by_ms} ms ahead of its own"
        ),
        Report::ClockAhead { by_ms } => eprintln!(
            "{name}: ALARM: group {group}: this node's clock is {by_ms} ms ahead of most others: writes are refused until it is set"
        ),
        Report::ClockRight => {
            eprintln!("{name}: group {group}: this node's clock agrees with most others again")
        }
        Report::Overdue { peer } => {
            eprintln!(
                "{name}: group {group}: site {peer} lacks writes for too long: they are sent from here"
            );
        }
        Report::Overflow { peer } => eprintln!(
            "{name}: group {group}: too many writes wait for their causes: the state of site {peer} will be copied"
        ),
        Report::CopyStarted { from } => eprintln!("{name}: group {group}: copies site {from}"),
        Report::CopyDone { from } => eprintln!("{name}: group {group}: has the state of site {from}"),
    }
}
