//! `quic-router block` and `quic-router allow`, as the agent does it.

use std::{collections::HashMap, time::SystemTime};

use router_common::{admission::Prefix, maps::BlockAction};
use tokio::task::spawn_blocking;

use super::{
    InForce,
    entry::{By, Entry},
};
use crate::{
    agent::{
        api::{self, SCHEMA},
        error::AgentError,
        node::Node,
    },
    clock::monotonic_now,
};

/// Names a prefix. Where it is dropped from now on, connections of clients there are closed; how many.
///
/// # Errors
/// If the list is full, or cannot be kept; nothing has changed then.
pub(in crate::agent) async fn add(node: &Node, prefix: Prefix, entry: Entry) -> Result<u64, AgentError> {
    node.generations.require_charge()?;
    let action = entry.action;
    tracing::info!("block list: {} of {prefix}, by a verb", action.name());
    node.blocks.change(&node.steering, |by_verb| drop(by_verb.insert(prefix, entry)))?;
    Ok(match action {
        BlockAction::Drop => node.roster.close_blocked(prefix).await,
        BlockAction::Allow | BlockAction::Challenge => 0,
    })
}

/// Takes back what a verb has said of a prefix: that it is allowed, or that it is not.
///
/// # Errors
/// If no verb has said it.
pub(in crate::agent) fn remove(node: &Node, prefix: Prefix, allowed: bool) -> Result<(), AgentError> {
    node.generations.require_charge()?;
    let found = node.blocks.named(&prefix);
    match found {
        Some(Entry { action, by: By::Verb, .. }) if (action == BlockAction::Allow) == allowed => {
            tracing::info!("block list: {} of {prefix} removed, by a verb", action.name());
            node.blocks.change(&node.steering, |by_verb| drop(by_verb.remove(&prefix)))
        }
        Some(Entry { by: By::Verb, action, .. }) => {
            let verb = if action == BlockAction::Allow { "allow" } else { "block" };
            let there = AgentError::refused(format!("{prefix} is in the list as {}", action.name()));
            Err(there.with_hint(format!("quic-router {verb} remove {prefix}")))
        }
        Some(Entry { by: By::File(place), .. }) => {
            let there = AgentError::refused(format!("{prefix} is not in the list by a verb, but by {place}"));
            Err(there.with_hint("taking the line out, and quic-router reload"))
        }
        None => Err(AgentError::refused(format!("{prefix} is not in the list"))
            .with_hint("quic-router block list, which has the prefixes as they were added")),
    }
}

/// All that are in force. What the kernel counted is read on another thread: a long list takes a while.
///
/// # Errors
/// If the kernel does not say.
pub(in crate::agent) async fn list(node: &Node) -> Result<api::Blocks, AgentError> {
    let in_force = node.blocks.in_force();
    let ids: Vec<u32> = in_force.iter().map(|entry| entry.id).collect();
    let reader = node.steering.kernel().map(|kernel| kernel.datapath.borrow().block_reader()).transpose()?;
    let by_kernel = spawn_blocking(move || match reader {
        Some(reader) => ids.into_iter().map(|id| (id, reader.hits(id))).collect(),
        None => HashMap::new(),
    });
    let by_kernel = by_kernel.await.map_err(|e| AgentError::kernel(format!("the block list: {e}")))?;
    let hits = |entry: &InForce| entry.count + by_kernel.get(&entry.id).copied().unwrap_or(0);
    let blocks = in_force.into_iter().map(|entry| shown(hits(&entry), entry)).collect();
    Ok(api::Blocks { schema: SCHEMA, blocks })
}

fn shown(hits: u64, InForce { prefix, id, entry, .. }: InForce) -> api::Block {
    let left = (entry.until != 0).then(|| entry.until.saturating_sub(monotonic_now()) / 1_000_000_000);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    api::Block {
        id,
        prefix: prefix.to_string(),
        action: match entry.action {
            BlockAction::Allow => api::BlockAction::Allow,
            BlockAction::Challenge => api::BlockAction::Challenge,
            BlockAction::Drop => api::BlockAction::Drop,
        },
        why: entry.why,
        until: left.map(|left| since.as_secs() + left),
        seconds_left: left,
        hits,
        source: match entry.by {
            By::Verb => "verb".to_owned(),
            By::File(place) => place,
        },
    }
}
