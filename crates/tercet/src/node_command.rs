//! `tercet node`: one production node. Flags, `TERCET_*` variables and a TOML file are the same settings; a flag wins over a
//! variable, a variable over the file.

use clap::Args;
use serde::Deserialize;
use server::{Handle, MESSAGE_VERSION_MAX, Settings, StartError};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

#[derive(Args)]
pub struct NodeCommand {
    /// A name for people, unique in the cluster.
    #[arg(long, env = "TERCET_NAME")]
    name: Option<String>,
    /// Where log, snapshots and identity live.
    #[arg(long, env = "TERCET_DATA")]
    data: Option<PathBuf>,
    /// Redis clients connect here, HOST:PORT.
    #[arg(long, env = "TERCET_RESP")]
    resp: Option<String>,
    /// Other nodes connect here, HOST:PORT.
    #[arg(long, env = "TERCET_PEER")]
    peer: Option<String>,
    /// Health and metrics, HOST:PORT.
    #[arg(long, env = "TERCET_HTTP")]
    http: Option<String>,
    /// The datacenter or region.
    #[arg(long, env = "TERCET_SITE")]
    site: Option<String>,
    /// Peer addresses of all nodes that found the cluster together, this one included.
    #[arg(long, env = "TERCET_FOUNDERS", value_delimiter = ',', conflicts_with = "join")]
    founders: Vec<String>,
    /// Peer addresses of members of the cluster that this node joins.
    #[arg(long, env = "TERCET_JOIN", value_delimiter = ',')]
    join: Vec<String>,
    /// At the founding: groups that the slots of each numbered keyspace are divided among. [default: 1]
    #[arg(long, env = "TERCET_SHARDS")]
    shards: Option<u32>,
    /// Password that clients must give.
    #[arg(long, env = "TERCET_REQUIREPASS")]
    requirepass: Option<String>,
    /// Secret that all nodes of the cluster share.
    #[arg(long, env = "TERCET_SECRET")]
    secret: Option<String>,
    /// Client connections at most.
    #[arg(long, env = "TERCET_MAXCLIENTS")]
    maxclients: Option<usize>,
    /// Bytes per second at which this node pulls a snapshot, or sends the log to a copy that is far behind. [default: 8388608]
    #[arg(long, env = "TERCET_TRANSFER_RATE")]
    transfer_rate: Option<u32>,
    /// Bytes per second that this node's leaders send to each other site of a multi-leader keyspace, at most. [default: no limit]
    #[arg(long, env = "TERCET_SITE_RATE")]
    site_rate: Option<u32>,
    /// The newest message version to speak with the other nodes, while an upgrade may have to be taken back. [default: the newest that this program speaks]
    #[arg(long, env = "TERCET_MESSAGE_VERSION")]
    message_version: Option<u8>,
    /// The same settings in a TOML file.
    #[arg(long, env = "TERCET_CONFIG")]
    config: Option<PathBuf>,
}

/// The settings as the file names them.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<String>,
    data: Option<PathBuf>,
    resp: Option<String>,
    peer: Option<String>,
    http: Option<String>,
    site: Option<String>,
    #[serde(default)]
    founders: Vec<String>,
    #[serde(default)]
    join: Vec<String>,
    shards: Option<u32>,
    requirepass: Option<String>,
    secret: Option<String>,
    maxclients: Option<usize>,
    #[serde(rename = "transfer-rate")]
    transfer_rate: Option<u32>,
    #[serde(rename = "site-rate")]
    site_rate: Option<u32>,
    #[serde(rename = "message-version")]
    message_version: Option<u8>,
}

/// Bytes per second, of snapshot or log, on their way to a copy that is far behind: a fifteenth of a gigabit link. A guess,
/// and the price of it is measured: `cargo xtask e2e join`.
pub const TRANSFER_RATE: u32 = 8 << 20;
/// Bytes of log between two snapshots of a group: recovery replays at most about so much.
pub const SNAPSHOT_LOG_BYTES: usize = 256 << 20;

impl NodeCommand {
    pub fn run(self) -> Result<(), StartError> {
        let settings = self.settings()?;
        settings.check()?;
        let stop = stop_on_signals()?;
        let handle = Handle::new(stop);
        let _http = server::http::start(&settings.http, Arc::clone(&handle.status))?;
        server::run(settings, handle)
    }

    fn settings(self) -> Result<Settings, StartError> {
        let file = match &self.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        let needed = |what: &str, value: Option<String>| {
            value.ok_or_else(|| {
                StartError::new(format!(
                    "--{what} is missing (or TERCET_{}, or `{what}` in the file)",
                    what.to_uppercase()
                ))
            })
        };
        // One question, found or join: an answer in flags or variables replaces the file's answer, whichever it was.
        let told = !self.founders.is_empty() || !self.join.is_empty();
        let (founders, join) = if told { (self.founders, self.join) } else { (file.founders, file.join) };
        if !founders.is_empty() && !join.is_empty() {
            return Err(StartError::new(
                "`founders` and `join` are both set: a node founds a cluster or joins one",
            ));
        }
        Ok(Settings {
            name: needed("name", self.name.or(file.name))?,
            data: Some(self.data.or(file.data).ok_or_else(|| {
                StartError::new("--data is missing (or TERCET_DATA, or `data` in the file)")
            })?),
            resp: needed("resp", self.resp.or(file.resp))?,
            peer: needed("peer", self.peer.or(file.peer))?,
            http: needed("http", self.http.or(file.http))?,
            site: self.site.or(file.site).unwrap_or_default(),
            founders,
            join,
            shards: self.shards.or(file.shards).unwrap_or(1),
            password: self.requirepass.or(file.requirepass).filter(|password| !password.is_empty()),
            secret: self.secret.or(file.secret).unwrap_or_default(),
            connections_max: self.maxclients.or(file.maxclients).unwrap_or(10_000),
            snapshot_log_bytes: SNAPSHOT_LOG_BYTES,
            transfer_rate: self.transfer_rate.or(file.transfer_rate).unwrap_or(TRANSFER_RATE),
            site_rate: self.site_rate.or(file.site_rate),
            message_version: self.message_version.or(file.message_version).unwrap_or(MESSAGE_VERSION_MAX),
        })
    }
}

fn read(path: &PathBuf) -> Result<File, StartError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| StartError::new(format!("cannot read {shown}: {error}")))?;
    toml::from_str(&text).map_err(|error| StartError::new(format!("{shown}: {error}")))
}

/// A flag that SIGINT and SIGTERM raise; the second signal ends the process at once.
pub fn stop_on_signals() -> Result<Arc<AtomicBool>, StartError> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let failed = |error: std::io::Error| StartError::new(error.to_string());
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop)).map_err(failed)?;
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(failed)?;
    }
    Ok(stop)
}
