//! Judges judged: hand-made histories for every kind of violation, and other judges' opinions on random ones.

mod brute_force;
mod counters;
mod files;
mod registers;
mod rest;
mod rig;
mod scale;
mod second_opinion;
mod sessions;
mod sets;
