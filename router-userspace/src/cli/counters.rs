//! `counters`: every packet's fate by reason, and whether the sums close.

use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode};

use clap::Args;

use super::{
    Output, Places,
    client::Agent,
    fail::Failed,
    text::{show, table},
};
use crate::agent::api;

#[derive(Args, Debug)]
pub(super) struct Counters {
    #[command(flatten)]
    output: Output,
    /// Show reasons that never occurred, too
    #[arg(long)]
    all: bool,
    /// Again and again, every so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2")]
    watch: Option<u64>,
}

impl Counters {
    pub(super) fn carry_out(&self, places: &Places) -> Result<ExitCode, Failed> {
        let agent = Agent::at(places);
        let ask = || agent.get::<api::Counters>("/v1/counters");
        show(self.output.json, self.watch, ask, |counters| render(counters, self.all))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn render(counters: &api::Counters, all: bool) -> String {
    let mut text = String::new();
    for stage in &counters.stages {
        let closes = if stage.closes { "yes" } else { "no (packets were on their way while it was read)" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}: {} received, sums close: {closes}", stage.name, stage.received);
        for (fate, reasons) in [("passed", &stage.passed), ("dropped", &stage.dropped), ("delivered", &stage.delivered)]
        {
            text.push_str(&render_reasons(fate, reasons, all));
        }
        text.push('\n');
    }
    let rows: Vec<_> = counters
        .slots
        .iter()
        .map(|s| {
            [u64::from(s.slot), s.xdp_local, s.xdp_redirected, s.xdp_unredirected, s.selected, s.unselected]
                .iter()
                .map(u64::to_string)
                .collect()
        })
        .collect();
    if !rows.is_empty() {
        let header = ["SLOT", "XDP LOCAL", "XDP REDIRECTED", "XDP UNREDIRECTED", "SELECTED", "UNSELECTED"];
        text.push_str(&table(&header, &rows));
    }
    text
}

fn render_reasons(fate: &str, reasons: &BTreeMap<String, u64>, all: bool) -> String {
    let shown = reasons.iter().filter(|(_, count)| all || **count > 0);
    shown.map(|(reason, count)| format!("  {fate:<10} {reason:<22} {count:>12}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_hidden_unless_asked_for() {
        let named = |pairs: &[(&str, u64)]| pairs.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect();
        let stage = api::Stage {
            name: "xdp".to_owned(),
            received: 3,
            passed: named(&[("not_ip", 1), ("not_udp", 0)]),
            dropped: named(&[("truncated", 0)]),
            delivered: named(&[("flow", 2)]),
            closes: true,
        };
        let counters = api::Counters { schema: 1, stages: vec![stage], slots: vec![] };
        assert_eq!(
            render(&counters, false),
            "xdp: 3 received, sums close: yes\n  passed     not_ip                            1\n  \
             delivered  flow                              2\n\n"
        );
        assert_eq!(render(&counters, true).lines().count(), 6);
    }
}
