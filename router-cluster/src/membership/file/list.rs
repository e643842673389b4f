//! What an operator's list of nodes says. It is read strictly: a list that is half understood would be two clusters.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use router_common::{connection_id::ROTATIONS, identifiers::ConfigRotation};
use toml::de::DeTable;

use super::{
    super::{
        cid::CidState,
        node::{DEFAULT_PORT, DEFAULT_WEIGHT, NodeNumber, NodeRecord, NodeState, Order, WEIGHT_MAX},
        state::Member,
    },
    error::ListError,
    reader::{Field, Reader, Table},
};

/// What the list says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct List {
    pub(super) nodes: BTreeMap<NodeNumber, Member>,
    pub(super) epochs: BTreeMap<ConfigRotation, Epoch>,
}

/// A configuration of connection IDs, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Epoch {
    /// From 1. Its keys are derived from it.
    pub(super) number: u64,
    pub(super) state: CidState,
}

impl List {
    /// Reads `text`; `file` stands for it in problems.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn read(text: &str, file: &str) -> Result<Self, ListError> {
        let mut reader = Reader::new(text, file);
        let (mut nodes, mut epochs) = (BTreeMap::new(), BTreeMap::new());
        match DeTable::parse(text) {
            Ok(root) => {
                let root = Table { name: "", span: 0..0, keys: root.get_ref() };
                reader.refuse_unknown(&root, &["connection_ids", "node"]);
                epochs = read_epochs(&mut reader, &root);
                nodes = read_nodes(&mut reader, &root);
            }
            Err(error) => {
                let what = error.message().lines().next().unwrap_or("not TOML").to_owned();
                reader.problem(&error.span().unwrap_or(0..0), what, "TOML, with a table [[node]] for each node");
            }
        }
        match ListError::of(reader.problems()) {
            Some(error) => Err(error),
            None => Ok(Self { nodes, epochs }),
        }
    }
}

/// The nodes; what is wrong with one is noted, and it is left out.
fn read_nodes(reader: &mut Reader<'_>, root: &Table<'_, '_>) -> BTreeMap<NodeNumber, Member> {
    let mut nodes = BTreeMap::new();
    let Some(field) = root.field("node") else {
        reader.problem(&root.span, "no nodes", "a table [[node]] for each, with number and address");
        return nodes;
    };
    let Some(tables) = field.value.get_ref().as_array() else {
        reader.wrong_type(&field, "write [[node]], with two brackets".to_owned());
        return nodes;
    };
    let mut addresses = BTreeSet::new();
    for value in tables.iter() {
        let Some(keys) = value.get_ref().as_table() else {
            let one = Field { name: field.name.clone(), value };
            reader.wrong_type(&one, "a table [[node]] for each, with number and address".to_owned());
            continue;
        };
        let table = Table { name: "node", span: value.span(), keys };
        let Some(record) = read_node(reader, &table) else { continue };
        let (number, address) = (record.number, record.address);
        if !addresses.insert(address) {
            let at = table.field("address").map_or(table.span.clone(), |field| field.span());
            let what = format!("node.address: {address} is another node's, too");
            reader.problem(&at, what, "each node has an address of its own");
        }
        if nodes.insert(number, read_state(reader, &table, record)).is_some() {
            let at = table.field("number").map_or(table.span.clone(), |field| field.span());
            let what = format!("node.number: {number} is another node's, too");
            reader.problem(&at, what, "give it a number that no node has had under these keys");
        }
    }
    nodes
}

fn read_node(reader: &mut Reader<'_>, table: &Table<'_, '_>) -> Option<NodeRecord> {
    reader.refuse_unknown(table, &["number", "address", "port", "weight", "state"]);
    let number = reader.required(table, "number").and_then(|field| small(reader, &field, u16::MAX));
    let address = reader.required(table, "address").and_then(|field| read_address(reader, &field));
    let port = match table.field("port") {
        Some(field) => small(reader, &field, u16::MAX),
        None => Some(DEFAULT_PORT),
    };
    let weight = match table.field("weight") {
        Some(field) => small(reader, &field, WEIGHT_MAX),
        None => Some(DEFAULT_WEIGHT),
    };
    let number = NodeNumber::new(number?)?;
    Some(NodeRecord { number, address: address?, port: port?, weight: weight?, state: NodeState::Up, run: None })
}

