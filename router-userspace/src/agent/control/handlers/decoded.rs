//! What a connection ID says, and why it says it to us or not.

use router_common::{
    connection_id::{ConnectionId, UNROUTABLE},
    frame::Endpoint,
    identifiers::NodeId,
    maps::SlotState,
};

use crate::agent::{
    addresses::socket_address,
    api::{self, SCHEMA},
    connection_ids::encoding_name,
    hex,
    node::Node,
};

pub(super) fn configurations(node: &Node) -> api::CidConfigurations {
    api::CidConfigurations { schema: SCHEMA, configurations: node.keys.describe() }
}

pub(super) fn decode(node: &Node, cid: &ConnectionId) -> api::DecodedCid {
    let set = node.steering.tables().connection_ids().now();
    let configuration = set.get(cid.rotation());
    let opened = configuration.and_then(|configuration| Some((configuration.config(), configuration.open(cid)?)));
    let octets = cid.as_slice();
    let mut decoded = api::DecodedCid {
        schema: SCHEMA,
        cid: hex::encode(octets),
        length: octets.len() as u8,
        rotation: cid.rotation().get(),
        length_bits: cid.length_bits(),
        encoding: configuration.map(|configuration| encoding_name(configuration.config()).to_owned()),
        server_id: None,
        node: None,
        slot: None,
        nonce: None,
        routable: false,
        why_not: None,
    };
    let why_not = match &opened {
        Some((config, opened)) => {
            decoded.server_id = Some(hex::encode(opened.server_id()));
            decoded.node = config.node_in(opened.server_id());
            decoded.slot = Some(opened.slot().get());
            decoded.nonce = Some(hex::encode(opened.nonce()));
            let theirs = match decoded.node {
                Some(other) => another_nodes(node, other),
                None => format!("its server ID is another's: ours is {}", hex::encode(config.identity())),
            };
            let is_free = node.steering.tables().slot_state(opened.slot()) == SlotState::Free;
            let free = || is_free.then(|| format!("slot {} is free", opened.slot()));
            if opened.is_of(config) { free() } else { Some(theirs) }
        }
        None => Some(match configuration {
            Some(configuration) => {
                format!("it has {} octets, ours have {}", cid.len(), configuration.config().length())
            }
            None if cid.len() == 0 => "it is empty".to_owned(),
            None if cid.rotation() == UNROUTABLE => {
                "rotation 7 says that it was issued without a configuration".to_owned()
            }
            None => format!("no configuration has rotation {}", cid.rotation()),
        }),
    };
    api::DecodedCid { routable: why_not.is_none(), why_not, ..decoded }
}

/// Whose a connection ID is that names another node.
fn another_nodes(node: &Node, other: u16) -> String {
    let own = node.serving.config().router.node_id;
    let nodes = node.steering.tables().nodes();
    let known = nodes.nodes.get(&NodeId::new(other)).map_or_else(String::new, |node| {
        let at = Endpoint { address: node.address(), port: node.port() };
        format!(" ({}, {})", socket_address(&at), node.state().name())
    });
    format!("it belongs to node {other}{known}, this is node {own}")
}
