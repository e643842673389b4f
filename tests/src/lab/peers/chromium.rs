//! Chromium without a screen: a page, loaded as a person's browser would.

use std::time::Duration;

use anyhow::Result;

use crate::lab::{Program, Running, home::HOST};

/// Loads `path` of the router, with a profile of its own; the page as it is when its scripts have
/// done their work.
pub fn page(lab: &Running, path: &str) -> Result<String> {
    let mut command = lab.wire().namespace().command(super::find("chromium")?);
    command.args([
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--dump-dom",
    ]);
    command.arg(format!("--user-data-dir={}", lab.home().path("chromium").display()));
    command.arg(format!("--host-resolver-rules=MAP {HOST} {}", lab.wire().router4()));
    command.arg(format!("--ignore-certificate-errors-spki-list={}", lab.home().key_digest("certificate")?));
    // Of a host of which one origin is forced, QUIC accepts a certificate of no known authority; the
    // port is another, so that nothing is forced where the page is.
    command.arg(format!("--origin-to-force-quic-on={HOST}:9"));
    // Time passes in the page only while nothing is awaited.
    command.arg("--virtual-time-budget=60000");
    command.arg(format!("https://{HOST}{path}"));
    Ok(Program::start("chromium", &mut command)?.finish(PATIENCE)?.succeeded()?.stdout)
}

const PATIENCE: Duration = Duration::from_secs(60);
