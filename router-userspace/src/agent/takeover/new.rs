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
    error::TakeoverError,
    generations::Phase,
    probe::probe,
    protocol::{Channel, FromNew, FromOld, Neighbour, Offer, PROTOCOL, TARGET, Told},
    report, watch,
};
use crate::agent::{
    admission,
    api::Failure,
    cluster,
    control::{ControlSocket, aside},
    drain,
    error::{AgentError, ErrorKind},
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
    pub(in crate::agent) async fn begin(control: &Path, kind: Compatibility) -> Result<Option<Self>, TakeoverError> {
        let stream = match UnixStream::connect(control).await {
            Ok(stream) => stream,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(source) => return Err(TakeoverError::ControlSocket { path: control.to_owned(), source }),
        };
        let mut channel = Channel::new(upgraded(stream).await?);
        let hello = FromNew::Hello { version: env!("CARGO_PKG_VERSION").to_owned(), kind };
        channel.say(&hello).await.map_err(lost)?;
        match channel.hear(PATIENCE).await.map_err(lost)? {
            FromOld::Offer(offer) => Ok(Some(Self { channel, offer })),
            FromOld::Refused(told) => Err(TakeoverError::Refused(told)),
            FromOld::Go => Err(TakeoverError::RunningOutOfTurn),
        }
    }

    /// The generations there are, the one in charge first.
    pub(in crate::agent) fn before(&self) -> &[Neighbour] {
        &self.offer.generations
    }

    /// Whether the one that serves has had confirmed what it knows of its cluster.
    pub(in crate::agent) fn is_confirmed(&self) -> bool {
        self.offer.is_confirmed
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
            Ok(()) => probe(node).await.map_err(AgentError::from),
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
            FromOld::Refused(told) => return Err(TakeoverError::Refused(told).into()),
            FromOld::Offer(_) => return Err(TakeoverError::RunningOutOfTurn.into()),
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
        // It sees that we end, too.
        let _ = self.channel.say(&FromNew::Failed(why.into())).await;
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
    cluster::take_charge(node);
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
    let slots: Vec<_> = other.places.iter().map(|place| place.slot).collect();
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
async fn upgraded(stream: UnixStream) -> Result<UnixStream, TakeoverError> {
    let failed = |e: &dyn std::fmt::Display| TakeoverError::RunningLost(e.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    spawn_local(connection.with_upgrades());
    let request = Request::get(TARGET)
        .header(header::HOST, "localhost")
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, PROTOCOL)
        .body(Empty::<Bytes>::new())
        .map_err(|e| failed(&e))?;
    let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
    let status = response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let body = response.into_body().collect().await.map_err(|e| failed(&e))?.to_bytes();
        return Err(match serde_json::from_slice::<Failure>(&body) {
            Ok(Failure { error, hint }) => TakeoverError::Refused(Told { error, hint, kind: kind_of(status) }),
            Err(_) => TakeoverError::NoProtocol,
        });
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|e| failed(&e))?;
    let parts = upgraded.downcast::<TokioIo<UnixStream>>().map_err(|_| failed(&"not a Unix socket"))?;
    Ok(parts.io.into_inner())
}

/// What an answer's status says of an error, as `control/handlers/error.rs` writes it.
fn kind_of(status: StatusCode) -> ErrorKind {
    if status.is_server_error() { ErrorKind::Kernel } else { ErrorKind::Refused }
}

fn lost(error: io::Error) -> TakeoverError {
    TakeoverError::RunningLost(error.to_string())
}

const PATIENCE: Duration = Duration::from_secs(10);
