//! Who owns which slots: the commands of a move, and what each is refused for.
// catalogue: H4
// bugs: X-01

use control::map::{Advice, LEVEL};
use control::{Addresses, Applied, ClusterMap, Command, Founded, Refusal, ShardChange};
use data::codec::{Reader, Writer};
use data::keyspace::Settings;
use data::table::Seed;
use data::view::{Leader, Replica};
use data::{GroupId, Incarnation, KeyspaceId, NodeId, Position, Process, SlotRange, ViewNumber};

struct Map(ClusterMap);

impl Map {
    /// One keyspace with two groups on three nodes.
    fn new() -> Map {
        let mut map = Map(ClusterMap::default());
        let founders = (1..=3).map(|at| (format!("10.0.0.{at}:7"), at)).collect();
        let seeds = (0..16).map(|at| Seed(at, at)).collect();
        map.done(Command::Found { founded: Founded::new(founders), seeds, shards: 1 });
        for node in 1..=3 {
            map.done(Command::StartNode {
                node: NodeId(node),
                name: format!("n{node}"),
                addresses: Addresses::default(),
                site: String::new(),
                process: Process(1),
                incarnation: Incarnation(1),
            });
        }
        let settings = Settings { shards: 2, ..Settings::default() };
        map.done(Command::CreateKeyspace { name: "s".into(), settings, seed: Seed(1, 2) });
        map
    }
    fn apply(&mut self, command: Command) -> Result<Applied, Refusal> {
        let version = self.0.version + 1;
        let result = self.0.apply(version, &command, &Advice::default());
        let mut bytes = Vec::new();
        self.0.encode(&mut Writer::new(&mut bytes));
        assert_eq!(ClusterMap::decode(&mut Reader::new(&bytes)).as_ref(), Ok(&self.0), "it comes back");
        let mut bytes = Vec::new();
        command.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Command::decode(&mut Reader::new(&bytes)), Ok(command));
        let owned: u32 = self.0.groups_of(KeyspaceId(16)).map(|group| group.slots.count()).sum();
        assert!(owned == 16_384 || self.0.keyspaces.len() == 16, "every slot has one owner");
        result
    }
    fn done(&mut self, command: Command) {
        self.apply(command).expect("not refused");
    }
    fn change(&mut self, change: ShardChange) -> Result<Applied, Refusal> {
        self.apply(Command::ChangeShards(change))
    }
    fn begin_election(&mut self, group: u32) {
        let group = GroupId(group);
        let number = self.0.view(group).expect("known").number;
        self.done(Command::StartElection { group, number });
    }
    fn elect(&mut self, group: u32) {
        self.begin_election(group);
        let group = GroupId(group);
        let view = self.0.view(group).expect("known");
        let replica = Replica { node: NodeId(2), incarnation: Incarnation(1) };
        let start = Position { epoch: view.election.expect("begun"), index: data::Index(10) };
        self.done(Command::FinishElection {
            group,
            number: ViewNumber(view.number.0),
            leader: Leader { replica, process: Process(1) },
            start,
            starts: Vec::new(),
            loss_possible: false,
        });
    }
    fn slots(&self, group: u32) -> String {
        self.0.groups[&GroupId(group)].slots.text()
    }
}

fn begin(first: u16, last: u16) -> ShardChange {
    let slots = SlotRange::new(first, last).expect("a run");
    ShardChange::Begin { keyspace: KeyspaceId(16), slots, to: GroupId(2) }
}

#[test]
fn slots_change_their_owner_once_and_by_the_present_attempt_only() {
    let mut map = Map::new();
    let at = Position::new(1, 7);
    assert_eq!(map.change(begin(0, 99)), Ok(Applied::Done));
    assert!(matches!(map.change(begin(200, 299)), Err(Refusal::Invalid(_))), "one at a time");
    // Whoever leads either end anew begins anew.
    for (group, attempt) in [(1, 1), (2, 2)] {
        map.elect(group);
        assert_eq!(map.change(ShardChange::CutOver { id: 0, attempt, position: at }), Err(Refusal::Outdated));
    }
    assert_eq!(map.change(ShardChange::Retry { id: 0, attempt: 3 }), Ok(Applied::Done));
    assert_eq!(map.change(ShardChange::Retry { id: 0, attempt: 3 }), Err(Refusal::Outdated));
    assert_eq!((map.slots(1), map.slots(2)), ("0-8191".into(), "8192-16383".into()));
    let cut_over = ShardChange::CutOver { id: 0, attempt: 4, position: at };
    assert_eq!(map.change(cut_over), Ok(Applied::Done));
    assert_eq!((map.slots(1), map.slots(2)), ("100-8191".into(), "0-99,8192-16383".into()));
    assert_eq!((map.0.moved_at, map.0.groups[&GroupId(2)].complete_from), (map.0.version, at));
    assert_eq!(map.change(cut_over), Err(Refusal::Outdated), "twice does no harm");
    assert_eq!(map.change(ShardChange::Cancel { id: 0 }), Err(Refusal::InUse), "it is decided");
    assert_eq!(map.change(ShardChange::End { id: 0 }), Ok(Applied::Done));
    assert_eq!(map.change(ShardChange::End { id: 0 }), Err(Refusal::UnknownMove));
}

