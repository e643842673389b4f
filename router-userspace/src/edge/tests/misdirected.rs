//! Requests for a name of another certificate than the one that their client was shown.

use std::{fs, path::PathBuf};

use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{lab::Lab, tcp::Tcp};

/// A folder with certificates; gone with it.
struct Folder(PathBuf);

impl Folder {
    /// Of a listener with a certificate for each of `names`.
    fn new(names: &[&str]) -> (Self, String) {
        let path = std::env::temp_dir().join(format!("quic-router-misdirected-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let of = |name: &&str| {
            let made = rcgen::generate_simple_self_signed([(*name).to_owned()]).unwrap();
            let (cert, key) = (path.join(format!("{name}.pem")), path.join(format!("{name}.key")));
            fs::write(&cert, made.cert.pem()).unwrap();
            fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            format!("{{ cert = {cert:?}, key = {key:?} }}")
        };
        let certificates = names.iter().map(of).collect::<Vec<_>>().join(", ");
        let route = "[[route]]\nupstream = \"u\"\n[upstream.u]\nservers = [\"respond:204\"]\n";
        (Self(path), format!("certificates = [{certificates}]\n{route}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test's end is no place to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// RFC 9110 section 15.5.20, RFC 9114 section 3.3. All clients here ask for `localhost` in TLS.
#[tokio::test]
async fn a_request_for_a_name_of_another_certificate_is_sent_elsewhere() {
    let (_folder, config) = Folder::new(&["localhost", "b.test"]);
    let (quic, tcp) = (Lab::new(&config), Tcp::new(&config).await);
    let mut http3 = quic.http3().await;
    let (mut http2, connection) = h2::client::handshake(tcp.connect("h2").await).await.unwrap();
    tokio::spawn(connection);
    for (host, status) in
        [("localhost", 204), ("b.test", 421), ("B.test:8443", 421), ("c.test", 204), ("127.0.0.1", 204)]
    {
        let get = || Request::get(format!("https://{host}/")).body(()).unwrap();
        assert_eq!(http3.fetch(get(), b"").await.0.status(), status, "HTTP/3, {host}");
        assert_eq!(http2.send_request(get(), true).unwrap().0.await.unwrap().status(), status, "HTTP/2, {host}");
        let mut http1 = tcp.connect("http/1.1").await;
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        http1.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = http1.read_to_string(&mut answer).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
}
