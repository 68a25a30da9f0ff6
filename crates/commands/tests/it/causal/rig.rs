//! A replica that plans, mints and answers as nodes do, without a network: its deltas are handed over by hand.

use crate::harness::{START_MS, shown};
use commands::causal::{
    Form, OnSiblings, Plan, Setting, answer, execute_exclusive, merged, plan, unfit, written,
};
use commands::{CommandError, Random, spec};
use data::causal::{Actor, Causal, Minter, Object, Outcome, ShardCopy, Stamp, Step, Wish, Write};
use data::table::Seed;
use data::value::Blob;
use data::{GroupId, Incarnation, NodeId};
use wire::{Protocol, ReplyWriter};

pub const SEED: Seed = Seed(5, 6);

pub type Delta = (Blob, Causal<Object>);

pub struct Replica {
    pub copy: ShardCopy,
    minter: Minter,
    /// The stamp of its next write: the test decides whose is higher.
    pub stamp: u64,
    pub now_ms: i64,
    pub on_siblings: OnSiblings,
    /// Nobody writes beside it.
    pub is_alone: bool,
    /// Minted here since they were last taken.
    pub deltas: Vec<Delta>,
}

impl Replica {
    pub fn new(node: u32) -> Replica {
        let actor = Actor { node: NodeId(node), incarnation: Incarnation(1), shard: GroupId(1) };
        Replica {
            copy: ShardCopy::new(SEED),
            minter: Minter::new(actor, 0),
            stamp: 1,
            now_ms: START_MS,
            on_siblings: OnSiblings::Show,
            is_alone: false,
            deltas: Vec::new(),
        }
    }
    pub fn setting(&self) -> Setting {
        Setting { now_ms: self.now_ms, seed: SEED, is_alone: self.is_alone }
    }
    /// The reply as text, in RESP2.
    pub fn line(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.execute(&words)
    }
    pub fn execute(&mut self, args: &[&[u8]]) -> String {
        let mut buffer = Vec::new();
        if let Err(error) = self.run(args, &mut buffer) {
            return format!("-{}", error.text());
        }
        shown(&buffer)
    }
    fn run(&mut self, args: &[&[u8]], buffer: &mut Vec<u8>) -> Result<(), CommandError> {
        let spec = spec::find(args[0]).expect("a command");
        assert!(spec.arity_fits(args.len()), "{}", spec.name);
        let setting = self.setting();
        let mut reply = ReplyWriter::new(buffer, Protocol::Resp2);
        let planned = match plan(spec, args, &setting)? {
            Plan::Merge { from, into } => {
                let found: Vec<_> = from.iter().map(|key| (*key, self.copy.object(key))).collect();
                Plan::Write { writes: vec![(into, merged(&found, self.now_ms)?)], form: Form::Ok }
            }
            planned => planned,
        };
        match planned {
            Plan::Read(keys) => {
                let found: Vec<_> = keys.iter().map(|key| (*key, self.copy.object(key))).collect();
                answer(spec, args, &setting, self.on_siblings, &found, &mut Random(1), reply)?;
            }
            Plan::Write { writes, form } => {
                let mut outcomes = Vec::new();
                for (key, wish) in writes {
                    outcomes.push(self.mint(key, &wish)?);
                }
                written(form, &outcomes, &mut reply);
            }
            Plan::Exclusive(keys) => {
                let found: Vec<_> = keys.iter().map(|key| (*key, self.copy.object(key))).collect();
                for (key, wish) in execute_exclusive(spec, args, &setting, &found, &mut Random(1), reply)? {
                    self.mint(&key, &wish)?;
                }
            }
            Plan::Merge { .. } => unreachable!("it became a write"),
            Plan::Names | Plan::Node => panic!("{} is the node's", spec.name),
        }
        Ok(())
    }
    fn mint(&mut self, key: &[u8], wish: &Wish) -> Result<Outcome, CommandError> {
        self.stamp += 1;
        let nothing = Object::default();
        let object = self.copy.object(key).unwrap_or(&nothing);
        let last = self.minter.last();
        let mut write = Write::new(&mut self.minter, Stamp(self.stamp));
        let minted = wish.mint(object, &mut write, self.now_ms);
        let (delta, outcome) = minted.map_err(|why| {
            assert_eq!(self.minter.last(), last, "a dot was minted for nothing");
            unfit(why)
        })?;
        self.take(&[(key.into(), delta.clone())]);
        self.deltas.push((key.into(), delta));
        Ok(outcome)
    }
    pub fn take(&mut self, deltas: &[Delta]) {
        for (key, delta) in deltas {
            self.copy.apply(&Step::Delta { key: key.clone(), delta: delta.clone() });
        }
    }
    pub fn object(&self, key: &str) -> Object {
        self.copy.object(key.as_bytes()).cloned().unwrap_or_default()
    }
}

/// Two replicas that know of each other only by [`Pair::meet`].
pub struct Pair {
    pub a: Replica,
    pub b: Replica,
}

impl Pair {
    pub fn new() -> Pair {
        Pair { a: Replica::new(1), b: Replica::new(2) }
    }
    /// Each takes what the other has minted; both then hold the same.
    pub fn meet(&mut self) {
        let (of_a, of_b) = (std::mem::take(&mut self.a.deltas), std::mem::take(&mut self.b.deltas));
        self.a.take(&of_b);
        self.b.take(&of_a);
        self.a.stamp = self.a.stamp.max(self.b.stamp);
        self.b.stamp = self.a.stamp;
        assert!(self.a.copy == self.b.copy, "the copies differ");
    }
    /// The same answer of both.
    pub fn line(&mut self, line: &str) -> String {
        let (a, b) = (self.a.line(line), self.b.line(line));
        assert_eq!(a, b, "{line}");
        a
    }
}
