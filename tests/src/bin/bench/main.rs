//! `cargo xtask bench`: what we claim about speed, measured beside a baseline in the same run.

use std::{env, process::ExitCode};

mod datapath;
mod engines;
mod flood;
mod http;
mod nginx;
mod takeover;
mod training;

fn main() -> ExitCode {
    let outcome = match env::args().nth(1).as_deref() {
        Some("datapath") => datapath::run(),
        Some("engines") => engines::run(env::args().nth(2).as_deref()),
        Some("flood") => flood::run(),
        Some("http") => http::run(),
        Some("idle") => http::run_idle(),
        Some("takeover") => takeover::run(),
        Some("training") => training::run(),
        _ => {
            eprintln!("usage: bench datapath | engines [sending] | flood | http | idle | takeover | training");
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
