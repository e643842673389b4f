//! The maps that say what is turned away.

use aya::maps::{HashMap, MapData, MapError};
use router_common::maps::{
    Admission, Bucket, SOURCE_PORT_WORDS, SketchCell, SourceCount, SourceKey, SourcePorts, TokenKeys, names,
};

use super::{Datapath, error::Result, plain::Plain};

impl Datapath {
    /// Says from which ports first flights are refused.
    pub fn set_source_ports(&mut self, ports: &[SourcePorts; SOURCE_PORT_WORDS]) -> Result<()> {
        let mut map = self.array(names::SOURCE_PORTS)?;
        for (index, word) in (0..).zip(ports) {
            map.set(index, Plain(*word), 0)?;
        }
        Ok(())
    }

    /// How many packets of a kind are let through.
    pub fn admission(&mut self) -> Result<Admission> {
        Ok(self.array::<Admission>(names::ADMISSION)?.get(&0, 0)?.0)
    }

    /// Says how many are from now on.
    pub fn set_admission(&mut self, admission: Admission) -> Result<()> {
        Ok(self.array(names::ADMISSION)?.set(0, Plain(admission), 0)?)
    }

    /// By which keys tokens are issued and honoured.
    pub fn token_keys(&mut self) -> Result<TokenKeys> {
        Ok(self.array::<TokenKeys>(names::TOKEN_KEYS)?.get(&0, 0)?.0)
    }

    /// Says by which they are from now on.
    pub fn set_token_keys(&mut self, keys: &TokenKeys) -> Result<()> {
        Ok(self.array(names::TOKEN_KEYS)?.set(0, Plain(*keys), 0)?)
    }

    /// What was let through of the prefixes that share a cell of the sketch.
    pub fn sketch_cell(&mut self, cell: u32) -> Result<SketchCell> {
        Ok(self.array::<SketchCell>(names::SKETCH)?.get(&cell, 0)?.0)
    }

    /// First flights of a prefix whose clients have shown that they receive there; none before the first.
    pub fn source(&self, key: SourceKey) -> Result<Option<SourceCount>> {
        match self.sources()?.get(&Plain(key), 0) {
            Ok(count) => Ok(Some(count.0)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn sources(&self) -> Result<HashMap<&MapData, Plain<SourceKey>, Plain<SourceCount>>> {
        Ok(self.map(names::SOURCES)?.try_into()?)
    }

    /// What was let through of the kind with this index.
    pub fn bucket(&mut self, index: u32) -> Result<Bucket> {
        Ok(self.array::<Bucket>(names::BUCKETS)?.get(&index, 0)?.0)
    }
}
