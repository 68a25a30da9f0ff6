//! A simulated disk. Keeps what programs see (*live*) apart from what would survive a power cut (*durable*), and fails,
//! tears, flips, loses and misdirects on request. Deterministic: the same calls and seeds give the same bytes.

mod inode;

use crate::disk::{Disk, File};
use crate::error::{Error, Result};
use inode::Inode;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A fault that hits the next operation of its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    FailWrite,
    FailRead,
    /// The flush fails, and what it should have made durable is forgotten though it can still be read: what Linux does.
    FailFlush,
    /// The write is reported done and goes nowhere.
    LoseWrite,
    /// The write lands so many bytes further on.
    MisdirectWrite(u64),
}

/// A medium shared by all its handles; clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: Vec<Inode>,
    /// Names now, and names as a power cut would leave them at the latest.
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// Changes of names that no `sync_dir` covered yet, oldest first.
    renames: Vec<NameChange>,
    /// Files that may have lost their last name: they go once that is durable and nobody has them open.
    unnamed: Vec<usize>,
    /// Faults by the number of operations of that kind that still pass before it.
    faults: Vec<(u64, Fault)>,
    capacity: Option<u64>,
    /// Changing operations until the power goes; the one that finds 0 and all later ones fail.
    power: Option<u64>,
    operations: u64,
    flushes: u64,
    locked: bool,
    life: u64,
}

