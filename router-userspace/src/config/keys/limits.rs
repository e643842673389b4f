//! `[limits]`

use std::ops::RangeInclusive;

use super::{
    kinds::{Auto, Number, SizeOrAuto, TIME, Time, seconds},
    table::table,
};

/// The flow table is allocated for these; beyond ten million it would take gigabytes of kernel memory.
const CONNECTIONS: RangeInclusive<u32> = 1..=10_000_000;

table! {
    "limits", "a table, [limits]"; LIMITS: LimitsKeys, RawLimits;
    whole(config.limits, "limits have changed");

    /// Connections of the node, those over TCP included. New ones beyond it are counted and refused: QUIC's with
    /// CONNECTION_REFUSED, TCP's by closing them. The flow table is sized for it, ten entries a connection, and that
    /// is kernel memory: [maps.md](maps.md) says how much.
    max_connections: Number<u32> { range: CONNECTIONS, unit: "" } = 100_000, Reload;

    /// Connections per client, likewise; no more than `max_connections`, which is the default where it is below
    /// 1,000. A client is a prefix of addresses (`client_prefix4`, `client_prefix6`); many hosts behind one NAT count
    /// as one. Only validated addresses count ([security.md](security.md#who-is-a-client)).
    max_connections_per_ip: Number<u32> { range: CONNECTIONS, unit: "" } = 1_000, Reload;

    /// Leading bits of an IPv4 address that make a client.
    client_prefix4: Number<u8> { range: 1..=32, unit: "bits" } = 32, Reload;

    /// Leading bits of an IPv6 address that make a client. A host commonly has all of a /64 to send from; where sites
    /// are given a /56 or a /48, that counts a site as one.
    client_prefix6: Number<u8> { range: 1..=128, unit: "bits" } = 64, Reload;

    /// Half-open handshakes per worker. From half of it on, clients are sent a Retry first: one more round trip for
    /// them, no state for us until they have proved their address. When it is reached, a client that has done so
    /// takes the place of the oldest one that is still open: of its own prefix if that has a quarter of the places,
    /// else of all.
    max_handshakes: Number<u32> { range: 1..=1_000_000, unit: "" } = 4_096, Reload;

    /// Silence after which a connection ends; a QUIC client may ask for less. While a request is open over HTTP/3 its
    /// client is sent a frame to acknowledge every third of it, and every 10 seconds at least, so that answers may
    /// take longer. Longer keeps idle connections, and what they cost, longer.
    idle_timeout: Time { range: TIME } = seconds(30), Reload;

    /// Octets of a request's header fields, as RFC 9114 section 4.2.2 counts them: names, values and 32 for each
    /// field; the crumbs of a cookie are one field. More is answered with 431, whatever the version of HTTP.
    max_header_bytes: Number<u32> { range: 1_024..=1_048_576, unit: "octets" } = 65_536, Reload;

    /// Header fields of a request, a cookie's crumbs as one. More are answered with 431.
    max_headers: Number<u16> { range: 1..=1_000, unit: "" } = 100, Reload;

    /// How long a client may take to send a request's header fields (over HTTP/3 it is then answered with 408), and
    /// for its handshake, over QUIC and TCP: a handshake that is not complete by then is closed, whatever the client
    /// acknowledges meanwhile. Over HTTP/1.1 it includes the pause before the next request; and a client that ends
    /// its half of the connection behind a request, and may wait for the answer or be gone, is sent something within
    /// this time, or its connection is closed.
    request_timeout: Time { range: TIME } = seconds(10), Reload;

    /// How long a request may wait for its own body, before its response begins; then it is answered with 408. See
    /// [below](#clients-that-keep-their-requests-waiting). nginx's `client_body_timeout` is 60s between two reads;
    /// HAProxy's `timeout client` is commonly 30s to 60s; Envoy's `stream_idle_timeout` is 5m.
    body_timeout: Time { range: TIME } = seconds(60), Reload;

    /// How long a response, or what a server sends on a raw stream, may wait for the client to take it; then the
    /// stream is reset, over HTTP/1.1 the connection closed. nginx's `send_timeout` is 60s between two writes;
    /// HAProxy and Envoy have the same keys for both directions.
    send_timeout: Time { range: TIME } = seconds(60), Reload;

    /// Octets a second that a client has to move on average while it is waited for: what it moves gives back time of
    /// the two timeouts. nginx, HAProxy and Envoy have no such limit, so that an octet now and then holds a request
    /// there for ever; Apache's `RequestReadTimeout` has the same 500 for bodies.
    min_rate: Number<u32> { range: 1..=1_000_000, unit: "octets a second" } = 500, Reload;

    /// What requests may make the node hold. `"auto"`: a quarter of the memory of the host, or of the control group
    /// where that has less, and at least 64 MiB. New requests beyond it are refused: over HTTP/3 with
    /// H3_REQUEST_REJECTED, so that clients may ask elsewhere, over TCP with 503. `status` and the metrics show what
    /// is held. [What counts](#what-counts-as-held).
    memory: SizeOrAuto { range: 16 << 20..=1 << 40 } = Auto, Reload;
}
