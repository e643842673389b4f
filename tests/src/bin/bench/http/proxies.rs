//! The router and the proxies beside it: each with one thread, on one core, with what its own
//! documentation recommends for this.

use std::{env, fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use router_tests::lab::{Home, Program, Running, binary, peers, run};

use super::{
    origin,
    usage::{self, Usage},
};

/// A proxy that speaks HTTP/3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proxy {
    QuicRouter,
    /// Another build of it.
    Baseline,
    Nginx,
    Haproxy,
    Nghttpx,
    Caddy,
}

/// The build of the router to compare this one with.
fn baseline() -> Result<PathBuf> {
    env::var_os("QUIC_ROUTER_BASELINE_BIN").map(PathBuf::from).context("QUIC_ROUTER_BASELINE_BIN names the other build")
}

/// The core of the proxy, by way of which it is started.
pub(super) const PINNED: [&str; 3] = ["taskset", "--cpu-list", "0"];

/// How long a server may take to end when asked to.
const MANNERS: Duration = Duration::from_secs(10);

impl Proxy {
    pub(super) const ALL: [Self; 5] = [Self::QuicRouter, Self::Nginx, Self::Haproxy, Self::Nghttpx, Self::Caddy];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::QuicRouter => "quic-router",
            Self::Baseline => "baseline",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Nghttpx => "nghttpx",
            Self::Caddy => "Caddy",
        }
    }

    pub(super) fn parse(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().chain([Self::Baseline]).find(|proxy| proxy.name().eq_ignore_ascii_case(name));
        let names = || Self::ALL.map(Self::name).join(", ");
        found.with_context(|| format!("{name} is not one of the proxies; they are {}", names()))
    }

    /// As it says itself.
    pub(super) fn version(self, lab: &Running) -> Result<String> {
        let option = match self {
            Self::QuicRouter | Self::Baseline => "version",
            Self::Nginx | Self::Haproxy => "-v",
            Self::Nghttpx => "--version",
            Self::Caddy => "version",
        };
        let program = match self {
            Self::QuicRouter => binary()?,
            Self::Baseline => baseline()?,
            _ => peers::find(self.program())?,
        };
        let output = run(Command::new(program).arg(option).env("HOME", lab.home().path("")))?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let is_version = |word: &&str| word.chars().any(|c| c.is_ascii_digit()) && word.contains('.');
        let word = said.split([' ', '\n', '/', '-']).find(is_version).context("a version has a dot in it")?;
        Ok(word.trim_matches(|c: char| !c.is_ascii_digit()).to_owned())
    }

    /// Starts it on the first clients' address, and waits until it answers.
    pub(super) fn start(self, lab: &mut Running) -> Result<Serving> {
        if matches!(self, Self::QuicRouter | Self::Baseline) {
            let build = if self == Self::Baseline { baseline()? } else { binary()? };
            lab.reconfigure(|config| config.build = Some(build));
            lab.start_agent()?;
            let serving = Serving::Router(lab.agent()?.pid()?);
            serving.await_answer(lab)?;
            return Ok(serving);
        }
        let [pin, arguments @ ..] = PINNED;
        let mut command = lab.network().router().command(pin);
        command.args(arguments).arg(peers::find(self.program())?).args(self.arguments(lab)?);
        // Caddy keeps its state below these, and looks for nothing in the user's own.
        command.env("HOME", lab.home().path("")).env("XDG_DATA_HOME", lab.home().path(""));
        command.env("XDG_CONFIG_HOME", lab.home().path(""));
        let serving = Serving::Other(Server::start(self.name(), &mut command)?);
        serving.await_answer(lab)?;
        Ok(serving)
    }

    fn program(self) -> &'static str {
        match self {
            Self::QuicRouter | Self::Baseline => "quic-router",
            Self::Nginx => "nginx-sid",
            Self::Haproxy => "haproxy",
            Self::Nghttpx => "nghttpx",
            Self::Caddy => "caddy",
        }
    }

    fn arguments(self, lab: &Running) -> Result<Vec<String>> {
        let home = lab.home();
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let path = |name: &str| home.path(name).display().to_string();
        let write = |name: &str, text: String| home.write(name, &text).map(|path| path.display().to_string());
        Ok(match self {
            Self::QuicRouter | Self::Baseline => bail!("the router is started by the laboratory"),
            Self::Nginx => words(&["-e", &path("nginx.log"), "-c", &write("nginx.conf", nginx(lab))?]),
            Self::Haproxy => {
                let both = fs::read_to_string(home.path("certificate.pem"))?
                    + &fs::read_to_string(home.path("certificate.key"))?;
                write("both.pem", both)?;
                words(&["-db", "-q", "-f", &write("haproxy.cfg", haproxy(lab))?])
            }
            Self::Nghttpx => words(&[
                "--conf=/dev/null",
                "--workers=1",
                "--single-process",
                "--accesslog-file=",
                "--backend-connections-per-frontend=1024",
                &format!("--frontend={},443;quic", lab.wire().router4()),
                &format!("--backend={},{}", origin::address().ip(), origin::address().port()),
                &path("certificate.key"),
                &path("certificate.pem"),
            ]),
            Self::Caddy => words(&["run", "--adapter", "caddyfile", "--config", &write("Caddyfile", caddy(lab))?]),
        })
    }
}

