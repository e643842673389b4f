//! `quic-router cid`: what a connection ID says, and fresh ones that say what they should.

use std::{fmt, str::FromStr, time::Duration};

use router_common::identifiers::SlotId;
use serde::de::DeserializeOwned;

use super::{
    client::{Answer, Client},
    fail::{Exit, Fail},
    options::Json,
    output::{
        self,
        Align::{Left, Right},
        Table,
    },
};
use crate::agent::{api, control::Request};

/// Decode connection IDs, or generate one
#[derive(clap::Subcommand, Debug)]
pub(super) enum Cid {
    /// Say where packets with this connection ID go, and why
    Decode {
        /// The connection ID, in hex
        #[arg(value_name = "HEX")]
        cid: Hex,
        #[command(flatten)]
        json: Json,
    },
    /// Make a connection ID as a worker would issue it
    Generate {
        /// The worker's slot, 0 to 255
        #[arg(long, value_name = "N", default_value_t = 0)]
        slot: u8,
        #[command(flatten)]
        json: Json,
    },
    /// List the configurations, and what each is still used for
    List {
        #[command(flatten)]
        json: Json,
    },
    /// Bring in a new configuration, with a new key, without losing a connection
    ///
    /// New connection IDs follow it; the old one is decoded until no connection uses it, and then
    /// goes by itself. With encryption = "file:PATH", write the new key into the file first.
    Rotate {
        #[command(flatten)]
        json: Json,
    },
}

impl Cid {
    pub(super) fn execute(&self, client: &Client) -> Result<Exit, Fail> {
        match self {
            Self::Decode { cid, json } => show(&client.ask(&Request::DecodeCid(cid.octets().to_vec()))?, json, text),
            Self::Generate { slot, json } => {
                let answer = client.ask(&Request::IssueCid { slot: SlotId::new(*slot) })?;
                show(&answer, json, |decoded: &api::DecodedCid| format!("{}\n", decoded.cid))
            }
            Self::List { json } => show(&client.ask(&Request::CidConfigurations)?, json, list),
            Self::Rotate { json } => show(&client.ask(&Request::RotateCids)?, json, list),
        }
    }
}

fn show<T: DeserializeOwned>(answer: &Answer, json: &Json, text: impl FnOnce(&T) -> String) -> Result<Exit, Fail> {
    output::print(&if json.json { answer.json() + "\n" } else { text(&answer.read()?) })?;
    Ok(Exit::Done)
}

fn list(answer: &api::CidConfigurations) -> String {
    configurations(&answer.configurations, 0).text()
}

/// What there is to say of configurations, one a line; also for `status`.
pub(super) fn configurations(configurations: &[api::CidConfiguration], indent: usize) -> Table {
    let mut table = Table::new(indent, &[Right, Left, Left, Left, Left, Left, Left]);
    for configuration in configurations {
        let api::CidConfiguration { rotation, state, encoding, length, identity, connections, datagrams, .. } =
            configuration;
        let datagrams = match datagrams {
            0 => "no datagram yet".to_owned(),
            _ => format!(
                "{}, the last {} ago",
                output::plural(*datagrams, "datagram", "datagrams"),
                output::span(Duration::from_secs(configuration.quiet_seconds))
            ),
        };
        let nonces = configuration.nonces_used.filter(|&used| used >= WORTH_TELLING);
        table.row([
            rotation.to_string(),
            state.to_string(),
            format!("{encoding}, {length} octets"),
            format!("identity {identity}"),
            output::plural(*connections, "connection", "connections") + " began under it",
            datagrams,
            nonces.map(|used| format!("{:.1} % of its nonces used", used * 100.0)).unwrap_or_default(),
        ]);
    }
    table
}

fn text(decoded: &api::DecodedCid) -> String {
    let mut table = Table::new(0, &[Left, Left]);
    table.row(["cid", &decoded.cid]);
    table.row(["length", &output::plural(decoded.length.into(), "octet", "octets")]);
    table.row(["rotation", &decoded.rotation.to_string()]);
    table.row(["length bits", &decoded.length_bits.to_string()]);
    let fields = [
        ("encoding", decoded.encoding.clone()),
        ("server ID", decoded.server_id.clone()),
        ("node", decoded.node.map(|node| node.to_string())),
        ("slot", decoded.slot.map(|slot| slot.to_string())),
        ("nonce", decoded.nonce.clone()),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            table.row([name, &value]);
        }
    }
    let routable = match &decoded.why_not {
        None => "yes".to_owned(),
        Some(why) => format!("no: {why}"),
    };
    table.row(["routable", &routable]);
    table.text()
}

