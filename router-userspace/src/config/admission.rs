//! `[admission]` as it is checked.

use std::{num::NonZeroU32, ops::RangeInclusive};

/// `[admission]`: which packets are turned away before a worker does anything for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// UDP ports that no first flight may come from; empty: any.
    pub reject_source_ports: Vec<RangeInclusive<u16>>,
    /// Packets a second, of the whole node, that workers get although nothing knows their connection ID; none: all.
    pub unknown: Option<NonZeroU32>,
}

impl Default for Admission {
    /// The privileged ports, and those of SSDP, mDNS, memcached and two game servers: services that floods are
    /// reflected by.
    fn default() -> Self {
        let ports = [0..=0, 1..=1_023, 1_900..=1_900, 5_353..=5_353, 11_211..=11_211, 20_800..=20_800, 27_015..=27_015];
        Self { reject_source_ports: ports.into(), unknown: NonZeroU32::new(1_000) }
    }
}
