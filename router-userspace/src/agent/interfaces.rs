//! What was attached stays attached: interfaces go and come back, links are severed, pins are removed,
//! and what stood in the way goes.
//!
//! What is there is compared with what should be, each time the agent looks around. What `status` says
//! of an interface is what is there.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nix::net::if_::if_nametoindex;

use super::{api, engine, error::StartError, node::Node};
use crate::datapath;

/// The interfaces that the engine goes by, as they were when they were last seen.
#[derive(Default)]
pub(super) struct Devices {
    known: RefCell<BTreeMap<String, Known>>,
    /// Whether something hides the pins, which is said once.
    pins_are_hidden: Cell<bool>,
}

/// What was seen of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    /// The kernel's number for it. None: it is not there.
    index: Option<u32>,
    /// The XDP program on it, whoever's it is.
    program: Option<u32>,
}

struct Known {
    seen: Seen,
    tried: Instant,
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

impl Node {
    /// Attaches `steer` again where it should be and is not.
    pub(super) fn look_after_devices(&self) {
        let Some(kernel) = self.steering.kernel() else { return };
        let names: Vec<_> =
            self.now().interfaces.iter().map(|one| one.name.clone()).filter(|name| name != "*").collect();
        self.devices.known.borrow_mut().retain(|name, _| names.contains(name));
        for name in names {
            let seen = Seen::now(&name);
            let ours = kernel.datapath.borrow().attachments().get(&name).map(datapath::Attachment::program_id);
            if let Some(change) = self.devices.change(&name, seen, ours) {
                self.put_right(&name, seen, change);
            }
        }
    }

    fn put_right(&self, name: &str, seen: Seen, change: Change) {
        let Some(kernel) = self.steering.kernel() else { return };
        // The link to what is gone, or severed, holds nothing any more.
        kernel.datapath.borrow_mut().detach(name);
        let attached = match change {
            Change::Gone => Ok(engine::without_xdp(name, api::RunningEngine::Reuseport, ABSENT.to_owned())),
            Change::Back | Change::Severed | Change::MayBeFree => {
                engine::attach_one(&mut kernel.datapath.borrow_mut(), name, self.config().router.engine)
            }
        };
        // Asked for by name, it cannot be had: packets go by the sockets, and each look tries again.
        let interface =
            attached.unwrap_or_else(|e| engine::without_xdp(name, api::RunningEngine::Reuseport, e.to_string()));
        let seen = if change == Change::Gone { seen } else { Seen::now(name) };
        self.devices.note(name, seen);
        if change == Change::MayBeFree && self.now().interfaces.contains(&interface) {
            return;
        }
        let why = interface.why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
        let how = format!("{}{why}", interface.engine);
        match change {
            Change::Gone => tracing::warn!("interface {name} is gone"),
            Change::Back => tracing::info!("interface {name} is there again: engine {how}"),
            Change::Severed => {
                tracing::warn!("interface {name}: somebody has detached its XDP program; now again: engine {how}");
            }
            Change::MayBeFree => tracing::info!("interface {name}: engine {how}"),
        }
        self.replace_interface(interface);
    }

    /// Interfaces that do not have what was asked for, one sentence each.
    pub(super) fn device_problems(&self) -> Vec<String> {
        let now = self.now();
        let absent =
            |name: &String| self.devices.known.borrow().get(name).is_some_and(|known| known.seen.index.is_none());
        let asked_for = engine::wants_xdp_by_name(now.config.router.engine);
        let problem = |one: &api::Interface| {
            let is_without = asked_for && one.name != "*" && one.program_id.is_none();
            let why = if absent(&one.name) { ABSENT } else { one.why.as_deref().filter(|_| is_without)? };
            Some(format!("interface {}: {why}", one.name))
        };
        let mut problems: Vec<_> = now.interfaces.iter().filter_map(problem).collect();
        if self.devices.pins_are_hidden.get() {
            problems.push(format!("{}: {HIDDEN}", now.config.router.bpf_dir.display()));
        }
        problems
    }

    /// Puts back pins that somebody has removed: without them no other generation can take over.
    pub(super) fn restore_pins(&self) {
        let Some(kernel) = self.steering.kernel() else { return };
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
        if hidden && !self.devices.pins_are_hidden.get() {
            tracing::warn!("{directory}: {HIDDEN}");
        }
        self.devices.pins_are_hidden.set(hidden);
    }

    /// Another generation would look for the maps by their path.
    ///
    /// # Errors
    /// If it could not find them.
    pub(super) fn refuse_hidden_pins(&self) -> Result<(), StartError> {
        match self.devices.pins_are_hidden.get() {
            true => Err(StartError::refused(format!("{}: {HIDDEN}", self.config().router.bpf_dir.display()))
                .with_hint("`umount` of what was mounted over it, or stop and start the agent")),
            false => Ok(()),
        }
    }

    fn replace_interface(&self, interface: api::Interface) {
        self.change_now(|now| {
            now.interfaces.iter_mut().filter(|one| one.name == interface.name).for_each(|one| *one = interface.clone());
        });
        // Both depend on how the program runs there.
        if let Err(e) =
            self.steering.account_where_xdp_does_not().and_then(|()| self.steering.write_slots(&self.beside()))
        {
            tracing::error!("interface {}: {e}", interface.name);
        }
    }
}

impl Seen {
    fn now(name: &str) -> Self {
        let index = if_nametoindex(name).ok();
        Self { index, program: index.and_then(|_| datapath::program_id(name)) }
    }
}

impl Devices {
    /// What has become of an interface on which our program is, or should be, `ours`.
    fn change(&self, name: &str, seen: Seen, ours: Option<u32>) -> Option<Change> {
        let mut known = self.known.borrow_mut();
        let known = known.entry(name.to_owned()).or_insert(Known { seen, tried: Instant::now() });
        let patience = known.tried.elapsed() >= BETWEEN_TRIES;
        change(known.seen, seen, ours, patience)
    }

    fn note(&self, name: &str, seen: Seen) {
        self.known.borrow_mut().insert(name.to_owned(), Known { seen, tried: Instant::now() });
    }
}

fn change(before: Seen, now: Seen, ours: Option<u32>, long_ago: bool) -> Option<Change> {
    match (now.index, ours) {
        (None, _) => (before.index.is_some()).then_some(Change::Gone),
        (Some(_), _) if before.index != now.index => Some(Change::Back),
        (Some(_), Some(_)) => (now.program != ours).then_some(Change::Severed),
        // Whatever the reason was, it may be over; a driver that refuses is not asked all the time.
        (Some(_), None) => (before.program != now.program || long_ago).then_some(Change::MayBeFree),
    }
}

const ABSENT: &str = "it is not there any more; when it is, packets from it are steered again";
const HIDDEN: &str = "another file system is mounted over it: the agent has its maps and links, and nobody else \
                      finds them, so that no upgrade is possible";
/// Until an interface that would not take the program is asked again, though nothing seems to have changed.
const BETWEEN_TRIES: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(index: Option<u32>, program: Option<u32>) -> Seen {
        Seen { index, program }
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
            assert_eq!(change(before, now, ours, false), expected, "{before:?}, {now:?}, {ours:?}");
        }
        assert_eq!(change(here, here, None, true), Some(Change::MayBeFree));
        assert_eq!(change(here, here, Some(7), true), None);
    }
}
