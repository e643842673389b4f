//! The engine's thread: connects, watches, keeps the lease, and does what it is asked.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use etcd_client::WatchStream;
use tokio::{
    sync::{mpsc, watch},
    time::{Interval, MissedTickBehavior, interval_at, sleep, sleep_until},
};

use super::{
    backoff::Backoff,
    command::{Command, Reply},
    connection::{Connection, Renewed, Told, said},
    known::{Known, settling},
    own::Own,
    settings::{EtcdSettings, NAME},
    snapshot,
};
use crate::{
    membership::{
        Change, Claim, Freshness, MembershipError, NodeNumber, NodeRecord, View,
        store::{Codec, Registration, Transaction, commit, publish, register},
    },
    secret::ClusterSecret,
};

/// All that the thread has.
pub(super) struct Engine {
    settings: EtcdSettings,
    commands: mpsc::UnboundedReceiver<Command>,
    view: watch::Sender<Arc<View>>,
    known: Known,
    own: Own,
    /// A registration that waits for another host's record to go.
    waiting: Option<Waiting>,
}

struct Waiting {
    claim: Claim,
    reply: Reply<NodeNumber>,
    until: Instant,
}

/// How a session ends.
enum End {
    /// The engine was dropped.
    Dropped,
    /// A new one has to begin at once: what was watched is no longer to be had.
    Again,
    /// The member cannot be asked, or what it says makes no sense.
    Failed(String),
}

impl From<String> for End {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// What becomes of a request.
enum Outcome<T> {
    Answered(Result<T, MembershipError>),
    /// The member did not answer.
    Away(String),
}

impl Engine {
    pub(super) fn new(
        settings: EtcdSettings,
        secret: &ClusterSecret,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> (Self, watch::Receiver<Arc<View>>) {
        let mut known = Known::new(Codec::new(&settings.cluster, secret));
        let read = settings.snapshot.as_ref().map(|path| snapshot::read(path, &mut known));
        let why = match read {
            Some(Err(why)) => why,
            _ => "not asked yet".to_owned(),
        };
        let (view, receiver) = watch::channel(Arc::new(last_known(&known, why)));
        let (own, waiting) = (Own::default(), None);
        (Self { settings, commands, view, known, own, waiting }, receiver)
    }

    /// Until the engine is dropped.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(self.settings.timing.backoff);
        let endpoints = self.settings.endpoints.clone();
        for endpoint in endpoints.iter().cycle() {
            let begun = Instant::now();
            let why = match self.session(endpoint).await {
                End::Dropped => return,
                End::Again => continue,
                End::Failed(why) => format!("{endpoint}: {why}"),
            };
            // One that has stood for a while is no failed attempt.
            if begun.elapsed() > self.settings.timing.backoff + self.settings.timing.answer * 2 {
                backoff.reset();
            }
            self.view.send_replace(Arc::new(last_known(&self.known, why.clone())));
            if self.pause(backoff.pause(), &why).await.is_none() {
                return;
            }
        }
    }

