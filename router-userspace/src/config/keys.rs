//! Every key that a configuration file may hold: the list against which unknown keys are found,
//! and which the documentation must agree with.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{Findings, Place},
    suggest::nearest,
};

/// One kind of table.
pub(super) struct Table {
    /// As the file writes its header, without brackets; empty for the file itself.
    pub(super) name: &'static str,
    /// Its keys, each with its default as the file would write it, or `-` where there is none.
    pub(super) keys: &'static [(&'static str, &'static str)],
    /// Tables below it, by key; `*` stands for any name.
    below: &'static [(&'static str, &'static Table)],
}

/// The file.
pub(super) static ROOT: Table = Table {
    name: "",
    keys: &[],
    below: &[
        ("router", &ROUTER),
        ("connection_id", &CONNECTION_ID),
        ("limits", &LIMITS),
        ("transport", &TRANSPORT),
        ("af_xdp", &AF_XDP),
        ("admin", &ADMIN),
        ("access_log", &ACCESS_LOG),
        ("qlog", &QLOG),
        ("listener", &LISTENER),
        ("route", &ROUTE),
        ("upstream", &UPSTREAMS),
    ],
};

static ROUTER: Table = Table {
    name: "router",
    keys: &[
        ("node_id", "1"),
        ("workers", "\"auto\""),
        ("engine", "\"auto\""),
        ("cpu_map", "\"auto\""),
        ("interfaces", "[]"),
        ("bpf_dir", "\"/sys/fs/bpf/quic-router\""),
        ("state_dir", "\"/var/lib/quic-router\""),
        ("control", "\"/run/quic-router/control.sock\""),
        ("drain_timeout", "\"60s\""),
        ("debug_headers", "false"),
        ("path_normalization", "\"normalize\""),
        ("log", "\"info\""),
    ],
    below: &[],
};

static CONNECTION_ID: Table = Table {
    name: "connection_id",
    keys: &[
        ("encoding", "\"quic-lb\""),
        ("length", "17"),
        ("server_id", "-"),
        ("encryption", "\"auto\""),
        ("describe_length", "true"),
        ("lifetime", "\"1h\""),
    ],
    below: &[],
};

static LIMITS: Table = Table {
    name: "limits",
    keys: &[
        ("max_connections", "100_000"),
        ("max_connections_per_ip", "1_000"),
        ("client_prefix4", "32"),
        ("client_prefix6", "64"),
        ("max_handshakes", "4_096"),
        ("idle_timeout", "\"30s\""),
        ("max_header_bytes", "65_536"),
        ("max_headers", "100"),
        ("request_timeout", "\"10s\""),
        ("body_timeout", "\"60s\""),
        ("send_timeout", "\"60s\""),
        ("min_rate", "500"),
        ("memory", "\"auto\""),
    ],
    below: &[],
};

static TRANSPORT: Table = Table {
    name: "transport",
    keys: &[
        ("congestion", "\"cubic\""),
        ("stream_window", "1_250_000"),
        ("connection_window", "8_388_608"),
        ("send_window", "2_097_152"),
        ("max_streams", "128"),
        ("keep_alive", "-"),
        ("initial_mtu", "1_200"),
        ("max_mtu", "1_452"),
        ("gso", "true"),
        ("migration", "true"),
    ],
    below: &[],
};

static AF_XDP: Table = Table {
    name: "af_xdp",
    keys: &[("memory", "\"64 MiB\""), ("busy_poll", "false"), ("send", "\"udp\"")],
    below: &[],
};

static ADMIN: Table = Table { name: "admin", keys: &[("address", "-")], below: &[] };

static ACCESS_LOG: Table = Table { name: "access_log", keys: &[("file", "-"), ("format", "\"json\"")], below: &[] };

static QLOG: Table = Table { name: "qlog", keys: &[("dir", "-"), ("sample", "1.0")], below: &[] };

static LISTENER: Table = Table {
    name: "listener",
    keys: &[
        ("address", "-"),
        ("certificates", "[]"),
        ("tcp", "false"),
        ("redirect_from", "-"),
        ("alt_svc", "\"24h\""),
        ("early_data", "false"),
        ("client_certificates", "-"),
        ("minimum_tls", "\"1.2\""),
        ("groups", "[\"X25519MLKEM768\", \"X25519\", \"P-256\", \"P-384\"]"),
        ("preferred_address", "-"),
    ],
    below: &[("certificates", &CERTIFICATES), ("client_certificates", &CLIENT_CERTIFICATES)],
};

static CLIENT_CERTIFICATES: Table =
    Table { name: "listener.client_certificates", keys: &[("ca", "-"), ("required", "true")], below: &[] };

static CERTIFICATES: Table = Table { name: "listener.certificates", keys: &[("cert", "-"), ("key", "-")], below: &[] };

static ROUTE: Table = Table {
    name: "route",
    keys: &[
        ("name", "-"),
        ("listeners", "[]"),
        ("host", "-"),
        ("path", "\"/\""),
        ("methods", "[]"),
        ("headers", "{}"),
        ("alpn", "-"),
        ("upstream", "-"),
        ("redirect", "-"),
        ("redirect_status", "308"),
        ("request_headers", "{}"),
        ("response_headers", "{}"),
    ],
    below: &[("request_headers", &REWRITE), ("response_headers", &REWRITE)],
};

static REWRITE: Table =
    Table { name: "route.request_headers", keys: &[("set", "{}"), ("add", "{}"), ("remove", "[]")], below: &[] };

