//! An etcd of one member for the nodes of a cluster: it may be stopped, halted, and lose what it knows.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::super::{
    awaiting::until,
    home::Home,
    netns::{Namespace, run},
    peers::find,
    program::Program,
};

/// A running etcd, or a stopped one.
#[derive(Debug)]
pub(super) struct Etcd {
    program: Option<Program>,
    data: PathBuf,
}

impl Etcd {
    /// Starts one in `namespace`, which has [`ETCD`], and waits until it serves.
    pub(super) fn start(namespace: &Namespace, home: &Home) -> Result<Self> {
        let mut etcd = Self { program: None, data: home.path("etcd") };
        etcd.run(namespace)?;
        Ok(etcd)
    }

    /// Starts it again, with the data that it has.
    pub(super) fn run(&mut self, namespace: &Namespace) -> Result<()> {
        let url = url();
        let mut command = namespace.command(find("etcd")?);
        command.args(["--name", "laboratory", "--data-dir"]).arg(&self.data);
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", PEERS, "--initial-advertise-peer-urls", PEERS]);
        command.args(["--initial-cluster", &format!("laboratory={PEERS}")]);
        self.program = Some(Program::start("etcd", &mut command)?);
        let is_healthy = || {
            let mut command = namespace.command(find("etcdctl")?);
            command.env("ETCDCTL_API", "3").args(["--endpoints", &url, "endpoint", "health"]);
            Ok(run(&mut command).is_ok())
        };
        until(is_healthy, |is_healthy| *is_healthy).context("etcd does not serve").map(drop)
    }

    /// It ends at once; its data stay.
    pub(super) fn stop(&mut self) -> Result<()> {
        let program = self.program.take().context("no etcd runs")?;
        // One that was halted hears nothing.
        program.signal(Signal::SIGCONT)?;
        program.signal(Signal::SIGKILL)?;
        program.finish(TO_END).map(drop)
    }

    /// It ends at once, and knows nothing any more.
    pub(super) fn wipe(&mut self) -> Result<()> {
        self.stop()?;
        fs::remove_dir_all(&self.data).with_context(|| format!("cannot remove {}", self.data.display()))
    }

    /// The names of what the cluster has there, below its own.
    pub(super) fn names(&self, namespace: &Namespace) -> Result<Vec<String>> {
        let mut command = namespace.command(find("etcdctl")?);
        let url = url();
        command.env("ETCDCTL_API", "3").args(["--endpoints", &url, "get", "--prefix", "--keys-only", CLUSTER]);
        let said = run(&mut command)?;
        let said = String::from_utf8(said.stdout).context("names are UTF-8")?;
        Ok(said.lines().filter_map(|line| line.strip_prefix(CLUSTER)).map(str::to_owned).collect())
    }

    /// SIGSTOP: its connections stay, and nothing comes by them; SIGCONT: it goes on.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        self.program.as_ref().context("no etcd runs")?.signal(signal)
    }
}

/// Where it serves its clients.
pub(super) fn url() -> String {
    format!("http://{ETCD}:2379")
}

/// Its address, among those of the servers behind the nodes.
pub(super) const ETCD: &str = "10.78.0.3";
/// What the names of the laboratory's cluster begin with.
const CLUSTER: &str = "/quic-router/laboratory/";
/// Where it would serve other members.
const PEERS: &str = "http://127.0.0.1:2380";
const TO_END: Duration = Duration::from_secs(10);
