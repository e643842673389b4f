//! A connection to one member of etcd. Every question ends, be it by its time-out; what is wrong is said in one line.

use std::{fs, future::Future, path::Path, time::Duration};

use etcd_client::{
    Certificate, Client, Compare as EtcdCompare, CompareOp, ConnectOptions, Error, EventType, GetOptions, Identity,
    PutOptions, TlsOptions, Txn, TxnOp, WatchOptions, WatchResponse, WatchStream,
};
use tokio::time::timeout;

use super::settings::{EtcdSettings, EtcdTls};
use crate::membership::store::{Compare, Entries, Entry, Operation, Transaction};

/// A connection, for as long as it works.
pub(super) struct Connection {
    client: Client,
    /// Of every key, with a slash at its end.
    prefix: String,
    answer: Duration,
}

/// All entries as of one revision of etcd's.
pub(super) struct Range {
    pub(super) entries: Entries,
    pub(super) revision: u64,
}

/// What a watch says.
pub(super) enum Told {
    /// Entries that were written; `None`: deleted. Each with its revision.
    Events(Vec<Event>),
    /// The revision from which it should tell is no longer known.
    Compacted,
}

/// A change of one entry.
pub(super) struct Event {
    pub(super) name: String,
    pub(super) entry: Option<Entry>,
    pub(super) revision: u64,
}

/// What became of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Renewed {
    Yes,
    /// It has run out.
    Lost,
}

impl Connection {
    /// Connects to one member. Whether it answers, the first question shows.
    pub(super) async fn open(settings: &EtcdSettings, endpoint: &str) -> Result<Self, String> {
        let timing = settings.timing;
        let mut options = ConnectOptions::new()
            .with_connect_timeout(timing.answer)
            .with_keep_alive(timing.ping, timing.answer)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        if let Some(tls) = settings.tls.as_ref().filter(|_| endpoint.starts_with("https://")) {
            options = options.with_tls(tls_options(tls)?);
        }
        let client = within(timing.answer, Client::connect([endpoint], Some(options))).await?;
        Ok(Self { client, prefix: format!("/quic-router/{}/", settings.cluster), answer: timing.answer })
    }

    /// Reads everything.
    pub(super) async fn read(&mut self) -> Result<Range, String> {
        let options = GetOptions::new().with_prefix();
        let found = within(self.answer, self.client.get(self.prefix.as_str(), Some(options))).await?;
        let revision = found.header().map_or(0, |header| unsigned(header.revision()));
        let entries = found.kvs().iter().filter_map(|kv| {
            let entry = Entry { value: kv.value().to_vec(), modified: unsigned(kv.mod_revision()) };
            Some((self.name(kv.key())?, entry))
        });
        Ok(Range { entries: entries.collect(), revision })
    }

    /// Watches everything from a revision on.
    pub(super) async fn watch(&mut self, from: u64) -> Result<WatchStream, String> {
        let options = WatchOptions::new().with_prefix().with_start_revision(signed(from));
        within(self.answer, self.client.watch(self.prefix.as_str(), Some(options))).await
    }

    /// What a message of a watch says.
    pub(super) fn told(&self, message: &WatchResponse) -> Result<Told, String> {
        if message.compact_revision() > 0 {
            return Ok(Told::Compacted);
        }
        if message.canceled() {
            return Err(format!("the watch was cancelled: {}", message.cancel_reason()));
        }
        let events = message.events().iter().filter_map(|event| {
            let kv = event.kv()?;
            let revision = unsigned(kv.mod_revision());
            let put = event.event_type() == EventType::Put;
            let entry = put.then(|| Entry { value: kv.value().to_vec(), modified: revision });
            Some(Event { name: self.name(kv.key())?, entry, revision })
        });
        Ok(Told::Events(events.collect()))
    }

    /// Does a transaction; `false` if what it supposes does not hold.
    pub(super) async fn execute(&mut self, transaction: &Transaction, lease: i64) -> Result<bool, String> {
        let compares: Vec<_> = transaction.compares.iter().map(|compare| self.compare(compare)).collect();
        let operations: Vec<_> =
            transaction.operations.iter().map(|operation| self.operation(operation, lease)).collect();
        let txn = Txn::new().when(compares).and_then(operations);
        Ok(within(self.answer, self.client.txn(txn)).await?.succeeded())
    }

