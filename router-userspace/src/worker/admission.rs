//! Which connections a node takes on: the limits of the configuration, kept by all workers
//! together, and given back when a connection ends.

use std::{
    array,
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use arc_swap::ArcSwap;

use crate::config::Limits;

/// The node's limits, and how much of them is taken.
#[derive(Debug)]
pub struct Admission {
    limits: ArcSwap<Limits>,
    connections: AtomicU32,
    hasher: RandomState,
    by_address: [Mutex<HashMap<IpAddr, u32>>; 64],
}

/// Which limit a new connection would exceed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// `max_connections`
    Connections,
    /// `max_connections_per_ip`
    PerAddress,
}

impl Admission {
    /// Nothing taken.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits: ArcSwap::from_pointee(limits),
            connections: AtomicU32::new(0),
            hasher: RandomState::new(),
            by_address: array::from_fn(|_| Mutex::default()),
        })
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        **self.limits.load()
    }

    /// Changes them. Connections beyond new ones stay; they are counted, and none is added.
    pub fn set_limits(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }

    /// Takes a place for a connection from `address`, until the result is dropped.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Admitted, Refusal> {
        let address = address.to_canonical();
        let taken = self.connections.fetch_add(1, Ordering::Relaxed);
        if taken >= self.limits().max_connections {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Connections);
        }
        let mut shard = self.shard(address);
        let of_address = shard.entry(address).or_insert(0);
        if *of_address >= self.limits().max_connections_per_ip {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::PerAddress);
        }
        *of_address += 1;
        drop(shard);
        Ok(Admitted { admission: Arc::clone(self), address })
    }

    fn shard(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        let index = self.hasher.hash_one(address) as usize % self.by_address.len();
        self.by_address[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place within the limits.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.connections.fetch_sub(1, Ordering::Relaxed);
        let mut shard = self.admission.shard(self.address);
        if let Some(count) = shard.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admission(max_connections: u32, max_connections_per_ip: u32) -> Arc<Admission> {
        let idle_timeout = Duration::from_secs(30);
        Admission::new(Limits {
            max_connections,
            max_connections_per_ip,
            max_handshakes: 1,
            idle_timeout,
            max_header_bytes: 65_536,
            max_headers: 100,
            request_timeout: idle_timeout,
        })
    }

    #[test]
    fn the_node_and_each_address_have_their_limit_and_get_it_back() {
        let admission = admission(3, 2);
        let [a, b]: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let first = admission.admit(a).unwrap();
        let _second = admission.admit(a).unwrap();
        assert_eq!(admission.admit(a).unwrap_err(), Refusal::PerAddress);
        let _third = admission.admit(b).unwrap();
        assert_eq!(admission.admit(b).unwrap_err(), Refusal::Connections);
        drop(first);
        let _again = admission.admit(a).unwrap();
        assert_eq!(admission.admit(b).unwrap_err(), Refusal::Connections);
    }

    #[test]
    fn an_address_counts_once_in_either_notation() {
        let admission = admission(9, 1);
        let _held = admission.admit("10.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(admission.admit("::ffff:10.0.0.1".parse().unwrap()).unwrap_err(), Refusal::PerAddress);
    }
}
