//! Options that verbs have in common.

use std::path::{Path, PathBuf};

use super::{client::Client, fail::Fail};
use crate::config::{self, Config, StartFlags};

/// What every verb takes.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    pub(super) config: PathBuf,

    #[arg(long, global = true, value_name = "PATH", help = control_help())]
    pub(super) control: Option<PathBuf>,
}

fn control_help() -> String {
    format!("The agent's control socket, in place of the configuration's or {}", config::DEFAULT_CONTROL)
}

impl Global {
    /// Whether there is a configuration, or should be one because it was named.
    pub(super) fn config_is_expected(&self) -> bool {
        self.config.exists() || self.config != Path::new(config::DEFAULT_PATH)
    }

    /// The control socket that is asked: as said, else as configured. A configuration that was
    /// not named and can't be read is no obstacle: then it is the default.
    pub(super) fn control(&self) -> Result<PathBuf, Fail> {
        if let Some(control) = &self.control {
            return Ok(control.clone());
        }
        if !self.config_is_expected() {
            return Ok(config::DEFAULT_CONTROL.into());
        }
        match Config::load(&self.config, &StartFlags::default(), None) {
            Ok(config) => Ok(config.router.control),
            Err(_) if self.config == Path::new(config::DEFAULT_PATH) => Ok(config::DEFAULT_CONTROL.into()),
            Err(error) => Err(Fail::from(error).hint("--control PATH, which needs no configuration")),
        }
    }

    /// The client for the agent on that socket.
    ///
    /// # Errors
    /// As for [`control`](Self::control), or if the system gives no runtime.
    pub(super) fn client(&self) -> Result<Client, Fail> {
        Client::new(&self.control()?)
    }
}

/// `--json`
#[derive(clap::Args, Debug)]
pub(super) struct Json {
    /// Answer in JSON, for programs
    #[arg(long)]
    pub(super) json: bool,
}
