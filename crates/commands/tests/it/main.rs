//! Stories of commands on a table.

mod harness;
mod scripts;
