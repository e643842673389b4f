//! Which names certificates are for, and whether a request's is one of the certificate that its client was shown.
//!
//! A client may use a connection for every name that the certificate on it covers (RFC 9114 section 3.3, RFC 9113 section
//! 9.1.1). One that asks for a name of another certificate has it from elsewhere: an address that it shares, or a
//! connection that it should not have taken. It is told to ask on another connection, 421 (RFC 9110 section 15.5.20).
//! What cannot be told apart this way is served: a client that sent no name (SNI), an address in place of a name, a name
//! that no certificate is for, a listener with one certificate.

use std::{collections::HashMap, net::SocketAddr};

use crate::config::{Certificates, Config, certificates};

/// What is known by a certificate's names (RFC 6125 section 6.4.3: a wildcard stands for one label).
#[derive(Debug)]
pub(in crate::edge) struct Named<T> {
    /// By name in lower case, in the order in which they were added.
    exact: HashMap<String, Vec<T>>,
    /// By what follows `*.`
    wildcard: HashMap<String, Vec<T>>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new() }
    }
}

impl<T: Clone> Named<T> {
    /// `names` in lower case.
    pub(in crate::edge) fn add(&mut self, names: &[String], what: &T) {
        for name in names {
            let same_name = match name.strip_prefix("*.") {
                Some(parent) => self.wildcard.entry(parent.to_owned()).or_default(),
                None => self.exact.entry(name.clone()).or_default(),
            };
            same_name.push(what.clone());
        }
    }

    /// All that is for `name`, in lower case.
    fn covering(&self, name: &str) -> Vec<&T> {
        let wildcard = name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
        self.exact.get(name).into_iter().chain(wildcard).flatten().collect()
    }

    /// What is shown for `name`, in lower case: an exact name comes before a wildcard.
    pub(in crate::edge) fn of(&self, name: &str) -> Option<&Vec<T>> {
        self.exact.get(name).or_else(|| self.wildcard.get(name.split_once('.')?.1))
    }
}

/// The names of a certificate, in lower case.
pub(in crate::edge) fn of(leaf: &rustls_pki_types::CertificateDer<'_>) -> Result<Vec<String>, webpki::Error> {
    Ok(webpki::EndEntityCert::try_from(leaf)?.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

/// The certificates of listeners that have several, by their place there.
#[derive(Debug, Default)]
pub(in crate::edge) struct Shown(HashMap<SocketAddr, Named<usize>>);

impl Shown {
    /// Of those of `config` that can be read.
    pub(in crate::edge) fn new(config: &Config) -> Self {
        let mut shown = HashMap::new();
        for listener in &config.listeners {
            let Certificates::Files(files) = &listener.certificates else { continue };
            if files.len() < 2 {
                continue;
            }
            let mut named = Named::default();
            for (place, files) in files.iter().enumerate() {
                let names = certificates::load(files).ok().and_then(|certified| of(certified.cert.first()?).ok());
                named.add(&names.unwrap_or_default(), &place);
            }
            shown.insert(listener.address, named);
        }
        Self(shown)
    }

    /// Whether `host` is a name of other certificates alone than a client of `listener` was shown for `asked`.
    pub(in crate::edge) fn is_misdirected(
        &self,
        listener: Option<SocketAddr>,
        asked: Option<&str>,
        host: &str,
    ) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let (Some(listener), Some(asked)) = (listener, asked) else { return false };
        if asked.eq_ignore_ascii_case(host) {
            return false;
        }
        let Some(named) = self.0.get(&listener) else { return false };
        let theirs = named.covering(&host.to_ascii_lowercase());
        // The first is shown for a name that is none of theirs.
        let shown = named.of(&asked.to_ascii_lowercase()).map_or(&[0][..], Vec::as_slice);
        !theirs.is_empty() && !theirs.iter().any(|one| shown.contains(one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_another_certificate_is_misdirected() {
        let mut named = Named::default();
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        named.add(&names(&["a.test", "www.a.test"]), &0);
        named.add(&names(&["b.test", "*.b.test"]), &1);
        named.add(&names(&["exact.b.test"]), &3);
        // A second key for the same site.
        named.add(&names(&["a.test"]), &2);
        let listener: SocketAddr = "192.0.2.1:443".parse().unwrap();
        let shown = Shown(HashMap::from([(listener, named)]));
        for (asked, host, expected) in [
            (Some("a.test"), "a.test", false),
            (Some("a.test"), "www.a.test", false),
            (Some("A.test"), "A.TEST.", false),
            (Some("a.test"), "b.test", true),
            (Some("a.test"), "x.b.test", true),
            (Some("x.b.test"), "b.test", false),
            (Some("x.b.test"), "a.test", true),
            // Its wildcard covers what another one names.
            (Some("x.b.test"), "exact.b.test", false),
            (Some("exact.b.test"), "x.b.test", true),
            // The first certificate was shown for it.
            (Some("c.test"), "a.test", false),
            (Some("c.test"), "b.test", true),
            // No certificate is for it: no other connection would show a better one.
            (Some("a.test"), "c.test", false),
            (Some("a.test"), "x.y.b.test", false),
            (Some("a.test"), "192.0.2.1", false),
            (Some("a.test"), "[2001:db8::1]", false),
            (None, "b.test", false),
        ] {
            assert_eq!(shown.is_misdirected(Some(listener), asked, host), expected, "{asked:?} {host}");
        }
        assert!(!shown.is_misdirected(Some("192.0.2.2:443".parse().unwrap()), Some("a.test"), "b.test"));
    }
}
