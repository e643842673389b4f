//! What was attached stays attached: interfaces go and come back, links are severed, pins are removed,
//! and what stood in the way goes.
//!
//! What is there is compared with what should be, each time the agent looks around. What `status` says
//! of an interface is what is there.

mod attach;

use std::{
    cell::{Cell, Ref, RefCell},
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::net::if_::if_nametoindex;
use router_common::identifiers::IfIndex;

pub(super) use self::attach::{Attached, Ingress, attach_all};
use super::{
    error::{ErrorKind, RoomError},
    kernel::Kernel,
    steering::{SlotContext, Steering},
};
use crate::{
    config::{Engine, Router},
    datapath,
};

/// The interfaces that the engine goes by, and how packets come from each.
#[derive(Default)]
pub(super) struct Interfaces {
    /// In the order of the configuration; empty where the engine does not go by interface.
    attached: RefCell<Vec<Attached>>,
    /// As they were when they were last seen.
    known: RefCell<BTreeMap<String, Known>>,
    /// Whether something hides the pins, which is said once.
    pins_are_hidden: Cell<bool>,
}

/// What was seen of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    /// The kernel's number for it. None: it is not there.
    index: Option<IfIndex>,
    /// The XDP program on it, ours or another's.
    program: Option<u32>,
}

struct Known {
    seen: Seen,
    tried: Instant,
}

/// An interface that is not as it was.
struct Finding<'a> {
    name: &'a str,
    seen: Seen,
    change: Change,
}

/// What has become of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    Gone,
    Back,
    /// Ours was attached, and is there no longer.
    Severed,
    /// Nothing of ours is there, and what stood in the way may not any more.
    MayBeFree,
}

impl Interfaces {
    /// All of them.
    pub(super) fn all(&self) -> Ref<'_, Vec<Attached>> {
        self.attached.borrow()
    }

    /// Their names.
    pub(super) fn names(&self) -> Vec<String> {
        self.attached.borrow().iter().map(|one| one.name.clone()).collect()
    }

    /// The names of those that `steer` is on.
    pub(super) fn steered(&self) -> Vec<String> {
        self.attached.borrow().iter().filter(|one| one.is_steered()).map(|one| one.name.clone()).collect()
    }

    /// Some have been attached to, and some are no longer in the configuration, which has them in this order.
    pub(super) fn replace(&self, added: Vec<Attached>, removed: &[String], order: &[String]) {
        let mut attached = self.attached.borrow_mut();
        attached.retain(|one| !removed.contains(&one.name));
        attached.extend(added);
        attached.sort_by_key(|one| order.iter().position(|name| *name == one.name));
    }

    /// Attaches `steer` again where it should be and is not.
    pub(super) fn reconcile(&self, steering: &Steering, context: &SlotContext) {
        let Some(kernel) = steering.kernel() else { return };
        let names = self.names();
        self.known.borrow_mut().retain(|name, _| names.contains(name));
        for name in names {
            let seen = Seen::now(&name);
            let ours = kernel.datapath.borrow().attachments().get(&name).map(datapath::Attachment::program_id);
            let Some(change) = self.change(&name, seen, ours) else { continue };
            let finding = Finding { name: &name, seen, change };
            if !self.put_right(kernel, &finding, context.config.router.engine) {
                continue;
            }
            // Both depend on how the program runs there.
            let written = steering.account_where_xdp_does_not().and_then(|()| steering.write_slots(context));
            if let Err(e) = written {
                tracing::error!("interface {name}: {e}");
            }
        }
    }

    /// Answers whether packets come from it otherwise than before.
    fn put_right(&self, kernel: &Kernel, finding: &Finding<'_>, engine: Engine) -> bool {
        let Finding { name, seen, change } = *finding;
        // The link to what is gone, or severed, holds nothing any more.
        kernel.datapath.borrow_mut().detach(name);
        let attached = match change {
            Change::Gone => Ok(Attached::by_sockets(name, ABSENT)),
            Change::Back | Change::Severed | Change::MayBeFree => {
                attach::attach(&mut kernel.datapath.borrow_mut(), name, engine)
            }
        };
        // Asked for by name, it cannot be had: packets go by the sockets, and each look tries again.
        let now = attached.unwrap_or_else(|e| Attached::by_sockets(name, e.to_string()));
        // What is gone may be back by now, which is the next finding.
        self.note(name, if change == Change::Gone { seen } else { Seen::now(name) });
        if change == Change::MayBeFree && self.attached.borrow().contains(&now) {
            return false;
        }
        let how = match &now.ingress {
            Ingress::Xdp { why: None, .. } => "engine xdp".to_owned(),
            Ingress::Xdp { why: Some(why), .. } => format!("engine xdp ({why})"),
            Ingress::Sockets { why } => format!("engine reuseport ({why})"),
        };
        match change {
            Change::Gone => tracing::warn!("interface {name} is gone"),
            Change::Back => tracing::info!("interface {name} is there again: {how}"),
            Change::Severed => {
                tracing::warn!("interface {name}: its XDP program was detached by another program; now again: {how}");
            }
            Change::MayBeFree => tracing::info!("interface {name}: {how}"),
        }
        self.attached.borrow_mut().iter_mut().filter(|one| one.name == name).for_each(|one| *one = now.clone());
        true
    }

    /// Interfaces that do not have what was asked for, one sentence each.
    pub(super) fn problems(&self, router: &Router) -> Vec<String> {
        let asked_for = wants_xdp_by_name(router.engine);
        let is_absent = |name: &String| self.known.borrow().get(name).is_some_and(|known| known.seen.index.is_none());
        let problem = |one: &Attached| match &one.ingress {
            _ if is_absent(&one.name) => Some(format!("interface {}: {ABSENT}", one.name)),
            Ingress::Sockets { why } if asked_for => Some(format!("interface {}: {why}", one.name)),
            Ingress::Sockets { .. } | Ingress::Xdp { .. } => None,
        };
        let mut problems: Vec<_> = self.attached.borrow().iter().filter_map(problem).collect();
        if self.pins_are_hidden.get() {
            problems.push(format!("{}: {HIDDEN}", router.bpf_dir.display()));
        }
        problems
    }

    /// Puts back pins that were removed by others: without them no other generation can take over.
    pub(super) fn restore_pins(&self, kernel: &Kernel) {
        let mut datapath = kernel.datapath.borrow_mut();
        let directory = datapath.directory().display().to_string();
        match datapath.restore_pins() {
            Ok(restored) if restored.is_empty() => {}
            Ok(restored) => {
                tracing::warn!("{directory}: pins were removed, and are there again: {}", restored.join(", "))
            }
            Err(e) => tracing::error!("{directory}: pins that were removed cannot be put back: {e}"),
        }
        let hidden = datapath.is_hidden();
        if hidden && !self.pins_are_hidden.get() {
            tracing::warn!("{directory}: {HIDDEN}");
        }
        self.pins_are_hidden.set(hidden);
    }

    /// Another generation would look for the maps by their path.
    ///
    /// # Errors
    /// If it could not find them.
    pub(super) fn refuse_hidden_pins(&self, router: &Router) -> Result<(), InterfacesError> {
        match self.pins_are_hidden.get() {
            true => Err(InterfacesError::HiddenPins(router.bpf_dir.clone())),
            false => Ok(()),
        }
    }

    /// What has become of an interface on which our program is, or should be, `ours`.
    fn change(&self, name: &str, seen: Seen, ours: Option<u32>) -> Option<Change> {
        let mut known = self.known.borrow_mut();
        let known = known.entry(name.to_owned()).or_insert(Known { seen, tried: Instant::now() });
        let tried = if known.tried.elapsed() >= BETWEEN_TRIES { Tried::LongAgo } else { Tried::Lately };
        change(known.seen, seen, ours, tried)
    }

    fn note(&self, name: &str, seen: Seen) {
        self.known.borrow_mut().insert(name.to_owned(), Known { seen, tried: Instant::now() });
    }
}

