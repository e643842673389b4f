//! `quic-router flows`: the live flow table, connection ID by connection ID.

use std::{net::IpAddr, time::Duration};

use router_common::identifiers::SlotId;

use super::{
    cid::Hex,
    client::Client,
    fail::{Exit, Fail},
    options::Json,
    output::{
        self,
        Align::{Left, Right},
        Table, count,
    },
};
use crate::agent::{
    api::{self, FlowOrigin},
    control::{FlowFilter, Request},
};

/// Show the live flow table
#[derive(clap::Subcommand, Debug)]
pub(super) enum Flows {
    /// List entries of the flow table
    List {
        /// Only those of this slot, 0 to 255
        #[arg(long, value_name = "N")]
        slot: Option<u8>,
        /// Only those whose last packet came from this address
        #[arg(long, value_name = "IP")]
        peer: Option<IpAddr>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        limit: usize,
        #[command(flatten)]
        json: Json,
    },
    /// Show one entry of the flow table
    ///
    /// Exits with 1 if the table has no such connection ID.
    Show {
        /// The connection ID, in hex
        #[arg(value_name = "CID")]
        cid: Hex,
        #[command(flatten)]
        json: Json,
    },
}

impl Flows {
    pub(super) fn execute(&self, client: &Client) -> Result<Exit, Fail> {
        let (request, json) = match self {
            Self::List { slot, peer, limit, json } => {
                (Request::Flows(FlowFilter { slot: slot.map(SlotId::new), peer: *peer, limit: *limit }), json)
            }
            Self::Show { cid, json } => (Request::Flow(cid.octets().to_vec()), json),
        };
        let answer = client.ask(&request)?;
        let flows: api::Flows = answer.read()?;
        output::print(&match self {
            _ if json.json => answer.json() + "\n",
            Self::List { .. } => list(&flows),
            Self::Show { .. } => flows.flows.iter().map(show).collect(),
        })?;
        Ok(Exit::Done)
    }
}

fn list(flows: &api::Flows) -> String {
    let mut table = Table::new(0, &[Left, Right, Left, Left, Right, Right, Right, Right, Right]);
    table.row(["CID", "SLOT", "ORIGIN", "PEER", "CHANGES", "PACKETS", "BYTES", "AGE", "IDLE"]);
    for flow in &flows.flows {
        table.row([
            flow.cid.clone(),
            flow.slot.to_string(),
            flow.origin.to_string(),
            flow.peer.map_or("-".to_owned(), |peer| peer.to_string()),
            count(flow.peer_changes.into()),
            count(flow.packets),
            output::bytes(flow.bytes),
            milliseconds(flow.age_ms),
            flow.idle_ms.map_or("-".to_owned(), milliseconds),
        ]);
    }
    let entries = output::plural(flows.entries, "entry", "entries");
    format!("{}{} of {entries}\n", table.text(), count(flows.flows.len() as u64))
}

fn show(flow: &api::Flow) -> String {
    let mut table = Table::new(0, &[Left, Left]);
    table.row(["cid", &flow.cid]);
    table.row(["slot", &flow.slot.to_string()]);
    table.row([
        "origin",
        match flow.origin {
            FlowOrigin::Issued => "issued by the agent",
            FlowOrigin::Chosen => "chosen by the client, for its first flight",
            FlowOrigin::Unknown => "unknown",
        },
    ]);
    let peer = flow.peer.map_or("none yet".to_owned(), |peer| peer.to_string());
    table.row(["peer", &format!("{peer} ({})", output::plural(flow.peer_changes.into(), "change", "changes"))]);
    table.row(["packets", &count(flow.packets)]);
    table.row(["bytes", &output::bytes(flow.bytes)]);
    table.row(["written", &format!("{} ago", milliseconds(flow.age_ms))]);
    table.row(["last seen", &flow.idle_ms.map_or("never".to_owned(), |idle| format!("{} ago", milliseconds(idle)))]);
    table.text()
}

fn milliseconds(number: u64) -> String {
    output::span(Duration::from_millis(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> api::Flows {
        let used = api::Flow {
            cid: "10000100aabbccddeeff00112233445566".to_owned(),
            slot: 0,
            origin: FlowOrigin::Issued,
            packets: 1_250,
            bytes: 1_572_864,
            peer: Some("[2001:db8::1]:50000".parse().unwrap()),
            peer_changes: 1,
            age_ms: 192_000,
            idle_ms: Some(350),
        };
        let unused = api::Flow {
            cid: "0011223344556677".to_owned(),
            slot: 12,
            origin: FlowOrigin::Chosen,
            packets: 0,
            bytes: 0,
            peer: None,
            peer_changes: 0,
            age_ms: 5,
            idle_ms: None,
        };
        api::Flows { schema: 1, entries: 1_000, flows: vec![used, unused] }
    }

    #[test]
    fn a_row_for_each_entry() {
        let expected = "\
CID                                 SLOT  ORIGIN  PEER                 CHANGES  PACKETS    BYTES     AGE    IDLE
10000100aabbccddeeff00112233445566     0  issued  [2001:db8::1]:50000        1    1,250  1.5 MiB  3m 12s  350 ms
0011223344556677                      12  chosen  -                          0        0      0 B    5 ms       -
2 of 1,000 entries
";
        assert_eq!(list(&sample()), expected);
    }

    #[test]
    fn one_entry_in_full() {
        let expected = "\
cid        10000100aabbccddeeff00112233445566
slot       0
origin     issued by the agent
peer       [2001:db8::1]:50000 (1 change)
packets    1,250
bytes      1.5 MiB
written    3m 12s ago
last seen  350 ms ago
";
        assert_eq!(show(&sample().flows[0]), expected);
        let unused = show(&sample().flows[1]);
        assert!(unused.contains("peer       none yet (0 changes)\n"), "{unused}");
        assert!(unused.contains("last seen  never\n"), "{unused}");
    }
}
