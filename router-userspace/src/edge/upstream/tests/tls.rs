//! Servers that speak TLS: which are trusted, what they are told of us, what is agreed on.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs, server::WebPkiClientVerifier};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use tokio_rustls::TlsAcceptor;

use super::lab::*;
use crate::{
    config::{Authority, CertificateFiles, Health, HealthProbe, ServerAddress, Servers, UpstreamTls},
    edge::upstream::{ConnectError, Failure, ServerHealth, UpstreamError, Upstreams},
};

/// An authority and what it signed, in a folder of its own that goes with it.
struct Authorities {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    root: rcgen::Certificate,
}

/// A certificate and its key.
struct Signed {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// What a server wants of its clients.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clients {
    /// Nothing.
    Unnamed,
    /// A certificate of the same authority.
    Certified,
}

impl Authorities {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let folder = std::env::temp_dir().join(format!("quic-router-upstream-tls-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        std::fs::write(folder.join("ca.pem"), root.pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key), root }
    }

    fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate for `name` and its key.
    fn sign(&self, name: &str) -> Signed {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        Signed { certificate, key }
    }

    fn client(&self) -> CertificateFiles {
        let Signed { certificate, key } = self.sign("client.test");
        let files = CertificateFiles { cert: self.folder.join("client.pem"), key: self.folder.join("client.key") };
        std::fs::write(&files.cert, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    /// A server as `name` that speaks one of `alpn`.
    async fn server(&self, name: &str, alpn: &[&str]) -> (SocketAddr, Arc<Seen>) {
        self.serve(self.sign(name), alpn, Clients::Unnamed).await
    }

    /// The same with what it shows, and what it wants of clients.
    async fn serve(&self, own: Signed, alpn: &[&str], clients: Clients) -> (SocketAddr, Arc<Seen>) {
        let Signed { certificate, key } = own;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = if clients == Clients::Certified {
            let mut roots = RootCertStore::empty();
            roots.add(self.root.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (acceptor, seen) = (TlsAcceptor::from(Arc::new(config)), Arc::<Seen>::default());
        let (listener, address) = listener().await;
        let counted = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, counted) = (acceptor.clone(), counted.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let agreed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let sni = stream.get_ref().1.server_name().unwrap_or("-").to_owned();
                    let speaks = if agreed { Speaks::Http2(100) } else { Speaks::Http1 };
                    let respond = move |request: http::Request<hyper::body::Incoming>| {
                        let text = format!("{:?} {} {sni}", request.version(), request.uri());
                        async move { answer(text) }
                    };
                    serve(stream, speaks, counted, respond).await;
                });
            }
        });
        (address, seen)
    }

    fn settings(&self, address: SocketAddr) -> Servers {
        let tls = UpstreamTls { ca: Some(self.ca()), name: Some("server.test".to_owned()), certificate: None };
        Servers { tls, ..settings(vec![ServerAddress::Https(authority(address))]) }
    }
}

impl Drop for Authorities {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).expect("the test made the folder");
    }
}

#[tokio::test]
async fn http_2_is_spoken_where_the_server_does_and_else_http_1_1() {
    let authorities = Authorities::new();
    for (alpn, expected, connections) in [
        (["h2", "http/1.1"].as_slice(), "HTTP/2.0 https://example.com/a server.test", 1),
        (&["http/1.1"], "HTTP/1.1 /a server.test", 5),
        (&[], "HTTP/1.1 /a server.test", 5),
    ] {
        let (address, seen) = authorities.server("server.test", alpn).await;
        let (_, upstream) = upstream(authorities.settings(address));
        let all = futures_util::future::join_all((0..5).map(|_| upstream.fetch(get("/a")))).await;
        assert_eq!(all, [expected; 5]);
        assert_eq!(seen.counts(), (connections, 5), "{alpn:?}");
    }
}

