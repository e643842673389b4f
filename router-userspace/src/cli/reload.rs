//! `quic-router reload`: the configuration, read again, while everything runs.

use super::{
    client::Client,
    fail::{Exit, Fail},
    options::Json,
    output,
};
use crate::agent::{api::Reloaded, control::Request};

/// Read the configuration again and bring it into force, losing no connection
///
/// Routes, upstreams, certificates, limits, listeners, interfaces and the number of workers change
/// in place. If anything about the new configuration is wrong, nothing changes.
#[derive(clap::Args, Debug)]
pub(super) struct Reload {
    #[command(flatten)]
    json: Json,
}

impl Reload {
    pub(super) fn execute(&self, client: &Client) -> Result<Exit, Fail> {
        let answer = client.ask(&Request::Reload)?;
        let reloaded: Reloaded = answer.read()?;
        output::print(&if self.json.json { answer.json() + "\n" } else { text(&reloaded) })?;
        Ok(Exit::Done)
    }
}

fn text(reloaded: &Reloaded) -> String {
    if reloaded.changes.is_empty() {
        return "nothing has changed\n".to_owned();
    }
    reloaded.changes.iter().map(|sentence| format!("{sentence}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_told_a_line_each() {
        let changes = vec!["routes have changed".to_owned(), "interface eth1 added".to_owned()];
        assert_eq!(text(&Reloaded { schema: 1, changes }), "routes have changed\ninterface eth1 added\n");
        assert_eq!(text(&Reloaded { schema: 1, changes: Vec::new() }), "nothing has changed\n");
    }
}
