//! TLS: which client may resume where, and which certificate a client gets.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};
use rustls_pki_types::CertificateDer;

use super::lab::{config, trusting};
use crate::{
    config::{Certificates, Config},
    edge::tls::{Resumption, tickets::Tickets, tls},
};

#[test]
fn a_session_resumes_wherever_the_secret_is_the_same() {
    let config = config("");
    let server = |secret| tls_of(&config, secret);
    for (second, expected) in [([1; 32], HandshakeKind::Resumed), ([2; 32], HandshakeKind::Full)] {
        let client = client(b"h3");
        assert_eq!(handshake(&client, &server([1; 32]), "localhost").0, HandshakeKind::Full);
        assert_eq!(handshake(&client, &server(second), "localhost").0, expected);
    }
}

#[test]
fn a_listener_speaks_what_its_routes_speak() {
    let upstreams =
        "[upstream.h]\nservers = [\"http://127.0.0.1:1\"]\n[upstream.t]\nservers = [\"tcp://127.0.0.1:1\"]\n";
    let http = "[[route]]\nupstream = \"h\"\n";
    let raw = "[[route]]\nalpn = \"echo\"\nupstream = \"t\"\n";
    for (rest, expected) in [
        (String::new(), vec!["h3"]),
        (format!("{raw}{http}{http}{upstreams}"), vec!["echo", "h3"]),
        (
            format!("{raw}{raw}{upstreams}").replace("[upstream.h]\nservers = [\"http://127.0.0.1:1\"]\n", ""),
            vec!["echo"],
        ),
    ] {
        let tls = tls_of(&config(&rest), [1; 32]);
        assert_eq!(tls.alpn_protocols, expected.iter().map(|name| name.as_bytes()).collect::<Vec<_>>(), "{rest}");
        assert_eq!(tls.max_early_data_size, 0);
    }
}

#[test]
fn a_client_gets_the_certificate_of_the_name_it_asked_for() {
    let folder = Folder::new();
    let names = [&["first.test"][..], &["exact.site.test", "other.test"], &["*.site.test"]];
    let certificates: Vec<_> = names.iter().map(|names| folder.certificate(names)).collect();
    let mut config = config("");
    config.listeners[0].certificates = Certificates::Files(
        (0..names.len())
            .map(|number| crate::config::CertificateFiles {
                cert: folder.0.join(format!("{}.pem", names[number][0])),
                key: folder.0.join(format!("{}.key", names[number][0])),
            })
            .collect(),
    );
    let server = tls_of(&config, [1; 32]);
    for (asked, expected) in [
        ("first.test", 0),
        ("exact.site.test", 1),
        ("EXACT.Site.Test", 1),
        ("other.test", 1),
        ("any.site.test", 2),
        ("site.test", 0),
        ("two.labels.site.test", 0),
        ("unknown.test", 0),
        ("127.0.0.1", 0),
    ] {
        let (_, got) = handshake(&client(b"h3"), &server, asked);
        assert!(got == certificates[expected], "{asked} must get {:?}", names[expected]);
    }
}

fn tls_of(config: &Config, secret: [u8; 32]) -> Arc<ServerConfig> {
    let resumption = Resumption::new(Arc::new(Tickets::new(&secret)));
    tls(&config.listeners[0], &config.routes, &resumption).unwrap().quic
}

fn client(alpn: &[u8]) -> Arc<ClientConfig> {
    let mut client = trusting();
    client.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(client)
}

/// A handshake in memory, up to and including the session tickets.
fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> (HandshakeKind, CertificateDer<'static>) {
    let mut client = ClientConnection::new(client.clone(), name.to_owned().try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    let certificate = client.peer_certificates().unwrap()[0].clone().into_owned();
    (client.handshake_kind().unwrap(), certificate)
}

/// Removed with all that is in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("quic-router-edge-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn certificate(&self, names: &[&str]) -> CertificateDer<'static> {
        let made =
            rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        let write = |extension: &str, text: String| {
            fs::write(Path::new(&self.0).join(format!("{}.{extension}", names[0])), text).unwrap();
        };
        write("pem", made.cert.pem());
        write("key", made.signing_key.serialize_pem());
        made.cert.der().clone()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test's end is no place to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}
