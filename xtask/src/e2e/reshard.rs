//! A keyspace goes from one shard to three and to two, on three processes, while redis-py's cluster client writes: no
//! acknowledged write is lost, no counter counts twice, and the client hears of no error that it does not handle itself.
// catalogue: A8 H4
// bugs: X-01

use std::time::Duration;

use anyhow::{Result, ensure};
use bench::client::Client;
use bench::resp::Value;
use bench::servers::tercet::Cluster;

use super::smoke::redis_py_with;

#[derive(clap::Args)]
pub struct Options {
    /// Keys that are there before the first move.
    #[arg(long, default_value_t = 20_000)]
    keys: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { keys: 20_000 }
    }
}

pub fn run(options: &Options) -> Result<()> {
    let cluster = Cluster::found(&crate::shell::tercet_binary()?, 3)?;
    cluster.wait_for_leader(Duration::from_secs(10))?;
    let address = cluster.resp_addresses()[0];
    let mut client = Client::connect(address, Duration::from_secs(5))?;
    let answer = client.call(&["KEYSPACE", "ALTER", "0", "FORWARD", "off"])?;
    ensure!(matches!(&answer, Value::Simple(text) if text == "OK"), "FORWARD off: {answer:?}");
    redis_py_with(address, "redis-py-8.txt", "redis_py_reshard.py", &[options.keys.to_string()])
}
