//! Which slots are taken and what state each is in, told to the kernel and to the workers alike; and
//! the assignment, which spreads new connections over those that are active.

use std::time::Duration;

use router_common::maps::{Slot, SlotState};

use super::{engine, error::StartError, maglev, node::Node};
use crate::worker::Worker;

impl Node {
    /// The CPU of each slot that is taken.
    pub(super) fn places(&self) -> Vec<(u8, u32)> {
        self.places.borrow().iter().map(|(&slot, &cpu)| (slot, cpu)).collect()
    }

    /// The same, and those of other generations.
    pub(super) fn all_places(&self) -> Vec<(u8, u32)> {
        self.places().into_iter().chain(self.generations.places()).collect()
    }

    /// Takes slots for workers that are about to start.
    pub(super) fn take_slots(&self, slots: &[(u8, u32)]) -> Result<(), StartError> {
        self.places.borrow_mut().extend(slots.iter().copied());
        for &(slot, cpu) in slots {
            self.tables.set_slot_state(slot, SlotState::Active);
            if let Some(kernel) = &self.kernel {
                kernel.datapath.borrow_mut().open_cpu(cpu)?;
            }
        }
        self.write_slots()
    }

    /// Gives a slot back whose worker has ended.
    pub(super) fn free_slot(&self, slot: u8) -> Result<(), StartError> {
        self.tables.set_slot_state(slot, SlotState::Free);
        self.places.borrow_mut().remove(&slot);
        self.change_now(|now| now.sockets.retain(|socket| socket.slot != slot));
        if let Some(kernel) = &self.kernel {
            kernel.datapath.borrow_mut().set_slot(slot, Slot::default())?;
        }
        self.write_slots()
    }

    /// Tells the kernel what is in the slots: also which of them share a CPU now, and whether packets
    /// are moved to it.
    pub(super) fn write_slots(&self) -> Result<(), StartError> {
        let Some(kernel) = &self.kernel else { return Ok(()) };
        let (places, others) = (self.places.borrow(), self.generations.places());
        let all: Vec<u32> = places.values().copied().chain(others.iter().map(|&(_, cpu)| cpu)).collect();
        let redirects =
            engine::redirects(&self.config().router, &all) && !kernel.datapath.borrow().is_generic_somewhere();
        for (&slot, &cpu) in &*places {
            let shared = if redirects { all.iter().filter(|&&other| other == cpu).count() > 1 } else { all.len() > 1 };
            let entry = Slot::new(self.tables.slot_state(slot), cpu, self.generation)
                .with_shares_cpu(shared)
                .with_redirects(redirects);
            kernel.datapath.borrow_mut().set_slot(slot, entry)?;
        }
        Ok(())
    }

    /// Frees slots of another generation, which has ended.
    pub(super) fn free_others_slots(&self, slots: &[u8]) -> Result<(), StartError> {
        for &slot in slots {
            self.tables.set_slot_state(slot, SlotState::Free);
            if let Some(kernel) = &self.kernel {
                kernel.datapath.borrow_mut().set_slot(slot, Slot::default())?;
            }
        }
        self.remove_flows_of(slots.to_vec());
        self.write_slots()
    }

    /// Frees every slot that is neither ours nor another generation's that we know of.
    pub(super) fn free_unknown_slots(&self) -> Result<(), StartError> {
        let known: Vec<_> = self.places().into_iter().chain(self.generations.places()).map(|(slot, _)| slot).collect();
        let unknown: Vec<_> = (0..=u8::MAX).filter(|slot| !known.contains(slot)).collect();
        self.free_others_slots(&unknown)
    }

    /// Has flows to slots removed that nobody has any more. It takes a while, and nobody waits.
    fn remove_flows_of(&self, slots: Vec<u8>) {
        let Some(kernel) = &self.kernel else { return };
        let handles = kernel.datapath.borrow().flow_reader().and_then(|reader| {
            let writer = kernel.datapath.borrow().flow_writer()?;
            Ok((reader, writer))
        });
        let removed = handles.map_err(std::io::Error::other).and_then(|(reader, mut writer)| {
            std::thread::Builder::new().name("clear flows".to_owned()).spawn(move || {
                let theirs: Vec<_> = reader.iter().filter(|(_, flow)| slots.contains(&flow.slot())).collect();
                theirs.into_iter().for_each(|(cid, _)| writer.remove(&cid));
            })
        });
        if let Err(e) = removed {
            tracing::warn!("flows of slots that are free stay until they are swept: {e}");
        }
    }

    /// Spreads new connections over the active slots: one write, in kernel and userspace alike.
    pub(super) fn assign(&self) -> Result<(), StartError> {
        let active: Vec<_> = self.active_slots().into_iter().map(|slot| (slot, 1)).collect();
        let assignment = maglev(&active);
        self.tables.assign(&assignment);
        if let Some(kernel) = &self.kernel {
            kernel.datapath.borrow_mut().assign(&assignment)?;
        }
        Ok(())
    }

    /// Takes a slot out of the assignment, has its connections asked to end, and closed after
    /// `grace`; or, without that, takes the slot back in.
    ///
    /// # Errors
    /// If there is no such worker, if it is about to end, or if it is the last active one.
    pub(super) fn set_draining(&self, slot: u8, grace: Option<Duration>) -> Result<(), StartError> {
        self.require_charge()?;
        let draining = grace.is_some();
        let refused = |why: &str| StartError::refused(format!("slot {slot}: {why}"));
        match self.with_worker(slot, Worker::is_stopping) {
            None => return Err(refused("no worker is there").with_hint("quic-router workers list")),
            Some(true) => return Err(refused("its worker is about to end")),
            Some(false) => {}
        }
        if draining && self.active_slots().iter().all(|&other| other == slot) {
            return Err(refused("it is the last active one").with_hint("undrain another first"));
        }
        self.tables.set_slot_state(slot, if draining { SlotState::Draining } else { SlotState::Active });
        self.write_slots()?;
        self.assign()?;
        self.look_after_queues();
        // Only now: whoever was asked to go and comes back goes elsewhere.
        self.with_worker(slot, |worker| match grace {
            Some(grace) => worker.drain(grace),
            None => worker.undrain(),
        });
        Ok(())
    }

    /// Tells the workers of these slots to end: no new connections, and `grace` for those there are.
    pub(super) fn send_away(&self, slots: &[(u8, u32)], grace: Duration) -> Result<(), StartError> {
        for &(slot, _) in slots {
            self.tables.set_slot_state(slot, SlotState::Draining);
        }
        let written = self.write_slots().and_then(|()| self.assign());
        self.look_after_queues();
        for &(slot, _) in slots {
            self.with_worker(slot, |worker| worker.leave(grace));
        }
        written
    }

    fn active_slots(&self) -> Vec<u8> {
        let active = |&slot: &u8| self.tables.slot_state(slot) == SlotState::Active;
        self.with_workers(|workers| workers.iter().map(Worker::slot).filter(active).collect())
    }

    /// None if no worker is there.
    fn with_worker<T>(&self, slot: u8, act: impl FnOnce(&Worker) -> T) -> Option<T> {
        self.with_workers(|workers| workers.iter().find(|worker| worker.slot() == slot).map(act))
    }
}
