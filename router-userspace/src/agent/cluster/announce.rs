//! Tells a routing daemon when to announce the shared addresses: by routes in a table of the kernel's, which are there while
//! this node takes new connections. On a thread of its own, as the kernel may be busy with its routes for long.
//!
//! The generation in charge tells it what is wanted, again and again. What a killed agent has left is found there, and so
//! is what the generation before has made: over an upgrade the routes stay.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    io,
    net::IpAddr,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{agent::api, config::Config, datapath::AnnouncedRoutes};

/// Which routes there are to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// In which table; none: nothing is announced by this node.
    table: Option<u32>,
    addresses: BTreeSet<IpAddr>,
    /// Why there are none.
    why_none: Option<&'static str>,
}

impl Wanted {
    /// What a node announces that takes new connections.
    pub(super) fn taking(config: &Config) -> Self {
        let Some(cluster) = &config.cluster else { return Self::default() };
        let addresses = cluster.announced(&config.listeners);
        let why_none = addresses.is_empty().then_some("no listener has an address that nodes share");
        Self { table: cluster.announce_table, addresses, why_none }
    }

    /// What one announces that takes none.
    pub(super) fn taking_none(config: &Config) -> Self {
        let table = config.cluster.as_ref().and_then(|cluster| cluster.announce_table);
        Self { table, why_none: Some("this node takes no new connections"), ..Self::default() }
    }
}

/// What has come of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    /// The addresses to which there are routes now.
    there: BTreeSet<IpAddr>,
    /// What the kernel refuses, in words.
    refused: Option<String>,
}

/// Whoever makes the routes. Dropping it leaves them as they are.
#[derive(Default)]
pub(super) struct Announcer {
    running: RefCell<Option<Running>>,
    wanted: RefCell<Wanted>,
    said_at: Cell<Option<Instant>>,
}

struct Running {
    orders: mpsc::Sender<Wanted>,
    found: watch::Receiver<Found>,
    thread: JoinHandle<()>,
}

impl Announcer {
    /// Has the routes be so, and looks now and then whether they are.
    pub(super) fn want(&self, wanted: Wanted) {
        let is_new = *self.wanted.borrow() != wanted;
        let is_due = self.said_at.get().is_none_or(|at| at.elapsed() >= BETWEEN_LOOKS);
        let mut running = self.running.borrow_mut();
        // Where nothing was ever announced there is nothing to look at.
        if (!is_new && !is_due) || (running.is_none() && wanted.table.is_none()) {
            return;
        }
        if running.is_none() {
            match Running::start() {
                Ok(started) => *running = Some(started),
                Err(e) => return tracing::error!("cluster: nothing is announced: {e}"),
            }
        }
        self.wanted.replace(wanted.clone());
        self.said_at.set(Some(Instant::now()));
        if let Some(running) = &*running {
            // Its thread ends with this.
            let _ = running.orders.send(wanted);
        }
    }

    /// Removes the routes, and waits until that is done.
    pub(super) fn end(&self) {
        let Some(running) = self.running.take() else { return };
        if running.give_up().join().is_err() {
            tracing::error!(
                "cluster: whoever makes the routes of announce_table has ended before: they may be there yet"
            );
        }
    }

    /// Another generation takes care of the routes from now on, by its own table, if it knows of any: those in another
    /// one are removed.
    pub(super) fn leave(&self, to: Option<u32>) {
        let running = self.running.take();
        if let Some(running) = running.filter(|_| self.wanted.borrow().table != to) {
            // Nothing waits for it: clients are being handed over.
            drop(running.give_up());
        }
        self.wanted.take();
    }

    /// How far it is, for people; none: nothing is announced by this node.
    pub(super) fn describe(&self) -> Option<api::Announced> {
        let (running, wanted) = (self.running.borrow(), self.wanted.borrow());
        let found = running.as_ref().map(|running| running.found.borrow().clone()).unwrap_or_default();
        Some(describe(wanted.table?, &wanted, found))
    }
}

fn describe(table: u32, wanted: &Wanted, found: Found) -> api::Announced {
    let announced = !wanted.addresses.is_empty() && wanted.addresses.is_subset(&found.there);
    let why = found.refused.or_else(|| wanted.why_none.map(str::to_owned));
    api::Announced { table, announced, addresses: found.there.into_iter().collect(), why }
}

impl Running {
    fn start() -> io::Result<Self> {
        let (orders, ordered) = mpsc::channel::<Wanted>();
        let (sender, found) = watch::channel(Found::default());
        let run = move || {
            let mut keeper = Keeper::default();
            while let Ok(first) = ordered.recv() {
                // Only the last counts.
                let wanted = ordered.try_iter().last().unwrap_or(first);
                sender.send_replace(keeper.bring_about(&wanted));
            }
        };
        let thread = thread::Builder::new().name("announcement".to_owned()).spawn(run)?;
        Ok(Self { orders, found, thread })
    }

    /// Has it remove the routes, and end.
    fn give_up(self) -> JoinHandle<()> {
        let _ = self.orders.send(Wanted::default());
        self.thread
    }
}

/// Makes and removes routes, and says so in the log.
#[derive(Default)]
struct Keeper {
    /// The table that has ours.
    table: Option<u32>,
    found: Found,
}

