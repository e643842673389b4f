//! The endpoint of quic-interop-runner's tests: the router itself, configured by the runner's
//! environment. Compiled in by the feature `interop` alone.
//!
//! The rule this room keeps: it is never mistaken for a router in production. Without
//! `QUIC_ROUTER_INTEROP=1` it serves nothing, and when it serves it says on standard error what it is.

mod case;
mod contract;

use std::{env, process::ExitCode, sync::Arc};

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use rustls::crypto::{
    CryptoProvider,
    aws_lc_rs::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256},
};

use self::contract::{Contract, Refusal};
use crate::{
    agent::{self, ConfigSource, RunOptions},
    build_identity, cli,
    config::Config,
    telemetry::{Log, say_panics_at_once},
};

/// What a case asks of a listener that no configuration file can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// TLS_CHACHA20_POLY1305_SHA256 and no other cipher suite.
    pub chacha20: bool,
    /// Every client is sent a Retry.
    pub retry: bool,
}

impl Switches {
    /// Leaves the cipher suites that the case wants.
    pub(crate) fn narrow(self, mut provider: CryptoProvider) -> CryptoProvider {
        if self.chacha20 {
            provider.cipher_suites = vec![TLS13_CHACHA20_POLY1305_SHA256];
        }
        provider
    }
}

/// The TLS of QUIC where not every cipher suite is offered: Initial packets are protected by
/// AES-128-GCM all the same (RFC 9001 section 5.2).
pub(crate) fn quic(tls: Arc<rustls::ServerConfig>) -> Result<QuicServerConfig, NoInitialCipherSuite> {
    match TLS13_AES_128_GCM_SHA256.tls13().and_then(|suite| suite.quic_suite()) {
        Some(initial) => QuicServerConfig::with_initial(tls, initial),
        None => QuicServerConfig::try_from(tls),
    }
}

/// Serves the case that the environment names until it is told to stop. With arguments it is the
/// router's command line, such as `version --build`, whose verb `run` is refused.
pub fn main() -> ExitCode {
    if env::args_os().len() > 1 {
        return cli::main();
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {error:#}");
            let unsupported = matches!(error.downcast_ref(), Some(Refusal::Unsupported { .. }));
            ExitCode::from(if unsupported { UNSUPPORTED } else { 1 })
        }
    }
}

fn serve() -> anyhow::Result<()> {
    let contract = Contract::read(&|name| env::var_os(name))?;
    contract.make_folders()?;
    let switches = contract.switches();
    let read = move || {
        let mut config = Config::parse(&contract.config(), "the interop runner's environment")?;
        for listener in &mut config.listeners {
            listener.interop = switches;
        }
        Ok(config)
    };
    say_panics_at_once();
    eprintln!("{NAME} {} ({}): {BANNER}", env!("CARGO_PKG_VERSION"), build_identity::summary());
    let log = Log::start(&read()?.router.log, None);
    // The environment has insisted already.
    let options = RunOptions { kernel_log: None, takeover: false, log };
    agent::run(ConfigSource::new(read, true), options)
}

const NAME: &str = "quic-router-interop";
const BANNER: &str = "an endpoint for interoperability tests, NOT FOR PRODUCTION";
/// The runner's exit code for a case that an endpoint does not support.
const UNSUPPORTED: u8 = 127;

#[cfg(test)]
mod tests {
    use rustls::{CipherSuite, crypto::aws_lc_rs};

    use super::*;

    #[test]
    fn one_cipher_suite_is_left_where_a_case_wants_one() {
        let suites = |chacha20| {
            let narrowed = Switches { chacha20, retry: false }.narrow(aws_lc_rs::default_provider());
            narrowed.cipher_suites.iter().map(|suite| suite.suite()).collect::<Vec<_>>()
        };
        assert_eq!(suites(true), [CipherSuite::TLS13_CHACHA20_POLY1305_SHA256]);
        assert!(suites(false).contains(&CipherSuite::TLS13_AES_128_GCM_SHA256));
    }
}
