//! `[[listener]]`

use std::path::PathBuf;

use super::{
    kinds::{Address, Nothing, Other, Switch, TIME, TimeOrOff, Word, prose, seconds},
    table::table,
};
use crate::config::{Config, MinimumTls, raw::At};

/// Every address of the host: what suits most.
pub(in crate::config) const WILDCARDS: [&str; 2] = ["0.0.0.0", "[::]"];

const TLS: [(&str, MinimumTls); 2] = [("1.2", MinimumTls::Tls12), ("1.3", MinimumTls::Tls13)];

table! {
    "listener", "a table, [[listener]]"; LISTENER: ListenerKeys, RawListener;
    whole(by certificates_differ, "certificates have changed");

    /// Required. UDP address and port, `"192.0.2.1:443"` or `"[2001:db8::1]:443"`. `0.0.0.0` is every IPv4 address;
    /// `[::]` is every IPv6 address and no IPv4 one, so list both. Link-local addresses carry their interface's
    /// index: `"[fe80::1%2]:443"`.
    address: Address { port: 443, examples: WILDCARDS } = Nothing, Reload;

    /// Certificates to choose from by the client's SNI; the first when none matches. Without any, a self-signed one
    /// is made at start, on loopback, private and link-local addresses only (never on `0.0.0.0` or `[::]`).
    certificates: Other<Vec<At<RawCertificate>>> { takes: prose("tables") } = "[]", Reload;

    /// Answer HTTP/1.1 and HTTP/2 over TLS on the TCP port of the same number too, by the same routes and
    /// certificates. Browsers find HTTP/3 by it.
    tcp: Switch {} = false, Reload;

    /// TCP address and port, `"0.0.0.0:80"`, on which plain HTTP is answered with a redirect (308) to `https` on this
    /// listener's port. Each listener needs its own. Without `tcp`, browsers cannot follow it, because they try TCP
    /// first: a notice says so.
    redirect_from: Address { port: 80, examples: WILDCARDS } = Nothing, Reload;

    /// How long clients that came by TCP may remember that HTTP/3 is here (the header field `Alt-Svc`); `false`: they
    /// are not told. Without `tcp` it has no effect. Longer spares clients that come back seldom a connection over
    /// TCP; shorter forgets sooner, where HTTP/3 is to be given up.
    alt_svc: TimeOrOff { range: TIME } = seconds(24 * 60 * 60), Reload;

    /// Take requests in 0-RTT: a round trip less for clients that come back. Such requests can be replayed by others,
    /// so only safe methods are served at once, and upstreams are told (`Early-Data: 1`, RFC 8470); others wait for
    /// the handshake. So does a client whose address is not validated by a token: it gets two with each connection,
    /// good for an hour, and most clients bring one when they come back. Sessions then are kept in the memory of the
    /// process, not in tickets: after a restart, clients shake hands in full. So they do once after a reload that
    /// changes a limit that clients remember with a session: `stream_window`, `connection_window` and `max_streams`
    /// of `[transport]`, and `max_header_bytes`. Not together with `client_certificates`.
    early_data: Switch {} = false, Reload;

    /// Ask clients for [certificates](#listenerclient_certificates).
    client_certificates: Other<RawClientCertificates> { takes: prose("a table") } = "-", Reload;

    /// The oldest TLS version over TCP, `"1.2"` or `"1.3"`. QUIC always has 1.3, so without `tcp` it has no effect.
    minimum_tls: Word<MinimumTls> { words: &TLS } = MinimumTls::Tls12, Reload;

    /// Key exchange groups, the most wanted first; at least one, each once. The first of the default is hybrid with
    /// ML-KEM: what is recorded today stays closed to the quantum computers of later, for a kilobyte more in each
    /// direction.
    groups: Other<Vec<At<String>>> { takes: prose("those of the default") }
        = "[\"X25519MLKEM768\", \"X25519\", \"P-256\", \"P-384\"]", Reload;

    /// An address and port of this host that clients are asked to move to after the handshake (RFC 9000 section 9.6),
    /// for a listener whose address many hosts share. Connections keep their IDs when they move, so packets to it
    /// must come to the listener's own sockets: the listener has the wildcard address of the same family, and the
    /// same port, and no other listener has the preferred address.
    preferred_address: Address { port: 443, examples: ["192.0.2.1", "[2001:db8::1]"] } = Nothing, Reload;
}

table! {
    "listener.certificates", "a table { cert = \"FILE\", key = \"FILE\" }";
    CERTIFICATES: CertificateKeys, RawCertificate;

    /// Required. PEM file of the chain, the leaf first.
    cert: Other<PathBuf> { takes: prose("a path") } = "-", Reload;

    /// Required. PEM file of its private key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    key: Other<PathBuf> { takes: prose("a path") } = "-", Reload;
}

table! {
    "listener.client_certificates", "a table { ca = \"FILE\", required = true }";
    CLIENT_CERTIFICATES: ClientCertificatesKeys, RawClientCertificates;

    /// Required. PEM file of the authorities that sign clients' certificates. A self-signed certificate in it is also
    /// taken as a client's own.
    ca: Other<PathBuf> { takes: prose("a path") } = "-", Reload;

    /// `false`: a client without one is let in all the same, and the two fields are absent.
    required: Switch {} = true, Reload;
}

/// A listener that comes or goes is told of by its address, and what else changes of it is not told.
fn certificates_differ(before: &Config, after: &Config) -> bool {
    let of = |config: &Config| {
        config.listeners.iter().map(|one| (one.address, one.certificates.clone())).collect::<Vec<_>>()
    };
    of(before) != of(after)
}
