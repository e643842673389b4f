//! `quic-router upgrade`: the next generation, which takes over from the one that runs.

use std::{path::PathBuf, time::Duration};

use super::{
    client::Client,
    fail::{Exit, Fail},
    options::Json,
    output,
};
use crate::{
    agent::{
        api::{UpgradeRequest, Upgraded},
        control::Request,
    },
    config,
};

/// Start the new binary and hand over to it, losing no connection
///
/// The new generation reads the configuration anew and gets ready beside the one that runs. When
/// it has served a probe, new connections go to it, and the old one ends with its last connection,
/// or after drain_timeout. If it fails before, the old one serves on as if nothing had happened.
#[derive(clap::Args, Debug)]
pub(super) struct Upgrade {
    /// The new binary [default: what is now where the running agent was started from]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// How long the new generation may take to take over: 30s, 2m
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = config::duration)]
    timeout: Duration,

    #[command(flatten)]
    json: Json,
}

impl Upgrade {
    pub(super) fn execute(&self, client: Client) -> Result<Exit, Fail> {
        let binary = self.binary.as_ref().map(std::path::absolute).transpose();
        let binary = binary.map_err(|e| Fail::new(Exit::Usage, format!("--binary: {e}")))?;
        let timeout_ms = u64::try_from(self.timeout.as_millis()).ok();
        let request = Request::Upgrade(UpgradeRequest { binary, timeout_ms });
        let answer = client.patient(self.timeout).ask(&request)?;
        let upgraded: Upgraded = answer.read()?;
        output::print(&if self.json.json { answer.json() + "\n" } else { text(&upgraded) })?;
        Ok(Exit::Done)
    }
}

fn text(upgraded: &Upgraded) -> String {
    let mut text = format!(
        "generation {} (process {}) has taken over; `quic-router status` shows how the one before drains\n",
        upgraded.generation, upgraded.pid
    );
    for sentence in &upgraded.unprobed {
        text.push_str(&format!("listener {sentence}\n"));
    }
    text
}
