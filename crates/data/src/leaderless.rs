//! What a leaderless keyspace is asked to do: how many copies, how many of them answer, and what becomes of conflicts.

use crate::causal::FUNCTION_LEN_MAX;
use crate::codec::{DecodeError, Reader, Writer};
use alloc::sync::Arc;

/// Copies of one shard at most. A guess: every write goes to all of them, and every context names all of them.
pub const COPIES_MAX: u32 = 16;
/// As for single-leader keyspaces.
const SHARDS_MAX: u32 = 256;

/// What a read does with copies that lack something.
// catalogue: K13
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReadRepair {
    /// The answer waits until r copies hold what it says.
    #[default]
    Blocking,
    /// After the answer.
    Background,
    Off,
}

impl ReadRepair {
    pub const ALL: [ReadRepair; 3] = [ReadRepair::Blocking, ReadRepair::Background, ReadRepair::Off];
    pub fn name(self) -> &'static str {
        match self {
            ReadRepair::Blocking => "blocking",
            ReadRepair::Background => "background",
            ReadRepair::Off => "off",
        }
    }
}

/// What a read says of a key with several concurrent values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnSiblings {
    /// The highest one; the receipt counts them.
    #[default]
    Show,
    /// An error.
    Error,
}

impl OnSiblings {
    pub const ALL: [OnSiblings; 2] = [OnSiblings::Show, OnSiblings::Error];
    pub fn name(self) -> &'static str {
        match self {
            OnSiblings::Show => "show",
            OnSiblings::Error => "error",
        }
    }
}

/// What becomes of writes that did not know of each other.
// catalogue: J5 J14 J18
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ConflictPolicy {
    /// Values merge by the rules of their types; of concurrent strings the highest is shown.
    #[default]
    Crdt,
    /// As `Crdt`; until somebody says what concurrent strings come to, they are open.
    Siblings,
    /// Strings and fields are registers whose highest (stamp, actor) wins. Collections merge.
    LastWriteWins,
    /// As `Crdt`; of concurrent strings readers are shown what the keyspace's function gives
    /// ([`crate::causal::Merging`]).
    Merge,
}

/// Which of the three ways to deal with conflicts a policy takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// There are none.
    Avoid,
    /// All copies come to the same value by themselves.
    Converge,
    /// People or programs decide.
    Resolve,
}

impl Family {
    pub fn name(self) -> &'static str {
        match self {
            Family::Avoid => "avoid",
            Family::Converge => "converge",
            Family::Resolve => "let users resolve",
        }
    }
}

/// How far a barrier of a shard has come (`crates/protocol/src/leaderless/barrier.rs`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stage {
    /// None is under way.
    #[default]
    Idle,
    /// Copies note what is left of deletes, and each compares itself with all others.
    Promise,
    /// Everybody knows what was deleted when the barrier began; copies compare themselves once more.
    Hold,
}

/// The barrier of one shard, as the cluster map records it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Barrier {
    pub stage: Stage,
    /// Of the newest one that began, from 1 on.
    pub number: u64,
    /// Of the newest one that came to its end.
    pub collected: u64,
    /// The ring under which that one stood at `Hold`: what was asked under an earlier ring may carry what was collected.
    pub fence: u64,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::Idle => "idle",
            Stage::Promise => "promise",
            Stage::Hold => "hold",
        }
    }
}

impl Barrier {
    pub fn encode(self, w: &mut Writer<'_>) {
        w.u8(self.stage as u8);
        w.u64(self.number);
        w.u64(self.collected);
        w.u64(self.fence);
    }
    /// # Errors
    /// When it is not what [`Barrier::encode`] writes.
    pub fn decode(r: &mut Reader<'_>) -> Result<Barrier, DecodeError> {
        let stage = match r.u8()? {
            0 => Stage::Idle,
            1 => Stage::Promise,
            2 => Stage::Hold,
            _ => return Err(DecodeError::Invalid("stage of a barrier")),
        };
        Ok(Barrier { stage, number: r.u64()?, collected: r.u64()?, fence: r.u64()? })
    }
}

