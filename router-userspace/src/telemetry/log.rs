//! The log of this process, on standard error.

use std::{
    fmt,
    io::{self, IsTerminal as _},
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::{
    EnvFilter, Registry, filter::LevelFilter, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

/// What to log: a level, or a level for each module, as in `info,router_userspace::edge=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

/// Why a text is no [`LogFilter`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FilterError(String);

impl LogFilter {
    /// Reads a filter.
    ///
    /// # Errors
    /// If it is not one.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        // A lone word would be taken for a module, of which everything is logged, and of others
        // nothing. What is in brackets, for spans, may have commas in it.
        let stray = text.split(',').find(|part| !text.contains('[') && !part.contains('=') && !is_level(part));
        if let Some(word) = stray {
            return Err(FilterError(format!("{word:?} is no level")));
        }
        match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(e) => Err(FilterError(e.to_string())),
        }
    }

    /// The same, and from the kernel's programs whatever is at `level` or above.
    fn with_kernel_level(&self, level: &str) -> Self {
        Self(format!("{},{KERNEL_PROGRAMS}={level}", self.0))
    }
}

fn is_level(word: &str) -> bool {
    !word.trim().is_empty() && word.trim().parse::<LevelFilter>().is_ok()
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

/// As it was written.
impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The log of this process.
#[derive(Clone, Debug)]
pub struct Log {
    layer: reload::Handle<EnvFilter, Registry>,
    in_force: Arc<Mutex<LogFilter>>,
    kernel_level: Option<String>,
}

impl Log {
    /// Starts it. Of the kernel's programs it has what is at `kernel_level` or above.
    ///
    /// There is one log in a process: the first one that was set up stays.
    pub fn start(filter: &LogFilter, kernel_level: Option<String>) -> Self {
        let (layer, handle) = reload::Layer::new(EnvFilter::default());
        let log = Self { layer: handle, in_force: Arc::default(), kernel_level };
        log.change(filter);
        let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
        let _ = tracing_subscriber::registry().with(layer).with(lines).try_init();
        log
    }

    /// Logs by `filter` from now on.
    pub fn change(&self, filter: &LogFilter) {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone_from(filter);
        let filter = match &self.kernel_level {
            Some(level) => filter.with_kernel_level(level),
            None => filter.clone(),
        };
        // It fails where no subscriber logs by it: there is nothing to change then.
        let _ = self.layer.reload(EnvFilter::new(&filter.0));
    }

    /// What it logs by.
    pub fn filter(&self) -> LogFilter {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Under which name the kernel's programs log: the crate they are compiled from.
const KERNEL_PROGRAMS: &str = "quic_router_bpf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_one_for_each_module() {
        for text in ["info", "WARN", "off", "info,router_userspace::edge=debug", "quinn=debug", "warn,[request]=info"] {
            assert_eq!(LogFilter::parse(text).unwrap().to_string(), text);
        }
        for text in ["info,edge=loud", "edge=deb ug", "=", "a=b=c"] {
            assert!(LogFilter::parse(text).is_err(), "{text}");
        }
        for (text, word) in [("verbose", "\"verbose\""), ("info,quinn", "\"quinn\""), ("", "\"\"")] {
            let error = LogFilter::parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("{word} is no level"));
        }
    }

    #[test]
    fn the_kernel_has_a_level_of_its_own() {
        let filter = LogFilter::parse("warn").unwrap().with_kernel_level("debug");
        assert_eq!(filter, LogFilter("warn,quic_router_bpf=debug".to_owned()));
        assert!(LogFilter::parse(&filter.0).is_ok());
    }

    #[test]
    fn what_is_in_force_is_what_was_asked_for_last() {
        let log = Log::start(&LogFilter::default(), Some("debug".to_owned()));
        assert_eq!(log.filter().to_string(), "info");
        log.clone().change(&LogFilter::parse("warn,quinn=debug").unwrap());
        assert_eq!(log.filter().to_string(), "warn,quinn=debug");
    }
}
