//! What operators see of multi-leader keyspaces: options of KEYSPACE CREATE and ALTER, KEYSPACE INFO, counters, and looks for
//! metrics and judges.

use super::Counts;
use crate::admin::parse_settings;
use crate::io::ConnectionId;
use crate::leaderless::function_of;
use crate::node::{Flow, Node};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use control::{Command, MultiLeaderChange};
use data::keyspace::Settings;
use data::multi_leader::{Conflict, Topology};
use data::table::Seed;
use data::{GroupId, KeyspaceId, OriginVector, Site, SiteId};
use protocol::multi_leader::{Lag, SiteState};
use protocol::single_leader::RoleName;
use wire::ReplyWriter;

/// A look at one copy of a site's group.
pub struct SiteGroupState<'a> {
    pub group: GroupId,
    pub keyspace: KeyspaceId,
    pub site: SiteId,
    pub name: Site,
    /// What is committed and applied here.
    pub state: &'a SiteState,
    pub is_leader: bool,
    /// Of a leader: to and from each other site.
    pub links: Vec<LinkState>,
    /// Bytes of writes that wait for their causes.
    pub waiting_bytes: u64,
    /// Whether writes take other ways than the topology has.
    pub is_detour: bool,
}

/// A link between two sites as one leader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkState {
    pub peer: SiteId,
    pub name: Site,
    /// How far the peer is behind this site, and this site behind the peer.
    pub outgoing: Lag,
    pub incoming: Lag,
    pub in_flight_bytes: u64,
    /// Nothing was heard of it for some seconds, and nobody who is heard hears it.
    pub is_away: bool,
}

/// What the options of a multi-leader keyspace come to.
struct Asked {
    settings: Settings,
    sites: Option<Vec<Site>>,
    topology: Option<Topology>,
    conflict: Option<Conflict>,
}

