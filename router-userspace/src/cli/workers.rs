//! `quic-router workers`: who is in which slot, and whether it gets new connections.

use std::time::Duration;

use router_common::identifiers::SlotId;

use super::{
    client::{Answer, Client},
    fail::{Exit, Fail},
    options::Json,
    output::{
        self,
        Align::{Left, Right},
        Table, count,
    },
};
use crate::{
    agent::{api, control::Request},
    config,
};

/// List workers, or take one out of the assignment of new connections and back
#[derive(clap::Subcommand, Debug)]
pub(super) enum Workers {
    /// List the workers by slot
    List {
        #[command(flatten)]
        json: Json,
    },
    /// Give a slot no new connections, and have those it has end
    ///
    /// Clients of HTTP/3 are asked to go elsewhere (GOAWAY), what they have asked is served, and
    /// streams go on. After the timeout what is left is closed.
    Drain {
        /// The slot, 0 to 255
        slot: u8,
        /// How long its connections may take to end, in place of the configured drain_timeout: 90s, 10m
        #[arg(long, value_name = "DURATION", value_parser = config::duration)]
        timeout: Option<Duration>,
        #[command(flatten)]
        json: Json,
    },
    /// Give a draining slot new connections again
    Undrain {
        /// The slot, 0 to 255
        slot: u8,
        #[command(flatten)]
        json: Json,
    },
}

impl Workers {
    pub(super) fn execute(&self, client: &Client) -> Result<Exit, Fail> {
        let (request, json) = match self {
            Self::List { json } => (Request::Workers, json),
            Self::Drain { slot, timeout, json } => {
                (Request::Drain { slot: SlotId::new(*slot), timeout: *timeout }, json)
            }
            Self::Undrain { slot, json } => (Request::Undrain { slot: SlotId::new(*slot) }, json),
        };
        let answer = client.ask(&request)?;
        output::print(&shown(&answer, json)?)?;
        Ok(Exit::Done)
    }
}

fn shown(answer: &Answer, json: &Json) -> Result<String, Fail> {
    let workers: api::Workers = answer.read()?;
    Ok(if json.json { answer.json() + "\n" } else { text(&workers.workers) })
}

fn text(workers: &[api::Worker]) -> String {
    let mut table = Table::new(0, &[Right, Right, Left, Right, Right, Right, Right, Right, Right, Right, Right]);
    table.row([
        "SLOT",
        "CPU",
        "STATE",
        "TIME LEFT",
        "CONNECTIONS",
        "HANDSHAKES",
        "ACCEPTED",
        "DATAGRAMS",
        "HANDED OVER",
        "SOCKET DROPS",
        "BUFFER",
    ]);
    for worker in workers {
        let totals = &worker.totals;
        table.row([
            worker.slot.to_string(),
            worker.cpu.to_string(),
            worker.state.to_string(),
            worker.seconds_left.map(|left| output::span(Duration::from_secs(left))).unwrap_or_default(),
            count(totals.connections_now),
            count(totals.handshakes_now),
            count(totals.accepted),
            count(totals.datagrams_received),
            count(totals.handed_over),
            count(totals.socket_drops),
            output::bytes(worker.receive_buffer),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::api::{Totals, WorkerState};

    #[test]
    fn a_row_for_each_slot() {
        let worker = |slot, state, accepted| api::Worker {
            slot,
            cpu: u32::from(slot) + 2,
            state,
            seconds_left: (state == WorkerState::Draining).then_some(75),
            receive_buffer: 8 << 20,
            totals: Totals { connections_now: 12, accepted, datagrams_received: 4_500, ..Totals::default() },
        };
        let expected = "\
SLOT  CPU  STATE     TIME LEFT  CONNECTIONS  HANDSHAKES  ACCEPTED  DATAGRAMS  HANDED OVER  SOCKET DROPS   BUFFER
   0    2  active                        12           0     1,000      4,500            0             0  8.0 MiB
   1    3  draining     1m 15s           12           0         7      4,500            0             0  8.0 MiB
";
        assert_eq!(text(&[worker(0, WorkerState::Active, 1_000), worker(1, WorkerState::Draining, 7)]), expected);
    }
}
