//! `quic-router block` and `quic-router allow`: prefixes of source addresses that an operator names.

use std::time::Duration;

use router_common::admission::Prefix;

use super::{
    client::Client,
    fail::{Exit, Fail},
    options::Json,
    output::{
        self,
        Align::{Left, Right},
        Table, count,
    },
};
use crate::{
    agent::{
        api::{self, BlockAction, BlockRequest, UnblockRequest},
        control::Request,
    },
    config,
};

/// Drop or challenge what comes from a prefix of addresses, and list what is named so
#[derive(clap::Subcommand, Debug)]
pub(super) enum Block {
    /// Drop new connections from a prefix, and close those that it has
    ///
    /// The longest prefix that holds an address counts, so `allow add` excepts addresses within it. It is kept across
    /// reloads, upgrades and restarts. A prefix that is in the list already gets what is said now.
    Add {
        #[command(flatten)]
        named: Named,
        /// Have new clients show that they receive at their address (a Retry), in place of dropping what they send
        #[arg(long)]
        challenge: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Take a prefix out of the list again
    ///
    /// Exits with 1 if no verb has put it there.
    Remove {
        /// As it was added: 192.0.2.0/24, 2001:db8::/32, or an address
        prefix: Prefix,
        #[command(flatten)]
        json: Json,
    },
    /// List the prefixes, those that are allowed among them, with the packets that each has decided about
    List {
        #[command(flatten)]
        json: Json,
    },
}

/// Except a prefix of addresses from what is dropped, challenged and limited
#[derive(clap::Subcommand, Debug)]
pub(super) enum Allow {
    /// Let new connections from a prefix pass the block list, refused source ports and limits of packets
    ///
    /// The longest prefix that holds an address counts: within it, another one may be blocked.
    Add {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        json: Json,
    },
    /// Take a prefix out of the list again
    ///
    /// Exits with 1 if no verb has put it there.
    Remove {
        /// As it was added: 192.0.2.0/24, 2001:db8::/32, or an address
        prefix: Prefix,
        #[command(flatten)]
        json: Json,
    },
}

/// A prefix, and what is said of it.
#[derive(clap::Args, Debug)]
pub(super) struct Named {
    /// Source addresses: 192.0.2.0/24, 2001:db8::/32, or one of them
    prefix: Prefix,
    /// End it by itself after this time: 90s, 10m, 1h, 7d
    #[arg(long = "for", value_name = "DURATION", value_parser = span)]
    time: Option<Duration>,
    /// Why, for who reads the list or an explanation later
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

impl Named {
    fn request(&self, action: BlockAction) -> Request {
        let for_ms = self.time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Request::Block(BlockRequest { prefix: self.prefix.to_string(), action, for_ms, why: self.why.clone() })
    }
}

impl Block {
    pub(super) fn execute(&self, client: &Client) -> Result<Exit, Fail> {
        match self {
            Self::Add { named, challenge, json } => {
                let action = if *challenge { BlockAction::Challenge } else { BlockAction::Drop };
                add(client, &named.request(action), json)
            }
            Self::Remove { prefix, json } => remove(client, prefix, &Removal { allowed: false, json }),
            Self::List { json } => {
                let answer = client.ask(&Request::Blocks)?;
                let blocks: api::Blocks = answer.read()?;
                output::print(&if json.json { answer.json() + "\n" } else { text(&blocks.blocks) })?;
                Ok(Exit::Done)
            }
        }
    }
}

impl Allow {
    pub(super) fn execute(&self, client: &Client) -> Result<Exit, Fail> {
        match self {
            Self::Add { named, json } => add(client, &named.request(BlockAction::Allow), json),
            Self::Remove { prefix, json } => remove(client, prefix, &Removal { allowed: true, json }),
        }
    }
}

/// How a prefix is taken out.
struct Removal<'a> {
    /// Whether it is there as one that is allowed.
    allowed: bool,
    json: &'a Json,
}

fn add(client: &Client, request: &Request, json: &Json) -> Result<Exit, Fail> {
    let answer = client.ask(request)?;
    let added: api::BlockAdded = answer.read()?;
    output::print(&match (json.json, added.closed) {
        (true, _) => answer.json() + "\n",
        (false, 0) => format!("{} is in the list\n", added.prefix),
        (false, closed) => {
            let connections = output::plural(closed, "connection", "connections");
            format!("{} is in the list; {connections} closed\n", added.prefix)
        }
    })?;
    Ok(Exit::Done)
}

fn remove(client: &Client, prefix: &Prefix, Removal { allowed, json }: &Removal<'_>) -> Result<Exit, Fail> {
    let answer = client.ask(&Request::Unblock(UnblockRequest { prefix: prefix.to_string(), allowed: *allowed }))?;
    output::print(&if json.json { answer.json() + "\n" } else { format!("{prefix} is out of the list\n") })?;
    Ok(Exit::Done)
}

fn text(blocks: &[api::Block]) -> String {
    let mut table = Table::new(0, &[Right, Left, Left, Right, Right, Left, Left]);
    table.row(["ID", "PREFIX", "ACTION", "PACKETS", "TIME LEFT", "FROM", "WHY"]);
    for block in blocks {
        table.row([
            block.id.to_string(),
            block.prefix.clone(),
            block.action.to_string(),
            count(block.hits),
            block.seconds_left.map(|left| output::span(Duration::from_secs(left))).unwrap_or_default(),
            block.source.clone(),
            block.why.clone().unwrap_or_default(),
        ]);
    }
    table.text()
}

/// A duration, in days too: up to a year.
fn span(text: &str) -> Result<Duration, String> {
    let Some(days) = text.strip_suffix('d') else { return config::duration(text) };
    match days.parse::<u64>() {
        Ok(days @ 1..=365) => Ok(Duration::from_secs(days * 24 * 60 * 60)),
        _ => Err(format!("\"{text}\" is out of range: 1d to 365d")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_prefix() {
        let block = |id, prefix: &str, action, why: Option<&str>| api::Block {
            id,
            prefix: prefix.to_owned(),
            action,
            why: why.map(str::to_owned),
            until: None,
            seconds_left: None,
            hits: 12_345,
            source: "verb".to_owned(),
        };
        let ends = api::Block { seconds_left: Some(75), ..block(7, "192.0.2.0/24", BlockAction::Drop, Some("a scan")) };
        let expected = "\
ID  PREFIX           ACTION  PACKETS  TIME LEFT  FROM  WHY
 7  192.0.2.0/24     drop     12,345     1m 15s  verb  a scan
12  2001:db8::1/128  allow    12,345             verb
";
        let shown = text(&[ends, block(12, "2001:db8::1/128", BlockAction::Allow, None)]);
        let trimmed: Vec<_> = shown.lines().map(str::trim_end).collect();
        assert_eq!(trimmed, expected.lines().collect::<Vec<_>>());
    }

    #[test]
    fn days_are_a_duration_too() {
        assert_eq!(span("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        for text in ["0d", "366d", "d", "-1d", "1w"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
