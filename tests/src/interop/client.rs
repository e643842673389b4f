//! The clients, and how each is asked for a case.

use std::{ffi::OsString, net::SocketAddr, path::Path, process::Command};

use anyhow::Result;

use super::Case;
use crate::lab::{Namespace, peers};

/// A third-party client.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The QUIC implementation.
    pub name: &'static str,
    /// Its program among the peers.
    program: &'static str,
    speaks: Speaks,
}

/// How a client is told what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    /// `CASE FOLDER URL...`, behind these words.
    Cases(&'static [&'static str]),
    Ngtcp2,
    Curl,
    Openssl,
}

/// All of them.
pub const CLIENTS: [Client; 8] = [
    Client { name: "quic-go", program: "goq", speaks: Speaks::Cases(&["hq"]) },
    Client { name: "x-net", program: "netq", speaks: Speaks::Cases(&[]) },
    Client { name: "aioquic", program: "hqpy", speaks: Speaks::Cases(&["aioquic"]) },
    Client { name: "picoquic", program: "hqpico", speaks: Speaks::Cases(&["picoquic"]) },
    Client { name: "ngtcp2", program: "gtlsclient", speaks: Speaks::Ngtcp2 },
    Client { name: "openssl", program: "openssl", speaks: Speaks::Openssl },
    Client { name: "curl", program: "curl", speaks: Speaks::Curl },
    Client { name: "s2n-quic", program: "s2nq", speaks: Speaks::Cases(&["hq"]) },
];

/// What a client is to fetch, and where to.
pub(super) struct Wanted<'c> {
    pub(super) case: &'c Case,
    pub(super) server: SocketAddr,
    pub(super) names: &'c [String],
    pub(super) downloads: &'c Path,
}

impl Wanted<'_> {
    fn urls(&self) -> impl Iterator<Item = String> {
        self.names.iter().map(|name| format!("https://{}/{name}", self.server))
    }
}

impl Client {
    /// The client of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        CLIENTS.iter().find(|client| client.name == name)
    }

    /// Why it has no part in a case, as far as that is known without asking it.
    pub(super) fn lacks(&self, case: &Case) -> Option<&'static str> {
        match (self.speaks, case.client) {
            (Speaks::Cases(_), _) => None,
            (Speaks::Curl, "keyupdate" | "resumption" | "zerortt" | "ecn" | "multiconnect") => {
                Some("curl cannot be told to")
            }
            (Speaks::Ngtcp2, "multiconnect") => Some("gtlsclient makes one connection"),
            (Speaks::Openssl, "http3") => Some("s_client has no HTTP/3"),
            (Speaks::Openssl, "ecn") => Some("OpenSSL's QUIC has no ECN"),
            (Speaks::Openssl, "multiconnect" | "resumption" | "zerortt" | "keyupdate") => {
                Some("s_client cannot be told to, over QUIC")
            }
            (Speaks::Openssl, _) if case.times > 1 => Some("s_client has one stream"),
            (Speaks::Ngtcp2 | Speaks::Curl | Speaks::Openssl, _) => None,
        }
    }

    /// Commands that do it, one after the other.
    pub(super) fn commands(&self, namespace: &Namespace, wanted: &Wanted<'_>) -> Result<Vec<Command>> {
        let program = peers::find(self.program)?;
        let command = |arguments: Vec<OsString>| {
            let mut command = namespace.command(&program);
            command.args(arguments);
            command
        };
        Ok(match self.speaks {
            Speaks::Cases(words) => {
                let words = words.iter().map(OsString::from);
                let rest = [wanted.case.client.into(), wanted.downloads.into()];
                vec![command(words.chain(rest).chain(wanted.urls().map(OsString::from)).collect())]
            }
            Speaks::Ngtcp2 => ngtcp2(wanted).into_iter().map(command).collect(),
            Speaks::Curl => vec![command(curl(wanted))],
            Speaks::Openssl => wanted.names.iter().map(|name| openssl(namespace, &program, wanted, name)).collect(),
        })
    }
}

