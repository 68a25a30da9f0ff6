//! The simulator judged: it repeats itself, it finds what is wrong, and the seeds that once failed stay clean.

mod core;
mod kept_seeds;
mod reproducible;
mod scenarios;
