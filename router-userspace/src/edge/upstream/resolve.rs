//! Names of servers to addresses, again whenever what was learnt has lived its time.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    system_conf::parse_resolv_conf,
};
use tokio::{net, time};
use tracing::{debug, info, warn};

use super::server::{Learnt, ServerState};
use crate::config::Authority;

/// The least and the most that an answer is believed for, whatever its TTL.
const BELIEVED_LEAST: Duration = Duration::from_secs(1);
const BELIEVED_MOST: Duration = Duration::from_secs(300);

/// When to ask again after no answer: at first, and doubled each time up to the last.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(60);

/// How long the system's own resolver is believed, which tells no TTL.
const BELIEVED_WITHOUT_TTL: Duration = Duration::from_secs(30);

/// The name servers that the system's configuration names, and from then on what it comes to name.
pub(super) struct Resolver {
    files: [PathBuf; 2],
    known: Mutex<Known>,
}

/// The configuration as it was last read.
struct Known {
    way: Arc<Way>,
    stamps: [Option<Stamp>; 2],
    looked: Instant,
}

/// What changes with a file.
type Stamp = (u64, u64, i64, i64);

/// How names are resolved.
enum Way {
    /// By these name servers, and `/etc/hosts`.
    Dns(Box<TokioResolver>, Vec<IpAddr>),
    /// By the C library, where that configuration cannot be read.
    System,
}

/// Where the system names its name servers, and names that need none.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// The files are looked at no more often than this.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl Resolver {
    /// As the system is configured.
    pub(super) fn new() -> Self {
        Self::of(FILES.map(PathBuf::from))
    }

    fn of(files: [PathBuf; 2]) -> Self {
        // Looked at first: what changes while they are read is read again.
        let stamps = stamps(&files);
        let way = Way::of(&files[0]).unwrap_or_else(|error| {
            warn!(%error, "/etc/resolv.conf cannot be used: names are resolved by the C library, without TTLs");
            Way::System
        });
        let known = Known { way: Arc::new(way), stamps, looked: Instant::now() };
        Self { files, known: Mutex::new(known) }
    }

    /// How names are resolved now (hickory-dns#1132: name servers that came later were never heard of).
    fn way(&self) -> Arc<Way> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.looked.elapsed() < CHECK_INTERVAL {
            return Arc::clone(&known.way);
        }
        known.looked = Instant::now();
        let stamps = stamps(&self.files);
        if stamps != known.stamps {
            known.stamps = stamps;
            match Way::of(&self.files[0]) {
                Ok(way) => {
                    info!(servers = ?way.servers(), "names are resolved by what the system says now");
                    known.way = Arc::new(way);
                }
                Err(error) => {
                    warn!(%error, "/etc/resolv.conf has changed and cannot be used: names are resolved as before")
                }
            }
        }
        Arc::clone(&known.way)
    }

    /// Waits after an answer that was no good, but not beyond a change of the configuration.
    async fn wait_to_retry(&self, wait: Duration) {
        let before = self.way();
        let until = Instant::now() + wait;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            time::sleep(left.min(CHECK_INTERVAL)).await;
            if !Arc::ptr_eq(&before, &self.way()) {
                return;
            }
        }
    }

    /// The addresses of `host`, and how long they may be believed.
    async fn lookup(&self, host: &str, port: u16) -> io::Result<(Vec<SocketAddr>, Duration)> {
        let (mut all, believed) = match &*self.way() {
            Way::Dns(resolver, _) => {
                let answer = resolver.lookup_ip(host).await.map_err(io::Error::other)?;
                let left = answer.valid_until().saturating_duration_since(Instant::now());
                (answer.iter().map(|ip| SocketAddr::new(ip, port)).collect(), left)
            }
            Way::System => (net::lookup_host((host, port)).await?.collect::<Vec<_>>(), BELIEVED_WITHOUT_TTL),
        };
        all.sort_unstable();
        all.dedup();
        match all.is_empty() {
            true => Err(io::Error::other("the name has no address")),
            false => Ok((all, believed.clamp(BELIEVED_LEAST, BELIEVED_MOST))),
        }
    }
}

impl Way {
    /// What a file in the format of `/etc/resolv.conf` says.
    fn of(file: &Path) -> io::Result<Self> {
        let (config, options) = parse_resolv_conf(fs::read(file)?).map_err(io::Error::other)?;
        Self::by(config, options)
    }

    fn by(config: ResolverConfig, mut options: ResolverOpts) -> io::Result<Self> {
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // Answers are kept here.
        options.cache_size = 0;
        let servers = config.name_servers().iter().map(|server| server.ip).collect();
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options).build().map_err(io::Error::other)?;
        Ok(Self::Dns(Box::new(resolver), servers))
    }

    fn servers(&self) -> &[IpAddr] {
        match self {
            Self::Dns(_, servers) => servers,
            Self::System => &[],
        }
    }
}

/// None of a file that is not there.
fn stamps(files: &[PathBuf; 2]) -> [Option<Stamp>; 2] {
    let stamp = |file: &PathBuf| {
        let is = fs::metadata(file).ok()?;
        Some((is.ino(), is.len(), is.mtime(), is.mtime_nsec()))
    };
    [stamp(&files[0]), stamp(&files[1])]
}

