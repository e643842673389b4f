//! Where a worker is: its slot, and the CPU that it is pinned to.

use router_common::identifiers::{CpuId, SlotId};
use serde::{Deserialize, Serialize};

/// A slot with its CPU. Between generations it is written as a pair, slot first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u8, u32)", into = "(u8, u32)")]
pub(super) struct Place {
    /// 0 to 255, unique on the node over all generations.
    pub(super) slot: SlotId,
    /// As the kernel numbers CPUs.
    pub(super) cpu: CpuId,
}

impl From<(u8, u32)> for Place {
    fn from((slot, cpu): (u8, u32)) -> Self {
        Self { slot: SlotId::new(slot), cpu: CpuId::new(cpu) }
    }
}

impl From<Place> for (u8, u32) {
    fn from(place: Place) -> Self {
        (place.slot.get(), place.cpu.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generation of another version reads it.
    #[test]
    fn it_is_written_as_a_pair() {
        let place = Place { slot: SlotId::new(3), cpu: CpuId::new(17) };
        assert_eq!(serde_json::to_string(&place).unwrap(), "[3,17]");
        assert_eq!(serde_json::from_str::<Place>("[3,17]").unwrap(), place);
    }
}
