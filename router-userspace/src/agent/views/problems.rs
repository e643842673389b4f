//! What is wrong, or worse than was asked for, one sentence each.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    agent::{
        api::{Certificate, Health, UpstreamServer},
        observe::Observed,
    },
    worker::udp,
};

/// All of it.
pub(super) fn problems(observed: &Observed) -> Vec<String> {
    let dead = observed.workers.iter().filter(|worker| !worker.is_running && !worker.is_stopping);
    let dead = dead.map(|worker| format!("worker {} has ended: its connections are lost", worker.slot));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    dead.chain(observed.troubles.iter().cloned())
        .chain(of_upstreams(&observed.upstreams))
        .chain(of_certificates(&observed.certificates, now))
        .chain(of_sockets(observed))
        .collect()
}

/// An upstream without a server that is up.
fn of_upstreams(servers: &[UpstreamServer]) -> impl Iterator<Item = String> {
    let upstreams = servers.chunk_by(|one, other| one.upstream == other.upstream);
    upstreams.filter(|servers| servers.iter().all(|server| server.health == Health::Down)).map(|servers| {
        let why = servers.iter().find_map(|server| server.why.as_deref()).unwrap_or("no reason is known");
        format!("upstream {}: every server is down: {why}", servers[0].upstream)
    })
}

/// A certificate that has expired by `now`, in seconds since 1970.
fn of_certificates(certificates: &[Certificate], now: u64) -> impl Iterator<Item = String> {
    certificates.iter().filter_map(move |certificate| {
        let (file, not_after) = (certificate.file.as_ref()?, certificate.not_after?);
        let has_expired = u64::try_from(not_after).unwrap_or(0) <= now;
        let (listener, file) = (certificate.listener, file.display());
        has_expired.then(|| format!("listener {listener}: certificate {file} has expired"))
    })
}

/// A receive buffer that the kernel made smaller than it was asked for.
fn of_sockets(observed: &Observed) -> impl Iterator<Item = String> {
    // The kernel reports twice what it was asked for.
    let small = observed.sockets.iter().filter(|socket| socket.receive_buffer < 2 * udp::RECEIVE_BUFFER as u64);
    small.map(|socket| {
        format!(
            "slot {}: receive buffer is {} bytes, not {}: raise net.core.rmem_max or grant CAP_NET_ADMIN",
            socket.slot,
            socket.receive_buffer / 2,
            udp::RECEIVE_BUFFER
        )
    })
}