/// Keeps the addresses of the server at `authority` as the DNS has them, for as long as it is polled.
pub(super) async fn watch(server: &ServerState, authority: &Authority, resolver: &Resolver) {
    let mut retry = RETRY_FIRST;
    loop {
        match resolver.lookup(&authority.host, authority.port).await {
            Ok((all, believed)) => {
                retry = RETRY_FIRST;
                learn(server, &all);
                time::sleep(believed).await;
            }
            Err(error) => {
                fail(server, &error);
                resolver.wait_to_retry(retry).await;
                retry = (retry * 2).min(RETRY_LAST);
            }
        }
    }
}

fn learn(state: &ServerState, addresses: &[SocketAddr]) {
    let (upstream, server) = (state.upstream(), state.name());
    match state.addresses().learn(addresses) {
        Learnt::Nothing => {}
        Learnt::Addresses => debug!(%upstream, %server, ?addresses, "server's name is resolved"),
        Learnt::Recovered => info!(%upstream, %server, ?addresses, "server's name is resolved again"),
    }
}

fn fail(state: &ServerState, error: &io::Error) {
    if state.addresses().fail(&error.to_string()) {
        let (upstream, server, kept) = (state.upstream(), state.name(), state.addresses().now().all);
        warn!(%upstream, %server, %error, ?kept, "server's name cannot be resolved");
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
    use tokio::net::UdpSocket;

    use super::*;
    use crate::{config::ServerAddress, edge::upstream::server::Addresses};

    impl Resolver {
        /// Whatever the system says.
        fn always(way: Way) -> Self {
            let files = ["/nowhere/resolv.conf", "/nowhere/hosts"].map(PathBuf::from);
            let known = Known { way: Arc::new(way), stamps: [None; 2], looked: Instant::now() };
            Self { files, known: Mutex::new(known) }
        }

        /// As if they had not been looked at for long.
        fn servers_after_a_while(&self) -> Vec<IpAddr> {
            self.known.lock().unwrap().looked = Instant::now().checked_sub(CHECK_INTERVAL).unwrap();
            self.way().servers().to_vec()
        }
    }

    /// hickory-dns#1132
    #[test]
    fn name_servers_that_come_later_are_heard_of() {
        let folder = std::env::temp_dir().join(format!("quic-router-resolve-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let files = ["resolv.conf", "hosts"].map(|name| folder.join(name));
        let resolver = Resolver::of(files.clone());
        assert!(matches!(*resolver.way(), Way::System), "there is none yet");
        let servers = |last: &[u8]| last.iter().map(|last| IpAddr::from([192, 0, 2, *last])).collect::<Vec<_>>();
        for last in [&[1][..], &[1, 2], &[3]] {
            let lines: String = servers(last).iter().map(|server| format!("nameserver {server}\n")).collect();
            let new = folder.join("new");
            fs::write(&new, lines).unwrap();
            fs::rename(new, &files[0]).unwrap();
            assert_eq!(resolver.servers_after_a_while(), servers(last));
        }
        let before = resolver.way();
        assert_eq!(resolver.servers_after_a_while(), servers(&[3]));
        assert!(Arc::ptr_eq(&before, &resolver.way()), "read again without a change");
        fs::remove_file(&files[0]).unwrap();
        assert_eq!(resolver.servers_after_a_while(), servers(&[3]), "the last that could be used");
        fs::write(&files[0], "nameserver 192.0.2.4\n").unwrap();
        assert_eq!(resolver.servers_after_a_while(), servers(&[4]));
        fs::remove_dir_all(folder).unwrap();
    }

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
        let mut udp = ConnectionConfig::udp();
        udp.port = address.port();
        let server = NameServerConfig::new(address.ip(), true, vec![udp]);
        let mut options = ResolverOpts::default();
        options.attempts = 0;
        options.edns0 = false;
        options.timeout = Duration::from_secs(5);
        let way = Way::by(ResolverConfig::from_parts(None, Vec::new(), vec![server]), options).unwrap();
        Resolver::always(way)
    }

    /// A server that has to be looked up.
    fn named() -> (Authority, ServerState) {
        let authority = Authority { host: "name.test.".to_owned(), port: 80 };
        let state = ServerState::new("u".into(), &ServerAddress::Http(authority.clone()));
        (authority, state)
    }

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 80))
    }

    #[tokio::test]
    async fn a_name_is_asked_for_again_and_the_last_good_answer_is_kept() {
        let resolver = name_server(vec![Some([192, 0, 2, 1].into()), Some([192, 0, 2, 2].into()), None]).await;
        let (authority, server) = named();
        let mut seen = server.addresses().subscribe();
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
            () = watch(&server, &authority, &resolver) => unreachable!(),
            () = story => {}
        }
    }

    #[tokio::test]
    async fn a_name_without_an_answer_is_known_to_have_none() {
        let resolver = name_server(vec![]).await;
        let (authority, server) = named();
        let mut seen = server.addresses().subscribe();
        tokio::select! {
            () = watch(&server, &authority, &resolver) => unreachable!(),
            known = seen.wait_for(Addresses::are_known) => assert!(known.unwrap().all.is_empty()),
        }
    }

    #[tokio::test]
    async fn the_c_library_knows_localhost() {
        let (all, believed) = Resolver::always(Way::System).lookup("localhost", 80).await.unwrap();
        assert!(all.iter().all(|address| address.ip().is_loopback()), "{all:?}");
        assert_eq!(believed, BELIEVED_WITHOUT_TTL);
    }
}
