//! The nodes of `tercet up` while they run, and what `tercet ctl` may do to them.

use super::{NodePlan, Up};
use crate::connect::Client;
use crate::tryout::{Answer, Asked, Request};
use server::http::Serving;
use server::tryout::{Network, Switch, Tryout};
use server::{Handle, StartError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Requests are heard, and pauses end, as exactly as this.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A node that is killed ends behind what its disk is writing.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// A node that starts replays its log.
const SERVES_WITHIN: Duration = Duration::from_secs(30);

/// From a start to its end.
struct Life {
    thread: JoinHandle<Result<(), StartError>>,
    switch: Arc<Switch>,
    /// When a pause ends by itself.
    paused_until: Option<Instant>,
    _http: Serving,
}

pub struct Place {
    pub plan: NodePlan,
    life: Option<Life>,
    /// It is down because somebody wanted that, and can be started again.
    is_killed: bool,
}

pub struct Cluster {
    pub nodes: Vec<Place>,
    up: Up,
    network: Arc<Network>,
    stop: Arc<AtomicBool>,
    /// The first error that a node ended with.
    outcome: Result<(), StartError>,
}

impl Cluster {
    pub fn start(up: Up, stop: Arc<AtomicBool>) -> Result<Cluster, StartError> {
        let plans = up.plans()?;
        let network = Arc::new(Network::default());
        for ((a, b), rtt) in up.round_trips()? {
            let at = |site: String| plans.iter().filter(move |plan| plan.site == site);
            for (a, b) in at(a).flat_map(|a| at(b.clone()).map(move |b| (a, b))) {
                network.set_delay(&a.peer, &b.peer, rtt / 2);
            }
        }
        let nodes = plans.into_iter().map(|plan| Place { plan, life: None, is_killed: false }).collect();
        let mut cluster = Cluster { nodes, up, network, stop, outcome: Ok(()) };
        for n in 0..cluster.nodes.len() {
            if let Err(error) = cluster.begin(n) {
                cluster.stop.store(true, Ordering::Relaxed);
                return cluster.join().and(Err(error));
            }
        }
        Ok(cluster)
    }

    fn begin(&mut self, n: usize) -> Result<(), StartError> {
        let place = &mut self.nodes[n];
        let status = Arc::new(Mutex::new(server::Status::default()));
        let http = server::http::start(&place.plan.http, Arc::clone(&status))?;
        let switch = Arc::new(Switch::default());
        let tryout = Tryout { network: Arc::clone(&self.network), switch: Arc::clone(&switch) };
        let handle = Handle { stop: Arc::clone(&self.stop), status, tryout: Some(tryout) };
        let settings = self.up.settings(&place.plan)?;
        let thread = std::thread::Builder::new()
            .name(place.plan.name.clone())
            .spawn(move || server::run(settings, handle))
            .map_err(|error| StartError::new(error.to_string()))?;
        place.life = Some(Life { thread, switch, paused_until: None, _http: http });
        place.is_killed = false;
        Ok(())
    }

    pub fn has_one_ended(&self) -> bool {
        self.nodes.iter().any(|node| node.life.as_ref().is_none_or(|life| life.thread.is_finished()))
    }

    /// Waits for every node.
    pub fn join(mut self) -> Result<(), StartError> {
        for n in 0..self.nodes.len() {
            self.note_end(n);
        }
        self.outcome
    }

    /// Waits for the end of a node's life, and says how it ended.
    fn end(&mut self, n: usize) -> Result<(), StartError> {
        let place = &mut self.nodes[n];
        let Some(life) = place.life.take() else { return Ok(()) };
        let name = &place.plan.name;
        let panicked = |_| Err(StartError::new("it panicked"));
        let ended = life.thread.join().unwrap_or_else(panicked);
        ended.map_err(|error| StartError::new(format!("{name}: {error}")))
    }

    /// The first error that a node ends with by itself is the cluster's.
    fn note_end(&mut self, n: usize) {
        let ended = self.end(n);
        if self.outcome.is_ok() {
            self.outcome = ended;
        }
    }

    /// Does what is asked until the cluster ends: it is told to stop, or all of its nodes ended by themselves.
    pub fn serve(mut self, asked: &Receiver<Asked>) -> Result<(), StartError> {
        while !self.stop.load(Ordering::Relaxed)
            && self.nodes.iter().any(|it| it.life.is_some() || it.is_killed)
        {
            match asked.recv_timeout(LOOK_EVERY) {
                Ok((request, answer)) => {
                    let done = self.perform(request);
                    // Whoever asked may be gone: what was done shows.
                    let _ = answer.send(done);
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                // Without a socket nobody can ask.
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK_EVERY),
            }
            let now = Instant::now();
            for n in 0..self.nodes.len() {
                let Some(life) = &mut self.nodes[n].life else { continue };
                if life.paused_until.is_some_and(|until| until <= now) {
                    life.paused_until = None;
                    life.switch.resume();
                }
                if life.thread.is_finished() {
                    self.note_end(n);
                }
            }
        }
        self.join()
    }

    fn perform(&mut self, request: Request) -> Answer {
        match request {
            Request::Cut { a, b } => self.cut(&a, b.as_deref()),
            Request::Heal { a, b } => self.heal(a.as_deref(), b.as_deref()),
            Request::Kill { node } => self.kill(&node),
            Request::Pause { node, time } => self.pause(&node, time),
            Request::Resume { node } => self.resume(&node),
            Request::Start { node } => self.start_again(&node),
        }
    }

    fn node(&self, name: &str) -> Result<usize, String> {
        let names = || self.nodes.iter().map(|node| &node.plan.name[..]).collect::<Vec<_>>().join(", ");
        let found = self.nodes.iter().position(|node| node.plan.name == name);
        found.ok_or_else(|| format!("no node is called {name}: there are {}", names()))
    }

    /// The nodes at a site, or the one of that name.
    fn side(&self, name: &str) -> Result<Vec<usize>, String> {
        let at: Vec<usize> = (0..self.nodes.len()).filter(|n| self.nodes[*n].plan.site == name).collect();
        if !at.is_empty() && !name.is_empty() {
            return Ok(at);
        }
        let mut sites: Vec<&str> = self.nodes.iter().map(|node| &node.plan.site[..]).collect();
        sites.sort_unstable();
        sites.dedup();
        sites.retain(|site| !site.is_empty());
        let known = |error| {
            if sites.is_empty() { error } else { format!("{error}, at the sites {}", sites.join(", ")) }
        };
        self.node(name).map(|n| vec![n]).map_err(known)
    }

    /// Pairs of nodes with one on each side; without a second side everybody else is there.
    fn between(&self, a: &str, b: Option<&str>) -> Result<Vec<(usize, usize)>, String> {
        let one = self.side(a)?;
        let other = match b {
            Some(b) => self.side(b)?,
            None => (0..self.nodes.len()).filter(|n| !one.contains(n)).collect(),
        };
        let pairs = one.iter().flat_map(|a| other.iter().map(|b| (*a, *b)));
        let pairs: Vec<(usize, usize)> = pairs.filter(|(a, b)| a != b).collect();
        match pairs.is_empty() {
            true => Err("there is nothing between these: name two sites, or two nodes".into()),
            false => Ok(pairs),
        }
    }

    fn set_cut(&self, pairs: &[(usize, usize)], is_cut: bool) -> usize {
        let peer = |n: &usize| &self.nodes[*n].plan.peer[..];
        pairs.iter().filter(|(a, b)| self.network.set_cut(peer(a), peer(b), is_cut)).count()
    }

    fn cut(&self, a: &str, b: Option<&str>) -> Answer {
        let pairs = self.between(a, b)?;
        let other = b.unwrap_or("everybody else");
        match self.set_cut(&pairs, true) {
            0 => Err(format!("{a} and {other} do not hear each other already")),
            _ => Ok(format!("{a} and {other} no longer hear each other; `tercet ctl heal` ends it")),
        }
    }

    fn heal(&self, a: Option<&str>, b: Option<&str>) -> Answer {
        let pairs = match a {
            Some(a) => self.between(a, b)?,
            None => {
                let all = 0..self.nodes.len();
                all.clone().flat_map(|a| all.clone().map(move |b| (a, b))).filter(|(a, b)| a < b).collect()
            }
        };
        match self.set_cut(&pairs, false) {
            0 => Err("nothing was cut there".into()),
            _ => Ok("they hear each other again".into()),
        }
    }

    fn kill(&mut self, name: &str) -> Answer {
        let n = self.node(name)?;
        let Some(life) = &self.nodes[n].life else { return Err(format!("{name} does not run")) };
        life.switch.kill();
        self.nodes[n].is_killed = true;
        if !wait_for(ENDS_WITHIN, || self.nodes[n].life.as_ref().is_none_or(|life| life.thread.is_finished()))
        {
            return Err(format!("{name} is about to end: its disk is slow"));
        }
        self.note_end(n);
        Ok(format!("{name} was killed; `tercet ctl start {name}` brings it back"))
    }

    fn pause(&mut self, name: &str, time: Option<Duration>) -> Answer {
        let n = self.node(name)?;
        let Some(life) = &mut self.nodes[n].life else { return Err(format!("{name} does not run")) };
        life.paused_until = time.and_then(|time| Instant::now().checked_add(time));
        life.switch.pause();
        Ok(match time {
            Some(time) => format!("{name} is paused for {} s", time.as_secs_f64()),
            None => format!("{name} is paused; `tercet ctl resume {name}` ends it"),
        })
    }

    fn resume(&mut self, name: &str) -> Answer {
        let n = self.node(name)?;
        match &mut self.nodes[n].life {
            Some(life) if life.switch.is_paused() => {
                life.paused_until = None;
                life.switch.resume();
                Ok(format!("{name} goes on"))
            }
            Some(_) => Err(format!("{name} is not paused")),
            None => Err(format!("{name} does not run: `tercet ctl start {name}`")),
        }
    }

    fn start_again(&mut self, name: &str) -> Answer {
        let n = self.node(name)?;
        match &self.nodes[n].life {
            Some(life) if life.switch.is_paused() => {
                return Err(format!("{name} is paused: `tercet ctl resume {name}`"));
            }
            Some(_) => return Err(format!("{name} runs already")),
            None => self.begin(n).map_err(|error| error.to_string())?,
        }
        let resp = self.nodes[n].plan.resp.clone();
        let has_ended = || self.nodes[n].life.as_ref().is_none_or(|life| life.thread.is_finished());
        let answers = || Client::connect(&resp).and_then(|mut client| client.call(&["PING"])).is_ok();
        if !wait_for(SERVES_WITHIN, || has_ended() || answers()) {
            return Err(format!("{name} was started and does not answer yet"));
        }
        if has_ended() {
            self.nodes[n].is_killed = true;
            let why = self.end(n).err().map_or_else(String::new, |error| error.to_string());
            return Err(format!("it did not start: {why}"));
        }
        Ok(format!("{name} runs again"))
    }
}

fn wait_for(at_most: Duration, mut happens: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + at_most;
    loop {
        if happens() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
