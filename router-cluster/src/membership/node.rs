//! A node, as the others know it.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

/// A node's number: 1 to 65,535, the node ID in its connection IDs. A number is never given to another node while
/// connection IDs may exist that contain it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct NodeNumber(u16);

impl NodeNumber {
    /// The one with this number; `None` for 0, which is no node's.
    pub const fn new(number: u16) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// Its number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for NodeNumber {
    type Error = &'static str;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        Self::new(number).ok_or("nodes have numbers from 1 to 65535")
    }
}

impl From<NodeNumber> for u16 {
    fn from(number: NodeNumber) -> Self {
        number.0
    }
}

impl fmt::Display for NodeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for NodeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// What a node tells the others about itself, or what the operator's list says of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its number.
    pub number: NodeNumber,
    /// Where other nodes send to: its own address, never the one that clients use.
    pub address: IpAddr,
    /// UDP port of the tunnel there, 1 to 65,535; default [`DEFAULT_PORT`].
    pub port: u16,
    /// Its share of new connections where nodes place them by hash, relative to the others' weights: 1 to
    /// [`WEIGHT_MAX`], default [`DEFAULT_WEIGHT`].
    pub weight: u16,
    /// Whether it takes new connections.
    pub state: NodeState,
    /// What only a running node can say; none where the list of nodes is an operator's file.
    pub run: Option<RunInfo>,
}

impl NodeRecord {
    /// Where its tunnel is.
    pub fn tunnel(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

/// What a node says of its present run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunInfo {
    /// The incarnation that the number was given to.
    pub incarnation: Incarnation,
    /// The host that it runs on: see [`Claim::host`](super::Claim::host).
    pub host: u64,
    /// The highest [`revision`](super::ClusterState::revision) that it follows: it decodes all configurations of connection
    /// IDs of that revision, and issues by the one that issues there.
    pub acks: u64,
    /// Versions of the tunnel's format that it reads.
    pub versions: TunnelVersions,
    /// Its engine: `af_xdp`, `xdp`, `reuseport` or `userspace`.
    pub engine: String,
    /// Hash of its listeners' addresses, in hex. Stateless reset keys depend on listeners, so those of all nodes have
    /// to be equal.
    pub listeners: String,
    /// The nodes that should say hello to it and do not ([`Health::unheard`](crate::health::Health::unheard)).
    #[serde(default)]
    pub unheard: BTreeSet<NodeNumber>,
    /// Its listeners' addresses; none if it is of a version that does not say them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<BTreeSet<SocketAddr>>,
    /// Whether it encrypts connection IDs; none if it is of a version that does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypts: Option<bool>,
}

/// The versions of the tunnel's format that a node reads, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TunnelVersions {
    /// The lowest.
    pub lowest: u8,
    /// The highest.
    pub highest: u8,
}

/// Whether a node takes new connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It does.
    Up,
    /// It keeps those it has, and new ones go to others.
    Draining,
}

/// What an operator has decided about a node, whatever the node says itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// It takes no new connections (`nodes drain`).
    Drain,
    /// It does not come back under this number (`nodes forget`): its connections may be reset, and nothing waits for it.
    Forget,
}

/// A random number in a node's state folder: as long as that is kept, the node has the same number. A node that has lost
/// it gets another number, because it has lost count of its nonces, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Incarnation(u128);

impl Incarnation {
    /// The one with this number, which has to be random.
    pub const fn new(number: u128) -> Self {
        Self(number)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Incarnation {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "an incarnation is 32 hex digits";
        let is_well_formed = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_well_formed { u128::from_str_radix(text, 16).map(Self).map_err(|_| wrong) } else { Err(wrong) }
    }
}

impl TryFrom<String> for Incarnation {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Incarnation> for String {
    fn from(incarnation: Incarnation) -> Self {
        incarnation.to_string()
    }
}

/// UDP port of the tunnel unless a node says another: that of GUE in IANA's registry.
pub const DEFAULT_PORT: u16 = 6080;

/// A node's weight unless it has another.
pub const DEFAULT_WEIGHT: u16 = 100;

/// The largest weight.
pub const WEIGHT_MAX: u16 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_node_has_the_number_0() {
        assert_eq!(NodeNumber::new(0), None);
        assert_eq!(serde_json::from_str::<NodeNumber>("65535").unwrap().get(), 65_535);
        assert!(serde_json::from_str::<NodeNumber>("0").unwrap_err().to_string().contains("1 to 65535"));
    }

    #[test]
    fn the_record_of_an_older_version_says_nothing_of_addresses() {
        let text = r#"{"incarnation":"000000000000000000000000000000fe","host":1,"acks":2,
            "versions":{"lowest":1,"highest":1},"engine":"xdp","listeners":"00"}"#;
        let run: RunInfo = serde_json::from_str(text).unwrap();
        assert_eq!((run.addresses.as_ref(), run.encrypts, run.unheard.len()), (None, None, 0));
        let addresses = BTreeSet::from(["192.0.2.80:443".parse().unwrap()]);
        let run = RunInfo { addresses: Some(addresses), encrypts: Some(true), ..run };
        let text = serde_json::to_string(&run).unwrap();
        assert!(text.ends_with(r#""addresses":["192.0.2.80:443"],"encrypts":true}"#), "{text}");
        assert_eq!(serde_json::from_str::<RunInfo>(&text).unwrap(), run);
    }

    #[test]
    fn an_incarnation_is_written_as_it_is_read() {
        let incarnation = Incarnation::new(0xfe);
        assert_eq!(incarnation.to_string().parse(), Ok(incarnation));
        for wrong in ["", "fe", "+00000000000000000000000000000fe", &"0".repeat(33), &"g".repeat(32)] {
            assert!(wrong.parse::<Incarnation>().is_err(), "{wrong}");
        }
    }
}
