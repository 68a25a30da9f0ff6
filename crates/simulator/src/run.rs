//! One run: a world is set up, harmed, healed, read back and judged.

use crate::client::{Client, Roams};
use crate::faults::{Choice, Fault, Mix, NO_SITES, Skip, Strike};
use crate::history::{Did, Operation};
use crate::invariants::Violation;
use crate::network::MS;
use crate::random::Random;
use crate::scenario::Scenario;
use crate::settle::settle;
use crate::verdict::{Copies, is_read, judge};
use crate::workload::{self, Kind};
use crate::world::{Quorums, Space, World};
use data::leaderless::ConflictPolicy;
use data::{Epoch, GroupId, LogFormat, NodeId};

/// What a run is given.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub nodes: Option<u32>,
    pub choice: Choice,
    /// Strikes that are left out.
    pub skip: Skip,
    /// Virtual time under faults, ns.
    pub time: u64,
    pub clients: Option<usize>,
    pub scenario: Option<Scenario>,
    /// Names of the keyspaces that a run may have; all of them otherwise.
    pub keyspaces: Option<Vec<String>>,
    pub readable: bool,
}

/// What came of it.
pub struct Outcome {
    pub plan: Plan,
    pub violation: Option<Violation>,
    pub faults: Vec<Fault>,
    /// What struck, and when in virtual time.
    pub strikes: Vec<(u64, Strike)>,
    pub nodes: u32,
    pub events: u64,
    /// Virtual time, ns.
    pub time: u64,
    pub operations: usize,
    pub acknowledged: u64,
    pub lost: u64,
    /// What the ledgers held at the end.
    pub ledger: crate::invariants::ledger::Count,
    /// Reads from followers' copies.
    pub copies: Copies,
    /// Answers seen before their questions, on followers' copies.
    pub answers_first: u64,
    /// Reads without a token that went back, in sessions that go from node to node.
    pub went_back: u64,
    /// Sessions that were told that what they saw is lost.
    pub told_lost: u64,
    /// Copies that stopped for good, in keyspaces that may lose.
    pub stranded: usize,
    pub trace_hash: u64,
    pub trace: Option<String>,
    pub history: Vec<Operation>,
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// Whether everything acknowledged in the keyspace must have survived. Where the rule allows a loss it is announced: without that
/// nothing may be gone. Clocks that keep no time end no lease, and two leaders may acknowledge.
fn keeps(world: &World, space: &Space) -> bool {
    let maps = world.hosts.values().filter_map(|host| host.node.as_ref()).map(|node| node.map());
    let newest = maps.max_by_key(|map| map.version);
    let announced = newest.is_none_or(|map| {
        let id = map.keyspace_named(&space.name).map(|keyspace| keyspace.id);
        let of_space = |group: &GroupId| id.is_some() && map.keyspace_of(*group) == id;
        map.views().any(|view| Some(view.keyspace) == id && view.last_loss != Epoch(0))
            || world.invariants.announced.iter().any(of_space)
    });
    space.durable || (!announced && !world.mix.has(Fault::WildClocks))
}

/// The keyspaces that a run may have. A keyspace whose copies are not flushed loses when too many lose their power.
fn spaces(mix: &Mix, among: Option<&[String]>, random: &mut Random) -> Vec<Space> {
    let space = |name: &str, options: &str, durable: bool| Space {
        name: name.to_owned(),
        options: if options.is_empty() { Vec::new() } else { words(options) },
        durable,
        quorums: None,
        has_sites: false,
    };
    let power = mix.has(Fault::PowerCut) || mix.has(Fault::PowerCutAll);
    let mut all = vec![
        space("strong", "REPLICAS 3 COMMIT majority", true),
        space("wide", "REPLICAS 5 COMMIT majority", true),
        space("synced", "REPLICAS 3 COMMIT in-sync-set ACKS 2", true),
        space("chained", "REPLICAS 3 COMMIT chain ACKS 1", true),
        space("long", "REPLICAS 5 COMMIT chain ACKS 0", true),
        space("relayed", "REPLICAS 3 READ-REPLICAS 2 FAN-OUT 1 COMMIT majority", true),
        space("cached", "REPLICAS 3 COMMIT majority LEVEL received FLUSH 500", !power),
        space("pair", "REPLICAS 3 COMMIT semi-sync ACKS 1", true),
        space("trio", "REPLICAS 3 COMMIT semi-sync ACKS 2 ON-TIMEOUT block", true),
        space("all", "REPLICAS 3 COMMIT synchronous", true),
        space("loose", "REPLICAS 3 COMMIT semi-sync ACKS 1 ON-TIMEOUT degrade TIMEOUT 500", false),
        space("patient", "REPLICAS 3 COMMIT async ELECTION wait", true),
        space("quick", "REPLICAS 3 COMMIT async", false),
        space("ingest", "REPLICAS 3 COMMIT best-effort BACKLOG 1024", false),
        space("sharded", "REPLICAS 3 COMMIT majority SHARDS 3", true),
        space("read", "REPLICAS 3 READ-REPLICAS 2 COMMIT majority", true),
    ];
    // Some rules cannot be met by so few.
    let least = |name: &str| match name {
        "pair" | "loose" => 2,
        "trio" | "synced" | "chained" => 3,
        _ => 1,
    };
    // Older programs know no gaps.
    all.retain(|space| {
        mix.nodes >= least(&space.name) && !(space.name == "ingest" && mix.has(Fault::Upgrade))
    });
    if let Some(among) = among {
        all.retain(|space| among.contains(&space.name));
    }
    random.shuffle(&mut all);
    if mix.has(Fault::Overflow) {
        all.sort_by_key(|space| space.name != "ingest");
    }
    all.truncate(random.between(1, 3) as usize);
    // It waits for the copy that led last. Harm that is found late may have met that one, and the machine comes back empty: then
    // only an operator could go on, and with a loss.
    all.retain(|space| space.name != "patient" || !(damages(mix) || mix.has(Fault::Restore)));
    if all.is_empty() {
        all.push(space("strong", "REPLICAS 3 COMMIT majority", true));
    }
    // The first numbered keyspace is there by itself; it may be divided before it is used.
    all.push(space("0", if random.chance(300) { "SHARDS 2" } else { "" }, true));
    all
}

/// A merge function. It gives one of the values that were written, so that whoever judges reads knows what it sees.
const GREATEST: &str = "return(a.value>b.value)and(a.value)or(b.value)";

/// As the words of KEYSPACE CREATE say it.
fn conflict_of(options: &str) -> ConflictPolicy {
    let words: Vec<&str> = options.split(' ').collect();
    match words.iter().position(|word| *word == "CONFLICT").and_then(|at| words.get(at + 1)) {
        Some(&"last-write-wins") => ConflictPolicy::LastWriteWins,
        Some(&"merge") => ConflictPolicy::Merge,
        Some(&"siblings") => ConflictPolicy::Siblings,
        _ => ConflictPolicy::Crdt,
    }
}

/// Leaderless keyspaces beside them, in some of the runs.
fn quorum_spaces(mix: &Mix, among: Option<&[String]>, random: &mut Random, merges: bool) -> Vec<Space> {
    let space = |name: &str, options: &str, strict: bool, monotonic: bool| Space {
        name: name.to_owned(),
        options: words(options),
        durable: true,
        quorums: Some(Quorums { strict, monotonic, conflict: conflict_of(options) }),
        has_sites: false,
    };
    let mut all = vec![
        space("carts", "N 3 W 2 R 2", true, true),
        space("baskets", "N 3 W 2 R 2 READ-REPAIR background", true, false),
        space("readings", "N 3 W 3 R 1 READ-REPAIR off SHARDS 2", true, false),
        space("visits", "N 3 W 2 R 2 SLOPPY on", false, false),
        space("prices", "N 3 W 2 R 2 CONFLICT last-write-wins", true, true),
        space("drafts", "N 3 W 2 R 2 CONFLICT siblings READ-REPAIR background", true, false),
    ];
    // A member of the first versions could not read the map.
    let possible = mix.nodes >= 3 && !mix.has(Fault::Upgrade);
    let wanted = random.chance(500);
    // A stand-in that is dismissed takes its hints along: that is no promise, and no judge can tell. With R 1 a node that still
    // runs does not leave.
    let dismisses = mix.has(Fault::Leave) || mix.has(Fault::Replace);
    all.retain(|space| !(dismisses && matches!(space.name.as_str(), "visits" | "readings")));
    random.shuffle(&mut all);
    match among {
        _ if !possible => all.clear(),
        Some(among) => all.retain(|space| among.contains(&space.name)),
        None if wanted => all.truncate(random.between(1, 2) as usize),
        None => all.clear(),
    }
    let offers = space("offers", &format!("N 3 W 2 R 2 CONFLICT merge {GREATEST}"), true, true);
    let is_named = among.is_some_and(|among| among.contains(&offers.name));
    if possible && (is_named || among.is_none() && merges && !all.is_empty()) {
        all.push(offers);
    }
    all
}

/// Multi-leader keyspaces, where the run has three sites.
fn site_spaces(mix: &Mix, among: Option<&[String]>, random: &mut Random) -> Vec<Space> {
    let space = |name: &str, options: &str| Space {
        name: name.to_owned(),
        options: words(options),
        durable: true,
        // Elements, increments and values are judged as in leaderless keyspaces where stand-ins may hold them: in the end.
        quorums: Some(Quorums { strict: false, monotonic: false, conflict: conflict_of(options) }),
        has_sites: true,
    };
    let mut all = vec![
        space("world", "REPLICAS 3 COMMIT majority"),
        space("ring", "REPLICAS 3 COMMIT majority TOPOLOGY circular"),
        // As with a single leader (`keep_two`), but a site may have one node, which `ACKS 1` would keep from writing.
        space(
            "hubbed",
            if damages(mix) {
                "REPLICAS 3 COMMIT majority TOPOLOGY star:eu-west"
            } else {
                "REPLICAS 3 COMMIT in-sync-set ACKS 0 TOPOLOGY star:eu-west"
            },
        ),
        space("spread", "REPLICAS 3 COMMIT majority SHARDS 2"),
        space("quotes", "REPLICAS 3 COMMIT majority CONFLICT last-write-wins"),
        // One order for each key: judged as with a single leader.
        Space { quorums: None, ..space("homes", "REPLICAS 3 COMMIT majority CONFLICT home") },
        space("tickets", "REPLICAS 3 COMMIT majority CONFLICT block"),
    ];
    let possible = mix.nodes >= 3 && mix.has(Fault::Sites) && !NO_SITES.iter().any(|fault| mix.has(*fault));
    random.shuffle(&mut all);
    match among {
        _ if !possible => all.clear(),
        Some(among) => all.retain(|space| among.contains(&space.name)),
        None => all.truncate(random.between(1, 2) as usize),
    }
    let tenders = space("tenders", &format!("REPLICAS 3 COMMIT majority CONFLICT merge {GREATEST}"));
    let is_named = among.is_some_and(|among| among.contains(&tenders.name));
    // Only where it is asked for.
    if possible && is_named {
        all.push(tenders);
    }
    all
}

fn site_clients(all: &[Space], spaces: std::ops::Range<usize>, random: &mut Random) -> Vec<Client> {
    let mut clients = Vec::new();
    for space in spaces {
        // Where the last one wins one of two increments is lost.
        let counts = !all[space].options.iter().any(|option| option == "last-write-wins");
        let at_home = all[space].quorums.is_none();
        let blocks = all[space].options.iter().any(|option| option == "block");
        for _ in 0..random.between(3, 6) {
            let mut kinds = match at_home {
                true => vec![Kind::SiteRegister, Kind::Counter, Kind::Set, Kind::List],
                false => vec![Kind::SiteRegister, Kind::QuorumCounter, Kind::QuorumSet, Kind::SiteBank],
            };
            if blocks {
                kinds.push(Kind::SiteTicket);
            }
            if blocks || at_home {
                kinds.push(Kind::SiteSwap);
            }
            kinds.retain(|kind| counts || !matches!(kind, Kind::QuorumCounter | Kind::SiteBank));
            random.shuffle(&mut kinds);
            kinds.truncate(random.between(1, 3) as usize);
            clients.push(Client::new(kinds, space, random.between(4, 50) * MS));
        }
        if counts {
            let number = 1_000_000 + space as u64;
            let says = random.pick(&[None, Some("CONSISTENCY READ nearest")]).flatten();
            let roams = Some(Roams { with_token: true, session: number | 1 << 31, token: None });
            let mut client = Client::new(vec![Kind::SiteRoam], space, random.between(4, 50) * MS);
            (client.says, client.roams) = (says, roams);
            clients.push(client);
        }
        let dialogue = [Kind::SiteAsk, Kind::SiteAnswer, Kind::SiteObserve, Kind::SiteObserve];
        for kind in dialogue.into_iter().filter(|_| counts && !at_home) {
            clients.push(Client::new(vec![kind], space, random.between(4, 40) * MS));
        }
    }
    clients
}

fn quorum_clients(all: &[Space], spaces: std::ops::Range<usize>, random: &mut Random) -> Vec<Client> {
    let mut clients = Vec::new();
    for space in spaces {
        // Where the last one wins one of two increments is lost.
        let counts = !all[space].options.iter().any(|option| option == "last-write-wins");
        for _ in 0..random.between(2, 5) {
            let mut kinds: Vec<Kind> = workload::quorum::ALL.iter().map(|(kind, ..)| *kind).collect();
            kinds.retain(|kind| counts || *kind != Kind::QuorumCounter);
            random.shuffle(&mut kinds);
            kinds.truncate(random.between(1, 3) as usize);
            clients.push(Client::new(kinds, space, random.between(4, 50) * MS));
        }
    }
    clients
}

fn damages(mix: &Mix) -> bool {
    [Fault::BitFlip, Fault::LostWrite, Fault::StrayWrite].iter().any(|fault| mix.has(*fault))
}

/// A set that may shrink to one copy does not outlive damage of that copy's disk: where disks are damaged it keeps two.
fn keep_two(spaces: &mut [Space], mix: &Mix) {
    for space in spaces.iter_mut().filter(|_| damages(mix) && mix.nodes > 1) {
        for at in 1..space.options.len() {
            if space.options[at - 1] == "ACKS" && space.options[at] == "0" {
                space.options[at] = "1".to_owned();
            }
        }
    }
}

/// Each keyspace logs in one of the formats. Older programs read rows only.
// catalogue: B5 D1 D4
fn draw_formats(spaces: &mut [Space], mix: &Mix, random: &mut Random) {
    for space in spaces.iter_mut().filter(|_| !mix.has(Fault::Upgrade)) {
        let format = LogFormat::ALL[random.below(LogFormat::ALL.len() as u64) as usize];
        // Where copies go on without entries only rows have a meaning.
        if format != LogFormat::Row && space.name != "ingest" {
            space.options.extend(["LOG".to_owned(), format.name().to_owned()]);
        }
    }
}

fn clients(spaces: usize, wanted: Option<usize>, random: &mut Random) -> Vec<Client> {
    let count = wanted.unwrap_or(random.between(3, 10) as usize);
    let pause = random.between(2, 60) * MS;
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut kinds: Vec<Kind> = Kind::ALL.iter().map(|(kind, ..)| *kind).collect();
        kinds.retain(|kind| {
            !matches!(
                kind,
                Kind::Anything | Kind::Watch | Kind::Heat | Kind::Stale | Kind::Roam | Kind::Fresh
            )
        });
        random.shuffle(&mut kinds);
        kinds.truncate(random.between(1, 4) as usize);
        clients.push(Client::new(kinds, random.below(spaces as u64 - 1) as usize, pause));
    }
    // FLUSHALL empties the numbered keyspaces: whoever does anything works in one that nobody judges.
    clients.push(Client::new(vec![Kind::Anything], spaces - 1, pause));
    clients
}

