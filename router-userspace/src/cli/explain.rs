//! `quic-router explain`: what would happen to a packet, step by step, with the live tables.

use std::{fs::File, io::BufReader, path::Path, time::Duration};

use super::{
    Json,
    capture::{Capture, Packet},
    cid::Hex,
    client::{Answer, Client},
    fail::{Exit, Fail},
    output::{self, Align::Left, Table},
};
use crate::agent::api::{ExplainRequest, Explanation};

/// Say what would happen to a packet, step by step, and why
///
/// With a capture and --json, each line is one packet's explanation.
#[derive(clap::Args, Debug)]
pub(super) struct Explain {
    /// A whole Ethernet frame in hex, or a capture of such (classic pcap)
    #[arg(value_name = "HEX|FILE")]
    packet: String,
    #[command(flatten)]
    json: Json,
}

impl Explain {
    pub(super) fn execute(&self, client: &Client) -> Result<Exit, Fail> {
        match self.packet.parse::<Hex>() {
            Ok(frame) => self.show(&explain(client, &frame)?, "")?,
            Err(_) if Path::new(&self.packet).exists() => self.explain_capture(client)?,
            Err(why) => {
                let message = format!("{}: no such file, nor hex: {why}", shortened(&self.packet));
                return Err(Fail::new(Exit::Usage, message)
                    .hint("hex of a whole Ethernet frame, or a capture of tcpdump -i IF -w FILE"));
            }
        }
        Ok(Exit::Done)
    }

    fn explain_capture(&self, client: &Client) -> Result<(), Fail> {
        let file = File::open(&self.packet)
            .map_err(|error| Fail::new(Exit::No, format!("{}: cannot be opened: {error}", self.packet)))?;
        let unreadable = |error: super::capture::CaptureError| {
            let fail = Fail::new(Exit::No, format!("{}: {error}", self.packet));
            match error.hint(&self.packet) {
                Some(hint) => fail.hint(hint),
                None => fail,
            }
        };
        let mut capture = Capture::open(BufReader::new(file)).map_err(unreadable)?;
        let mut start = None;
        for number in 1.. {
            let Some(packet) = capture.next(number).map_err(unreadable)? else { break };
            let start = *start.get_or_insert(packet.time);
            let title = title(number, &packet, start);
            self.show(&explain(client, &Hex::of(&packet.octets))?, &title)?;
        }
        Ok(())
    }

    fn show(&self, answer: &Answer, title: &str) -> Result<(), Fail> {
        let explanation: Explanation = answer.read()?;
        output::print(&if self.json.json { answer.json() + "\n" } else { text(&explanation, title) })
    }
}

fn explain(client: &Client, frame: &Hex) -> Result<Answer, Fail> {
    let request = serde_json::to_vec(&ExplainRequest { frame: frame.to_string() })
        .map_err(|error| Fail::new(Exit::Kernel, format!("JSON: {error}")))?;
    client.post("/v1/explain", request)
}

/// What stands above a captured packet's steps.
fn title(number: u64, packet: &Packet, start: u64) -> String {
    let after = output::span(Duration::from_nanos(packet.time.saturating_sub(start)));
    let captured = packet.octets.len() as u64;
    let octets = if captured < u64::from(packet.original_length) {
        format!("only {captured} of {} octets captured", packet.original_length)
    } else {
        output::plural(captured, "octet", "octets")
    };
    format!("packet {number}, after {after}, {octets}\n")
}

fn text(explanation: &Explanation, title: &str) -> String {
    let mut table = Table::new(if title.is_empty() { 0 } else { 2 }, &[Left, Left]);
    let mut last = "";
    for step in &explanation.steps {
        // A step that finds several things is named once.
        table.row([if step.step == last { "" } else { &step.step }, &step.finding]);
        last = &step.step;
    }
    table.row(["verdict", &format!("{} ({})", explanation.verdict, explanation.reason)]);
    format!("{title}{}", table.text())
}

/// The beginning of an argument that may be a packet's worth of digits.
fn shortened(text: &str) -> String {
    let mut beginning: String = text.chars().take(40).collect();
    if beginning.len() < text.len() {
        beginning.push_str("...");
    }
    beginning
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::api::Step;

    fn explanation() -> Explanation {
        let step = |step: &str, finding: &str| Step { step: step.to_owned(), finding: finding.to_owned() };
        Explanation {
            schema: 1,
            steps: vec![
                step("parse", "UDP from 192.0.2.1:1 to 192.0.2.2:443, 1200 octets of payload"),
                step("parse", "listener 0 answers there"),
                step("classify", "Initial, destination connection ID 00"),
            ],
            verdict: "deliver to slot 2".to_owned(),
            reason: "assigned".to_owned(),
        }
    }

    #[test]
    fn a_step_is_named_once() {
        let expected = "\
parse     UDP from 192.0.2.1:1 to 192.0.2.2:443, 1200 octets of payload
          listener 0 answers there
classify  Initial, destination connection ID 00
verdict   deliver to slot 2 (assigned)
";
        assert_eq!(text(&explanation(), ""), expected);
    }

    #[test]
    fn a_captured_packet_has_a_title() {
        let mut packet = Packet { time: 3_500_000_000, original_length: 1, octets: vec![0] };
        assert_eq!(title(2, &packet, 2_000_000_000), "packet 2, after 1.5 s, 1 octet\n");
        packet.original_length = 1_500;
        assert_eq!(title(1, &packet, packet.time), "packet 1, after 0 ms, only 1 of 1500 octets captured\n");
        let text = text(&explanation(), "packet 1\n");
        assert!(text.starts_with("packet 1\n  parse     UDP from"), "{text}");
    }

    #[test]
    fn a_long_argument_is_shortened() {
        assert_eq!(shortened("x.pcap"), "x.pcap");
        assert_eq!(shortened(&"z".repeat(41)), format!("{}...", "z".repeat(40)));
    }
}
