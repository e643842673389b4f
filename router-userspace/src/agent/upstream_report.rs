//! What stands behind the listeners and on them, in the words of the control socket: servers, and
//! certificates.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{
    api::{Certificate, Health, Memory, UpstreamServer},
    node::Node,
};
use crate::{
    config::Listener,
    edge::{
        tls::Presented,
        upstream::{ServerHealth, ServerState},
    },
};

impl Node {
    /// The servers of all upstreams, as they are now.
    pub(super) fn upstream_servers(&self) -> Vec<UpstreamServer> {
        self.now().provision.origins.upstreams().states().into_iter().map(described).collect()
    }

    /// What requests make the node hold.
    pub(super) fn memory(&self) -> Memory {
        let now = self.now();
        let memory = now.provision.origins.memory();
        Memory { held: memory.held(), budget: memory.budget(), refused: memory.refused() }
    }

    /// What the listeners present.
    pub(super) fn presented_certificates(&self) -> Vec<Certificate> {
        let now = self.now();
        let of = |(listener, presented): (&Listener, &Vec<Presented>)| {
            let listener = listener.address;
            let certificate = move |one: &Presented| Certificate {
                listener,
                file: one.file.clone(),
                names: one.names.clone(),
                not_after: one.not_after,
            };
            presented.iter().map(certificate).collect::<Vec<_>>()
        };
        now.config.listeners.iter().zip(&now.provision.certificates).flat_map(of).collect()
    }
}

fn described(state: ServerState) -> UpstreamServer {
    let (health, seconds) = match state.health {
        ServerHealth::Up(seconds) => (Health::Up, seconds),
        ServerHealth::Down(seconds) => (Health::Down, seconds),
        ServerHealth::Ejected(seconds) => (Health::Ejected, seconds),
        ServerHealth::Warming(seconds) => (Health::Warming, seconds),
    };
    UpstreamServer {
        upstream: state.upstream,
        server: state.server,
        health,
        seconds,
        why: state.why,
        addresses: state.addresses,
        unresolved: state.unresolved,
        in_flight: state.in_flight.into(),
        queued: state.queued as u64,
        connections: state.connections.into(),
        requests_total: state.requests_total,
        failures_total: state.failures_total,
        weight: state.weight,
    }
}

/// What is wrong with them, one sentence each: an upstream without a server that is up, a
/// certificate that has expired.
pub(super) fn problems(servers: &[UpstreamServer], certificates: &[Certificate]) -> Vec<String> {
    let mut problems = Vec::new();
    for of_one in servers.chunk_by(|one, other| one.upstream == other.upstream) {
        if of_one.iter().all(|server| server.health == Health::Down) {
            let why = of_one.iter().find_map(|server| server.why.as_deref()).unwrap_or("nobody says why");
            problems.push(format!("upstream {}: every server is down: {why}", of_one[0].upstream));
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    for certificate in certificates {
        if let (Some(file), Some(not_after)) = (&certificate.file, certificate.not_after)
            && u64::try_from(not_after).unwrap_or(0) <= now
        {
            problems.push(format!("listener {}: certificate {} has expired", certificate.listener, file.display()));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(upstream: &str, health: Health) -> UpstreamServer {
        UpstreamServer {
            upstream: upstream.to_owned(),
            server: "http://a".to_owned(),
            health,
            seconds: 1,
            why: Some("refused".to_owned()),
            addresses: Vec::new(),
            unresolved: None,
            in_flight: 0,
            queued: 0,
            connections: 0,
            requests_total: 0,
            failures_total: 0,
            weight: 1,
        }
    }

    #[test]
    fn what_nobody_answers_is_a_problem() {
        let servers = [
            server("a", Health::Down),
            server("a", Health::Down),
            server("b", Health::Down),
            server("b", Health::Ejected),
        ];
        assert_eq!(problems(&servers, &[]), ["upstream a: every server is down: refused"]);
        let certificate = |not_after| Certificate {
            listener: "127.0.0.1:443".parse().expect("an address"),
            file: Some("/site.pem".into()),
            names: Vec::new(),
            not_after: Some(not_after),
        };
        let over = "listener 127.0.0.1:443: certificate /site.pem has expired";
        assert_eq!(problems(&[], &[certificate(1), certificate(i64::MAX)]), [over]);
    }
}
