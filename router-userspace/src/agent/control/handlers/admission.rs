//! How full the limits of admission are, and who meets them.

use std::{cmp::Reverse, num::NonZeroU32};

use router_common::{
    admission::{Challenge, Limited},
    maps::Pressure,
};
use tokio::task::spawn_blocking;

use super::error::ApiError;
use crate::{
    agent::{
        admission::per_second,
        api::{self, SCHEMA},
        blocks,
        error::AgentError,
        levels::{Level, SourceLevel},
        node::Node,
    },
    config,
    datapath::DatapathError,
};

pub(super) async fn status(node: &Node) -> Result<api::Admission, ApiError> {
    let config = node.serving.config();
    let admission = node.steering.tables().admission();
    let limits = Limited::ALL.map(|of| limit(node, of)).into_iter().collect::<Result<_, AgentError>>()?;
    let maps = match node.steering.kernel() {
        Some(kernel) => kernel.datapath.borrow().admission_memory().map_err(AgentError::from)?,
        None => Vec::new(),
    };
    let blocks = node.blocks.totals().into_iter().map(|(action, entries)| api::BlockTotal {
        action: blocks::shown_action(action),
        entries,
        hits: node.steering.block_total(action).ok(),
    });
    Ok(api::Admission {
        schema: SCHEMA,
        answers_in_xdp: node.steering.kernel().is_some() && admission.answers(),
        challenge: match config.admission.challenge {
            Challenge::Auto => api::Challenge::Auto,
            Challenge::Always => api::Challenge::Always,
            Challenge::Never => api::Challenge::Never,
        },
        pressed: admission.pressure() == Pressure::High,
        limits,
        per_source: config.admission.new_per_source.map(|per_second| per_source(&config.admission, per_second)),
        blocks: blocks.collect(),
        maps: maps.into_iter().map(|map| api::MapMemory { map: map.name.to_owned(), octets: map.octets }).collect(),
    })
}

fn limit(node: &Node, of: Limited) -> Result<api::AdmissionLimit, AgentError> {
    let per_second = per_second(&node.serving.config().admission, of);
    let (admission, word) = node.steering.admission(of)?;
    let level = Level { of, per_second, admission, word };
    Ok(api::AdmissionLimit {
        key: level.key().to_owned(),
        per_second: per_second.map(NonZeroU32::get),
        room: level.room(),
        lifted_seconds: level.lifted().map(|time| time.as_secs() + 1),
    })
}

fn per_source(admission: &config::Admission, per_second: NonZeroU32) -> api::SourceLimit {
    api::SourceLimit {
        per_second: per_second.get(),
        burst: admission.new_per_source_burst,
        prefix4: admission.source_prefix4,
        prefix6: admission.source_prefix6,
    }
}

/// The table of prefixes is read on another thread: it may be long.
pub(super) async fn top(node: &Node, limit: usize) -> Result<api::AdmissionTop, ApiError> {
    let mut blocks = blocks::list(node).await?.blocks;
    blocks.sort_by_key(|block| Reverse(block.hits));
    blocks.truncate(limit);
    let reader = node.steering.kernel().map(|kernel| kernel.datapath.borrow().source_reader()).transpose();
    let reader = reader.map_err(AgentError::from)?;
    let admission = node.steering.tables().admission();
    let read = spawn_blocking(move || {
        let mut all = reader.map_or(Ok(Vec::new()), |reader| reader.all())?;
        all.sort_by_key(|(_, count)| Reverse(count.admitted() + count.refused()));
        let level = |(key, count): &(_, _)| SourceLevel::of_validated(&admission, key, *count);
        Ok::<_, DatapathError>(all.iter().take(limit).filter_map(level).collect::<Vec<_>>())
    });
    let sources = read.await.map_err(ApiError::lost)?.map_err(AgentError::from)?;
    let sources = sources.iter().map(|level| {
        let (admitted, refused) = level.count.map_or((0, 0), |count| (count.admitted(), count.refused()));
        api::TopSource { prefix: level.prefix.to_string(), admitted, refused, room: level.validated }
    });
    Ok(api::AdmissionTop { schema: SCHEMA, sources: sources.collect(), blocks })
}
