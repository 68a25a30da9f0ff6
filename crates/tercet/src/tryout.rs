//! Cuts, kills and pauses of a cluster that `tercet up` runs: what `tercet ctl` asks, and the socket on which `up` hears it.
//!
//! The socket is a file, `<port>.sock` for each RESP port, in a directory that only its user may enter. So only who may end
//! the process anyway can ask, nothing of it can be reached from another machine or from a web page, and `tercet node`, which
//! opens no such file, cannot be asked at all.

use crate::up::duration;
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use server::StartError;
use std::fs::DirBuilder;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// What can be done. Nodes and sites are named as people name them.
#[derive(Subcommand, Serialize, Deserialize, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// On `tercet up`: drops what goes between two sites or nodes, both ways; or between one and all others.
    Cut { a: String, b: Option<String> },
    /// On `tercet up`: ends a cut; without names, every cut.
    Heal { a: Option<String>, b: Option<String> },
    /// On `tercet up`: ends a node at once, as a crash would.
    Kill { node: String },
    /// On `tercet up`: brings back a node that was killed.
    Start { node: String },
    /// On `tercet up`: a node takes nothing in and gives nothing away, until it is resumed.
    Pause {
        node: String,
        /// It goes on by itself after so long: 800ms, 5s.
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        time: Option<Duration>,
    },
    /// On `tercet up`: a paused node goes on.
    Resume { node: String },
}

/// What was done, or why nothing was.
pub type Answer = Result<String, String>;

/// A request, and where its answer goes.
pub type Asked = (Request, Sender<Answer>);

const LINE_LEN_MAX: u64 = 4096;
/// A request is one line that is sent at once.
const HEARD_WITHIN: Duration = Duration::from_secs(5);
/// A start replays a log, which may take its time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

fn failed(what: &str) -> impl FnOnce(std::io::Error) -> StartError {
    move |error| StartError::new(format!("{what}: {error}"))
}

fn directory() -> PathBuf {
    // SAFETY: asks for a number and cannot fail.
    let user = unsafe { libc::getuid() };
    std::env::temp_dir().join(format!("tercet-up-{user}"))
}

fn file(port: u16) -> PathBuf {
    directory().join(format!("{port}.sock"))
}

/// Makes the directory, and refuses one that somebody else made or may enter.
fn own_directory() -> Result<(), StartError> {
    let path = directory();
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(StartError::new(format!("cannot make {}: {error}", path.display())));
        }
        Ok(()) | Err(_) => {}
    }
    let found =
        std::fs::symlink_metadata(&path).map_err(failed("cannot look at the directory of sockets"))?;
    // SAFETY: asks for a number and cannot fail.
    let user = unsafe { libc::getuid() };
    if found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(StartError::new(format!("{} is not a directory of this user alone: remove it", path.display())))
}

/// The open sockets; their files go with it.
pub struct Desk(Vec<PathBuf>);

impl Drop for Desk {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Hears requests about the cluster that listens on these RESP ports, and hands them on.
pub fn open(ports: &[u16], asked: &Sender<Asked>) -> Result<Desk, StartError> {
    own_directory()?;
    remove_left_behind();
    let mut desk = Desk(Vec::new());
    for port in ports {
        let path = file(*port);
        // The port is this cluster's, so a file of its name was left behind by one that was killed.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(failed("cannot open a socket for `tercet ctl`"))?;
        desk.0.push(path);
        let asked = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever went away without its answer asks again.
                let _ = answer(&stream, &asked);
            }
        });
    }
    Ok(desk)
}

/// Files of clusters that were killed: nobody listens there.
fn remove_left_behind() {
    for entry in std::fs::read_dir(directory()).into_iter().flatten().flatten() {
        let refused = UnixStream::connect(entry.path()).err();
        if refused.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn answer(stream: &UnixStream, asked: &Sender<Asked>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(HEARD_WITHIN))?;
    stream.set_write_timeout(Some(HEARD_WITHIN))?;
    let line = line_of(stream)?;
    let reply: Answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => {
            let (sender, answer) = channel();
            let is_heard = asked.send((request, sender)).is_ok();
            let answer = is_heard.then(|| answer.recv_timeout(ANSWERED_WITHIN).ok()).flatten();
            answer.unwrap_or_else(|| Err("the cluster is ending, or does not answer".into()))
        }
        Err(error) => Err(format!("this is no request that this version knows: {error}")),
    };
    let mut text = serde_json::to_string(&reply)?;
    text.push('\n');
    (&*stream).write_all(text.as_bytes())
}

fn line_of(stream: &UnixStream) -> std::io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_LEN_MAX)).read_line(&mut line)?;
    Ok(line)
}

/// Asks the cluster that has a node at this RESP address.
pub fn ask(address: &str, request: &Request) -> Result<String, StartError> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let port: u16 = port
        .parse()
        .map_err(|_| StartError::new(format!("--connect must be HOST:PORT, found '{address}'")))?;
    let host = host.trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let stream = if is_here { connect(&file(port)) } else { None };
    let Some(stream) = stream else {
        return Err(StartError::new(format!(
            "{address} is no node of a cluster that `tercet up` runs on this machine for this user: only there can nodes be cut off, paused, killed and started"
        )));
    };
    let broken = || failed("the cluster did not answer");
    stream.set_read_timeout(Some(ANSWERED_WITHIN + HEARD_WITHIN)).map_err(broken())?;
    let mut text = serde_json::to_string(request).map_err(|error| StartError::new(error.to_string()))?;
    text.push('\n');
    (&stream).write_all(text.as_bytes()).map_err(broken())?;
    let line = line_of(&stream).map_err(broken())?;
    let answer: Answer = serde_json::from_str(&line)
        .map_err(|error| StartError::new(format!("the cluster's answer is not understood: {error}")))?;
    answer.map_err(StartError::new)
}

fn connect(path: &Path) -> Option<UnixStream> {
    UnixStream::connect(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_travel_as_one_line() {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let (sender, asked) = channel();
        let thread = std::thread::spawn(move || answer(&theirs, &sender));
        (&ours).write_all(b"{\"cut\":{\"a\":\"eu\",\"b\":null}}\n").expect("it is read");
        let (request, reply) = asked.recv_timeout(HEARD_WITHIN).expect("it was understood");
        assert_eq!(request, Request::Cut { a: "eu".into(), b: None });
        reply.send(Err("why not".into())).expect("somebody waits");
        assert_eq!(line_of(&ours).expect("an answer"), "{\"Err\":\"why not\"}\n");
        thread.join().expect("no panic").expect("it was written");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let (sender, asked) = channel();
        (&ours).write_all(b"{\"explode\":{}}\n").expect("it is read");
        answer(&theirs, &sender).expect("it is answered");
        assert!(line_of(&ours).expect("an answer").contains("no request that this version knows"));
        assert!(asked.try_recv().is_err());
    }

    #[test]
    fn only_a_cluster_of_up_can_be_asked() {
        for address in ["10.1.2.3:6379", "127.0.0.1:1", "localhost:1", "nowhere"] {
            let refusal = ask(address, &Request::Heal { a: None, b: None }).expect_err(address);
            let expected = if address == "nowhere" { "must be HOST:PORT" } else { "no node of a cluster" };
            assert!(refusal.to_string().contains(expected), "{refusal}");
        }
    }
}
