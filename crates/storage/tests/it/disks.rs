//! One suite that both media pass, and what only the simulated one does.

use std::sync::Arc;
use storage::{Disk, Error, RealDisk, SimDisk};

/// A directory of the system that goes when the test ends.
struct Scratch(std::path::PathBuf);
impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(format!("tercet-storage-{name}-{}", std::process::id())))
    }
}
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn conforms(disk: &dyn Disk) {
    disk.create_dir("d/e").expect("made");
    disk.create_dir("d/e").expect("there");
    assert_eq!(disk.list("nowhere"), Ok(vec![]));
    assert!(matches!(disk.open("d/f"), Err(Error::Missing { .. })));
    assert!(matches!(disk.remove("d/f"), Err(Error::Missing { .. })));
    assert!(matches!(disk.rename("d/f", "d/g"), Err(Error::Missing { .. })));
    let file = disk.create("d/f").expect("new");
    assert!(matches!(disk.create("d/f"), Err(Error::Exists { .. })));
    assert_eq!(file.is_empty(), Ok(true));
    file.write_at(3, b"abc").expect("written");
    file.write_at(700, b"z").expect("written");
    assert_eq!(file.len(), Ok(701));
    let mut buffer = [9; 5];
    assert_eq!(file.read_at(1, &mut buffer), Ok(5));
    assert_eq!(&buffer, b"\0\0abc");
    assert_eq!(file.read_at(699, &mut buffer), Ok(2));
    assert_eq!(file.read_at(5000, &mut buffer), Ok(0));
    file.flush().expect("flushed");
    disk.rename("d/f", "d/g").expect("renamed");
    disk.sync_dir("d").expect("synced");
    disk.sync_dir("").expect("synced");
    assert_eq!(disk.open("d/g").expect("there").len(), Ok(701));
    file.set_len(10).expect("cut");
    assert_eq!(file.len(), Ok(10));
    let large = disk.create("d/large").expect("new");
    large.preallocate(3 << 20).expect("space");
    assert_eq!(large.len(), Ok(3 << 20));
    let mut zeros = vec![1; 100];
    assert_eq!(large.read_at((3 << 20) - 100, &mut zeros), Ok(100));
    assert_eq!(zeros, vec![0; 100]);
    let names = disk.list("d").expect("listed");
    assert!(names.contains(&"g".to_owned()) && names.contains(&"large".to_owned()));
    disk.remove("d/g").expect("removed");
    assert!(disk.free_space().expect("known") > 0);
    let guard = disk.lock("lock").expect("free");
    assert!(matches!(disk.lock("lock"), Err(Error::Locked { .. })));
    drop(guard);
    drop(disk.lock("lock").expect("free again"));
}

#[test]
fn the_simulated_disk_conforms() {
    conforms(&SimDisk::new());
}

#[test]
fn the_real_disk_conforms() {
    let scratch = Scratch::new("conforms");
    conforms(&RealDisk::open(&scratch.0).expect("made"));
}

#[test]
fn a_log_on_the_real_disk_is_found_again() {
    use crate::rig::{Chain, OWNER};
    use storage::{Files, Log, LogConfig, Options, recover};
    let scratch = Scratch::new("log");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&scratch.0).expect("made"));
    let mut chain = Chain::default();
    for process in 1..=3 {
        let mut seen = 0;
        let mut found = recover(&disk, &Options { owner: OWNER }, &mut |_, _| seen += 1).expect("whole");
        assert_eq!(seen, (process - 1) * 20);
        let files = Files::new(Arc::clone(&disk));
        let config = LogConfig { owner: OWNER, process, segment_bytes: 64 << 10 };
        let mut log = Log::open(&files, config, found.take_stream(0)).expect("opened");
        for _ in 0..20 {
            log.append(&chain.entry(1, 5000)).expect("usable");
            while let Some(job) = log.segment_job() {
                job.perform(&files).expect("made");
                log.segment_ready(job);
            }
            let job = log.seal_batch(true).expect("usable").expect("a job");
            job.perform(&files).expect("written");
            log.completed(job.batch);
        }
        assert_eq!(log.durable_batch(), process * 20);
    }
}

#[test]
fn a_crash_keeps_what_was_flushed_and_decides_the_rest_by_the_seed() {
    let mut kept = [0; 2];
    for seed in 0..40 {
        let disk = SimDisk::new();
        let file = disk.create("f").expect("new");
        file.preallocate(2048).expect("space");
        disk.sync_dir("").expect("synced");
        file.write_at(0, &[1; 512]).expect("written");
        file.flush().expect("flushed");
        file.write_at(512, &[2; 1024]).expect("written");
        disk.create("unsynced").expect("new");
        disk.crash(seed);
        assert!(file.write_at(0, b"x").is_err(), "the old handle is dead");
        let file = disk.open("f").expect("synced names stay");
        let mut bytes = [9; 2048];
        file.read_at(0, &mut bytes).expect("readable");
        assert_eq!(bytes[..512], [1; 512]);
        for (at, sector) in [1, 2].into_iter().enumerate() {
            let found = &bytes[sector * 512..][..512];
            assert!(found == [0; 512] || found == [2; 512], "a sector is never a mixture");
            kept[at] += usize::from(found[0] == 2);
        }
    }
    assert!(kept.iter().all(|count| (5..35).contains(count)), "{kept:?}");
}
