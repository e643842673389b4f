//! `explain`: what would happen to a packet, or to each of a capture, with the live tables.

use std::{fs, path::Path, process::ExitCode};

use clap::Args;

use super::{
    Output, Places,
    client::Agent,
    fail::{Exit, Failed},
    text::show,
};
use crate::agent::api;

#[derive(Args, Debug)]
pub(super) struct Explain {
    /// An Ethernet frame in hex, or a capture file (classic pcap, Ethernet)
    #[arg(value_name = "HEX|FILE.pcap")]
    packet: String,
    #[command(flatten)]
    output: Output,
}

impl Explain {
    pub(super) fn carry_out(&self, places: &Places) -> Result<ExitCode, Failed> {
        let agent = Agent::at(places);
        for frame in self.frames()? {
            let request = api::ExplainRequest { frame };
            show(self.output.json, None, || agent.post::<api::Explanation>("/v1/explain", &request), render)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The frames in hex.
    fn frames(&self) -> Result<Vec<String>, Failed> {
        let path = Path::new(&self.packet);
        if !path.exists() {
            return Ok(vec![self.packet.clone()]);
        }
        let wrong = |e: &dyn std::fmt::Display| Failed::new(Exit::No, format!("{}: {e}", path.display()));
        let capture = fs::read(path).map_err(|e| wrong(&e))?;
        let frames = pcap(&capture)
            .map_err(|e| wrong(&e).with_hint(Some("tcpdump -r FILE -w NEW.pcap, which writes a classic capture")))?;
        Ok(frames.into_iter().map(|frame| frame.iter().map(|octet| format!("{octet:02x}")).collect()).collect())
    }
}

fn render(explanation: &api::Explanation) -> String {
    let steps: String = explanation.steps.iter().map(|step| format!("{:<9} {}\n", step.step, step.finding)).collect();
    format!("{steps}verdict   {} ({})\n", explanation.verdict, explanation.reason)
}

/// The frames of a classic capture file (draft-ietf-opsawg-pcap), in either byte order.
fn pcap(file: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    let (header, mut rest) = file.split_first_chunk::<24>().ok_or("not a capture file")?;
    let read: fn([u8; 4]) -> u32 = match header.first_chunk() {
        Some(&[0xd4, 0xc3, 0xb2, 0xa1] | &[0x4d, 0x3c, 0xb2, 0xa1]) => u32::from_le_bytes,
        Some(&[0xa1, 0xb2, 0xc3, 0xd4] | &[0xa1, 0xb2, 0x3c, 0x4d]) => u32::from_be_bytes,
        _ => return Err("not a classic capture file"),
    };
    if read([header[20], header[21], header[22], header[23]]) & 0xffff != LINKTYPE_ETHERNET {
        return Err("its packets are not Ethernet frames");
    }
    let mut frames = Vec::new();
    while let Some((record, after)) = rest.split_first_chunk::<16>() {
        let length = read([record[8], record[9], record[10], record[11]]) as usize;
        let (frame, after) = after.split_at_checked(length).ok_or("its last packet is cut off")?;
        frames.push(frame);
        rest = after;
    }
    Ok(frames)
}

const LINKTYPE_ETHERNET: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(magic: u32, link_type: u32, big: bool, frames: &[&[u8]]) -> Vec<u8> {
        let word = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        let mut file = [word(magic), word(0x0002_0004), word(0), word(0), word(65_535), word(link_type)].concat();
        for frame in frames {
            let length = frame.len() as u32;
            file.extend([word(0), word(0), word(length), word(length)].concat());
            file.extend(*frame);
        }
        file
    }

    #[test]
    fn reads_captures_of_both_byte_orders() {
        for (magic, big) in [(0xa1b2_c3d4, false), (0xa1b2_c3d4, true), (0xa1b2_3c4d, false)] {
            let file = capture(magic, 1, big, &[b"first", b"second"]);
            assert_eq!(pcap(&file), Ok(vec![&b"first"[..], b"second"]), "{magic:x} {big}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        assert_eq!(pcap(b"short"), Err("not a capture file"));
        assert_eq!(pcap(&[0x0a; 30]), Err("not a classic capture file"));
        assert_eq!(pcap(&capture(0xa1b2_c3d4, 113, false, &[])), Err("its packets are not Ethernet frames"));
        let mut cut = capture(0xa1b2_c3d4, 1, false, &[b"frame"]);
        cut.pop();
        assert_eq!(pcap(&cut), Err("its last packet is cut off"));
    }
}
