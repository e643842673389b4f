//! What answers requests behind us: named sets of equivalent servers.
//!
//! | whose | what | where |
//! |---|---|---|
//! | the node's | health, addresses, load and counters of each server | [`Upstreams`], `server`, `queue` |
//! | a worker's | connections, and whose turn it is | [`Clients`], `pool`, `balance` |
//! | a request's | its server, its connection, its second attempt | `exchange`, `body` |
//!
//! A request chooses among the servers that are healthy and have room (`balance`), waits if none
//! has (`queue`), takes an idle connection or opens one (`pool`, `connect`), and is sent. Its
//! place and its connection are free again when the response's body has ended (`body`).

mod balance;
mod body;
mod clock;
mod connect;
mod exchange;
mod failure;
mod head;
mod health;
mod http1;
mod pool;
mod proxy_protocol;
mod queue;
mod resolve;
mod server;
mod share;
mod state;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures_util::future::{Either, join_all};
use http::{HeaderValue, uri};

pub use self::state::{ServerHealth, ServerState};
use self::{
    balance::Chooser,
    connect::Target,
    pool::{Member, Pool},
    queue::Queue,
    resolve::{Addresses, Resolver},
    server::{Server, Set, State},
    tls::SystemRoots,
};
pub(in crate::edge) use self::{
    body::{Forwarded, ResponseBody, ResponseError},
    connect::Stream,
    exchange::{Exchanged, Failed, Upstream},
};
#[cfg(test)]
use self::{
    connect::{ConnectError, NoPlace},
    failure::Failure,
};
use super::http::body::RequestBody;
use crate::config::{self, Config, ServerAddress, UpstreamTls, certificates::CertificateError};

/// What is known of all servers, the node over: one per configuration in force.
///
/// [`watch`](Self::watch) keeps it up to date.
pub struct Upstreams {
    sets: BTreeMap<Arc<str>, Arc<Set>>,
}

/// Why the servers of an upstream cannot be spoken to. Names the upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Names the file.
    #[error("upstream {upstream}: {source}")]
    Certificate {
        /// Its name.
        upstream: String,
        /// The file, and what is wrong with it.
        source: CertificateError,
    },
    /// Nobody to trust.
    #[error("upstream {upstream}: the system's authorities cannot be read ({why}): name a file with tls.ca")]
    NoAuthorities {
        /// Its name.
        upstream: String,
        /// What the search met first.
        why: String,
    },
    /// Nothing that could be in a certificate.
    #[error("upstream {upstream}: \"{name}\" is no name for a certificate: give one with tls.name")]
    Name {
        /// Its name.
        upstream: String,
        /// What was to be in the certificate.
        name: String,
    },
    /// The TLS library refuses.
    #[error("upstream {upstream}: TLS cannot be set up: {source}")]
    Tls {
        /// Its name.
        upstream: String,
        /// The library's reason.
        source: rustls::Error,
    },
}

impl Upstreams {
    /// Those of `config`. Reads the files of authorities and client certificates.
    ///
    /// Servers with the same upstream's name, address and TLS settings as `before` keep their
    /// state: health, addresses, load, counters, and who waits for them.
    pub fn new(config: &Config, before: Option<&Self>) -> Result<Self, UpstreamError> {
        let mut system = SystemRoots::default();
        let mut sets = BTreeMap::new();
        for (name, upstream) in &config.upstreams {
            let config::Upstream::Servers(settings) = upstream else { continue };
            let before = before.and_then(|before| before.sets.get(name)).map(|set| &**set);
            sets.insert(name.clone(), Arc::new(Set::new(name, (settings, config.limits), before, &mut system)?));
        }
        Ok(Self { sets })
    }

    /// Resolves the servers' names whenever their TTL is over, and asks after their health, for as
    /// long as it is polled: it never ends of itself. Within a tokio runtime.
    pub async fn watch(self: Arc<Self>) {
        let resolver = Resolver::new();
        let servers = || self.sets.values().flat_map(|set| (0..set.servers.len()).map(move |index| (set, index)));
        let resolved = servers().filter_map(|(set, index)| {
            let authority = authority(&set.settings.all[index].address)?;
            let named = authority.host.parse::<IpAddr>().is_err();
            named.then(|| (set.servers[index].state.clone(), authority))
        });
        let resolved = resolved
            .map(|(state, authority)| Either::Left(resolve::watch(state, &authority.host, authority.port, &resolver)));
        let asked = servers().filter_map(|(set, index)| Some((set, index, set.settings.health.as_ref()?)));
        let asked = asked.map(|(set, index, health)| Either::Right(health::watch(set.clone(), index, health)));
        join_all(resolved.chain(asked)).await;
        std::future::pending().await
    }

