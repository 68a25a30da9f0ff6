//! One node of three lives on a disk that fills up: the service goes on, what was acknowledged stays, and the node
//! comes back when there is room again.
// catalogue: A1
// bugs: X-05

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bench::client::Client;
use bench::resp::Value;
use bench::servers::tercet::Cluster;
use bench::servers::wait_for;

use super::check;

/// Room for a log segment or two, not for more.
const DISK_MB: u32 = 160;
const VALUE_BYTES: usize = 256 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);

/// A small file system in memory; unmounted when this is dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None` when this user may not mount.
    fn mount(at: &'a Path) -> Result<Option<SmallDisk<'a>>> {
        std::fs::create_dir_all(at)?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={DISK_MB}m"), "tmpfs"]).arg(at);
        let output = command.output().context("cannot start mount")?;
        Ok(output.status.success().then_some(SmallDisk(at)))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazily: a process that was just killed may still hold it.
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

pub fn run() -> Result<()> {
    let mut cluster = Cluster::found(&crate::shell::tercet_binary()?, 3)?;
    let leader = cluster.wait_for_leader(Duration::from_secs(10))?;
    let victim = (leader + 1) % 3;
    let home = cluster.nodes[victim].data.clone();
    cluster.nodes[victim].kill();
    let moved = home.with_extension("moved");
    std::fs::rename(&home, &moved)?;
    let Some(disk) = SmallDisk::mount(&home)? else {
        println!("disk-full: skipped, this user may not mount a file system");
        return Ok(());
    };
    copy(&moved, &home)?;
    cluster.nodes[victim].start()?;
    cluster.nodes[victim].wait_until_listening()?;

    let mut client = Client::connect(cluster.nodes[leader].resp, TIMEOUT)?;
    let value = "x".repeat(VALUE_BYTES);
    let total = DISK_MB as usize * 1024 * 1024 * 3 / 2 / VALUE_BYTES;
    let mut refused = 0;
    for number in 0..total {
        // A few keys written again and again: the log grows, the memory does not.
        match client.call(&["SET", &format!("big:{}", number % 8), &value])? {
            Value::Simple(_) => {}
            Value::Error(_) => refused += 1,
            other => bail!("strange reply {other:?}"),
        }
    }
    check(refused == 0, "two nodes with room accept every write", refused)?;
    client.call(&["SET", "after", "1"])?;
    let other = cluster.nodes[3 - leader - victim].resp;
    let seen = Client::connect(other, TIMEOUT)?.call(&["GET", "after"])?;
    check(seen == Value::Bulk(b"1".to_vec()), "the healthy follower serves", seen)?;

    // More room: the node comes back by itself or after a restart, with everything that was acknowledged.
    let mut command = Command::new("mount");
    command.args(["-o", "remount,size=2g"]).arg(disk.0);
    anyhow::ensure!(command.status()?.success(), "cannot enlarge the small disk");
    cluster.nodes[victim].kill();
    cluster.nodes[victim].start()?;
    cluster.nodes[victim].wait_until_listening()?;
    let address = cluster.nodes[victim].resp;
    wait_for("the node with the small disk", Duration::from_secs(60), || {
        let reply = Client::connect(address, TIMEOUT).ok()?.call(&["GET", "after"]).ok()?;
        (reply == Value::Bulk(b"1".to_vec())).then_some(())
    })?;
    println!("  ok: the node comes back when there is room");
    cluster.nodes[victim].kill();
    drop(disk);
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status()?;
    anyhow::ensure!(status.success(), "cannot copy the node's data");
    Ok(())
}
