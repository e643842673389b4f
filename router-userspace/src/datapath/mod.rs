//! The kernel's half, from the agent's side: load, attach, pin, and typed verbs on the maps.
//!
//! The only room that knows aya. Nothing here decides where a packet goes; it writes down
//! what the agent decided, and reads back what the kernel counted.

mod admission;
mod af_xdp;
mod announced;
mod attach;
mod blocks;
pub(crate) mod capabilities;
mod changes;
pub mod checksums;
#[cfg(test)]
mod document;
mod error;
pub(crate) mod ethtool;
mod flows;
mod handle;
mod interfaces;
mod loading;
mod maps;
mod netfilter;
mod netlink;
mod nodes;
mod object;
mod pins;
mod plain;
mod queues;
mod readings;
mod rings;
mod routes;
mod size;
mod trial;
mod xdp_links;
mod xsk;

pub use self::{
    admission::{MapMemory, SourceReader},
    announced::AnnouncedRoutes,
    attach::{Attachment, Mode},
    blocks::BlockReader,
    changes::Changes,
    error::{DatapathError, Result},
    flows::{FlowCount, FlowReader, FlowWriter},
    handle::Datapath,
    loading::{CidEntry, Initial},
    netfilter::chains_before_sockets,
    pins::{Pins, link_pin, remove_stale},
    queues::{DeviceFacts, device, is_pair, vlan_beside_frames, vrf},
    rings::CHUNK,
    routes::{Hop, Routes},
    size::{Size, flow_table_bytes, possible_cpus},
    trial::{Trial, try_programs},
    xdp_links::{Neighbours, attached_program, link, neighbours, program_id},
    xsk::{Copying, QueueSocket, QueueSocketPlan},
};