    /// Every server and how it is, in the order of the names and of the file.
    pub fn states(&self) -> Vec<ServerState> {
        let now = clock::now();
        let of = |(name, set): (&Arc<str>, &Arc<Set>)| -> Vec<_> {
            (0..set.servers.len()).map(|index| ServerState::of(name, set, index, now)).collect()
        };
        self.sets.iter().flat_map(of).collect()
    }
}

impl Set {
    fn new(
        name: &Arc<str>,
        (settings, limits): (&config::Servers, config::Limits),
        before: Option<&Self>,
        system: &mut SystemRoots,
    ) -> Result<Self, UpstreamError> {
        let queue = before.map_or_else(Arc::<Queue>::default, |before| before.queue.clone());
        let uses_tls = settings.all.iter().any(|server| matches!(server.address, ServerAddress::Https(_)));
        let tls = if uses_tls { Some(tls::client(name, &settings.tls, system)?) } else { None };
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
            let state = state.unwrap_or_else(|| Arc::new(new_state(name, &server.address, &queue)));
            let (host, authority) = host(&server.address);
            let key = balance::key(server.address.to_string().as_bytes());
            servers.push(Server { state, target, weight: server.weight, key, host, authority });
        }
        Ok(Self { settings: settings.clone(), limits, servers, queue })
    }

    fn same(&self, address: &ServerAddress, tls: &UpstreamTls) -> Option<Arc<State>> {
        let same_tls = !matches!(address, ServerAddress::Https(_)) || self.settings.tls == *tls;
        let at = self.settings.all.iter().position(|server| server.address == *address && same_tls)?;
        Some(self.servers[at].state.clone())
    }
}

fn new_state(upstream: &Arc<str>, address: &ServerAddress, queue: &Arc<Queue>) -> State {
    let fixed = authority(address).and_then(|authority| {
        let ip = authority.host.parse().ok()?;
        Some(Addresses::fixed(SocketAddr::new(ip, authority.port)))
    });
    State::new(upstream.clone(), address.to_string().into(), queue.clone(), fixed.unwrap_or_default())
}

fn authority(address: &ServerAddress) -> Option<&config::Authority> {
    match address {
        ServerAddress::Http(authority)
        | ServerAddress::Https(authority)
        | ServerAddress::H2c(authority)
        | ServerAddress::Tcp(authority) => Some(authority),
        ServerAddress::Unix(_) => None,
    }
}

/// What a server calls itself: a Unix socket's is `localhost`, as any that isn't a valid one.
fn host(address: &ServerAddress) -> (HeaderValue, uri::Authority) {
    let text = authority(address).map_or_else(|| "localhost".to_owned(), ToString::to_string);
    match (HeaderValue::from_str(&text), uri::Authority::try_from(text)) {
        (Ok(host), Ok(authority)) => (host, authority),
        _ => (HeaderValue::from_static("localhost"), uri::Authority::from_static("localhost")),
    }
}

/// One worker's connections to all upstreams.
pub(in crate::edge) struct Clients<B: Forwarded = RequestBody> {
    by_name: BTreeMap<Arc<str>, Arc<Upstream<B>>>,
}

impl<B: Forwarded> Clients<B> {
    /// For `upstreams`. The connections to servers that were the same `before` are kept.
    pub(in crate::edge) fn new(upstreams: &Upstreams, before: Option<&Self>) -> Self {
        let upstream = |(name, set): (&Arc<str>, &Arc<Set>)| {
            let before = before.and_then(|before| before.by_name.get(name));
            (name.clone(), Arc::new(Upstream::new(set, before.map(|before| &**before))))
        };
        Self { by_name: upstreams.sets.iter().map(upstream).collect() }
    }

    /// The upstream of that name, if it is one of servers.
    pub(in crate::edge) fn get(&self, name: &str) -> Option<Arc<Upstream<B>>> {
        self.by_name.get(name).cloned()
    }
}

impl<B: Forwarded> Upstream<B> {
    fn new(set: &Arc<Set>, before: Option<&Self>) -> Self {
        let pool = |index: usize| -> Option<Arc<Pool<B>>> {
            let before = before?;
            let was = before.set.position(&set.servers[index].state)?;
            Some(before.members[was].pool.clone())
        };
        let member = |index| Arc::new(Member { set: set.clone(), index, pool: pool(index).unwrap_or_default() });
        let count = set.servers.len();
        Self {
            set: set.clone(),
            members: (0..count).map(member).collect(),
            chooser: Chooser::new(set.settings.balance, count),
        }
    }
}
