//! The clock that the kernel programs, the agent and the workers share.

use std::{fs, sync::LazyLock};

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC, the clock of the maps: the host's, also in a time namespace
/// (`time_namespaces(7)`), where this process' own is ahead or behind.
pub(crate) fn monotonic_now() -> u64 {
    static AHEAD: LazyLock<i64> =
        LazyLock::new(|| fs::read_to_string("/proc/self/timens_offsets").map_or(0, |text| ahead(&text)));
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64);
    now.saturating_add_signed(-*AHEAD)
}

/// How far a time namespace is ahead of the host, in nanoseconds.
fn ahead(offsets: &str) -> i64 {
    let of_monotonic = offsets.lines().find_map(|line| {
        let [clock, seconds, nanoseconds] = line.split_whitespace().collect::<Vec<_>>().try_into().ok()?;
        matches!(clock, "monotonic" | "1").then_some((seconds, nanoseconds))
    });
    let number = |text: &str| text.parse::<i64>().unwrap_or(0);
    of_monotonic.map_or(0, |(seconds, nanoseconds)| number(seconds) * 1_000_000_000 + number(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flows in use had been swept as idle (ANOLISA#3121).
    #[test]
    fn a_time_namespace_is_ahead_or_behind() {
        assert_eq!(ahead("monotonic           0         0\nboottime            0         0\n"), 0);
        assert_eq!(ahead("monotonic      172800         5\nboottime            0         0\n"), 172_800_000_000_005);
        assert_eq!(ahead("monotonic         -10         0\nboottime            7         0\n"), -10_000_000_000);
        assert_eq!(ahead(""), 0);
    }
}
