//! Server processes: started so that they never outlive the run, and measured through `/proc`.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A child that is killed when this is dropped, and by the kernel when the thread that started it dies.
///
/// So neither an error, a panic nor Ctrl-C leaves a server behind. Start it from a thread that lives as long as
/// the run does.
pub struct Server {
    child: Child,
    /// What it printed: kept beside its data, named in error messages.
    pub log: PathBuf,
}

impl Server {
    /// Starts `command` with its output going to `log`.
    pub fn start(mut command: Command, log: &Path) -> io::Result<Server> {
        let output = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // SAFETY: prctl is safe to call between fork and exec: it allocates nothing and takes no lock.
        unsafe {
            command.pre_exec(|| {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 {
                    Ok(())
                } else {
                    Err(io::Error::last_os_error())
                }
            });
        }
        let program = command.get_program().to_owned();
        let child = command
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("cannot start {program:?}: {error}")))?;
        Ok(Server { child, log: log.to_owned() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `libc::SIGSTOP`.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        // SAFETY: kill has no memory effects; the child is not reaped before this value is dropped or asked to wait.
        if unsafe { libc::kill(self.child.id() as i32, signal) } == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended already: then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself; `None` when it is still there after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it listens on `address`.
    ///
    /// # Errors
    /// When it ended first, or does not listen after `timeout`; the message quotes the end of its output.
    pub fn wait_until_listening(&mut self, address: SocketAddr, timeout: Duration) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() >= deadline {
                let what = ended.map_or("does not listen".into(), |status| format!("ended with {status}"));
                return Err(io::Error::other(format!("server for {address} {what}: {}", self.last_words())));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The last lines that it printed.
    pub fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let tail = &text[text.len().saturating_sub(1500)..];
        String::from_utf8_lossy(tail).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What processes have used so far.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Usage {
    /// User and system time of all threads, seconds. The kernel counts in ticks of 10 ms.
    pub cpu_seconds: f64,
    /// Bytes that reached the storage layer.
    pub written_bytes: u64,
}

impl Usage {
    /// Sums over `pids`; a process that is gone counts as nothing.
    pub fn of(pids: &[u32]) -> Usage {
        let mut sum = Usage::default();
        for pid in pids {
            if let Some(seconds) = cpu_seconds(*pid) {
                sum.cpu_seconds += seconds;
            }
            sum.written_bytes += written_bytes(*pid).unwrap_or(0);
        }
        sum
    }

    #[must_use]
    pub fn since(self, earlier: Usage) -> Usage {
        Usage {
            cpu_seconds: self.cpu_seconds - earlier.cpu_seconds,
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
        }
    }
}

fn cpu_seconds(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = cpu_ticks(&text)?;
    // SAFETY: sysconf only reads a constant of the system.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Some(ticks as f64 / per_second.max(1) as f64)
}

/// utime + stime of a `/proc/<pid>/stat` line. The name in brackets may hold spaces and brackets itself.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

fn written_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}

/// `count` different loopback addresses that nobody listens on right now.
pub fn free_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    // All are held until the last is found, so that they differ.
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<io::Result<_>>()?;
    listeners.iter().map(TcpListener::local_addr).collect()
}

/// Where Linux begins to choose ports for outgoing connections, unless told otherwise.
const OUTGOING_FROM: u16 = 32_768;

/// The first of `count` ports in a row that nobody uses right now, nor those that are `beside` higher.
pub fn free_port_run(count: u16, beside: u16) -> io::Result<u16> {
    // All below the range that the kernel hands out for outgoing connections, so that none lands in between.
    const FIRST: u16 = 10_000;
    let width = OUTGOING_FROM - FIRST - beside - count;
    let begin = (std::process::id() % u32::from(width)) as u16;
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (0..500u16)
        .map(|step| FIRST + (begin + step * (count + 1)) % width)
        .find(|&start| (start..start + count).all(|port| is_free(port) && is_free(port + beside)))
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, "no free run of ports"))
}

/// Whether a program of this name can be started.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// A folder under the system's temporary folder that is removed with everything in it when this is dropped.
pub struct TempFolder {
    pub path: PathBuf,
}

impl TempFolder {
    pub fn new(purpose: &str) -> io::Result<TempFolder> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tercet-{purpose}-{}-{count}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(TempFolder { path })
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // A folder that cannot be removed is litter, not a failure of the run.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_ticks_survive_a_name_with_brackets_and_spaces() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 10 0 0 0 250 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn a_dropped_server_is_gone() {
        let folder = TempFolder::new("drop").unwrap();
        let mut sleep = Command::new("sleep");
        sleep.arg("60");
        let server = Server::start(sleep, &folder.path.join("log")).unwrap();
        let pid = server.pid();
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        drop(server);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn our_own_cpu_time_grows() {
        let me = [std::process::id()];
        let before = Usage::of(&me);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(60) {}
        assert!(Usage::of(&me).since(before).cpu_seconds > 0.0);
    }
}
