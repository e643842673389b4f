//! The maps of the block list.

use std::{io, path::Path};

use aya::maps::{
    Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues,
    lpm_trie::{Key, LpmTrie},
};
use router_common::{
    admission::Prefix,
    maps::{Block, BlockAction, BlockHits, BlockKey, names},
};

use super::{
    Datapath,
    error::{DatapathError, Result},
    plain::Plain,
    size::possible_cpus,
};

impl Datapath {
    /// The entries of the block list, whichever generation wrote them.
    pub fn blocks(&mut self) -> Result<Vec<(Prefix, Block)>> {
        let map = self.block_list()?;
        let of_key = |key: &Key<Plain<BlockKey>>| key.data().0.prefix(key.prefix_len());
        let entries =
            map.iter().filter_map(|entry| entry.map(|(key, block)| Some((of_key(&key)?, block.0))).transpose());
        Ok(entries.collect::<std::result::Result<_, _>>()?)
    }

    /// Writes an entry, in place of the one with this prefix. It is counted from the first packet on.
    pub fn set_block(&mut self, prefix: &Prefix, block: Block) -> Result<()> {
        match self.block_hits()?.insert(block.id(), none()?, IF_NEW) {
            // It keeps what it has counted.
            Err(MapError::SyscallError(e)) if e.io_error.kind() == io::ErrorKind::AlreadyExists => {}
            inserted => inserted?,
        }
        Ok(self.block_list()?.insert(&key(prefix), Plain(block), 0)?)
    }

    /// Removes an entry, and forgets what it counted.
    pub fn remove_block(&mut self, prefix: &Prefix, id: u32) -> Result<()> {
        self.block_list()?.remove(&key(prefix))?;
        self.forget_block_hits(id)
    }

    /// Forgets what the entry with this id counted.
    pub fn forget_block_hits(&mut self, id: u32) -> Result<()> {
        Ok(self.block_hits()?.remove(&id)?)
    }

    /// Says how many entries there are: while there is none, none is looked up.
    pub fn set_block_count(&mut self, count: u32) -> Result<()> {
        self.put_settings(self.settings.with_blocks(count))
    }

    /// A handle to read counts with.
    pub fn block_reader(&self) -> Result<BlockReader> {
        BlockReader::open(&self.pins.map(names::BLOCK_HITS))
    }

    /// Packets for which entries with `action` decided, also such as are gone.
    pub fn block_total(&self, action: BlockAction) -> Result<u64> {
        let map: PerCpuArray<_, Plain<BlockHits>> = self.map(names::BLOCK_TOTALS)?.try_into()?;
        Ok(sum(&map.get(&(action as u32), 0)?))
    }

    fn block_list(&mut self) -> Result<LpmTrie<&mut MapData, Plain<BlockKey>, Plain<Block>>> {
        Ok(self.ebpf.map_mut(names::BLOCKS).ok_or(DatapathError::MissingMap(names::BLOCKS))?.try_into()?)
    }

    fn block_hits(&mut self) -> Result<PerCpuHashMap<&mut MapData, u32, Plain<BlockHits>>> {
        Ok(self.ebpf.map_mut(names::BLOCK_HITS).ok_or(DatapathError::MissingMap(names::BLOCK_HITS))?.try_into()?)
    }
}

/// Reads what entries have counted.
pub struct BlockReader(PerCpuHashMap<MapData, u32, Plain<BlockHits>>);

impl BlockReader {
    fn open(pin: &Path) -> Result<Self> {
        Ok(Self(Map::PerCpuHashMap(MapData::from_pin(pin)?).try_into()?))
    }

    /// Packets for which the entry with this id decided; none of one that is gone.
    pub fn hits(&self, id: u32) -> u64 {
        self.0.get(&id, 0).map_or(0, |hits| sum(&hits))
    }
}

fn sum(hits: &PerCpuValues<Plain<BlockHits>>) -> u64 {
    hits.iter().map(|hits| hits.0.packets()).sum()
}

fn none() -> Result<PerCpuValues<Plain<BlockHits>>> {
    let each = vec![Plain(BlockHits::default()); possible_cpus() as usize];
    PerCpuValues::try_from(each).map_err(|error| DatapathError::from(MapError::from(error)))
}

/// `BPF_NOEXIST`
const IF_NEW: u64 = 1;

fn key(prefix: &Prefix) -> Key<Plain<BlockKey>> {
    Key::new(prefix.length().into(), Plain(BlockKey::new(prefix.address())))
}
