//! What functions may do, what ends them, and which ones are refused.

mod accepted;
mod sandbox;
