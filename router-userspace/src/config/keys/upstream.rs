//! `[upstream.NAME]`

use std::path::PathBuf;

use super::{
    health::{RawEjection, RawHealth},
    kinds::{Nothing, Number, Optional, Other, Part, Switch, TIME, Time, Word, prose, seconds},
    server::RawServer,
    table::table,
};
use crate::config::{
    Balance,
    raw::{At, RawSwitched},
};

const BALANCES: [(&str, Balance); 4] = [
    ("round-robin", Balance::RoundRobin),
    ("least-requests", Balance::LeastRequests),
    ("random-two-choices", Balance::RandomTwoChoices),
    ("source-hash", Balance::SourceHash),
];

table! {
    "upstream.NAME", "a table, [upstream.NAME]"; UPSTREAM: UpstreamKeys, RawUpstream;
    lists(given);

    /// Required. [Servers](#upstreamnameservers), all for HTTP or all for streams, none twice; or one built-in
    /// answer, alone: `"files:DIR"` (the files below a folder) or `"respond:STATUS"` (an empty response, 200 to 599).
    /// A built-in answer has none of the keys below.
    servers: Other<Vec<At<RawServer>>> { takes: prose("URLs, tables") } = "-", Reload;

    /// How the next server is chosen, always by weight: `"round-robin"` (in turn), `"least-requests"` (the one with
    /// the fewest requests in flight: evener when requests take unlike times), `"random-two-choices"` (of two at
    /// random the one with fewer: nearly as even, and cheaper with many servers), `"source-hash"` (the same one for
    /// the same client address, as long as it is healthy).
    balance: Word<Balance> { words: &BALANCES } = Balance::RoundRobin, Reload;

    /// [Health checks](#upstreamnamehealth). None: every server counts as healthy until it is ejected.
    health: Other<RawHealth> { takes: prose("a table") } = "-", Reload;

    /// [Leave a server alone](#upstreamnameejection) that fails requests; `false`: never.
    ejection: Other<RawSwitched<RawEjection>> { takes: prose("a table, `false`") }
        = "{ failures = 5, time = \"10s\" }", Reload;

    /// Over how long a server's share grows after it came back, from a tenth to all: spares one that has to warm up.
    /// None: it has all of it at once.
    slow_start: Optional<Time> { of: Time { range: TIME } } = Nothing, Reload;

    /// Requests in flight, or streams, on one server, of the whole node. Beyond it they wait.
    max_connections: Number<u32> { range: 1..=1_000_000, unit: "" } = 1_024, Reload;

    /// What part of all places (`max_connections` of each usable server) one client may take while the others are
    /// free. What a client may have follows what is free: at 0.75, three times as many as are free. Alone it gets
    /// three quarters of all; of two that want all each gets three sevenths; and who comes next still finds a place.
    /// Of three places or fewer a client alone gets all. A client at its share waits, and is passed over by those
    /// below theirs; the queue is shared likewise. A client is a prefix of addresses, as for
    /// `limits.max_connections_per_ip`. `1`: no share, for where all clients come by one address, from a proxy in
    /// front.
    client_share: Part {} = 0.75, Reload;

    /// How many may wait for a place on one of the servers; more are answered with 503. Each that waits costs its
    /// connection's memory and its client's patience.
    queue: Number<u32> { range: 0..=1_000_000, unit: "" } = 1_024, Reload;

    /// How long they may wait; then 503.
    queue_timeout: Time { range: TIME } = seconds(5), Reload;

    /// How long a server may take to accept a connection, its name's resolution and TLS included; then the next
    /// server is tried, and when there is none, 504. An HTTP/2 connection on which a server's host acknowledges
    /// nothing for so long is closed: the host is gone, and idempotent requests go elsewhere.
    connect_timeout: Time { range: TIME } = seconds(5), Reload;

    /// How long a server may take to begin its response, from the last octet of the request that moved; then 504.
    /// Streams have none.
    response_timeout: Time { range: TIME } = seconds(60), Reload;

    /// How long a response's body may pause; then it is broken off. Raw streams may pause as long as they like.
    idle_timeout: Time { range: TIME } = seconds(60), Reload;

    /// For `https://` servers: [whom to trust](#upstreamnametls), and who we are. Without any such server, an error.
    tls: Other<RawUpstreamTls> { takes: prose("a table") } = "-", Reload;

    /// What servers are told in `Host`: `"client"` (what the client said), `"server"` (host and port of the server's
    /// URL), or always this, `"example.com"` or `"example.com:8080"`. Not for `tcp://` servers.
    host: Other<String> { takes: prose("`\"client\"`, `\"server\"`, a host") } = "\"client\"", Reload;

    /// Begin each stream with a header that tells the server the client's address (PROXY protocol, version 2).
    /// Streams only.
    proxy_protocol: Switch {} = false, Reload;
}

table! {
    "upstream.NAME.tls", "a table { ca = \"FILE\", name = \"NAME\" }"; UPSTREAM_TLS: UpstreamTlsKeys, RawUpstreamTls;

    /// PEM file of the authorities to trust. None: those the system trusts. A self-signed certificate in it is also
    /// taken as a server's own, while it is valid and if it has the server's name.
    ca: Other<PathBuf> { takes: prose("a path") } = "-", Reload;

    /// The name, or IP address, to ask for (SNI) and to find in the certificate. None: the host of the URL.
    name: Other<String> { takes: prose("a host") } = "-", Reload;

    /// PEM file of the chain to show to servers that ask for one; with `key`.
    cert: Other<PathBuf> { takes: prose("a path") } = "-", Reload;

    /// PEM file of its private key.
    key: Other<PathBuf> { takes: prose("a path") } = "-", Reload;
}