    /// Takes a lease.
    pub(super) async fn grant(&mut self, time_to_live: Duration) -> Result<i64, String> {
        let seconds = i64::try_from(time_to_live.as_secs().max(1)).unwrap_or(i64::MAX);
        Ok(within(self.answer, self.client.lease_grant(seconds, None)).await?.id())
    }

    /// Renews a lease.
    pub(super) async fn renew(&mut self, lease: i64) -> Result<Renewed, String> {
        match timeout(self.answer, self.client.lease_keep_alive(lease)).await {
            Ok(Ok(_)) => Ok(Renewed::Yes),
            Ok(Err(Error::LeaseKeepAliveError(_))) => Ok(Renewed::Lost),
            Ok(Err(error)) => Err(said(&error)),
            Err(_) => Err(silence(self.answer)),
        }
    }

    /// Gives a lease back, with all that goes with it. One that has run out is as well.
    pub(super) async fn revoke(&mut self, lease: i64) -> Result<(), String> {
        match timeout(self.answer, self.client.lease_revoke(lease)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(Error::GRpcStatus(status))) if i32::from(status.code()) == NOT_FOUND => Ok(()),
            Ok(Err(error)) => Err(said(&error)),
            Err(_) => Err(silence(self.answer)),
        }
    }

    fn compare(&self, compare: &Compare) -> EtcdCompare {
        match compare {
            Compare::ModifiedAt { name, revision } => {
                EtcdCompare::mod_revision(self.key(name), CompareOp::Equal, signed(*revision))
            }
            // Of a range, the comparison has to hold for every key.
            Compare::NoneAfter { prefix, revision } => {
                EtcdCompare::mod_revision(self.key(prefix), CompareOp::Less, signed(revision.saturating_add(1)))
                    .with_prefix()
            }
        }
    }

    fn operation(&self, operation: &Operation, lease: i64) -> TxnOp {
        match operation {
            Operation::Put { name, value } => TxnOp::put(self.key(name), value.clone(), None),
            Operation::PutLeased { name, value } => {
                TxnOp::put(self.key(name), value.clone(), Some(PutOptions::new().with_lease(lease)))
            }
            Operation::Delete { name } => TxnOp::delete(self.key(name), None),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// An entry's name; a key that is no text is none of ours.
    fn name(&self, key: &[u8]) -> Option<String> {
        str::from_utf8(key).ok()?.strip_prefix(self.prefix.as_str()).map(str::to_owned)
    }
}

/// The answer, if it comes in time.
async fn within<T>(limit: Duration, question: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    match timeout(limit, question).await {
        Ok(answer) => answer.map_err(|error| said(&error)),
        Err(_) => Err(silence(limit)),
    }
}

fn silence(limit: Duration) -> String {
    format!("no answer within {} ms", limit.as_millis())
}

/// An error in one line, with what is behind it: the client's own words stop at "transport error".
pub(super) fn said(error: &Error) -> String {
    let mut text = match error {
        Error::GRpcStatus(status) => status.message().to_owned(),
        error => error.to_string(),
    };
    let mut cause: Option<&dyn std::error::Error> = match error {
        Error::GRpcStatus(status) => std::error::Error::source(status),
        Error::TransportError(error) => std::error::Error::source(error),
        _ => None,
    };
    while let Some(deeper) = cause {
        let words = deeper.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = deeper.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn tls_options(tls: &EtcdTls) -> Result<TlsOptions, String> {
    let mut options = TlsOptions::new().ca_certificate(Certificate::from_pem(pem(&tls.ca)?));
    if let Some(identity) = &tls.identity {
        options = options.identity(Identity::from_pem(pem(&identity.cert)?, pem(&identity.key)?));
    }
    Ok(options)
}

fn pem(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Revisions are positive; etcd's are signed.
fn unsigned(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or_default()
}

fn signed(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// gRPC's status code.
const NOT_FOUND: i32 = 5;
