//! `[connection_id]`

use router_common::connection_id::{MAX_LENGTH, codec::MIN_NONCE_LENGTH};

use super::{
    kinds::{Number, Other, Switch, TIME_MAX, Time, prose, seconds},
    table::table,
};

/// With the shortest server ID; `check/connection_id.rs` knows how long it is.
const LENGTH_MIN: u8 = (1 + 1 + MIN_NONCE_LENGTH) as u8;

table! {
    "connection_id", "a table, [connection_id]"; CONNECTION_ID: ConnectionIdKeys, RawConnectionId;
    whole(config.connection_id, "connection_id has changed");

    /// The only one: QUIC-LB (draft-ietf-quic-load-balancers-21).
    encoding: Other<String> { takes: prose("`\"quic-lb\"`") } = "\"quic-lb\"", Upgrade;

    /// Octets of a connection ID: the first octet, the server ID and at least 4 of nonce, at most 20 in all. Without a
    /// `server_id` at least 8, with one of S octets at least 5 + S. [Lengths](#lengths) tells what each costs.
    length: Number<u8> { range: LENGTH_MIN..=MAX_LENGTH as u8, unit: "octets" } = 17,
        Restart(config.connection_id.length);

    /// The ID, 1 to 15 octets, by which a load balancer in front knows this node: `"env:NAME"` (what that environment
    /// variable holds, in one of the other forms), `"hex:..."`, `"base64:..."`, or hex or base64 alone. Hex may begin
    /// with `0x`, base64 may lack its padding; without `hex:` or `base64:`, what can be hex is hex. The slot then
    /// travels in the first octet of the nonce. None: node ID (2 octets) and slot (1) make the server ID.
    server_id: Other<String> { takes: prose("1 to 15 octets") } = "-", Upgrade;

    /// `"auto"`: server ID and nonce are encrypted with a random key, kept in `state_dir`; in a [cluster](#cluster) with
    /// one that comes of its secret. `"file:PATH"`: with the key of a [file](#key-files), and not in a cluster.
    /// `"none"`: they are [in clear](#in-clear).
    encryption: Other<String> { takes: prose("`\"auto\"`, `\"none\"`, `\"file:PATH\"`") } = "\"auto\"", Upgrade;

    /// The low five bits of the first octet tell the length of the rest, for a load balancer that does not know it.
    /// `false`: they are random.
    describe_length: Switch {} = true, Upgrade;

    /// After this time a connection's IDs are replaced by fresh ones, so that an old configuration is out of use soon
    /// after a rotation. Shorter: rotations end sooner, connections send more.
    lifetime: Time { range: seconds(1)..=TIME_MAX } = seconds(60 * 60), Upgrade;
}
