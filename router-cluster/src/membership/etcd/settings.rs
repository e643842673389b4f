//! How etcd is reached, and how long things take.

use std::{io, path::PathBuf, time::Duration};

/// How to reach etcd.
#[derive(Clone, Debug)]
pub struct EtcdSettings {
    /// The cluster's name: letters, digits, `-`, `_` and `.`, 1 to 64 of them.
    pub cluster: String,
    /// Client URLs of etcd's members, `http://` or `https://`. They are tried in turn, one at a time.
    pub endpoints: Vec<String>,
    /// For `https://`, which is refused without. The host's own certificate authorities are not trusted.
    pub tls: Option<EtcdTls>,
    /// Where what is known is kept from run to run, as sealed as in etcd; none: nowhere.
    pub snapshot: Option<PathBuf>,
    /// Times; the default unless a test is in a hurry.
    pub timing: EtcdTiming,
}

impl EtcdSettings {
    /// Whether one can begin with them.
    pub(super) fn check(&self) -> Result<(), EtcdStartError> {
        let is_of_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
        if !(1..=64).contains(&self.cluster.len()) || !self.cluster.bytes().all(is_of_name) {
            return Err(EtcdStartError::Name(self.cluster.clone()));
        }
        if self.endpoints.is_empty() {
            return Err(EtcdStartError::NoEndpoints);
        }
        let needs_tls = self.endpoints.iter().find(|endpoint| endpoint.starts_with("https://"));
        if let Some(endpoint) = needs_tls.filter(|_| self.tls.is_none()) {
            return Err(EtcdStartError::NoAuthority(endpoint.clone()));
        }
        Ok(())
    }
}

/// Files in PEM, read again at each connection.
#[derive(Clone, Debug)]
pub struct EtcdTls {
    /// The certificate authority of etcd's certificates.
    pub ca: PathBuf,
    /// This node's certificate and its key, where etcd wants to know its clients.
    pub identity: Option<EtcdIdentity>,
}

/// A client certificate.
#[derive(Clone, Debug)]
pub struct EtcdIdentity {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How long things take at most, and how often they are done.
#[derive(Clone, Copy, Debug)]
pub struct EtcdTiming {
    /// Time to live of the node's lease, in whole seconds. It is renewed three times within. Default: 10 seconds.
    pub lease: Duration,
    /// How often everything is read again in case that a watch has fallen silent. Default: 60 seconds.
    pub reread: Duration,
    /// How long one question may take. Default: 3 seconds.
    pub answer: Duration,
    /// The longest pause before the next attempt to connect. Default: 5 seconds.
    pub backoff: Duration,
    /// How often the connection is pinged; an answer may take as long as that of a question. Default: 5 seconds.
    pub ping: Duration,
}

impl Default for EtcdTiming {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            reread: Duration::from_secs(60),
            answer: Duration::from_secs(3),
            backoff: Duration::from_secs(5),
            ping: Duration::from_secs(5),
        }
    }
}

/// Why the engine does not start. That etcd is away is no reason.
#[derive(Debug, thiserror::Error)]
pub enum EtcdStartError {
    /// The cluster cannot be called that.
    #[error("cluster.name: \"{0}\" is not 1 to 64 letters, digits, '-', '_' and '.'")]
    Name(String),
    /// There is nobody to ask.
    #[error("cluster.endpoints: empty, and the engine etcd needs at least one URL")]
    NoEndpoints,
    /// Nothing says by whom etcd's certificates are signed.
    #[error("cluster.endpoints: {0} needs cluster.ca, the certificate authority of etcd's certificates")]
    NoAuthority(String),
    /// The system has no thread for it.
    #[error("cannot start the thread that talks to etcd: {0}")]
    Thread(#[from] io::Error),
}

/// The engine's name in the configuration.
pub(super) const NAME: &str = "etcd";

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut EtcdSettings)) -> String {
        let mut settings = EtcdSettings {
            cluster: "edge-1.eu_2".to_owned(),
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            tls: None,
            snapshot: None,
            timing: EtcdTiming::default(),
        };
        settings.check().unwrap();
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_key() {
        for name in ["", "a/b", "a b", "\u{fc}ber", &"a".repeat(65)] {
            assert!(refused(|settings| settings.cluster = name.to_owned()).starts_with("cluster.name: "), "{name}");
        }
        assert!(refused(|settings| settings.endpoints.clear()).starts_with("cluster.endpoints: empty"));
        let https = refused(|settings| settings.endpoints.push("https://127.0.0.1:2379".to_owned()));
        assert!(https.contains("https://127.0.0.1:2379 needs cluster.ca"), "{https}");
    }
}
