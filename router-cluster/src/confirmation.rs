//! Whether a node may issue connection IDs by what it knows of its cluster.
//!
//! A node that lives is waited for: no configuration is issued before it decodes it, and none is removed before it knows
//! that it is not issued. A node that was down was not waited for. If it starts while its engine is away, all that it has
//! is what it noted before, and the others may have gone on since. It may issue by that if one of these vouches for it:
//!
//! - The engine: its view is live. From then on the node is one that lives.
//! - Another node that is confirmed itself and is at the same revision. What it follows, all others decode, as they wait
//!   for it. Three seconds pass in which no node says a higher revision; by then each one that lives has said hello.
//! - The age of what was noted, as long as no other node and no engine answers. The configuration that issued at
//!   that time is retired at that time at the earliest, and removed two lifetimes of a connection ID later at the
//!   earliest. So for one lifetime all others decode what is issued by it, for as long as clients use it.
//!
//! A node that hears a higher revision than its own lacks keys. It cannot place the packets of connections under these, so
//! load balancers should send it none. What it issues by what it noted is as good as its age: others decode it, and not to
//! place new connections elsewhere is right, as their packets would come back here. The age is looked at once, when the node
//! starts: later the others, if they are there, wait for it.
//!
//! One that an operator has forgotten, or that has lost its number otherwise, issues nothing any more, whatever vouches for
//! its keys: the others answer packets of its connections with resets.
//!
//! The revision here is that of the keys ([`ClusterState::keys_revision`](crate::membership::ClusterState::keys_revision)):
//! what an operator orders of nodes makes no key. The hellos of older versions carry the revision of everything, confirmed
//! or not. So they confirm no keys; they do show that there may be newer keys, if it is higher than any that was noted here.

use std::{
    fmt,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    hello::HELLO_INTERVAL,
    membership::{Freshness, Incarnation, NodeNumber, NodeRecord, Order, RunInfo, View},
};

/// What vouches for the state that this node goes by.
#[derive(Clone, Debug)]
pub struct Confirmation {
    own: Own,
    standing: Standing,
    /// Whether what is known was of a short time ago when the node started.
    is_recent: bool,
    /// The keys' revision that is to be confirmed.
    revision: u64,
    /// The revision of all that is known: keys that are not are of a higher one.
    known: u64,
    /// Who said it first, and when.
    witness: Option<(NodeNumber, Instant)>,
}

/// A revision, as a node says it in a hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SaidRevision {
    /// Of the keys that it goes by: 0 if these are not confirmed.
    OfKeys(u64),
    /// Of all that it goes by, confirmed or not: it is of an older version.
    OfAll(u64),
}

/// By what this node finds itself in a view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Own {
    /// Its number.
    pub number: NodeNumber,
    /// The incarnation that the number was given to; none where numbers come from a list.
    pub incarnation: Option<Incarnation>,
}

impl Own {
    /// Whether the number is this node's no more: an operator said `forget`, or a live view says that the incarnation has
    /// another number. That it has none says nothing: such an entry is sealed, and its absence is not.
    fn is_forgotten(self, view: &View) -> bool {
        let order = view.state.node(self.number).and_then(|member| member.order);
        let given = self.incarnation.and_then(|own| view.state.incarnations.get(&own).copied().flatten());
        let has_another = view.freshness.is_live() && given.is_some_and(|number| number != self.number);
        order == Some(Order::Forget) || has_another
    }
}

/// How far a node may rely on what it knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Its engine has said so in this run, or the generation before had it confirmed.
    Confirmed,
    /// Another node is at the same revision.
    ConfirmedBy(NodeNumber),
    /// Not confirmed in this run. The engine confirmed it last this long before the start, which is recent enough.
    Recent(Duration),
    /// The same, but too long before the start; `None` if the time is not known.
    TooOld(Option<Duration>),
    /// Another node is at a higher revision.
    Outdated {
        /// Which.
        node: NodeNumber,
        /// The highest that was heard.
        revision: u64,
        /// Whether what is known was of a short time ago when the node started.
        is_recent: bool,
    },
    /// Its number is no longer its own: the others do not forward to it.
    Forgotten,
}

impl SaidRevision {
    /// What a node with this record says by `revision`. Records of older versions do not say listeners' addresses; one whose
    /// record was never seen may be of such a version.
    pub fn of(record: Option<&NodeRecord>, revision: u64) -> Self {
        match record.and_then(|record| record.run.as_ref()) {
            Some(RunInfo { addresses: Some(_), .. }) => Self::OfKeys(revision),
            Some(_) | None => Self::OfAll(revision),
        }
    }
}

