//! What two generations say to each other over the control socket: JSON, a line a message, after
//! an HTTP upgrade that names the protocol's version.

use std::{io, net::SocketAddr, time::Duration};

use router_common::identifiers::GenerationId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream},
    net::UnixStream,
    time::timeout,
};

use super::compatibility::Compatibility;
use crate::agent::{
    error::{AgentError, ErrorKind},
    known_listener::KnownListener,
    place::Place,
};

/// The protocol with its version, as in `Upgrade:`.
pub(in crate::agent) const PROTOCOL: &str = "quic-router-takeover/1";
/// Where on the control socket.
pub(in crate::agent) const TARGET: &str = "/v1/takeover";

/// A generation as the others have to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Neighbour {
    #[serde(with = "generation_id")]
    pub(in crate::agent) generation: GenerationId,
    pub(in crate::agent) pid: u32,
    /// Its slots, each with its CPU.
    pub(in crate::agent) places: Vec<Place>,
    /// The inodes of its sockets.
    pub(in crate::agent) sockets: Vec<u64>,
    /// Its listeners, by number.
    pub(in crate::agent) listeners: Vec<KnownListener>,
    pub(in crate::agent) connections: u64,
    /// Until what is left is closed, once it drains.
    pub(in crate::agent) seconds_left: Option<u64>,
    pub(in crate::agent) age_seconds: u64,
    /// What of it could not be probed, one sentence a listener.
    #[serde(default)]
    pub(in crate::agent) unprobed: Vec<String>,
    /// Where it takes what came for it by the cluster's tunnel to the generation in charge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::agent) tunnel: Option<SocketAddr>,
    /// The kernel's routing table in which it has routes to the cluster's addresses, when it is in charge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::agent) announce_table: Option<u32>,
}

/// A generation's number, written as a plain one.
mod generation_id {
    use router_common::identifiers::GenerationId;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &GenerationId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(id.get())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GenerationId, D::Error> {
        u64::deserialize(deserializer).map(GenerationId::new)
    }
}

/// What the new one finds: the one that serves first, then those before it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::agent) struct Offer {
    pub(in crate::agent) generations: Vec<Neighbour>,
    /// Whether what the one that serves knows of its cluster has been confirmed to it. Versions that do not say it go by
    /// it in any case.
    #[serde(default = "yes")]
    pub(in crate::agent) is_confirmed: bool,
}

fn yes() -> bool {
    true
}

/// What the new one says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromNew {
    Hello {
        version: String,
        kind: Compatibility,
    },
    Prepared(Neighbour),
    Flipped,
    /// It cannot, and is about to end.
    Failed(Told),
}

/// What the old one says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromOld {
    Offer(Offer),
    Refused(Told),
    Go,
}

/// An error of one generation, as the other hears of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::agent) struct Told {
    pub(super) error: String,
    pub(super) hint: Option<String>,
    /// Versions that do not say it refuse.
    #[serde(default)]
    pub(super) kind: ErrorKind,
}

impl From<&AgentError> for Told {
    fn from(error: &AgentError) -> Self {
        Self { error: error.to_string(), hint: error.hint().map(str::to_owned), kind: error.kind() }
    }
}

/// The way to the other generation.
pub(super) struct Channel(BufStream<UnixStream>);

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(BufStream::new(stream))
    }

    pub(super) async fn say(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.0.write_all(&line).await?;
        self.0.flush().await
    }

    /// The next message; an error if the other one ends, or says nothing for `patience`.
    pub(super) async fn hear<T: DeserializeOwned>(&mut self, patience: Duration) -> io::Result<T> {
        let mut line = String::new();
        match timeout(patience, self.0.read_line(&mut line)).await {
            Ok(Ok(0)) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has ended")),
            Ok(Ok(_)) => Ok(serde_json::from_str(&line)?),
            Ok(Err(e)) => Err(e),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {patience:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generation of another version reads it.
    #[test]
    fn the_number_of_a_generation_is_a_plain_one() {
        let line = r#"{"generation":7,"pid":1,"places":[],"sockets":[],"listeners":[],"connections":0,"seconds_left":null,"age_seconds":2,"unprobed":[]}"#;
        let read: Neighbour = serde_json::from_str(line).unwrap();
        assert_eq!(read.generation, GenerationId::new(7));
        assert_eq!(serde_json::to_string(&read).unwrap(), line);
    }
}
