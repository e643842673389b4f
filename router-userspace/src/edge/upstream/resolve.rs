//! Names of servers to addresses, again whenever what was learnt has lived its time.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hickory_resolver::{TokioResolver, config::LookupIpStrategy};
use tokio::{net, time};
use tracing::{debug, info, warn};

use super::server::State;

/// The least and the most that an answer is believed for, whatever its TTL.
const BELIEVED_LEAST: Duration = Duration::from_secs(1);
const BELIEVED_MOST: Duration = Duration::from_secs(300);

/// When to ask again after no answer: at first, and doubled each time up to the last.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(60);

/// How long the system's own resolver is believed, which tells no TTL.
const BELIEVED_WITHOUT_TTL: Duration = Duration::from_secs(30);

/// What is known of where a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    /// The last good answer's; empty before the first.
    pub(super) all: Arc<[SocketAddr]>,
    /// Why the last question had no good answer.
    pub(super) trouble: Option<Arc<str>>,
}

impl Addresses {
    /// Of a server that needs no resolver.
    pub(super) fn fixed(address: SocketAddr) -> Self {
        Self { all: Arc::new([address]), trouble: None }
    }

    /// Whether there is an answer, good or not.
    pub(super) fn are_known(&self) -> bool {
        !self.all.is_empty() || self.trouble.is_some()
    }
}

/// Who is asked.
pub(super) enum Resolver {
    /// The servers of `/etc/resolv.conf`, and `/etc/hosts`.
    Dns(Box<TokioResolver>),
    /// The C library, where that configuration cannot be read.
    System,
}

impl Resolver {
    /// As the system is configured.
    pub(super) fn new() -> Self {
        match TokioResolver::builder_tokio() {
            Ok(mut builder) => {
                let options = builder.options_mut();
                options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
                // Answers are kept here.
                options.cache_size = 0;
                Self::Dns(Box::new(builder.build()))
            }
            Err(error) => {
                warn!(%error, "/etc/resolv.conf cannot be used: names are resolved by the C library, without TTLs");
                Self::System
            }
        }
    }

    /// The addresses of `host`, and how long they may be believed.
    async fn lookup(&self, host: &str, port: u16) -> io::Result<(Vec<SocketAddr>, Duration)> {
        let (mut all, believed) = match self {
            Self::Dns(resolver) => {
                let answer = resolver.lookup_ip(host).await.map_err(io::Error::other)?;
                let left = answer.valid_until().saturating_duration_since(std::time::Instant::now());
                (answer.iter().map(|ip| SocketAddr::new(ip, port)).collect(), left)
            }
            Self::System => (net::lookup_host((host, port)).await?.collect::<Vec<_>>(), BELIEVED_WITHOUT_TTL),
        };
        all.sort_unstable();
        all.dedup();
        match all.is_empty() {
            true => Err(io::Error::other("the name has no address")),
            false => Ok((all, believed.clamp(BELIEVED_LEAST, BELIEVED_MOST))),
        }
    }
}

/// Keeps the addresses of `state` as the DNS has them, for as long as it is polled.
pub(super) async fn watch(state: Arc<State>, host: &str, port: u16, resolver: &Resolver) {
    let mut retry = RETRY_FIRST;
    loop {
        let wait = match resolver.lookup(host, port).await {
            Ok((all, believed)) => {
                retry = RETRY_FIRST;
                learn(&state, all);
                believed
            }
            Err(error) => {
                lament(&state, &error);
                let wait = retry;
                retry = (retry * 2).min(RETRY_LAST);
                wait
            }
        };
        time::sleep(wait).await;
    }
}

fn learn(state: &State, all: Vec<SocketAddr>) {
    let addresses = Addresses { all: all.into(), trouble: None };
    let (upstream, server) = (&state.upstream, &state.name);
    state.addresses.send_if_modified(|known| {
        if known.trouble.is_some() {
            info!(%upstream, %server, addresses = ?addresses.all, "server's name is resolved again");
        } else if *known != addresses {
            debug!(%upstream, %server, addresses = ?addresses.all, "server's name is resolved");
        }
        let changed = *known != addresses;
        *known = addresses;
        changed
    });
}