#[tokio::test]
async fn the_host_is_the_name_unless_another_is_given() {
    let authorities = Authorities::new();
    let (address, _) = authorities.server("localhost", &["http/1.1"]).await;
    let mut settings = authorities.settings(address);
    settings.tls.name = None;
    settings.all[0].address = ServerAddress::Https(Authority { host: "localhost".to_owned(), port: address.port() });
    let (_, upstream) = upstream(settings);
    let known = super::super::server::Addresses::fixed(address);
    upstream.set().servers()[0].state().addresses().set(known);
    assert_eq!(upstream.fetch(get("/")).await, "HTTP/1.1 / localhost");
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_name_is_not_taken() {
    let (ours, theirs) = (Authorities::new(), Authorities::new());
    let (strange, _) = theirs.server("server.test", &["h2"]).await;
    let (misnamed, _) = ours.server("other.test", &["h2"]).await;
    for address in [strange, misnamed] {
        let (_, upstream) = upstream(ours.settings(address));
        let failed = upstream.fail(get("/")).await;
        assert!(matches!(failed.failure, Failure::Connect(ConnectError::Tls { .. })), "{}", failed.failure);
        assert_eq!(failed.failure.answer().unwrap().0, 502);
    }
}

/// rustls/webpki#205: what `openssl req -x509` makes says `CA:TRUE`.
#[tokio::test]
async fn a_server_that_is_its_own_authority_is_trusted_by_its_name() {
    let authorities = Authorities::new();
    for (name, until, is_taken) in
        [("server.test", 2100, true), ("other.test", 2100, false), ("server.test", 2001, false)]
    {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(authorities.ca(), certificate.pem()).unwrap();
        let (address, _) = authorities.serve(Signed { certificate, key }, &["http/1.1"], Clients::Unnamed).await;
        let (_, upstream) = upstream(authorities.settings(address));
        if is_taken {
            assert_eq!(upstream.fetch(get("/")).await, "HTTP/1.1 / server.test");
        } else {
            let failed = upstream.fail(get("/")).await;
            assert!(matches!(failed.failure, Failure::Connect(ConnectError::Tls { .. })), "{}", failed.failure);
        }
    }
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_told() {
    let authorities = Authorities::new();
    let (address, seen) = authorities.serve(authorities.sign("server.test"), &["http/1.1"], Clients::Certified).await;
    let mut settings = authorities.settings(address);
    let (_, stranger) = upstream(settings.clone());
    stranger.fail(get("/")).await;
    settings.tls.certificate = Some(authorities.client());
    let (_, upstream) = upstream(settings);
    assert_eq!(upstream.fetch(get("/")).await, "HTTP/1.1 / server.test");
    assert_eq!(seen.counts(), (1, 1));
}

#[tokio::test]
async fn health_is_asked_in_tls() {
    let authorities = Authorities::new();
    for alpn in ["h2", "http/1.1"] {
        let (good, seen) = authorities.server("server.test", &[alpn]).await;
        let mut settings = authorities.settings(good);
        // Takes connections, but no TLS.
        let (_listener, bad) = listener().await;
        let bad = ServerAddress::Https(authority(bad));
        settings.all.push(crate::config::Server { address: bad, weight: 1 });
        let probe = HealthProbe::Http { path: "/".to_owned(), host: None, status: 200..=200 };
        let often = Duration::from_millis(20);
        settings.health =
            Some(Health { probe, interval: often, timeout: Duration::from_millis(300), rise: 1, fall: 1 });
        let (upstreams, _) = upstream(settings);
        let watch = tokio::spawn(upstreams.clone().watch());
        until(|| seen.requests.load(Relaxed) >= 2).await;
        until(|| matches!(upstreams.states()[1].health, ServerHealth::Down(_))).await;
        assert!(matches!(upstreams.states()[0].health, ServerHealth::Up(_)));
        watch.abort();
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let authorities = Authorities::new();
    let address = unused_address().await;
    let complaint = |change: &dyn Fn(&mut UpstreamTls)| -> (UpstreamError, String) {
        let mut settings = authorities.settings(address);
        change(&mut settings.tls);
        let error = Upstreams::new(&config(settings), None).err().unwrap();
        let text = error.to_string();
        (error, text)
    };
    let absent = authorities.folder.join("absent.pem");
    let (_, text) = complaint(&|tls| tls.ca = Some(absent.clone()));
    assert!(text.starts_with(&format!("upstream u: {} cannot be read", absent.display())), "{text}");
    let key = authorities.client().key;
    let (_, text) = complaint(&|tls| tls.ca = Some(key.clone()));
    assert_eq!(text, format!("upstream u: {} holds no PEM certificate", key.display()));
    let (error, text) = complaint(&|tls| tls.name = Some("not a name".to_owned()));
    assert!(matches!(error, UpstreamError::Name { .. }), "{text}");
}
