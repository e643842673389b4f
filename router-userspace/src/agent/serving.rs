//! What is served: the configuration in force, what it is served with, its listeners, and their sockets.

use std::{
    cell::{Ref, RefCell},
    rc::Rc,
    sync::Arc,
};

use router_common::{
    identifiers::{ListenerId, SlotId},
    maps::{Listener, ListenerKey},
};

use tokio::sync::Mutex;

use super::{
    certificates::CertificateFiles,
    known_listener::KnownListener,
    plan::{Numbered, Steps},
    provision::Provision,
    sockets::{self, SocketInfo, SocketsBySlot},
    upstream_watch::UpstreamWatch,
};
use crate::config::Config;

/// A configuration with what it is served with, made ready but not yet in force.
#[derive(Clone)]
pub(super) struct Next {
    pub(super) config: Rc<Config>,
    pub(super) provision: Rc<Provision>,
}

/// What is in force.
pub(super) struct Serving {
    config: RefCell<Rc<Config>>,
    /// See [`Serving::reloading`].
    reloading: Mutex<()>,
    provision: RefCell<Rc<Provision>>,
    listeners: RefCell<Vec<Numbered>>,
    /// No longer in the configuration; their connections have some time left.
    closing: RefCell<Vec<Numbered>>,
    sockets: RefCell<Vec<SocketInfo>>,
    certificates: RefCell<CertificateFiles>,
    upstreams: UpstreamWatch,
}

impl Serving {
    /// Without listeners yet.
    pub(super) fn new(first: &Next, upstreams: UpstreamWatch) -> Self {
        Self {
            config: RefCell::new(Rc::clone(&first.config)),
            reloading: Mutex::default(),
            provision: RefCell::new(Rc::clone(&first.provision)),
            listeners: RefCell::default(),
            closing: RefCell::default(),
            sockets: RefCell::default(),
            certificates: RefCell::new(first.provision.files.clone()),
            upstreams,
        }
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Rc<Config> {
        Rc::clone(&self.config.borrow())
    }

    /// Held by a reload from when it reads the configuration until it is in force: what is read first is not to come
    /// into force last.
    pub(super) fn reloading(&self) -> &Mutex<()> {
        &self.reloading
    }

    /// What it is served with.
    pub(super) fn provision(&self) -> Rc<Provision> {
        Rc::clone(&self.provision.borrow())
    }

    /// What is in force, as what comes next: where nothing but workers changes.
    pub(super) fn same(&self) -> Next {
        Next { config: self.config(), provision: self.provision() }
    }

    /// Listeners that take new connections, in the order of the configuration.
    pub(super) fn listeners(&self) -> Ref<'_, Vec<Numbered>> {
        self.listeners.borrow()
    }

    /// Listeners whose last connections have yet to end.
    pub(super) fn closing(&self) -> Ref<'_, Vec<Numbered>> {
        self.closing.borrow()
    }

    /// Both, by number and address.
    pub(super) fn addresses(&self) -> Vec<KnownListener> {
        let (open, closing) = (self.listeners.borrow(), self.closing.borrow());
        open.iter().chain(&*closing).map(Numbered::known).collect()
    }

    /// Both, as the maps have them.
    pub(super) fn entries(&self) -> Vec<(ListenerKey, Listener)> {
        self.listeners.borrow().iter().chain(&*self.closing.borrow()).map(Numbered::entry).collect()
    }

    /// Brings `next` into force, whose listeners `steps` have brought about. Its upstreams are watched from now on.
    pub(super) fn replace(&self, next: &Next, steps: &Steps) {
        *self.listeners.borrow_mut() = steps.listeners(&next.config.listeners);
        self.closing.borrow_mut().extend(steps.gone.iter().cloned());
        *self.config.borrow_mut() = Rc::clone(&next.config);
        *self.certificates.borrow_mut() = next.provision.files.clone();
        self.present(Rc::clone(&next.provision));
        self.upstreams.set(Arc::clone(next.provision.origins.upstreams()));
    }

    /// Serves the same configuration with this from now on: other certificates.
    pub(super) fn present(&self, provision: Rc<Provision>) {
        *self.provision.borrow_mut() = provision;
    }

    /// Whether a file of a certificate has changed since it was last asked; looks once a second at most.
    pub(super) fn certificates_have_changed(&self) -> bool {
        self.certificates.borrow_mut().have_changed()
    }

    /// The last connection of a listener that was closing has ended.
    pub(super) fn closed(&self, listener: ListenerId) {
        self.closing.borrow_mut().retain(|closing| closing.id != listener);
        self.forget_sockets_of(listener);
    }

    /// All sockets.
    pub(super) fn sockets(&self) -> Ref<'_, Vec<SocketInfo>> {
        self.sockets.borrow()
    }

    /// The inodes of all sockets.
    pub(super) fn inodes(&self) -> Vec<u64> {
        self.sockets.borrow().iter().map(|socket| socket.inode).collect()
    }

    /// Takes note of sockets that were opened on a listener.
    pub(super) fn note_sockets(&self, listener: ListenerId, opened: &SocketsBySlot) {
        self.sockets.borrow_mut().extend(sockets::describe(listener, opened));
    }

    /// The sockets of a listener are closed.
    pub(super) fn forget_sockets_of(&self, listener: ListenerId) {
        self.sockets.borrow_mut().retain(|socket| socket.listener != listener);
    }

    /// The sockets of a worker are closed.
    pub(super) fn forget_sockets_of_slot(&self, slot: SlotId) {
        self.sockets.borrow_mut().retain(|socket| socket.slot != slot);
    }
}
