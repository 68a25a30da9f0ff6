//! KEYSPACE STATUS: nodes, groups and replicas as one JSON text, for the administration client.

use crate::node::Node;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use data::view::View;

impl Node {
    pub(super) fn status_json(&self) -> String {
        let nodes: Vec<String> = self.map.nodes.values().map(|node| self.node_json(node)).collect();
        let groups: Vec<String> = self.map.views().map(|view| self.group_json(view)).collect();
        format!(
            "{{\"cluster\":\"{:016x}\",\"version\":{},\"asked\":{},\"control_leader\":{},\"nodes\":[{}],\"groups\":[{}],\"moves\":[{}],\"dividing\":[{}]}}",
            self.map.cluster,
            self.map.version,
            self.config.node.0,
            self.plane.control_leader().map_or_else(|| String::from("null"), |node| format!("{}", node.0)),
            nodes.join(","),
            groups.join(","),
            self.moves_json(),
            self.dividing_json(),
        )
    }

    fn node_json(&self, node: &control::Node) -> String {
        let alive = node.id == self.config.node || self.peers.contains_key(&node.id);
        let control = if self.plane.control_leader() == Some(node.id) {
            "leader"
        } else if self.map.is_voter(node.id) {
            "voter"
        } else {
            "none"
        };
        format!(
            "{{\"id\":{},\"name\":{},\"resp\":{},\"peer\":{},\"http\":{},\"site\":{},\"alive\":{alive},\"state\":\"{}\",\"control\":\"{control}\",\"incarnation\":{},\"process\":{}}}",
            node.id.0,
            quoted(&node.name),
            quoted(&node.addresses.resp),
            quoted(&node.addresses.peer),
            quoted(&node.addresses.http),
            quoted(&node.site),
            format!("{:?}", node.state).to_ascii_lowercase(),
            node.incarnation.0,
            node.process.0,
        )
    }

    fn group_json(&self, view: &View) -> String {
        let slots = self.map.groups.get(&view.group).map(|group| group.slots.text()).unwrap_or_default();
        let leader = self.map.leader_of(view.group);
        let it = self.groups.get(&view.group);
        // Only the leader knows how far its followers are.
        let leads = it.is_some_and(|it| it.replica.leads().is_some());
        let commit = it.map_or(0, |it| it.replica.commit().0);
        let newest = it.map_or(0, |it| it.replica.newest().index.0);
        let replicas: Vec<String> = view
            .members
            .iter()
            .chain(&view.read_replicas)
            .map(|node| {
                let in_sync = view.electable.iter().any(|replica| replica.node == *node);
                let role = match Some(*node) == leader {
                    true => "leader",
                    false if view.read_replicas.contains(node) => "read-replica",
                    false => "follower",
                };
                let progress = it.filter(|_| leads).and_then(|it| it.replica.followers().find(|(n, _)| n == node));
                let (matched, state) = match progress {
                    Some((_, progress)) if progress.is_replicating() && progress.matched.0 >= commit => {
                        (format!("{}", progress.matched.0), "in-sync")
                    }
                    Some((_, progress)) if progress.is_replicating() => {
                        (format!("{}", progress.matched.0), "catching-up")
                    }
                    Some((_, progress)) => (format!("{}", progress.matched.0), "joining"),
                    None if Some(*node) == leader && leads => (format!("{newest}"), "in-sync"),
                    None => (String::from("null"), "unknown"),
                };
                // What it told of the last comparison; of this node's own copy that is known at once.
                let told = it.and_then(|it| it.audit.finding_of(*node));
                let own = it.filter(|_| *node == self.config.node);
                let doubted = own.map_or(told.is_some_and(|told| told.doubted), |it| !it.audit.is_sound());
                let audited = told.map(|told| told.index).or(own.and_then(|it| it.audit.last()));
                let audited = audited.map_or_else(|| String::from("null"), |index| format!("{}", index.0));
                let lag = progress.map_or_else(|| String::from("null"), |(_, p)| format!("{}", newest.saturating_sub(p.matched.0)));
                let missed = match own {
                    Some(it) => it.shortfall.missed(),
                    None => it.map_or(0, |it| it.replica.missed_by(*node)),
                };
                let refused = self.refused(view.group, *node).map_or_else(|| String::from("null"), |why| quoted(&why));
                format!(
                    "{{\"node\":{},\"role\":\"{role}\",\"matched\":{matched},\"lag\":{lag},\"state\":\"{state}\",\"in_sync\":{in_sync},\"audited\":{audited},\"doubted\":{doubted},\"missed\":{missed},\"refused\":{refused}}}",
                    node.0
                )
            })
            .collect();
        let ids = |nodes: Vec<u32>| nodes.iter().map(|n| format!("{n}")).collect::<Vec<_>>().join(",");
        format!(
            "{{\"group\":{},\"keyspace\":{},\"slots\":\"{slots}\",\"epoch\":{},\"view\":{},\"leader\":{},\"electing\":{},\"members\":[{}],\"electable\":[{}],\"read_replicas\":[{}],\"commit_rule\":\"{}\",\"degraded\":{},\"commit\":{commit},\"keys\":{},\"recovery_point\":{},\"alarm\":{},\"replicas\":[{}]}}",
            view.group.0,
            quoted(&self.keyspace_name(view.keyspace)),
            view.epoch.0,
            view.number.0,
            leader.map_or_else(|| String::from("null"), |node| format!("{}", node.0)),
            view.election.is_some(),
            ids(view.members.iter().map(|n| n.0).collect()),
            ids(view.electable.iter().map(|r| r.node.0).collect()),
            ids(view.read_replicas.iter().map(|n| n.0).collect()),
            view.rule.name(),
            view.is_degraded(),
            it.map_or(0, |it| it.table.len()),
            self.recovery_json(view),
            self.alarm_of(view.group).map_or_else(|| String::from("null"), |alarm| quoted(&alarm)),
            replicas.join(","),
        )
    }
}

impl Node {
    /// What would be missing if this node's copy had to lead now: of copies at a recovery site.
    fn recovery_json(&self, view: &View) -> String {
        match self.recovery_point(view.group) {
            Some(point) => {
                let ms = point.age.map_or_else(|| String::from("null"), |age| format!("{}", age.as_millis()));
                format!("{{\"ms\":{ms},\"entries\":{}}}", point.entries)
            }
            None => String::from("null"),
        }
    }
}

/// A JSON string.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if (c as u32) < 0x20 => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
