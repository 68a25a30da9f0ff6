//! What a node is told at its start.

use node::message::{VERSION_MAX, VERSION_MIN};
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub struct Settings {
    pub name: String,
    /// `None` keeps nothing: the node forgets everything when it ends.
    pub data: Option<PathBuf>,
    /// `host:port` each.
    pub resp: String,
    pub peer: String,
    pub http: String,
    pub site: String,
    /// Peer addresses of all founders, or of members to join; both are for the first start only.
    pub founders: Vec<String>,
    pub join: Vec<String>,
    /// Of founders: groups that the slots of each numbered keyspace are divided among.
    pub shards: u32,
    pub password: Option<String>,
    /// Shared by all nodes of the cluster.
    pub secret: String,
    pub connections_max: usize,
    /// Bytes of log between two snapshots of a group.
    pub snapshot_log_bytes: usize,
    /// A copy that is far behind gets snapshot and log at this rate, bytes per second.
    pub transfer_rate: u32,
    /// What leaders on this node send to each other site of a multi-leader keyspace, bytes per second at most.
    pub site_rate: Option<u32>,
    /// The newest message version to speak with peers. Less than this program can is for an upgrade that may have to be taken back.
    pub message_version: u8,
}

/// Why a node cannot start: a sentence for whoever started it.
#[derive(Debug)]
pub struct StartError(pub String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for StartError {}

impl StartError {
    pub fn new(what: impl Into<String>) -> StartError {
        StartError(what.into())
    }
}

/// A guess.
const SITE_RATE_MIN: u32 = 4096;

impl Settings {
    /// Refuses what would be unsafe or cannot work, before anything is opened.
    pub fn check(&self) -> Result<(), StartError> {
        for (what, address) in [("--resp", &self.resp), ("--peer", &self.peer), ("--http", &self.http)] {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() {
                return Err(StartError::new(format!("{what} must be HOST:PORT, found '{address}'")));
            }
        }
        let host = self.resp.rsplit_once(':').map_or("", |(host, _)| host);
        if self.password.is_none() && !is_loopback(host) {
            return Err(StartError::new(format!(
                "protected mode: {} is not a loopback address and no password is set. Anybody who reaches it could read and write everything. Set --requirepass (or TERCET_REQUIREPASS), or listen on 127.0.0.1.",
                self.resp
            )));
        }
        if self.secret.is_empty() && !is_loopback(self.peer.rsplit_once(':').map_or("", |(host, _)| host)) {
            return Err(StartError::new(format!(
                "protected mode: {} is not a loopback address and no cluster secret is set. Set --secret (or TERCET_SECRET), the same on all nodes, or let peers meet on 127.0.0.1.",
                self.peer
            )));
        }
        let first = data::keyspace::Settings { shards: self.shards, ..Default::default() };
        first.check().map_err(|_| StartError::new("--shards must be between 1 and 256"))?;
        if self.transfer_rate == 0 {
            return Err(StartError::new("--transfer-rate must be above 0: nothing would ever catch up"));
        }
        if self.site_rate.is_some_and(|rate| rate < SITE_RATE_MIN) {
            return Err(StartError::new(format!(
                "--site-rate must be at least {SITE_RATE_MIN} bytes per second: less carries hardly more than the sites' words of where they stand"
            )));
        }
        if !(VERSION_MIN..=VERSION_MAX).contains(&self.message_version) {
            return Err(StartError::new(format!(
                "--message-version must be from {VERSION_MIN} to {VERSION_MAX}"
            )));
        }
        Ok(())
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
