//! What the agent says while it runs. For now: its log, on standard error.
//!
//! The rule this room keeps: one line an event, never one a packet.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, filter::ParseError};

/// What to log: a level, or a level for each module, as in `info,router_userspace::edge=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// Reads a filter.
    ///
    /// # Errors
    /// If it is not one.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        EnvFilter::builder().parse(text).map(|_| Self(text.to_owned()))
    }

    /// The same, and from the kernel's programs whatever is at `level` or above.
    pub fn with_kernel_level(self, level: &str) -> Self {
        Self(format!("{},{KERNEL_PROGRAMS}={level}", self.0))
    }
}

/// Starts the log. Later calls have no effect: there is one log in a process.
pub fn start(filter: &LogFilter) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&filter.0))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // Whoever set up a log before keeps it.
    let _ = log.try_init();
}

/// Under which name the kernel's programs log: the crate they are compiled from.
const KERNEL_PROGRAMS: &str = "quic_router_bpf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_one_for_each_module() {
        for text in ["info", "WARN", "off", "info,router_userspace::edge=debug"] {
            assert_eq!(LogFilter::parse(text).unwrap(), LogFilter(text.to_owned()));
        }
        for text in ["info,edge=loud", "edge=deb ug", "=", "a=b=c"] {
            assert!(LogFilter::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_kernel_has_a_level_of_its_own() {
        let filter = LogFilter::parse("warn").unwrap().with_kernel_level("debug");
        assert_eq!(filter, LogFilter("warn,quic_router_bpf=debug".to_owned()));
        assert!(LogFilter::parse(&filter.0).is_ok());
    }
}
