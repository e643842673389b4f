//! `cargo xtask bench`: what we claim about speed, measured beside a baseline in the same run.

use std::{env, process::ExitCode};

use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

mod crypto;
mod datapath;
mod engines;
mod http;
mod nginx;
mod takeover;
mod training;

fn main() -> ExitCode {
    let outcome = match env::args().nth(1).as_deref() {
        Some("crypto") => crypto::run(),
        Some("datapath") => datapath::run(),
        Some("engines") => engines::run(env::args().nth(2).as_deref()),
        Some("http") => http::run(),
        Some("takeover") => takeover::run(),
        Some("training") => training::run(),
        _ => {
            eprintln!("usage: bench crypto | datapath | engines [sending] | http | takeover | training");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is measured stays where it is; which CPU that is.
fn stay_on_this_cpu() -> anyhow::Result<u32> {
    let cpu = sched_getcpu()?;
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)?;
    Ok(cpu as u32)
}
