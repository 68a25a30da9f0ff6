//! Real nodes in this process, on free loopback ports, talked to over real sockets.

mod client;
mod cluster;
mod http;
mod input;
mod peers;
mod rig;
mod starting;
mod tryout;
