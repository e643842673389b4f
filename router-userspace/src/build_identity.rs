//! What this build is, so that it can't be mistaken for another.
//!
//! The rule this file keeps: a build that is slow by design (debug assertions, sanitizers)
//! says so wherever it is asked, and does not serve the public unless somebody insists. A build with
//! the feature `interop` has switches that weaken TLS: its verb `run` serves nothing at all.

use std::net::SocketAddr;

use serde::Serialize;

/// Name of the program.
pub const NAME: &str = "quic-router";

/// How this program was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Build {
    /// Commit of the sources, shortened; none outside a repository.
    pub commit: Option<&'static str>,
    /// `rustc --version`
    pub rustc: Option<&'static str>,
    /// Cargo profile and optimisation level.
    pub profile: Option<&'static str>,
    /// Whether overflows and invariants are checked at run time.
    pub debug_assertions: bool,
    /// The sanitizer that instruments every memory access, if one does.
    pub sanitizer: Option<&'static str>,
    /// Cargo features beyond the default ones.
    pub features: &'static [&'static str],
    /// Why it is not fit for production; none if it is.
    pub test_build: Option<&'static str>,
}

/// The build that is running.
pub fn build() -> Build {
    Build {
        commit: option_env!("QUIC_ROUTER_COMMIT"),
        rustc: option_env!("QUIC_ROUTER_RUSTC"),
        profile: option_env!("QUIC_ROUTER_PROFILE"),
        debug_assertions: cfg!(debug_assertions),
        sanitizer: option_env!("QUIC_ROUTER_SANITIZER"),
        features: FEATURES,
        test_build: is_test_build(),
    }
}

/// The build in one line: profile, what makes it a test build, features.
pub fn summary() -> String {
    let build = build();
    let mut parts = vec![build.profile.unwrap_or("unknown profile").to_owned()];
    if build.debug_assertions {
        parts.push("debug assertions".to_owned());
    }
    if let Some(sanitizer) = build.sanitizer {
        parts.push(format!("{sanitizer} sanitizer"));
    }
    if !build.features.is_empty() {
        parts.push(format!("features {}", build.features.join(" ")));
    }
    parts.join(", ")
}

/// The build in one word, for metrics: `production`, `test` or `interop`.
pub fn kind() -> &'static str {
    match is_test_build() {
        _ if INTEROP => "interop",
        Some(_) => "test",
        None => "production",
    }
}

/// Why this build is for tests only; none if it is fit for production.
pub fn is_test_build() -> Option<&'static str> {
    if INTEROP {
        Some("it is the endpoint of interoperability tests, and writes down TLS secrets when asked")
    } else if option_env!("QUIC_ROUTER_SANITIZER").is_some() {
        Some("a sanitizer checks every memory access")
    } else if option_env!("QUIC_ROUTER_MEASURES").is_some() {
        Some("it counts its own steps, for a profile-guided build")
    } else if cfg!(debug_assertions) {
        Some("debug assertions are on")
    } else {
        None
    }
}

/// Refuses the verb `run` in a build for interoperability tests.
///
/// # Errors
/// In such a build, always.
pub fn refuse_interop_run() -> Result<(), UnfitBuild> {
    if INTEROP { Err(UnfitBuild::Interop) } else { Ok(()) }
}

/// Why a test build may listen beyond loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exemption {
    /// Its operator insists.
    Allowed,
    /// It is in a network namespace of its own: a test's lab.
    PrivateNamespace,
}

/// Refuses to let a test build listen where the public could reach it: beyond loopback, unless it is exempt.
///
/// # Errors
/// The first address that it refuses.
pub fn refuse_public_listen(listeners: &[SocketAddr], exemption: Option<Exemption>) -> Result<(), UnfitBuild> {
    match is_test_build() {
        Some(reason) if exemption.is_none() => refuse_beyond_loopback(listeners, reason),
        _ => Ok(()),
    }
}

fn refuse_beyond_loopback(listeners: &[SocketAddr], reason: &'static str) -> Result<(), UnfitBuild> {
    match listeners.iter().find(|address| !address.ip().to_canonical().is_loopback()) {
        None => Ok(()),
        Some(&listener) => Err(UnfitBuild::Public { listener, reason }),
    }
}

/// What a build is not fit for. One sentence: why, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitBuild {
    /// To be run as a router, being the endpoint of interoperability tests.
    #[error("{INTEROP_RUN}")]
    Interop,
    /// To listen where the public could reach it, being a test build.
    #[error(
        "listener {listener}: this is a test build ({reason}) and the address is not loopback: such builds are slow and \
         give out under load (five concurrent clients once brought down a sanitizer-built HAProxy interop image that \
         was used as if it were production); build with `cargo build --release`, or insist with --allow-test-build"
    )]
    Public {
        /// Its address.
        listener: SocketAddr,
        /// Why the build is for tests only.
        reason: &'static str,
    },
}

/// Whether the feature `interop` is compiled in.
const INTEROP: bool = cfg!(feature = "interop");

/// Features that are compiled in beyond the default ones.
const FEATURES: &[&str] = if INTEROP { &["interop"] } else { &[] };

const INTEROP_RUN: &str = "run: this build is the endpoint of interoperability tests (feature interop) and no router for \
                           production; build with `cargo build --release`, which leaves the feature out";

#[cfg(test)]
mod tests {
    use super::*;

    fn listeners(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn loopback_is_never_refused() {
        let loopback = listeners(&["127.0.0.1:443", "127.9.9.9:1", "[::1]:443", "[::ffff:127.0.0.1]:443"]);
        assert_eq!(refuse_beyond_loopback(&loopback, "because"), Ok(()));
    }

    #[test]
    fn any_other_address_is_refused_by_name_with_the_way_out() {
        for public in ["0.0.0.0:443", "[::]:443", "10.0.0.1:443", "192.0.2.1:443", "[2001:db8::1]:443"] {
            let error = refuse_beyond_loopback(&listeners(&["127.0.0.1:443", public]), "because").unwrap_err();
            let error = error.to_string();
            for word in [public, "because", "cargo build --release", "--allow-test-build"] {
                assert!(error.contains(word), "{word} is not in: {error}");
            }
        }
    }

    #[test]
    fn a_test_build_that_is_allowed_or_has_a_namespace_of_its_own_may() {
        let public = listeners(&["192.0.2.1:443"]);
        assert_eq!(refuse_public_listen(&public, Some(Exemption::Allowed)), Ok(()));
        assert_eq!(refuse_public_listen(&public, Some(Exemption::PrivateNamespace)), Ok(()));
        assert_eq!(refuse_public_listen(&public, None).is_err(), is_test_build().is_some());
    }

    #[test]
    fn an_interop_build_is_told_from_all_others() {
        assert_eq!(kind() == "interop", cfg!(feature = "interop"));
        assert_eq!(build().features.contains(&"interop"), cfg!(feature = "interop"));
        assert_eq!(summary().contains("interop"), cfg!(feature = "interop"));
        assert_eq!(refuse_interop_run().is_err(), cfg!(feature = "interop"));
    }

    #[test]
    fn a_build_with_debug_assertions_says_so() {
        assert_eq!(kind() == "production", build().test_build.is_none());
        assert_eq!(summary().contains("debug assertions"), cfg!(debug_assertions));
        assert_eq!(build().test_build.is_some(), INTEROP || cfg!(debug_assertions) || build().sanitizer.is_some());
    }
}