#[derive(Clone)]
enum NameChange {
    Put(String, usize),
    Remove(String),
    Rename(String, String),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Put(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            NameChange::Remove(path) => {
                names.remove(path);
            }
            NameChange::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

impl SimDisk {
    pub fn new() -> SimDisk {
        SimDisk::default()
    }
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power fails and comes back. Every sector not flushed is kept or lost, and of the name changes that were not
    /// synced some first part is kept, as `seed` says. Handles from before are dead; faults, the power limit and the lock
    /// are gone.
    pub fn crash(&self, seed: u64) {
        let mut random = Random(seed);
        let mut s = self.state();
        for inode in &mut s.files {
            let dirty = std::mem::take(&mut inode.dirty);
            for sector in dirty {
                if random.next() & 1 == 0 {
                    inode.keep(sector);
                }
            }
            inode.live = inode.durable.clone();
        }
        let changes = std::mem::take(&mut s.renames);
        let kept = (random.next() % (changes.len() as u64 + 1)) as usize;
        let mut names = std::mem::take(&mut s.durable);
        for change in &changes[..kept] {
            change.apply(&mut names);
        }
        // What a lost change of names brings back has a name again, and what it takes away has none.
        let named: BTreeSet<usize> = names.values().copied().collect();
        s.unnamed = (0..s.files.len()).filter(|inode| !named.contains(inode)).collect();
        s.live = names.clone();
        s.durable = names;
        s.restart();
    }
    /// The process dies and the operating system lives: all that was written is still there, un-flushed.
    pub fn kill(&self) {
        self.state().restart();
    }
    /// `fault` hits the operation of its kind that comes after `passes` others.
    pub fn inject(&self, passes: u64, fault: Fault) {
        self.state().faults.push((passes, fault));
    }
    /// The disk holds so many bytes in all.
    pub fn limit(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }
    /// The power goes after so many more changing operations (writes, flushes, creations, removals, renames, syncs).
    pub fn power_off_after(&self, operations: u64) {
        self.state().power = Some(operations);
    }
    /// Changing operations so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }
    /// Flushes of files so far.
    pub fn flushes(&self) -> u64 {
        self.state().flushes
    }
    /// Changes the bits in `mask` of one byte, on the medium and in what is read. False when there is no such byte.
    pub fn flip(&self, path: &str, offset: u64, mask: u8) -> bool {
        let mut s = self.state();
        let Some(inode) = s.live.get(path).copied() else { return false };
        let inode = &mut s.files[inode];
        let at = offset as usize;
        if let Some(byte) = inode.durable.get_mut(at) {
            *byte ^= mask;
        }
        inode.live.get_mut(at).map(|byte| *byte ^= mask).is_some()
    }
    /// Length of a file as programs see it.
    pub fn len_of(&self, path: &str) -> Option<u64> {
        let s = self.state();
        s.live.get(path).map(|inode| s.files[*inode].live.len() as u64)
    }
    /// Every file's path.
    pub fn paths(&self) -> Vec<String> {
        self.state().live.keys().cloned().collect()
    }
    /// A disk with the same contents that shares nothing with this one; without pending faults and limits.
    pub fn duplicate(&self) -> SimDisk {
        let s = self.state();
        let copy = |i: &Inode| Inode {
            live: i.live.clone(),
            durable: i.durable.clone(),
            dirty: i.dirty.clone(),
            open: Arc::default(),
        };
        let state = State {
            files: s.files.iter().map(copy).collect(),
            live: s.live.clone(),
            durable: s.durable.clone(),
            renames: s.renames.clone(),
            ..State::default()
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }
}

impl State {
    fn restart(&mut self) {
        self.faults.clear();
        self.power = None;
        self.locked = false;
        self.life += 1;
    }
    /// Counts a changing operation and refuses it when the power is off.
    fn change(&mut self, op: &'static str, path: &str) -> Result<()> {
        match &mut self.power {
            Some(0) => Err(failed(op, path, "the power is off")),
            Some(left) => {
                *left -= 1;
                self.operations += 1;
                Ok(())
            }
            None => {
                self.operations += 1;
                Ok(())
            }
        }
    }
    /// Takes the fault that is due for an operation of this kind.
    fn due(&mut self, hits: fn(Fault) -> bool) -> Option<Fault> {
        let mut found = None;
        for (at, (passes, fault)) in self.faults.iter_mut().enumerate() {
            if !hits(*fault) {
                continue;
            }
            match passes {
                0 if found.is_none() => found = Some(at),
                0 => {}
                left => *left -= 1,
            }
        }
        found.map(|at| self.faults.remove(at).1)
    }
    fn change_name(&mut self, change: NameChange) {
        let loses = match &change {
            NameChange::Put(path, _) | NameChange::Remove(path) | NameChange::Rename(_, path) => path,
        };
        self.unnamed.extend(self.live.get(loses));
        change.apply(&mut self.live);
        self.renames.push(change);
    }
    /// Lets go of the contents of files that nobody can reach any more.
    fn let_go(&mut self) {
        let named: BTreeSet<usize> = self.live.values().copied().collect();
        let mut unnamed = std::mem::take(&mut self.unnamed);
        unnamed.retain(|inode| {
            if named.contains(inode) {
                return false;
            }
            let open = Arc::strong_count(&self.files[*inode].open) > 1;
            if !open {
                self.files[*inode] = Inode::default();
            }
            open
        });
        self.unnamed = unnamed;
    }
    /// A handle to a file.
    fn handle(&self, disk: &SimDisk, inode: usize, path: &str) -> Arc<dyn File> {
        let open = Arc::clone(&self.files[inode].open);
        Arc::new(SimFile { disk: disk.clone(), inode, path: path.to_owned(), life: self.life, _open: open })
    }
    fn used(&self) -> u64 {
        self.live.values().map(|inode| self.files[*inode].live.len() as u64).sum()
    }
    /// `Full` when a file may not grow to `len`.
    fn room(&self, inode: usize, len: u64, path: &str) -> Result<()> {
        let Some(capacity) = self.capacity else { return Ok(()) };
        let grown = len.saturating_sub(self.files[inode].live.len() as u64);
        if grown > 0 && self.used() + grown > capacity {
            return Err(Error::Full { path: path.to_owned() });
        }
        Ok(())
    }
}

fn failed(op: &'static str, path: &str, reason: &str) -> Error {
    Error::Failed { op, path: path.to_owned(), reason: reason.to_owned() }
}
fn missing(path: &str) -> Error {
    Error::Missing { path: path.to_owned() }
}

impl Disk for SimDisk {
    fn create_dir(&self, path: &str) -> Result<()> {
        self.state().change("create", path)
    }
    fn create(&self, path: &str) -> Result<Arc<dyn File>> {
        let mut s = self.state();
        s.change("create", path)?;
        if s.live.contains_key(path) {
            return Err(Error::Exists { path: path.to_owned() });
        }
        s.files.push(Inode::default());
        let inode = s.files.len() - 1;
        s.change_name(NameChange::Put(path.to_owned(), inode));
        Ok(s.handle(self, inode, path))
    }
    fn open(&self, path: &str) -> Result<Arc<dyn File>> {
        let s = self.state();
        let inode = *s.live.get(path).ok_or_else(|| missing(path))?;
        Ok(s.handle(self, inode, path))
    }
    fn list(&self, path: &str) -> Result<Vec<String>> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let s = self.state();
        let names = s.live.keys().filter_map(|p| p.strip_prefix(&prefix)).filter_map(|p| p.split('/').next());
        let names: BTreeSet<String> = names.map(str::to_owned).collect();
        Ok(names.into_iter().collect())
    }
    fn remove(&self, path: &str) -> Result<()> {
        let mut s = self.state();
        s.change("remove", path)?;
        if !s.live.contains_key(path) {
            return Err(missing(path));
        }
        s.change_name(NameChange::Remove(path.to_owned()));
        Ok(())
    }
    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut s = self.state();
        s.change("rename", from)?;
        if !s.live.contains_key(from) {
            return Err(missing(from));
        }
        s.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }
    /// Makes every name durable, as one commit of a file system's journal does.
    fn sync_dir(&self, path: &str) -> Result<()> {
        let mut s = self.state();
        s.change("sync", path)?;
        s.durable = s.live.clone();
        s.renames.clear();
        s.let_go();
        Ok(())
    }
    fn free_space(&self) -> Result<u64> {
        let s = self.state();
        Ok(s.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(s.used())))
    }
    fn lock(&self, path: &str) -> Result<Box<dyn Send + Sync>> {
        let mut s = self.state();
        if s.locked {
            return Err(Error::Locked { path: path.to_owned() });
        }
        s.locked = true;
        Ok(Box::new(SimLock { disk: self.clone(), life: s.life }))
    }
}

