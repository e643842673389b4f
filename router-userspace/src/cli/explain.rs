//! `quic-router explain`: what would happen to a packet, step by step, with the live tables.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    time::Duration,
};

use super::{
    capture::{Capture, CaptureError, Packet},
    cid::Hex,
    client::{Answer, Client},
    fail::{Exit, Fail},
    options::Json,
    output::{self, Align::Left, Table},
};
use crate::agent::{
    api::{ExplainRequest, Explanation},
    control::Request,
};

/// Say what would happen to a packet, step by step, and why
///
/// With a capture and --json, each line is one packet's explanation.
#[derive(clap::Args, Debug)]
pub(super) struct Explain {
    /// A whole Ethernet frame in hex; a file of such, one for each paragraph; a capture (classic pcap); or - for
    /// standard input, which is either
    #[arg(value_name = "HEX|FILE|-")]
    packet: String,
    #[command(flatten)]
    json: Json,
}

impl Explain {
    pub(super) fn execute(&self, client: &Client) -> Result<Exit, Fail> {
        match self.packet.parse::<Hex>() {
            Ok(frame) => self.show(&explain(client, &frame)?, "")?,
            Err(_) if self.packet == STANDARD_INPUT || Path::new(&self.packet).exists() => self.explain_file(client)?,
            Err(why) => {
                let message = format!("{}: no such file, nor hex: {why}", shortened(&self.packet));
                return Err(Fail::new(Exit::Usage, message)
                    .hint("hex of a whole Ethernet frame, or a capture of tcpdump -i IF -w FILE"));
            }
        }
        Ok(Exit::Done)
    }

    fn explain_file(&self, client: &Client) -> Result<(), Fail> {
        let name = if self.packet == STANDARD_INPUT { "standard input" } else { &self.packet };
        let mut content = Vec::new();
        let read = match self.packet == STANDARD_INPUT {
            true => io::stdin().read_to_end(&mut content).map(drop),
            false => fs::read(&self.packet).map(|octets| content = octets),
        };
        read.map_err(|error| Fail::new(Exit::No, format!("{name}: cannot be read: {error}")))?;
        match frames_in_hex(&content) {
            Some(frames) => self.explain_frames(client, &frames),
            None => self.explain_capture(client, name, &content),
        }
    }

    fn explain_frames(&self, client: &Client, frames: &[Hex]) -> Result<(), Fail> {
        for (number, frame) in (1..).zip(frames) {
            let title = if frames.len() == 1 { String::new() } else { format!("packet {number}\n") };
            self.show(&explain(client, frame)?, &title)?;
        }
        Ok(())
    }

    fn explain_capture(&self, client: &Client, name: &str, content: &[u8]) -> Result<(), Fail> {
        let unreadable = |error: CaptureError| {
            let fail = Fail::new(Exit::No, format!("{name}: {error}"));
            match error.hint(name) {
                Some(hint) => fail.hint(hint),
                None => fail,
            }
        };
        let mut capture = Capture::open(content).map_err(unreadable)?;
        let mut start = None;
        for number in 1.. {
            let Some(packet) = capture.next(number).map_err(unreadable)? else { break };
            let start = *start.get_or_insert(packet.time);
            let title = title(number, &packet, start);
            match as_on_the_wire(&packet) {
                Some(frame) => self.show(&explain(client, &frame)?, &title)?,
                None => {
                    let why = format!("packet {number}: too little of it was captured to say what becomes of it");
                    return Err(Fail::new(Exit::No, format!("{name}: {why}"))
                        .hint(format!("tcpdump -s {ENOUGH} or more, or without -s")));
                }
            }
        }
        Ok(())
    }

    fn show(&self, answer: &Answer, title: &str) -> Result<(), Fail> {
        let explanation: Explanation = answer.read()?;
        output::print(&if self.json.json { answer.json() + "\n" } else { text(&explanation, title) })
    }
}

/// A packet with as many octets as it had. Those that a capture has left out (`tcpdump -s`) are none that
/// anything is decided by, if there are enough; they are zeros here.
fn as_on_the_wire(packet: &Packet) -> Option<Hex> {
    let whole = packet.original_length as usize;
    if packet.octets.len() >= whole {
        return Some(Hex::of(&packet.octets));
    }
    let is_enough = packet.octets.len() >= ENOUGH;
    is_enough.then(|| {
        let mut octets = packet.octets.clone();
        octets.resize(whole, 0);
        Hex::of(&octets)
    })
}

/// The frames of a file of hex, separated by empty lines; none if it is no such file.
fn frames_in_hex(content: &[u8]) -> Option<Vec<Hex>> {
    let text = std::str::from_utf8(content).ok()?.replace("\r\n", "\n");
    let paragraphs = text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
    let frames: Vec<Hex> = paragraphs.map(|paragraph| paragraph.parse().ok()).collect::<Option<_>>()?;
    (!frames.is_empty()).then_some(frames)
}

fn explain(client: &Client, frame: &Hex) -> Result<Answer, Fail> {
    client.ask(&Request::Explain(ExplainRequest { frame: frame.to_string() }))
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

/// The argument that stands for it.
const STANDARD_INPUT: &str = "-";
/// Octets by which everything is decided: two VLAN tags, an IPv6 header with some extension headers or an
/// IPv4 header with all options, UDP, and of QUIC up to the end of the longest connection ID.
const ENOUGH: usize = 128;

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

    /// A capture of the first octets of each packet had been judged malformed.
    #[test]
    fn what_a_capture_left_out_is_filled_in() {
        let packet = |captured: usize, original_length| Packet { time: 0, original_length, octets: vec![7; captured] };
        assert_eq!(as_on_the_wire(&packet(60, 60)), Some(Hex::of(&[7; 60])));
        assert_eq!(as_on_the_wire(&packet(128, 130)), Some(Hex::of(&[&[7; 128][..], &[0, 0]].concat())));
        assert_eq!(as_on_the_wire(&packet(127, 130)), None);
    }

    #[test]
    fn a_file_of_hex_has_a_frame_a_paragraph() {
        let frames = |text: &str| frames_in_hex(text.as_bytes());
        let one = Some(vec![Hex::of(&[1, 2, 3, 4])]);
        assert_eq!((frames("01 02\n03:04\n"), frames("0x01020304")), (one.clone(), one));
        let two = vec![Hex::of(&[1]), Hex::of(&[2])];
        assert_eq!((frames("01\n\n\n02\n"), frames("01\r\n\r\n02")), (Some(two.clone()), Some(two)));
        for other in ["", "\n\n", "01\n\nxyz", "012"] {
            assert_eq!(frames(other), None, "{other:?}");
        }
        assert_eq!(frames_in_hex(&[0xd4, 0xc3, 0xb2, 0xa1]), None);
    }

    #[test]
    fn a_long_argument_is_shortened() {
        assert_eq!(shortened("x.pcap"), "x.pcap");
        assert_eq!(shortened(&"z".repeat(41)), format!("{}...", "z".repeat(40)));
    }
}
