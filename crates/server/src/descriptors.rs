//! File descriptors: what the system allows, divided so that clients never take what log, snapshots and peers need
//! (bugs: X-07).

/// Kept for the log's segments, snapshots, links in both directions, connections that are being refused.
const RESERVED: u64 = 128;
/// More is not asked for, whatever the system would allow.
const WANTED_MAX: u64 = 1 << 20;

/// Raises this process's limit as far as it may, then says how many of `wanted` clients it can serve.
pub fn clients_served(wanted: usize) -> usize {
    let served = within(wanted, raised_limit());
    if served < wanted {
        eprintln!("maxclients is {served}, not {wanted}: raise the limit of open files (ulimit -n) for more");
    }
    served
}

fn within(wanted: usize, limit: u64) -> usize {
    // With a very low limit half of it is the clients' all the same: a node that serves nobody is no use.
    let room = limit.saturating_sub(RESERVED).max(limit / 2);
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX))
}

fn raised_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives both calls, which touch nothing else.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return u64::MAX;
        }
        let raised = libc::rlimit { rlim_cur: limit.rlim_max.min(WANTED_MAX).max(limit.rlim_cur), ..limit };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 {
            limit = raised;
        }
    }
    limit.rlim_cur
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_room_for_what_the_node_needs() {
        for (wanted, limit, served) in [
            (10_000, u64::MAX, 10_000),
            (10_000, 10_128, 10_000),
            (10_000, 10_127, 9_999),
            (10_000, 1_024, 896),
            (10_000, 200, 100),
            (100, 1_024, 100),
        ] {
            assert_eq!(within(wanted, limit), served, "{wanted} of {limit}");
        }
    }
}
