//! `quic-router detach`: puts the host back as it was before an agent that no longer runs.

use std::path::PathBuf;

use serde::Serialize;

use super::{
    fail::{Exit, Fail},
    options::{Global, Json},
    output,
};
use crate::{
    agent::{self, DetachReport, Places, api::SCHEMA},
    config::{self, Config, StartFlags},
};

/// Remove every link, pin, map and route of an instance that no longer runs
///
/// Refuses if an agent answers on the control socket. The folder of the pins is that of the
/// configuration, if there is one, and the routes are those in its cluster.announce_table.
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
        let report = agent::detach(&self.places(global)?)?;
        if self.json.json {
            output::print_json(&Removed { schema: SCHEMA, removed: &report.removed })?;
        } else {
            output::print(&text(&report))?;
        }
        Ok(Exit::Done)
    }

    /// Where pins and control socket are: as the flags say, else as the configuration does. If that cannot be read, the flags have to say
    /// both, and no routes are looked for.
    fn places(&self, global: &Global) -> Result<Places, Fail> {
        let (bpf_dir, control) = (self.bpf_dir.clone(), global.control.clone());
        let is_needed = bpf_dir.is_none() || control.is_none();
        let config = match Config::load(&global.config, &StartFlags::default(), None) {
            Ok(config) => Some(config),
            Err(error) if is_needed && global.config_is_expected() => {
                let hint = "--bpf-dir DIR and --control PATH, which need no configuration";
                return Err(Fail::from(error).hint(hint));
            }
            Err(_) => None,
        };
        let announce_table = config.as_ref().and_then(|config| config.cluster.as_ref()?.announce_table);
        let router = config.map(|config| config.router);
        let said = router.map_or_else(
            || (config::DEFAULT_BPF_DIR.into(), config::DEFAULT_CONTROL.into()),
            |router| (router.bpf_dir, router.control),
        );
        Ok(Places { bpf_dir: bpf_dir.unwrap_or(said.0), control: control.unwrap_or(said.1), announce_table })
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
