//! Stories and laws of the data crate, one binary.

mod causal;
mod codec_laws;
mod model;
mod record_bytes;
mod speed;
mod table_basics;
mod table_model;
mod table_moments;
mod table_ranges;
mod table_scan;
mod table_snapshot;
mod value_orders;
