//! The maps that say what is turned away.

use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::PathBuf,
};

use aya::maps::{HashMap, Map, MapData, MapError};
use router_common::maps::{
    Admission, Bucket, SOURCE_PORT_WORDS, SketchCell, SourceCount, SourceKey, SourcePorts, TokenKeys, names,
};

use super::{
    Datapath,
    error::{DatapathError, Result},
    plain::Plain,
};

/// What a map takes.
#[derive(Clone, Copy, Debug)]
pub struct MapMemory {
    /// Its name.
    pub name: &'static str,
    /// Octets, as the kernel charges them.
    pub octets: u64,
}

/// Reads what came of first flights whose clients have shown their address.
pub struct SourceReader(HashMap<MapData, Plain<SourceKey>, Plain<SourceCount>>);

impl SourceReader {
    /// All prefixes.
    pub fn all(&self) -> Result<Vec<(SourceKey, SourceCount)>> {
        self.0.iter().map(|entry| entry.map(|(key, count)| (key.0, count.0)).map_err(DatapathError::from)).collect()
    }
}

/// What the kernel charges for a map: `memlock` of its descriptor's information (proc_pid_fdinfo(5)).
fn charged(map: &MapData) -> Result<u64> {
    let path = PathBuf::from(format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd()));
    let read = fs::read_to_string(&path).and_then(|text| {
        let octets = text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok());
        octets.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no memlock"))
    });
    read.map_err(|source| DatapathError::Directory { path, source })
}

/// Those that are there for admission.
const ADMISSION_MAPS: [&str; 10] = [
    names::ADMISSION,
    names::BLOCKS,
    names::BLOCK_HITS,
    names::BLOCK_TOTALS,
    names::BROADCAST_ADDRESSES,
    names::BUCKETS,
    names::SKETCH,
    names::SOURCES,
    names::SOURCE_PORTS,
    names::TOKEN_KEYS,
];

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

    /// A handle to read all of them with.
    pub fn source_reader(&self) -> Result<SourceReader> {
        let map = Map::LruHashMap(MapData::from_pin(self.pins.map(names::SOURCES))?);
        Ok(SourceReader(map.try_into()?))
    }

    /// What each map of admission takes.
    pub fn admission_memory(&self) -> Result<Vec<MapMemory>> {
        let of = |&name| {
            let map = MapData::from_pin(self.pins.map(name))?;
            Ok(MapMemory { name, octets: charged(&map)? })
        };
        ADMISSION_MAPS.iter().map(of).collect()
    }

    fn sources(&self) -> Result<HashMap<&MapData, Plain<SourceKey>, Plain<SourceCount>>> {
        Ok(self.map(names::SOURCES)?.try_into()?)
    }

    /// What was let through of the kind with this index.
    pub fn bucket(&mut self, index: u32) -> Result<Bucket> {
        Ok(self.array::<Bucket>(names::BUCKETS)?.get(&index, 0)?.0)
    }
}