impl ConflictPolicy {
    pub const ALL: [ConflictPolicy; 4] = [
        ConflictPolicy::Crdt,
        ConflictPolicy::Siblings,
        ConflictPolicy::LastWriteWins,
        ConflictPolicy::Merge,
    ];
    pub fn name(self) -> &'static str {
        match self {
            ConflictPolicy::Crdt => "crdt",
            ConflictPolicy::Siblings => "siblings",
            ConflictPolicy::LastWriteWins => "last-write-wins",
            ConflictPolicy::Merge => "merge",
        }
    }
    pub fn family(self) -> Family {
        match self {
            ConflictPolicy::Crdt | ConflictPolicy::LastWriteWins | ConflictPolicy::Merge => Family::Converge,
            ConflictPolicy::Siblings => Family::Resolve,
        }
    }
}

/// Settings of a leaderless keyspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Shards that the slots are divided among, each with copies of its own.
    pub shards: u32,
    /// Copies of each shard, on as many nodes.
    pub n: u32,
    /// Copies that have a write on disk before it is acknowledged.
    pub w: u32,
    /// Copies that a read puts together.
    pub r: u32,
    /// Whether other nodes stand in for copies that are away.
    pub sloppy: bool,
    pub repair: ReadRepair,
    pub on_siblings: OnSiblings,
    pub conflict: ConflictPolicy,
    /// The text of its function: under [`ConflictPolicy::Merge`], and only there.
    pub merge: Option<Arc<str>>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            shards: 1,
            n: 3,
            w: 2,
            r: 2,
            sloppy: false,
            repair: ReadRepair::default(),
            on_siblings: OnSiblings::default(),
            conflict: ConflictPolicy::default(),
            merge: None,
        }
    }
}

impl Policy {
    /// # Errors
    /// The first contradiction, as a sentence for its user.
    pub fn check(&self) -> Result<(), &'static str> {
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            return Err("SHARDS must be between 1 and 256");
        }
        if !(1..=COPIES_MAX).contains(&self.n) {
            return Err(N_BOUNDS);
        }
        if !(1..=self.n).contains(&self.w) {
            return Err(W_BOUNDS);
        }
        if !(1..=self.n).contains(&self.r) {
            return Err(R_BOUNDS);
        }
        if self.merge.is_some() != (self.conflict == ConflictPolicy::Merge) {
            return Err(FUNCTION_NEEDED);
        }
        if self.merge.as_ref().is_some_and(|text| text.len() > FUNCTION_LEN_MAX) {
            return Err(FUNCTION_BOUNDS);
        }
        Ok(())
    }
    /// Whether each read meets each acknowledged write at some copy.
    // catalogue: K4
    pub fn overlaps(&self) -> bool {
        !self.sloppy && self.w + self.r > self.n
    }
    /// What is promised to a client lies at so many copies at least: the smallest of w, r and a majority, by which linearizable keys
    /// are agreed on.
    pub fn smallest_quorum(&self) -> usize {
        self.w.min(self.r).min(self.n / 2 + 1) as usize
    }
    /// Of what so many copies hold every read meets one; 1 where no such promise is made.
    pub fn shown_by(&self) -> usize {
        if self.overlaps() { (self.n - self.r + 1) as usize } else { 1 }
    }
    /// Whether reads never go back: two reads meet, and what one shows it has brought to r copies.
    pub fn is_monotonic(&self) -> bool {
        !self.sloppy && self.repair == ReadRepair::Blocking && self.r * 2 > self.n
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        // The form of these fields: what older members can read is written as they do.
        w.u8(if self.merge.is_some() { 3 } else { 2 });
        w.u32(self.shards);
        w.u32(self.n);
        w.u32(self.w);
        w.u32(self.r);
        w.bool(self.sloppy);
        w.u8(self.repair as u8);
        w.u8(self.on_siblings as u8);
        w.u8(self.conflict as u8);
        self.merge.iter().for_each(|function| w.text(function));
    }
    /// # Errors
    /// When it is not what [`Policy::encode`] writes, or wrote in an earlier form.
    pub fn decode(r: &mut Reader<'_>) -> Result<Policy, DecodeError> {
        let form = r.u8()?;
        if !(1..=3).contains(&form) {
            return Err(DecodeError::Invalid("form of a leaderless policy"));
        }
        let (shards, n, w, reads) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
        let sloppy = r.bool()?;
        let repair = ReadRepair::ALL.get(usize::from(r.u8()?)).copied();
        let on_siblings = OnSiblings::ALL.get(usize::from(r.u8()?)).copied();
        // The first form had no other policy.
        let conflict = match form {
            1 => Some(ConflictPolicy::Crdt),
            _ => ConflictPolicy::ALL.get(usize::from(r.u8()?)).copied(),
        };
        let merge = if form < 3 { None } else { Some(Arc::from(r.text()?)) };
        Ok(Policy {
            shards,
            n,
            w,
            r: reads,
            sloppy,
            repair: repair.ok_or(DecodeError::Invalid("read repair"))?,
            on_siblings: on_siblings.ok_or(DecodeError::Invalid("siblings"))?,
            conflict: conflict.ok_or(DecodeError::Invalid("conflict policy"))?,
            merge,
        })
    }
}

