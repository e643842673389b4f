//! One cell: a laboratory, the endpoint, a client, and the verdict.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::{Case, Client, Outcome, Row, client::Wanted};
use crate::{
    content,
    lab::{Finished, Lab, Namespace, PORT, Passed, Program, Running, Scene},
};

/// A cell to be run.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'c> {
    /// What is asked.
    pub case: &'c Case,
    /// The client that takes part.
    pub client: &'c Client,
    /// How packets reach the router's workers.
    pub engine: &'c str,
    /// Of the scenario's random numbers.
    pub seed: u64,
    /// Where captures of both sides, and the endpoint's log, qlog and TLS secrets are left; nowhere unless said.
    pub keep: Option<&'c Path>,
}

impl Cell<'_> {
    /// Runs it. What goes wrong is its outcome.
    pub fn run(&self) -> Row {
        let begun = Instant::now();
        let outcome = match self.client.lacks(self.case) {
            Some(why) => Outcome::Lacking(why.to_owned()),
            None => self.outcome().unwrap_or_else(|error| Outcome::Failed(one_line(&format!("{error:#}")))),
        };
        Row {
            engine: self.engine.to_owned(),
            case: self.case.name.to_owned(),
            client: self.client.name.to_owned(),
            outcome,
            milliseconds: begun.elapsed().as_millis() as u64,
        }
    }

    fn outcome(&self) -> Result<Outcome> {
        let lab = Lab::new().queues(2).build()?;
        let files = Files::of(self.case, lab.home().path("").as_path())?;
        let scene = Scene::new(self.case.scenario(), self.seed);
        let scene = if self.keep.is_some() { scene.traced() } else { scene };
        let outcome = self.converse(&lab, &files, &scene);
        if let Some(folder) = self.keep {
            keep(&lab.home().path("logs"), &scene, folder)?;
        }
        outcome
    }

    /// Has the client fetch the files, and judges.
    fn converse(&self, lab: &Running, files: &Files, scene: &Scene) -> Result<Outcome> {
        let relay = lab.distance(self.case.link(), scene)?;
        let endpoint = match self.serve(lab)? {
            Served::Running(endpoint) => endpoint,
            Served::Unsupported(why) => return Ok(Outcome::Unsupported(why)),
        };
        let server: SocketAddr = match self.case.v6 {
            true => (lab.wire().router6(), PORT).into(),
            false => lab.wire().router(PORT),
        };
        let wanted = Wanted { case: self.case, server, names: &files.names, downloads: &files.downloads };
        let outcome = self.fetch(relay.clients(), &wanted);
        if let Some(folder) = self.keep {
            keep_counters(lab, folder)?;
        }
        let outcome = outcome?;
        if outcome != Outcome::Passed {
            return Ok(outcome);
        }
        files.have_arrived()?;
        says_what_it_is(lab)?;
        ensure!(files.are_untouched()?, "what is served was changed");
        let passed = scene.passed();
        self.case.prove(&passed).with_context(|| seen(&passed))?;
        drop(endpoint);
        Ok(outcome)
    }

    /// Has the client do what it is asked.
    fn fetch(&self, clients: &Namespace, wanted: &Wanted<'_>) -> Result<Outcome> {
        for mut command in self.client.commands(clients, wanted)? {
            let finished = Program::start(self.client.name, &mut command)?.finish(PATIENCE)?;
            if finished.status.code() == Some(UNSUPPORTED) {
                return Ok(Outcome::Lacking(last_line(&finished)));
            }
            ensure!(finished.status.success(), "{}: {}", finished.status, last_line(&finished));
        }
        Ok(Outcome::Passed)
    }

    /// The endpoint as the runner starts it, but for its folder, engine and interface.
    fn serve(&self, lab: &Running) -> Result<Served> {
        let mut command = lab.network().router().command(endpoint()?);
        let root = lab.home().path("");
        command.env("ROLE", "server").env("TESTCASE", self.case.testcase).env("QUIC_ROUTER_INTEROP", "1");
        command.env("QUIC_ROUTER_INTEROP_ROOT", &root).env("QUIC_ROUTER_INTEROP_ENGINE", self.engine);
        command.env("SSLKEYLOGFILE", root.join("logs/keys.log")).env("QLOGDIR", root.join("logs/qlog/"));
        command.env("QUIC_ROUTER_INTEROP_ADMIN", ADMIN);
        if self.engine != "userspace" {
            command.env("QUIC_ROUTER_INTEROP_INTERFACE", lab.wire().router_interface());
        }
        let program = Program::start_logged("quic-router-interop", &mut command, &root.join("logs/server.log"))?;
        let Err(not_ready) = program.await_line("ready", START) else { return Ok(Served::Running(program)) };
        let finished = program.finish(START)?;
        match finished.status.code() {
            Some(UNSUPPORTED) => Ok(Served::Unsupported(last_line(&finished))),
            _ => Err(not_ready),
        }
    }
}

/// An operator who watches it sees that it is not a router in production.
fn says_what_it_is(lab: &Running) -> Result<()> {
    let scraped = lab.network().router().enter(|| {
        let mut stream = TcpStream::connect(ADMIN)?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })?;
    let line = scraped.lines().find(|line| line.starts_with("quic_router_build_info{")).unwrap_or("no build_info");
    ensure!(line.contains("kind=\"interop\""), "the metrics call it a router: {line}");
    Ok(())
}

