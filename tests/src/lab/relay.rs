//! A stretch of bad network between clients and the router: a relay that may drop, delay,
//! repeat or rewrite every frame.
//!
//! ```text
//! behind             clients 0                 router
//! [router0] ══ [behind0] (relay) [router0] ══ [clients0]
//! ```
//!
//! The clients behind it have the addresses of the clients' namespace, which is then only
//! the relay.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use router_common::frame;

use super::{
    link::{Link, Pipe},
    netns::{Namespace, batch},
    topology::Wire,
    wire::{Direction, Sender, Tap},
};

/// Clients behind a relay; ended on drop.
#[derive(Debug)]
pub struct Relay {
    _taps: [Tap; 2],
    behind: Namespace,
}

/// Which way a frame goes through a relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Towards {
    /// From a client.
    Router,
    /// To a client.
    Clients,
}

impl Relay {
    /// Puts a relay into the wire between clients and `router`. For each frame `policy` says what is
    /// sent in its place: nothing, itself, or something else; that takes the way of `link`, if
    /// there is one.
    pub(super) fn new(
        wire: &Wire,
        router: &Namespace,
        link: Option<Link>,
        policy: impl Fn(Towards, &[u8]) -> Vec<Vec<u8>> + Clone + Send + 'static,
    ) -> Result<Self> {
        let here = wire.namespace();
        let behind = Namespace::new(format!("{}-behind", here.name()))?;
        batch(
            &[],
            &format!(
                "link add name {INSIDE} netns {} type veth peer name router0 netns {}\n",
                here.name(),
                behind.name()
            ),
        )?;
        here.ip(&format!("addr flush dev {OUTSIDE}\nlink set {INSIDE} up\n"))?;
        wire.move_in(&behind)?;
        // What passes through it is whole packets with their checksums.
        behind.offload("router0", &WHOLE)?;
        router.offload(&wire.router_interface(), &WHOLE)?;
        let there = pass_on(here, Towards::Router, link, policy.clone())?;
        let back = pass_on(here, Towards::Clients, link, policy)?;
        Ok(Self { _taps: [there, back], behind })
    }

    /// Where the clients run.
    pub fn clients(&self) -> &Namespace {
        &self.behind
    }
}

/// A policy for [`Running::relay`](super::Running::relay): the first `count` client ports to send anything get no answer,
/// like senders whose source address is forged. What others send and get is passed on.
pub fn unanswered(count: usize) -> impl Fn(Towards, &[u8]) -> Vec<Vec<u8>> + Clone + Send + 'static {
    let ports = Arc::new(Mutex::new(BTreeSet::new()));
    move |towards, frame| {
        let mut ports = ports.lock().unwrap_or_else(PoisonError::into_inner);
        match (towards, frame::parse(frame).ok()) {
            (Towards::Router, Some(datagram)) if ports.len() < count => {
                ports.insert(datagram.source.port);
            }
            (Towards::Clients, Some(datagram)) if ports.contains(&datagram.destination.port) => return Vec::new(),
            (Towards::Router | Towards::Clients, _) => {}
        }
        vec![frame.to_vec()]
    }
}

/// Has what comes on one interface of a relay's namespace leave by the other.
pub(super) fn pass_on(
    namespace: &Namespace,
    towards: Towards,
    link: Option<Link>,
    policy: impl Fn(Towards, &[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> Result<Tap> {
    let (from, to) = match towards {
        Towards::Router => (INSIDE, OUTSIDE),
        Towards::Clients => (OUTSIDE, INSIDE),
    };
    let sender = Sender::new(namespace, to)?;
    if let Some(link) = link {
        let mut pipe = Pipe::new(link, sender);
        return Tap::start(namespace, from, move |direction, frame| {
            if direction == Direction::In {
                policy(towards, frame).into_iter().for_each(|frame| pipe.push(frame));
            }
            Ok(())
        });
    }
    Tap::start(namespace, from, move |direction, frame| match direction {
        Direction::In => policy(towards, frame).iter().try_for_each(|frame| sender.send(frame)),
        // What the relay itself has sent.
        Direction::Out => Ok(()),
    })
}

/// Offloads of an interface that sends whole packets with their checksums, or not, as `ethtool -K` takes them.
pub(super) const WHOLE: [&str; 4] = ["tx", "off", "gso", "off"];
/// The relay's interface towards clients.
pub(super) const INSIDE: &str = "behind0";
/// The relay's interface towards the router.
pub(super) const OUTSIDE: &str = "router0";
