//! Raw values in, a [`Config`] out: the one place that decides what is valid.
//!
//! Checking goes on after a problem, with a stand-in for the wrong value, so that an operator
//! sees everything at once; a stand-in never leaves this room, because [`Findings::conclude`]
//! comes before the `Config`.

use std::{
    num::{NonZeroU16, NonZeroUsize},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    thread,
};

use super::{
    Config, ConfigError, Engine, Router,
    error::{Findings, Place},
    file::{At, RawConfig, each},
    keys::{ROUTER, RawRouter},
    values::SOCKET_PATH_MAX,
};
use crate::telemetry::LogFilter;

mod addresses;
mod af_xdp;
mod connection_id;
pub(super) mod limits;
mod listeners;
mod observe;
mod routes;
mod transport;
mod upstreams;

/// `IFNAMSIZ` of the kernel, less the terminating zero.
const INTERFACE_NAME_MAX: usize = 15;

/// Checks everything; gives the configuration, or all that is wrong with it.
pub(super) fn config(raw: RawConfig, mut findings: Findings<'_>) -> Result<Config, ConfigError> {
    let router = router(&raw.router, &mut findings);
    let connection_id = connection_id::check(&raw.connection_id, &mut findings);
    let limits = limits::check(&raw.limits, &mut findings);
    let transport = transport::check(&raw.transport, &limits, &mut findings);
    let af_xdp = af_xdp::check(&raw.af_xdp, router.engine, &mut findings);
    let admin = observe::admin(raw.admin, &mut findings);
    let access_log = observe::access_log(raw.access_log, &mut findings);
    let qlog = observe::qlog(raw.qlog, &mut findings);
    let listeners = listeners::check(raw.listener, admin.as_ref(), &mut findings);
    let upstreams = upstreams::check(raw.upstream, &mut findings);
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.address).collect();
    let beside = routes::Beside { listeners: &addresses, upstreams: &upstreams, paths: router.path_normalization };
    let routes = routes::check(raw.route, &beside, &mut findings);
    let upstreams = upstreams.into_iter().map(|(name, at)| (name, at.value.upstream)).collect();
    let notices = findings.conclude()?;
    Ok(Config {
        router,
        connection_id,
        limits,
        transport,
        af_xdp,
        admin: admin.map(|at| at.value),
        access_log,
        qlog,
        listeners,
        routes,
        upstreams,
        notices,
    })
}

fn router(raw: &RawRouter, findings: &mut Findings<'_>) -> Router {
    Router {
        node_id: ROUTER.node_id.read(&raw.node_id, findings),
        workers: workers(raw, findings),
        engine: engine(raw, findings),
        cpu_map: ROUTER.cpu_map.read(&raw.cpu_map, findings),
        interfaces: interfaces(raw, findings),
        bpf_dir: bpf_dir(raw, findings),
        state_dir: ROUTER.state_dir.read(&raw.state_dir, findings),
        control: control(raw, findings),
        drain_timeout: ROUTER.drain_timeout.read(&raw.drain_timeout, findings),
        debug_headers: ROUTER.debug_headers.read(&raw.debug_headers, findings),
        path_normalization: ROUTER.path_normalization.read(&raw.path_normalization, findings),
        log: log(raw, findings),
    }
}

fn log(raw: &RawRouter, findings: &mut Findings<'_>) -> LogFilter {
    let Some(At { place, value }) = &raw.log else { return LogFilter::default() };
    LogFilter::parse(value).unwrap_or_else(|e| {
        findings.problem(*place, ROUTER.log.name(), format_args!("\"{value}\": {e}"));
        findings.hint("error, warn, info, debug, trace or off, also by module: info,quinn=debug");
        LogFilter::default()
    })
}

fn workers(raw: &RawRouter, findings: &mut Findings<'_>) -> NonZeroU16 {
    let most = *ROUTER.workers.kind().range.end();
    let wanted = ROUTER.workers.read(&raw.workers, findings).unwrap_or_else(|| {
        let available = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        u16::try_from(available).map_or(most, |available| available.min(most))
    });
    NonZeroU16::new(wanted).unwrap_or(NonZeroU16::MIN)
}

fn engine(raw: &RawRouter, findings: &mut Findings<'_>) -> Engine {
    let engine = ROUTER.engine.read(&raw.engine, findings);
    let place = place_of(&raw.engine);
    match (engine, each(&raw.interfaces).first()) {
        (Engine::AfXdp | Engine::Xdp, None) => {
            let name = if engine == Engine::Xdp { "xdp" } else { "af_xdp" };
            let why = format!("\"{name}\" needs to know the interfaces that receive the traffic");
            findings.problem(place, ROUTER.engine.name(), why);
            findings.hint("interfaces = [\"eth0\"], or --interface eth0");
        }
        (Engine::Auto, None) => findings.notice(
            Place::Whole,
            "no interfaces are named, so no XDP: the best engine is then reuseport (mend with interfaces = [\"eth0\"] or --interface eth0)",
        ),
        (Engine::Reuseport | Engine::Userspace, Some(interface)) => findings.notice(
            interface.place,
            "the engine does not go by interface: interfaces have no effect",
        ),
        (Engine::AfXdp | Engine::Xdp | Engine::Auto, Some(_)) | (Engine::Reuseport | Engine::Userspace, None) => {}
    }
    engine
}

fn interfaces(raw: &RawRouter, findings: &mut Findings<'_>) -> Vec<String> {
    let key = ROUTER.interfaces.name();
    let mut names: Vec<String> = Vec::new();
    for At { place, value: name } in each(&raw.interfaces) {
        // What the kernel's dev_valid_name() refuses.
        let impossible = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
        if name.is_empty()
            || name.len() > INTERFACE_NAME_MAX
            || [".", ".."].contains(&name.as_str())
            || name.contains(impossible)
        {
            let why = format!(
                "{name:?} can't be an interface: 1 to {INTERFACE_NAME_MAX} octets without slash, colon and space"
            );
            findings.problem(*place, key, why);
            findings.hint("`ip link` lists the interfaces");
        } else if names.contains(name) {
            findings.problem(*place, key, format_args!("\"{name}\" is listed twice"));
        } else {
            names.push(name.clone());
        }
    }
    names
}

fn bpf_dir(raw: &RawRouter, findings: &mut Findings<'_>) -> PathBuf {
    let path = ROUTER.bpf_dir.read(&raw.bpf_dir, findings);
    // The kernel reserves dots in names on a bpffs (kernel/bpf/inode.c, bpf_lookup).
    if path.file_name().is_some_and(|name| name.as_bytes().contains(&b'.')) {
        let why = format!("\"{}\" has a dot in its name, which a bpffs refuses", path.display());
        findings.problem(place_of(&raw.bpf_dir), ROUTER.bpf_dir.name(), why);
    }
    path
}

fn control(raw: &RawRouter, findings: &mut Findings<'_>) -> PathBuf {
    let path = ROUTER.control.read(&raw.control, findings);
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_MAX {
        let why = format!("a path of {length} octets; a Unix socket's has at most {SOCKET_PATH_MAX}");
        findings.problem(place_of(&raw.control), ROUTER.control.name(), why);
    }
    path
}

fn place_of<T>(raw: &Option<At<T>>) -> Place {
    raw.as_ref().map_or(Place::Whole, |at| at.place)
}

/// Where relative paths start: the file's own folder for the file's, the current one for the flags'.
fn base(place: Place, file: &str) -> PathBuf {
    match place {
        Place::Offset(_) => Path::new(file).parent().map(Path::to_owned).unwrap_or_default(),
        Place::Flag(_) | Place::Whole => PathBuf::new(),
    }
}
