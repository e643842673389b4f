//! What the kernel counted and keeps, read back.

use aya::maps::{MapData, PerCpuArray};
use router_common::{
    identifiers::SlotId,
    maps::{Counters, SlotCounters, Stage, names},
};

use super::{
    error::Result,
    flows::{FlowCount, FlowReader, FlowWriter},
    handle::Datapath,
    object, pins,
    plain::Plain,
};

impl Datapath {
    /// One stage's counters, all CPUs added up.
    pub fn counters(&mut self, stage: Stage) -> Result<Counters> {
        let map: PerCpuArray<_, Plain<Counters>> = self.map(names::COUNTERS)?.try_into()?;
        let mut sum = Counters::default();
        for counters in map.get(&(stage as u32), 0)?.iter() {
            sum.add(&counters.0);
        }
        Ok(sum)
    }

    /// One slot's counters, all CPUs added up.
    pub fn slot_counters(&mut self, number: SlotId) -> Result<SlotCounters> {
        let map: PerCpuArray<_, Plain<SlotCounters>> = self.map(names::SLOT_COUNTERS)?.try_into()?;
        let mut sum = SlotCounters::default();
        for counters in map.get(&number.into(), 0)?.iter() {
            sum.add(&counters.0);
        }
        Ok(sum)
    }

    /// Entries that the flow table has room for.
    pub fn flow_capacity(&self) -> u64 {
        let info = MapData::from_pin(self.pins.map(names::FLOWS)).and_then(|map| map.info());
        info.map_or(0, |info| info.max_entries().into())
    }

    /// How many flows there are.
    pub fn flow_count(&self) -> FlowCount {
        self.flow_count.clone()
    }

    /// A handle to write flows with, one for each worker.
    pub fn flow_writer(&self) -> Result<FlowWriter> {
        FlowWriter::open(&self.pins.map(names::FLOWS), self.flow_count.clone())
    }

    /// A handle to read flows with.
    pub fn flow_reader(&self) -> Result<FlowReader> {
        FlowReader::open(&self.pins.map(names::FLOWS))
    }

    /// Kernel memory that each map takes now, in bytes, as the kernel accounts it.
    pub fn map_memory(&self) -> Vec<(&'static str, u64)> {
        names::ALL.iter().map(|&name| (name, pins::memory(&self.pins.map(name)).unwrap_or(0))).collect()
    }

    /// Instructions the verifier looked at, by program.
    pub fn verified_instructions(&mut self) -> Result<[(&'static str, u32); 2]> {
        let steer = self.xdp()?.info()?.verified_instruction_count().unwrap_or(0);
        let select = self.select()?.info()?.verified_instruction_count().unwrap_or(0);
        Ok([(object::STEER, steer), (object::SELECT, select)])
    }
}
