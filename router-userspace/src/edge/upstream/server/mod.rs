//! One server: what the configuration says of it, and what the node knows of it.
//!
//! | subject | where |
//! |---|---|
//! | requests and connections on it | `load` |
//! | up or down, by health checks | `health` |
//! | ejected, by what requests meet | `outlier` |
//! | part of its weight after it came back | `slow_start` |
//! | its addresses | `addresses` |
//! | how it is reached, what it is called | `target` |
//! | all of what is known, beyond one configuration | `state` |
//! | the same for operators | `report` |

mod addresses;
mod health;
mod load;
mod outlier;
mod report;
mod slow_start;
mod state;
mod target;

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode, uri};

#[cfg(test)]
pub(super) use self::addresses::Addresses;
pub use self::report::{ServerHealth, ServerReport};
use self::slow_start::{SlowStart, WHOLE};
pub(super) use self::{
    addresses::Learnt,
    health::Condition,
    load::{InFlight, Load, OpenConnection},
    state::ServerState,
    target::{Target, authority},
};
use crate::config::{self, Ejection, ServerAddress};

/// One server, as one configuration has it.
pub(super) struct Server {
    address: ServerAddress,
    weight: u16,
    policy: Policy,
    target: Target,
    host: HeaderValue,
    authority: uri::Authority,
    state: Arc<ServerState>,
}

/// What an upstream's settings say of each of its servers.
#[derive(Clone, Copy)]
pub(super) struct Policy {
    /// Requests and streams in flight at most, of the whole node: `max_connections`, 1,024 by default.
    max_in_flight: u32,
    /// There are health checks: `health`, none by default.
    is_checked: bool,
    /// When it is left alone for a while: 5 failures in a row, for 10 seconds, by default.
    ejection: Option<Ejection>,
    /// Over how long its share grows after it came back; none by default.
    slow_start: Option<Duration>,
}

impl Policy {
    pub(super) fn new(settings: &config::Servers) -> Self {
        Self {
            max_in_flight: settings.max_connections,
            is_checked: settings.health.is_some(),
            ejection: settings.ejection,
            slow_start: settings.slow_start,
        }
    }
}

impl Server {
    /// The server that `config` describes, where `state` is what is known of it.
    pub(super) fn new(config: &config::Server, policy: Policy, target: Target, state: Arc<ServerState>) -> Self {
        let address = config.address.clone();
        let (host, authority) = target::host(&address);
        Self { address, weight: config.weight, policy, target, host, authority, state }
    }

