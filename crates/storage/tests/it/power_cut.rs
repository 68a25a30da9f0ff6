//! The power goes at every single write of a run, every un-flushed sector is kept or lost, and after each cut the node
//! starts and holds everything it was told to be durable.
// catalogue: L12, N16, E1; bugs: SL-11, SL-13

use crate::rig::{Chain, Rig, start};
use storage::{Error, SimDisk};

const SEGMENT: u64 = 8 << 10;
const SIZES: [usize; 14] = [10, 700, 0, 3000, 90, 450, 1, 5000, 200, 384, 2100, 60, 800, 1200];

/// What the run has put into the log, batch by batch, and what it was told.
#[derive(Default)]
struct Promised {
    batches: Vec<Vec<Vec<u8>>>,
    chain: Chain,
    durable: usize,
}

impl Promised {
    fn batch(&mut self, at: usize) -> Vec<u8> {
        let first = self.chain.entry(1, SIZES[at % SIZES.len()]);
        let second = self.chain.entry(1, SIZES[(at + 5) % SIZES.len()] / 3);
        let bytes = [&first[..], &second[..]].concat();
        self.batches.push(vec![first, second]);
        bytes
    }
    /// The recovered records must be whole batches: all that was durable, maybe more. The rest never was.
    fn check_and_cut(&mut self, records: &[Vec<u8>], what: &str) {
        let mut kept = 0;
        let mut rest = records;
        for batch in &self.batches {
            if rest.is_empty() {
                break;
            }
            assert!(rest.starts_with(batch), "{what}: batch {} is not what was written", kept + 1);
            rest = &rest[batch.len()..];
            kept += 1;
        }
        assert!(rest.is_empty(), "{what}: more than was written");
        assert!(kept >= self.durable, "{what}: {} were durable, {kept} are left", self.durable);
        self.batches.truncate(kept);
        let last = records.last().map(|bytes| data::record::Record::parse(bytes).expect("whole"));
        self.chain.index = last.map_or(0, |r| r.header.index.0);
        self.chain.hash = last.map_or(0, |r| r.hash);
        self.durable = kept;
    }
}

/// Two batches in flight, their writes and flushes interleaved in four ways; some without a flush.
fn run(rig: &mut Rig, promised: &mut Promised, pairs: usize) -> Result<(), Error> {
    let base = rig.log.next_batch() - 1 - promised.batches.len() as u64;
    for pair in 0..pairs {
        let mut jobs = Vec::new();
        for half in 0..2 {
            let records = promised.batch(pair * 2 + half);
            rig.log.append(&records)?;
            jobs.extend(rig.seal(half == 1 || pair % 4 != 3)?);
        }
        if pair % 2 == 0 {
            rig.prepare()?;
        }
        let order = [[0, 1], [1, 0]][pair / 2 % 2];
        for at in order {
            jobs[at].write(&rig.files)?;
        }
        for at in if pair % 2 == 0 { order } else { [order[1], order[0]] } {
            let result = if jobs[at].flush { jobs[at].flush(&rig.files) } else { Ok(()) };
            rig.done(jobs[at].batch, result)?;
            promised.durable = (rig.log.durable_batch() - base) as usize;
        }
        if rig.log.flush_wanted() {
            rig.flush()?;
            promised.durable = (rig.log.durable_batch() - base) as usize;
        }
        if pair == 3 {
            rig.mark(false)?;
        }
    }
    Ok(())
}

fn start_after(disk: &SimDisk, process: u64, promised: &mut Promised, what: &str) -> Rig {
    let restarted = start(disk, process, SEGMENT).unwrap_or_else(|error| panic!("{what}: {error}"));
    promised.check_and_cut(&restarted.records, what);
    restarted.rig
}

#[test]
fn recovery_never_loses_a_flushed_record_and_never_refuses_to_start() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let mut promised = Promised::default();
    run(&mut rig, &mut promised, 7).expect("no fault");
    assert_eq!(promised.durable, 14);
    let total = disk.operations();
    assert!(disk.paths().len() > 3, "the run must fill several segments");

    for cut in 0..total {
        for seed in 0..6 {
            let what = format!("cut {cut} seed {seed}");
            let disk = SimDisk::new();
            let mut promised = Promised::default();
            disk.power_off_after(cut);
            if let Ok(restarted) = start(&disk, 1, SEGMENT) {
                let mut rig = restarted.rig;
                run(&mut rig, &mut promised, 7).expect_err(&what);
            }
            disk.crash(seed);
            // The power goes again while recovery cleans up, and again; then a run goes on, and the process dies.
            for (again, process) in [(seed * 3, 2), (seed + 1, 3)] {
                disk.power_off_after(again);
                let _ = start(&disk, process, SEGMENT);
                disk.crash(seed ^ cut);
            }
            let mut rig = start_after(&disk, 4, &mut promised, &what);
            run(&mut rig, &mut promised, 2).expect("no fault");
            disk.kill();
            let mut rig = start_after(&disk, 5, &mut promised, &what);
            run(&mut rig, &mut promised, 1).expect("no fault");
            disk.crash(seed + 77);
            start_after(&disk, 6, &mut promised, &what);
        }
    }
}

// bugs: SL-13
#[test]
fn a_hole_followed_by_a_whole_batch_is_a_torn_tail() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let mut chain = Chain::default();
    rig.write(&chain.entry(1, 100)).expect("no fault");
    rig.log.append(&chain.entry(1, 100)).expect("usable");
    let hole = rig.seal(true).expect("usable").expect("a job");
    rig.log.append(&chain.entry(1, 100)).expect("usable");
    let later = rig.seal(true).expect("usable").expect("a job");
    later.perform(&rig.files).expect("no fault");
    rig.log.completed(later.batch);
    assert_eq!((rig.log.durable_batch(), rig.log.in_flight()), (1, 1));
    drop(hole);
    disk.crash(1);
    let restarted = start(&disk, 2, SEGMENT).expect("nothing acknowledged is missing");
    assert_eq!(restarted.records.len(), 1);
    // What was cut stays cut, although its bytes are still there.
    let restarted = start(&disk, 3, SEGMENT).expect("again");
    assert_eq!((restarted.records.len(), restarted.torn), (1, false));
}
