//! A packet's way to another node, or from one, in words.

use router_common::{
    frame::{Datagram, ETHERNET_LENGTH},
    identifiers::NodeId,
    steer::Tables,
    tunnel::{InnerPacket, Refused, open_frame, outer_length},
};

use super::tables::LiveTables;
use crate::{agent::addresses::socket_address, text::count};

/// How a frame gets to `node`.
pub(super) fn forwarded(frame: &[u8], number: NodeId, tables: &LiveTables<'_>) -> Vec<String> {
    let Some(node) = tables.node(number) else { return vec![format!("node {number} is not known")] };
    let at = socket_address(&router_common::frame::Endpoint { address: node.address(), port: node.port() });
    let headers = outer_length(node.address().is_ipv4());
    let mut findings = vec![format!("node {number} ({at}) is {}", node.state().name())];
    let length = frame.len().saturating_sub(ETHERNET_LENGTH);
    findings.push(match (node.interface(), is_plain(frame)) {
        (Some(interface), true) => {
            let fits = if length <= node.longest() { "fits" } else { "does not fit, and is dropped" };
            format!(
                "by XDP on interface {interface}, in UDP: {headers} octets more; its {} octets are up to {}: it {fits}",
                count(length as u64),
                count(node.longest() as u64)
            )
        }
        (Some(_), false) => format!("it is not plain: a worker sends it on, in UDP, with {headers} octets more"),
        (None, _) => {
            format!("a worker sends it on, in UDP, with {headers} octets more: no XDP program has a way there")
        }
    });
    findings
}

fn is_plain(frame: &[u8]) -> bool {
    InnerPacket::ipv4::<ETHERNET_LENGTH, [u8]>(frame).is_some()
        || InnerPacket::ipv6::<ETHERNET_LENGTH, [u8]>(frame).is_some()
}

/// What comes out of the tunnel that ends where a frame goes to, if one does.
pub(super) fn unwrapped(frame: &[u8], outer: &Datagram, tables: &LiveTables<'_>) -> Option<String> {
    tables.is_tunnel(&outer.destination).then(|| opened(frame, outer, tables))
}

fn opened(frame: &[u8], outer: &Datagram, tables: &LiveTables<'_>) -> String {
    let from = outer.source.address;
    match open_frame(frame, tables) {
        Ok((opened, _)) => {
            let inner = &opened.packet.inner;
            let (source, destination) = (socket_address(&inner.source), socket_address(&inner.destination));
            format!(
                "node {} has sent it on: UDP from {source} to {destination}, {} octets of payload",
                opened.sender, inner.payload_length
            )
        }
        Err(Refused::Control) => "it is for the agent's socket there".to_owned(),
        Err(Refused::Forged { sender: Some(sender) }) => {
            let own = tables.node(sender).map(|node| node.address());
            match own == Some(from) {
                true => format!("it says that node {sender} has sent it on, and its tag does not vouch for it"),
                false => format!("it says that node {sender} has sent it on, which has another address"),
            }
        }
        Err(Refused::Forged { sender: None }) => "no node of the cluster has sent it on".to_owned(),
    }
}
