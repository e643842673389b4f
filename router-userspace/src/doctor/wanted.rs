//! What the host is judged against: what the configuration asks of it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::finding::{Finding, Level};
use crate::config::{Cluster, Config, Engine, SendBy, StartFlags};

/// What the host has to bear.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(super) engine: Engine,
    pub(super) interfaces: Vec<String>,
    pub(super) workers: u16,
    pub(super) listeners: Vec<SocketAddr>,
    /// Some listener answers on TCP too.
    pub(super) tcp: bool,
    pub(super) max_connections: u32,
    pub(super) af_xdp_memory: u64,
    /// Workers send by AF_XDP where they can.
    pub(super) sends_frames: bool,
    pub(super) bpf_dir: PathBuf,
    pub(super) control: PathBuf,
    /// The cluster that this host is to be a node of.
    pub(super) cluster: Option<Cluster>,
}

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Without it, nothing starts.
    Required,
    /// Without it, a lesser engine runs.
    Preferred,
    /// It is not asked for.
    Unused,
}

impl Need {
    /// What it means that it is not there.
    pub(super) fn missing(self, theme: &str, finding: impl Into<String>) -> Finding {
        let level = match self {
            Self::Required => Level::Fail,
            Self::Preferred => Level::Warn,
            Self::Unused => Level::Ok,
        };
        Finding::new(level, theme, finding)
    }
}

impl Wanted {
    /// What a configuration asks for.
    pub(crate) fn by(config: &Config) -> Self {
        Self {
            engine: config.router.engine,
            interfaces: config.router.interfaces.clone(),
            workers: config.router.workers.get(),
            listeners: config.listeners.iter().map(|listener| listener.address).collect(),
            tcp: config.listeners.iter().any(|listener| listener.tcp || listener.redirect_from.is_some()),
            max_connections: config.limits.max_connections,
            af_xdp_memory: config.af_xdp.memory,
            sends_frames: config.af_xdp.send == SendBy::AfXdp,
            bpf_dir: config.router.bpf_dir.clone(),
            control: config.router.control.clone(),
            cluster: config.cluster.clone(),
        }
    }

    /// What the defaults ask for, on these interfaces and without a listener.
    pub(crate) fn by_default(interfaces: &[String]) -> Self {
        let flags = StartFlags {
            listen: vec!["127.0.0.1:443".to_owned()],
            interface: interfaces.to_vec(),
            ..StartFlags::default()
        };
        let config = Config::from_flags(&flags, None).expect("a loopback listener and defaults are a configuration");
        Self { listeners: Vec::new(), ..Self::by(&config) }
    }

    /// The same, with the control socket that the command line names.
    pub(crate) fn answered_at(self, control: Option<&Path>) -> Self {
        match control {
            Some(control) => Self { control: control.to_owned(), ..self },
            None => self,
        }
    }

    /// Where an agent that runs answers.
    pub(crate) fn control(&self) -> &Path {
        &self.control
    }

    /// How much BPF matters.
    pub(super) fn bpf(&self) -> Need {
        match self.engine {
            Engine::AfXdp | Engine::Xdp | Engine::Reuseport => Need::Required,
            Engine::Auto => Need::Preferred,
            Engine::Userspace => Need::Unused,
        }
    }

    /// How much XDP matters.
    pub(super) fn xdp(&self) -> Need {
        match self.engine {
            Engine::AfXdp | Engine::Xdp => Need::Required,
            Engine::Auto => Need::Preferred,
            Engine::Reuseport | Engine::Userspace => Need::Unused,
        }
    }

    /// How much AF_XDP matters.
    pub(super) fn af_xdp(&self) -> Need {
        match self.engine {
            Engine::AfXdp => Need::Required,
            Engine::Auto if !self.interfaces.is_empty() => Need::Preferred,
            Engine::Auto | Engine::Xdp | Engine::Reuseport | Engine::Userspace => Need::Unused,
        }
    }

    /// For tests: two workers, the best engine on `eth0`.
    #[cfg(test)]
    pub(super) fn sample(engine: Engine) -> Self {
        Self {
            tcp: false,
            engine,
            interfaces: vec!["eth0".to_owned()],
            workers: 2,
            listeners: vec!["192.0.2.1:443".parse().unwrap()],
            max_connections: 100_000,
            af_xdp_memory: 64 << 20,
            sends_frames: false,
            bpf_dir: crate::config::DEFAULT_BPF_DIR.into(),
            control: "/nowhere/control.sock".into(),
            cluster: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_configuration() {
        let wanted = Wanted::by_default(&["lo".to_owned()]);
        assert_eq!((wanted.max_connections, wanted.interfaces), (100_000, vec!["lo".to_owned()]));
        assert!(wanted.listeners.is_empty());
    }

    #[test]
    fn an_engine_by_name_makes_a_lack_a_failure() {
        let lack = |engine| Wanted::sample(engine).xdp().missing("t", "f");
        assert_eq!(lack(Engine::Xdp), Finding::fail("t", "f"));
        assert_eq!(lack(Engine::Auto), Finding::warn("t", "f"));
        assert_eq!(lack(Engine::Reuseport), Finding::ok("t", "f"));
        assert_eq!(Wanted::sample(Engine::Reuseport).bpf(), Need::Required);
    }
}