#[test]
fn a_move_that_is_given_up_is_cleared_first() {
    let mut map = Map::new();
    assert_eq!(map.change(begin(0, 99)), Ok(Applied::Done));
    assert_eq!(map.change(ShardChange::End { id: 0 }), Err(Refusal::InUse));
    assert_eq!(map.change(ShardChange::Cancel { id: 0 }), Ok(Applied::Done));
    let late = ShardChange::CutOver { id: 0, attempt: 1, position: Position::new(1, 7) };
    assert_eq!(map.change(late), Err(Refusal::Outdated));
    assert!(matches!(map.change(begin(0, 99)), Err(Refusal::Invalid(_))), "what it left is not deleted yet");
    assert_eq!(map.change(ShardChange::End { id: 0 }), Ok(Applied::Done));
    assert_eq!(map.change(begin(0, 99)), Ok(Applied::Done));
    assert!(map.0.moves.contains_key(&1), "its number is not used again");
    map.done(Command::DropKeyspace { keyspace: KeyspaceId(16) });
    assert!(map.0.moves.is_empty());
}

/// Copies that an election has counted already need not hold what moved since.
#[test]
fn slots_do_not_go_to_a_group_whose_election_is_under_way() {
    let mut map = Map::new();
    map.done(Command::RaiseLevel { level: LEVEL });
    assert_eq!(map.change(begin(0, 99)), Ok(Applied::Done));
    map.begin_election(2);
    for attempt in [1, 2] {
        let cut_over = ShardChange::CutOver { id: 0, attempt, position: Position::new(1, 7) };
        assert_eq!(map.change(cut_over), Err(Refusal::Outdated), "attempt {attempt}");
    }
    assert_eq!(map.slots(1), "0-8191");
}

/// A session may have seen something of it.
#[test]
fn the_keyspace_of_a_group_that_is_gone_stays_known() {
    let mut map = Map::new();
    map.done(Command::RaiseLevel { level: LEVEL });
    let (gone, keyspace) = (GroupId(1), KeyspaceId(16));
    assert_eq!(map.change(begin(0, 8191)), Ok(Applied::Done));
    let at = Position::new(1, 7);
    assert_eq!(map.change(ShardChange::CutOver { id: 0, attempt: 1, position: at }), Ok(Applied::Done));
    assert_eq!(map.change(ShardChange::End { id: 0 }), Ok(Applied::Done));
    assert_eq!(map.change(ShardChange::DropGroup { group: gone }), Err(Refusal::InUse), "two are asked for");
    let settings = Settings { shards: 1, ..Settings::default() };
    map.done(Command::AlterKeyspace { keyspace, settings });
    assert_eq!(map.0.keyspace_of(gone), Some(keyspace));
    assert_eq!(map.change(ShardChange::DropGroup { group: gone }), Ok(Applied::Done));
    assert_eq!((map.0.view(gone), map.0.keyspace_of(gone)), (None, Some(keyspace)));
    map.done(Command::DropKeyspace { keyspace });
    assert_eq!(map.0.keyspace_of(gone), None);
}

/// Members whose programs do not know the newest level come to the same map by the same entries, and can read it.
#[test]
fn a_map_of_the_first_level_changes_as_it_always_did() {
    let mut map = Map::new();
    let (gone, keyspace) = (GroupId(1), KeyspaceId(16));
    assert_eq!(map.change(begin(0, 8191)), Ok(Applied::Done));
    let settings = Settings { shards: 1, ..Settings::default() };
    map.done(Command::AlterKeyspace { keyspace, settings });
    map.begin_election(2);
    let at = Position::new(1, 7);
    let cut_over = |attempt| ShardChange::CutOver { id: 0, attempt, position: at };
    let done = [1, 2].map(|attempt| map.change(cut_over(attempt)));
    assert!(done.contains(&Ok(Applied::Done)), "{done:?}");
    assert_eq!(map.0.groups[&GroupId(2)].completed_at, 0);
    assert_eq!(map.change(ShardChange::End { id: 0 }), Ok(Applied::Done));
    assert_eq!(map.change(ShardChange::DropGroup { group: gone }), Ok(Applied::Done));
    assert!(map.0.dropped.is_empty());
    let format = |map: &ClusterMap| {
        let mut bytes = Vec::new();
        map.encode(&mut Writer::new(&mut bytes));
        bytes[0]
    };
    assert_eq!(format(&map.0), 4);
    map.done(Command::RaiseLevel { level: LEVEL });
    assert_eq!(format(&map.0), 9);
}
