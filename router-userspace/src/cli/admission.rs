//! `quic-router admission`: how full the limits of new connections are, and who meets them.

use super::{
    client::Client,
    fail::{Exit, Fail},
    options::Json,
    output::{
        self,
        Align::{Left, Right},
        Table, bytes, count,
    },
};
use crate::agent::{api, control::Request};

/// Show what limits new connections, and who meets the limits
#[derive(clap::Subcommand, Debug)]
pub(super) enum Admission {
    /// Show what room the limits have now, whether clients are asked for their address, and what it takes of memory
    Status {
        #[command(flatten)]
        json: Json,
    },
    /// Show the busiest prefixes whose clients were asked for their address, and the blocked ones with the most packets
    Top {
        /// How many of each to show
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        #[command(flatten)]
        json: Json,
    },
}

impl Admission {
    pub(super) fn execute(&self, client: &Client) -> Result<Exit, Fail> {
        match self {
            Self::Status { json } => {
                let answer = client.ask(&Request::Admission)?;
                let status: api::Admission = answer.read()?;
                output::print(&if json.json { answer.json() + "\n" } else { status_text(&status) })?;
            }
            Self::Top { limit, json } => {
                let answer = client.ask(&Request::AdmissionTop { limit: (*limit).into() })?;
                let top: api::AdmissionTop = answer.read()?;
                output::print(&if json.json { answer.json() + "\n" } else { top_text(&top) })?;
            }
        }
        Ok(Exit::Done)
    }
}

fn status_text(status: &api::Admission) -> String {
    let by = if status.answers_in_xdp { "by XDP" } else { "by workers" };
    let pressed = match status.pressed {
        true => ", each of them now: a worker has half of limits.max_handshakes open",
        false => "",
    };
    let mut text = format!("clients are asked for their address {by}: {}{pressed}\n\n", status.challenge);
    let mut limits = Table::new(0, &[Left, Right, Left]);
    limits.row(["LIMIT", "PER SECOND", "ROOM NOW"]);
    for limit in &status.limits {
        let room = match (limit.lifted_seconds, limit.room) {
            (Some(seconds), _) => format!("not limited for {seconds} s"),
            (None, Some(room)) => count(room),
            (None, None) => "any number".to_owned(),
        };
        limits.row([limit.key.clone(), limit.per_second.map(|n| count(n.into())).unwrap_or_default(), room]);
    }
    let per_source = match &status.per_source {
        Some(limit) => {
            let of =
                format!("for each /{} and /{}, {} at once", limit.prefix4, limit.prefix6, count(limit.burst.into()));
            [count(limit.per_second.into()), of]
        }
        None => [String::new(), "any number".to_owned()],
    };
    let [per_second, room] = per_source;
    limits.row(["admission.new_per_source".to_owned(), per_second, room]);
    text += &limits.text();
    let mut blocks = Table::new(0, &[Left, Right, Right]);
    blocks.row(["BLOCK LIST", "PREFIXES", "PACKETS"]);
    for total in &status.blocks {
        blocks.row([total.action.to_string(), count(total.entries), total.hits.map(count).unwrap_or_default()]);
    }
    text = text + "\n" + &blocks.text();
    if !status.maps.is_empty() {
        let mut maps = Table::new(0, &[Left, Right]);
        maps.row(["MAP", "MEMORY"]);
        for map in &status.maps {
            maps.row([map.map.clone(), bytes(map.octets)]);
        }
        text = text + "\n" + &maps.text();
    }
    text
}

fn top_text(top: &api::AdmissionTop) -> String {
    let mut sources = Table::new(0, &[Left, Right, Right, Right]);
    sources.row(["PREFIX", "LET THROUGH", "TOO MANY", "ROOM NOW"]);
    for source in &top.sources {
        sources.row([source.prefix.clone(), count(source.admitted), count(source.refused), count(source.room)]);
    }
    let mut blocks = Table::new(0, &[Left, Left, Right, Left]);
    blocks.row(["BLOCK LIST", "ACTION", "PACKETS", "FROM"]);
    for block in &top.blocks {
        blocks.row([block.prefix.clone(), block.action.to_string(), count(block.hits), block.source.clone()]);
    }
    sources.text() + "\n" + &blocks.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<&str> {
        text.lines().map(str::trim_end).collect()
    }

    #[test]
    fn the_limits_with_the_room_they_have() {
        let limit = |key: &str, room, lifted_seconds| api::AdmissionLimit {
            key: key.to_owned(),
            per_second: Some(1_000),
            room,
            lifted_seconds,
        };
        let status = api::Admission {
            schema: 1,
            answers_in_xdp: true,
            challenge: api::Challenge::Auto,
            pressed: true,
            limits: vec![
                limit("admission.unknown", None, Some(17)),
                limit("admission.version_negotiation", Some(100), None),
                api::AdmissionLimit { per_second: None, ..limit("admission.new_total", None, None) },
            ],
            per_source: Some(api::SourceLimit { per_second: 1_000, burst: 5_000, prefix4: 24, prefix6: 56 }),
            blocks: vec![api::BlockTotal { action: api::BlockAction::Drop, entries: 3, hits: Some(14_000) }],
            maps: vec![api::MapMemory { map: "sketch".to_owned(), octets: 524_288 }],
        };
        let expected = "\
clients are asked for their address by XDP: auto, each of them now: a worker has half of limits.max_handshakes open

LIMIT                          PER SECOND  ROOM NOW
admission.unknown                   1,000  not limited for 17 s
admission.version_negotiation       1,000  100
admission.new_total                        any number
admission.new_per_source            1,000  for each /24 and /56, 5,000 at once

BLOCK LIST  PREFIXES  PACKETS
drop               3   14,000

MAP        MEMORY
sketch  512.0 KiB
";
        assert_eq!(lines(&status_text(&status)), lines(expected));
    }

    #[test]
    fn the_busiest_first() {
        let source = api::TopSource { prefix: "192.0.2.0/24".to_owned(), admitted: 12_345, refused: 7, room: 0 };
        let top = api::AdmissionTop { schema: 1, sources: vec![source], blocks: Vec::new() };
        let expected = "\
PREFIX        LET THROUGH  TOO MANY  ROOM NOW
192.0.2.0/24       12,345         7         0

BLOCK LIST  ACTION  PACKETS  FROM
";
        assert_eq!(lines(&top_text(&top)), lines(expected));
    }
}