impl Node {
    /// State of sites' groups on this node, for metrics and judges.
    pub fn site_states(&self) -> impl Iterator<Item = SiteGroupState<'_>> {
        self.groups.values().filter_map(|it| {
            let site = it.site.as_ref()?;
            let exchange = site.exchange.as_ref();
            let others = site.names.iter().filter(|(peer, _)| **peer != site.me);
            let link = |(peer, name): (&SiteId, &Site)| {
                let exchange = exchange?;
                let (outgoing, incoming) = exchange.lag(self.now.instant, *peer)?;
                Some(LinkState {
                    peer: *peer,
                    name: *name,
                    outgoing,
                    incoming,
                    in_flight_bytes: exchange.in_flight_bytes(*peer),
                    is_away: site.routed.0.contains(peer),
                })
            };
            Some(SiteGroupState {
                group: it.id(),
                keyspace: it.keyspace.id,
                site: site.me,
                name: site.name,
                state: &site.state,
                is_leader: it.replica.role() == RoleName::Leader && exchange.is_some(),
                links: others.filter_map(link).collect(),
                waiting_bytes: exchange.map_or(0, |exchange| exchange.waiting_bytes()),
                is_detour: exchange.is_some() && site.routed.1,
            })
        })
    }
    pub fn site_counts(&self) -> Counts {
        self.sites
    }
    /// What is committed in a group, on this copy.
    pub fn site_vector(&self, group: GroupId) -> Option<&OriginVector> {
        self.groups.get(&group)?.site.as_ref().map(|site| site.state.vector())
    }

    pub(crate) fn create_multi_leader(
        &mut self,
        connection: ConnectionId,
        name: String,
        options: &[&[u8]],
    ) -> Flow {
        let asked = match parse(Settings::default(), options) {
            Ok(asked) => asked,
            Err(error) => return self.reply_error(connection, &error),
        };
        // A member of an older version could not read the map.
        let old =
            |node: &control::Node| self.versions.get(&node.id).is_some_and(|it| *it < super::SINCE_VERSION);
        if let Some(node) = self.map.nodes.values().find(|node| old(node)) {
            let text = format!(
                "TRYAGAIN node {} runs a version that knows no multi-leader keyspaces: upgrade it first",
                node.name
            );
            return self.reply_error(connection, &text);
        }
        let sites = asked.sites.unwrap_or_else(|| self.known_sites());
        if sites.is_empty() {
            let text = "ERR no node says at which site it is: start nodes with --site, then name the keyspace's SITES";
            return self.reply_error(connection, text);
        }
        let conflict = asked.conflict.unwrap_or_default();
        if let Some(error) = conflict.function().and_then(|function| self.unfit_function(function)) {
            return self.reply_error(connection, &error);
        }
        if conflict == Conflict::Block && self.map.level < control::map::LEVEL {
            let text = "TRYAGAIN a node runs a version that knows no CONFLICT block: upgrade it first";
            return self.reply_error(connection, text);
        }
        let seed = Seed(self.random.draw(), self.random.draw());
        let change = MultiLeaderChange::Create {
            name,
            settings: asked.settings,
            seed,
            conflict,
            topology: asked.topology.unwrap_or_default(),
            sites,
        };
        self.administrate(connection, Command::ChangeMultiLeader(Box::new(change)))
    }

    /// The sites that nodes are at, by name.
    pub(crate) fn known_sites(&self) -> Vec<Site> {
        let mut names: Vec<&str> =
            self.map.nodes.values().filter(|node| node.usable()).map(|node| &node.site[..]).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter_map(Site::named).collect()
    }

    pub(crate) fn alter_multi_leader(
        &mut self,
        connection: ConnectionId,
        keyspace: KeyspaceId,
        options: &[&[u8]],
    ) -> Flow {
        let known = self.map.multi_leader.get(&keyspace).zip(self.map.keyspaces.get(&keyspace));
        let Some((it, its)) = known else {
            return self.reply_error(connection, "ERR no such keyspace");
        };
        let (version, sites, topology) = (it.version, it.names(), it.topology.clone());
        match parse(its.settings, options) {
            Ok(Asked { conflict: Some(Conflict::Merge { function }), .. })
                if it.conflict.function().is_some() =>
            {
                // One of the forms of the function, and nothing beside it.
                if options.len() > 4 || options.len() == 4 && !options[1].eq_ignore_ascii_case(b"merge") {
                    let text = "ERR a function is altered by itself: KEYSPACE ALTER name MERGE <lua>";
                    return self.reply_error(connection, text);
                }
                if let Some(error) = self.unfit_function(&function) {
                    return self.reply_error(connection, &error);
                }
                let change = MultiLeaderChange::Function { keyspace, function };
                self.administrate(connection, Command::ChangeMultiLeader(Box::new(change)))
            }
            Ok(Asked { conflict: Some(_), .. }) => {
                let text = "ERR CONFLICT of a keyspace stays as it was made: what is in conflict already was kept by it";
                self.reply_error(connection, text)
            }
            Ok(asked) => {
                let change = MultiLeaderChange::Alter {
                    keyspace,
                    version,
                    settings: asked.settings,
                    topology: asked.topology.unwrap_or(topology),
                    sites: asked.sites.unwrap_or(sites),
                };
                self.administrate(connection, Command::ChangeMultiLeader(Box::new(change)))
            }
            Err(error) => self.reply_error(connection, &error),
        }
    }

    /// KEYSPACE INFO; nothing of other keyspaces. Links are shown of the sites whose leaders are on this node.
    pub(crate) fn multi_leader_info(
        &mut self,
        connection: ConnectionId,
        keyspace: KeyspaceId,
    ) -> Option<Flow> {
        let it = self.map.multi_leader.get(&keyspace)?.clone();
        let settings = self.map.keyspaces.get(&keyspace)?.settings;
        let keyspace_name = self.keyspace_name(keyspace);
        let name =
            |node: &data::NodeId| self.map.nodes.get(node).map_or_else(String::new, |it| it.name.clone());
        let mut shown = Vec::new();
        for site in &it.sites {
            for group in &site.groups {
                let Some(known) = self.map.groups.get(group) else { continue };
                let leader = self.map.leader_of(*group).map(|node| name(&node)).unwrap_or_default();
                let members: Vec<String> = known.view.members.iter().map(name).collect();
                let state = self.site_states().find(|state| state.group == *group);
                let (links, detour, ready) = state.map_or((Vec::new(), false, None), |state| {
                    (state.links, state.is_detour, Some(state.state.is_ready()))
                });
                let epoch = known.view.epoch.0 as i64;
                shown.push((
                    (site.name.to_string(), group.0, known.slots.text(), epoch),
                    (leader, members),
                    (links, detour, ready),
                ));
            }
        }
        let served = self.served.get(&keyspace).and_then(|id| it.site(*id)).map(|site| site.name.to_string());
        Some(self.reply(connection, |w| {
            w.fields(|f| {
                f.text("name", &keyspace_name);
                f.text("kind", "multi-leader");
                f.text("conflict", it.conflict.name());
                f.text("family", it.conflict.family());
                if let Some(function) = it.conflict.function() {
                    f.text("merge", &**function);
                }
                f.text("topology", it.topology.to_string());
                f.text("sites", it.names().iter().map(Site::to_string).collect::<Vec<_>>().join(","));
                f.text("served-by", served.unwrap_or_default());
                f.text("commit", settings.commit.name());
                f.integer("id", keyspace.0);
                f.integer("version", it.version as i64);
                f.integer("shards", settings.shards);
                f.integer("replicas", settings.replicas);
                let w = f.field("groups");
                w.array(shown.len());
                for ((site, group, slots, epoch), (leader, members), (links, detour, ready)) in &shown {
                    w.fields(|f| {
                        f.text("site", site);
                        f.integer("group", *group);
                        f.text("slots", slots);
                        f.integer("epoch", *epoch);
                        f.text("leader", leader);
                        f.field("members").list(members);
                        f.text(
                            "state",
                            match ready {
                                None => "elsewhere",
                                Some(true) => "ready",
                                Some(false) => "joining",
                            },
                        );
                        f.text("detour", if *detour { "yes" } else { "no" });
                        let w = f.field("links");
                        w.array(links.len());
                        links.iter().for_each(|link| write_link(link, w));
                    });
                }
            });
        }))
    }

    pub(crate) fn multi_leader_sheet(&self, keyspace: KeyspaceId) -> Option<String> {
        let it = self.map.multi_leader.get(&keyspace)?;
        let settings = self.map.keyspaces.get(&keyspace)?.settings;
        let views = it.sites.iter().flat_map(|site| &site.groups).filter_map(|group| self.map.view(*group));
        let facts = super::sheet::Facts::of(it, settings, views);
        Some(super::sheet::text(&self.keyspace_name(keyspace), &facts))
    }

    /// Fields of INFO.
    pub(crate) fn write_sites(&self, field: &mut dyn FnMut(&str, String)) {
        let (mut groups, mut led, mut keys, mut waiting, mut lag, mut lag_ms, mut away) =
            (0, 0, 0, 0, 0, 0, 0);
        let mut inbox = (0, 0);
        for state in self.site_states() {
            inbox.0 += state.state.copy().disputed().count() as u64;
            inbox.1 += state.state.copy().decision_bytes();
            groups += 1;
            led += u64::from(state.is_leader);
            keys += state.state.copy().len();
            waiting += state.waiting_bytes;
            for link in &state.links {
                lag += link.outgoing.operations;
                lag_ms = lag_ms.max(link.outgoing.ms);
                away += u64::from(link.is_away);
            }
        }
        let merged = self.groups.values().filter_map(|it| it.site.as_ref()).map(|site| site.merged.get());
        let merged = merged.fold((0, 0), |all, it| (all.0 + it.done, all.1 + it.failed));
        let counts = self.sites;
        for (name, value) in [
            ("sites_merges", merged.0),
            ("sites_merges_failed", merged.1),
            ("sites_groups", groups),
            ("sites_groups_led", led),
            ("sites_keys", keys),
            ("sites_waiting_bytes", waiting),
            ("sites_lag_operations", lag),
            ("sites_lag_ms", lag_ms),
            ("sites_links_away", away),
            ("sites_messages_sent", counts.sent),
            ("sites_messages_received", counts.received),
            ("sites_writes_sent", counts.writes_sent),
            ("sites_writes_received", counts.writes_received),
            ("sites_conflicts", counts.conflicts),
            ("sites_values_lost", counts.lost),
            ("sites_copies", counts.copies),
            ("sites_copies_abandoned", counts.copies_abandoned),
            ("sites_overdue", counts.overdue),
            ("sites_stopped", counts.stopped),
            ("sites_clock_ahead", counts.clock_ahead),
            ("sites_inbox_keys", inbox.0),
            ("sites_inbox_bytes", inbox.1),
            ("sites_inbox_dropped", counts.inbox_dropped),
            ("sites_dropped", counts.dropped),
            ("sites_claims", counts.claims),
            ("sites_claims_refused", counts.claims_refused),
        ] {
            field(name, format!("{value}"));
        }
    }
}

