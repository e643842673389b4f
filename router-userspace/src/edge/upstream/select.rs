//! A server for a request or stream, and a permit to use it, if need be after a wait.

use std::sync::Arc;

use tokio::time::timeout;

use super::{
    clients::Upstream,
    clock,
    connect::NoPlace,
    queue::{Demand, Entered, RequestPermit},
    request_body::Forwarded,
};
use crate::{address::Validated, config::Balance};

/// What a look at the servers came to.
enum Choice {
    /// The server with that index.
    Server(usize, RequestPermit),
    /// There is no room: on this server, or on any.
    Busy(Option<usize>),
    /// No server may be asked.
    NoneAvailable,
}

impl<B: Forwarded> Upstream<B> {
    /// A server, by its index, and a permit for it, if need be after a wait. None of `tried`.
    pub(super) async fn place(&self, client: Validated, tried: &[usize]) -> Result<(usize, RequestPermit), NoPlace> {
        let only = match self.choose(client, tried) {
            Choice::Server(index, permit) => return Ok((index, permit)),
            Choice::NoneAvailable => return Err(NoPlace::AllDown),
            Choice::Busy(only) => only,
        };
        // In a box: there is time while it waits.
        Box::pin(self.wait_for_place(client, tried, only)).await
    }

    /// A permit for server `only`, or for any, when its turn comes.
    async fn wait_for_place(
        &self,
        client: Validated,
        tried: &[usize],
        only: Option<usize>,
    ) -> Result<(usize, RequestPermit), NoPlace> {
        let set = self.set();
        let demand = Demand { set: Arc::clone(set), client: set.client(client), only, not: tried.to_vec() };
        let entered = self.queue().enter(demand, || match self.choose(client, tried) {
            Choice::Server(index, permit) => Some((index, permit)),
            Choice::NoneAvailable | Choice::Busy(_) => None,
        });
        match entered {
            Entered::AtOnce(place) => Ok(place),
            Entered::Full => Err(NoPlace::QueueFull),
            Entered::Waiting(ticket) => {
                let limit = set.settings().timeouts.queue;
                let permit = timeout(limit, ticket.given()).await.ok().flatten();
                let place = permit.and_then(|permit| Some((set.position(permit.load()?)?, permit)));
                place.ok_or(NoPlace::QueueTimedOut(limit))
            }
        }
    }

    /// A client of `source_hash` waits for its own server; for others any with room will do.
    fn choose(&self, client: Validated, tried: &[usize]) -> Choice {
        let (set, now) = (&**self.set(), clock::now());
        let (servers, settings) = (set.servers(), set.settings());
        let availability = set.availability(now);
        let prefix = set.client(client);
        let share = settings.client_share;
        let keeps_to_one = settings.balance == Balance::SourceHash;
        let is_usable = |index: usize| !tried.contains(&index) && availability.admits(&servers[index], now);
        if !(0..servers.len()).any(is_usable) {
            return Choice::NoneAvailable;
        }
        if !keeps_to_one && !self.queue().lets(prefix, share, || set.free(availability, now)) {
            return Choice::Busy(None);
        }
        let has_room = |index: usize| keeps_to_one || servers[index].free() > 0;
        // Another worker may be faster; then there is another choice, until there is no room.
        loop {
            let candidate = |index| (is_usable(index) && has_room(index)).then(|| self.pooled(index).candidate(now));
            let Some(index) = self.chooser().choose(client, candidate) else { return Choice::Busy(None) };
            let server = &servers[index];
            let is_let = !keeps_to_one || self.queue().lets(prefix, share, || server.free());
            let permit = if is_let { self.queue().acquire(server, prefix) } else { None };
            match permit {
                Some(permit) => return Choice::Server(index, permit),
                None if keeps_to_one => return Choice::Busy(Some(index)),
                None => {}
            }
        }
    }
}
