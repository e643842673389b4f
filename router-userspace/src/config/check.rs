//! Raw values in, a [`Config`] out: the one place that decides what is valid.
//!
//! Checking goes on after a problem, with a stand-in for the wrong value, so that an operator
//! sees everything at once; a stand-in never leaves this room, because [`Findings::conclude`]
//! comes before the `Config`.

use std::{
    num::NonZeroU16,
    ops::RangeInclusive,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    Config, ConfigError, CpuMap, Engine, PathNormalization, Router,
    error::{Findings, Place},
    file::{At, RawConfig, RawCount, RawDuration, RawRouter},
    suggest::nearest,
    values::{self, SOCKET_PATH_MAX},
};
use crate::telemetry::LogFilter;

mod addresses;
mod af_xdp;
mod connection_id;
mod limits;
mod listeners;
mod observe;
mod routes;
mod transport;
mod upstreams;

/// Slots of a node, and so most workers: slot numbers are one octet of the connection ID.
const WORKERS: RangeInclusive<i64> = 1..=255;
/// `IFNAMSIZ` of the kernel, less the terminating zero.
const INTERFACE_NAME_MAX: usize = 15;

const CPU_MAP: [(&str, CpuMap); 3] = [("auto", CpuMap::Auto), ("always", CpuMap::Always), ("never", CpuMap::Never)];
const PATHS: [(&str, PathNormalization); 2] =
    [("normalize", PathNormalization::Normalize), ("as-is", PathNormalization::AsIs)];
const ENGINES: [(&str, Engine); 5] = [
    ("auto", Engine::Auto),
    ("af_xdp", Engine::AfXdp),
    ("xdp", Engine::Xdp),
    ("reuseport", Engine::Reuseport),
    ("userspace", Engine::Userspace),
];

/// Checks everything; gives the configuration, or all that is wrong with it.
pub(super) fn config(raw: RawConfig, mut findings: Findings<'_>) -> Result<Config, ConfigError> {
    let router = router(raw.router, &mut findings);
    let connection_id = connection_id::check(&raw.connection_id, &mut findings);
    let limits = limits::check(&raw.limits, &mut findings);
    let transport = transport::check(&raw.transport, &limits, &mut findings);
    let af_xdp = af_xdp::check(raw.af_xdp, router.engine, &mut findings);
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

fn router(raw: RawRouter, findings: &mut Findings<'_>) -> Router {
    let engine = engine(&raw, findings);
    Router {
        node_id: number(raw.node_id.as_ref(), ("router.node_id", 1), 0..=i64::from(u16::MAX), findings),
        workers: workers(raw.workers.as_ref(), findings),
        engine,
        cpu_map: cpu_map(raw.cpu_map.as_ref(), findings),
        interfaces: interfaces(raw.interfaces, findings),
        bpf_dir: bpf_dir(raw.bpf_dir, findings),
        state_dir: absolute(raw.state_dir, ("router.state_dir", "/var/lib/quic-router"), findings),
        control: control(raw.control, findings),
        drain_timeout: duration(raw.drain_timeout.as_ref(), ("router.drain_timeout", 60), findings),
        debug_headers: raw.debug_headers,
        path_normalization: path_normalization(raw.path_normalization.as_ref(), findings),
        log: log(raw.log, findings),
    }
}

fn log(raw: Option<At<String>>, findings: &mut Findings<'_>) -> LogFilter {
    let Some(At { place, value }) = raw else { return LogFilter::default() };
    LogFilter::parse(&value).unwrap_or_else(|e| {
        findings.problem(place, "router.log", format_args!("\"{value}\": {e}"));
        findings.hint("error, warn, info, debug, trace or off, also by module: info,quinn=debug");
        LogFilter::default()
    })
}

fn workers(raw: Option<&At<RawCount>>, findings: &mut Findings<'_>) -> NonZeroU16 {
    let available = thread::available_parallelism().map_or(1, |count| i64::try_from(count.get()).unwrap_or(i64::MAX));
    let available = available.min(*WORKERS.end());
    let wanted = match raw {
        None => available,
        Some(At { value: RawCount::Word(word), .. }) if word == "auto" => available,
        Some(At { value: RawCount::Number(number), .. }) if WORKERS.contains(number) => *number,
        Some(At { place, value }) => {
            let value = match value {
                RawCount::Number(number) => number.to_string(),
                RawCount::Word(word) => format!("\"{word}\""),
            };
            findings.problem(
                *place,
                "router.workers",
                format_args!("{value} is not \"auto\" or a number from 1 to 255"),
            );
            available
        }
    };
    u16::try_from(wanted).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN)
}

