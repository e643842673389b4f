//! `quic-router counters`: every packet's fate by reason, and whether the sums close.

use std::collections::BTreeMap;

use super::{
    client::Client,
    fail::{Exit, Fail},
    options::Json,
    output::{
        Align::{Left, Right},
        Table, count,
    },
    watch::Watch,
};
use crate::agent::{api, control::Request};

/// Show every packet's fate by reason, in all stages, and whether the sums close
#[derive(clap::Args, Debug)]
pub(super) struct Counters {
    /// Show reasons that no packet had, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    json: Json,
}

impl Counters {
    pub(super) fn execute(&self, client: &Client) -> Result<Exit, Fail> {
        self.watch.print(|| {
            let answer = client.ask(&Request::Counters)?;
            let counters: api::Counters = answer.read()?;
            let shown = if self.all { Shown::All } else { Shown::Counted };
            let text = if self.json.json { answer.json() + "\n" } else { text(&counters, shown) };
            Ok((text, Exit::Done))
        })
    }
}

/// Which reasons are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    All,
    /// Those that a packet had.
    Counted,
}

fn text(counters: &api::Counters, shown: Shown) -> String {
    let mut sections: Vec<String> = counters.stages.iter().map(|of| stage(of, shown)).collect();
    if !counters.slots.is_empty() {
        sections.push(format!("what the kernel gave each slot\n{}", slots(&counters.slots).text()));
    }
    sections.join("\n")
}

fn stage(stage: &api::Stage, shown: Shown) -> String {
    let mut table = Table::new(2, &[Left, Left, Right]);
    table.row(["received".to_owned(), String::new(), count(stage.received)]);
    let fates = [
        ("passed", &stage.passed),
        ("dropped", &stage.dropped),
        ("delivered", &stage.delivered),
        ("answered", &stage.answered),
        ("forwarded", &stage.forwarded),
    ];
    for (fate, reasons) in fates {
        add_reasons(&mut table, fate, reasons, shown);
    }
    let closes = if stage.closes { "yes" } else { "no" };
    format!("{}\n{}  sums close: {closes}\n", stage.name, table.text())
}

/// The rows of one fate, its name in front of the first.
fn add_reasons(table: &mut Table, fate: &str, reasons: &BTreeMap<String, u64>, shown: Shown) {
    let rows = reasons.iter().filter(|(_, packets)| shown == Shown::All || **packets > 0);
    for (index, (reason, &packets)) in rows.enumerate() {
        let fate = if index == 0 { fate } else { "" };
        table.row([fate.to_owned(), reason.clone(), count(packets)]);
    }
}

fn slots(slots: &[api::SlotCounters]) -> Table {
    let mut table = Table::new(2, &[Right; 8]);
    table.row(HOPS);
    for slot in slots {
        let moved = [slot.xdp_socket, slot.xdp_local, slot.xdp_stayed, slot.xdp_redirected, slot.xdp_unredirected];
        let counters = moved.into_iter().chain([slot.selected, slot.unselected]).map(count);
        table.row([slot.slot.to_string()].into_iter().chain(counters));
    }
    table
}

const HOPS: [&str; 8] =
    ["SLOT", "AF_XDP", "XDP LOCAL", "XDP STAYED", "XDP REDIRECTED", "XDP UNREDIRECTED", "SELECTED", "UNSELECTED"];

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, packets)| ((*name).to_owned(), *packets)).collect()
    }

    fn sample() -> api::Counters {
        let xdp = api::Stage {
            name: "xdp".to_owned(),
            received: 1_212,
            passed: reasons(&[("not_ip", 3), ("not_udp", 9), ("fragment", 0)]),
            dropped: reasons(&[("truncated", 0)]),
            delivered: reasons(&[("flow", 1_200), ("cid", 0)]),
            answered: reasons(&[("negotiated", 0)]),
            forwarded: BTreeMap::new(),
            closes: true,
        };
        let worker = api::Stage {
            name: "worker".to_owned(),
            received: 1_201,
            passed: reasons(&[]),
            dropped: reasons(&[]),
            delivered: reasons(&[("own", 1_200)]),
            answered: BTreeMap::new(),
            forwarded: BTreeMap::new(),
            closes: false,
        };
        let slot = api::SlotCounters {
            slot: 0,
            xdp_local: 1_000,
            xdp_stayed: 0,
            xdp_redirected: 200,
            xdp_unredirected: 0,
            selected: 1_200,
            unselected: 0,
            xdp_socket: 12,
        };
        api::Counters { schema: 1, stages: vec![xdp, worker], slots: vec![slot] }
    }

    #[test]
    fn every_stage_with_its_sum() {
        let expected = "\
xdp
  received            1,212
  passed     not_ip       3
             not_udp      9
  delivered  flow     1,200
  sums close: yes

worker
  received        1,201
  delivered  own  1,200
  sums close: no

what the kernel gave each slot
  SLOT  AF_XDP  XDP LOCAL  XDP STAYED  XDP REDIRECTED  XDP UNREDIRECTED  SELECTED  UNSELECTED
     0      12      1,000           0             200                 0     1,200           0
";
        assert_eq!(text(&sample(), Shown::Counted), expected);
    }

    #[test]
    fn all_shows_reasons_without_packets() {
        let text = text(&sample(), Shown::All);
        for row in [
            "  passed     fragment        0\n",
            "  dropped    truncated       0\n",
            "  delivered  cid             0\n",
            "  answered   negotiated      0\n",
        ] {
            assert!(text.contains(row), "{row:?} is not in:\n{text}");
        }
    }
}
