//! `[admission]`: ports that are ports, and rates that limit something.

use std::{num::NonZeroU32, ops::RangeInclusive};

use super::places::base;
use crate::config::{
    Admission, FileBlock,
    block_file::BlockFiles,
    error::Findings,
    keys::{ADMISSION, RawAdmission},
    raw::{At, RawPorts, each},
};

/// Where the file says nothing: the ports of privileged services, and of others that floods are reflected by.
const REJECTED: [RangeInclusive<u16>; 7] =
    [0..=0, 1..=1_023, 1_900..=1_900, 5_353..=5_353, 11_211..=11_211, 20_800..=20_800, 27_015..=27_015];

pub(super) fn check(raw: &RawAdmission, findings: &mut Findings<'_>) -> Admission {
    Admission {
        reject_source_ports: match &raw.reject_source_ports {
            None => REJECTED.into(),
            Some(all) => all.value.iter().filter_map(|at| ports(at, findings)).collect(),
        },
        blocks: blocks(each(&raw.block_files), findings).into(),
        unknown: ADMISSION.unknown.read(&raw.unknown, findings).and_then(NonZeroU32::new),
        version_negotiation: ADMISSION
            .version_negotiation
            .read(&raw.version_negotiation, findings)
            .and_then(NonZeroU32::new),
        answer_in_xdp: ADMISSION.answer_in_xdp.read(&raw.answer_in_xdp, findings),
        challenge: ADMISSION.challenge.read(&raw.challenge, findings),
        new_total: ADMISSION.new_total.read(&raw.new_total, findings).and_then(NonZeroU32::new),
        new_per_source: ADMISSION.new_per_source.read(&raw.new_per_source, findings).and_then(NonZeroU32::new),
        new_per_source_burst: ADMISSION.new_per_source_burst.read(&raw.new_per_source_burst, findings),
        source_prefix4: ADMISSION.source_prefix4.read(&raw.source_prefix4, findings),
        source_prefix6: ADMISSION.source_prefix6.read(&raw.source_prefix6, findings),
    }
}

/// What the files say, one after the other.
fn blocks(paths: &[At<String>], findings: &mut Findings<'_>) -> Vec<FileBlock> {
    let mut files = BlockFiles::default();
    for At { place, value } in paths {
        for problem in files.read(&base(*place, findings.name()).join(value)) {
            findings.problem(*place, ADMISSION.block_files.name(), problem.what);
            findings.hint(problem.hint);
        }
    }
    files.blocks
}

/// A port, or `FIRST-LAST`.
fn ports(At { place, value }: &At<RawPorts>, findings: &mut Findings<'_>) -> Option<RangeInclusive<u16>> {
    let found = match value {
        RawPorts::Number(number) => u16::try_from(*number).ok().map(|port| port..=port),
        RawPorts::Text(text) => {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let port = |text: &str| text.trim().parse::<u16>().ok();
            port(first).zip(port(last)).map(|(first, last)| first..=last)
        }
    };
    let found = found.filter(|range| !range.is_empty());
    if found.is_none() {
        let said = match value {
            RawPorts::Number(number) => number.to_string(),
            RawPorts::Text(text) => format!("\"{text}\""),
        };
        let why = format!("{said} is neither a port, 0 to 65535, nor a range of them");
        findings.problem(*place, "admission.reject_source_ports", why);
        findings.hint("[0, \"1-1023\", 1900]");
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn ports(value: &str) -> Vec<std::ops::RangeInclusive<u16>> {
        let text = format!("[[listener]]\naddress = \"127.0.0.1:4433\"\n[admission]\nreject_source_ports = {value}\n");
        Config::parse(&text, "test").unwrap().admission.reject_source_ports
    }

    #[test]
    fn ports_and_ranges_are_read() {
        assert_eq!(ports("[]"), []);
        assert_eq!(ports("[53, \"1-1023\", \"9\", \" 5 - 7 \"]"), [53..=53, 1..=1023, 9..=9, 5..=7]);
    }

    /// The document names them as numbers.
    #[test]
    fn the_default_is_what_the_list_of_keys_says() {
        let usual = ports("[0, \"1-1023\", 1900, 5353, 11211, 20800, 27015]");
        assert_eq!(usual, super::REJECTED);
    }
}
