//! The configuration file of the agent in a laboratory.

use std::path::PathBuf;

use anyhow::Result;

use super::{
    agent::{binary, debug_binary},
    home::{HOST, Home},
    topology::UPSTREAM4,
    upstream::{ECHO_PORT, HTTP_PORT},
};

/// What goes into the file; [`text`](Self::text) writes it.
///
/// Fields hold TOML, so that a test can also say what is wrong.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// `[router]`, but for the paths, which are the laboratory's.
    pub router: Vec<(String, String)>,
    /// `[connection_id]`
    pub connection_id: Vec<(String, String)>,
    /// `[limits]`
    pub limits: Vec<(String, String)>,
    /// `[admission]`
    pub admission: Vec<(String, String)>,
    /// Addresses of `[[listener]]`.
    pub listeners: Vec<String>,
    /// Certificates of all of them, by their names in the laboratory's home.
    pub certificates: Vec<String>,
    /// The other keys of all of them, as TOML lines.
    pub listener_keys: String,
    /// Everything behind that: routes and upstreams.
    pub rest: String,
    /// Not in the file: environment variables of the agent.
    pub environment: Vec<(String, String)>,
    /// Not in the file: the program and arguments by way of which the agent is run, such as `setpriv`.
    pub under: Vec<String>,
    /// Not in the file: whether the debug build is run, which has faults to ask for.
    pub debug_build: bool,
    /// Not in the file: another build to run than the one under test.
    pub build: Option<PathBuf>,
}

impl AgentConfig {
    /// Any address on port 443, IPv4 and IPv6; HTTP to the upstream's HTTP server, raw
    /// streams of the protocol `echo` to its echo server.
    pub fn new() -> Self {
        let engine = std::env::var(ENGINE).unwrap_or_else(|_| "xdp".into());
        let pairs = |lines: &[(&str, &str)]| lines.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        Self {
            router: pairs(&[
                ("node_id", "1"),
                ("workers", "4"),
                ("engine", &format!("\"{engine}\"")),
                ("interfaces", "[\"clients0\"]"),
                ("drain_timeout", "\"2s\""),
                ("debug_headers", "true"),
            ]),
            connection_id: Vec::new(),
            limits: Vec::new(),
            admission: Vec::new(),
            listeners: vec!["0.0.0.0:443".into(), "[::]:443".into()],
            certificates: vec!["certificate".into()],
            listener_keys: String::new(),
            rest: format!(
                "[[route]]\nalpn = \"echo\"\nupstream = \"echo\"\n\n\
                 [[route]]\npath = \"/\"\nupstream = \"web\"\n\n\
                 [upstream.web]\nservers = [\"http://{UPSTREAM4}:{HTTP_PORT}\"]\n\n\
                 [upstream.echo]\nservers = [\"tcp://{UPSTREAM4}:{ECHO_PORT}\"]\n"
            ),
            environment: Vec::new(),
            under: Vec::new(),
            debug_build: false,
            build: None,
        }
    }

    /// Whether its engine has an XDP program on the interfaces: `af_xdp` or `xdp`.
    pub fn has_xdp_engine(&self) -> bool {
        let engine = self.router.iter().find(|(key, _)| key == "engine");
        engine.is_some_and(|(_, engine)| ["\"af_xdp\"", "\"xdp\""].contains(&&**engine))
    }

    /// Has the listeners take HTTP/1.1 and HTTP/2 over TCP, too.
    pub fn listen_on_tcp(&mut self) {
        self.listener_keys = "tcp = true\n".into();
    }

    /// Sets `key` of `[router]` to `value`, which is TOML.
    pub fn set_router(&mut self, key: &str, value: &str) {
        set(&mut self.router, key, value);
    }

    /// Sets `key` of `[connection_id]` to `value`, which is TOML.
    pub fn set_connection_id(&mut self, key: &str, value: &str) {
        set(&mut self.connection_id, key, value);
    }

    /// Sets `key` of `[limits]` to `value`, which is TOML.
    pub fn set_limit(&mut self, key: &str, value: &str) {
        set(&mut self.limits, key, value);
    }

    /// Sets `key` of `[admission]` to `value`, which is TOML.
    pub fn set_admission(&mut self, key: &str, value: &str) {
        set(&mut self.admission, key, value);
    }

    /// What is run.
    pub(super) fn binary(&self) -> Result<PathBuf> {
        match &self.build {
            Some(build) => Ok(build.clone()),
            None if self.debug_build => debug_binary(),
            None => binary(),
        }
    }

    /// The file, with the paths of `home`.
    pub fn text(&self, home: &Home) -> String {
        let mut router = self.router.clone();
        for (key, path) in
            [("bpf_dir", home.pins().into()), ("state_dir", home.path("state")), ("control", home.control())]
        {
            if !router.iter().any(|(set, _)| set == key) {
                set(&mut router, key, &format!("\"{}\"", path.display()));
            }
        }
        let certificate = |name: &String| {
            let path = |kind| home.path(&format!("{name}.{kind}"));
            format!("{{ cert = \"{}\", key = \"{}\" }}", path("pem").display(), path("key").display())
        };
        let certificates = self.certificates.iter().map(certificate).collect::<Vec<_>>().join(", ");
        let keys = &self.listener_keys;
        let listener = |address: &String| {
            format!("[[listener]]\naddress = \"{address}\"\ncertificates = [{certificates}]\n{keys}\n")
        };
        let admission = match &self.admission[..] {
            [] => String::new(),
            keys => format!("[admission]\n{}\n", lines(keys)),
        };
        format!(
            "# A laboratory's; the certificate is for {HOST}.\n[router]\n{}\n[connection_id]\n{}\n[limits]\n{}\n\
             {admission}{}{}",
            lines(&router),
            lines(&self.connection_id),
            lines(&self.limits),
            self.listeners.iter().map(listener).collect::<String>(),
            self.rest
        )
    }
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// Names the engine of laboratories that say nothing of it: `cargo xtask test --engine ENGINE`.
const ENGINE: &str = "QUIC_ROUTER_TEST_ENGINE";

fn set(section: &mut Vec<(String, String)>, key: &str, value: &str) {
    match section.iter_mut().find(|(set, _)| set == key) {
        Some((_, old)) => *old = value.into(),
        None => section.push((key.into(), value.into())),
    }
}

fn lines(section: &[(String, String)]) -> String {
    section.iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
}
