//! Chains of netfilter that packets meet on their way to a socket: what comes by AF_XDP passes them by.
//!
//! Asked of the kernel in one dump of nf_tables' chains, where `iptables` keeps its own, too. What a rule is
//! about is not looked at: whether a packet of ours would match it, only netfilter can say.

use std::{fs, io};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

/// The base chains with rules, or with the policy to drop, between the interface and sockets: `inet filter
/// input`. None where the kernel has no nf_tables, or does not say.
pub fn chains_before_sockets() -> Vec<String> {
    let mut chains = dump().unwrap_or_default();
    let legacy = fs::read_to_string("/proc/thread-self/net/ip_tables_names").unwrap_or_default();
    chains.extend(legacy.lines().map(|table| format!("iptables-legacy {table}")));
    chains
}

fn dump() -> io::Result<Vec<String>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&question(), 0)?;
    let mut chains = Vec::new();
    loop {
        let (answer, _) = socket.recv_from_full()?;
        let mut messages = &answer[..];
        while let Some((kind, payload, rest)) = message(messages) {
            match kind {
                DONE | ERROR => return Ok(chains),
                NEW_CHAIN => chains.extend(chain(payload)),
                _ => {}
            }
            messages = rest;
        }
    }
}

/// All chains of all families (`NFT_MSG_GETCHAIN`).
fn question() -> Vec<u8> {
    const LENGTH: u32 = 20;
    let mut message = LENGTH.to_ne_bytes().to_vec();
    message.extend(GET_CHAIN.to_ne_bytes());
    message.extend(REQUEST_DUMP.to_ne_bytes());
    message.extend([0; 8]);
    // Family, version, resource: any.
    message.extend([0; 4]);
    message
}

/// Type and payload of the first of `messages`, and those behind it.
fn message(messages: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(messages.first_chunk::<4>().copied()?) as usize;
    let kind = u16::from_ne_bytes([*messages.get(4)?, *messages.get(5)?]);
    let payload = messages.get(HEADER..length)?;
    Some((kind, payload, messages.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The name of a chain, if packets meet it before a socket and something may come of that.
fn chain(payload: &[u8]) -> Option<String> {
    let (family, attributes) = (*payload.first()?, payload.get(4..)?);
    let hook = attribute(attribute(attributes, CHAIN_HOOK)?, HOOK_NUMBER).and_then(word)?;
    let family = match (family, hook) {
        (1, PREROUTING | INPUT) => "inet",
        (2, PREROUTING | INPUT) => "ip",
        (10, PREROUTING | INPUT) => "ip6",
        (5, INGRESS) => "netdev",
        _ => return None,
    };
    let drops = attribute(attributes, CHAIN_POLICY).and_then(word) == Some(POLICY_DROP);
    let rules = attribute(attributes, CHAIN_USE).and_then(word).unwrap_or(0);
    let text = |kind| String::from_utf8_lossy(attribute(attributes, kind).unwrap_or_default()).replace('\0', "");
    (drops || rules > 0).then(|| format!("{family} {} {}", text(CHAIN_TABLE), text(CHAIN_NAME)))
}

/// The value of the first attribute of this kind.
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let [l0, l1, k0, k1] = attributes.first_chunk::<4>().copied()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = attributes.get(4..length)?;
        // Bits on top say that it is nested, and in which byte order.
        if u16::from_ne_bytes([k0, k1]) & 0x3fff == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn word(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.first_chunk::<4>().copied()?))
}

const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const REQUEST_DUMP: u16 = 0x301;
// Of `linux/netfilter/nfnetlink.h` and `nf_tables.h`.
const GET_CHAIN: u16 = 10 << 8 | 4;
const NEW_CHAIN: u16 = 10 << 8 | 3;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_USE: u16 = 6;
const HOOK_NUMBER: u16 = 1;
const PREROUTING: u32 = 0;
const INPUT: u32 = 1;
const INGRESS: u32 = 0;
const POLICY_DROP: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute_of(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut octets = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
        octets.extend(kind.to_ne_bytes());
        octets.extend(value);
        octets.resize(octets.len().next_multiple_of(4), 0);
        octets
    }

    fn a_chain(family: u8, hook: Option<u32>, policy: u32, rules: u32) -> Vec<u8> {
        let mut payload = vec![family, 0, 0, 0];
        payload.extend(attribute_of(CHAIN_TABLE, b"filter\0"));
        payload.extend(attribute_of(CHAIN_NAME, b"input\0"));
        if let Some(hook) = hook {
            payload.extend(attribute_of(CHAIN_HOOK | 0x8000, &attribute_of(HOOK_NUMBER, &hook.to_be_bytes())));
        }
        payload.extend(attribute_of(CHAIN_POLICY, &policy.to_be_bytes()));
        payload.extend(attribute_of(CHAIN_USE, &rules.to_be_bytes()));
        payload
    }

    #[test]
    fn chains_that_packets_meet_before_a_socket() {
        const ACCEPT: u32 = 1;
        for (octets, expected) in [
            (a_chain(1, Some(1), ACCEPT, 2), Some("inet filter input")),
            (a_chain(2, Some(0), ACCEPT, 1), Some("ip filter input")),
            (a_chain(10, Some(1), 0, 0), Some("ip6 filter input")),
            (a_chain(5, Some(0), ACCEPT, 1), Some("netdev filter input")),
            // No rule; forward, output; not a base chain.
            (a_chain(1, Some(1), ACCEPT, 0), None),
            (a_chain(1, Some(2), ACCEPT, 2), None),
            (a_chain(1, Some(3), 0, 2), None),
            (a_chain(1, None, ACCEPT, 2), None),
        ] {
            assert_eq!(chain(&octets).as_deref(), expected, "{octets:?}");
            for end in 0..octets.len() {
                let _ = chain(&octets[..end]);
            }
        }
    }

    #[test]
    fn messages_follow_each_other() {
        let mut octets = question();
        octets.extend(question());
        let (kind, payload, rest) = message(&octets).unwrap();
        assert_eq!((kind, payload.len(), rest), (GET_CHAIN, 4, &question()[..]));
        assert!(message(&octets[..10]).is_none() && message(&[]).is_none());
    }
}
