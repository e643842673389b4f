//! The servers of one upstream, as one configuration has them, and which of them may be used.

use std::sync::Arc;

use super::{
    server::{Load, Policy, Server, ServerState, Target},
    tls::{self, SystemRoots, UpstreamError},
};
use crate::{
    address::{Prefix, Validated},
    config::{self, ServerAddress, UpstreamTls},
};

/// The servers of one upstream, as one configuration has them.
///
/// Servers are addressed by their index: their place in the configuration.
pub(super) struct ServerSet {
    /// Without the servers, which are in `servers`.
    settings: config::Servers,
    /// They say what counts as a client.
    limits: config::Limits,
    servers: Vec<Arc<Server>>,
}

/// Which of an upstream's servers may be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    /// Those that are healthy: there is one at least.
    Healthy,
    /// Those that are not down: all of them are ejected. That they failed requests is no proof
    /// that they will fail the next, and refusing it would be one.
    AllEjected,
    /// None: health checks find every one down.
    AllDown,
}

/// Makes the sets of one configuration.
pub(super) struct Builder {
    limits: config::Limits,
    roots: SystemRoots,
}

impl Builder {
    /// For a configuration with these limits.
    pub(super) fn new(limits: config::Limits) -> Self {
        Self { limits, roots: SystemRoots::default() }
    }

    /// The servers of the upstream `name`. Reads the files of authorities and client certificates.
    ///
    /// Servers with the same address and TLS settings as in `before`, the same upstream in an earlier configuration,
    /// keep their state.
    ///
    /// # Errors
    ///
    /// A file cannot be used, or a server's name cannot be in a certificate.
    pub(super) fn build(
        &mut self,
        name: &Arc<str>,
        settings: &config::Servers,
        before: Option<&ServerSet>,
    ) -> Result<ServerSet, UpstreamError> {
        let uses_tls = settings.all.iter().any(|server| matches!(server.address, ServerAddress::Https(_)));
        let tls = if uses_tls { Some(tls::client(name, &settings.tls, &mut self.roots)?) } else { None };
        let policy = Policy::new(settings);
        let mut servers = Vec::with_capacity(settings.all.len());
        for server in &settings.all {
            let target = match (&server.address, &tls) {
                (ServerAddress::Unix(path), _) => Target::Unix(path.clone()),
                (ServerAddress::Https(authority), Some(tls)) => {
                    Target::Tls(tls.clone(), tls::server_name(name, &settings.tls, &authority.host)?)
                }
                _ => Target::Tcp,
            };
            let state = before.and_then(|before| before.same(&server.address, &settings.tls));
            let state = state.unwrap_or_else(|| Arc::new(ServerState::new(name.clone(), &server.address)));
            servers.push(Arc::new(Server::new(server, policy, target, state)));
        }
        let settings = config::Servers { all: Vec::new(), ..settings.clone() };
        Ok(ServerSet { settings, limits: self.limits, servers })
    }
}

impl ServerSet {
    /// What the configuration says of all of them; it says of each what is in [`servers`](Self::servers).
    pub(super) fn settings(&self) -> &config::Servers {
        &self.settings
    }

    /// In the order of the configuration.
    pub(super) fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// Which client an address counts as.
    pub(super) fn client(&self, address: Validated) -> Prefix {
        address.prefix(&self.limits)
    }

    /// Which servers may be used at `now`, on [`clock`](super::clock).
    pub(super) fn availability(&self, now: u64) -> Availability {
        if self.servers.iter().any(|server| server.is_healthy(now)) {
            Availability::Healthy
        } else if self.servers.iter().any(|server| !server.is_down()) {
            Availability::AllEjected
        } else {
            Availability::AllDown
        }
    }

    /// Requests and streams that the servers could take which may be used.
    pub(super) fn free(&self, availability: Availability, now: u64) -> u32 {
        let usable = self.servers.iter().filter(|server| availability.admits(server, now));
        usable.map(|server| server.free()).fold(0, u32::saturating_add)
    }

    /// The index of the server whose load it is, if it is one of these.
    pub(super) fn position(&self, load: &Arc<Load>) -> Option<usize> {
        self.servers.iter().position(|server| Arc::ptr_eq(server.load(), load))
    }

    fn same(&self, address: &ServerAddress, tls: &UpstreamTls) -> Option<Arc<ServerState>> {
        let same_tls = !matches!(address, ServerAddress::Https(_)) || self.settings.tls == *tls;
        let same = self.servers.iter().find(|server| server.address() == address && same_tls)?;
        Some(same.state().clone())
    }
}

impl Availability {
    /// Whether a server may be used, where its upstream stands so.
    pub(super) fn admits(self, server: &Server, now: u64) -> bool {
        match self {
            Self::Healthy => server.is_healthy(now),
            Self::AllEjected => !server.is_down(),
            Self::AllDown => false,
        }
    }
}
