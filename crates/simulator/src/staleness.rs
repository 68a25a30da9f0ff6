//! Stale reads, predicted and counted: `tercet sim --scenario stale-reads`.
//!
//! The leaderless machines alone, the same that servers run, on a network whose every message takes a time drawn from an exponential
//! distribution with a known mean m, and disks that take none. So the probability that a read, begun t after a write of another node was
//! acknowledged, misses the write has a closed form, and what is counted must agree with it. With x = exp(-t/m):
//!
//! | w, r | the reader's node | a read is stale when | probability |
//! |---|---|---|---|
//! | 1, 1 | holds a copy, which answers | the delta is not here after t | x |
//! | 1, 1 | holds none, asks the first copy | the delta comes after the question, which left t later | x/2 |
//! | 1, 2 | holds a copy, asks another beside it | neither has it: both of the above | x²/2 |
//! | 2, 1 | holds a copy, which answers | another copy took the delta and its word was back t before the delta came here | x/4 |
//! | 2, 2 | any | never: two of three meet two of three | 0 |
//!
//! Source: Bailis et al., "Probabilistically Bounded Staleness for Practical Partial Quorums" (VLDB 2012): the delays of write,
//! acknowledgement, read and response, of which the last never matters here as nobody answers before it has read.
// catalogue: K4 K7

use crate::followers::wilson;
use crate::quorum_rig::{MEAN, Rig};
use data::NodeId;
use data::causal::{Amount, Store, Wish};
use data::leaderless::ConflictPolicy;
use protocol::leaderless::coordinator::Level;
use protocol::leaderless::{Repair, Reply};

/// It coordinates and holds no copy.
const OUTSIDER: NodeId = NodeId(4);

/// Who writes and reads how.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub w: usize,
    pub r: usize,
    writer: NodeId,
    reader: NodeId,
    /// The probability, of x.
    predicted: fn(f64) -> f64,
}

pub const CASES: [Case; 5] = [
    Case { name: "own copy", w: 1, r: 1, writer: NodeId(1), reader: NodeId(2), predicted: |x| x },
    Case { name: "no own copy", w: 1, r: 1, writer: NodeId(2), reader: OUTSIDER, predicted: |x| x / 2.0 },
    Case { name: "two copies", w: 1, r: 2, writer: NodeId(2), reader: NodeId(3), predicted: |x| x * x / 2.0 },
    Case { name: "two disks", w: 2, r: 1, writer: NodeId(1), reader: NodeId(3), predicted: |x| x / 4.0 },
    Case { name: "overlap", w: 2, r: 2, writer: NodeId(1), reader: NodeId(3), predicted: |_| 0.0 },
];

impl Case {
    /// The probability that a read is stale which begins `after` times the mean delay behind the acknowledgement.
    pub fn predicted(&self, after: f64) -> f64 {
        (self.predicted)((-after).exp())
    }
}

/// Of so many reads so many missed the write.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    pub reads: u32,
    pub stale: u32,
}

impl Counted {
    /// Wilson's bounds of the probability, `z` standard deviations wide.
    pub fn bounds(&self, z: f64) -> (f64, f64) {
        wilson(self.stale, self.reads, z)
    }
    pub fn share(&self) -> f64 {
        f64::from(self.stale) / f64::from(self.reads.max(1))
    }
}

/// Three copies, and a node without one.
pub struct Trio {
    rig: Rig,
    requests: u64,
}

impl Trio {
    pub fn new(seed: u64) -> Trio {
        Trio { rig: Rig::new(seed, 1, 0, ConflictPolicy::Crdt), requests: 0 }
    }

    /// So many writes of keys of their own, each read once, `after` times the mean delay behind its acknowledgement.
    pub fn count(&mut self, case: &Case, after: f64, reads: u32) -> Counted {
        let level = |required| Level { required, sloppy: false };
        let rig = &mut self.rig;
        let mut stale = 0;
        for _ in 0..reads {
            self.requests += 1;
            let (number, key) = (self.requests, self.requests.to_string().into_bytes());
            let wish = Wish::Increment { by: Amount::whole(1) };
            rig.write(case.writer, number, key.clone().into(), wish, level(case.w), level(case.r));
            let written = rig.reply_to(number);
            assert!(matches!(written, Reply::Written(_)), "{written:?}");
            rig.run_until(rig.now + (after * MEAN as f64) as u64);
            rig.read(case.reader, number, key.into(), level(case.r), Repair::Off);
            match rig.reply_to(number) {
                Reply::Value { state, .. } => stale += u32::from(state.held.object.is_bottom()),
                other => panic!("a read was answered {other:?}"),
            }
            // The next write begins when nothing of this one is under way.
            while rig.happen() {}
        }
        Counted { reads, stale }
    }
}

/// Prints what is counted beside what is predicted; false where chance does not explain the difference.
pub fn tell(seed: u64, reads: u32, say: &mut dyn FnMut(String)) -> bool {
    say(format!(
        "stale reads of 3 copies (K7), {reads} of each; every message takes an exponential time of mean m"
    ));
    say("case           w  r   after   predicted    counted   bounds".into());
    let mut agree = true;
    for case in &CASES {
        for after in [0.0, 0.25, 0.5, 1.0, 2.0, 4.0] {
            let counted = Trio::new(seed).count(case, after, reads);
            let (low, high) = counted.bounds(3.9);
            let predicted = case.predicted(after);
            let is_within = (low..=high).contains(&predicted);
            agree &= is_within;
            say(format!(
                "{:<13} {:>2} {:>2}  {after:>4} m  {:>9.2}%  {:>8.2}%   {:.2}% to {:.2}%{}",
                case.name,
                case.w,
                case.r,
                predicted * 100.0,
                counted.share() * 100.0,
                low * 100.0,
                high * 100.0,
                if is_within { "" } else { "   NOT EXPLAINED BY CHANCE" }
            ));
        }
    }
    agree
}