/// One run, or two where a session is taken up again: the first file, then the others.
fn ngtcp2(wanted: &Wanted<'_>) -> Vec<Vec<OsString>> {
    let Wanted { case, server, downloads, .. } = wanted;
    let urls: Vec<OsString> = wanted.urls().map(OsString::from).collect();
    let option = |name: &str, value: &Path| -> OsString { format!("--{name}={}", value.display()).into() };
    let arguments = |urls: &[OsString], more: &[OsString]| {
        let fixed = ["--exit-on-all-streams-close", "--timeout=20s", "--quiet", "--no-quic-dump", "--no-http-dump"];
        let mut all: Vec<OsString> = fixed.iter().map(OsString::from).collect();
        all.push(option("download", downloads));
        all.push(format!("--nstreams={}", urls.len()).into());
        all.extend(more.iter().cloned());
        all.extend([server.ip().to_string().into(), server.port().to_string().into()]);
        all.extend(urls.iter().cloned());
        all
    };
    match case.client {
        "resumption" | "zerortt" => {
            let mut kept =
                vec![option("session-file", &downloads.join(SESSION)), option("tp-file", &downloads.join(PARAMETERS))];
            if case.client == "resumption" {
                kept.push("--disable-early-data".into());
            }
            // A ticket comes a little later than the answer.
            let first = [&kept[..], &["--wait-for-ticket".into()]].concat();
            vec![arguments(&urls[..1], &first), arguments(&urls[1..], &kept)]
        }
        "keyupdate" => vec![arguments(&urls, &["--key-update=200ms".into()])],
        "chacha20" => vec![arguments(&urls, &["--ciphers=NORMAL:-CIPHER-ALL:+CHACHA20-POLY1305".into()])],
        _ => vec![arguments(&urls, &[])],
    }
}

fn curl(wanted: &Wanted<'_>) -> Vec<OsString> {
    let fixed = ["--http3-only", "--insecure", "--fail", "--silent", "--show-error", "--max-time", "30", "--parallel"];
    let mut all: Vec<OsString> = fixed.iter().map(OsString::from).collect();
    all.extend(["--parallel-max".into(), "100".into(), "--output-dir".into(), wanted.downloads.into()]);
    for url in wanted.urls() {
        all.extend(["--remote-name".into(), url.into()]);
    }
    all
}

/// `s_client` sends what it reads and never ends a stream, so it is fed until the file is whole.
fn openssl(namespace: &Namespace, program: &Path, wanted: &Wanted<'_>, name: &String) -> Command {
    const SCRIPT: &str = "
        ( printf 'GET /%s\\r\\n' \"$3\"; while [ \"$(stat -c %s \"$4\")\" -lt \"$5\" ]; do sleep 0.05; done ) |
        OPENSSL_CONF=/dev/null timeout 25 \"$1\" s_client -quic -alpn hq-interop -connect \"$2\" -servername server \\
            -quiet -no_ign_eof $6 > \"$4\"
        [ \"$(stat -c %s \"$4\")\" -eq \"$5\" ]";
    let ciphers = if wanted.case.client == "chacha20" { "-ciphersuites TLS_CHACHA20_POLY1305_SHA256" } else { "" };
    let at = wanted.names.iter().position(|known| known == name).unwrap_or(0);
    let size = wanted.case.files[at % wanted.case.files.len()].to_string();
    let file = wanted.downloads.join(name);
    // It is looked at before it is written to.
    let _ = std::fs::File::create(&file);
    let mut command = namespace.command("sh");
    command.args(["-c", SCRIPT, "sh"]).arg(program).arg(wanted.server.to_string()).arg(name).arg(file);
    command.args([&*size, ciphers]);
    command
}

const SESSION: &str = ".session";
const PARAMETERS: &str = ".parameters";
