//! Stories and laws of the wire formats.

mod frame;
mod handshake;
mod peer;
mod request;
