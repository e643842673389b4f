//! `cargo xtask bench`: what we claim about speed, measured beside a baseline in the same run.

use std::{env, process::ExitCode};

mod datapath;
mod engines;
mod http;
mod nginx;
mod takeover;

fn main() -> ExitCode {
    let outcome = match env::args().nth(1).as_deref() {
        Some("datapath") => datapath::run(),
        Some("engines") => engines::run(),
        Some("http") => http::run(),
        Some("takeover") => takeover::run(),
        _ => {
            eprintln!("usage: bench datapath | engines | http | takeover");
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
