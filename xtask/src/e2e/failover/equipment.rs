//! What a fault needs around the nodes before they are started: networks that can be cut, disks that are slow or small.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use bench::client;
use bench::process::TempFolder;
use bench::servers::tercet::Node;

use super::fault::Fault;

/// Whether this user has the rights that a fault needs.
pub fn can_be_made(fault: Fault) -> Result<()> {
    match fault {
        Fault::Cut => Networks::make(1).map(drop),
        Fault::FullDisk => {
            let folder = TempFolder::new("small-disk")?;
            SmallDisks::default().mount(folder.path.join("disk")).map_err(Into::into)
        }
        _ => Ok(()),
    }
}

const PASSWORD: &str = "of the bridge";

/// How many networks this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A network namespace per node, all on one bridge with the clients.
pub struct Networks {
    name: String,
    subnet: u8,
    nodes: usize,
}

impl Networks {
    /// Needs the right to make network namespaces; says why it cannot.
    pub fn make(nodes: usize) -> Result<Networks> {
        // A name is taken once: the kernel takes a deleted namespace down when the last of its processes is gone, and
        // in its own time.
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let (name, subnet) = (format!("t{:x}.{:x}", std::process::id(), made % 0x1000), free_subnet(made)?);
        let networks = Networks { name, subnet, nodes };
        client::use_password(PASSWORD);
        let bridge = &networks.name;
        ip(&["link", "add", bridge, "type", "bridge"])?;
        ip(&["address", "add", &format!("{}/24", networks.address(254)), "dev", bridge])?;
        ip(&["link", "set", bridge, "up"])?;
        for node in 0..nodes {
            let (space, plug) = (networks.space(node), networks.plug(node));
            ip(&["netns", "add", &space])?;
            ip(&["link", "add", &plug, "type", "veth", "peer", "name", "eth0", "netns", &space])?;
            ip(&["link", "set", &plug, "master", bridge, "up"])?;
            ip(&["-n", &space, "link", "set", "lo", "up"])?;
            ip(&["-n", &space, "link", "set", "eth0", "up"])?;
            let own = format!("{}/24", networks.address(node as u8 + 1));
            ip(&["-n", &space, "address", "add", &own, "dev", "eth0"])?;
        }
        Ok(networks)
    }

    fn space(&self, node: usize) -> String {
        format!("{}n{node}", self.name)
    }
    /// The bridge's end of the cable to a node.
    fn plug(&self, node: usize) -> String {
        format!("{}p{node}", self.name)
    }
    fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.subnet, host)
    }

    /// For peers, for clients, for HTTP.
    pub fn addresses(&self) -> Vec<[SocketAddr; 3]> {
        let at = |node: usize, port| SocketAddr::new(IpAddr::V4(self.address(node as u8 + 1)), port);
        (0..self.nodes).map(|node| [at(node, 7400), at(node, 6379), at(node, 7500)]).collect()
    }

    pub fn prepare(&self, node: &mut Node, number: usize) {
        node.launcher = ["ip", "netns", "exec"].map(str::to_owned).into();
        node.launcher.push(self.space(number));
        // Others might reach these addresses: nodes want to be asked for a password there.
        for name in ["TERCET_REQUIREPASS", "TERCET_SECRET"] {
            node.environment.push((name.to_owned(), PASSWORD.to_owned()));
        }
    }

    /// Takes every packet between this node and the other nodes away; clients still reach all of them.
    pub fn cut(&self, node: usize) -> Result<()> {
        self.change(node, true)
    }
    pub fn heal(&self, node: usize) -> Result<()> {
        self.change(node, false)
    }

    fn change(&self, node: usize, is_cut: bool) -> Result<()> {
        for other in (0..self.nodes).filter(|other| *other != node) {
            self.change_way(node, other, is_cut)?;
            self.change_way(other, node, is_cut)?;
        }
        Ok(())
    }
    /// Takes every packet from one node to another away, and no packet in the other direction; or no longer.
    pub fn change_way(&self, from: usize, to: usize, is_cut: bool) -> Result<()> {
        let target = format!("{}/32", self.address(to as u8 + 1));
        let verb = if is_cut { "add" } else { "del" };
        ip(&["-n", &self.space(from), "route", verb, "blackhole", &target])
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        // What cannot be removed is litter, not a failure of the run.
        for node in 0..self.nodes {
            let _ = ip(&["link", "delete", &self.plug(node)]);
            let _ = ip(&["netns", "delete", &self.space(node)]);
        }
        let _ = ip(&["link", "delete", &self.name]);
    }
}

