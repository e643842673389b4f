//! Workers that have ended: their slots are given back; one that ended unasked is replaced.
//!
//! A worker that dies takes its own connections with it and nobody else's. Its slot is free at
//! once, so that whoever still sends to it is told by a stateless reset (another worker may answer
//! for a free slot), and its successor gets another slot, so that it knows nothing of them.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    error::StartError,
    node::Node,
    plan::{self, Numbered},
};

/// Places of workers that died and have no successor yet.
#[derive(Default)]
pub(super) struct Replacements {
    owed: RefCell<Vec<(u8, u32)>>,
    tried: Cell<Option<Instant>>,
    trouble: RefCell<Option<String>>,
}

impl Replacements {
    /// What is wrong, one sentence each.
    pub(super) fn problems(&self) -> Vec<String> {
        let trouble = self.trouble.borrow();
        let owed = self.owed.borrow();
        let why = trouble.as_deref().unwrap_or("it is about to start");
        owed.iter()
            .map(|(slot, _)| format!("worker in slot {slot} crashed and cannot be replaced yet: {why}"))
            .collect()
    }
}

impl Node {
    /// Gives back the slots of workers that have ended, and replaces those that were not told to.
    pub(super) fn look_after_workers(&self) {
        if self.roster.is_stopping() {
            return;
        }
        for worker in self.roster.take_ended() {
            let place = (worker.slot(), worker.cpu());
            if worker.is_stopping() {
                tracing::info!("worker {} has ended", worker.slot());
            } else {
                tracing::error!("worker {} has died, and its connections with it", worker.slot());
                self.replacements.owed.borrow_mut().push(place);
            }
            // Out of the assignment as well: the free slot is nobody's.
            if let Err(e) = self.free_slot(worker.slot()).and_then(|()| self.assign()) {
                tracing::error!("slot {}: {e}", worker.slot());
            }
        }
        self.replace_the_dead();
    }

    fn replace_the_dead(&self) {
        let Replacements { owed, tried, trouble } = &self.replacements;
        // What dies at once is not started again and again without a pause.
        let too_soon = tried.get().is_some_and(|tried| tried.elapsed() < BETWEEN_TRIES);
        let next = owed.borrow().first().copied();
        let Some((dead, cpu)) = next.filter(|_| !too_soon) else { return };
        match self.start_successor(dead, cpu) {
            Ok(slot) => {
                tracing::info!("worker {slot} has taken the place of worker {dead}");
                owed.borrow_mut().remove(0);
                trouble.take();
            }
            Err(e) => {
                tracing::error!("worker {dead} cannot be replaced yet: {e}");
                *trouble.borrow_mut() = Some(e.to_string());
            }
        }
        tried.set(Some(Instant::now()));
    }

    fn start_successor(&self, dead: u8, cpu: u32) -> Result<u8, StartError> {
        let config = self.config();
        let taken = self.all_places();
        let free = |slot: &u8| !taken.iter().any(|(other, _)| other == slot);
        // Another one than before, as long as there is one.
        let fresh = (0..=u8::MAX).cycle().skip(usize::from(dead) + 1).take(256).find(free);
        let slot = fresh.ok_or_else(|| StartError::refused("all slots are taken"))?;
        let place = [(slot, cpu)];
        let provision = Rc::clone(&self.now().provision);
        let listeners: Vec<Numbered> = self.now().listeners.clone();
        let mut known: Vec<_> = self.now().sockets.iter().map(|socket| socket.inode).collect();
        known.extend(self.generations.others().into_iter().flat_map(|other| other.sockets));
        let open = |listener: &Numbered| plan::open_sockets(listener, &place, &known);
        let sockets = listeners.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        self.steering.take(&place, &self.beside())?;
        let started = (|| {
            let sockets: Vec<_> = listeners.iter().zip(sockets).collect();
            for (listener, sockets) in &sockets {
                self.connect(listener, sockets)?;
            }
            self.start_workers(&place, sockets, &provision, &config)?;
            self.assign()
        })();
        started.map(|()| slot).inspect_err(|_| {
            // Nobody was started in it.
            if let Err(e) = self.free_slot(slot) {
                tracing::error!("slot {slot}: {e}");
            }
        })
    }

    /// Has a worker panic: a fault that nothing else causes on purpose.
    #[cfg(debug_assertions)]
    pub(super) fn make_panic(&self, slot: u8) {
        self.roster.read(|workers| {
            workers.iter().filter(|worker| worker.slot() == slot).for_each(crate::worker::Worker::make_panic)
        });
    }
}

const BETWEEN_TRIES: Duration = Duration::from_secs(1);
