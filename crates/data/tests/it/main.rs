//! Stories of the data crate, one binary.

mod table_basics;
