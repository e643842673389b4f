//! `quic-router detach`: puts the host back as it was before an agent that no longer runs.

use std::path::PathBuf;

use serde::Serialize;

use super::{
    fail::{Exit, Fail},
    options::{Global, Json},
    output,
};
use crate::{
    agent::{self, DetachReport, api::SCHEMA},
    config::{self, Config, StartFlags},
};

/// Remove every link, pin and map of an instance that no longer runs
///
/// Refuses if an agent answers on the control socket. The folder of the pins is that of the
/// configuration, if there is one.
#[derive(clap::Args, Debug)]
pub(super) struct Detach {
    /// Folder of the pinned maps and links, in place of the configuration's
    #[arg(long, value_name = "DIR")]
    bpf_dir: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

impl Detach {
    pub(super) fn execute(&self, global: &Global) -> Result<Exit, Fail> {
        let (bpf_dir, control) = self.places(global)?;
        let report = agent::detach(&bpf_dir, &control)?;
        if self.json.json {
            output::print_json(&Removed { schema: SCHEMA, removed: &report.removed })?;
        } else {
            output::print(&text(&report))?;
        }
        Ok(Exit::Done)
    }

    /// Where pins and control socket are: as the flags say, else as the configuration does, which
    /// is read only if it is needed and there.
    fn places(&self, global: &Global) -> Result<(PathBuf, PathBuf), Fail> {
        let (mut bpf_dir, mut control) = (self.bpf_dir.clone(), global.control.clone());
        if (bpf_dir.is_none() || control.is_none()) && global.config_is_expected() {
            let config = Config::load(&global.config, &StartFlags::default(), None).map_err(|error| {
                Fail::from(error).hint("--bpf-dir DIR and --control PATH, which need no configuration")
            })?;
            bpf_dir.get_or_insert(config.router.bpf_dir);
            control.get_or_insert(config.router.control);
        }
        let or_default = |path: Option<PathBuf>, usual: &str| path.unwrap_or_else(|| usual.into());
        Ok((or_default(bpf_dir, config::DEFAULT_BPF_DIR), or_default(control, config::DEFAULT_CONTROL)))
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Removed<'r> {
    schema: u32,
    removed: &'r [String],
}

fn text(report: &DetachReport) -> String {
    if report.removed.is_empty() {
        return "nothing was left\n".to_owned();
    }
    report.removed.iter().map(|path| format!("removed {path}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_removed() {
        assert_eq!(text(&DetachReport::default()), "nothing was left\n");
        let report = DetachReport { removed: vec!["/bpf/link-eth0".to_owned(), "/bpf/flows".to_owned()] };
        assert_eq!(text(&report), "removed /bpf/link-eth0\nremoved /bpf/flows\n");
    }
}
