//! Stories of commands on a table.

mod causal;
mod describing;
mod harness;
mod promises;
mod scripts;
mod viewing;
