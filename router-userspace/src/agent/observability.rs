//! What a node is seen by: its meters, its access log and its admin listener, from one configuration
//! to the next.

use std::{
    cell::{Ref, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    admin::{Admin, Bound},
    error::StartError,
    metrics::{Snapshot, SocketDrops},
    node::Node,
    takeover::Phase,
};
use crate::{
    config::{self, Config},
    telemetry::{AccessLog, Meters},
};

/// What a node is seen by.
pub(super) struct Observability {
    /// By the clock.
    pub(super) started: SystemTime,
    meters: Arc<Meters>,
    access_log: RefCell<Option<AccessLog>>,
    admin: RefCell<Listener>,
    pub(super) socket_drops: RefCell<SocketDrops>,
}

/// The admin listener, as far as it is.
enum Listener {
    None,
    Bound(Bound),
    Open(Admin),
}

/// What a configuration asks for that is not there yet.
pub(super) struct Prepared {
    access_log: Option<AccessLog>,
    /// None: it stays where it is.
    admin: Option<Listener>,
}

impl Observability {
    /// Those of `config`, `beside` those of another generation.
    ///
    /// # Errors
    /// If the access log's file or the admin address cannot be had.
    pub(super) fn start(config: &Config, beside: bool) -> Result<Self, StartError> {
        let access_log = config.access_log.as_ref().map(|wanted| open(wanted, None)).transpose()?;
        let admin = bind(config, beside)?;
        Ok(Self {
            started: SystemTime::now(),
            meters: Arc::default(),
            access_log: RefCell::new(access_log),
            admin: RefCell::new(admin),
            socket_drops: RefCell::default(),
        })
    }

    /// The meters of all workers.
    pub(super) fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// The access log in force.
    pub(super) fn access_log(&self) -> Option<AccessLog> {
        self.access_log.borrow().clone()
    }

    /// Opens the access log's file again, which may have been renamed.
    ///
    /// # Errors
    /// If it cannot be opened; the one before stays in use.
    pub(super) fn reopen_access_log(&self) -> Result<(), StartError> {
        match &*self.access_log.borrow() {
            Some(log) => log.reopen().map_err(StartError::kernel).map_err(for_the_log),
            None => Ok(()),
        }
    }

    /// Makes ready what `config` asks for, beside what is there.
    ///
    /// # Errors
    /// If it cannot be had; nothing has changed then.
    pub(super) fn prepare(&self, config: &Config) -> Result<Prepared, StartError> {
        let now = self.access_log();
        let access_log = config.access_log.as_ref().map(|wanted| open(wanted, now.as_ref())).transpose()?;
        let stays = self.admin.borrow().address() == config.admin.map(|admin| admin.address);
        let admin = if stays { None } else { Some(bind(config, false)?) };
        Ok(Prepared { access_log, admin })
    }

    /// Brings it into force; counts of routes that are no more are forgotten.
    pub(super) fn commit(&self, prepared: Prepared, config: &Config, node: &Rc<Node>) {
        *self.access_log.borrow_mut() = prepared.access_log;
        if let Some(admin) = prepared.admin {
            *self.admin.borrow_mut() = admin;
            self.answer(node);
        }
        self.meters.retain_routes(|name| config.routes.iter().any(|route| &**route.name() == name));
    }

    /// Answers on the admin address from now on, if it is bound.
    pub(super) fn answer(&self, node: &Rc<Node>) {
        let open = match self.admin.replace(Listener::None) {
            Listener::Bound(bound) => bound.answer(node).map(Listener::Open),
            other => Ok(other),
        };
        match open {
            Ok(listener) => *self.admin.borrow_mut() = listener,
            // Nobody's connection depends on it.
            Err(e) => tracing::error!("{e}; nobody answers there"),
        }
    }

    /// Leaves the admin address to another generation.
    pub(super) fn close(&self) {
        *self.admin.borrow_mut() = Listener::None;
    }

    /// Answers there again, after [`Self::close`].
    pub(super) fn answer_again(&self, node: &Rc<Node>) {
        if self.admin.borrow().address().is_none() {
            match bind(&node.config(), true) {
                Ok(listener) => *self.admin.borrow_mut() = listener,
                Err(e) => return tracing::error!("{e}; nobody answers there"),
            }
        }
        self.answer(node);
    }

    /// Waits until the access log is written, within reason: the process is about to end.
    pub(super) fn flush(&self) {
        let log: Ref<'_, Option<AccessLog>> = self.access_log.borrow();
        if log.as_ref().is_some_and(|log| !log.flush(LAST_LINES)) {
            tracing::warn!("access log: the last lines were not written in time");
        }
    }
}

impl Listener {
    fn address(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::None => None,
            Self::Bound(bound) => Some(bound.address()),
            Self::Open(admin) => Some(admin.address()),
        }
    }
}

impl super::admin::HealthSource for Node {
    fn metrics(&self) -> Option<String> {
        Snapshot::of(self).text().inspect_err(|e| tracing::error!("metrics: {e}")).ok()
    }

    fn serves(&self) -> bool {
        !self.roster.is_stopping() && matches!(self.generations.phase(), Phase::InCharge | Phase::HandingOver)
    }
}

fn bind(config: &Config, beside: bool) -> Result<Listener, StartError> {
    match config.admin {
        Some(admin) => Ok(Listener::Bound(Bound::new(admin.address, beside)?)),
        None => Ok(Listener::None),
    }
}

/// The log that is wanted: the one there is, if it is that one.
fn open(wanted: &config::AccessLog, now: Option<&AccessLog>) -> Result<AccessLog, StartError> {
    let (to, format) = (wanted.to.clone(), wanted.format);
    let log = match now {
        Some(now) if now.is(&to, format) => Ok(now.clone()),
        Some(now) => now.successor(to, format),
        None => AccessLog::open(to, format),
    };
    log.map_err(StartError::kernel).map_err(for_the_log)
}

fn for_the_log(error: StartError) -> StartError {
    StartError::kernel(format!("access_log.file: {error}")).with_hint("a folder that exists and may be written to")
}

/// How long the last lines may take.
const LAST_LINES: Duration = Duration::from_secs(2);