impl Confirmation {
    /// For the node `own` that begins at `now` with `view`, where connection IDs are replaced after `lifetime`.
    pub fn new(view: &View, own: Own, lifetime: Duration, now: SystemTime) -> Self {
        let standing = match &view.freshness {
            _ if own.is_forgotten(view) => Standing::Forgotten,
            Freshness::Live => Standing::Confirmed,
            Freshness::LastKnown { since, .. } => match now.duration_since(*since).ok() {
                Some(age) if age <= lifetime => Standing::Recent(age),
                // Also if the clock says that it was in the future.
                age => Standing::TooOld(age),
            },
            Freshness::Unread { .. } => Standing::TooOld(None),
        };
        let is_recent = matches!(standing, Standing::Recent(_));
        Self { standing, is_recent, ..Self::inherited(view, own) }
    }

    /// For a generation that takes over from one that had it confirmed.
    pub fn inherited(view: &View, own: Own) -> Self {
        let (revision, known) = (view.state.keys_revision(), view.state.revision);
        let standing = if own.is_forgotten(view) { Standing::Forgotten } else { Standing::Confirmed };
        Self { own, standing, is_recent: true, revision, known, witness: None }
    }

    /// The engine says this now.
    pub fn seen(&mut self, view: &View) {
        if view.freshness.is_live() {
            let is_forgotten = self.own.is_forgotten(view);
            self.standing = if is_forgotten { Standing::Forgotten } else { Standing::Confirmed };
        }
    }

    /// A node has said in a hello which revision it is at.
    pub fn heard(&mut self, node: NodeNumber, said: SaidRevision, now: Instant) {
        if self.standing.is_confirmed() || self.standing == Standing::Forgotten {
            return;
        }
        if said == SaidRevision::OfKeys(self.revision) {
            self.witness.get_or_insert((node, now));
        }
        let highest = match self.standing {
            Standing::Outdated { revision, .. } => revision,
            _ => self.known,
        };
        let (SaidRevision::OfKeys(revision) | SaidRevision::OfAll(revision)) = said;
        if revision > highest {
            self.standing = Standing::Outdated { node, revision, is_recent: self.is_recent };
        }
    }

    /// How it stands, as of the last [look](Self::look).
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Looks how it stands at `now`.
    pub fn look(&mut self, now: Instant) -> Standing {
        if let (Standing::Recent(_) | Standing::TooOld(_), Some((node, since))) = (self.standing, self.witness)
            && now.saturating_duration_since(since) >= ALL_HAVE_SPOKEN
        {
            self.standing = Standing::ConfirmedBy(node);
        }
        self.standing
    }
}

impl Standing {
    /// Whether connection IDs may be issued.
    pub fn may_issue(self) -> bool {
        match self {
            Self::Confirmed | Self::ConfirmedBy(_) | Self::Recent(_) => true,
            Self::Outdated { is_recent, .. } => is_recent,
            Self::TooOld(_) | Self::Forgotten => false,
        }
    }

    /// Whether this node knows all keys, as far as anybody says, and has its number: if not, clients are better off elsewhere.
    pub fn is_ready(self) -> bool {
        match self {
            Self::Confirmed | Self::ConfirmedBy(_) | Self::Recent(_) => true,
            Self::TooOld(_) | Self::Outdated { .. } | Self::Forgotten => false,
        }
    }

    /// Whether new connections are for the other nodes. Not where these have other keys: their packets would come back here,
    /// and not be known.
    pub fn sends_away(self) -> bool {
        matches!(self, Self::TooOld(_) | Self::Forgotten)
    }

    /// Whether this node can confirm it to others.
    pub fn is_confirmed(self) -> bool {
        matches!(self, Self::Confirmed | Self::ConfirmedBy(_))
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed => f.write_str("confirmed by the engine"),
            Self::ConfirmedBy(node) => write!(f, "confirmed by node {node}, which is at the same revision"),
            Self::Recent(age) => write!(f, "from {} s before the start, which nobody has confirmed", age.as_secs()),
            Self::TooOld(Some(age)) => {
                write!(f, "from {} s before the start, which is longer than a connection ID lives", age.as_secs())
            }
            Self::TooOld(None) => f.write_str("of an unknown time"),
            Self::Outdated { node, revision, is_recent } => {
                let taken = if *is_recent { "" } else { ", and from too long before the start" };
                write!(f, "out of date: node {node} is at revision {revision}{taken}")
            }
            Self::Forgotten => f.write_str("that this node was forgotten: its number is no longer its own"),
        }
    }
}

