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
/// configuration, if there is one, and the routes are those in its cluster.announce_table,
/// if its control socket is the one that is asked.
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
        let (places, unlooked) = self.places(global)?;
        let report = agent::detach(&places)?;
        if self.json.json {
            output::print_json(&Removed { schema: SCHEMA, removed: &report.removed, unlooked })?;
        } else {
            output::print(&text(&report, unlooked.as_deref()))?;
        }
        Ok(Exit::Done)
    }

    /// Where pins and control socket are: as the flags say, else as the configuration does. If that cannot be read, the flags
    /// have to say both. Routes are looked for only where the configuration is of the instance that is asked; why they are
    /// not, if it cannot be known whether there are any.
    fn places(&self, global: &Global) -> Result<(Places, Option<String>), Fail> {
        let (bpf_dir, control) = (self.bpf_dir.clone(), global.control.clone());
        let is_needed = bpf_dir.is_none() || control.is_none();
        let mut unlooked = None;
        let config = match Config::load(&global.config, &StartFlags::default(), None) {
            Ok(config) => Some(config),
            Err(error) if is_needed && global.config_is_expected() => {
                let hint = "--bpf-dir DIR and --control PATH, which need no configuration";
                return Err(Fail::from(error).hint(hint));
            }
            Err(error) if global.config_is_expected() => {
                unlooked = Some(format!("routes of cluster.announce_table were not looked for: {error}"));
                None
            }
            Err(_) => None,
        };
        let is_its = |config: &&Config| control.as_ref().is_none_or(|control| *control == config.router.control);
        let announce_table = config.as_ref().filter(is_its).and_then(|config| config.cluster.as_ref()?.announce_table);
        let router = config.map(|config| config.router);
        let said = router.map_or_else(
            || (config::DEFAULT_BPF_DIR.into(), config::DEFAULT_CONTROL.into()),
            |router| (router.bpf_dir, router.control),
        );
        let places = Places { bpf_dir: bpf_dir.unwrap_or(said.0), control: control.unwrap_or(said.1), announce_table };
        Ok((places, unlooked))
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Removed<'r> {
    schema: u32,
    removed: &'r [String],
    /// Why something may have been left.
    #[serde(skip_serializing_if = "Option::is_none")]
    unlooked: Option<String>,
}

fn text(report: &DetachReport, unlooked: Option<&str>) -> String {
    let removed: String = report.removed.iter().map(|path| format!("removed {path}\n")).collect();
    match unlooked {
        Some(unlooked) => format!("{removed}{unlooked}\n"),
        None if removed.is_empty() => "nothing was left\n".to_owned(),
        None => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_removed() {
        assert_eq!(text(&DetachReport::default(), None), "nothing was left\n");
        assert_eq!(text(&DetachReport::default(), Some("no file")), "no file\n");
        let report = DetachReport { removed: vec!["/bpf/link-eth0".to_owned(), "/bpf/flows".to_owned()] };
        assert_eq!(text(&report, None), "removed /bpf/link-eth0\nremoved /bpf/flows\n");
    }
}
