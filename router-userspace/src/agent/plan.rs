//! From the configuration to what a node is made of: placements, numbers, sockets.

use std::net::{SocketAddr, UdpSocket};

use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};
use router_common::{
    frame::Endpoint,
    maps::{Listener, ListenerKey},
};

use super::{engine::SocketsBySlot, error::StartError, mapped};
use crate::worker::udp;

/// A slot and a CPU for each of `count` workers beside those there are: free slots, and of the
/// CPUs this process may use those with the fewest workers.
pub(super) fn place_workers(count: usize, there: &[(u8, u32)]) -> Result<Vec<(u8, u32)>, StartError> {
    let allowed = sched_getaffinity(Pid::from_raw(0))
        .map_err(|e| StartError::kernel(format!("cannot read this process's CPU affinity: {e}")))?;
    let cpus: Vec<u32> =
        (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)).map(|cpu| cpu as u32).collect();
    Ok(placed(count, there, &cpus))
}

fn placed(count: usize, there: &[(u8, u32)], cpus: &[u32]) -> Vec<(u8, u32)> {
    let mut all = there.to_vec();
    let free = (0..=u8::MAX).filter(|slot| !there.iter().any(|(taken, _)| taken == slot));
    for slot in free.take(count) {
        let workers_on = |cpu: &u32| all.iter().filter(|(_, other)| other == cpu).count();
        let Some(&cpu) = cpus.iter().min_by_key(|cpu| workers_on(cpu)) else { break };
        all.push((slot, cpu));
    }
    all.split_off(there.len())
}

/// A listener, as the configuration has it, and its number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Numbered {
    pub(super) id: u16,
    pub(super) listener: crate::config::Listener,
}

impl Numbered {
    /// As the maps know it.
    pub(super) fn entry(&self) -> (ListenerKey, Listener) {
        entry(self.id, self.listener.address)
    }
}

/// A listener as the maps know it.
pub(super) fn entry(id: u16, address: SocketAddr) -> (ListenerKey, Listener) {
    (ListenerKey::exact(&Endpoint { address: mapped(address.ip()), port: address.port() }), Listener::new(id))
}

/// The listeners of a configuration with their numbers: those they have `before`, or the lowest
/// that are free.
pub(super) fn number_listeners(listeners: &[crate::config::Listener], before: &[(u16, SocketAddr)]) -> Vec<Numbered> {
    let mut numbered: Vec<Numbered> = Vec::new();
    for listener in listeners {
        let same = before.iter().find(|(_, address)| *address == listener.address).map(|(id, _)| *id);
        let taken =
            |id: &u16| before.iter().any(|(known, _)| known == id) || numbered.iter().any(|known| known.id == *id);
        let id = same.or_else(|| (0..=u16::MAX).find(|id| !taken(id))).unwrap_or(u16::MAX);
        numbered.push(Numbered { id, listener: listener.clone() });
    }
    numbered
}

/// Sockets on a listener, one for each of `slots`, beside those with the inodes `known`.
pub(super) fn open_sockets(
    listener: &Numbered,
    slots: &[(u8, u32)],
    known: &[u64],
) -> Result<SocketsBySlot, StartError> {
    let sockets = udp::open(listener.listener.address, slots.len(), known)?;
    Ok(slots.iter().map(|&(slot, _)| slot).zip(sockets).collect())
}

/// What is asked of the kernel about a worker's socket.
#[derive(Clone, Debug)]
pub(super) struct SocketInfo {
    pub(super) listener: u16,
    pub(super) slot: u8,
    pub(super) inode: u64,
    pub(super) receive_buffer: u64,
}

/// How to find a listener's sockets in the kernel's tables later on.
pub(super) fn describe(listener: u16, sockets: &SocketsBySlot) -> Vec<SocketInfo> {
    let describe = |(&slot, socket): (&u8, &UdpSocket)| {
        let receive_buffer = udp::receive_buffer(socket) as u64;
        Some(SocketInfo { listener, slot, inode: udp::inode(socket)?, receive_buffer })
    };
    sockets.iter().filter_map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn workers_take_free_slots_and_the_emptiest_cpus() {
        assert_eq!(placed(3, &[], &[0, 1]), [(0, 0), (1, 1), (2, 0)]);
        assert_eq!(placed(2, &[(0, 0), (2, 0)], &[0, 1]), [(1, 1), (3, 1)]);
        assert_eq!(placed(1, &[], &[]), []);
        let full: Vec<_> = (0..=255).map(|slot| (slot, 0)).collect();
        assert_eq!(placed(1, &full, &[0]), []);
    }

    #[test]
    fn listeners_keep_their_numbers() {
        let listener = |port: u16| {
            let text = format!("[[listener]]\naddress = \"127.0.0.1:{port}\"\n");
            Config::parse(&text, "test").expect("a configuration").listeners.remove(0)
        };
        let ids = |numbered: &[Numbered]| {
            numbered.iter().map(|one| (one.id, one.listener.address.port())).collect::<Vec<_>>()
        };
        let first = number_listeners(&[listener(1), listener(2), listener(3)], &[]);
        assert_eq!(ids(&first), [(0, 1), (1, 2), (2, 3)]);
        let fewer = [&first[0], &first[2]].map(|one| (one.id, one.listener.address));
        assert_eq!(ids(&number_listeners(&[listener(3), listener(4), listener(5)], &fewer)), [(2, 3), (1, 4), (3, 5)]);
    }
}