static UPSTREAMS: Table = Table { name: "upstream", keys: &[], below: &[("*", &UPSTREAM)] };

static UPSTREAM: Table = Table {
    name: "upstream.NAME",
    keys: &[
        ("servers", "-"),
        ("balance", "\"round-robin\""),
        ("health", "-"),
        ("ejection", "{ failures = 5, time = \"10s\" }"),
        ("slow_start", "-"),
        ("max_connections", "1_024"),
        ("client_share", "0.75"),
        ("queue", "1_024"),
        ("queue_timeout", "\"5s\""),
        ("connect_timeout", "\"5s\""),
        ("response_timeout", "\"60s\""),
        ("idle_timeout", "\"60s\""),
        ("tls", "-"),
        ("host", "\"client\""),
        ("proxy_protocol", "false"),
    ],
    below: &[("servers", &SERVER), ("health", &HEALTH), ("ejection", &EJECTION), ("tls", &UPSTREAM_TLS)],
};

static SERVER: Table = Table { name: "upstream.NAME.servers", keys: &[("url", "-"), ("weight", "1")], below: &[] };

static HEALTH: Table = Table {
    name: "upstream.NAME.health",
    keys: &[
        ("path", "-"),
        ("interval", "\"2s\""),
        ("timeout", "\"1s\""),
        ("rise", "2"),
        ("fall", "3"),
        ("status", "\"200-399\""),
        ("host", "-"),
    ],
    below: &[],
};

static EJECTION: Table = Table {
    name: "upstream.NAME.ejection",
    keys: &[("failures", "5"), ("time", "\"10s\""), ("status", "-")],
    below: &[],
};

static UPSTREAM_TLS: Table =
    Table { name: "upstream.NAME.tls", keys: &[("ca", "-"), ("name", "-"), ("cert", "-"), ("key", "-")], below: &[] };

impl Table {
    /// This table and all below it.
    pub(super) fn all(&'static self) -> Vec<&'static Table> {
        let mut tables = vec![self];
        tables.extend(self.below.iter().flat_map(|(_, table)| table.all()));
        tables
    }

    /// The words that may stand in this table; none if any may.
    fn words(&self) -> Option<Vec<&'static str>> {
        let mut words: Vec<_> = self.keys.iter().map(|(word, _)| *word).collect();
        let tables =
            self.below.iter().map(|(word, _)| *word).filter(|word| !self.keys.iter().any(|(key, _)| key == word));
        words.extend(tables);
        (!words.contains(&"*")).then_some(words)
    }

    fn child(&self, key: &str) -> Option<&'static Table> {
        self.below.iter().find(|(word, _)| *word == key || *word == "*").map(|(_, table)| *table)
    }
}

/// Notes every key in `found` that `table` does not know, and takes it out; `path` is the dotted
/// name of `found`.
pub(super) fn remove_unknown(found: &mut DeTable<'_>, table: &'static Table, path: &str, findings: &mut Findings<'_>) {
    let words = table.words();
    let mut unknown = Vec::new();
    for (key, value) in found.iter_mut() {
        let name = key.get_ref().as_ref();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match &words {
            Some(words) if !words.contains(&name) => {
                findings.problem(Place::Offset(key.span().start), &path, "unknown key");
                findings.hint(meant_by(name, words));
                unknown.push(key.clone());
            }
            _ => {
                if let Some(child) = table.child(name) {
                    remove_unknown_in(value, child, &path, findings);
                }
            }
        }
    }
    for key in &unknown {
        found.remove(key);
    }
}

/// The same for the tables in a value: itself, or each in the array it is.
fn remove_unknown_in(value: &mut Spanned<DeValue<'_>>, table: &'static Table, path: &str, findings: &mut Findings<'_>) {
    match value.get_mut() {
        DeValue::Table(found) => remove_unknown(found, table, path, findings),
        DeValue::Array(values) => {
            for value in values.iter_mut() {
                remove_unknown_in(value, table, path, findings);
            }
        }
        // A value of another type: the reader of types reports it.
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

fn meant_by(unknown: &str, words: &[&'static str]) -> String {
    if let Some(word) = nearest(unknown, words.iter().copied()) {
        return format!("did you mean \"{word}\"?");
    }
    let elsewhere = ROOT.all().into_iter().find(|table| table.keys.iter().any(|(word, _)| *word == unknown));
    match elsewhere {
        Some(table) => format!("\"{unknown}\" belongs into [{}]", table.name),
        None => format!("known here: {}", words.join(", ")),
    }
}

/// The dotted name of the key in whose value the octet at `offset` stands.
pub(super) fn path_at(found: &DeTable<'_>, offset: usize) -> Option<String> {
    found.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        match path_in(value, offset) {
            Some(below) => Some(format!("{name}.{below}")),
            None => stands_in(value, offset).then(|| name.to_string()),
        }
    })
}

/// The same below a value: a `[table]`'s own span is its header alone, so all are searched.
fn path_in(value: &Spanned<DeValue<'_>>, offset: usize) -> Option<String> {
    let value = value.get_ref();
    let within = value.as_table().and_then(|table| path_at(table, offset));
    within.or_else(|| value.as_array()?.iter().find_map(|value| path_in(value, offset)))
}

fn stands_in(value: &Spanned<DeValue<'_>>, offset: usize) -> bool {
    let inside = value.get_ref().as_array().is_some_and(|values| values.iter().any(|value| stands_in(value, offset)));
    inside || value.span().contains(&offset)
}
