//! `[router]`: workers that the host has CPUs for, interfaces that an engine needs, paths that the kernel takes.

use std::{
    num::{NonZeroU16, NonZeroUsize},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    thread,
};

use super::places::place_of;
use crate::{
    config::{
        Engine, Router,
        error::{Findings, Place},
        keys::{ROUTER, RawRouter},
        raw::{At, each},
        values::SOCKET_PATH_MAX,
    },
    telemetry::LogFilter,
};

/// `IFNAMSIZ` of the kernel, less the terminating zero.
const INTERFACE_NAME_MAX: usize = 15;

pub(super) fn check(raw: &RawRouter, findings: &mut Findings<'_>) -> Router {
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