/// A register that is written all the time and read on every node, by readers that stay with theirs: a deposed leader that
/// still answers is noticed within milliseconds.
fn watchers(spaces: &[Space], nodes: u32, random: &mut Random) -> Vec<Client> {
    let judged: Vec<usize> = (0..spaces.len() - 1).filter(|at| spaces[*at].durable).collect();
    let (hot, busy) = (random.chance(700), random.pick(&judged));
    let mut clients = Vec::new();
    if let (true, Some(busy)) = (hot, busy) {
        for node in 1..=nodes.min(5) {
            let mut client = Client::new(vec![Kind::Watch], busy, random.between(3, 12) * MS);
            client.home = Some(NodeId(node));
            clients.push(client);
        }
        for _ in 0..2 {
            clients.push(Client::new(vec![Kind::Heat], busy, random.between(5, 30) * MS));
        }
    }
    clients
}

/// Writers of a few registers, and readers of them on the copies of several nodes.
fn stale_readers(spaces: &[Space], nodes: u32, random: &mut Random) -> Vec<Client> {
    let (wanted, space) = (random.chance(600), random.below(spaces.len() as u64 - 1) as usize);
    let mut homes: Vec<u32> = (1..=nodes).collect();
    random.shuffle(&mut homes);
    homes.truncate(3);
    let mut clients = Vec::new();
    if wanted {
        for _ in 0..2 {
            clients.push(Client::new(vec![Kind::Session], space, random.between(8, 50) * MS));
        }
        for home in homes {
            let mut client = Client::new(vec![Kind::Stale], space, random.between(8, 50) * MS);
            (client.home, client.says) = (Some(NodeId(home)), Some("READONLY"));
            clients.push(client);
        }
    }
    clients
}

