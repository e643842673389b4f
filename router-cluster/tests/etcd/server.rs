//! An etcd of its own for a test: on loopback, in a folder that goes with it, stopped when it is dropped.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use router_cluster::{
    membership::etcd::{Etcd, EtcdSettings, EtcdTiming, EtcdTls},
    secret::ClusterSecret,
};

/// The server.
pub(crate) struct Server {
    folder: PathBuf,
    client_port: u16,
    peer_port: u16,
    /// What it takes beside the usual: certificates.
    arguments: Vec<String>,
    tls: Option<EtcdTls>,
    child: Option<Child>,
}

impl Server {
    /// Starts one, without TLS.
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_with(name, |_| (Vec::new(), None)).await
    }

    /// Starts one with more arguments, which may name files in its folder, and with what clients then need.
    pub(crate) async fn start_with(name: &str, prepare: impl FnOnce(&Path) -> (Vec<String>, Option<EtcdTls>)) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("quic-router-etcd-{}-{count}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (arguments, tls) = prepare(&folder);
        let ports = [free_port(), free_port()];
        let [client_port, peer_port] = ports;
        let mut server = Self { folder, client_port, peer_port, arguments, tls, child: None };
        server.run().await;
        server
    }

    /// Starts it again after [`stop`](Self::stop), with the data that it has.
    pub(crate) async fn run(&mut self) {
        let (client, peer) = (self.url(), format!("http://127.0.0.1:{}", self.peer_port));
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        // It ends with this program, also if that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program("etcd"));
        command.arg("--data-dir").arg(self.folder.join("data")).args(["--name", "test"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("test={peer}")]);
        // The shortest lease that it grants depends on these.
        command.args(["--heartbeat-interval", "50", "--election-timeout", "250"]);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.is_healthy() {
            assert!(Instant::now() < deadline, "{}", fs::read_to_string(self.folder.join("log")).unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stops it; its data stay.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that was halted hears nothing.
            let _ = kill(pid(&child), Signal::SIGCONT);
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops it, and takes its data away.
    pub(crate) fn wipe(&mut self) {
        self.stop();
        fs::remove_dir_all(self.folder.join("data")).unwrap();
    }

    /// Sends it a signal: with SIGSTOP it answers nothing, and its connections stay.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(pid(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// What its own client says.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        let output = self.try_ctl(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn try_ctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("etcdctl"));
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.url(), "--command-timeout", "2s"]);
        if let Some(tls) = &self.tls {
            command.arg("--cacert").arg(&tls.ca);
            if let Some(identity) = &tls.identity {
                command.arg("--cert").arg(&identity.cert).arg("--key").arg(&identity.key);
            }
        }
        command.args(arguments).output().unwrap()
    }

    fn is_healthy(&self) -> bool {
        self.try_ctl(&["endpoint", "health"]).status.success()
    }

    /// Another node's engine.
    pub(crate) fn engine(&self) -> Etcd {
        Etcd::start(self.settings(), &secret()).unwrap()
    }

    /// How it is reached, in a hurry.
    pub(crate) fn settings(&self) -> EtcdSettings {
        let timing = EtcdTiming {
            lease: Duration::from_secs(2),
            reread: Duration::from_secs(5),
            answer: Duration::from_millis(700),
            backoff: Duration::from_millis(500),
            ping: Duration::from_millis(500),
        };
        let (cluster, endpoints) = ("edge".to_owned(), vec![self.url()]);
        EtcdSettings { cluster, endpoints, tls: self.tls.clone(), snapshot: None, timing }
    }

    /// A file in its folder, which goes with it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.client_port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The cluster secret of all tests.
pub(crate) fn secret() -> ClusterSecret {
    ClusterSecret::from([7; 32])
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

/// A port that nobody listens on now. The system does not give it to another soon.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A third-party program, from `$QUIC_ROUTER_PEERS/bin`, where `cargo xtask` puts them.
fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("QUIC_ROUTER_PEERS")
        .expect("QUIC_ROUTER_PEERS does not say where etcd is; try: cargo xtask test");
    let path = PathBuf::from(folder).join("bin").join(name);
    assert!(path.exists(), "no {}; try: cargo xtask setup --peers", path.display());
    path
}
