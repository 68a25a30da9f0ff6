//! The clocks of this machine: monotonic time that runs while it sleeps, wall time as an interval.

use data::{Instant, Now, WallInterval};

/// Half the width of the wall interval when nobody tells how good the clock is. A guess: what an unsynchronised machine
/// drifts in an hour.
const WALL_ERROR_MS: i64 = 50;

fn read(clock: libc::clockid_t) -> (i64, i64) {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call, which writes nothing else.
    unsafe { libc::clock_gettime(clock, &mut time) };
    (time.tv_sec, time.tv_nsec)
}

/// The time now.
pub fn now() -> Now {
    let (seconds, nanos) = read(libc::CLOCK_BOOTTIME);
    let (wall_seconds, wall_nanos) = read(libc::CLOCK_REALTIME);
    let wall_ms = wall_seconds * 1000 + wall_nanos / 1_000_000;
    Now {
        instant: Instant(seconds as u64 * 1_000_000_000 + nanos as u64),
        wall: WallInterval { earliest_ms: wall_ms - WALL_ERROR_MS, latest_ms: wall_ms + WALL_ERROR_MS },
    }
}

/// Bits from the operating system: seeds, nonces.
pub fn entropy<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    // SAFETY: the buffer is N bytes long; up to 256 bytes are given whole.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    bytes
}

pub fn random_u64() -> u64 {
    u64::from_le_bytes(entropy())
}
