//! What the agent looks after for as long as it runs, and on which occasions.
//!
//! Time passes; the kernel says that links or addresses have changed; a worker ends; a queue may be
//! free by now. Time alone would do: a message can be lost, a look cannot. The others are sooner.

use std::{future::pending, pin::pin, rc::Rc, time::Duration};

use tokio::time::{interval, sleep};

use super::{node::Node, takeover::Phase};
use crate::datapath::Changes;

/// Why to look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    Time,
    LongAgo,
    Announced,
    WorkerEnded,
    QueueMayBeFree,
}

impl Node {
    /// What has to be done now and then, for as long as the agent runs.
    pub(super) async fn look_after(self: Rc<Self>) {
        let changes = listen();
        // Kept while other occasions come: it is not to begin to gather again with each.
        let mut change = pin!(announced(changes.as_ref()));
        let (mut tick, mut seldom) = (interval(BETWEEN_LOOKS), interval(BETWEEN_LOOKS_AROUND));
        loop {
            let occasion = tokio::select! {
                biased;
                _ = seldom.tick() => Occasion::LongAgo,
                () = &mut change => Occasion::Announced,
                () = self.roster.one_ended() => Occasion::WorkerEnded,
                _ = tick.tick() => Occasion::Time,
                () = self.queues.awaited.may_be_free() => Occasion::QueueMayBeFree,
            };
            if occasion == Occasion::Announced {
                change.set(announced(changes.as_ref()));
            }
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
                self.look_after_queues();
                self.renew_certificates();
            }
            Occasion::LongAgo | Occasion::Announced => self.look_around(),
            Occasion::WorkerEnded => {
                self.look_after_workers();
                self.look_after_queues();
            }
            Occasion::QueueMayBeFree => self.look_after_queues(),
        }
    }

    fn look_after_connection_ids(&self) {
        let mut datapath = self.steering.kernel().map(|kernel| kernel.datapath.borrow_mut());
        self.connection_ids.look_after(datapath.as_deref_mut(), |rotation| self.roster.datagrams_of(rotation));
    }
}

/// Begins to listen to what the kernel announces, if it can be heard.
fn listen() -> Option<Changes> {
    Changes::subscribe()
        .inspect_err(|e| {
            tracing::warn!("changes of links and addresses are seen every {BETWEEN_LOOKS_AROUND:?} only: {e}");
        })
        .ok()
}

/// Waits until something was announced, and a moment longer: more may follow.
async fn announced(changes: Option<&Changes>) {
    match changes {
        Some(changes) if changes.announced().await.is_ok() => {
            sleep(GATHERING).await;
            changes.are_known();
        }
        _ => pending().await,
    }
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// Where the kernel says nothing: `ethtool -L`, or a message that was lost.
const BETWEEN_LOOKS_AROUND: Duration = Duration::from_secs(2);
/// How long announcements are gathered that come together.
const GATHERING: Duration = Duration::from_millis(10);
