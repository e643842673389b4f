//! `hq`: HTTP/0.9 and HTTP/3 by the cases of quic-interop-runner.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, Bytes};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
use s2n_quic::{Client, client::Connect, connection::Handle};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    endpoint::{self, Offer, Tls},
    get,
    options::Url,
    transport,
};

/// Why a case cannot be had of s2n-quic.
const LACKS: [(&str, &str); 3] = [
    ("resumption", "s2n-quic takes no session tickets where its TLS is rustls"),
    ("zerortt", "s2n-quic's client sends no 0-RTT"),
    ("keyupdate", "s2n-quic updates keys only near the limits of the cipher suite"),
];

/// Does what a case asks of a client: `CASE FOLDER URL...`. It exits with 127 for one that s2n-quic does not support.
pub(crate) async fn run(arguments: &[String]) -> Result<ExitCode> {
    let [case, folder, urls @ ..] = arguments else { bail!("s2nq hq CASE FOLDER URL...") };
    if let Some((_, why)) = LACKS.iter().find(|(lacking, _)| lacking == case) {
        println!("{why}");
        return Ok(ExitCode::from(127));
    }
    let urls = urls.iter().map(|url| Url::parse(url)).collect::<Result<Vec<_>>>()?;
    ensure!(!urls.is_empty(), "s2nq hq CASE FOLDER URL...");
    let offer = Offer {
        alpn: if case == "http3" { "h3" } else { "hq-interop" },
        cipher_suite: (case == "chacha20").then_some(TLS13_CHACHA20_POLY1305_SHA256),
        ..Offer::default()
    };
    let fetcher = Fetcher { tls: Tls::new(offer)?, folder: folder.into() };
    timeout(PATIENCE, fetcher.case(case, &urls)).await.context("timed out")??;
    Ok(ExitCode::SUCCESS)
}

/// Downloads files of one server into a folder.
struct Fetcher {
    tls: Tls,
    folder: PathBuf,
}

impl Fetcher {
    async fn case(&self, case: &str, urls: &[Url]) -> Result<()> {
        match case {
            "http3" => self.http3(urls).await,
            "multiconnect" => {
                for url in urls {
                    self.connection(std::slice::from_ref(url)).await?;
                }
                Ok(())
            }
            _ => self.connection(urls).await,
        }
    }

    /// Fetches all files on one connection, each on a stream.
    async fn connection(&self, urls: &[Url]) -> Result<()> {
        let (client, connection) = self.connect(urls[0].server).await?;
        let handle = connection.handle();
        let mut all = JoinSet::new();
        for url in urls {
            all.spawn(get_09(handle.clone(), url.path.clone(), self.file(url)));
        }
        while let Some(fetched) = all.join_next().await {
            fetched??;
        }
        leave(client, &handle, 0).await;
        Ok(())
    }

    async fn http3(&self, urls: &[Url]) -> Result<()> {
        let (client, connection) = self.connect(urls[0].server).await?;
        let handle = connection.handle();
        let (mut connection, sender) = h3::client::new(transport::Connection::new(connection)).await?;
        let driven = tokio::spawn(async move { connection.wait_idle().await });
        let mut all = JoinSet::new();
        for url in urls {
            let (mut sender, request, file) = (sender.clone(), get::request(url)?, self.file(url));
            all.spawn(async move {
                let mut stream = sender.send_request(request).await?;
                stream.finish().await?;
                let response = stream.recv_response().await?;
                ensure!(response.status() == 200, "{}: {}", file.display(), response.status());
                let mut body = Vec::new();
                while let Some(mut data) = stream.recv_data().await? {
                    body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
                }
                write(&file, &body)
            });
        }
        while let Some(fetched) = all.join_next().await {
            fetched??;
        }
        driven.abort();
        leave(client, &handle, h3::error::Code::H3_NO_ERROR.value()).await;
        Ok(())
    }

    async fn connect(&self, server: SocketAddr) -> Result<(Client, s2n_quic::Connection)> {
        let client = self.tls.endpoint(server, endpoint::limits(PATIENCE)?)?;
        let attempt = client.connect(Connect::new(server).with_server_name("server"));
        let connection = attempt.await.context("handshake")?;
        Ok((client, connection))
    }

    fn file(&self, url: &Url) -> PathBuf {
        let name = url.path.rsplit('/').next().unwrap_or_default();
        self.folder.join(name)
    }
}

async fn get_09(mut connection: Handle, path: String, file: PathBuf) -> Result<()> {
    let mut stream = connection.open_bidirectional_stream().await?;
    stream.send(Bytes::from(format!("GET {path}\r\n"))).await?;
    stream.finish()?;
    let mut body = Vec::new();
    while let Some(data) = stream.receive().await? {
        body.extend_from_slice(&data);
    }
    write(&file, &body)
}

fn write(file: &Path, body: &[u8]) -> Result<()> {
    fs::write(file, body).with_context(|| format!("cannot write {}", file.display()))
}

/// Closes a connection; waits until that is sent.
async fn leave(mut client: Client, connection: &Handle, code: u64) {
    connection.close(transport::error(code));
    let _ = timeout(get::LEAVING, client.wait_idle()).await;
}

const PATIENCE: Duration = Duration::from_secs(180);