    pub(super) fn address(&self) -> &ServerAddress {
        &self.address
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// The host and port of its URL, for `Host`.
    pub(super) fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// The same, for `:authority`.
    pub(super) fn authority(&self) -> &uri::Authority {
        &self.authority
    }

    /// As the configuration writes it.
    pub(super) fn name(&self) -> &Arc<str> {
        self.state.name()
    }

    /// What is known of it, which outlives this configuration.
    pub(super) fn state(&self) -> &Arc<ServerState> {
        &self.state
    }

    pub(super) fn load(&self) -> &Arc<Load> {
        self.state.load()
    }

    /// What an earlier configuration's checks found holds only while there are checks.
    pub(super) fn is_down(&self) -> bool {
        self.policy.is_checked && self.state.health.is_down()
    }

    /// Neither down nor ejected at `now`, on [`clock`](super::clock).
    pub(super) fn is_healthy(&self, now: u64) -> bool {
        !(self.is_down() || self.policy.ejection.is_some() && self.state.outlier.is_ejected(now))
    }

    /// Requests and streams that there is room for, whether or not it is healthy.
    pub(super) fn free(&self) -> u32 {
        self.policy.max_in_flight.saturating_sub(self.load().in_flight())
    }

    /// Whether it has no more in flight than it may. It can: another configuration's limit may be higher.
    pub(super) fn is_within_limit(&self) -> bool {
        self.load().in_flight() <= self.policy.max_in_flight
    }

    /// Counts a request or stream in flight, if there is room for it.
    pub(super) fn acquire(&self) -> Option<InFlight> {
        self.load().acquire(self.policy.max_in_flight)
    }

    /// Counts an open connection.
    pub(super) fn open_connection(&self) -> OpenConnection {
        self.load().open_connection()
    }

    /// Its share beside the others' shares at `now`, on [`clock`](super::clock): of thousandths, and not zero.
    pub(super) fn weight(&self, now: u64) -> u32 {
        let share = self.slow_start(now).map_or(WHOLE, |start| start.share(now));
        u32::try_from(u64::from(self.weight) * share).unwrap_or(u32::MAX).max(1)
    }

    fn slow_start(&self, now: u64) -> Option<SlowStart> {
        Some(SlowStart { over: self.policy.slow_start?, since: self.state.came_back(now)? })
    }

    /// Counts an attempt to send it a request or a stream.
    pub(super) fn count_request(&self) {
        self.state.count_request();
    }

    /// A request, connection or stream that it failed. It may be ejected by that.
    pub(super) fn failed(&self, why: &dyn fmt::Display) {
        self.state.count_failure(self.policy.ejection.as_ref(), why);
    }

    /// A request that it answered well, or a stream that it took.
    pub(super) fn answered(&self) {
        self.state.count_answer();
    }

    /// Whether a response with `status` speaks for it: any does but those that `ejection` counts as failures. One of
    /// these is counted here.
    pub(super) fn judge(&self, status: StatusCode) -> bool {
        let failures = self.policy.ejection.and_then(|ejection| ejection.status);
        let bad = failures.is_some_and(|[first, last]| (first..=last).contains(&status.as_u16()));
        if bad {
            self.failed(&format_args!("it answered {status}"));
        }
        !bad
    }

    /// What health checks have found so far.
    pub(super) fn opinion(&self) -> Option<Condition> {
        self.state.health.opinion()
    }

    /// Takes in what health checks find, and why. True if it has come back by it: then its places have to be offered to
    /// the requests that wait.
    #[must_use]
    pub(super) fn checked(&self, condition: Condition, why: &str) -> bool {
        self.state.checked(condition, why)
    }

    /// A health check that failed, in words.
    pub(super) fn note(&self, why: &str) {
        self.state.note(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(policy: Policy) -> Server {
        let address = ServerAddress::Http(config::Authority { host: "192.0.2.1".to_owned(), port: 80 });
        let state = Arc::new(ServerState::new("u".into(), &address));
        Server::new(&config::Server { address, weight: 2 }, policy, Target::Tcp, state)
    }

    const POLICY: Policy = Policy { max_in_flight: 2, is_checked: true, ejection: None, slow_start: None };

    #[test]
    fn a_server_that_came_back_warms_from_a_tenth_to_all() {
        let server = server(Policy { slow_start: Some(Duration::from_secs(9)), ..POLICY });
        let weight = |now| server.weight(now);
        assert_eq!(weight(50_000), 2_000, "not at first");
        server.state.health.set(Condition::Down, 40_000);
        server.state.health.set(Condition::Up, 50_000);
        assert_eq!([50_000, 51_000, 54_500, 59_000].map(weight), [200, 400, 1_100, 2_000]);
        // Back from an ejection, but only once it is.
        let ejection = Ejection { failures: 1, time: Duration::from_secs(10), status: None };
        server.state.outlier.count_failure(&ejection, 60_000);
        assert_eq!([69_000, 71_000].map(weight), [2_000, 400]);
    }

    #[test]
    fn what_checks_and_requests_found_counts_while_the_settings_ask_for_it() {
        let ejection = Ejection { failures: 1, time: Duration::from_secs(10), status: None };
        let checked = server(Policy { ejection: Some(ejection), ..POLICY });
        let as_configured = |policy| Server { policy, ..server(POLICY) };
        assert!(checked.is_healthy(0));
        checked.state.outlier.count_failure(&ejection, 50_000);
        assert!(!checked.is_healthy(55_000) && checked.is_healthy(60_000) && !checked.is_down());
        assert!(!checked.checked(Condition::Down, "no answer"));
        assert!(checked.is_down() && !checked.is_healthy(60_000));
        let without = Server { state: checked.state.clone(), ..as_configured(Policy { is_checked: false, ..POLICY }) };
        assert!(!without.is_down() && without.is_healthy(55_000), "neither is asked for");
        assert!(checked.checked(Condition::Up, "well"), "it came back");
        assert!(!checked.checked(Condition::Up, "well"), "once");
    }

    #[test]
    fn its_room_is_what_its_limit_leaves() {
        let server = server(POLICY);
        let taken = [server.acquire().unwrap(), server.acquire().unwrap()];
        assert!(server.acquire().is_none() && server.free() == 0 && server.is_within_limit());
        // An earlier configuration's limit was higher.
        let more = server.load().acquire(3).unwrap();
        assert!(server.free() == 0 && !server.is_within_limit());
        drop((taken, more));
        assert_eq!(server.free(), 2);
    }
}