impl Seen {
    fn now(name: &str) -> Self {
        let index = if_nametoindex(name).ok().map(IfIndex::new);
        Self { index, program: index.and_then(|_| datapath::program_id(name)) }
    }
}

/// Whether XDP was asked for, and nothing else will do.
fn wants_xdp_by_name(engine: Engine) -> bool {
    match engine {
        Engine::AfXdp | Engine::Xdp => true,
        Engine::Auto | Engine::Reuseport | Engine::Userspace => false,
    }
}

/// When an interface was last asked to take the program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    Lately,
    /// More than [`BETWEEN_TRIES`] ago.
    LongAgo,
}

fn change(before: Seen, now: Seen, ours: Option<u32>, tried: Tried) -> Option<Change> {
    match (now.index, ours) {
        (None, _) => (before.index.is_some()).then_some(Change::Gone),
        (Some(_), _) if before.index != now.index => Some(Change::Back),
        (Some(_), Some(_)) => (now.program != ours).then_some(Change::Severed),
        // Whatever the reason was, it may be over; a driver that refuses is not asked all the time.
        (Some(_), None) => (before.program != now.program || tried == Tried::LongAgo).then_some(Change::MayBeFree),
    }
}

/// Why another generation could not take over.
#[derive(Debug, thiserror::Error)]
pub(super) enum InterfacesError {
    /// It would not find the maps and links: their folder.
    #[error("{}: {HIDDEN}", .0.display())]
    HiddenPins(PathBuf),
}

impl RoomError for InterfacesError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Refused
    }

    fn hint(&self) -> Option<String> {
        Some("`umount` of what was mounted over it, or stop and start the agent".to_owned())
    }
}

const ABSENT: &str = "it is not there any more; when it is, packets from it are steered again";
const HIDDEN: &str = "another file system is mounted over it: the agent has its maps and links, and no other \
                      process finds them, so that no upgrade is possible";
/// Until an interface that would not take the program is asked again, though nothing seems to have changed.
const BETWEEN_TRIES: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(index: Option<u32>, program: Option<u32>) -> Seen {
        Seen { index: index.map(IfIndex::new), program }
    }

    #[test]
    fn what_is_there_is_compared_with_what_should_be() {
        let (here, gone) = (seen(Some(3), Some(7)), seen(None, None));
        for (before, now, ours, expected) in [
            (here, here, Some(7), None),
            (here, gone, Some(7), Some(Change::Gone)),
            (gone, gone, None, None),
            (gone, here, None, Some(Change::Back)),
            (here, seen(Some(4), None), Some(7), Some(Change::Back)),
            // xdp-tools#361, calico#11012
            (here, seen(Some(3), None), Some(7), Some(Change::Severed)),
            (here, seen(Some(3), Some(9)), Some(7), Some(Change::Severed)),
            // xdp-firewall#10
            (here, here, None, None),
            (here, seen(Some(3), None), None, Some(Change::MayBeFree)),
        ] {
            assert_eq!(change(before, now, ours, Tried::Lately), expected, "{before:?}, {now:?}, {ours:?}");
        }
        assert_eq!(change(here, here, None, Tried::LongAgo), Some(Change::MayBeFree));
        assert_eq!(change(here, here, Some(7), Tried::LongAgo), None);
    }
}
