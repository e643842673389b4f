//! `detach`: removes what an instance that no longer runs has left.

use std::process::ExitCode;

use clap::Args;

use super::{
    Places,
    fail::{Failed, print},
};
use crate::{
    agent,
    config::{Config, StartFlags},
    datapath,
};

#[derive(Args, Debug)]
pub(super) struct Detach {
    /// Where it pinned its maps and links [default: as configured, else /sys/fs/bpf/quic-router]
    #[arg(long, value_name = "DIR")]
    bpf_dir: Option<std::path::PathBuf>,
}

impl Detach {
    pub(super) fn carry_out(&self, places: &Places) -> Result<ExitCode, Failed> {
        let configured = Config::load(&places.config, &StartFlags::default(), places.control.as_deref()).ok();
        let router = configured.map(|config| config.router);
        let bpf_dir = self
            .bpf_dir
            .clone()
            .or_else(|| router.as_ref().map(|router| router.bpf_dir.clone()))
            .unwrap_or_else(datapath::default_directory);
        let control = places
            .control
            .clone()
            .or_else(|| router.as_ref().map(|router| router.control.clone()))
            .unwrap_or_else(|| "/run/quic-router/control.sock".into());
        let report = agent::detach(&bpf_dir, &control)?;
        if report.removed.is_empty() {
            print(&format!("nothing was left in {}\n", bpf_dir.display()))?;
        }
        for path in report.removed {
            print(&format!("removed {path}\n"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