/// One that no other network of this machine has, another run's included.
fn free_subnet(made: u32) -> Result<u8> {
    let taken = output(Command::new("ip").args(["-4", "-oneline", "address", "show"]))?;
    let first = std::process::id().wrapping_add(made);
    (0..250)
        .map(|offset| (first.wrapping_add(offset) % 250) as u8 + 1)
        .find(|subnet| !taken.contains(&format!(" 10.77.{subnet}.")))
        .context("every network from 10.77.1.0/24 to 10.77.250.0/24 is taken")
}

fn ip(words: &[&str]) -> Result<()> {
    run(Command::new("ip").args(words))
}

fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What stands between a node and its disk: every flush waits as long as a file says.
const DELAY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_as_told(void) {
    const char *path = getenv("FLUSH_DELAY_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    unsigned micros = 0;
    if (!file) return;
    if (fscanf(file, "%u", &micros) != 1) micros = 0;
    fclose(file);
    if (micros) usleep(micros);
}
int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_as_told();
    return real(fd);
}
int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_as_told();
    return real(fd);
}
"#;

/// Disks whose flushes can be slowed down, one by one, while their nodes run.
pub struct SlowDisks {
    folder: TempFolder,
    library: PathBuf,
}

impl SlowDisks {
    pub fn make() -> Result<SlowDisks> {
        let folder = TempFolder::new("slow-disk")?;
        let (source, library) = (folder.path.join("delay.c"), folder.path.join("delay.so"));
        std::fs::write(&source, DELAY)?;
        run(Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl"))?;
        Ok(SlowDisks { folder, library })
    }

    fn file(&self, node: usize) -> PathBuf {
        self.folder.path.join(format!("delay{node}"))
    }

    pub fn prepare(&self, node: &mut Node, number: usize) {
        let variable = |name: &str, path: &Path| (name.to_owned(), path.display().to_string());
        node.environment.push(variable("LD_PRELOAD", &self.library));
        node.environment.push(variable("FLUSH_DELAY_FILE", &self.file(number)));
    }

    /// From now on each flush of this node takes so much longer.
    pub fn delay(&self, node: usize, micros: u32) -> Result<()> {
        // By renaming, so that nobody reads half a number.
        let next = self.folder.path.join("next");
        std::fs::write(&next, micros.to_string())?;
        Ok(std::fs::rename(next, self.file(node))?)
    }
}

/// A small file system in memory for each node's data, which can be filled up and emptied again.
#[derive(Default)]
pub struct SmallDisks {
    mounted: Vec<PathBuf>,
}

impl SmallDisks {
    /// Room for the log segments of a short run.
    const MEGABYTES: u32 = 256;

    pub fn prepare(&mut self, node: &mut Node) -> io::Result<()> {
        self.mount(node.data.clone())?;
        // Beside the data: a node wants a folder of its own.
        node.data = node.data.join("node");
        Ok(())
    }

    fn mount(&mut self, at: PathBuf) -> io::Result<()> {
        std::fs::create_dir_all(&at)?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={}m", Self::MEGABYTES), "tmpfs"]).arg(&at);
        run(&mut command).map_err(|error| io::Error::other(format!("{error:#}")))?;
        self.mounted.push(at);
        Ok(())
    }

    fn ballast(&self, node: usize) -> PathBuf {
        self.mounted[node].join("ballast")
    }

    /// Takes what room there is.
    pub fn fill(&self, node: usize) -> Result<()> {
        let mut file = std::fs::File::create(self.ballast(node))?;
        let part = vec![0u8; 1 << 20];
        while io::Write::write_all(&mut file, &part).is_ok() {}
        Ok(())
    }
    pub fn empty(&self, node: usize) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast(node))?)
    }
}

impl Drop for SmallDisks {
    fn drop(&mut self) {
        for at in &self.mounted {
            // Lazily: a process that was just killed may still hold it.
            let _ = Command::new("umount").arg("--lazy").arg(at).status();
        }
    }
}