impl Keeper {
    fn bring_about(&mut self, wanted: &Wanted) -> Found {
        if self.table != wanted.table {
            if let Some(before) = self.table.take() {
                self.keep(before, &BTreeSet::new());
            }
            self.found = Found::default();
            self.table = wanted.table;
        }
        if let Some(table) = wanted.table {
            self.keep(table, &wanted.addresses);
        }
        self.found.clone()
    }

    /// Has a table have routes to these addresses and, of ours, to no others.
    fn keep(&mut self, table: u32, wanted: &BTreeSet<IpAddr>) {
        let before = std::mem::take(&mut self.found);
        self.found =
            AnnouncedRoutes::open(table).and_then(|mut routes| follow(&mut routes, wanted)).unwrap_or_else(|e| Found {
                there: BTreeSet::new(),
                refused: Some(format!("its routes cannot be listed: {e}")),
            });
        for address in self.found.there.difference(&before.there) {
            tracing::info!("cluster: {address} is to be announced: routing table {table} has a route to it");
        }
        for address in before.there.difference(&self.found.there) {
            tracing::info!("cluster: {address} is to be announced no more: routing table {table} has no route to it");
        }
        if let Some(refused) = self.found.refused.as_ref().filter(|refused| before.refused.as_ref() != Some(*refused)) {
            tracing::warn!(
                "cluster: announce_table: routing table {table}: {refused}; it is tried again every {BETWEEN_LOOKS:?}"
            );
        }
    }
}

/// Makes the routes that are missing, and removes those that are too many.
fn follow(routes: &mut AnnouncedRoutes, wanted: &BTreeSet<IpAddr>) -> io::Result<Found> {
    let mut there = routes.list()?;
    let (missing, too_many) = differences(wanted, &there);
    let mut refused = Vec::new();
    for address in too_many {
        match routes.remove(address) {
            Ok(()) => drop(there.remove(&address)),
            Err(e) => refused.push(format!("the route to {address} stays: {e}")),
        }
    }
    for address in missing {
        match routes.add(address) {
            Ok(()) => drop(there.insert(address)),
            Err(e) => refused.push(format!("no route to {address}: {e}")),
        }
    }
    Ok(Found { there, refused: (!refused.is_empty()).then(|| refused.join(", ")) })
}

/// The addresses that lack a route, and those that have one too many.
fn differences(wanted: &BTreeSet<IpAddr>, there: &BTreeSet<IpAddr>) -> (Vec<IpAddr>, Vec<IpAddr>) {
    (wanted.difference(there).copied().collect(), there.difference(wanted).copied().collect())
}

/// Removes the routes that an agent has left in a table; the addresses to which they were.
///
/// # Errors
/// What the kernel refuses.
pub(in crate::agent) fn remove_left(table: u32) -> io::Result<BTreeSet<IpAddr>> {
    let mut routes = AnnouncedRoutes::open(table)?;
    let left = routes.list()?;
    left.iter().try_for_each(|&address| routes.remove(address))?;
    Ok(left)
}

/// The kernel's table may be changed by others.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(all: &[&str]) -> BTreeSet<IpAddr> {
        all.iter().map(|one| one.parse().unwrap()).collect()
    }

    #[test]
    fn what_is_there_is_taken_over_and_what_is_not_wanted_goes() {
        let there = addresses(&["192.0.2.80", "192.0.2.81"]);
        let (missing, too_many) = differences(&addresses(&["192.0.2.81", "2001:db8::80"]), &there);
        assert_eq!((missing, too_many), (vec!["2001:db8::80".parse().unwrap()], vec!["192.0.2.80".parse().unwrap()]));
        assert_eq!(differences(&there, &there), (Vec::new(), Vec::new()));
    }

    #[test]
    fn announced_is_what_has_all_its_routes() {
        let wanted = |all: &[&str]| Wanted { table: Some(100), addresses: addresses(all), why_none: None };
        let found = |all: &[&str]| Found { there: addresses(all), refused: None };
        let is_announced = |wanted, found| describe(100, &wanted, found).announced;
        assert!(is_announced(wanted(&["192.0.2.80"]), found(&["192.0.2.80"])));
        assert!(!is_announced(wanted(&["192.0.2.80", "2001:db8::80"]), found(&["192.0.2.80"])));
        assert!(!is_announced(wanted(&[]), found(&[])));
        let none = Wanted { why_none: Some("it drains"), ..wanted(&[]) };
        let expected =
            api::Announced { table: 100, announced: false, addresses: Vec::new(), why: Some("it drains".into()) };
        assert_eq!(describe(100, &none, found(&[])), expected);
        let refused = Found { refused: Some("not permitted".to_owned()), ..found(&["192.0.2.80"]) };
        assert_eq!(describe(100, &none, refused).why.as_deref(), Some("not permitted"));
    }

    #[test]
    fn nothing_runs_where_nothing_is_to_be_announced() {
        let announcer = Announcer::default();
        announcer.want(Wanted::default());
        assert!(announcer.running.borrow().is_none());
        assert_eq!(announcer.describe(), None);
        announcer.end();
    }
}
