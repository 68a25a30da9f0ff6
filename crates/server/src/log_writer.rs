//! Carries the node's log writes to disk: the records of a turn are one batch, batches that need a flush go to flusher
//! threads, a few at a time, and what arrives meanwhile becomes the next batch (group commit).
//!
//! A keyspace that leaves flushing to the operating system, or to an interval, is written at once by the core itself and
//! flushed in the background every second at the latest.

use crate::threads::{Background, yield_to_others};
use bytes::Bytes;
use data::{GroupId, Index, NodeId};
use mio::Waker;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use storage::job::{FlushJob, MarkJob, SegmentJob, WriteJob};
use storage::{Blockers, Error, Files, Log, ReadPlan};

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
    Read { group: GroupId, to: NodeId, from: Index, plan: ReadPlan },
}

/// What was read of a group's log for a follower; nothing when the log no longer reaches back so far.
pub struct LogReadDone {
    pub group: GroupId,
    pub to: NodeId,
    pub from: Index,
    pub read: Option<(storage::Mark, Vec<u8>)>,
}

enum Done {
    Write { flusher: usize, batch: u64, result: Result<(), Error> },
    Flush(FlushJob, Result<(), Error>),
    Segment(SegmentJob, Result<(), Error>),
    Read(LogReadDone),
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
    /// One flusher thread each: a shared queue would wake two threads per batch.
    flushers: Vec<Sender<Job>>,
    /// Which of them have nothing to do.
    idle: Vec<usize>,
    slow_jobs: Sender<Job>,
    reads: Sender<Job>,
    reads_done: Vec<LogReadDone>,
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
        let start = |number| {
            let (jobs, receiver) = channel();
            spawn(number, receiver, Arc::clone(&files), done_sender.clone(), Arc::clone(&waker));
            jobs
        };
        let flushers: Vec<Sender<Job>> = (0..IN_FLIGHT_MAX).map(start).collect();
        let (slow_jobs, reads) = (start(IN_FLIGHT_MAX), start(IN_FLIGHT_MAX + 1));
        LogWriter {
            log,
            files,
            idle: (0..flushers.len()).collect(),
            flushers,
            slow_jobs,
            reads,
            reads_done: Vec::new(),
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

    /// Gives a flusher a batch; as many are in flight as there are flushers, at most.
    fn send(&mut self, job: Job) {
        let number = self.idle.pop().unwrap_or_default();
        // The threads live as long as these senders.
        let _ = self.flushers[number].send(job);
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
                Done::Write { flusher, batch, result } => {
                    self.idle.push(flusher);
                    self.written(batch, result)?;
                }
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
                Done::Read(read) => self.reads_done.push(read),
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

    /// Batches that survive a power cut.
    pub fn durable_batches(&self) -> u64 {
        self.log.durable_batch()
    }

    /// Whom the oldest part of the log is kept for.
    pub fn blockers(&self) -> Blockers {
        self.log.blockers()
    }

    /// Has a piece of a group's log read for a follower: see [`LogWriter::take_reads`]. False when the log no longer reaches
    /// back so far.
    pub fn read(&self, group: GroupId, to: NodeId, from: Index, bytes_max: usize) -> bool {
        let plan = self.log.plan_read(group, from, bytes_max);
        plan.is_some_and(|plan| self.reads.send(Job::Read { group, to, from, plan }).is_ok())
    }
    /// What was read since the last call.
    pub fn take_reads(&mut self) -> Vec<LogReadDone> {
        std::mem::take(&mut self.reads_done)
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

fn spawn(number: usize, jobs: Receiver<Job>, files: Arc<Files>, done: Sender<Done>, waker: Arc<Waker>) {
    std::thread::spawn(move || {
        if number >= IN_FLIGHT_MAX {
            yield_to_others(Background::Soon);
        }
        while let Ok(job) = jobs.recv() {
            let result = match job {
                Job::Write(job) => {
                    let result = job.perform(&files);
                    Done::Write { flusher: number, batch: job.batch, result }
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
                Job::Read { group, to, from, plan } => {
                    Done::Read(LogReadDone { group, to, from, read: read(&plan, from, &files) })
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

fn read(plan: &ReadPlan, from: Index, files: &Files) -> Option<(storage::Mark, Vec<u8>)> {
    let read = match plan.perform(files) {
        Ok(read) => read,
        Err(error) => {
            // The follower gets a snapshot instead; that the log is damaged here must be seen.
            eprintln!("reading the log for a follower: {error}");
            return None;
        }
    };
    let before = read.before.or((from == Index(1)).then(storage::Mark::default))?;
    Some((before, read.records))
}
