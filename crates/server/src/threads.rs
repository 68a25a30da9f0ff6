//! What threads beside the core are told.

/// Lets everybody else go first: for work that nobody waits for. Where the system refuses, it is only less polite.
pub fn yield_to_others() {
    const NICENESS: libc::c_int = 10;
    // SAFETY: plain integers; 0 names the calling thread, whose niceness Linux keeps by thread.
    #[cfg(target_os = "linux")]
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}
