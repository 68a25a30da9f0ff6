//! A node is started with an old backup of its data directory: its peers notice, it ends by itself and never starts with that
//! directory again; set up anew, the machine joins, and nothing that was acknowledged is missing.
// bugs: LL-11

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::client::Client;
use bench::resp::Value;
use bench::servers::tercet::Cluster;
use bench::servers::wait_for;

use super::check;

const TIMEOUT: Duration = Duration::from_secs(5);
const WRITES: u32 = 2_000;

pub fn run() -> Result<()> {
    let mut cluster = Cluster::found(&crate::shell::tercet_binary()?, 3)?;
    let leader = cluster.wait_for_leader(Duration::from_secs(10))?;
    let victim = (leader + 1) % 3;
    let mut client = Client::connect(cluster.nodes[leader].resp, TIMEOUT)?;
    write(&mut client, "before")?;

    // The backup is taken while the node is down: the cleanest that there is.
    let home = cluster.nodes[victim].data.clone();
    let backup = home.with_extension("backup");
    cluster.nodes[victim].kill();
    copy(&home, &backup)?;
    start(&mut cluster, victim)?;
    write(&mut client, "after")?;
    cluster.nodes[victim].kill();
    std::fs::remove_dir_all(&home)?;
    copy(&backup, &home)?;

    for (round, what) in [(1, "older than what"), (2, "given up")] {
        cluster.nodes[victim].start()?;
        let server = cluster.nodes[victim].server.as_mut().context("it was started")?;
        let status = server.wait(Duration::from_secs(20))?;
        let words = server.last_words();
        check(
            status.is_some_and(|status| !status.success()),
            &format!("start {round} of the old copy ends"),
            status,
        )?;
        check(words.contains(what), &format!("start {round} says why"), words)?;
        cluster.nodes[victim].kill();
    }

    let name = cluster.nodes[victim].name.clone();
    let mut command = Command::new(&cluster.program);
    command.args(["ctl", "--connect", &cluster.nodes[leader].resp.to_string(), "remove", &name]);
    ensure!(command.output()?.status.success(), "tercet ctl remove {name}");
    let joiner = cluster.add_joiner()?;
    joiner.start()?;
    joiner.wait_until_listening()?;
    let address = joiner.resp;
    wait_for("the new node with all keys", Duration::from_secs(30), || {
        let mut client = Client::connect(address, TIMEOUT).ok()?;
        let all = ["before", "after"].iter().all(|when| {
            let last = format!("{when}:{}", WRITES - 1);
            client.call(&["GET", &last]).ok() == Some(Value::Bulk(b"1".to_vec()))
        });
        all.then_some(())
    })?;
    println!("  ok: set up anew it joins, with everything that was acknowledged");
    Ok(())
}

fn start(cluster: &mut Cluster, node: usize) -> Result<()> {
    cluster.nodes[node].start()?;
    Ok(cluster.nodes[node].wait_until_listening()?)
}

fn write(client: &mut Client, when: &str) -> Result<()> {
    for number in 0..WRITES {
        let reply = client.call(&["SET", &format!("{when}:{number}"), "1"])?;
        ensure!(reply == Value::Simple("OK".into()), "{reply:?}");
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "cannot copy the node's data");
    Ok(())
}
