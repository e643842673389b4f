//! The eBPF object that the build embedded, and its programs.

use std::io::ErrorKind;

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{MapError, ProgramArray},
    programs::{ProgramError, SkReuseport, Xdp},
};
use aya_log::EbpfLogger;
use router_common::maps::{PROGRAMS_MAX, Program, names};
use tokio::{io::unix::AsyncFd, task::JoinHandle};

use super::{
    error::{DatapathError, Result},
    pins::Pins,
    size::Size,
};

/// Name of the XDP program.
pub(super) const STEER: &str = "steer";
/// Name of the program that benchmarks measure the others by.
const FLOOR: &str = "floor";
/// Name of the `sk_reuseport` program.
pub(super) const SELECT: &str = "select";

/// Creates the maps of the object, or takes those that are pinned in `pins`; the object with
/// diagnostics if `kernel_log` names a level.
pub(super) fn load(size: &Size, kernel_log: Option<&str>, pins: Option<&Pins>) -> Result<(Ebpf, Option<KernelLog>)> {
    let level = kernel_log.map(level).transpose()?;
    let mut loader = EbpfLoader::new();
    loader.map_max_entries(names::FLOWS, size.flows).map_max_entries(names::CPUS, size.cpus);
    for name in names::ALL {
        if let Some(pins) = pins {
            loader.map_pin_path(name, pins.map(name));
        }
    }
    if let Some(level) = &level {
        loader.override_global(aya_log::LEVEL, level, true);
    }
    let object = if level.is_some() { WITH_LOG } else { OBJECT };
    let mut ebpf = loader.load(object).map_err(|e| DatapathError::from(e).or_not_permitted())?;
    let log = level.map(|_| KernelLog::start(&mut ebpf)).transpose()?;
    Ok((ebpf, log))
}

/// Puts the programs into the kernel: here the verifier has its say.
pub(super) fn load_programs(ebpf: &mut Ebpf) -> Result<()> {
    xdp(ebpf)?.load().map_err(|e| DatapathError::from(e).or_not_permitted())?;
    select(ebpf)?.load().map_err(|e| DatapathError::from(e).or_not_permitted())?;
    for program in Program::ALL {
        xdp_program(ebpf, name(program))?.load().map_err(|e| DatapathError::from(e).or_not_permitted())?;
    }
    Ok(())
}

/// Says where `steer` goes on. A generation that comes after another, whose map this is too, has programs of the
/// same meaning: the schema is the same.
pub(super) fn link_programs(ebpf: &mut Ebpf) -> Result<()> {
    for program in Program::ALL {
        let fd = xdp_program(ebpf, name(program))?.fd()?.try_clone().map_err(ProgramError::from)?;
        let map = ebpf.map_mut(names::PROGRAMS).ok_or(DatapathError::MissingMap(names::PROGRAMS))?;
        ProgramArray::try_from(map)?.set(program as u32, &fd, 0)?;
    }
    let map = ebpf.map_mut(names::PROGRAMS).ok_or(DatapathError::MissingMap(names::PROGRAMS))?;
    let mut programs = ProgramArray::try_from(map)?;
    // One of a version that had more of them would stay in the kernel for as long as the map.
    for free in Program::ALL.len() as u32..PROGRAMS_MAX {
        match programs.clear_index(&free) {
            Err(MapError::SyscallError(e)) if e.io_error.kind() == ErrorKind::NotFound => {}
            cleared => cleared?,
        }
    }
    Ok(())
}

/// The name of a program that `steer` goes on with.
fn name(program: Program) -> &'static str {
    match program {
        Program::FirstFlight => "first_flight",
        Program::Negotiate => "negotiate",
        Program::Challenge => "challenge",
        Program::Forward => "forward",
        Program::Unwrap => "unwrap",
    }
}

/// The XDP program.
pub(super) fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    xdp_program(ebpf, STEER)
}

fn xdp_program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp> {
    Ok(ebpf.program_mut(name).ok_or(DatapathError::MissingProgram(name))?.try_into()?)
}

/// The `sk_reuseport` program.
pub(super) fn select(ebpf: &mut Ebpf) -> Result<&mut SkReuseport> {
    Ok(ebpf.program_mut(SELECT).ok_or(DatapathError::MissingProgram(SELECT))?.try_into()?)
}

/// The benchmarks' program, loaded when first asked for.
pub(super) fn floor(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    let program = xdp_program(ebpf, FLOOR)?;
    if program.fd().is_err() {
        program.load()?;
    }
    Ok(program)
}

/// Carries the programs' diagnostics into the agent's log while it lives.
pub(super) struct KernelLog(JoinHandle<()>);

impl KernelLog {
    fn start(ebpf: &mut Ebpf) -> Result<Self> {
        let failed = |e: &dyn std::fmt::Display| DatapathError::KernelLog(e.to_string());
        let logger = EbpfLogger::init(ebpf).map_err(|e| failed(&e))?;
        #[expect(unsafe_code, reason = "tokio wants a promise about the file descriptor")]
        // SAFETY: the logger owns its ring buffer's descriptor, never closes or replaces it, and
        // moves into the registration.
        let mut logger = unsafe { AsyncFd::register(logger) }.map_err(|e| failed(&e))?;
        Ok(Self(tokio::spawn(async move {
            while let Ok(mut ready) = logger.readable_mut().await {
                ready.get_inner_mut().flush();
                ready.clear_ready();
            }
        })))
    }
}

impl Drop for KernelLog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The number of a log level in the object.
fn level(name: &str) -> Result<u8> {
    match name {
        "error" => Ok(1),
        "warn" => Ok(2),
        "info" => Ok(3),
        "debug" => Ok(4),
        "trace" => Ok(5),
        other => Err(DatapathError::KernelLog(format!("{other:?} is not a level: error, warn, info, debug or trace"))),
    }
}

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/quic-router-bpf"));
static WITH_LOG: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/quic-router-bpf-log"));
