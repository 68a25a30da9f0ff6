//! Every operation fails once, in turn: nothing acknowledged is lost, and the log says why it stopped.
// catalogue: L12; bugs: SL-12, X-05, X-08

use crate::rig::{Chain, Rig, start};
use storage::memory::Fault;
use storage::{Error, SimDisk};

const SEGMENT: u64 = 8 << 10;

fn run(rig: &mut Rig, chain: &mut Chain, batches: usize) -> Result<(), Error> {
    for at in 0..batches {
        rig.write(&chain.entry(1, at * 370 % 2000))?;
        rig.prepare()?;
    }
    Ok(())
}

// bugs: SL-12
#[test]
fn a_failed_flush_stops_the_log_and_is_never_believed_later() {
    for flush in 0.. {
        let disk = SimDisk::new();
        let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
        let mut chain = Chain::default();
        disk.inject(flush, Fault::FailFlush);
        let Err(first) = run(&mut rig, &mut chain, 20) else {
            assert_eq!(flush, 20);
            break;
        };
        assert!(matches!(first, Error::Failed { op: "flush", .. }), "{first}");
        let durable = rig.log.durable_batch();
        let refused = rig.log.append(&chain.entry(1, 1)).expect_err("stopped");
        assert!(refused.to_string().contains("injected"), "says why: {refused}");
        assert!(rig.log.seal_batch(true).is_err() && rig.log.flush_job().is_none());
        assert!(rig.log.segment_job().is_none() && rig.log.mark_job().is_none());

        // The process starts again on the same system: its cache still shows what the medium never got. What recovery
        // then believes must survive the next power cut.
        disk.kill();
        let restarted = start(&disk, 2, SEGMENT).expect("nothing acknowledged is missing");
        let believed = restarted.records.len();
        assert!(believed as u64 >= durable);
        disk.crash(flush);
        let again = start(&disk, 3, SEGMENT).expect("whole");
        assert_eq!(again.records.len(), believed, "flush {flush}");
    }
}

// bugs: X-08
#[test]
fn a_failed_write_stops_the_log_too() {
    for write in 0.. {
        let disk = SimDisk::new();
        let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
        let mut chain = Chain::default();
        disk.inject(write, Fault::FailWrite);
        if run(&mut rig, &mut chain, 12).is_ok() {
            assert!(write > 24);
            break;
        }
        assert!(rig.log.poisoned().is_some());
        let durable = rig.log.durable_batch();
        disk.crash(write);
        let restarted = start(&disk, 2, SEGMENT).expect("nothing acknowledged is missing");
        assert!(restarted.records.len() as u64 >= durable);
    }
}

// bugs: X-08
#[test]
fn a_failed_read_fails_recovery_and_is_never_taken_for_absence() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    run(&mut rig, &mut Chain::default(), 12).expect("no fault");
    for read in 0.. {
        let copy = disk.duplicate();
        copy.inject(read, Fault::FailRead);
        match start(&copy, 2, SEGMENT) {
            Err(error) => assert!(matches!(error, Error::Failed { op: "read", .. }), "{error}"),
            Ok(restarted) => {
                assert_eq!(restarted.records.len(), 12);
                assert!(read > 10);
                break;
            }
        }
    }
}

// bugs: X-05
#[test]
fn a_full_disk_delays_and_loses_nothing() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let mut chain = Chain::default();
    let used = disk.len_of(&disk.paths()[0]).expect("there");
    disk.limit(Some(used + used / 2));
    let mut written = 0;
    let error = loop {
        match rig.write(&chain.entry(1, 900)) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_full() && written > 3, "{error} after {written}");
    assert!(rig.log.poisoned().is_none());
    assert_eq!((rig.log.durable_batch(), disk.paths().len()), (written, 1), "no half-made segment is left");
    disk.limit(None);
    // What was appended while the disk was full is still waiting.
    let job = rig.seal(true).expect("usable").expect("a segment can be made now");
    job.perform(&rig.files).expect("no fault");
    rig.log.completed(job.batch);
    assert_eq!(start(&disk, 2, SEGMENT).expect("whole").records.len() as u64, written + 1);
}

