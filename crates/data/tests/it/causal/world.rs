//! The law suite: runs of a few replicas that write, lose, repeat and reorder, and what must hold in each.

use super::history::{EVENTS_MAX, Effect, History, Seen};
use data::causal::{Actor, Causal, HybridClock, Minter, Stamp, Store, Write};
use data::codec::Writer;
use data::{GroupId, Incarnation, NodeId, WallInterval};
use std::fmt::Debug;
use std::rc::Rc;

/// A type under the law, or a broken copy of it.
pub trait Subject {
    type S: Store;
    type O: Clone + Debug;

    /// Whether the delta of an addition tells of the same actor's earlier ones too.
    const CARRIES: bool = true;

    /// The few operations of the exhaustive runs.
    fn alphabet() -> Vec<Self::O>;
    /// Some operation of the random runs.
    fn draw(draw: &mut Draw) -> Self::O;
    /// Makes the delta. `n` is the event's number, for values that must differ.
    fn mutate(store: &Self::S, write: &mut Write<'_>, operation: &Self::O, n: usize) -> Causal<Self::S>;
    fn merge(into: &mut Causal<Self::S>, from: &Causal<Self::S>) {
        into.merge(from);
    }
    /// What a reader sees.
    fn show(store: &Self::S) -> String;
    /// What the operation means, told for the oracle; `before` is what its user saw.
    fn effects(
        history: &History<Self::O>,
        saw: &Seen,
        operation: &Self::O,
        n: usize,
        before: &str,
    ) -> Vec<Effect>;
    /// What a reader should see of these events.
    fn expect(history: &History<Self::O>, seen: &Seen) -> String;
    fn judge(history: &History<Self::O>, seen: &Seen, store: &Self::S) -> Result<(), String> {
        let (shown, expected) = (Self::show(store), Self::expect(history, seen));
        if shown == expected { Ok(()) } else { Err(format!("shows {shown:?}, should show {expected:?}")) }
    }
}

/// SplitMix64.
pub struct Draw(pub u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

pub fn actor(replica: usize) -> Actor {
    Actor { node: NodeId(replica as u32 + 1), incarnation: Incarnation(1), shard: GroupId(7) }
}

pub struct Replica<S> {
    pub state: Causal<S>,
    pub seen: Seen,
    minter: Minter,
    clock: HybridClock,
}

impl<S: Clone> Clone for Replica<S> {
    fn clone(&self) -> Replica<S> {
        Replica {
            state: self.state.clone(),
            seen: self.seen,
            minter: self.minter.clone(),
            clock: self.clock.clone(),
        }
    }
}

impl<S: Store> Replica<S> {
    fn new(replica: usize) -> Replica<S> {
        Replica {
            state: Causal::new(),
            seen: Seen::default(),
            minter: Minter::new(actor(replica), 0),
            clock: HybridClock::new(Stamp(0), 1 << 40),
        }
    }
}

pub struct World<T: Subject> {
    pub history: History<T::O>,
    pub deltas: Vec<Rc<Causal<T::S>>>,
    pub replicas: Vec<Replica<T::S>>,
    /// The wall clock of each replica, in milliseconds; equal ones make equal stamps.
    walls: Vec<i64>,
}

impl<T: Subject> Clone for World<T> {
    fn clone(&self) -> World<T> {
        World {
            history: self.history.clone(),
            deltas: self.deltas.clone(),
            replicas: self.replicas.clone(),
            walls: self.walls.clone(),
        }
    }
}

impl<T: Subject> World<T> {
    pub fn new(walls: &[i64]) -> World<T> {
        World {
            history: History::new(),
            deltas: Vec::new(),
            replicas: (0..walls.len()).map(Replica::new).collect(),
            walls: walls.to_vec(),
        }
    }
    /// A replica writes; nobody else knows yet.
    pub fn act(&mut self, at: usize, operation: T::O) -> Result<(), String> {
        let n = self.history.events.len();
        let wall = WallInterval { earliest_ms: self.walls[at], latest_ms: self.walls[at] };
        let replica = &mut self.replicas[at];
        let stamp = replica.clock.mint(wall).map_err(|ahead| ahead.to_string())?;
        let mut write = Write::new(&mut replica.minter, stamp);
        let delta = T::mutate(&replica.state.store, &mut write, &operation, n);
        let before = T::show(&replica.state.store);
        let effects = T::effects(&self.history, &replica.seen, &operation, n, &before);
        self.history.push(at, stamp, operation, replica.seen, before, effects);
        T::merge(&mut replica.state, &delta);
        replica.seen.insert(n);
        self.deltas.push(Rc::new(delta));
        self.judge(at)
    }
    pub fn deliver(&mut self, event: usize, to: usize) -> Result<(), String> {
        let wall = WallInterval { earliest_ms: 0, latest_ms: self.walls[to] };
        let (stamp, carries) = (self.history.events[event].stamp, self.history.events[event].carries);
        let replica = &mut self.replicas[to];
        replica.clock.observe(stamp, wall).map_err(|ahead| ahead.to_string())?;
        T::merge(&mut replica.state, &self.deltas[event]);
        if T::CARRIES {
            replica.seen.merge(&carries);
        }
        replica.seen.insert(event);
        Ok(())
    }
    /// A replica takes over a whole state.
    pub fn take(&mut self, to: usize, from: &Replica<T::S>) -> Result<(), String> {
        let wall = WallInterval { earliest_ms: 0, latest_ms: self.walls[to] };
        let replica = &mut self.replicas[to];
        replica.clock.observe(from.clock.last(), wall).map_err(|ahead| ahead.to_string())?;
        T::merge(&mut replica.state, &from.state);
        replica.seen.merge(&from.seen);
        Ok(())
    }
    pub fn judge(&self, at: usize) -> Result<(), String> {
        let replica = &self.replicas[at];
        T::judge(&self.history, &replica.seen, &replica.state.store)
            .map_err(|what| format!("replica {at} {what}\n{}", self.story()))
    }
    pub fn story(&self) -> String {
        let mut story = format!("walls {:?}\n", self.walls);
        for (n, event) in self.history.events.iter().enumerate() {
            let saw: Vec<usize> = event.saw.iter().collect();
            story += &format!("  {n}: replica {} does {:?}, saw {saw:?}\n", event.replica, event.operation);
        }
        for (n, delta) in self.deltas.iter().enumerate().take(12) {
            story += &format!("  delta {n}: {delta:?}\n");
        }
        story
    }
    fn same(&self, what: &str, a: &Causal<T::S>, b: &Causal<T::S>) -> Result<(), String> {
        if a == b {
            return Ok(());
        }
        Err(format!("{what}:\n  {a:?}\n  {b:?}\n{}", self.story()))
    }

    /// What must hold at the end of any run; `turn` chooses the order of delivery, and which of the replicas are
    /// compared how. Every state was judged when it came about.
    pub fn laws(&self, turn: usize) -> Result<(), String> {
        let [a, b, c] = [0, 1, 2].map(|at| &self.replicas[(at + turn) % 3].state);
        self.orders(turn, a)?;
        // Commutative, associative, idempotent.
        let ab = joined::<T>(a, b);
        self.same("a+b is not b+a", &ab, &joined::<T>(b, a))?;
        let abc = joined::<T>(&ab, c);
        self.same("(a+b)+c is not a+(b+c)", &abc, &joined::<T>(a, &joined::<T>(b, c)))?;
        self.same("(a+b)+a is not a+b", &joined::<T>(&ab, a), &ab)?;
        // All replicas have all events between them.
        if self.replicas.len() == 3 {
            let all = seen(self.history.events.len());
            T::judge(&self.history, &all, &abc.store)
                .map_err(|what| format!("all together {what}\n{}", self.story()))?;
        }
        self.same_bytes(&abc, &joined::<T>(c, &joined::<T>(b, a)))?;
        self.round_trip(&abc)
    }
    /// A newcomer that gets every delta, in several orders and some twice, is always the same.
    fn orders(&self, turn: usize, state: &Causal<T::S>) -> Result<(), String> {
        let count = self.deltas.len();
        let forward: Vec<usize> = (0..count).collect();
        let backward: Vec<usize> = (0..count).rev().collect();
        let twice: Vec<usize> = permutation(count, turn).into_iter().chain(forward.iter().copied()).collect();
        let gather = |mut newcomer: Causal<T::S>, order: &[usize]| {
            order.iter().for_each(|event| T::merge(&mut newcomer, &self.deltas[*event]));
            newcomer
        };
        let newcomer = gather(Causal::new(), &forward);
        self.same("backward is not forward", &newcomer, &gather(Causal::new(), &backward))?;
        self.same(&format!("{twice:?} is not forward"), &newcomer, &gather(Causal::new(), &twice))?;
        T::judge(&self.history, &seen(count), &newcomer.store)
            .map_err(|what| format!("all deltas {what}\n{}", self.story()))?;
        // Deltas put together are one delta, which does what they do.
        let Some((first, rest)) = twice.split_first() else { return Ok(()) };
        let sum = gather((*self.deltas[*first]).clone(), rest);
        let by_one = joined::<T>(state, &sum);
        self.same("the sum of all deltas is not the deltas", &by_one, &gather(state.clone(), &forward))
    }
    /// Equal states have equal bytes, however they came about.
    fn same_bytes(&self, a: &Causal<T::S>, b: &Causal<T::S>) -> Result<(), String> {
        self.same("a+b+c is not c+(b+a)", a, b)?;
        if bytes(a) == bytes(b) { Ok(()) } else { Err(format!("{a:?} has two encoded forms")) }
    }
    fn round_trip(&self, state: &Causal<T::S>) -> Result<(), String> {
        for causal in self.deltas.iter().map(|delta| &**delta).chain([state]) {
            let written = bytes(causal);
            match Causal::<T::S>::decode(&written) {
                Ok(read) if read == *causal && bytes(&read) == written => {}
                other => return Err(format!("{causal:?} is read back as {other:?}")),
            }
        }
        Ok(())
    }
}

/// The first events.
fn seen(count: usize) -> Seen {
    let mut seen = Seen::default();
    (0..count).for_each(|event| seen.insert(event));
    seen
}

fn joined<T: Subject>(a: &Causal<T::S>, b: &Causal<T::S>) -> Causal<T::S> {
    let mut sum = a.clone();
    T::merge(&mut sum, b);
    sum
}

pub fn bytes<S: Store>(causal: &Causal<S>) -> Vec<u8> {
    let mut bytes = Vec::new();
    causal.encode(&mut Writer::new(&mut bytes));
    bytes
}

/// One order of the factorial many, by number.
fn permutation(count: usize, mut turn: usize) -> Vec<usize> {
    let mut rest: Vec<usize> = (0..count).collect();
    let mut order = Vec::new();
    while !rest.is_empty() {
        order.push(rest.remove(turn % rest.len()));
        turn /= rest.len() + 1;
    }
    order
}

/// Every run of up to `length` operations on three replicas: before each operation its replica gets any part of what
/// it has not got yet, and the rest later or never. Returns how many runs there were.
pub fn exhaustive_of<T: Subject>(alphabet: &[T::O], length: usize) -> Result<usize, String> {
    let mut runs = 0;
    // Equal stamps, so that ties are broken.
    explore::<T>(&World::new(&[1_000, 1_000, 1_000]), alphabet, length, &mut runs)?;
    // Clocks that run against the order of actors.
    explore::<T>(&World::new(&[3_000, 2_000, 1_000]), alphabet, length.min(3), &mut runs)?;
    Ok(runs)
}

fn explore<T: Subject>(
    world: &World<T>,
    alphabet: &[T::O],
    length: usize,
    runs: &mut usize,
) -> Result<(), String> {
    if length == 0 {
        *runs += 1;
        return world.laws(*runs);
    }
    for at in 0..world.replicas.len() {
        let seen = world.replicas[at].seen;
        let pending: Vec<usize> = (0..world.deltas.len()).filter(|event| !seen.contains(*event)).collect();
        for choice in 0..1usize << pending.len() {
            let mut world = world.clone();
            // Backwards, so that later deltas come before earlier ones.
            for (n, event) in pending.iter().enumerate().rev() {
                if choice >> n & 1 == 1 {
                    world.deliver(*event, at)?;
                }
            }
            for operation in alphabet {
                let mut world = world.clone();
                world.act(at, operation.clone())?;
                explore(&world, alphabet, length - 1, runs)?;
            }
        }
    }
    Ok(())
}

/// One long run: deltas and states under way are lost, repeated and overtaken; in the end everybody meets everybody.
pub fn random<T: Subject>(seed: u64) -> Result<(), String> {
    let mut draw = Draw(seed);
    let count = 3 + draw.below(3);
    let walls: Vec<i64> = (0..count).map(|_| 1_000 + 500 * draw.below(3) as i64).collect();
    let mut world = World::<T>::new(&walls);
    let mut deltas: Vec<(usize, usize)> = Vec::new();
    let mut states: Vec<(usize, Replica<T::S>)> = Vec::new();
    // Short runs first: they are easier to read when they fail.
    let length = 4 + (seed as usize * 2).min(EVENTS_MAX / 4);
    let mut turns = 0;
    while world.history.events.len() < length {
        turns += 1;
        let at = draw.below(count);
        match draw.below(10) {
            0..4 => {
                world.act(at, T::draw(&mut draw))?;
                let event = world.deltas.len() - 1;
                deltas.extend((0..count).filter(|to| *to != at).map(|to| (event, to)));
            }
            4..8 if !deltas.is_empty() => {
                let n = draw.below(deltas.len());
                let (event, to) = deltas[n];
                world.deliver(event, to)?;
                // Most are gone after that, some come again.
                if draw.below(4) > 0 {
                    deltas.swap_remove(n);
                }
                if turns % 4 == 0 {
                    world.judge(to)?;
                }
            }
            8 if !deltas.is_empty() => {
                let lost = draw.below(deltas.len());
                deltas.swap_remove(lost);
            }
            9 if draw.below(2) == 0 => {
                let to = draw.below(count);
                states.push((to, world.replicas[at].clone()));
                if states.len() > 4 {
                    let n = draw.below(states.len());
                    let (to, from) = states.swap_remove(n);
                    world.take(to, &from)?;
                    world.judge(to)?;
                }
            }
            _ => {}
        }
    }
    world.laws(seed as usize)?;
    for _ in 0..2 {
        for to in 0..count {
            let from = world.replicas[(to + 1) % count].clone();
            world.take(to, &from)?;
        }
    }
    for round in 0..count {
        let from = world.replicas[round].clone();
        (0..count).try_for_each(|to| world.take(to, &from))?;
    }
    for at in 0..count {
        world.judge(at)?;
        world.same("everybody met everybody", &world.replicas[at].state, &world.replicas[0].state)?;
    }
    world.round_trip(&world.replicas[0].state)
}
