//! Random histories against a plain model: appends, cuts, snapshots, releases, pins, lost and torn writes, restarts.
// catalogue: L12, N16; bugs: SL-13, SL-16

use crate::rig::{Chain, Rig, record, start};
use data::record::Kind;
use data::{GroupId, Index, KeyspaceId, Position};
use proptest::prelude::*;
use std::collections::BTreeMap;
use storage::index::write_snapshot_record;
use storage::{Mark, PinId, SimDisk};

#[derive(Clone, Debug)]
enum Step {
    /// A batch of entries: group, count, payload length.
    Entries(u32, usize, usize),
    /// Cuts this many entries of the group's tail, then begins a new epoch.
    Cut(u32, u64),
    /// A snapshot at this many entries before the end, and everything up to it is released.
    Snapshot(u32, u64),
    /// Another leader's snapshot, so many entries ahead, replaces all.
    Install(u32, u64),
    Pin(u32, u64),
    Unpin,
    Reclaim,
    Mark,
    Kill,
    Crash(u64),
    /// Seals two batches, carries out only the second, then the power goes.
    CrashInFlight(u32, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let group = 1u32..4;
    let step = prop_oneof![
        8 => (group.clone(), 1usize..5, 0usize..1500).prop_map(|(g, n, len)| Step::Entries(g, n, len)),
        2 => (group.clone(), 1u64..6).prop_map(|(g, n)| Step::Cut(g, n)),
        2 => (group.clone(), 0u64..4).prop_map(|(g, n)| Step::Snapshot(g, n)),
        1 => (group.clone(), 1u64..9).prop_map(|(g, n)| Step::Install(g, n)),
        1 => (group.clone(), 0u64..20).prop_map(|(g, n)| Step::Pin(g, n)),
        1 => Just(Step::Unpin),
        3 => Just(Step::Reclaim),
        1 => Just(Step::Mark),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(Step::Crash),
        1 => (group, any::<u64>()).prop_map(|(g, seed)| Step::CrashInFlight(g, seed)),
    ];
    proptest::collection::vec(step, 1..60)
}

#[derive(Clone, Default, Debug)]
struct Group {
    chain: Chain,
    /// Every entry that counts: index to hash and epoch.
    entries: BTreeMap<u64, (u64, u64)>,
    base: Mark,
    released: u64,
    fence: u64,
}

struct World {
    rig: Rig,
    groups: BTreeMap<u32, Group>,
    pins: Vec<(PinId, u32, u64)>,
}

impl World {
    fn group(&mut self, group: u32) -> &mut Group {
        self.groups.entry(group).or_default()
    }
    fn write(&mut self, bytes: &[u8]) {
        self.rig.write(bytes).expect("no fault");
    }
    fn entries(&mut self, group: u32, count: usize, len: usize) -> Vec<u8> {
        let g = self.group(group);
        let mut bytes = Vec::new();
        for _ in 0..count {
            bytes.extend(g.chain.entry(group, len));
            g.entries.insert(g.chain.index, (g.chain.hash, g.chain.epoch));
        }
        bytes
    }
    fn cut(&mut self, group: u32, count: u64) {
        let g = self.group(group);
        let floor = g.base.position.index.0.max(g.released);
        let to = g.chain.index.saturating_sub(count).max(floor);
        g.entries.split_off(&(to + 1));
        let base = g.base.hash;
        g.chain.hash = g.entries.get(&to).map_or(base, |(hash, _)| *hash);
        g.chain.index = to;
        g.chain.epoch += 1;
        g.fence = g.chain.epoch;
        let (truncate, _) = record(Kind::Truncate, group, g.chain.epoch, to, 0, &[]);
        let (fence, _) = record(Kind::Fence, group, g.chain.epoch, to, 0, &[]);
        self.write(&[truncate, fence].concat());
    }
    fn snapshot(&mut self, group: u32, behind: u64) {
        let g = self.group(group);
        let at = g.chain.index.saturating_sub(behind);
        if let Some((hash, epoch)) = g.entries.get(&at).copied()
            && at > g.base.position.index.0
        {
            g.base = Mark { position: Position::new(epoch, at), hash };
            g.released = at;
            self.snapshot_record(group);
        }
    }
    fn install(&mut self, group: u32, ahead: u64) {
        let g = self.group(group);
        g.chain.epoch += 1;
        g.chain.index += ahead;
        g.chain.hash ^= 0xabcd;
        g.entries.clear();
        g.base = Mark { position: Position::new(g.chain.epoch, g.chain.index), hash: g.chain.hash };
        g.released = g.chain.index;
        self.pins.retain(|(_, pinned, _)| *pinned != group);
        self.snapshot_record(group);
    }
    fn snapshot_record(&mut self, group: u32) {
        let g = self.group(group);
        let (mark, released) = (g.base, g.released);
        let mut bytes = Vec::new();
        write_snapshot_record(&mut bytes, KeyspaceId(0), GroupId(group), mark, 0);
        self.write(&bytes);
        self.rig.log.release(GroupId(group), Index(released));
    }
    fn restart(&mut self) {
        let disk = self.rig.disk.clone();
        let restarted = start(&disk, self.rig.process + 1, 8 << 10).expect("nothing acknowledged is missing");
        self.rig = restarted.rig;
        self.pins.clear();
        for (number, group) in &self.groups {
            let Some(found) = restarted.groups.get(&GroupId(*number)) else {
                assert!(group.chain.index == 0 && group.fence == 0, "group {number} is lost");
                continue;
            };
            assert_eq!(found.fence.0, group.fence);
            assert_eq!(found.base.unwrap_or_default(), group.base);
            let last = found.last.unwrap_or_default();
            assert_eq!((last.position.index.0, last.hash), (group.chain.index, group.chain.hash));
            assert_eq!(found.hole(), None);
            self.rig.log.release(GroupId(*number), Index(group.released));
        }
    }
    fn check_reads(&self) {
        for (number, group) in &self.groups {
            let base = group.base.position.index.0;
            let pins = self.pins.iter().filter(|(_, g, _)| g == number).map(|(_, _, from)| *from);
            let from = pins.chain([base + 1]).min().unwrap_or(1);
            if group.chain.index == 0 && group.entries.is_empty() {
                continue;
            }
            let read = self.rig.read(*number, from);
            let expected: Vec<(u64, u64)> =
                group.entries.range(from..).map(|(index, (hash, _))| (*index, *hash)).collect();
            assert_eq!(read, Some(expected), "group {number} from {from}");
        }
    }
    fn step(&mut self, step: Step) {
        match step {
            Step::Entries(group, count, len) => {
                let bytes = self.entries(group, count, len);
                self.write(&bytes);
            }
            Step::Cut(group, count) => self.cut(group, count),
            Step::Snapshot(group, behind) => self.snapshot(group, behind),
            Step::Install(group, ahead) => self.install(group, ahead),
            Step::Pin(group, behind) => {
                let from = self.group(group).chain.index.saturating_sub(behind).max(1);
                if let Some(pin) = self.rig.log.pin(GroupId(group), Index(from)) {
                    self.pins.push((pin, group, from));
                }
            }
            Step::Unpin => {
                if let Some((pin, ..)) = self.pins.pop() {
                    self.rig.log.unpin(pin);
                }
            }
            Step::Reclaim => {
                for path in self.rig.log.reclaim() {
                    self.rig.files.remove(&path).expect("there");
                }
                self.rig.write(&[]).expect("no fault");
            }
            Step::Mark => self.rig.mark(false).expect("no fault"),
            Step::Kill => {
                self.rig.disk.kill();
                self.restart();
            }
            Step::Crash(seed) => {
                self.rig.disk.crash(seed);
                self.restart();
            }
            Step::CrashInFlight(group, seed) => self.crash_in_flight(group, seed),
        }
    }
    fn crash_in_flight(&mut self, group: u32, seed: u64) {
        let before = self.group(group).clone();
        let mut jobs = Vec::new();
        for _ in 0..2 {
            let bytes = self.entries(group, 2, 900);
            self.rig.log.append(&bytes).expect("usable");
            jobs.extend(self.rig.seal(true).expect("usable"));
        }
        jobs[1].perform(&self.rig.files).expect("no fault");
        self.rig.log.completed(jobs[1].batch);
        self.groups.insert(group, before);
        self.rig.disk.crash(seed);
        self.restart();
    }
}

/// Runs the steps, then pulls the plug.
fn hold_to_the_model(steps: Vec<Step>) {
    let disk = SimDisk::new();
    let rig = start(&disk, 1, 8 << 10).expect("empty").rig;
    let mut world = World { rig, groups: BTreeMap::new(), pins: Vec::new() };
    for step in steps {
        world.step(step);
        world.check_reads();
    }
    world.rig.disk.crash(1);
    world.restart();
    world.check_reads();
}

/// The log began right behind an installed snapshot. When the next snapshot took its place, a reader that was promised the
/// first entry was refused: nobody knew any more what stood before it.
#[test]
fn a_pinned_reader_outlives_the_snapshot_that_the_log_began_with() {
    let steps = [Step::Install(3, 1), Step::Entries(3, 3, 0), Step::Cut(3, 2), Step::Pin(3, 0)];
    hold_to_the_model([&steps[..], &[Step::Snapshot(3, 0)]].concat());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_log_is_the_model(steps in steps()) {
        hold_to_the_model(steps);
    }
}
