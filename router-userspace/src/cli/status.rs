//! `status`: the whole agent at a glance.

use std::{fmt::Write as _, process::ExitCode};

use clap::Args;

use super::{
    Output, Places,
    client::Agent,
    fail::Failed,
    text::{bytes, seconds, show, table},
};
use crate::agent::api;

#[derive(Args, Debug)]
pub(super) struct Status {
    #[command(flatten)]
    output: Output,
    /// Again and again, every so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2")]
    watch: Option<u64>,
}

impl Status {
    pub(super) fn carry_out(&self, places: &Places) -> Result<ExitCode, Failed> {
        let agent = Agent::at(places);
        let status = show(self.output.json, self.watch, || agent.get::<api::Status>("/v1/status"), render)?;
        Ok(if status.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn render(status: &api::Status) -> String {
    let mut text = String::new();
    let health = if status.healthy { "healthy" } else { "unhealthy" };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{health}: node {}, generation {}, up {}, process {}, version {} ({})",
        status.node_id,
        status.generation,
        seconds(status.uptime_seconds),
        status.pid,
        status.version,
        status.build
    );
    for problem in &status.problems {
        let _ = writeln!(text, "  problem: {problem}");
    }
    let dash = || "-".to_owned();
    let rows: Vec<_> = status
        .interfaces
        .iter()
        .map(|i| {
            let program = i.program_id.map_or_else(dash, |id| id.to_string());
            let mode = i.mode.clone().unwrap_or_else(dash);
            vec![i.name.clone(), i.engine.clone(), mode, program, i.why.clone().unwrap_or_default()]
        })
        .collect();
    let _ = write!(text, "\n{}", table(&["INTERFACE", "ENGINE", "MODE", "PROGRAM", "WHY"], &rows));
    let rows: Vec<_> = status
        .listeners
        .iter()
        .map(|l| vec![l.id.to_string(), l.address.to_string(), l.certificates.clone()])
        .collect();
    let _ = write!(text, "\n{}", table(&["LISTENER", "ADDRESS", "CERTIFICATES"], &rows));
    let _ = write!(text, "\n{}", render_totals(&status.totals));
    if let Some(flows) = &status.flow_table {
        let _ = writeln!(
            text,
            "flow table   {} of {} entries, {} swept, {} not written for lack of room",
            flows.entries, flows.capacity, flows.swept, flows.full
        );
    }
    text
}

fn render_totals(t: &api::Totals) -> String {
    format!(
        "connections  {} now, {} in handshake, {} accepted, {} failed\n\
         refused      {} by max_connections, {} by max_connections_per_ip, {} by max_handshakes; {} sent a Retry\n\
         datagrams    {} received ({}), {} own, {} bad, {} handed over, {} lost handing over, {} dropped by sockets\n",
        t.connections_now,
        t.handshakes_now,
        t.accepted,
        t.handshakes_failed,
        t.refused_connections,
        t.refused_per_ip,
        t.refused_handshakes,
        t.retried,
        t.datagrams_received,
        bytes(t.bytes_received),
        t.datagrams_own,
        t.datagrams_dropped,
        t.handed_over,
        t.hand_over_dropped,
        t.socket_drops
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_comes_first_and_problems_are_told() {
        let status = api::Status {
            schema: 1,
            version: "1.2.3".to_owned(),
            build: "release".to_owned(),
            pid: 42,
            node_id: 7,
            generation: 3,
            uptime_seconds: 61,
            healthy: false,
            problems: vec!["worker 2 has ended: its connections are lost".to_owned()],
            interfaces: vec![api::Interface {
                name: "eth0".to_owned(),
                engine: "xdp".to_owned(),
                mode: Some("native".to_owned()),
                why: None,
                program_id: Some(9),
            }],
            listeners: vec![],
            totals: api::Totals { connections_now: 5, ..api::Totals::default() },
            flow_table: None,
        };
        let text = render(&status);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "unhealthy: node 7, generation 3, up 1m 1s, process 42, version 1.2.3 (release)");
        assert_eq!(lines[1], "  problem: worker 2 has ended: its connections are lost");
        assert_eq!(lines[3..5], ["INTERFACE  ENGINE  MODE    PROGRAM  WHY", "eth0       xdp     native        9"]);
        assert!(text.contains("connections  5 now, 0 in handshake"), "{text}");
    }
}
