//! Which connections a node takes on: the limits of the configuration, kept by all workers
//! together, and given back when a connection ends.
//!
//! Only validated addresses are counted. A handshake that begins at an address
//! that may be forged holds a place as [`Opening`]: it is there for as long as the limits have room
//! beside what they count, and no validated client is ever refused because of it.

use std::{
    array,
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::{
    address::{Prefix, Unvalidated, Validated},
    config::Limits,
};

/// The node's limits, and how much of them is taken.
#[derive(Debug)]
pub struct Admission {
    limits: ArcSwap<Limits>,
    /// Connections of clients whose addresses are validated.
    connections: AtomicU32,
    /// Handshakes of those whose addresses are not.
    opening: AtomicU32,
    hasher: RandomState,
    by_prefix: [Mutex<HashMap<Prefix, Taken>>; 64],
    pressed: Notify,
    /// Whether every new connection is refused.
    is_closed: AtomicBool,
}

/// What one client has of both.
#[derive(Clone, Copy, Default, Debug)]
struct Taken {
    connections: u32,
    opening: u32,
}

/// Which limit a new connection would exceed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// `max_connections`
    Connections,
    /// `max_connections_per_ip`
    PerClient,
    /// `max_handshakes`, or the listener drains, or the node takes no new connections.
    Handshakes,
}

impl Admission {
    /// Nothing taken.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits: ArcSwap::from_pointee(limits),
            connections: AtomicU32::new(0),
            opening: AtomicU32::new(0),
            hasher: RandomState::new(),
            by_prefix: array::from_fn(|_| Mutex::default()),
            pressed: Notify::new(),
            is_closed: AtomicBool::default(),
        })
    }

    /// Whether every new QUIC connection is refused from now on: this node may issue no connection IDs.
    pub fn set_closed(&self, yes: bool) {
        self.is_closed.store(yes, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Says that half of the handshakes that a worker has room for are open.
    pub(super) fn press(&self) {
        self.pressed.notify_one();
    }

    /// Waits until a worker says so.
    pub async fn pressed(&self) {
        self.pressed.notified().await;
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
    pub fn admit(self: &Arc<Self>, address: Validated) -> Result<Admitted, Refusal> {
        let limits = self.limits();
        let prefix = address.prefix(&limits);
        let taken = self.connections.fetch_add(1, Ordering::Relaxed);
        if taken >= limits.max_connections {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Connections);
        }
        let mut shard = self.shard(&prefix);
        let of_client = shard.entry(prefix).or_default();
        if of_client.connections >= limits.max_connections_per_ip {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::PerClient);
        }
        of_client.connections += 1;
        drop(shard);
        Ok(Admitted { admission: Arc::clone(self), prefix })
    }

    /// Takes a place for a handshake that begins in the name of `address`, until the result
    /// is dropped. None if the limits have no room for it beside what they count: its address has to
    /// be validated first.
    pub fn begin(self: &Arc<Self>, address: Unvalidated) -> Option<Opening> {
        let limits = self.limits();
        let prefix = address.prefix(&limits);
        let opening = self.opening.fetch_add(1, Ordering::Relaxed);
        if self.connections.load(Ordering::Relaxed).saturating_add(opening) >= limits.max_connections {
            self.opening.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let mut shard = self.shard(&prefix);
        let of_client = shard.entry(prefix).or_default();
        if of_client.connections.saturating_add(of_client.opening) >= limits.max_connections_per_ip {
            self.opening.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        of_client.opening += 1;
        drop(shard);
        Some(Opening { admission: Arc::clone(self), prefix })
    }

    fn shard(&self, prefix: &Prefix) -> MutexGuard<'_, HashMap<Prefix, Taken>> {
        let index = self.hasher.hash_one(prefix) as usize % self.by_prefix.len();
        self.by_prefix[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, prefix: &Prefix, what: impl FnOnce(&mut Taken) -> &mut u32) {
        let mut shard = self.shard(prefix);
        if let Some(taken) = shard.get_mut(prefix) {
            *what(taken) -= 1;
            if taken.connections == 0 && taken.opening == 0 {
                shard.remove(prefix);
            }
        }
    }
}

/// A connection's place within the limits.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    prefix: Prefix,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.connections.fetch_sub(1, Ordering::Relaxed);
        self.admission.give_back(&self.prefix, |taken| &mut taken.connections);
    }
}

/// The place of a handshake whose client's address may be forged.
#[derive(Debug)]
pub struct Opening {
    admission: Arc<Admission>,
    prefix: Prefix,
}

