//! What threads beside the core are told.

/// Work beside the one that clients wait for.
#[derive(Clone, Copy)]
pub enum Background {
    /// Somebody will wait for it if it takes too long: segments of the log.
    Soon,
    /// Nobody waits for it.
    Whenever,
}

/// Lets everybody else go first. Measured: a thread that writes a megabyte of zeros holds up one that just became ready for
/// some 3 ms, unless it is nicer. Where the system refuses, it is only less polite.
pub fn yield_to_others(work: Background) {
    let niceness: libc::c_int = match work {
        Background::Soon => 5,
        Background::Whenever => 10,
    };
    // SAFETY: plain integers; 0 names the calling thread, whose niceness Linux keeps by thread.
    #[cfg(target_os = "linux")]
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) };
}
