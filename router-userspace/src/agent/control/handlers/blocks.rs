//! The block list.

use router_common::{admission::Prefix, maps::BlockAction};

use super::error::ApiError;
use crate::{
    agent::{
        api::{self, SCHEMA},
        blocks::{self, By, Entry, NamedAs},
        node::Node,
    },
    clock::monotonic_now,
};

pub(super) async fn block(node: &Node, wanted: api::BlockRequest) -> Result<api::BlockAdded, ApiError> {
    let api::BlockRequest { prefix, action, for_ms, why } = wanted;
    let prefix = self::prefix(&prefix)?;
    let action = match action {
        api::BlockAction::Allow => BlockAction::Allow,
        api::BlockAction::Challenge => BlockAction::Challenge,
        api::BlockAction::Drop => BlockAction::Drop,
        api::BlockAction::Unknown => return Err(ApiError::bad_request("action: allow, challenge or drop")),
    };
    let until = for_ms.map_or(0, |time| monotonic_now().saturating_add(time.saturating_mul(1_000_000)));
    let closed = blocks::add(node, prefix, Entry { action, until, why, by: By::Verb }).await?;
    Ok(api::BlockAdded { schema: SCHEMA, prefix: prefix.to_string(), closed })
}

pub(super) async fn unblock(node: &Node, unwanted: api::UnblockRequest) -> Result<api::Blocks, ApiError> {
    let api::UnblockRequest { prefix, allowed } = unwanted;
    let named = if allowed { NamedAs::Allowed } else { NamedAs::Blocked };
    blocks::remove(node, self::prefix(&prefix)?, named).await?;
    Ok(blocks::list(node).await?)
}

pub(super) async fn close_blocked(node: &Node, blocked: api::BlockedPrefix) -> Result<api::BlockAdded, ApiError> {
    let prefix = prefix(&blocked.prefix)?;
    let closed = blocks::follow(node, prefix).await?;
    Ok(api::BlockAdded { schema: SCHEMA, prefix: prefix.to_string(), closed })
}

fn prefix(text: &str) -> Result<Prefix, ApiError> {
    text.parse().map_err(|error| ApiError::bad_request(format!("{text}: {error}")))
}
