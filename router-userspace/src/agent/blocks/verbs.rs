//! `quic-router block` and `quic-router allow`, as the agent does it.

use std::time::{Duration, SystemTime};

use router_common::{admission::Prefix, maps::BlockAction};
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    InForce,
    entry::{By, Entry},
    error::BlockListError,
    lists::{Lists, Named},
};
use crate::{
    agent::{
        api::{self, SCHEMA},
        control::{Request, aside, exchange},
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
    let change = move |lists: Lists| {
        let mut by_verb = Named::clone(&lists.by_verb);
        by_verb.insert(prefix, entry);
        lists.with_verbs(by_verb)
    };
    node.blocks.change(&node.steering, change).await?;
    Ok(match action {
        BlockAction::Drop => node.roster.close_blocked(prefix).await + close_elsewhere(node, prefix).await,
        BlockAction::Allow | BlockAction::Challenge => 0,
    })
}

/// Closes what is open from a prefix that the generation in charge has blocked; how many connections.
///
/// # Errors
/// If the state folder's file cannot be read.
pub(in crate::agent) async fn follow(node: &Node, prefix: Prefix) -> Result<u64, AgentError> {
    node.blocks.follow(&node.steering).await?;
    Ok(node.roster.close_blocked(prefix).await)
}

/// The same by the generations that drain; how many.
async fn close_elsewhere(node: &Node, prefix: Prefix) -> u64 {
    let mut closed = 0;
    for other in node.generations.others() {
        let socket = aside(&node.serving.config().router.control, other.generation);
        let request = Request::CloseBlocked(api::BlockedPrefix { prefix: prefix.to_string() });
        let answer = match timeout(PATIENCE, exchange(&socket, &request)).await {
            Ok(Ok((status, body))) if status.is_success() => serde_json::from_slice::<api::BlockAdded>(&body).ok(),
            Ok(_) | Err(_) => None,
        };
        match answer {
            Some(answer) => closed += answer.closed,
            // One that has just ended, or that is older than block lists.
            None => tracing::warn!("block list: generation {} closes nothing from {prefix}", other.generation),
        }
    }
    closed
}

/// What a verb has said of a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::agent) enum NamedAs {
    /// That it is allowed.
    Allowed,
    /// That it is not: dropped or asked.
    Blocked,
}

impl NamedAs {
    fn of(action: BlockAction) -> Self {
        match action {
            BlockAction::Allow => Self::Allowed,
            BlockAction::Challenge | BlockAction::Drop => Self::Blocked,
        }
    }
}

/// Takes back what a verb has said of a prefix: that it is allowed, or that it is not.
///
/// # Errors
/// If no verb has said it.
pub(in crate::agent) async fn remove(node: &Node, prefix: Prefix, named: NamedAs) -> Result<(), AgentError> {
    node.generations.require_charge()?;
    let found = node.blocks.named(&prefix);
    match found {
        Some(Entry { action, by: By::Verb, .. }) if NamedAs::of(action) == named => {
            tracing::info!("block list: {} of {prefix} removed, by a verb", action.name());
            let change = move |lists: Lists| {
                let mut by_verb = Named::clone(&lists.by_verb);
                by_verb.remove(&prefix);
                lists.with_verbs(by_verb)
            };
            Ok(node.blocks.change(&node.steering, change).await?)
        }
        Some(Entry { by: By::Verb, action, .. }) => Err(BlockListError::ListedAs { prefix, action }.into()),
        Some(Entry { by: By::File(place), .. }) => Err(BlockListError::ByFile { prefix, place }.into()),
        None => Err(BlockListError::NotListed(prefix).into()),
    }
}

/// All that are in force, collected on another thread: a long list takes a while.
///
/// # Errors
/// If the kernel does not say what it counted.
pub(in crate::agent) async fn list(node: &Node) -> Result<api::Blocks, AgentError> {
    let lists = node.blocks.lists.borrow().clone();
    let reader = node.steering.kernel().map(|kernel| kernel.datapath.borrow().block_reader()).transpose()?;
    let blocks = spawn_blocking(move || {
        let hits = |entry: &InForce| entry.count + reader.as_ref().map_or(0, |reader| reader.hits(entry.id));
        lists.all_in_force().into_iter().map(|entry| shown(hits(&entry), entry)).collect()
    });
    let blocks = blocks.await.map_err(BlockListError::Thread)?;
    Ok(api::Blocks { schema: SCHEMA, blocks })
}

fn shown(hits: u64, InForce { prefix, id, entry, .. }: InForce) -> api::Block {
    let left = (entry.until != 0).then(|| entry.until.saturating_sub(monotonic_now()) / 1_000_000_000);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    api::Block {
        id,
        prefix: prefix.to_string(),
        action: shown_action(entry.action),
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

/// An action as the control socket says it.
pub(in crate::agent) fn shown_action(action: BlockAction) -> api::BlockAction {
    match action {
        BlockAction::Allow => api::BlockAction::Allow,
        BlockAction::Challenge => api::BlockAction::Challenge,
        BlockAction::Drop => api::BlockAction::Drop,
    }
}

/// How long another generation may take.
const PATIENCE: Duration = Duration::from_secs(5);