/// Sessions that go from node to node with their tokens, reading copies, and readers of copies of a bounded age.
fn roamers(spaces: &[Space], random: &mut Random) -> Vec<Client> {
    let mut clients = Vec::new();
    if !random.chance(700) {
        return clients;
    }
    // Where something is lost, sessions must hear of it: there they are more often.
    let lossy: Vec<usize> = (0..spaces.len() - 1).filter(|at| !spaces[*at].durable).collect();
    let any = random.below(spaces.len() as u64 - 1) as usize;
    let space = random.pick(&lossy).filter(|_| random.chance(600)).unwrap_or(any);
    for number in 0..random.between(2, 4) {
        clients.push(roamer(space, number, true, random.between(5, 40) * MS));
    }
    for says in random.pick(&FRESH).into_iter().flatten() {
        let mut client = Client::new(vec![Kind::Fresh], space, random.between(8, 50) * MS);
        client.says = Some(says);
        clients.push(client);
    }
    clients
}

/// Bounds of the age of what readers of copies see: of one of these pairs, two readers.
const FRESH: [[&str; 2]; 2] = [
    [
        "CONSISTENCY READ follower SESSION off MAX-STALENESS 0",
        "CONSISTENCY READ nearest SESSION off MAX-STALENESS 300",
    ],
    [
        "CONSISTENCY READ follower SESSION off MAX-STALENESS 50",
        "CONSISTENCY READ follower SESSION off MAX-STALENESS 1000",
    ],
];