fn lament(state: &State, error: &io::Error) {
    let (upstream, server) = (&state.upstream, &state.name);
    state.addresses.send_modify(|known| {
        if known.trouble.is_none() {
            warn!(%upstream, %server, %error, kept = ?known.all, "server's name cannot be resolved");
        }
        known.trouble = Some(error.to_string().into());
    });
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::{
        config::{NameServerConfig, ResolverConfig},
        name_server::TokioConnectionProvider,
        proto::xfer::Protocol,
    };
    use tokio::net::UdpSocket;

    use super::*;

    /// A name server that gives these answers, one a question for an IPv4 address, then none;
    /// of IPv6 it has nothing.
    async fn name_server(answers: Vec<Option<Ipv4Addr>>) -> Resolver {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            let mut query = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut query).await {
                let question = query[12..length].iter().position(|&octet| octet == 0).unwrap() + 5;
                let for_ipv4 = query[12 + question - 3] == 1;
                let answer = if for_ipv4 { answers.next().flatten() } else { None };
                let failed = for_ipv4 && answer.is_none();
                // A response to the same question: SERVFAIL, or with what answers there are.
                let mut response = query[..2].to_vec();
                response.extend_from_slice(&[0x81, if failed { 0x82 } else { 0x80 }, 0, 1, 0]);
                response.extend_from_slice(&[u8::from(answer.is_some()), 0, 0, 0, 0]);
                response.extend_from_slice(&query[12..12 + question]);
                if let Some(answer) = answer {
                    // The name above, A, IN, a TTL of no time, four octets.
                    response.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                    response.extend_from_slice(&answer.octets());
                }
                socket.send_to(&response, client).await.unwrap();
            }
        });
        let mut config = ResolverConfig::new();
        config.add_name_server(NameServerConfig::new(address, Protocol::Udp));
        let mut builder = TokioResolver::builder_with_config(config, TokioConnectionProvider::default());
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.cache_size = 0;
        options.attempts = 0;
        options.edns0 = false;
        options.timeout = Duration::from_secs(5);
        Resolver::Dns(Box::new(builder.build()))
    }

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 80))
    }

    #[tokio::test]
    async fn a_name_is_asked_for_again_and_the_last_good_answer_is_kept() {
        let resolver = name_server(vec![Some([192, 0, 2, 1].into()), Some([192, 0, 2, 2].into()), None]).await;
        let state = State::new("u".into(), "http://name.test".into(), Arc::default(), Addresses::default());
        let state = Arc::new(state);
        let mut seen = state.addresses.subscribe();
        let story = async {
            let first = seen.wait_for(Addresses::are_known).await.unwrap().clone();
            assert_eq!(first, Addresses::fixed(at(1)));
            let second = seen.wait_for(|now| *now != first).await.unwrap().clone();
            assert_eq!(second, Addresses::fixed(at(2)));
            let third = seen.wait_for(|now| *now != second).await.unwrap().clone();
            assert_eq!(third.all[..], [at(2)]);
            assert!(third.trouble.is_some(), "{third:?}");
        };
        tokio::select! {
            () = watch(state.clone(), "name.test.", 80, &resolver) => unreachable!(),
            () = story => {}
        }
    }

    #[tokio::test]
    async fn a_name_without_an_answer_is_known_to_have_none() {
        let resolver = name_server(vec![]).await;
        let state = State::new("u".into(), "http://name.test".into(), Arc::default(), Addresses::default());
        let state = Arc::new(state);
        let mut seen = state.addresses.subscribe();
        tokio::select! {
            () = watch(state.clone(), "name.test.", 80, &resolver) => unreachable!(),
            known = seen.wait_for(Addresses::are_known) => assert!(known.unwrap().all.is_empty()),
        }
    }

    #[tokio::test]
    async fn the_c_library_knows_localhost() {
        let (all, believed) = Resolver::System.lookup("localhost", 80).await.unwrap();
        assert!(all.iter().all(|address| address.ip().is_loopback()), "{all:?}");
        assert_eq!(believed, BELIEVED_WITHOUT_TTL);
    }
}