fn engine(raw: &RawRouter, findings: &mut Findings<'_>) -> Engine {
    let engine = match &raw.engine {
        None => Engine::Auto,
        Some(at) => match one_of(at, "router.engine", &ENGINES, findings) {
            Some(engine) => engine,
            None => return Engine::Auto,
        },
    };
    let place = raw.engine.as_ref().map_or(Place::Whole, |at| at.place);
    match (engine, raw.interfaces.first()) {
        (Engine::AfXdp | Engine::Xdp, None) => {
            let name = if engine == Engine::Xdp { "xdp" } else { "af_xdp" };
            let why = format!("\"{name}\" needs to know the interfaces that receive the traffic");
            findings.problem(place, "router.engine", why);
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

fn cpu_map(raw: Option<&At<String>>, findings: &mut Findings<'_>) -> CpuMap {
    raw.and_then(|at| one_of(at, "router.cpu_map", &CPU_MAP, findings)).unwrap_or(CpuMap::Auto)
}

fn path_normalization(raw: Option<&At<String>>, findings: &mut Findings<'_>) -> PathNormalization {
    raw.and_then(|at| one_of(at, "router.path_normalization", &PATHS, findings)).unwrap_or(PathNormalization::Normalize)
}

fn interfaces(raw: Vec<At<String>>, findings: &mut Findings<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for At { place, value: name } in raw {
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
            findings.problem(place, "router.interfaces", why);
            findings.hint("`ip link` lists the interfaces");
        } else if names.contains(&name) {
            findings.problem(place, "router.interfaces", format_args!("\"{name}\" is listed twice"));
        } else {
            names.push(name);
        }
    }
    names
}

fn bpf_dir(raw: Option<At<PathBuf>>, findings: &mut Findings<'_>) -> PathBuf {
    let place = raw.as_ref().map_or(Place::Whole, |at| at.place);
    let path = absolute(raw, ("router.bpf_dir", "/sys/fs/bpf/quic-router"), findings);
    // The kernel reserves dots in names on a bpffs (kernel/bpf/inode.c, bpf_lookup).
    if path.file_name().is_some_and(|name| name.as_bytes().contains(&b'.')) {
        let why = format!("\"{}\" has a dot in its name, which a bpffs refuses", path.display());
        findings.problem(place, "router.bpf_dir", why);
    }
    path
}

fn control(raw: Option<At<PathBuf>>, findings: &mut Findings<'_>) -> PathBuf {
    let place = raw.as_ref().map_or(Place::Whole, |at| at.place);
    let path = absolute(raw, ("router.control", "/run/quic-router/control.sock"), findings);
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_MAX {
        let why = format!("a path of {length} octets; a Unix socket's has at most {SOCKET_PATH_MAX}");
        findings.problem(place, "router.control", why);
    }
    path
}

fn absolute(raw: Option<At<PathBuf>>, (key, default): (&str, &str), findings: &mut Findings<'_>) -> PathBuf {
    let Some(At { place, value: path }) = raw else { return PathBuf::from(default) };
    if !path.is_absolute() {
        findings.problem(place, key, format_args!("\"{}\" is not an absolute path", path.display()));
        findings.hint("begin it with a slash: the agent may start in any folder");
    } else if path == Path::new("/") {
        findings.problem(place, key, "\"/\" is the root folder");
    }
    path
}

/// A number in `range`, which must fit `N`.
fn number<N: TryFrom<i64>>(
    raw: Option<&At<i64>>,
    (key, default): (&str, N),
    range: RangeInclusive<i64>,
    findings: &mut Findings<'_>,
) -> N {
    let Some(At { place, value }) = raw else { return default };
    if let Some(number) = N::try_from(*value).ok().filter(|_| range.contains(value)) {
        return number;
    }
    findings.problem(*place, key, format_args!("{value} is out of range, {} to {}", range.start(), range.end()));
    default
}

/// A duration; the default is in seconds.
fn duration(raw: Option<&At<RawDuration>>, (key, default): (&str, u64), findings: &mut Findings<'_>) -> Duration {
    let default = Duration::from_secs(default);
    let Some(At { place, value: RawDuration::Text(text) }) = raw else { return default };
    values::duration(text).unwrap_or_else(|why| {
        findings.problem(*place, key, why);
        default
    })
}

/// The value that a word stands for.
fn one_of<T: Copy>(at: &At<String>, key: &str, words: &[(&str, T)], findings: &mut Findings<'_>) -> Option<T> {
    let found = words.iter().find(|(word, _)| *word == at.value);
    if found.is_none() {
        let all: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        findings.problem(at.place, key, format_args!("\"{}\" is none of {}", at.value, all.join(", ")));
        if let Some(word) = nearest(&at.value, words.iter().map(|(word, _)| *word)) {
            findings.hint(format!("did you mean \"{word}\"?"));
        }
    }
    found.map(|(_, value)| *value)
}

/// Where relative paths start: the file's own folder for the file's, the current one for the flags'.
fn base(place: Place, file: &str) -> PathBuf {
    match place {
        Place::Offset(_) => Path::new(file).parent().map(Path::to_owned).unwrap_or_default(),
        Place::Flag(_) | Place::Whole => PathBuf::new(),
    }
}
