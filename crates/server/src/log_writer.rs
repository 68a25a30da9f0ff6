//! Carries the node's log writes to disk: the records of a turn are one batch, batches that need a flush go to flusher
//! threads, a few at a time, and what arrives meanwhile becomes the next batch (group commit).
//!
//! A keyspace that leaves flushing to the operating system, or to an interval, is written at once by the core itself and
//! flushed in the background every second at the latest.

use bytes::Bytes;
use data::{GroupId, Index};
use mio::Waker;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use storage::job::{FlushJob, MarkJob, SegmentJob, WriteJob};
use storage::{Error, Files, Log};

/// Batches on their way to the disk at once. Measured: two give nearly all of the rate that four give, at half the latency.
const IN_FLIGHT_MAX: usize = 2;
/// A disk without room for the next segment is asked again so often.
const ROOM_RETRY: Duration = Duration::from_millis(200);
/// What is not flushed by request is flushed so often.
const FLUSH_EVERY: Duration = Duration::from_millis(1000);

enum Job {
    Write(WriteJob),
    Flush(FlushJob),
    Segment(SegmentJob),
    Mark(MarkJob),
    Remove(Vec<String>),
}

enum Done {
    Write(u64, Result<(), Error>),
    Flush(FlushJob, Result<(), Error>),
    Segment(SegmentJob, Result<(), Error>),
    Nothing,
}

struct Waiting {
    token: u64,
    flush: bool,
    /// `None` until its records are part of a sealed batch.
    batch: Option<u64>,
}

pub struct LogWriter {
    log: Log,
    files: Arc<Files>,
    jobs: Sender<Job>,
    slow_jobs: Sender<Job>,
    done: Receiver<Done>,
    waiting: VecDeque<Waiting>,
    /// Whether the batch in the making must be flushed.
    flush: bool,
    segment_asked: bool,
    /// The disk had no room for the next segment at this time (bugs: X-05).
    no_room_since: Option<Instant>,
    /// A batch waits for that segment.
    stuck: bool,
    marked: bool,
    flushing: bool,
    flushed_at: Instant,
}

impl LogWriter {
    pub fn new(log: Log, files: Arc<Files>, waker: Arc<Waker>) -> LogWriter {
        let (done_sender, done) = channel();
        let (jobs, job_receiver) = channel();
        let (slow_jobs, slow_receiver) = channel();
        let job_receiver = Arc::new(Mutex::new(job_receiver));
        for _ in 0..IN_FLIGHT_MAX {
            spawn(Arc::clone(&job_receiver), Arc::clone(&files), done_sender.clone(), Arc::clone(&waker));
        }
        spawn(Arc::new(Mutex::new(slow_receiver)), Arc::clone(&files), done_sender, waker);
        LogWriter {
            log,
            files,
            jobs,
            slow_jobs,
            done,
            waiting: VecDeque::new(),
            flush: false,
            segment_asked: false,
            no_room_since: None,
            stuck: false,
            marked: true,
            flushing: false,
            flushed_at: Instant::now(),
        }
    }

    /// Adds records to the batch in the making.
    pub fn append(&mut self, token: u64, records: &Bytes, flush: bool) -> Result<(), Error> {
        self.log.append(records)?;
        self.flush |= flush;
        self.waiting.push_back(Waiting { token, flush, batch: None });
        Ok(())
    }

    /// Adds a record that nobody waits for.
    pub fn append_note(&mut self, record: &[u8]) -> Result<(), Error> {
        self.log.append(record)
    }

    /// Sends the batch on its way if there is room. Returns the newest token that is done, if any became so.
    pub fn submit(&mut self) -> Result<Option<u64>, Error> {
        while self.log.pending_bytes() > 0 && self.log.in_flight() < IN_FLIGHT_MAX {
            let Some(job) = self.log.seal_batch(self.flush)? else {
                // The next segment is not there yet.
                self.stuck = true;
                self.ask_for_segment();
                break;
            };
            for waiting in self.waiting.iter_mut().filter(|waiting| waiting.batch.is_none()) {
                waiting.batch = Some(job.batch);
            }
            self.marked = false;
            if job.flush {
                self.send(Job::Write(job));
            } else {
                let result = job.perform(&self.files);
                self.written(job.batch, result)?;
            }
            self.flush = false;
            self.ask_for_segment();
        }
        Ok(self.finished())
    }

    fn ask_for_segment(&mut self) {
        let waits = self.no_room_since.is_some_and(|since| since.elapsed() < ROOM_RETRY);
        if !self.segment_asked
            && !waits
            && let Some(job) = self.log.segment_job()
        {
            self.segment_asked = true;
            let _ = self.slow_jobs.send(Job::Segment(job));
        }
    }

    fn send(&self, job: Job) {
        // The threads live as long as this sender.
        let _ = self.jobs.send(job);
    }