/// A number from 1 to `highest`.
fn small(reader: &mut Reader<'_>, field: &Field<'_, '_>, highest: u16) -> Option<u16> {
    reader.integer(field, 1..=highest.into()).and_then(|number| u16::try_from(number).ok())
}

fn read_address(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Option<IpAddr> {
    let hint = "the IPv4 or IPv6 address at which other nodes reach it, in quotes and without port";
    let text = reader.text(field, hint)?;
    let Ok(address) = text.parse::<IpAddr>() else {
        reader.problem(&field.span(), format!("{}: \"{text}\" is no IP address", field.name), hint);
        return None;
    };
    let broadcast = address == IpAddr::from([255; 4]);
    if address.is_unspecified() || address.is_multicast() || broadcast {
        reader.problem(&field.span(), format!("{}: {address} is no address of one node", field.name), hint);
        return None;
    }
    Some(address)
}

fn read_state(reader: &mut Reader<'_>, table: &Table<'_, '_>, mut record: NodeRecord) -> Member {
    let word = table.field("state").and_then(|field| reader.word(&field, &["up", "draining", "gone"]));
    let order = (word == Some("gone")).then_some(Order::Forget);
    if word == Some("draining") {
        record.state = NodeState::Draining;
    }
    Member { record: Some(record), last_tunnel: None, order }
}

/// The configurations of connection IDs; the first alone where the list says nothing of them.
fn read_epochs(reader: &mut Reader<'_>, root: &Table<'_, '_>) -> BTreeMap<ConfigRotation, Epoch> {
    let first = Epoch { number: 1, state: CidState::Issuing };
    let Some(field) = root.field("connection_ids") else {
        return BTreeMap::from([(rotation(first.number), first)]);
    };
    let Some(keys) = field.value.get_ref().as_table() else {
        reader.wrong_type(&field, "a table: [connection_ids], with announced and issuing".to_owned());
        return BTreeMap::new();
    };
    let table = Table { name: "connection_ids", span: field.span(), keys };
    reader.refuse_unknown(&table, &["announced", "issuing"]);
    let issuing = reader.required(&table, "issuing").and_then(|field| reader.integer(&field, EPOCHS));
    let announced = reader.required(&table, "announced").map(|field| read_announced(reader, &field));
    let (Some(issuing), Some(announced)) = (issuing, announced) else { return BTreeMap::new() };
    if !announced.contains(&issuing) {
        let at = table.field("issuing").map_or(table.span.clone(), |field| field.span());
        let what = format!("connection_ids.issuing: {issuing} is not announced");
        reader.problem(&at, what, "announce it on all nodes, reload them all, and issue by it after that");
    }
    let state = |number: u64| match number.cmp(&issuing) {
        std::cmp::Ordering::Less => CidState::Retiring,
        std::cmp::Ordering::Equal => CidState::Issuing,
        std::cmp::Ordering::Greater => CidState::Announced,
    };
    announced.into_iter().map(|number| (rotation(number), Epoch { number, state: state(number) })).collect()
}

fn read_announced(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> BTreeSet<u64> {
    let mut announced = BTreeMap::new();
    let Some(values) = field.value.get_ref().as_array() else {
        reader.wrong_type(field, "the numbers of those that are decoded: announced = [1, 2]".to_owned());
        return BTreeSet::new();
    };
    for value in values.iter() {
        let one = Field { name: field.name.clone(), value };
        let Some(number) = reader.integer(&one, EPOCHS) else { continue };
        if let Some(other) = announced.insert(rotation(number), number) {
            let what = format!("{}: {other} and {number} have the same rotation", field.name);
            let hint = "seven in a row at most, each once: leave out those that no connection uses any more";
            reader.problem(&value.span(), what, hint);
        }
    }
    announced.into_values().collect()
}

/// The rotation of a configuration, by its number: they take turns.
fn rotation(number: u64) -> ConfigRotation {
    ConfigRotation::new((number.saturating_sub(1) % u64::from(ROTATIONS)) as u8)
}

/// What numbers of configurations can be.
const EPOCHS: std::ops::RangeInclusive<u64> = 1..=u32::MAX as u64;

#[cfg(test)]
mod tests;
