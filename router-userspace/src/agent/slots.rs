//! Slots as the node's verbs change them: drained and undrained, left, freed, and which of them are active.

use std::time::Duration;

use router_common::maps::SlotState;

use super::{error::StartError, node::Node, steering::Beside};
use crate::worker::Worker;

impl Node {
    /// Our slots and those of other generations, with their CPUs.
    pub(super) fn all_places(&self) -> Vec<(u8, u32)> {
        self.steering.places().into_iter().chain(self.generations.places()).collect()
    }

    /// What else decides how slots are written.
    pub(super) fn beside(&self) -> Beside {
        Beside { config: self.config(), others: self.generations.places() }
    }

    /// Gives a slot back whose worker has ended.
    pub(super) fn free_slot(&self, slot: u8) -> Result<(), StartError> {
        self.change_now(|now| now.sockets.retain(|socket| socket.slot != slot));
        self.steering.free(slot, &self.beside())
    }

    /// Frees every slot that is neither ours nor another generation's that we know of.
    pub(super) fn free_unknown_slots(&self) -> Result<(), StartError> {
        let known = self.all_places();
        let unknown: Vec<_> = (0..=u8::MAX).filter(|slot| !known.iter().any(|(known, _)| known == slot)).collect();
        self.steering.free_of_others(&unknown, &self.beside())
    }

    /// Spreads new connections over the active slots.
    pub(super) fn assign(&self) -> Result<(), StartError> {
        self.steering.assign(&self.active_slots())
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
        match self.roster.of_slot(slot, Worker::is_stopping) {
            None => return Err(refused("no worker is there").with_hint("quic-router workers list")),
            Some(true) => return Err(refused("its worker is about to end")),
            Some(false) => {}
        }
        if draining && self.active_slots().iter().all(|&other| other == slot) {
            return Err(refused("it is the last active one").with_hint("undrain another first"));
        }
        let state = if draining { SlotState::Draining } else { SlotState::Active };
        self.steering.set_state([slot], state, &self.beside())?;
        self.assign()?;
        self.look_after_queues();
        // Only now: whoever was asked to go and comes back goes elsewhere.
        self.roster.of_slot(slot, |worker| match grace {
            Some(grace) => worker.drain(grace),
            None => worker.undrain(),
        });
        Ok(())
    }

    /// Tells the workers of these slots to end: no new connections, and `grace` for those there are.
    pub(super) fn send_away(&self, slots: &[(u8, u32)], grace: Duration) -> Result<(), StartError> {
        let theirs = slots.iter().map(|&(slot, _)| slot);
        let written = self.steering.set_state(theirs, SlotState::Draining, &self.beside());
        let written = written.and_then(|()| self.assign());
        self.look_after_queues();
        for &(slot, _) in slots {
            self.roster.of_slot(slot, |worker| worker.leave(grace));
        }
        written
    }

    fn active_slots(&self) -> Vec<u8> {
        let active = |&slot: &u8| self.steering.tables().slot_state(slot) == SlotState::Active;
        self.roster.read(|workers| workers.iter().map(Worker::slot).filter(active).collect())
    }
}
