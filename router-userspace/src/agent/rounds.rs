//! What the agent looks after for as long as it runs, and on which occasions.
//!
//! Time passes; a worker ends; a queue may be free by now. Time alone would do; the others are sooner.

use std::{rc::Rc, time::Duration};

use tokio::time::interval;

use super::{generations::Phase, node::Node};

/// Why to look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    Time,
    WorkerEnded,
    QueueMayBeFree,
}

impl Node {
    /// What has to be done now and then, for as long as the agent runs.
    pub(super) async fn look_after(self: Rc<Self>) {
        let mut tick = interval(BETWEEN_LOOKS);
        loop {
            let occasion = tokio::select! {
                biased;
                () = self.worker_ended.notified() => Occasion::WorkerEnded,
                _ = tick.tick() => Occasion::Time,
                () = self.queues.awaited.may_be_free() => Occasion::QueueMayBeFree,
            };
            match self.generations.phase() {
                Phase::InCharge => self.look(occasion),
                Phase::HandingOver if occasion == Occasion::Time => self.service_manager.alive(),
                Phase::Retired if occasion == Occasion::Time => self.look_after_retirement(),
                Phase::Preparing | Phase::HandingOver | Phase::Retired => {}
            }
        }
    }

    fn look(&self, occasion: Occasion) {
        match occasion {
            Occasion::Time => {
                self.service_manager.alive();
                self.look_after_connection_ids();
                self.look_after_workers();
                self.look_around();
                self.renew_certificates();
            }
            Occasion::WorkerEnded => {
                self.look_after_workers();
                self.look_after_queues();
            }
            Occasion::QueueMayBeFree => self.look_after_queues(),
        }
    }

    fn look_after_connection_ids(&self) {
        let mut datapath = self.kernel.as_ref().map(|kernel| kernel.datapath.borrow_mut());
        self.connection_ids.look_after(datapath.as_deref_mut(), |rotation| self.datagrams_of(rotation));
    }
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