impl Opening {
    /// It was at `address`: now it counts. Others may have taken what room there was.
    pub fn validate(self, address: Validated) -> Result<Admitted, Refusal> {
        self.admission.admit(address)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.admission.opening.fetch_sub(1, Ordering::Relaxed);
        self.admission.give_back(&self.prefix, |taken| &mut taken.opening);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_connections: u32, max_connections_per_ip: u32) -> Arc<Admission> {
        Admission::new(Limits { max_connections, max_connections_per_ip, ..Limits::default() })
    }

    fn at(text: &str) -> Validated {
        Validated::assumed(text)
    }

    fn claimed(text: &str) -> Unvalidated {
        Unvalidated::new(text.parse().unwrap())
    }

    #[test]
    fn the_node_and_each_client_have_their_limit_and_get_it_back() {
        let admission = admission(3, 2);
        let [a, b] = [at("10.0.0.1:1"), at("10.0.0.2:1")];
        let first = admission.admit(a).unwrap();
        let _second = admission.admit(a).unwrap();
        assert_eq!(admission.admit(a).unwrap_err(), Refusal::PerClient);
        let _third = admission.admit(b).unwrap();
        assert_eq!(admission.admit(b).unwrap_err(), Refusal::Connections);
        drop(first);
        let _again = admission.admit(a).unwrap();
        assert_eq!(admission.admit(b).unwrap_err(), Refusal::Connections);
    }

    #[test]
    fn an_address_counts_once_in_either_notation() {
        let admission = admission(9, 1);
        let _held = admission.admit(at("10.0.0.1:1")).unwrap();
        assert_eq!(admission.admit(at("[::ffff:10.0.0.1]:2")).unwrap_err(), Refusal::PerClient);
    }

    /// A host has all of a /64: 25 addresses of one had held 100 connections at a limit of 4.
    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let admission = admission(100, 4);
        let from = |host: u32| admission.admit(at(&format!("[2001:db8:0:1::{host:x}]:443")));
        let held: Vec<_> = (0..100).filter_map(|n| from(n % 25).ok()).collect();
        assert_eq!(held.len(), 4);
        assert!(admission.admit(at("[2001:db8:0:2::1]:443")).is_ok(), "its neighbour");
    }

    /// 22 first datagrams in a client's name, at a limit of 20: the client itself is let in.
    #[test]
    fn what_may_be_forged_is_not_counted() {
        let admission = admission(1_000, 20);
        let forged: Vec<_> = (0..22).filter_map(|_| admission.begin(claimed("192.0.2.1:50000"))).collect();
        assert_eq!(forged.len(), 20, "those beyond have to show their address");
        let held: Vec<_> = (0..21).map(|_| admission.admit(at("192.0.2.1:443"))).collect();
        assert!(held[..20].iter().all(Result::is_ok));
        assert_eq!(held[20].as_ref().unwrap_err(), &Refusal::PerClient);
        drop((forged, held));
        let all: Vec<_> = admission.by_prefix.iter().map(|shard| shard.lock().unwrap().len()).collect();
        assert!(all.iter().all(|left| *left == 0), "{all:?}");
    }

    #[test]
    fn nor_does_it_fill_the_node() {
        let admission = admission(3, 3);
        let forged: Vec<_> = (1..9).filter_map(|n| admission.begin(claimed(&format!("192.0.2.{n}:50000")))).collect();
        assert_eq!(forged.len(), 3);
        let held: Vec<_> = (0..3).map(|_| admission.admit(at("198.51.100.1:1")).unwrap()).collect();
        drop(held);
        let held: Vec<_> = (0..2).map(|_| admission.admit(at("198.51.100.1:1")).unwrap()).collect();
        drop(forged);
        assert!(admission.begin(claimed("192.0.2.1:1")).is_some(), "one place is left");
        drop(held);
    }

    #[test]
    fn who_is_known_at_last_is_counted_then() {
        let admission = admission(9, 1);
        let opening = admission.begin(claimed("192.0.2.1:1")).unwrap();
        let held = opening.validate(at("192.0.2.1:1")).unwrap();
        assert_eq!(admission.opening.load(Ordering::Relaxed), 0);
        assert_eq!(admission.admit(at("192.0.2.1:2")).unwrap_err(), Refusal::PerClient);
        assert!(admission.begin(claimed("192.0.2.1:3")).is_none());
        drop(held);
        let opening = admission.begin(claimed("192.0.2.1:1")).unwrap();
        let _other = admission.admit(at("192.0.2.1:2")).unwrap();
        assert_eq!(opening.validate(at("192.0.2.1:1")).unwrap_err(), Refusal::PerClient);
    }
}