/// Leaves in `folder` what a cell is understood by.
fn keep(logs: &Path, scene: &Scene, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    scene.write_trace(folder)?;
    for name in ["keys.log", "server.log"] {
        if logs.join(name).exists() {
            fs::copy(logs.join(name), folder.join(name))?;
        }
    }
    for trace in fs::read_dir(logs.join("qlog")).into_iter().flatten().flatten() {
        fs::copy(trace.path(), folder.join(trace.file_name()))?;
    }
    Ok(())
}

/// What became of each packet, by the endpoint's own account.
fn keep_counters(lab: &Running, folder: &Path) -> Result<()> {
    let mut command = lab.network().router().command(endpoint()?);
    command.args(["counters", "--control"]).arg(lab.home().path("run/quic-router-interop.sock"));
    let counters = Program::start("quic-router-interop counters", &mut command)?.finish(START)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(fs::write(folder.join("counters.txt"), counters.stdout + &counters.stderr)?)
}

enum Served {
    Running(Program),
    Unsupported(String),
}

/// The endpoint's binary: `$QUIC_ROUTER_INTEROP_BIN`, which `cargo xtask interop` sets.
///
/// # Errors
/// Where it is looked for.
pub fn endpoint() -> Result<PathBuf> {
    let path = env::var_os("QUIC_ROUTER_INTEROP_BIN").map(PathBuf::from);
    path.context("QUIC_ROUTER_INTEROP_BIN does not say where quic-router-interop is; try: cargo xtask interop")
}

/// What is served and what has to arrive.
struct Files {
    www: PathBuf,
    downloads: PathBuf,
    names: Vec<String>,
    listed: Vec<Listed>,
}

/// A file's name, size and time of its last change.
type Listed = (OsString, u64, SystemTime);

impl Files {
    fn of(case: &Case, root: &Path) -> Result<Self> {
        let files =
            Self { www: root.join("www"), downloads: root.join("downloads"), names: Vec::new(), listed: Vec::new() };
        for folder in ["www", "downloads", "certs", "logs/qlog"] {
            fs::create_dir_all(root.join(folder))?;
        }
        write_chain(case.chain, &root.join("certs"))?;
        let names: Vec<_> = (0..case.times * case.files.len())
            .map(|number| format!("{number:0width$}", width = case.name_length))
            .collect();
        for (number, name) in names.iter().enumerate() {
            let (from, size) = (number as u64 * 4_096, case.files[number % case.files.len()] as u64);
            fs::write(files.www.join(name), content::pattern(from, from + size))?;
        }
        Ok(Self { names, listed: list(&files.www)?, ..files })
    }

    /// Whether the folder that is served has what it had: the runner mounts it read-only.
    fn are_untouched(&self) -> Result<bool> {
        Ok(list(&self.www)? == self.listed)
    }

    fn have_arrived(&self) -> Result<()> {
        for name in &self.names {
            let sent = fs::read(self.www.join(name))?;
            let Ok(arrived) = fs::read(self.downloads.join(name)) else { bail!("file {name} did not arrive") };
            ensure!(sent == arrived, "file {name}: {} of {} octets, or wrong ones", arrived.len(), sent.len());
        }
        Ok(())
    }
}

fn list(folder: &Path) -> Result<Vec<Listed>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let (entry, about) = entry.and_then(|entry| entry.metadata().map(|about| (entry, about)))?;
        files.push((entry.file_name(), about.len(), about.modified()?));
    }
    files.sort();
    Ok(files)
}

/// A chain of `length` certificates, the last one signed by itself.
fn write_chain(length: usize, folder: &Path) -> Result<()> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // As large as those of public authorities.
    let name = |number: usize| format!("{number} {}", "certificate authority ".repeat(20));
    let mut issuers: Vec<CertifiedIssuer<'_, KeyPair>> = Vec::new();
    for number in 1..length {
        let mut params = params.clone();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, name(number));
        let key = KeyPair::generate()?;
        let issuer = match issuers.last() {
            Some(above) => CertifiedIssuer::signed_by(params, key, above)?,
            None => CertifiedIssuer::self_signed(params, key)?,
        };
        issuers.push(issuer);
    }
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["server".to_owned()])?;
    let leaf = match issuers.last() {
        Some(issuer) => leaf.signed_by(&key, issuer)?,
        None => leaf.self_signed(&key)?,
    };
    let chain = [leaf.pem()].into_iter().chain(issuers.iter().rev().map(|issuer| issuer.pem()));
    fs::write(folder.join("cert.pem"), chain.collect::<String>())?;
    Ok(fs::write(folder.join("priv.key"), key.serialize_pem())?)
}

/// Runs the endpoint with an environment until it ends: one that is refused.
///
/// # Errors
/// If it does not end.
pub fn refused(environment: &[(&str, &str)]) -> Result<Finished> {
    let mut command = Command::new(endpoint()?);
    command.env_remove("QUIC_ROUTER_INTEROP").envs(environment.iter().copied());
    Program::start("quic-router-interop", &mut command)?.finish(START)
}

fn seen(passed: &Passed) -> String {
    let Passed { datagrams: [router, clients], disturbed, .. } = passed;
    format!("of {router} datagrams of the router and {clients} of the client, {disturbed} disturbed")
}

fn last_line(finished: &Finished) -> String {
    let said = [&*finished.stderr, &finished.stdout];
    let line = said.iter().find_map(|text| text.lines().rev().find(|line| !line.trim().is_empty()));
    line.unwrap_or("it said nothing").trim().to_owned()
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" / ")
}

/// Where the endpoint's metrics are.
const ADMIN: &str = "127.0.0.1:9180";
/// The runner's exit code for what is not supported.
const UNSUPPORTED: i32 = 127;
const START: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(200);
