//! The queues that workers have, and the interfaces that they are of.

use std::{cell::RefCell, collections::BTreeMap};

use router_common::{identifiers::InterfaceQueue, maps};

use super::plan::Share;
use crate::{
    agent::api,
    datapath::{self, Copying},
};

/// A queue that a worker has.
pub(super) struct OpenQueue {
    pub(super) interface: String,
    /// As the map `queues` has it.
    pub(super) entry: maps::Queue,
    pub(super) copying: Copying,
    pub(super) sends: bool,
    /// Frames that it has memory for, to receive and to send.
    pub(super) frames: u32,
}

/// An interface to have queues of.
#[derive(Clone)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) facts: datapath::DeviceFacts,
}

impl Device {
    /// What the maps are to say of a queue of it.
    pub(super) fn entry(&self, id: InterfaceQueue, share: &Share) -> maps::Queue {
        maps::Queue::new(id, self.facts.mac, share.slot).with_places(share.places)
    }
}

/// All that workers of this generation have.
#[derive(Default)]
pub(super) struct OpenQueues(RefCell<BTreeMap<InterfaceQueue, OpenQueue>>);

impl OpenQueues {
    /// What the maps say of them, each with the name of its interface.
    pub(super) fn entries(&self) -> Vec<(String, maps::Queue)> {
        self.0.borrow().values().map(|open| (open.interface.clone(), open.entry)).collect()
    }

    pub(super) fn entry(&self, id: InterfaceQueue) -> Option<maps::Queue> {
        self.0.borrow().get(&id).map(|open| open.entry)
    }

    pub(super) fn set_entry(&self, id: InterfaceQueue, entry: maps::Queue) {
        self.0.borrow_mut().entry(id).and_modify(|open| open.entry = entry);
    }

    pub(super) fn insert(&self, id: InterfaceQueue, open: OpenQueue) {
        self.0.borrow_mut().insert(id, open);
    }

    pub(super) fn remove(&self, id: InterfaceQueue) -> Option<OpenQueue> {
        self.0.borrow_mut().remove(&id)
    }

    pub(super) fn ids(&self) -> Vec<InterfaceQueue> {
        self.0.borrow().keys().copied().collect()
    }

    pub(super) fn has_some_of(&self, interface: &str) -> bool {
        self.0.borrow().values().any(|open| open.interface == interface)
    }

    /// Frames that all of them have memory for.
    pub(super) fn frames(&self) -> u64 {
        self.0.borrow().values().map(|open| u64::from(open.frames)).sum()
    }

    /// The queues for which `holds`.
    pub(super) fn which(&self, holds: impl Fn(InterfaceQueue, &OpenQueue) -> bool) -> Vec<InterfaceQueue> {
        self.0.borrow().iter().filter(|(id, open)| holds(**id, open)).map(|(id, _)| *id).collect()
    }

    pub(super) fn shares(&self) -> BTreeMap<InterfaceQueue, Share> {
        let share = |entry: &maps::Queue| Share { slot: entry.owner(), places: entry.places() };
        self.0.borrow().iter().map(|(id, open)| (*id, share(&open.entry))).collect()
    }

    /// Those that are to have no owner, or another one.
    pub(super) fn leaving(&self, wanted: &BTreeMap<InterfaceQueue, Share>) -> Vec<InterfaceQueue> {
        self.which(|id, open| wanted.get(&id).is_none_or(|share| share.slot != open.entry.owner()))
    }

    /// Those of an interface, for people.
    pub(super) fn describe(&self, interface: &str) -> Vec<api::Queue> {
        let open = self.0.borrow();
        let own = open.values().filter(|open| open.interface == interface);
        let describe = |open: &OpenQueue| api::Queue {
            queue: open.entry.id().queue.get(),
            slot: open.entry.owner().get(),
            mode: match open.copying {
                Copying::Zero => api::QueueMode::ZeroCopy,
                Copying::Once => api::QueueMode::Copy,
            },
            places: open.entry.places(),
            sends: open.sends,
        };
        own.map(describe).collect()
    }
}
