//! What the agent maintains for as long as it runs, and what triggers it.
//!
//! Time passes; the kernel says that links or addresses have changed; a worker ends; a queue may be
//! free by now. Time alone would do: a message can be lost, a look cannot. The others are sooner.

use std::{future::pending, pin::pin, rc::Rc, time::Duration};

use tokio::time::{interval, sleep};

use super::{
    admission, cluster, listeners,
    node::Node,
    rescan::{reconcile_queues, rescan},
    respawn,
    takeover::{self, Phase},
    turns,
};
use crate::{datapath::Changes, worker::Worker};

/// Why to look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Tick,
    RescanDue,
    Announced,
    WorkerEnded,
    QueueMayBeFree,
    Pressed,
}

/// Does what has to be done now and then, for as long as the agent runs.
pub(super) async fn run(node: Rc<Node>) {
    let changes = listen();
    // Kept while other triggers come: it is not to begin to gather again with each.
    let mut change = pin!(announced(changes.as_ref()));
    let (mut tick, mut seldom) = (interval(TICK), interval(RESCAN_INTERVAL));
    loop {
        let trigger = tokio::select! {
            biased;
            _ = seldom.tick() => Trigger::RescanDue,
            () = &mut change => Trigger::Announced,
            () = node.roster.one_ended() => Trigger::WorkerEnded,
            _ = tick.tick() => Trigger::Tick,
            () = node.queues.may_be_free() => Trigger::QueueMayBeFree,
            () = node.admission.pressed() => Trigger::Pressed,
        };
        if trigger == Trigger::Announced {
            change.set(announced(changes.as_ref()));
        }
        match node.generations.phase() {
            Phase::InCharge => look(&node, trigger),
            Phase::HandingOver if trigger == Trigger::Tick => node.service_manager.alive(),
            Phase::Retired if trigger == Trigger::Tick => takeover::reconcile_retirement(&node),
            Phase::Preparing | Phase::HandingOver | Phase::Retired => {}
        }
    }
}

fn look(node: &Rc<Node>, trigger: Trigger) {
    match trigger {
        Trigger::Tick => {
            node.service_manager.alive();
            maintain_keys(node);
            if node.blocks.has_to_catch_up() {
                let node = Rc::clone(node);
                turns::spawn("the block list", async move { node.blocks.catch_up(&node.steering).await });
            }
            respawn::reconcile_workers(node);
            reconcile_queues(node);
            renew_certificates(node);
            admission::relieve(&node.steering, most_handshakes(node), &node.serving.config());
        }
        Trigger::RescanDue => {
            admission::keep_token_keys(&node.steering, &node.secrets);
            rescan(node);
            // How packets come in may have changed.
            cluster::reconcile(node);
        }
        Trigger::Announced => {
            rescan(node);
            if let Some(cluster) = &node.cluster {
                cluster.look_for_ways();
            }
        }
        Trigger::WorkerEnded => {
            respawn::reconcile_workers(node);
            reconcile_queues(node);
        }
        Trigger::QueueMayBeFree => reconcile_queues(node),
        Trigger::Pressed => admission::press(&node.steering),
    }
}

/// How many handshakes are open at the worker that has most.
fn most_handshakes(node: &Node) -> u64 {
    let each = |workers: &[Worker]| workers.iter().map(|worker| worker.stats().totals().handshakes_now).max();
    node.roster.read(each).unwrap_or(0)
}

/// Connection IDs: forgets what is out of use, keeps nonces in stock, and rotates before they run out.
fn maintain_keys(node: &Node) {
    let mut datapath = node.steering.kernel().map(|kernel| kernel.datapath.borrow_mut());
    node.keys.maintain(datapath.as_deref_mut(), |rotation| node.roster.datagrams_of(rotation));
}

/// Serves new connections with the certificates that are in the files now. What is there may
/// be half of a change: then everything stays, and it is looked at again when it changes.
fn renew_certificates(node: &Node) {
    if !node.serving.certificates_have_changed() {
        return;
    }
    let provision = node.serving.provision().with_certificates_of_now(&node.serving.config(), &node.secrets);
    match provision {
        Ok(provision) => {
            node.serving.present(Rc::new(provision));
            listeners::serve(node);
            tracing::info!("certificates have changed: new connections get the new ones");
        }
        Err(e) => tracing::warn!("certificates have changed, but stay as they were in memory: {e}"),
    }
}

/// Begins to listen to what the kernel announces, if it can be heard.
fn listen() -> Option<Changes> {
    Changes::subscribe()
        .inspect_err(|e| {
            tracing::warn!("changes of links and addresses are seen every {RESCAN_INTERVAL:?} only: {e}");
        })
        .ok()
}

/// Waits until something was announced, and a moment longer: more may follow.
async fn announced(changes: Option<&Changes>) {
    match changes {
        Some(changes) if changes.announced().await.is_ok() => {
            sleep(BATCH_WINDOW).await;
            changes.are_known();
        }
        _ => pending().await,
    }
}

const TICK: Duration = Duration::from_millis(250);
/// For changes that the kernel does not announce: `ethtool -L`, or a message that was lost.
const RESCAN_INTERVAL: Duration = Duration::from_secs(2);
/// How long announcements are gathered that come together.
const BATCH_WINDOW: Duration = Duration::from_millis(10);