/// A session of registers that goes from node to node.
pub fn roamer(space: usize, number: u64, with_token: bool, pause: u64) -> Client {
    let mut client = Client::new(vec![Kind::Roam], space, pause);
    client.says =
        Some(if with_token { "CONSISTENCY READ follower" } else { "CONSISTENCY READ follower SESSION off" });
    client.roams = Some(Roams { with_token, session: number | u64::from(with_token) << 31, token: None });
    client
}

/// Runs a plan.
pub fn run(plan: &Plan) -> Outcome {
    let mut setup = Random::new(plan.seed, 7);
    let mix = match &plan.scenario {
        Some(scenario) => Mix { nodes: plan.nodes.unwrap_or(scenario.nodes()), active: Vec::new() },
        None => Mix::draw(plan.seed, plan.nodes, &plan.choice),
    };
    let spaces = match &plan.scenario {
        Some(scenario) => scenario.spaces(),
        None => {
            let mut all = spaces(&mix, plan.keyspaces.as_deref(), &mut setup);
            draw_formats(&mut all, &mix, &mut Random::new(plan.seed, 12));
            keep_two(&mut all, &mix);
            all
        }
    };
    let nodes = mix.nodes;
    let led = spaces.len();
    let mut spaces = spaces;
    if plan.scenario.is_none() {
        let merges = Random::new(plan.seed, 15).chance(300);
        let random = &mut Random::new(plan.seed, 11);
        spaces.extend(quorum_spaces(&mix, plan.keyspaces.as_deref(), random, merges));
    }
    let leaderless = spaces.len();
    if plan.scenario.is_none() {
        spaces.extend(site_spaces(&mix, plan.keyspaces.as_deref(), &mut Random::new(plan.seed, 13)));
    }
    let mut world = World::new(plan.seed, mix, spaces, plan.readable);
    world.clients = match &plan.scenario {
        Some(scenario) => scenario.clients(),
        None => {
            let with_leaders = world.spaces[..led].to_vec();
            let mut all = clients(led, plan.clients, &mut setup);
            all.extend(watchers(&with_leaders, nodes, &mut Random::new(plan.seed, 8)));
            all.extend(stale_readers(&with_leaders, nodes, &mut Random::new(plan.seed, 9)));
            all.extend(roamers(&with_leaders, &mut Random::new(plan.seed, 10)));
            all.extend(quorum_clients(&world.spaces, led..leaderless, &mut Random::new(plan.seed, 12)));
            let sites = leaderless..world.spaces.len();
            all.extend(site_clients(&world.spaces, sites, &mut Random::new(plan.seed, 14)));
            all
        }
    };
    world.strikes.skip = plan.skip.clone();
    let lossy = world.spaces.iter().filter(|space| !space.durable);
    world.invariants.lossy_names = lossy.map(|space| space.name.clone()).collect();
    let gapped = world.spaces.iter().filter(|space| space.options.iter().any(|word| word == "best-effort"));
    world.invariants.gaps.names = gapped.map(|space| space.name.clone()).collect();
    let begin = world.now;
    match &plan.scenario {
        Some(scenario) => scenario.play(&mut world),
        None => world.run_until(begin + plan.time),
    }
    settle(&mut world);
    world.record_unfinished();
    if !world.invariants.is_broken()
        && let Some(violation) = world.invariants.writes.judge(&world)
    {
        world.invariants.fail(violation.property, violation.text);
    }
    let mut ledger = Default::default();
    if !world.invariants.is_broken() {
        match world.invariants.ledgers.judge(&world) {
            Ok(count) => ledger = count,
            Err(violation) => world.invariants.fail(violation.property, violation.text),
        }
    }
    let durable: Vec<bool> = world.spaces.iter().map(|space| keeps(&world, space)).collect();
    let gapped = &world.invariants.gaps.names;
    let returns: Vec<bool> = world.spaces.iter().map(|space| gapped.contains(&space.name)).collect();
    let quorums: Vec<_> = world.spaces.iter().map(|space| space.quorums).collect();
    let has_sites: Vec<_> = world.spaces.iter().map(|space| space.has_sites).collect();
    let shown_at_sites = |it: &&Operation| {
        let space = &world.spaces[it.keyspace];
        let observed = space.has_sites && matches!(it.did, Did::Observe { .. });
        !(observed && world.invariants.guests.has(&space.name, it.node))
    };
    // Where one copy answers by itself, one with an old disk does so until it is told.
    let by_old_disk = |it: &&Operation| {
        let alone = world.spaces[it.keyspace].options.windows(2).any(|words| words == ["R", "1"]);
        alone && is_read(&it.did) && world.restored.iter().any(|life| life.has(it.node, it.start, it.end))
    };
    let judged = world.history.iter().filter(|it| shown_at_sites(it) && !by_old_disk(it));
    let history: Vec<Operation> = judged.cloned().collect();
    let verdict = judge(&history, &durable, &returns, &quorums, &has_sites, world.calm_at);
    let violation = world.invariants.violation.take().or(verdict.violation);
    Outcome {
        plan: plan.clone(),
        violation,
        faults: world.mix.kinds(),
        strikes: world.strikes.fallen,
        nodes,
        events: world.events,
        time: world.now - begin,
        operations: world.history.len(),
        acknowledged: verdict.acknowledged,
        lost: verdict.lost,
        ledger,
        copies: verdict.copies,
        answers_first: verdict.answers_first,
        went_back: verdict.went_back,
        told_lost: world.told_lost,
        stranded: world.invariants.stranded.len(),
        trace_hash: world.trace.hash(),
        trace: world.trace.take_text(),
        history: world.history,
    }
}
