//! What the agent says while it runs. For now: its log, on standard error.
//!
//! The rule this room keeps: one line an event, never one a packet.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{
    EnvFilter, Registry, filter::ParseError, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

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
    fn with_kernel_level(&self, level: &str) -> Self {
        Self(format!("{},{KERNEL_PROGRAMS}={level}", self.0))
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

/// The log of this process.
#[derive(Clone, Debug)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    kernel_level: Option<String>,
}

impl Log {
    /// Starts it. Of the kernel's programs it has what is at `kernel_level` or above.
    ///
    /// There is one log in a process: whoever set one up before keeps it.
    pub fn start(filter: &LogFilter, kernel_level: Option<String>) -> Self {
        let (layer, handle) = reload::Layer::new(EnvFilter::default());
        let log = Self { filter: handle, kernel_level };
        log.change(filter);
        let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
        let _ = tracing_subscriber::registry().with(layer).with(lines).try_init();
        log
    }

    /// Logs by `filter` from now on.
    pub fn change(&self, filter: &LogFilter) {
        let filter = match &self.kernel_level {
            Some(level) => filter.with_kernel_level(level),
            None => filter.clone(),
        };
        // Without anybody who logs by it there is nothing to change.
        let _ = self.filter.reload(EnvFilter::new(&filter.0));
    }
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
