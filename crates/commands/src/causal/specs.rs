//! Our own commands on causal values. In other keyspaces they are refused: there is one version of a key.

use crate::call::{Call, CommandError, CommandResult};
use crate::describe::Family;
use crate::spec::{Flags, Spec};

const STRING: Family = Family("string");

fn one_version(_: &mut Call<'_, '_>) -> CommandResult {
    Err(CommandError::fixed("ERR a key has one version in this keyspace: use GET and SET"))
}

pub const SPECS: &[Spec] = &[
    STRING.read("getv", 2, one_version).flags(Flags::FAST).docs(
        "7.4.0",
        "O(N), N versions",
        "Answers all versions of a string that several replicas write, and the context that SETV takes.",
    ),
    STRING.write("setv", 4, one_version).flags(Flags::DENYOOM.and(Flags::FAST)).docs(
        "7.4.0",
        "O(1)",
        "Writes a string in place of exactly those versions that a context of GETV names.",
    ),
];