struct SimLock {
    disk: SimDisk,
    life: u64,
}
impl Drop for SimLock {
    fn drop(&mut self) {
        let mut s = self.disk.state();
        if s.life == self.life {
            s.locked = false;
        }
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
    path: String,
    /// The run of the process that opened it.
    life: u64,
    _open: Arc<()>,
}

impl SimFile {
    fn state(&self, op: &'static str) -> Result<MutexGuard<'_, State>> {
        let s = self.disk.state();
        if s.life == self.life { Ok(s) } else { Err(failed(op, &self.path, "opened before the crash")) }
    }
}

impl File for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut s = self.state("write")?;
        s.change("write", &self.path)?;
        let hits = |f| matches!(f, Fault::FailWrite | Fault::LoseWrite | Fault::MisdirectWrite(_));
        let offset = match s.due(hits) {
            Some(Fault::LoseWrite) => return Ok(()),
            Some(Fault::MisdirectWrite(by)) => offset + by,
            Some(_) => return Err(failed("write", &self.path, "injected")),
            None => offset,
        };
        s.room(self.inode, offset + bytes.len() as u64, &self.path)?;
        s.files[self.inode].write(offset, bytes);
        Ok(())
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut s = self.state("read")?;
        if s.due(|f| f == Fault::FailRead).is_some() {
            return Err(failed("read", &self.path, "injected"));
        }
        let live = &s.files[self.inode].live;
        let start = (offset as usize).min(live.len());
        let count = buffer.len().min(live.len() - start);
        buffer[..count].copy_from_slice(&live[start..start + count]);
        Ok(count)
    }
    fn flush(&self) -> Result<()> {
        let mut s = self.state("flush")?;
        s.change("flush", &self.path)?;
        s.flushes += 1;
        if s.due(|f| f == Fault::FailFlush).is_some() {
            s.files[self.inode].dirty.clear();
            return Err(failed("flush", &self.path, "injected"));
        }
        s.files[self.inode].flush();
        Ok(())
    }
    fn preallocate(&self, len: u64) -> Result<()> {
        let mut s = self.state("preallocate")?;
        s.change("preallocate", &self.path)?;
        s.room(self.inode, len, &self.path)?;
        let inode = &mut s.files[self.inode];
        inode.live.resize(len as usize, 0);
        inode.flush();
        Ok(())
    }
    fn set_len(&self, len: u64) -> Result<()> {
        let mut s = self.state("set length")?;
        s.change("set length", &self.path)?;
        s.room(self.inode, len, &self.path)?;
        s.files[self.inode].live.resize(len as usize, 0);
        Ok(())
    }
    fn len(&self) -> Result<u64> {
        Ok(self.state("stat")?.files[self.inode].live.len() as u64)
    }
}

/// SplitMix64: enough to decide which sectors survive.
struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}
