//! Servers that are as bad as a script says, and write down what came of it.
//!
//! A script is a list of [`Act`]s; the last word of a request's path names it. `http1` plays scripts octet for octet,
//! in clear or in TLS; `http2` plays the same ones in frames. A request for [`GOOD`] is answered well.

use std::{
    io,
    net::TcpListener,
    os::fd::AsRawFd,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::socket::{Shutdown, shutdown};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{sync::watch, time::timeout};

use super::{Home, Lab, Running, netns::Namespace, topology::UPSTREAM4};

mod http1;
mod http2;

/// What a server does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// HTTP/1.1: these octets.
    Say(&'static str),
    /// So many fields, each with so many octets; over HTTP/2 they come with the next head.
    Fields(usize, usize),
    /// HTTP/2: a response's head, with these fields.
    Head(&'static str, &'static [(&'static str, &'static str)]),
    /// HTTP/2: these octets of its body.
    Data(&'static str),
    /// HTTP/2: fields behind the body; the stream's end.
    Trailers(&'static [(&'static str, &'static str)]),
    /// HTTP/2: the stream's end.
    End,
    /// HTTP/2: RST_STREAM with this code. HTTP/1.1: a TCP reset.
    Reset(u32),
    /// Reads all of the request's body.
    Take,
    /// Reads the request's body up to so many octets.
    TakeSome(usize),
    /// Nothing more, until the router gives up the connection (HTTP/2: the stream).
    Wait,
    /// Octets of a body, as fast as they are taken, until the router gives up.
    Pour,
    /// Says that it will send no more; the other direction stays open.
    HalfClose,
    /// Closes the connection as it should be; over HTTP/2, without a word.
    Close,
    /// Closes the connection, in TLS without saying so: what an attacker on the way can do.
    Cut,
    /// Closes the connection unless this request is the first on it.
    CloseUnlessFirst,
    /// HTTP/2: GOAWAY, after which the streams that have begun go on.
    GoAway,
    /// Waits until the exchanges of all other scripts have been ended by the router; for some seconds, at most.
    AfterOthers,
}

/// Acts under a name.
pub type Script = (&'static str, &'static [Act]);

/// One request that came, and what became of it so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The script that was played.
    pub script: String,
    /// Which request of its connection it is; the first is 1.
    pub number: usize,
    /// Octets of the request's body that came.
    pub received: usize,
    /// Octets that were poured out.
    pub poured: usize,
    /// The fields behind the request's body, in lines.
    pub trailers: Vec<String>,
    /// How the router ended it, if that ended it: `closed`, or `reset CODE` of an HTTP/2 stream.
    pub ended: Option<String>,
}

/// A server in the upstream's namespace; ended on drop.
#[derive(Debug)]
pub struct Faulty {
    listener: TcpListener,
    log: Log,
    accepting: Option<JoinHandle<()>>,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1 in clear.
    Http,
    /// HTTP/1.1 in TLS.
    Https,
    /// HTTP/2 in clear.
    H2c,
    /// Not a word, where the router begins a TLS handshake.
    Nothing,
}

/// The same, with all that it needs.
#[derive(Clone)]
enum Speaking {
    Http,
    Https(Arc<ServerConfig>),
    H2c,
    Nothing,
}

impl Speaking {
    fn new(speaks: Speaks, home: &Home) -> Result<Self> {
        match speaks {
            Speaks::Http => Ok(Self::Http),
            Speaks::Https => Self::https(home),
            Speaks::H2c => Ok(Self::H2c),
            Speaks::Nothing => Ok(Self::Nothing),
        }
    }

    fn https(home: &Home) -> Result<Self> {
        let path = |kind| home.path(&format!("{CERTIFICATE}.{kind}"));
        let chain = CertificateDer::pem_file_iter(path("pem"))?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(path("key"))?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
        Ok(Self::Https(Arc::new(config.with_single_cert(chain, key)?)))
    }
}

impl Faulty {
    /// A laboratory where it is behind the router, and waited for so long: for an answer, and where it
    /// says nothing at all, for the connection. Requests are written down in
    /// `access.log`.
    ///
    /// Connections to servers are a worker's: there is one, so that the next client meets those of the one
    /// before.
    pub fn lab(speaks: Speaks, patience: &str, scripts: Vec<Script>) -> Result<(Running, Self)> {
        let mut lab = Lab::new().workers(1).build()?;
        lab.home().write_certificate(CERTIFICATE, &["origin.test"])?;
        let server = Self::start(lab.network().upstream(), Speaking::new(speaks, lab.home())?, scripts)?;
        let path = |name: &str| lab.home().path(name).display().to_string();
        let (scheme, tls) = match speaks {
            Speaks::Http => ("http", String::new()),
            Speaks::H2c => ("h2c", String::new()),
            Speaks::Https => (
                "https",
                format!("tls = {{ ca = \"{}\", name = \"origin.test\" }}", path(&format!("{CERTIFICATE}.pem"))),
            ),
            Speaks::Nothing => ("https", format!("connect_timeout = \"{patience}\"")),
        };
        let rest = format!(
            "[access_log]\nfile = \"{log}\"\n[[route]]\nupstream = \"faulty\"\n[upstream.faulty]\n\
             servers = [\"{scheme}://{UPSTREAM4}:{PORT}\"]\nejection = false\nresponse_timeout = \"{patience}\"\n\
             idle_timeout = \"{patience}\"\n{tls}\n",
            log = path("access.log"),
        );
        lab.reconfigure(|config| {
            config.listen_on_tcp();
            config.rest = rest;
        });
        lab.start_agent()?;
        Ok((lab, server))
    }

    /// Only the server, of HTTP/1.1, in `namespace` on [`PORT`].
    pub fn http(namespace: &Namespace, scripts: Vec<Script>) -> Result<Self> {
        Self::start(namespace, Speaking::Http, scripts)
    }

    /// The same of HTTP/2 in clear.
    pub fn h2c(namespace: &Namespace, scripts: Vec<Script>) -> Result<Self> {
        Self::start(namespace, Speaking::H2c, scripts)
    }

    fn start(namespace: &Namespace, speaks: Speaking, scripts: Vec<Script>) -> Result<Self> {
        let bind = || TcpListener::bind((UPSTREAM4, PORT)).with_context(|| format!("cannot listen on {PORT}"));
        let listener = namespace.enter(bind)?;
        let (log, scripts) = (Log(Arc::new(watch::Sender::default())), Arc::<[Script]>::from(scripts));
        let accepting = thread::spawn({
            let (listener, log) = (listener.try_clone()?, log.clone());
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let (log, scripts, speaks) = (log.clone(), Arc::clone(&scripts), speaks.clone());
                    // It ends with the router's connection.
                    thread::spawn(move || match speaks {
                        Speaking::Http => http1::converse(stream, &scripts, &log),
                        Speaking::Https(config) => http1::converse_in_tls(stream, config, &scripts, &log),
                        Speaking::H2c => http2::converse(stream, &scripts, &log),
                        // Until the router gives up.
                        Speaking::Nothing => drop(io::copy(&mut &stream, &mut io::sink())),
                    });
                }
            }
        });
        Ok(Self { listener, log, accepting: Some(accepting) })
    }

    /// All requests that came, in their order.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.log.0.borrow().clone()
    }

    /// Those for which `script` was played.
    pub fn of(&self, script: &str) -> Vec<Exchange> {
        let mut all = self.exchanges();
        all.retain(|exchange| exchange.script == script);
        all
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

/// All exchanges of a server; threads that wait are told of each change.
#[derive(Clone, Debug)]
struct Log(Arc<watch::Sender<Vec<Exchange>>>);

/// One of them.
#[derive(Clone, Debug)]
struct Entry {
    log: Log,
    index: usize,
}

impl Log {
    fn begin(&self, script: &str, number: usize) -> Entry {
        let mut index = 0;
        self.0.send_modify(|all| {
            index = all.len();
            all.push(Exchange { script: script.to_owned(), number, ..Exchange::default() });
        });
        Entry { log: self.clone(), index }
    }
}

impl Entry {
    fn note(&self, change: impl FnOnce(&mut Exchange)) {
        self.log.0.send_modify(|all| change(&mut all[self.index]));
    }

    fn ended(&self, how: String) {
        self.note(|exchange| exchange.ended = Some(how));
    }

    /// Waits until the router has ended the exchanges of all other scripts; whether it has, in time.
    async fn others_ended(&self) -> bool {
        let others_ended = |all: &Vec<Exchange>| {
            let own = &all[self.index].script;
            all.iter().all(|exchange| exchange.script == *own || exchange.ended.is_some())
        };
        let mut log = self.log.0.subscribe();
        timeout(PATIENCE, log.wait_for(others_ended)).await.is_ok()
    }
}

/// The script that a request's target names, under that name.
fn script<'a>(scripts: &'a [Script], target: &'a str) -> Option<(&'a str, &'a [Act])> {
    let name = target.rsplit('/').next().unwrap_or_default();
    scripts.iter().find(|(known, _)| *known == name).map(|(name, acts)| (*name, *acts))
}

/// The path of a good answer, which is [`GOOD_BODY`].
pub const GOOD: &str = "good";
/// The body of a good answer, which no script sends.
pub const GOOD_BODY: &str = "well";
/// Where it is.
pub const PORT: u16 = 8090;
const CERTIFICATE: &str = "origin";
/// How long the others may take to end.
const PATIENCE: Duration = Duration::from_secs(5);
const POURED: &[u8] = &[b'x'; 16 * 1024];
