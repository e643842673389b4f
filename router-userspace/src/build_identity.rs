//! What kind of build this is, so that one kind cannot be mistaken for another.
//!
//! Five concurrent clients once brought down an HAProxy that everybody took for a
//! production build: it was a sanitizer-built interop image. A debug or sanitizer build of
//! ours therefore says what it is, and does not listen where real clients are.

use std::{fmt, net::SocketAddr};

use serde::Serialize;

use crate::{agent::api::SCHEMA, config::Config};

/// Everything that tells builds apart.
#[derive(Clone, Debug, Serialize)]
pub struct Identity {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The package's version.
    pub version: &'static str,
    /// The commit it was built from, where known.
    pub commit: Option<&'static str>,
    /// Cargo's profile.
    pub profile: &'static str,
    /// Whether debug assertions are compiled in.
    pub debug_assertions: bool,
    /// The sanitizer it was built with.
    pub sanitizer: Option<&'static str>,
    /// The compiler.
    pub rustc: Option<&'static str>,
    /// Whether it is fit for production.
    pub production: bool,
}

/// This build's identity.
pub fn identity() -> Identity {
    Identity {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("QUIC_ROUTER_COMMIT"),
        profile: option_env!("QUIC_ROUTER_PROFILE").unwrap_or("unknown"),
        debug_assertions: cfg!(debug_assertions),
        sanitizer: sanitizer(),
        rustc: option_env!("QUIC_ROUTER_RUSTC"),
        production: is_test_build().is_none(),
    }
}

/// In a few words.
pub fn summary() -> String {
    let identity = identity();
    match is_test_build() {
        Some(why) => format!("test build: {why}"),
        None => format!("{} build", identity.profile),
    }
}

/// Why this build is not one for production.
pub fn is_test_build() -> Option<String> {
    if let Some(sanitizer) = sanitizer() {
        return Some(format!("built with the {sanitizer} sanitizer"));
    }
    cfg!(debug_assertions).then(|| "debug assertions are compiled in".to_owned())
}

/// Refuses addresses on which a test build might be taken for a production one.
///
/// # Errors
/// One sentence that says why, and what to do, unless the build is one for production, the
/// operator `allow`ed it, the addresses are loopback, or the network namespace is private.
pub fn refuse_public_listen(addresses: &[SocketAddr], allow: bool, private_namespace: bool) -> Result<(), String> {
    match is_test_build() {
        Some(why) if !allow => refuse(addresses, &why, private_namespace),
        _ => Ok(()),
    }
}

fn refuse(addresses: &[SocketAddr], why: &str, private_namespace: bool) -> Result<(), String> {
    let harmless = |address: &&SocketAddr| {
        let ip = address.ip().to_canonical();
        ip.is_loopback() || (private_namespace && Config::is_private(ip))
    };
    match addresses.iter().find(|address| !harmless(address)) {
        None => Ok(()),
        Some(address) => Err(format!(
            "listener {address}: this is a test build ({why}): it is slow, runs out under load, and must not be \
             taken for a production one; build with `cargo build --release`, or pass --allow-test-build"
        )),
    }
}

fn sanitizer() -> Option<&'static str> {
    option_env!("QUIC_ROUTER_SANITIZER").filter(|name| !name.is_empty())
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "quic-router {}", self.version)?;
        writeln!(f, "commit            {}", self.commit.unwrap_or("unknown"))?;
        writeln!(f, "profile           {}", self.profile)?;
        writeln!(f, "debug assertions  {}", if self.debug_assertions { "yes" } else { "no" })?;
        writeln!(f, "sanitizer         {}", self.sanitizer.unwrap_or("none"))?;
        writeln!(f, "compiler          {}", self.rustc.unwrap_or("unknown"))?;
        writeln!(f, "features          none")?;
        writeln!(f, "for production    {}", if self.production { "yes" } else { "no" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_build_stays_where_no_real_client_is() {
        let refused = |address: &str, private| refuse(&[address.parse().unwrap()], "reason", private).is_err();
        assert!(!refused("127.0.0.1:443", false));
        assert!(!refused("[::1]:443", false));
        assert!(refused("0.0.0.0:443", false));
        assert!(refused("192.0.2.1:443", false));
        assert!(refused("10.0.0.1:443", false));
        assert!(!refused("10.0.0.1:443", true));
        assert!(refused("0.0.0.0:443", true));
    }

    #[test]
    fn the_error_says_why_and_what_to_do() {
        let error = refuse(&["0.0.0.0:443".parse().unwrap()], "debug assertions are compiled in", false).unwrap_err();
        for part in ["0.0.0.0:443", "debug assertions", "--release", "--allow-test-build"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