    fn written(&mut self, batch: u64, result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Ok(()) => {
                self.log.completed(batch);
                Ok(())
            }
            Err(error) => {
                self.log.failed(batch, &error);
                Err(error)
            }
        }
    }

    /// Takes what the threads finished.
    pub fn collect(&mut self) -> Result<(), Error> {
        while let Ok(done) = self.done.try_recv() {
            match done {
                Done::Write(batch, result) => self.written(batch, result)?,
                Done::Flush(job, Ok(())) => {
                    self.flushing = false;
                    self.log.flushed(&job);
                }
                Done::Flush(_, Err(error)) => {
                    self.log.flush_failed(&error);
                    return Err(error);
                }
                Done::Segment(job, Ok(())) => {
                    self.segment_asked = false;
                    self.no_room_since = None;
                    self.stuck = false;
                    self.log.segment_ready(job);
                }
                Done::Segment(_, Err(error)) => {
                    self.segment_asked = false;
                    self.log.segment_failed(&error);
                    // A full disk keeps everything waiting and is tried again.
                    if !error.is_full() {
                        return Err(error);
                    }
                    self.no_room_since = Some(Instant::now());
                }
                Done::Nothing => {}
            }
        }
        Ok(())
    }

    fn finished(&mut self) -> Option<u64> {
        let (durable, written) = (self.log.durable_batch(), self.log.written_batch());
        let mut last = None;
        while let Some(front) = self.waiting.front()
            && front.batch.is_some_and(|batch| batch <= if front.flush { durable } else { written })
        {
            last = Some(front.token);
            self.waiting.pop_front();
        }
        last
    }

    /// Whether the log waits for room on the disk: nothing new can be promised until there is some.
    pub fn is_full(&self) -> bool {
        self.stuck && self.no_room_since.is_some()
    }

    /// What is due by the clock: interval flushes, the watermark of an idle log, old segments.
    pub fn tick(&mut self) {
        if self.no_room_since.is_some() {
            self.ask_for_segment();
        }
        let due = self.flushed_at.elapsed() >= FLUSH_EVERY;
        if !self.flushing && due {
            self.flushed_at = Instant::now();
            if let Some(job) = self.log.flush_job() {
                self.flushing = true;
                let _ = self.slow_jobs.send(Job::Flush(job));
            } else if !self.marked && self.log.in_flight() == 0 && self.log.pending_bytes() == 0 {
                self.marked = true;
                if let Some(job) = self.log.mark_job() {
                    let _ = self.slow_jobs.send(Job::Mark(job));
                }
            }
            let old = self.log.reclaim();
            if !old.is_empty() {
                let _ = self.slow_jobs.send(Job::Remove(old));
            }
        }
    }

    /// Reads the log of a group; `None` when it no longer reaches back so far.
    pub fn read(&self, group: GroupId, from: Index, bytes_max: usize) -> Option<(storage::Mark, Vec<u8>)> {
        let plan = self.log.plan_read(group, from, bytes_max)?;
        let read = plan.perform(&self.files).ok()?;
        let before = read.before.or((from == Index(1)).then(storage::Mark::default))?;
        Some((before, read.records))
    }

    pub fn release(&mut self, group: GroupId, through: Index) {
        self.log.release(group, through);
    }
    pub fn drop_group(&mut self, group: GroupId) {
        self.log.drop_group(group);
    }

    /// The end: everything that was written is flushed.
    pub fn finish(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + Duration::from_secs(2);
        while (self.log.in_flight() > 0 || self.log.pending_bytes() > 0) && Instant::now() < deadline {
            self.collect()?;
            self.submit()?;
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Some(job) = self.log.flush_job() {
            job.perform(&self.files)?;
            self.log.flushed(&job);
        }
        if let Some(job) = self.log.mark_job() {
            job.perform(&self.files, true)?;
        }
        Ok(())
    }
}

fn spawn(jobs: Arc<Mutex<Receiver<Job>>>, files: Arc<Files>, done: Sender<Done>, waker: Arc<Waker>) {
    std::thread::spawn(move || {
        loop {
            let job = match jobs.lock() {
                Ok(receiver) => receiver.recv(),
                Err(_) => return,
            };
            let Ok(job) = job else { return };
            let result = match job {
                Job::Write(job) => {
                    let result = job.perform(&files);
                    Done::Write(job.batch, result)
                }
                Job::Flush(job) => {
                    let result = job.perform(&files);
                    Done::Flush(job, result)
                }
                Job::Segment(job) => {
                    let result = job.perform(&files);
                    Done::Segment(job, result)
                }
                Job::Mark(job) => {
                    // Best effort: it only closes a window that recovery leaves open without it.
                    let _ = job.perform(&files, false);
                    Done::Nothing
                }
                Job::Remove(paths) => {
                    for path in paths {
                        let _ = files.remove(&path);
                    }
                    Done::Nothing
                }
            };
            if done.send(result).is_err() || waker.wake().is_err() {
                return;
            }
        }
    });
}
