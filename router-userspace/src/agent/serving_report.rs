//! Listeners, their certificates and the servers behind them, as the control socket reports them.

use super::{
    api::{Certificate, CertificateSource, Health, Listener, ListenerState, Memory, UpstreamServer},
    plan::Numbered,
    provision::Provision,
    serving::Serving,
};
use crate::{
    config::{Certificates, Config},
    edge::{
        tls::Presented,
        upstream::{ServerHealth, ServerReport},
    },
};

/// The servers of all upstreams, as they are now.
pub(super) fn upstream_servers(provision: &Provision) -> Vec<UpstreamServer> {
    provision.origins.upstreams().states().into_iter().map(described).collect()
}

/// What requests make the node hold.
pub(super) fn memory(provision: &Provision) -> Memory {
    let memory = provision.origins.memory();
    Memory { held: memory.held(), budget: memory.budget(), refused: memory.refused() }
}

/// What the listeners of `config` present.
pub(super) fn certificates(config: &Config, provision: &Provision) -> Vec<Certificate> {
    let of = |(listener, presented): (&crate::config::Listener, &Vec<Presented>)| {
        let listener = listener.address;
        let certificate = move |one: &Presented| Certificate {
            listener,
            file: one.file.clone(),
            names: one.names.clone(),
            not_after: one.not_after,
        };
        presented.iter().map(certificate).collect::<Vec<_>>()
    };
    config.listeners.iter().zip(&provision.certificates).flat_map(of).collect()
}

/// The listeners, those last that close.
pub(super) fn listeners(serving: &Serving) -> Vec<Listener> {
    let listener = |Numbered { id, listener }: &Numbered, state| Listener {
        id: id.get(),
        address: listener.address,
        certificates: match listener.certificates {
            Certificates::Files(_) => CertificateSource::Files,
            Certificates::SelfSigned => CertificateSource::SelfSigned,
        },
        state,
    };
    let (open, closing) = (serving.listeners(), serving.closing());
    let open = open.iter().map(|one| listener(one, ListenerState::Open));
    open.chain(closing.iter().map(|one| listener(one, ListenerState::Closing))).collect()
}

fn described(state: ServerReport) -> UpstreamServer {
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
