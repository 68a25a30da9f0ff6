//! How a leader is taken away.

use std::time::Duration;

use clap::ValueEnum;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Fault {
    /// SIGKILL, then start again.
    Kill,
    /// SIGSTOP, then SIGCONT.
    Stop,
    /// No packet between it and the other nodes; clients reach all of them.
    Cut,
    /// Each of its flushes takes a third of a second longer.
    SlowDisk,
    /// Its disk has no room left; with room again it is started again.
    FullDisk,
    /// Another node is asked to lead: nothing is wrong.
    Switchover,
    /// Every node in turn, killed and started with another message version: up, and back again.
    Upgrade,
}

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Stop => "stop",
            Fault::Cut => "cut",
            Fault::SlowDisk => "slow-disk",
            Fault::FullDisk => "full-disk",
            Fault::Switchover => "switchover",
            Fault::Upgrade => "upgrade",
        }
    }

    /// From its beginning to its end, at least.
    pub fn lasts(self) -> Duration {
        match self {
            Fault::Kill => Duration::from_millis(300),
            Fault::Stop => Duration::from_secs(5),
            Fault::Cut => Duration::from_secs(4),
            Fault::SlowDisk => Duration::from_secs(3),
            Fault::FullDisk => Duration::from_secs(2),
            Fault::Switchover | Fault::Upgrade => Duration::ZERO,
        }
    }

    /// Whether somebody else must take over at once: the outage then says something about elections.
    pub fn takes_the_process(self) -> bool {
        matches!(self, Fault::Kill | Fault::Stop | Fault::Upgrade)
    }
}