fn write_link(link: &LinkState, w: &mut ReplyWriter<'_>) {
    let integer = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    w.fields(|f| {
        f.text("site", link.name.as_str());
        f.text("link", if link.is_away { "away" } else { "up" });
        f.integer("lacks-operations", integer(link.outgoing.operations));
        f.integer("lacks-ms", integer(link.outgoing.ms));
        f.integer("lacking-operations", integer(link.incoming.operations));
        f.integer("lacking-ms", integer(link.incoming.ms));
        f.integer("in-flight-bytes", integer(link.in_flight_bytes));
    });
}

const NEEDS_FUNCTION: &str = "ERR CONFLICT merge takes a function: CONFLICT merge \"<lua>\"";

/// Options of CREATE and ALTER on top of the settings so far; the first contradiction as an error for the client.
fn parse(base: Settings, options: &[&[u8]]) -> Result<Asked, String> {
    let mut asked = Asked { settings: base, sites: None, topology: None, conflict: None };
    let mut others = Vec::new();
    let mut rest = options;
    while let [option, behind @ ..] = rest {
        let [value, behind @ ..] = behind else {
            return Err("ERR every option of a keyspace has a value".into());
        };
        rest = behind;
        let pair = [*option, *value];
        let text = core::str::from_utf8(pair[1]).map_err(|_| "ERR options of a keyspace are text")?;
        match &pair[0].to_ascii_uppercase()[..] {
            b"SITES" => {
                let named = |name: &str| {
                    Site::named(name).ok_or_else(|| format!("ERR '{name}' is no name of a site"))
                };
                asked.sites = Some(text.split(',').map(named).collect::<Result<_, _>>()?);
            }
            b"TOPOLOGY" => {
                asked.topology = Some(Topology::parse(text).map_err(|what| format!("ERR {what}"))?);
            }
            b"MERGE" | b"CONFLICT" if asked.conflict.is_some() => {
                return Err("ERR what becomes of conflicts is said twice".into());
            }
            b"MERGE" => asked.conflict = Some(Conflict::Merge { function: function_of(pair[1])? }),
            b"CONFLICT" if text.eq_ignore_ascii_case("merge") => {
                // Its function follows, or stands behind MERGE.
                let [next, behind @ ..] = rest else { return Err(NEEDS_FUNCTION.into()) };
                if !next.eq_ignore_ascii_case(b"MERGE") {
                    asked.conflict = Some(Conflict::Merge { function: function_of(next)? });
                    rest = behind;
                }
            }
            b"CONFLICT" => {
                let conflict = Conflict::named(&text.to_ascii_lowercase()).ok_or_else(|| {
                    format!(
                        "ERR CONFLICT does not take '{text}' in a multi-leader keyspace in this version: crdt, siblings, last-write-wins, home, block or merge \"<lua>\""
                    )
                })?;
                asked.conflict = Some(conflict);
            }
            b"LOG" | b"SITE" | b"RECOVERY-SITE" => {
                let name = String::from_utf8_lossy(pair[0]).to_ascii_uppercase();
                return Err(format!(
                    "ERR {name} does not go with MULTI-LEADER: each of its SITES has copies of its own, whose logs hold causal deltas"
                ));
            }
            _ => others.extend_from_slice(&pair),
        }
    }
    if !others.is_empty() {
        asked.settings = parse_settings(base, &others)?;
    }
    Ok(asked)
}
