//! Asks servers now and then whether they are well.
//!
//! A server counts as up until the first answer, and that one decides at once; from then on it
//! takes as many good or bad ones in a row as configured.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{
    connect::{ConnectError, Io, connect},
    failure::with_source,
    queue::Queue,
    server::{Condition, Server},
};
use crate::config::{Health, HealthProbe, ServerAddress};

/// The first question comes within this time, so that not all servers are asked at once.
const FIRST_WITHIN: Duration = Duration::from_millis(250);

/// Answers in a row, and what they make of a server.
#[derive(Debug)]
struct Opinion {
    /// None before the first answer.
    formed: Option<Condition>,
    /// Answers against it, in a row.
    against: u32,
}

impl Opinion {
    /// Takes in what one answer says of the server; what all of them say.
    fn hear(&mut self, answer: Condition, health: &Health) -> Condition {
        let needed = match answer {
            Condition::Up => health.rise,
            Condition::Down => health.fall,
        };
        let formed = *self.formed.get_or_insert(answer);
        self.against = if formed == answer { 0 } else { self.against + 1 };
        if self.against < needed.max(1) {
            return formed;
        }
        *self = Self { formed: Some(answer), against: 0 };
        answer
    }
}

/// Asks a server again and again, for as long as it is polled. Its places go to the requests that wait in `queue` when it comes
/// back.
pub(super) async fn watch(server: &Server, health: &Health, queue: &Arc<Queue>) {
    // What an earlier watch found still stands: to change it takes as many answers as always.
    let mut opinion = Opinion { formed: server.opinion(), against: 0 };
    sleep(FIRST_WITHIN.min(health.interval).mul_f64(rand::random())).await;
    loop {
        let asked = Instant::now();
        let has_come_back = match ask(server, health).await {
            Ok(()) => server.checked(opinion.hear(Condition::Up, health), "health checks are answered"),
            Err(Unwell::Server(why)) => {
                server.note(&why);
                server.checked(opinion.hear(Condition::Down, health), &why)
            }
            // Nothing was asked, so nothing is known.
            Err(Unwell::Ourselves) => false,
        };
        if has_come_back {
            queue.offer(server.load());
        }
        // Up to a tenth more or less: servers asked in step would get out of it.
        sleep_until(asked + health.interval.mul_f64(0.9 + 0.2 * rand::random::<f64>())).await;
    }
}

/// Why a check did not go well.
enum Unwell {
    Server(String),
    /// This host could not open the connection.
    Ourselves,
}

/// Whether a server is well, or why not.
async fn ask(server: &Server, health: &Health) -> Result<(), Unwell> {
    let asked = async {
        let io = connect(server, health.timeout).await.map_err(|error: ConnectError| match error.is_shortage() {
            true => Unwell::Ourselves,
            false => Unwell::Server(error.to_string()),
        })?;
        let HealthProbe::Http { path, host, status } = &health.probe else { return Ok(()) };
        let is_http2 = is_h2c(server) || io.agreed_on_http2();
        let host = host.as_ref().unwrap_or(server.host());
        let request = Request::get(path.as_str()).header(header::HOST, host).header(header::USER_AGENT, "quic-router");
        let request = request.body(Empty::new()).map_err(|error| Unwell::Server(error.to_string()))?;
        let response = match is_http2 {
            true => get_http2(io, request, server).await,
            false => get_http1(io, request).await,
        };
        let answered = response.map_err(|error| Unwell::Server(with_source(&error)))?;
        let answered: StatusCode = answered.status();
        match status.contains(&answered.as_u16()) {
            true => Ok(()),
            false => Err(Unwell::Server(format!("GET {path} is answered with {answered}"))),
        }
    };
    match timeout(health.timeout, asked).await {
        Ok(Err(Unwell::Server(why))) => Err(Unwell::Server(format!("health check: {why}"))),
        Ok(answer) => answer,
        Err(_elapsed) => Err(Unwell::Server(format!("health check: no answer in {:?}", health.timeout))),
    }
}

async fn get_http1(io: Io, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>> {
    let (mut sender, driver) = http1::handshake(TokioIo::new(io)).await?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It ends first if the server closes the connection with its answer.
        _ = driver => answer.await,
    }
}

/// HTTP/2 in clear.
fn is_h2c(server: &Server) -> bool {
    matches!(server.address(), ServerAddress::H2c(_))
}

async fn get_http2(io: Io, mut request: Request<Empty<Bytes>>, server: &Server) -> hyper::Result<Response<Incoming>> {
    let (mut sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
    let host = request.headers_mut().remove(header::HOST);
    let authority = host.and_then(|host| http::uri::Authority::try_from(host.as_bytes()).ok());
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if is_h2c(server) { http::uri::Scheme::HTTP } else { http::uri::Scheme::HTTPS });
    parts.authority = Some(authority.unwrap_or_else(|| server.authority().clone()));
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    let mut answer = std::pin::pin!(sender.send_request(request));
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = driver => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_answers_in_a_row_to_change_an_opinion_but_the_first_decides() {
        let health = Health {
            probe: HealthProbe::Connect,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
        };
        let hear = |answers: &str| -> String {
            let mut opinion = Opinion { formed: None, against: 0 };
            let said = |answer| if answer == '+' { Condition::Up } else { Condition::Down };
            let heard = |answer| if opinion.hear(said(answer), &health) == Condition::Up { 'U' } else { 'd' };
            answers.chars().map(heard).collect()
        };
        assert_eq!(hear("+--+---+-++"), "UUUUUUddddU");
        assert_eq!(hear("-+-++---"), "ddddUUUd");
    }
}
