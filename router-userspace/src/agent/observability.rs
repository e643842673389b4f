//! What a node is seen by: its meters, its access log and its admin listener, from one configuration
//! to the next.

use std::{
    cell::{Ref, RefCell},
    collections::BTreeMap,
    io,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    admin::{Admin, AdminError, Bound, HealthSource},
    error::{ErrorKind, RoomError},
    socket_drops::SocketDrops,
};
use crate::{
    config::{self, Config},
    telemetry::{AccessLog, Meters},
    worker::tcp::PortUse,
};

/// What a node is seen by.
pub(super) struct Observability {
    /// By the clock.
    started: SystemTime,
    meters: Arc<Meters>,
    access_log: RefCell<Option<AccessLog>>,
    admin: RefCell<Listener>,
    socket_drops: RefCell<SocketDrops>,
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
    /// Those of `config`; where another generation is there, the admin address is to be `Shared` with it.
    ///
    /// # Errors
    /// If the access log's file or the admin address cannot be had.
    pub(super) fn start(config: &Config, port_use: PortUse) -> Result<Self, ObservabilityError> {
        let access_log = config.access_log.as_ref().map(|wanted| open(wanted, None)).transpose()?;
        let admin = bind(config, port_use)?;
        Ok(Self {
            started: SystemTime::now(),
            meters: Arc::default(),
            access_log: RefCell::new(access_log),
            admin: RefCell::new(admin),
            socket_drops: RefCell::default(),
        })
    }

    /// When this generation began, by the clock.
    pub(super) fn started(&self) -> SystemTime {
        self.started
    }

    /// Datagrams that the kernel dropped at all sockets there were, given what it says of those there are, by inode.
    pub(super) fn socket_drops(&self, now: BTreeMap<u64, u64>) -> u64 {
        self.socket_drops.borrow_mut().sum(now)
    }

    /// Lines of the access log that were not written; none if there is no log.
    pub(super) fn access_log_dropped(&self) -> Option<u64> {
        self.access_log.borrow().as_ref().map(AccessLog::dropped)
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
    pub(super) fn reopen_access_log(&self) -> Result<(), ObservabilityError> {
        match &*self.access_log.borrow() {
            Some(log) => log.reopen().map_err(ObservabilityError::AccessLog),
            None => Ok(()),
        }
    }

    /// Makes ready what `config` asks for, beside what is there.
    ///
    /// # Errors
    /// If it cannot be had; nothing has changed then.
    pub(super) fn prepare(&self, config: &Config) -> Result<Prepared, ObservabilityError> {
        let now = self.access_log();
        let access_log = config.access_log.as_ref().map(|wanted| open(wanted, now.as_ref())).transpose()?;
        let stays = self.admin.borrow().address() == config.admin.map(|admin| admin.address);
        let admin = if stays { None } else { Some(bind(config, PortUse::Alone)?) };
        Ok(Prepared { access_log, admin })
    }

    /// Brings it into force, but for the admin listener's [answers](Self::answer); counts of routes that are no more
    /// are forgotten.
    pub(super) fn commit(&self, prepared: Prepared, config: &Config) {
        *self.access_log.borrow_mut() = prepared.access_log;
        if let Some(admin) = prepared.admin {
            *self.admin.borrow_mut() = admin;
        }
        self.meters.retain_routes(|name| config.routes.iter().any(|route| &**route.name() == name));
    }

    /// Answers on the admin address from now on, if it is bound.
    pub(super) fn answer<T: HealthSource + 'static>(&self, source: &Rc<T>) {
        let open = match self.admin.replace(Listener::None) {
            Listener::Bound(bound) => bound.answer(source).map(Listener::Open),
            other => Ok(other),
        };
        match open {
            Ok(listener) => *self.admin.borrow_mut() = listener,
            // No connection depends on it.
            Err(e) => tracing::error!("{e}; nothing is answered there"),
        }
    }

    /// Leaves the admin address to another generation.
    pub(super) fn close(&self) {
        *self.admin.borrow_mut() = Listener::None;
    }

    /// Answers there again, after [`Self::close`].
    pub(super) fn answer_again<T: HealthSource + 'static>(&self, config: &Config, source: &Rc<T>) {
        if self.admin.borrow().address().is_none() {
            match bind(config, PortUse::Shared) {
                Ok(listener) => *self.admin.borrow_mut() = listener,
                Err(e) => return tracing::error!("{e}; nothing is answered there"),
            }
        }
        self.answer(source);
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

fn bind(config: &Config, port_use: PortUse) -> Result<Listener, AdminError> {
    match config.admin {
        Some(admin) => Ok(Listener::Bound(Bound::new(admin.address, port_use)?)),
        None => Ok(Listener::None),
    }
}

/// The log that is wanted: the one there is, if it is that one.
fn open(wanted: &config::AccessLog, now: Option<&AccessLog>) -> Result<AccessLog, ObservabilityError> {
    let (to, format) = (wanted.to.clone(), wanted.format);
    let log = match now {
        Some(now) if now.is(&to, format) => Ok(now.clone()),
        Some(now) => now.successor(to, format),
        None => AccessLog::open(to, format),
    };
    log.map_err(ObservabilityError::AccessLog)
}

/// Why a node is not seen by what its configuration asks for.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObservabilityError {
    /// The access log's file cannot be opened.
    #[error("access_log.file: {0}")]
    AccessLog(io::Error),
    /// The admin address cannot be had.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

impl RoomError for ObservabilityError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::AccessLog(_) => ErrorKind::Kernel,
            Self::Admin(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::AccessLog(_) => Some("a folder that exists and may be written to".to_owned()),
            Self::Admin(error) => error.hint(),
        }
    }
}

/// How long the last lines may take.
const LAST_LINES: Duration = Duration::from_secs(2);
