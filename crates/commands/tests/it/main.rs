//! Stories of commands on a table.

mod describing;
mod harness;
mod promises;
mod scripts;
mod viewing;
