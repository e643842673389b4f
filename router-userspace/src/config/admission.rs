//! `[admission]` as it is checked.

use std::{num::NonZeroU32, ops::RangeInclusive, sync::Arc};

use router_common::admission::Challenge;

use super::FileBlock;

/// `[admission]`: which packets are turned away before a worker does anything for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// UDP ports that no first flight may come from; empty: any.
    pub reject_source_ports: Vec<RangeInclusive<u16>>,
    /// Prefixes that the files of `block_files` have.
    pub blocks: Arc<[FileBlock]>,
    /// Packets a second, of the whole node, that workers get although nothing knows their connection ID; none: all.
    pub unknown: Option<NonZeroU32>,
    /// Packets of unknown versions a second, of the whole node, that are answered with Version Negotiation; none: all.
    pub version_negotiation: Option<NonZeroU32>,
    /// Who answers what takes no connection.
    pub answer_in_xdp: AnswerInXdp,
    /// Whether clients have to show that they receive at their address before a worker does anything for them.
    pub challenge: Challenge,
    /// First flights a second, of the whole node, beyond which they have to; none: never.
    pub new_total: Option<NonZeroU32>,
    /// First flights a second from one prefix of addresses; none: any number.
    pub new_per_source: Option<NonZeroU32>,
    /// How many of them may come at once.
    pub new_per_source_burst: u32,
    /// Leading bits of an IPv4 address that make such a prefix, 1 to 32.
    pub source_prefix4: u8,
    /// The same of an IPv6 address, 1 to 128.
    pub source_prefix6: u8,
}

/// Whether the XDP program answers by itself what takes no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerInXdp {
    /// Where none of the interfaces is an end of a veth.
    Auto,
    /// Always.
    Always,
    /// Workers answer.
    Never,
}
