//! The maps of AF_XDP: which worker has which receive queue, and which addresses are this host's.

use std::{collections::BTreeMap, os::fd::AsRawFd};

use aya::maps::XskMap;
use router_common::{
    frame::Address,
    maps::{LOCAL_ADDRESSES_MAX, Local, LocalKey, LocalKind, QUEUES_MAX, Queue, names},
};

use super::{
    error::{DatapathError, Result},
    handle::Datapath,
    plain::Plain,
};

impl Datapath {
    /// Puts the AF_XDP socket of a queue into its place. Nothing goes there before
    /// [`set_queue`](Self::set_queue).
    ///
    /// # Errors
    /// Also if another interface's queue has the place.
    pub fn set_queue_socket(&mut self, queue: &Queue, socket: &impl AsRawFd) -> Result<()> {
        self.require_place(queue)?;
        let socket = socket.as_raw_fd();
        Ok(self.xsks()?.set(queue.index(), socket, 0)?)
    }

    /// Whether a queue may have its place in the maps.
    ///
    /// # Errors
    /// If another interface's queue has it.
    pub fn require_place(&mut self, queue: &Queue) -> Result<()> {
        let there: Plain<Queue> = self.array(names::QUEUES)?.get(&queue.index(), 0)?;
        match there.0 == Queue::NONE || there.0.is_same(queue) {
            true => Ok(()),
            false => Err(DatapathError::NoPlace),
        }
    }

    /// Says who has a queue: from now on its worker's packets go to its socket.
    pub fn set_queue(&mut self, queue: &Queue) -> Result<()> {
        Ok(self.array(names::QUEUES)?.set(queue.index(), Plain(*queue), 0)?)
    }

    /// Makes a queue nobody's: from now on its packets go by CPU. What another generation has made
    /// of it stays.
    pub fn clear_queue(&mut self, queue: &Queue) -> Result<()> {
        let there: Plain<Queue> = self.array(names::QUEUES)?.get(&queue.index(), 0)?;
        if !there.0.is_same(queue) || there.0.owner() != queue.owner() {
            return Ok(());
        }
        self.array(names::QUEUES)?.set(queue.index(), Plain(Queue::NONE), 0)?;
        // It may have gone with its socket.
        let _ = self.xsks()?.unset(queue.index());
        Ok(())
    }

    /// Has no queue place new connections: they go by the assignment alone.
    pub fn stop_placing(&mut self) -> Result<()> {
        let mut queues = self.array::<Queue>(names::QUEUES)?;
        for index in 0..QUEUES_MAX {
            let queue = queues.get(&index, 0)?.0;
            if queue.places() {
                queues.set(index, Plain(queue.with_places(false)), 0)?;
            }
        }
        Ok(())
    }

    /// Makes these the host's addresses, and the broadcast addresses of its subnets, as far as there is room for
    /// them.
    pub fn set_local_addresses(&mut self, addresses: &BTreeMap<[u8; 16], LocalKind>) -> Result<()> {
        let of_kind = |wanted| addresses.iter().filter(move |&(_, &kind)| kind == wanted).map(|(octets, _)| octets);
        for (map, kind) in
            [(names::LOCAL_ADDRESSES, LocalKind::Own), (names::BROADCAST_ADDRESSES, LocalKind::Broadcast)]
        {
            self.set_addresses(map, &of_kind(kind).take(LOCAL_ADDRESSES_MAX as usize).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    fn set_addresses(&mut self, map: &'static str, wanted: &[&[u8; 16]]) -> Result<()> {
        let mut map = self.hash::<LocalKey, Local>(map)?;
        let before: Vec<_> = map.keys().filter_map(|key| Some(key.ok()?.0)).collect();
        // First those that are no longer: to take what is another host's would be worse than to miss ours.
        for key in before.iter().filter(|key| !wanted.contains(&&key.address().octets().0)) {
            map.remove(&Plain(*key))?;
        }
        for octets in wanted {
            map.insert(Plain(LocalKey::new(Address::new(**octets))), Plain(Local::default()), 0)?;
        }
        Ok(())
    }

    fn xsks(&mut self) -> Result<XskMap<&mut aya::maps::MapData>> {
        Ok(self.ebpf.map_mut(names::XSKS).ok_or(DatapathError::MissingMap(names::XSKS))?.try_into()?)
    }
}