    /// Answers that etcd is away, for a while; `None` if the engine was dropped.
    async fn pause(&mut self, length: std::time::Duration, why: &str) -> Option<()> {
        if let Some(waiting) = self.waiting.take() {
            let _ = waiting.reply.send(Err(away(why)));
        }
        let end = sleep(length);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return Some(()),
                command = self.commands.recv() => self.refuse(command?, why),
            }
        }
    }

    /// What can be done without etcd.
    fn refuse(&mut self, command: Command, why: &str) {
        match command {
            Command::Register(claim, reply) => {
                let known = register(&self.known.codec, &self.known.entries, &self.known.state, claim);
                let number = match known {
                    Ok(Registration::Known(number)) => Ok(self.registered(number)),
                    _ => Err(away(why)),
                };
                let _ = reply.send(number);
            }
            Command::Publish(record, reply) => drop(reply.send(self.take_record(record))),
            Command::Withdraw(reply) => {
                self.own.record = None;
                let _ = reply.send(Err(away(why)));
            }
            Command::Commit(_, reply) => drop(reply.send(Err(away(why)))),
        }
    }

    /// One connection, for as long as it works.
    async fn session(&mut self, endpoint: &str) -> End {
        match self.try_session(endpoint).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn try_session(&mut self, endpoint: &str) -> Result<std::convert::Infallible, End> {
        let timing = self.settings.timing;
        let mut connection = Connection::open(&self.settings, endpoint).await?;
        let was_live = self.view.borrow().freshness.is_live();
        if !was_live {
            self.known.is_back(Instant::now() + settling(timing.lease, timing.backoff));
        }
        self.read(&mut connection).await?;
        let mut watch = connection.watch(self.known.version + 1).await?;
        self.tell(&mut connection).await?;
        self.show();
        let mut renew = every(timing.lease / 3);
        let mut reread = every(timing.reread);
        loop {
            self.step(&mut connection, &mut watch, &mut Timers { renew: &mut renew, reread: &mut reread }).await?;
        }
    }

    /// Waits for the next thing that happens, and does what it asks for.
    async fn step(
        &mut self,
        connection: &mut Connection,
        watch: &mut WatchStream,
        timers: &mut Timers<'_>,
    ) -> Result<(), End> {
        let due = self.due();
        tokio::select! {
            message = watch.message() => {
                let message = message.map_err(|error| said(&error))?.ok_or_else(|| "the watch has ended".to_owned())?;
                match connection.told(&message)? {
                    Told::Compacted => return Err(End::Again),
                    Told::Events(events) if events.is_empty() => self.known.confirmed = Some(SystemTime::now()),
                    Told::Events(events) => {
                        self.known.apply(events, Instant::now()).map_err(|error| error.to_string())?;
                        self.look_again(connection).await?;
                    }
                }
            }
            command = self.commands.recv() => match command {
                Some(command) => self.execute(command, connection).await?,
                None => return Err(End::Dropped),
            },
            _ = timers.renew.tick() => self.renew(connection).await?,
            _ = timers.reread.tick() => self.reread(connection).await?,
            () = at(due) => {
                self.known.settle(Instant::now()).map_err(|error| error.to_string())?;
                self.look_again(connection).await?;
            }
        }
        Ok(())
    }

    /// When there is next something to do that no message announces.
    fn due(&self) -> Option<Instant> {
        let waits = self.waiting.as_ref().map(|waiting| waiting.until);
        self.known.settles().into_iter().chain(waits).min()
    }

    /// After something has changed: the view, this node's record, who waits.
    async fn look_again(&mut self, connection: &mut Connection) -> Result<(), End> {
        self.show();
        self.tell(connection).await?;
        if let Some(waiting) = self.waiting.take() {
            self.register(waiting, connection).await?;
        }
        Ok(())
    }

    /// Shows what is known, as live.
    fn show(&mut self) {
        self.known.confirmed = Some(SystemTime::now());
        let mut state = self.known.state.clone();
        state.faults.extend(self.keep());
        let next = View { state: Arc::new(state), version: self.known.version, freshness: Freshness::Live };
        self.view.send_if_modified(|view| {
            let is_news = **view != next;
            *view = Arc::new(next);
            is_news
        });
    }

    /// Writes the snapshot; why not, if it cannot be written. That hinders nothing now.
    fn keep(&self) -> Option<String> {
        let path = self.settings.snapshot.as_ref()?;
        let written = snapshot::write(path, &self.known);
        written.err().map(|error| format!("{}: {error}", path.display()))
    }

    /// Reads everything; puts back first what etcd has lost.
    async fn read(&mut self, connection: &mut Connection) -> Result<(), End> {
        for _ in 0..ATTEMPTS {
            let range = connection.read().await?;
            let Some(repairs) = self.known.repairs(&range) else {
                return Ok(self.known.replace(range, Instant::now()).map_err(|error| error.to_string())?);
            };
            for transaction in &repairs {
                // Another node may be faster: what it has put back, the next look shows.
                if !connection.execute(transaction, NO_LEASE).await? {
                    break;
                }
            }
        }
        Err(End::Failed("etcd has lost data, which cannot be put back".to_owned()))
    }

    /// Reads everything in case that the watch has fallen silent.
    async fn reread(&mut self, connection: &mut Connection) -> Result<(), End> {
        let range = connection.read().await?;
        if self.known.differs(&range) {
            return Err(End::Again);
        }
        self.show();
        Ok(())
    }

    async fn renew(&mut self, connection: &mut Connection) -> Result<(), End> {
        if self.own.lease != NO_LEASE && connection.renew(self.own.lease).await? == Renewed::Lost {
            self.own.lease = NO_LEASE;
            self.own.is_news = true;
        }
        self.tell(connection).await
    }

    /// Tells the others this node's record, if they lack it.
    async fn tell(&mut self, connection: &mut Connection) -> Result<(), End> {
        for _ in 0..ATTEMPTS {
            let Some(record) = self.own.untold(&self.known.entries, &self.known.state).cloned() else { return Ok(()) };
            // The number was taken from this node: there is nothing to tell before it has another.
            let Ok(transaction) = publish(&self.known.codec, &self.known.entries, &record) else { return Ok(()) };
            self.take_lease(connection).await?;
            if connection.execute(&transaction, self.own.lease).await? {
                self.own.is_news = false;
                return Ok(());
            }
            let range = connection.read().await?;
            self.known.replace(range, Instant::now()).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Takes a lease, or sees that the one there is still stands.
    async fn take_lease(&mut self, connection: &mut Connection) -> Result<(), End> {
        let stands = self.own.lease != NO_LEASE && connection.renew(self.own.lease).await? == Renewed::Yes;
        if !stands {
            self.own.lease = connection.grant(self.settings.timing.lease).await?;
        }
        Ok(())
    }

    async fn execute(&mut self, command: Command, connection: &mut Connection) -> Result<(), End> {
        match command {
            Command::Register(claim, reply) => {
                let timing = self.settings.timing;
                let until = Instant::now() + settling(timing.lease, timing.backoff) + timing.lease / 3;
                self.register(Waiting { claim, reply, until }, connection).await
            }
            Command::Publish(record, reply) => {
                let taken = self.take_record(record);
                let _ = reply.send(taken);
                self.tell(connection).await
            }
            Command::Withdraw(reply) => {
                self.own.record = None;
                let lease = std::mem::take(&mut self.own.lease);
                let revoked = if lease == NO_LEASE { Ok(()) } else { connection.revoke(lease).await };
                answer(reply, Outcome::of(revoked))
            }
            Command::Commit(change, reply) => {
                let outcome = self.commit(&change, connection).await;
                answer(reply, outcome)
            }
        }
    }

    async fn commit(&mut self, change: &Change, connection: &mut Connection) -> Outcome<u64> {
        let built = commit(&self.known.codec, &self.known.entries, &self.known.state, change);
        let transaction = match built {
            Ok(transaction) => transaction,
            Err(error) => return Outcome::Answered(Err(error)),
        };
        match connection.execute(&transaction, NO_LEASE).await {
            Ok(true) => Outcome::Answered(Ok(change.based_on + 1)),
            Ok(false) => Outcome::Answered(Err(conflict())),
            Err(why) => Outcome::Away(why),
        }
    }

    /// Registers this node, or has it wait for a copy's record to go.
    async fn register(&mut self, waiting: Waiting, connection: &mut Connection) -> Result<(), End> {
        let number = match self.number(waiting.claim, connection).await {
            Outcome::Answered(Err(MembershipError::IncarnationInUse { .. })) if Instant::now() < waiting.until => {
                self.waiting = Some(waiting);
                return Ok(());
            }
            Outcome::Answered(Ok(number)) => {
                // Who has a number sees it in the next view.
                self.show();
                Outcome::Answered(Ok(self.registered(number)))
            }
            other => other,
        };
        answer(waiting.reply, number)
    }

    async fn number(&mut self, claim: Claim, connection: &mut Connection) -> Outcome<NodeNumber> {
        for _ in 0..ATTEMPTS {
            let known = &self.known;
            let transaction = match register(&known.codec, &known.entries, &known.state, claim) {
                Err(error) => return Outcome::Answered(Err(error)),
                Ok(Registration::Known(number)) => return Outcome::Answered(Ok(number)),
                Ok(Registration::Copied(number)) => {
                    let incarnation = claim.incarnation;
                    return Outcome::Answered(Err(MembershipError::IncarnationInUse { number, incarnation }));
                }
                Ok(Registration::New { transaction, .. }) => transaction,
            };
            if let Err(why) = self.try_register(&transaction, connection).await {
                return Outcome::Away(why);
            }
        }
        Outcome::Answered(Err(conflict()))
    }

    /// Whether it succeeded or another node was faster, the next look shows.
    async fn try_register(&mut self, transaction: &Transaction, connection: &mut Connection) -> Result<(), String> {
        connection.execute(transaction, NO_LEASE).await?;
        let range = connection.read().await?;
        self.known.replace(range, Instant::now()).map_err(|error| error.to_string())
    }

    fn registered(&mut self, number: NodeNumber) -> NodeNumber {
        self.own.number = Some(number);
        number
    }

    /// Takes a record to tell.
    fn take_record(&mut self, record: NodeRecord) -> Result<(), MembershipError> {
        if !self.own.has(record.number) {
            return Err(MembershipError::NotOurs { record: record.number });
        }
        self.own.record = Some(record);
        self.own.is_news = true;
        Ok(())
    }
}

/// What comes by time.
struct Timers<'t> {
    renew: &'t mut Interval,
    reread: &'t mut Interval,
}

impl<T> Outcome<T> {
    fn of(done: Result<T, String>) -> Self {
        match done {
            Ok(done) => Self::Answered(Ok(done)),
            Err(why) => Self::Away(why),
        }
    }
}

/// Answers a request; that etcd did not, ends the session.
fn answer<T>(reply: Reply<T>, outcome: Outcome<T>) -> Result<(), End> {
    match outcome {
        Outcome::Answered(result) => {
            let _ = reply.send(result);
            Ok(())
        }
        Outcome::Away(why) => {
            let _ = reply.send(Err(away(&why)));
            Err(End::Failed(why))
        }
    }
}

fn last_known(known: &Known, why: String) -> View {
    let freshness = match known.confirmed {
        Some(since) => Freshness::LastKnown { since, why },
        None => Freshness::Unread { why },
    };
    View { state: Arc::new(known.state.clone()), version: known.version, freshness }
}

fn away(why: &str) -> MembershipError {
    MembershipError::Away { engine: NAME, why: why.to_owned() }
}

fn conflict() -> MembershipError {
    MembershipError::Conflict { what: "another node was faster".to_owned() }
}

/// Ticks, the first time after one period.
fn every(period: std::time::Duration) -> Interval {
    let mut interval = interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Waits until then, or forever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// How often something is tried that another node may be faster at.
const ATTEMPTS: usize = 10;

/// No lease, as etcd says it.
const NO_LEASE: i64 = 0;
