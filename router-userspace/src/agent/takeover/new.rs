//! The new generation's side of a handover.

use std::{fs, io, path::Path, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, task::spawn_local};

use super::{
    compatibility::Compatibility,
    generations::Phase,
    probe::probe,
    protocol::{Channel, FromNew, FromOld, Neighbour, Offer, PROTOCOL, TARGET},
    report, watch,
};
use crate::agent::{
    admission,
    api::Failure,
    control::{ControlSocket, aside},
    drain,
    error::AgentError,
    health::NodeHealth,
    listeners,
    node::Node,
    turns,
};

/// A handover that has begun.
pub(in crate::agent) struct TakeOver {
    channel: Channel,
    offer: Offer,
}

impl TakeOver {
    /// Asks the agent that answers at `control`; none if no agent does.
    ///
    /// # Errors
    /// If it refuses, or is of another kind.
    pub(in crate::agent) async fn begin(control: &Path, kind: Compatibility) -> Result<Option<Self>, AgentError> {
        let stream = match UnixStream::connect(control).await {
            Ok(stream) => stream,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(e) => return Err(AgentError::kernel(format!("control socket {}: {e}", control.display()))),
        };
        let mut channel = Channel::new(upgraded(stream).await?);
        let hello = FromNew::Hello { version: env!("CARGO_PKG_VERSION").to_owned(), kind };
        channel.say(&hello).await.map_err(lost)?;
        match channel.hear(PATIENCE).await.map_err(lost)? {
            FromOld::Offer(offer) => Ok(Some(Self { channel, offer })),
            FromOld::Refused { error, hint } => Err(refused(error, hint)),
            FromOld::Go => Err(AgentError::refused("takeover: unexpected message from the running agent")),
        }
    }

    /// The generations there are, the one in charge first.
    pub(in crate::agent) fn before(&self) -> &[Neighbour] {
        &self.offer.generations
    }

    /// From a node that is ready to one that is in charge.
    ///
    /// # Errors
    /// If it does not work, or the running agent does not answer: that one serves on then.
    pub(in crate::agent) async fn finish(
        mut self,
        node: &Rc<Node>,
        control: &Rc<ControlSocket>,
    ) -> Result<(), AgentError> {
        // New listeners are in the map before the probe asks; what was there stays.
        let ready = match listeners::write(node) {
            Ok(()) => probe(node).await,
            Err(e) => Err(e),
        };
        let unreached = match ready {
            Ok(unreached) => unreached,
            Err(e) => {
                self.fail(&e).await;
                return Err(e);
            }
        };
        for sentence in &unreached {
            tracing::warn!("takeover: listener {sentence}");
        }
        let prepared = Neighbour { unprobed: unreached, ..report::own(node) };
        self.channel.say(&FromNew::Prepared(prepared)).await.map_err(lost)?;
        match self.channel.hear(PATIENCE).await.map_err(lost)? {
            FromOld::Go => {}
            FromOld::Refused { error, hint } => return Err(refused(error, hint)),
            FromOld::Offer(_) => {
                return Err(AgentError::refused("takeover: unexpected message from the running agent"));
            }
        }
        take_charge(node)?;
        node.observability.answer(&NodeHealth::of(node));
        control.take_place()?;
        // If it is not heard, the old one has ended: one that lives would have ended us.
        if let Err(e) = self.channel.say(&FromNew::Flipped).await {
            tracing::warn!("takeover: the generation before has ended: {e}");
        }
        // Only now: a start that fails up to here leaves everything where it is.
        if let Some(kernel) = node.steering.kernel() {
            kernel.datapath.borrow_mut().set_in_charge(true);
        }
        for other in node.generations.others() {
            turns::spawn("another generation", reap(Rc::clone(node), other));
        }
        Ok(())
    }

    /// Tells the running agent why nothing comes of it.
    pub(in crate::agent) async fn fail(&mut self, why: &AgentError) {
        let failed = FromNew::Failed { error: why.to_string(), hint: why.hint().map(str::to_owned) };
        // It sees that we end, too.
        let _ = self.channel.say(&failed).await;
    }
}

/// Brings this generation into force: one write flips the assignment.
fn take_charge(node: &Node) -> Result<(), AgentError> {
    drain::assign(node)?;
    node.generations.take_charge();
    node.keys.keep_all(true);
    if let Some(kernel) = node.steering.kernel() {
        let mut datapath = kernel.datapath.borrow_mut();
        for interface in datapath.attached_interfaces() {
            if !datapath.attachments().contains_key(&interface) {
                datapath.detach_other(&interface);
            }
        }
        // The others' workers get no new connections by their queues either; they leave these when
        // they hear of the flip.
        if let Err(e) = datapath.stop_placing() {
            tracing::error!("takeover: {e}");
        }
    }
    listeners::serve(node);
    admission::bring_into_force(&node.steering, &node.serving.config());
    node.blocks.take_charge(&node.steering, &node.serving.config());
    // From here on it cannot be undone, and what may fail costs no connection.
    let rest = [listeners::write(node), node.steering.account_where_xdp_does_not()];
    for e in rest.into_iter().filter_map(Result::err) {
        tracing::error!("takeover: {e}");
    }
    Ok(())
}

/// Waits until another generation has ended, and frees what it had: what is still sent to it is answered by a
/// stateless reset.
async fn reap(node: Rc<Node>, other: Neighbour) {
    watch::ended(other.pid).await;
    node.generations.forget(other.generation);
    if node.generations.phase() == Phase::Retired {
        return;
    }
    tracing::info!("generation {} has ended", other.generation);
    let slots: Vec<u8> = other.places.iter().map(|place| place.slot).collect();
    node.keys.keep_all(!node.generations.others().is_empty());
    let cleared = node.steering.free_of_others(&slots, &node.slot_context()).and_then(|()| listeners::write(&node));
    if let Err(e) = cleared {
        tracing::error!("behind generation {}: {e}", other.generation);
    }
    let aside = aside(&node.serving.config().router.control, other.generation);
    // It removes it itself, unless it was killed.
    let _ = fs::remove_file(aside);
}

/// The connection as it is after an HTTP upgrade to our protocol.
async fn upgraded(stream: UnixStream) -> Result<UnixStream, AgentError> {
    let failed = |e: &dyn std::fmt::Display| AgentError::refused(format!("takeover: the running agent: {e}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    spawn_local(connection.with_upgrades());
    let request = Request::get(TARGET)
        .header(header::HOST, "localhost")
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, PROTOCOL)
        .body(Empty::<Bytes>::new())
        .map_err(|e| failed(&e))?;
    let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let body = response.into_body().collect().await.map_err(|e| failed(&e))?.to_bytes();
        return Err(match serde_json::from_slice::<Failure>(&body) {
            Ok(Failure { error, hint }) => refused(error, hint),
            Err(_) => failed(&"it does not know of takeovers")
                .with_hint("stop and start the agent: an upgrade in place is not possible between these versions"),
        });
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|e| failed(&e))?;
    let parts = upgraded.downcast::<TokioIo<UnixStream>>().map_err(|_| failed(&"not a Unix socket"))?;
    Ok(parts.io.into_inner())
}

fn refused(error: String, hint: Option<String>) -> AgentError {
    let refused = AgentError::refused(format!("the running agent refuses: {error}"));
    match hint {
        Some(hint) => refused.with_hint(hint),
        None => refused,
    }
}

fn lost(error: io::Error) -> AgentError {
    AgentError::refused(format!("takeover: the running agent: {error}"))
}

const PATIENCE: Duration = Duration::from_secs(10);
