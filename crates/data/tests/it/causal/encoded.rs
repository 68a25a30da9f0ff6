//! Encoded forms: whatever is accepted is what would have been written; whatever else is refused without a panic.

use super::keys::{FieldOp, Fields, Key};
use super::members::*;
use super::sequence::Sequence;
use super::subjects::*;
use super::world::{Draw, Subject, World, bytes};
use data::causal::{Amount, Causal, Counter, DEPTH_MAX, Object, Store, Write, decode_store, encode_store};
use data::codec::{DecodeError, Writer};
use data::table::Seed;

/// A state with something of everything in it.
fn grown<T: Subject>(seed: u64) -> Causal<T::S> {
    let mut draw = Draw(seed);
    let mut world = World::<T>::new(&[1_000, 1_500, 2_000]);
    for _ in 0..12 {
        let at = draw.below(3);
        world.act(at, T::draw(&mut draw)).expect("a lawful step");
        let event = world.deltas.len() - 1;
        if draw.below(2) == 0 {
            world.deliver(event, (at + 1) % 3).expect("delivered");
        }
    }
    let mut all = world.replicas[0].state.clone();
    all.merge(&world.replicas[1].state);
    all
}

fn survives_damage<T: Subject>() {
    let mut refused = 0;
    for seed in 0..12 {
        let written = bytes(&grown::<T>(seed));
        for cut in 0..written.len() {
            assert!(Causal::<T::S>::decode(&written[..cut]).is_err(), "cut at {cut} of {written:?}");
        }
        let mut draw = Draw(seed);
        for _ in 0..300 {
            let mut damaged = written.clone();
            for _ in 0..1 + draw.below(3) {
                let at = draw.below(damaged.len());
                damaged[at] = match draw.below(3) {
                    0 => damaged[at] ^ 1 << draw.below(8),
                    1 => draw.pick(&[0, 1, 2, 0x7f, 0x80, 0xff]),
                    _ => draw.below(256) as u8,
                };
            }
            match Causal::<T::S>::decode(&damaged) {
                Ok(read) => {
                    assert_eq!(bytes(&read), damaged, "{read:?} has two encoded forms");
                    // Nonsense that is well formed must not hang or break whoever takes it in.
                    let mut state = grown::<T>(seed);
                    state.merge(&read);
                    T::show(&state.store);
                }
                Err(_) => refused += 1,
            }
        }
        let mut noise: Vec<u8> = (0..draw.below(60)).map(|_| draw.below(256) as u8).collect();
        noise.insert(0, 0);
        let _ = Causal::<T::S>::decode(&noise);
    }
    assert!(refused > 100, "{refused}");
}

macro_rules! damage {
    ($($name:ident: $subject:ty;)*) => {
        $(#[test]
        fn $name() {
            survives_damage::<$subject>();
        })*
    };
}

damage! {
    register_survives_damage: Register;
    flag_survives_damage: EnableWins;
    counter_survives_damage: Count;
    string_survives_damage: StringKey;
    last_write_survives_damage: LastWins;
    set_survives_damage: ObservedRemove;
    remove_wins_set_survives_damage: RemoveWins;
    two_phase_set_survives_damage: TwoPhase;
    sorted_set_survives_damage: Sorted;
    list_survives_damage: Sequence;
    maximum_survives_damage: Rising;
    expiry_survives_damage: Expiries;
    map_survives_damage: Fields;
    key_survives_damage: Key;
}

/// A count that the input cannot hold allocates nothing; a map as deep as the input is refused, not recursed into.
#[test]
fn counts_and_depths_are_bounded() {
    // No actors, no stamps, an empty context, then a counter of 2^60 shares.
    assert!(
        Causal::<Counter>::decode(&[0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]).is_err()
    );
    // A map in a map in a map: whole, one part, of type 7, whole, one entry, with an empty name, an object again.
    let mut deep = vec![0, 0, 0];
    (0..100_000).for_each(|_| deep.extend([1, 1, 7, 1, 1, 0]));
    assert_eq!(Causal::<Object>::decode(&deep), Err(DecodeError::Invalid("depth")));
}

/// What mutators can make is never deeper than what readers take.
#[test]
fn the_deepest_map_is_readable_and_no_deeper_one_is_made() {
    let mut minter = data::causal::Minter::new(super::world::actor(0), 0);
    let mut write = Write::new(&mut minter, data::causal::Stamp(1));
    let path = vec![&b"f"[..]; DEPTH_MAX];
    let mut change = |object: &Object, write: &mut Write<'_>| object.increment(write, 0, Amount::whole(1));
    let empty = Object::default();
    let deepest = empty.hash_update(&mut write, 0, &path[1..], &mut change).expect("as deep as it goes");
    assert_eq!(Causal::decode(&bytes(&deepest)), Ok(deepest));
    assert!(empty.hash_update(&mut write, 0, &path, &mut change).is_none());
}

/// Leaves of a hash tree: of dots, values and residue, not of names alone; nothing for nothing (LL-19).
#[test]
fn state_hashes_tell_states_apart() {
    let seed = Seed(1, 2);
    let mut minter = data::causal::Minter::new(super::world::actor(0), 0);
    let mut write = Write::new(&mut minter, data::causal::Stamp(1));
    let mut state = Causal::<Object>::new();
    let mut hashes = vec![state.store.state_hash(seed, b"k")];
    assert_eq!(hashes, [0]);
    let operations =
        [FieldOp::Add("a", 1), FieldOp::Add("a", 0), FieldOp::Set("a", "x"), FieldOp::Remove("a")];
    for operation in operations {
        state.merge(&Fields::mutate(&state.store, &mut write, &operation, 0));
        hashes.push(state.store.state_hash(seed, b"k"));
    }
    // The removed counter leaves residue, which counts.
    assert!(!state.store.is_alive() && !state.store.is_bottom());
    hashes.push(state.store.state_hash(seed, b"other key"));
    hashes.push(state.store.state_hash(Seed(1, 3), b"k"));
    let distinct: std::collections::BTreeSet<u64> = hashes.iter().copied().collect();
    assert_eq!(distinct.len(), hashes.len());
}

#[test]
fn a_store_alone_survives_the_round_trip() {
    let store = grown::<Key>(3).store;
    let mut written = Vec::new();
    encode_store(&store, &mut Writer::new(&mut written));
    assert_eq!(decode_store::<Object>(&written), Ok(store));
    written.push(0);
    assert!(decode_store::<Object>(&written).is_err());
}