/// A proxy that runs; ended on drop.
pub(super) enum Serving {
    /// Its process. The laboratory has it.
    Router(i32),
    Other(Server),
}

/// A program with processes below it; asked to end on drop, as those end with it only then.
pub(super) struct Server(Program);

impl Server {
    pub(super) fn start(name: &str, command: &mut Command) -> Result<Self> {
        Program::start(name, command).map(Self)
    }

    /// Itself, if it is still there after a moment.
    pub(super) fn stays_for(self, moment: Duration) -> Result<Self> {
        ensure!(!self.0.ends_within(moment), "it ended: {}", self.0.said());
        Ok(self)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.terminate();
        self.0.ends_within(MANNERS);
    }
}

impl Serving {
    /// What it has cost so far.
    pub(super) fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid()?)
    }

    /// Octets of memory that it and the processes below it have for themselves.
    pub(super) fn memory(&self) -> Result<u64> {
        usage::memory(self.pid()?)
    }

    fn pid(&self) -> Result<i32> {
        match self {
            Self::Router(pid) => Ok(*pid),
            Self::Other(server) => server.0.pid(),
        }
    }

    pub(super) fn stop(self, lab: &mut Running) -> Result<()> {
        match self {
            Self::Router(_) => lab.take_agent()?.terminate().map(drop),
            Self::Other(server) => {
                drop(server);
                Ok(())
            }
        }
    }

    fn await_answer(&self, lab: &Running) -> Result<()> {
        let mut why = None;
        for _ in 0..100 {
            match lab.quic_go().get("/").within(Duration::from_secs(1)).start()?.succeed() {
                Ok(_) => return Ok(()),
                Err(e) => why = Some(e),
            }
            if let Self::Other(Server(program)) = self {
                ensure!(!program.ends_within(Duration::from_millis(50)), "it ended: {}", program.said());
            }
        }
        match self {
            Self::Router(_) => bail!("it does not answer: {why:?}: {}", lab.home().log()),
            Self::Other(Server(program)) => bail!("it does not answer: {why:?}: {}", program.said()),
        }
    }
}

/// Responses go through memory only, in large pieces. A QUIC connection takes half a dozen of its "connections".
fn nginx(lab: &Running) -> String {
    format!(
        "daemon off;\nworker_processes 1;\nuser root;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log error;\n\
         worker_rlimit_nofile 65536;\nevents {{ worker_connections 131072; }}\n\
         http {{\n  access_log off;\n  keepalive_timeout 1h;\n  keepalive_requests 1000000000;\n{temporary}\
         \x20 upstream web {{ server {origin}; keepalive 1024; keepalive_requests 1000000000; }}\n\
         \x20 server {{\n    listen {router} quic reuseport;\n    http3 on;\n    quic_gso on;\n\
         \x20   ssl_certificate {folder}/certificate.pem;\n    ssl_certificate_key {folder}/certificate.key;\n\
         \x20   location / {{\n      proxy_pass http://web;\n      proxy_http_version 1.1;\n\
         \x20     proxy_set_header Connection \"\";\n      proxy_max_temp_file_size 0;\n\
         \x20     proxy_buffers 16 64k;\n    }}\n  }}\n}}\n",
        folder = lab.home().path("").display(),
        temporary = temporary(lab.home(), "nginx"),
        origin = origin::address(),
        router = lab.wire().router(443),
    )
}

/// Without strict limits it starts where fewer descriptors can be had than it may ever want.
fn haproxy(lab: &Running) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 12000\n  no strict-limits\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n  timeout server 60s\n  http-reuse always\n\
         frontend web\n  bind quic4@{router} ssl crt {certificate} alpn h3\n  default_backend origin\n\
         backend origin\n  server origin {origin}\n",
        router = lab.wire().router(443),
        certificate = lab.home().path("both.pem").display(),
        origin = origin::address(),
    )
}

fn caddy(lab: &Running) -> String {
    format!(
        "{{\n  admin off\n  auto_https off\n  persist_config off\n  log {{\n    level ERROR\n  }}\n}}\n\
         https://:443 {{\n  bind {router}\n  tls {folder}/certificate.pem {folder}/certificate.key\n\
         \x20 reverse_proxy {origin} {{\n    transport http {{\n      keepalive_idle_conns_per_host 1024\n    }}\n  }}\n}}\n",
        router = lab.wire().router4(),
        folder = lab.home().path("").display(),
        origin = origin::address(),
    )
}

/// Where an nginx keeps what it does not keep in memory: elsewhere it may not.
pub(super) fn temporary(home: &Home, name: &str) -> String {
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {}/{name}-{kind};\n", home.path("").display()))
        .concat()
}