#[test]
fn writes_without_flush_are_written_not_durable_until_one_comes() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let mut chain = Chain::default();
    for _ in 0..30 {
        rig.log.append(&chain.entry(1, 500)).expect("usable");
        let job = rig.seal(false).expect("usable").expect("a job");
        job.perform(&rig.files).expect("no fault");
        rig.log.completed(job.batch);
    }
    assert_eq!((rig.log.written_batch(), rig.log.durable_batch()), (30, 0));
    assert!(rig.log.flush_wanted(), "a segment was left with un-flushed batches");
    rig.flush().expect("no fault");
    assert_eq!(rig.log.durable_batch(), 30);
    disk.crash(3);
    assert_eq!(start(&disk, 2, SEGMENT).expect("whole").records.len(), 30);
}

// bugs: SL-11
#[test]
fn a_flushed_batch_takes_older_segments_along() {
    for seed in 0..8 {
        let disk = SimDisk::new();
        let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
        let mut chain = Chain::default();
        for at in 0..12 {
            rig.log.append(&chain.entry(1, 1500)).expect("usable");
            let job = rig.seal(at == 11).expect("usable").expect("a job");
            job.perform(&rig.files).expect("no fault");
            rig.log.completed(job.batch);
        }
        assert_eq!(rig.log.durable_batch(), 12);
        disk.crash(seed);
        assert_eq!(start(&disk, 2, SEGMENT).expect("whole").records.len(), 12);
    }
}

#[test]
fn a_batch_that_is_being_written_is_not_read() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let mut chain = Chain::default();
    rig.write(&chain.entry(1, 600)).expect("no fault");
    rig.log.append(&chain.entry(1, 600)).expect("usable");
    let job = rig.seal(true).expect("usable").expect("a job");
    let file = rig.files.get(&job.path).expect("open");
    file.write_at(job.writes[0].offset, &job.writes[0].bytes[..200]).expect("no fault");
    assert_eq!(rig.read(1, 1).map(|entries| entries.len()), Some(1));
    job.perform(&rig.files).expect("no fault");
    rig.log.completed(job.batch);
    assert_eq!(rig.read(1, 1).map(|entries| entries.len()), Some(2));
}

#[test]
fn a_flush_covers_only_what_was_written_before_it() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let mut chain = Chain::default();
    let mut write = |rig: &mut Rig| {
        rig.log.append(&chain.entry(1, 50)).expect("usable");
        let job = rig.seal(false).expect("usable").expect("a job");
        job.perform(&rig.files).expect("no fault");
        rig.log.completed(job.batch);
    };
    write(&mut rig);
    let flush = rig.log.flush_job().expect("something to flush");
    flush.perform(&rig.files).expect("no fault");
    write(&mut rig);
    assert!(rig.log.flush_job().is_none(), "one at a time");
    rig.log.flushed(&flush);
    assert_eq!((rig.log.written_batch(), rig.log.durable_batch()), (2, 1));
}

#[test]
fn a_flushed_batch_waits_for_the_unflushed_one_before_it() {
    let disk = SimDisk::new();
    let mut rig = start(&disk, 1, SEGMENT).expect("empty").rig;
    let mut chain = Chain::default();
    rig.log.append(&chain.entry(1, 50)).expect("usable");
    let plain = rig.seal(false).expect("usable").expect("a job");
    rig.log.append(&chain.entry(1, 50)).expect("usable");
    let flushed = rig.seal(true).expect("usable").expect("a job");
    flushed.perform(&rig.files).expect("no fault");
    rig.log.completed(flushed.batch);
    plain.perform(&rig.files).expect("no fault");
    rig.log.completed(plain.batch);
    assert_eq!((rig.log.written_batch(), rig.log.durable_batch()), (2, 0));
    assert!(rig.log.flush_wanted());
    rig.flush().expect("no fault");
    assert_eq!(rig.log.durable_batch(), 2);
}
