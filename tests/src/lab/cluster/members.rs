//! The members' file and the secret of a cluster with the engine `file`.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter, Write as _},
    fs,
    net::IpAddr,
    path::PathBuf,
};

use anyhow::{Context, Result};

use super::{
    super::{AgentConfig, Home},
    fabric::Family,
    node::{Node, TUNNEL_PORT, Wiring},
};

/// What all nodes read.
#[derive(Debug)]
pub struct Members {
    file: PathBuf,
    secret: PathBuf,
    nodes: Vec<Member>,
    /// `[connection_ids]`, where it says anything.
    connection_ids: String,
}

/// A node in the file.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its number in connection IDs.
    pub number: u16,
    /// Its own address, for other nodes.
    pub address: IpAddr,
    /// What becomes of connections.
    pub state: MemberState,
}

/// What the file says of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberState {
    /// It gets new connections.
    Up,
    /// It keeps those it has.
    Draining,
    /// It has none any more.
    Gone,
}

impl Members {
    /// No node yet, and a secret.
    pub(super) fn new(home: &Home) -> Result<Self> {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).context("no random octets")?;
        let secret = home.write_with_mode("cluster.key", &crate::content::hex(&secret), 0o600)?;
        Ok(Self { file: home.write("members.toml", "")?, secret, nodes: Vec::new(), connection_ids: String::new() })
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Member] {
        &self.nodes
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = format!("# A laboratory's.\n{}", self.connection_ids);
        for Member { number, address, state } in &self.nodes {
            let _ = writeln!(text, "[[node]]\nnumber = {number}\naddress = \"{address}\"\nstate = \"{state}\"\n");
        }
        text
    }

    /// Sets `[connection_ids]`, for the next change of the file.
    pub(super) fn announce(&mut self, announced: &str, issuing: &str) {
        self.connection_ids = format!("[connection_ids]\nannounced = {announced}\nissuing = {issuing}\n\n");
    }

    pub(super) fn add(&mut self, node: &Wiring) -> Result<()> {
        let (number, address) = (u16::from(node.index()) + 1, node.address(Family::V4));
        self.change(|nodes| nodes.push(Member { number, address, state: MemberState::Up }))
    }

    /// Changes the file, at once: whoever reads it finds the old or the new.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Vec<Member>)) -> Result<()> {
        change(&mut self.nodes);
        let next = self.file.with_extension("next");
        fs::write(&next, self.text()).with_context(|| format!("cannot write {}", next.display()))?;
        fs::rename(&next, &self.file).with_context(|| format!("cannot write {}", self.file.display()))
    }

    /// Has a node's configuration say that it is one of these, with `keys` of `[cluster]` besides.
    pub(super) fn join(&self, node: &Node, config: &mut AgentConfig, keys: &BTreeMap<String, String>) {
        let mut all = BTreeMap::new();
        if keys.contains_key("endpoints") {
            // Etcd gives the numbers, in the order in which nodes come.
            config.router.retain(|(key, _)| key != "node_id");
        } else {
            config.set_router("node_id", &node.number().to_string());
            all.insert("engine".to_owned(), "\"file\"".to_owned());
            all.insert("members".to_owned(), format!("\"{}\"", self.file.display()));
        }
        let own = [
            ("name", "\"laboratory\"".to_owned()),
            ("secret", format!("\"file:{}\"", self.secret.display())),
            ("address", format!("\"{}\"", node.wiring().address(Family::V4))),
            ("port", TUNNEL_PORT.to_string()),
        ];
        all.extend(own.map(|(key, value)| (key.to_owned(), value)));
        all.extend(keys.clone());
        let lines: String = all.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        config.rest = format!("[cluster]\n{lines}\n{}", config.rest);
    }
}

impl Display for MemberState {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Gone => "gone",
        })
    }
}