/// Octets on the command line: hexadecimal, with blanks, colons or dashes between if one likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hex(Vec<u8>);

impl FromStr for Hex {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_start_matches("0x");
        let digits: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, ':' | '-')).collect();
        if let Some(other) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
            return Err(format!("{other:?} is not a hexadecimal digit"));
        }
        if digits.is_empty() || !digits.len().is_multiple_of(2) {
            return Err(format!("{} hexadecimal digits are not whole octets", digits.len()));
        }
        let pairs = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16));
        pairs.collect::<Result<_, _>>().map(Self).map_err(|error| error.to_string())
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl Hex {
    /// The octets of a frame.
    pub(super) fn of(octets: &[u8]) -> Self {
        Self(octets.to_vec())
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// From this share on nonces are worth a word.
const WORTH_TELLING: f64 = 0.001;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_as_people_write_it() {
        for text in ["00ff10", "00:FF:10", " 00 ff 10\n", "0x00ff10", "00-ff-10"] {
            assert_eq!(text.parse::<Hex>().unwrap().to_string(), "00ff10", "{text}");
        }
        for text in ["", "0", "abc", "0g", "0x", "é0"] {
            assert!(text.parse::<Hex>().is_err(), "{text}");
        }
        assert_eq!(Hex::of(&[0, 255, 16]).to_string(), "00ff10");
    }

    #[test]
    fn what_a_connection_id_says() {
        let decoded = api::DecodedCid {
            schema: 1,
            cid: "1000070112233445".to_owned(),
            length: 8,
            rotation: 0,
            length_bits: 16,
            encoding: Some("clear".to_owned()),
            server_id: Some("000701".to_owned()),
            node: Some(7),
            slot: Some(1),
            nonce: Some("12233445".to_owned()),
            routable: true,
            why_not: None,
        };
        let expected = "\
cid          1000070112233445
length       8 octets
rotation     0
length bits  16
encoding     clear
server ID    000701
node         7
slot         1
nonce        12233445
routable     yes
";
        assert_eq!(text(&decoded), expected);
    }

    #[test]
    fn what_cannot_be_decoded_says_why() {
        let decoded = api::DecodedCid {
            schema: 1,
            cid: "ff".to_owned(),
            length: 1,
            rotation: 7,
            length_bits: 31,
            encoding: None,
            server_id: None,
            node: None,
            slot: None,
            nonce: None,
            routable: false,
            why_not: Some("rotation 7".to_owned()),
        };
        let expected =
            "cid          ff\nlength       1 octet\nrotation     7\nlength bits  31\nroutable     no: rotation 7\n";
        assert_eq!(text(&decoded), expected);
    }

    #[test]
    fn configurations_are_told_by_what_they_are_used_for() {
        let issuing = api::CidConfiguration {
            rotation: 3,
            state: api::CidState::Issuing,
            encoding: "single pass".to_owned(),
            length: 17,
            server_id_length: 3,
            identity: "0001".to_owned(),
            key: "auto".to_owned(),
            age_seconds: 60,
            connections: 12,
            issued: 96,
            datagrams: 4_321,
            quiet_seconds: 0,
            nonces_used: Some(0.25),
        };
        let retiring = api::CidConfiguration {
            rotation: 2,
            state: api::CidState::Retiring,
            connections: 1,
            datagrams: 0,
            nonces_used: None,
            ..issuing.clone()
        };
        let expected = "\
3  issuing   single pass, 17 octets  identity 0001  12 connections began under it  4,321 datagrams, the last 0 ms ago  25.0 % of its nonces used
2  retiring  single pass, 17 octets  identity 0001  1 connection began under it    no datagram yet
";
        assert_eq!(configurations(&[issuing, retiring], 0).text(), expected);
    }
}