pub const FUNCTION_NEEDED: &str = "CONFLICT merge takes a function, and no other policy does";
pub const FUNCTION_BOUNDS: &str = "a merge function has at most 8 KiB";
pub const N_BOUNDS: &str = "N must be between 1 and 16";
pub const W_BOUNDS: &str = "W must be between 1 and N: a write cannot wait for more copies than there are";
pub const R_BOUNDS: &str = "R must be between 1 and N: a read cannot ask more copies than there are";

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn contradictions_are_named() {
        let policy = |n, w, r| Policy { n, w, r, ..Policy::default() };
        assert_eq!(Policy::default().check(), Ok(()));
        assert_eq!(policy(1, 1, 1).check(), Ok(()));
        assert_eq!(policy(3, 4, 1).check(), Err(W_BOUNDS));
        assert_eq!(policy(3, 0, 1).check(), Err(W_BOUNDS));
        assert_eq!(policy(3, 3, 4).check(), Err(R_BOUNDS));
        assert_eq!(policy(17, 2, 2).check(), Err(N_BOUNDS));
        assert!(Policy { shards: 0, ..Policy::default() }.check().is_err());
        let merging = |function: Option<&str>| Policy {
            conflict: ConflictPolicy::Merge,
            merge: function.map(Arc::from),
            ..Policy::default()
        };
        assert!(merging(None).check().is_err());
        assert_eq!(merging(Some("return a.value")).check(), Ok(()));
        assert_eq!(merging(Some(&"x".repeat(8193))).check(), Err(FUNCTION_BOUNDS));
    }

    #[test]
    fn what_quorums_promise() {
        let policy = |n, w, r| Policy { n, w, r, ..Policy::default() };
        assert!(policy(3, 2, 2).overlaps() && policy(3, 2, 2).is_monotonic());
        assert!(!policy(3, 1, 2).overlaps() && policy(3, 3, 1).overlaps());
        assert!(!policy(3, 3, 1).is_monotonic());
        assert!(!Policy { sloppy: true, ..Policy::default() }.overlaps());
    }

    #[test]
    fn a_policy_travels() {
        let policy = Policy {
            shards: 7,
            n: 5,
            w: 4,
            r: 2,
            sloppy: true,
            repair: ReadRepair::Off,
            on_siblings: OnSiblings::Error,
            conflict: ConflictPolicy::LastWriteWins,
            merge: None,
        };
        let mut bytes = Vec::new();
        policy.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Policy::decode(&mut Reader::new(&bytes)), Ok(policy.clone()));
        assert_eq!(bytes[0], 2, "members that know no functions read it");
        bytes[18] = 9;
        assert!(Policy::decode(&mut Reader::new(&bytes)).is_err());
        let merging =
            Policy { conflict: ConflictPolicy::Merge, merge: Some("return a.value".into()), ..policy };
        let mut bytes = Vec::new();
        merging.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Policy::decode(&mut Reader::new(&bytes)), Ok(merging));
        for cut in 0..bytes.len() {
            assert!(Policy::decode(&mut Reader::new(&bytes[..cut])).is_err(), "{cut}");
        }
    }
}
