//! What a configuration is served with: TLS, transport, ports and origins, made ready before anything
//! of it comes into force.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc};

use http::HeaderValue;

use super::{
    certificates::CertificateFiles,
    error::{ErrorKind, RoomError},
    secrets::Secrets,
    transport_config::{self, Common, TransportError},
};
use crate::{
    config::{Config, EarlyData, Listener, Qlog},
    edge::{
        OriginError, Origins, Speaks,
        tls::{self, Presented, Resumption, TlsError, tickets::Tickets},
    },
    worker::{
        ListenerConfig, Tracing,
        tcp::{self, PortUse},
    },
};

/// Ready to be handed to workers.
#[derive(Clone)]
pub(super) struct Provision {
    /// How connections are begun, for each listener in the order of the configuration.
    pub(super) terms: Vec<ListenerConfig>,
    /// What each listener presents.
    pub(super) certificates: Vec<Vec<Presented>>,
    /// What requests are answered from.
    pub(super) origins: Origins,
    /// The files as they were before they were read: what is written meanwhile has changed since.
    pub(super) files: CertificateFiles,
    resumption: Resumption,
}

impl Provision {
    /// For `config`; what is known of servers that were there `before` is kept.
    ///
    /// # Errors
    /// What cannot be had, by its name in the configuration.
    pub(super) fn new(config: &Config, secrets: &Secrets, before: Option<&Self>) -> Result<Self, ProvisionError> {
        let resumption = match before {
            Some(before) => before.resumption.clone(),
            None => Resumption::new(Arc::new(Tickets::new(&secrets.ticket_secret()))),
        };
        let files = CertificateFiles::of(config);
        let (terms, certificates): (Vec<_>, _) = terms(config, secrets, &resumption)?.into_iter().unzip();
        let open = before.map(Self::ports).unwrap_or_default();
        // To bind is enough: a socket that listened beside those of a generation that serves would be brought its clients.
        for address in ports(&terms).filter(|address| !open.contains(address)) {
            tcp::bind(address, PortUse::Shared).map_err(|source| ProvisionError::NoPort { address, source })?;
        }
        let origins = Origins::new(config, before.map(|before| &before.origins))?;
        Ok(Self { terms, certificates, origins, files, resumption })
    }

    /// The same with other certificates: those that are in the files now.
    pub(super) fn with_certificates_of_now(&self, config: &Config, secrets: &Secrets) -> Result<Self, ProvisionError> {
        let (terms, certificates) = terms(config, secrets, &self.resumption)?.into_iter().unzip();
        Ok(Self { terms, certificates, ..self.clone() })
    }

    /// The same with all TCP ports closed: what a generation has that is not in charge yet.
    pub(super) fn without_ports(&self) -> Self {
        let terms = self.terms.iter().map(|terms| ListenerConfig { tcp: BTreeMap::new(), ..terms.clone() });
        Self { terms: terms.collect(), ..self.clone() }
    }

    fn ports(&self) -> Vec<SocketAddr> {
        ports(&self.terms).collect()
    }
}

fn ports(terms: &[ListenerConfig]) -> impl Iterator<Item = SocketAddr> {
    terms.iter().flat_map(|terms| terms.tcp.keys().copied())
}

fn terms(
    config: &Config,
    secrets: &Secrets,
    resumption: &Resumption,
) -> Result<Vec<(ListenerConfig, Vec<Presented>)>, ProvisionError> {
    let transport = Arc::new(transport_config::transport(config)?);
    let common = Common { config, secrets, transport };
    let resumption = resumption.under(&transport_config::remembered(config));
    let tracing = config.qlog.as_ref().map(|qlog| tracing(qlog, config)).transpose()?;
    let terms = |listener: &Listener| {
        let no_tls = |source| ProvisionError::NoTls { listener: listener.address, source };
        let tls = tls::tls(listener, &config.routes, &resumption).map_err(no_tls)?;
        let quic = transport_config::server(listener, tls.quic, &common)?;
        let early_data = listener.early_data == EarlyData::Safe;
        let tracing = tracing.clone();
        let preferred = listener.preferred_address.map(|address| address.ip());
        let terms = ListenerConfig {
            quic,
            preferred,
            early_data,
            #[cfg(feature = "interop")]
            always_retry: listener.interop.retry,
            tracing,
            tcp: tcp(listener, tls.tcp),
        };
        Ok((terms, tls.certificates))
    };
    config.listeners.iter().map(terms).collect()
}

fn tracing(qlog: &Qlog, config: &Config) -> Result<Arc<Tracing>, ProvisionError> {
    // It can be had: the others' has been made of the same.
    let config = config.clone();
    let transport = move || transport_config::transport(&config).unwrap_or_default();
    let tracing = Tracing::new(qlog.dir.clone(), qlog.sample, transport).map_err(ProvisionError::NoTraces)?;
    Ok(Arc::new(tracing))
}

/// What is spoken on the TCP ports of a listener.
fn tcp(listener: &Listener, tls: Option<Arc<rustls::ServerConfig>>) -> BTreeMap<SocketAddr, Speaks> {
    let port = listener.address.port();
    let https = tls
        .map(|tls| (listener.address, Speaks::Https { tls, alt_svc: alt_svc(listener), listener: listener.address }));
    let redirect = listener.redirect_from.map(|address| (address, Speaks::Redirect { port }));
    https.into_iter().chain(redirect).collect()
}

/// Where HTTP/3 is, for those who came by TCP (RFC 7838 section 3).
fn alt_svc(listener: &Listener) -> Option<HeaderValue> {
    let max_age = listener.alt_svc_max_age?.as_secs();
    HeaderValue::try_from(format!("h3=\":{}\"; ma={max_age}", listener.address.port())).ok()
}

/// Why a configuration cannot be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProvisionError {
    /// The TLS of a listener.
    #[error("listener {listener}: {source}")]
    NoTls {
        /// Its address.
        listener: SocketAddr,
        /// Why.
        source: TlsError,
    },
    /// QUIC.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A TCP port cannot be bound.
    #[error("listener: TCP {address}: {source}")]
    NoPort {
        /// With the port.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Servers, or a folder.
    #[error(transparent)]
    Origins(#[from] OriginError),
    /// Nothing can be written where traces should go. Names the folder.
    #[error(transparent)]
    NoTraces(io::Error),
}

impl RoomError for ProvisionError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoPort { .. } => ErrorKind::Kernel,
            Self::Transport(error) => error.kind(),
            Self::NoTls { .. } | Self::Origins(_) | Self::NoTraces(_) => ErrorKind::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoPort { address, .. } => Some(format!("`ss -tlnp sport = :{}` names the process", address.port())),
            Self::Transport(error) => error.hint(),
            Self::NoTls { .. } | Self::Origins(_) | Self::NoTraces(_) => None,
        }
    }
}
