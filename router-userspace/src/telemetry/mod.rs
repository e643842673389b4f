//! What the agent tells of itself. In this version: its log, on standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, filter::ParseError};

/// Starts logging what `filter` lets through: a level, or targets with levels
/// (`info,router_userspace::edge=debug`).
///
/// # Errors
/// If `filter` cannot be understood.
pub fn start(filter: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    Ok(())
}
