//! `s2nq`: an s2n-quic client (HTTP/3 by the h3 crate, HTTP/0.9) for the tests: many connections, each of which counts.
//!
//! ```text
//! s2nq get -url https://10.0.0.1:443/bytes/100000 -n 100 -c 100 -r 4 -json
//! s2nq hq  transfer downloads https://10.0.0.1:443/a https://10.0.0.1:443/b
//! ```
//!
//! The rule it keeps, as its sisters do: whatever was lost shows in the summary and in the exit status. It is 0 only if
//! every connection was made and every request got the right octets.

mod endpoint;
mod get;
mod hq;
mod options;
mod tally;
mod transport;

use std::{env, process::ExitCode};

use anyhow::{Context as _, Result, bail};

fn main() -> ExitCode {
    let run = || -> Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
        let arguments: Vec<String> = env::args().skip(1).collect();
        match arguments.split_first() {
            Some((verb, rest)) if verb == "get" => runtime.block_on(get::run(options::parse(rest)?)),
            Some((verb, rest)) if verb == "hq" => runtime.block_on(hq::run(rest)),
            _ => bail!("one of: s2nq get, s2nq hq"),
        }
    };
    run().unwrap_or_else(|error| {
        eprintln!("s2nq: {error:#}");
        ExitCode::FAILURE
    })
}