/// By then each node that lives has said hello, be it that two in a row were lost.
const ALL_HAVE_SPOKEN: Duration = HELLO_INTERVAL.saturating_mul(3);

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use router_common::identifiers::ConfigRotation;

    use super::{
        SaidRevision::{OfAll, OfKeys},
        *,
    };
    use crate::membership::{CidConfiguration, CidSecrets, CidState, ClusterState, Member, NodeState};

    const LIFETIME: Duration = Duration::from_secs(3_600);
    const INCARNATION: Incarnation = Incarnation::new(7);

    fn own() -> Own {
        Own { number: node(1), incarnation: Some(INCARNATION) }
    }

    fn node(number: u16) -> NodeNumber {
        NodeNumber::new(number).unwrap()
    }

    /// Keys of revision 5, and an order that came later.
    fn view(freshness: Freshness) -> View {
        let cid = CidConfiguration {
            rotation: ConfigRotation::new(0),
            state: CidState::Issuing,
            announced: 5,
            entered: 5,
            since: 0,
            shape: None,
            awaited: BTreeSet::new(),
            secrets: CidSecrets::from([0; 36]),
        };
        let (cid, incarnations) = ([(cid.rotation, cid)].into(), [(INCARNATION, Some(node(1)))].into());
        let state = ClusterState { revision: 6, cid, incarnations, ..ClusterState::default() };
        View { state: Arc::new(state), version: 1, freshness }
    }

    fn last_known(since: SystemTime) -> Freshness {
        Freshness::LastKnown { since, why: String::new() }
    }

    fn aged(age: Duration) -> Confirmation {
        let now = SystemTime::now();
        Confirmation::new(&view(last_known(now - age)), own(), LIFETIME, now)
    }

    #[test]
    fn what_was_noted_is_relied_on_for_one_lifetime() {
        let now = Instant::now();
        assert_eq!(aged(LIFETIME).look(now), Standing::Recent(LIFETIME));
        let recent = Standing::Recent(LIFETIME);
        assert!(recent.may_issue() && recent.is_ready() && !recent.sends_away());
        let old = LIFETIME + Duration::from_nanos(1);
        assert_eq!(aged(old).look(now), Standing::TooOld(Some(old)));
        let too_old = Standing::TooOld(Some(old));
        assert!(!too_old.may_issue() && !too_old.is_ready() && too_old.sends_away());
        let wall = SystemTime::now();
        for nobody_knows in [last_known(wall + Duration::from_secs(1)), Freshness::Unread { why: String::new() }] {
            let standing = Confirmation::new(&view(nobody_knows), own(), LIFETIME, wall).look(now);
            assert_eq!((standing, standing.may_issue()), (Standing::TooOld(None), false));
        }
        let standing = Confirmation::new(&view(Freshness::Live), own(), LIFETIME, wall).look(now);
        assert_eq!((standing, standing.is_confirmed()), (Standing::Confirmed, true));
    }

    /// The age counts at the start only.
    #[test]
    fn a_node_that_is_alone_goes_on() {
        let mut confirmation = aged(Duration::ZERO);
        let later = Instant::now() + 10 * LIFETIME;
        assert_eq!(confirmation.look(later), Standing::Recent(Duration::ZERO));
        assert!(!confirmation.look(later).is_confirmed(), "it vouches for nobody");
    }

    #[test]
    fn a_node_at_the_same_revision_confirms_once_all_have_spoken() {
        let now = Instant::now();
        for age in [Duration::ZERO, 2 * LIFETIME] {
            let mut confirmation = aged(age);
            let before = confirmation.look(now);
            confirmation.heard(node(2), OfKeys(0), now);
            confirmation.heard(node(3), OfKeys(4), now);
            assert_eq!(confirmation.look(now + 2 * LIFETIME), before, "neither knows what this node does");
            confirmation.heard(node(4), OfKeys(5), now);
            confirmation.heard(node(2), OfKeys(5), now + ALL_HAVE_SPOKEN);
            assert_eq!(confirmation.look(now + ALL_HAVE_SPOKEN - Duration::from_nanos(1)), before);
            assert_eq!(confirmation.look(now + ALL_HAVE_SPOKEN), Standing::ConfirmedBy(node(4)));
            // From now on it is waited for.
            confirmation.heard(node(3), OfKeys(6), now + ALL_HAVE_SPOKEN);
            assert_eq!(confirmation.look(now + ALL_HAVE_SPOKEN), Standing::ConfirmedBy(node(4)));
        }
    }

    #[test]
    fn a_higher_revision_goes_before_all_but_the_engine() {
        let now = Instant::now();
        for age in [Duration::ZERO, 2 * LIFETIME] {
            let mut confirmation = aged(age);
            confirmation.heard(node(2), OfKeys(5), now);
            for (said, expected) in [(7, 7), (6, 7), (9, 9), (5, 9)] {
                confirmation.heard(node(3), OfKeys(said), now);
                let standing = confirmation.look(now + LIFETIME);
                let is_recent = age == Duration::ZERO;
                assert_eq!(standing, Standing::Outdated { node: node(3), revision: expected, is_recent });
                assert_eq!(standing.may_issue(), is_recent, "the others decode what was issued a moment ago");
                assert!(!standing.is_ready() && !standing.is_confirmed() && !standing.sends_away());
            }
            confirmation.seen(&view(last_known(SystemTime::now())));
            assert!(!confirmation.look(now).is_ready());
            confirmation.seen(&view(Freshness::Live));
            assert_eq!(confirmation.look(now), Standing::Confirmed);
        }
    }

    /// What this node knows has keys of revision 5, and an order of revision 6.
    #[test]
    fn a_node_of_an_older_version_vouches_for_nobody() {
        let run = r#"{"incarnation":"000000000000000000000000000000fe","host":1,"acks":6,
            "versions":{"lowest":1,"highest":1},"engine":"xdp","listeners":"00"}"#;
        let run: RunInfo = serde_json::from_str(run).unwrap();
        let older = NodeRecord {
            number: node(2),
            address: [10, 0, 0, 2].into(),
            port: 6080,
            weight: 100,
            state: NodeState::Up,
            run: Some(run.clone()),
        };
        assert_eq!(SaidRevision::of(Some(&older), 5), OfAll(5));
        let run = RunInfo { addresses: Some(BTreeSet::new()), ..run };
        assert_eq!(SaidRevision::of(Some(&NodeRecord { run: Some(run), ..older }), 5), OfKeys(5));
        assert_eq!(SaidRevision::of(None, 5), OfAll(5));
        let now = Instant::now();
        for age in [Duration::ZERO, 2 * LIFETIME] {
            let mut confirmation = aged(age);
            let before = confirmation.look(now);
            for said in [1, 5, 6] {
                confirmation.heard(node(2), OfAll(said), now);
                assert_eq!(confirmation.look(now + LIFETIME), before, "{said}");
            }
            confirmation.heard(node(2), OfAll(7), now);
            let outdated = Standing::Outdated { node: node(2), revision: 7, is_recent: age == Duration::ZERO };
            assert_eq!(confirmation.look(now + LIFETIME), outdated, "it may have newer keys");
        }
    }

    #[test]
    fn who_takes_over_goes_on_as_the_one_before() {
        let view = view(last_known(SystemTime::UNIX_EPOCH));
        assert_eq!(Confirmation::inherited(&view, own()).look(Instant::now()), Standing::Confirmed);
    }

    /// The same view, after an operator's `forget` or with another word on this node's number.
    fn changed(before: View, change: impl FnOnce(&mut ClusterState)) -> View {
        let mut state = ClusterState::clone(&before.state);
        change(&mut state);
        View { state: Arc::new(state), ..before }
    }

    fn forget(state: &mut ClusterState) {
        state.nodes.insert(node(1), Member { order: Some(Order::Forget), ..Member::default() });
        state.incarnations.clear();
    }

    #[test]
    fn a_node_that_was_forgotten_issues_nothing() {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let mut confirmation = Confirmation::new(&view(Freshness::Live), own(), LIFETIME, wall);
        confirmation.seen(&changed(view(Freshness::Live), forget));
        let standing = confirmation.look(now);
        assert_eq!(standing, Standing::Forgotten);
        assert!(!standing.may_issue() && !standing.is_ready() && !standing.is_confirmed() && standing.sends_away());
        // Whatever is heard, and while the engine is away.
        confirmation.heard(node(2), OfKeys(5), now);
        confirmation.heard(node(3), OfKeys(9), now);
        confirmation.seen(&view(last_known(wall)));
        assert_eq!(confirmation.look(now + LIFETIME), Standing::Forgotten);
        // One that starts with what it noted, and one that takes over.
        let noted = changed(view(last_known(wall)), forget);
        assert_eq!(Confirmation::new(&noted, own(), LIFETIME, wall).look(now), Standing::Forgotten);
        assert_eq!(Confirmation::inherited(&noted, own()).look(now), Standing::Forgotten);
    }

    #[test]
    fn a_number_is_lost_only_where_a_live_view_says_so() {
        let wall = SystemTime::now();
        let standing = |own: Own, view: &View| {
            Confirmation::new(view, own, LIFETIME, wall).look(Instant::now()) == Standing::Forgotten
        };
        let none = changed(view(Freshness::Live), |state| state.incarnations.clear());
        let other =
            |freshness| changed(view(freshness), |state| state.incarnations = [(INCARNATION, Some(node(2)))].into());
        let unreadable = changed(view(Freshness::Live), |state| state.incarnations = [(INCARNATION, None)].into());
        assert!(standing(own(), &other(Freshness::Live)) && !standing(own(), &other(last_known(wall))));
        assert!(!standing(own(), &none), "anybody may have deleted that");
        assert!(!standing(own(), &unreadable), "anybody may have written that");
        let listed = Own { incarnation: None, ..own() };
        assert!(!standing(listed, &other(Freshness::Live)), "a list gives no numbers");
        assert!(standing(listed, &changed(view(Freshness::Live), forget)), "a list says that it is gone");
    }
}
