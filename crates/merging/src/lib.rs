//! Merge functions: a piece of Lua 5.1 that gets two concurrent values and their times, and gives one.
//!
//! ```lua
//! -- The higher price.
//! if tonumber(a.value) > tonumber(b.value) then return a.value else return b.value end
//! ```
//!
//! **Deterministic.** Each call runs in an interpreter of its own, so nothing is kept from one to the next. There is no
//! clock, no chance, no file, no module, no coroutine, no metatable; `pairs` walks in the order of keys; of `math` there
//! is what is rounded alike everywhere. Tables and functions have no text, which would be their address.
//!
//! **Bounded, and not by time.** Instructions are counted; the collector is off, so memory is a bound on all that is
//! ever allocated; what library functions do at one go (patterns, sorting, joining) is charged to an allowance by the
//! length of what they are given. `pcall` is not there: nothing can catch the end of an allowance. The same arguments
//! use up the same on every node.
//!
//! | file | does |
//! |---|---|
//! | `run` | one call |
//! | `library` | what a function may use, and what it costs |
//! | `samples` | whether a function can be one: bugs: ML-16 |
// catalogue: J13

mod library;
mod run;
mod samples;

use data::causal::{Given, MergeEngine};

/// Values that are given to a function, and that it gives, are at most so long: with longer ones it fails. A guess.
pub const VALUE_LEN_MAX: usize = 64 << 10;

/// Runs merge functions in Lua 5.1.
#[derive(Clone, Copy, Debug)]
pub struct Lua;

impl MergeEngine for Lua {
    fn accept(&self, function: &str) -> Result<(), String> {
        samples::accept(function)
    }
    fn merge(&self, function: &str, one: Given<'_>, other: Given<'_>) -> Result<Vec<u8>, String> {
        run::run(function, one, other).map_err(|failure| failure.to_string())
    }
}
