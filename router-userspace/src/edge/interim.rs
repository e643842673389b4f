//! Responses that come before the response: 100 (Continue), 103 (Early Hints) (RFC 9110 section 15.2).

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, Request, Response, StatusCode};
use tokio::sync::Notify;

use super::headers;

/// On their way to one request's client. Cloned for whoever finds some.
#[derive(Clone, Default)]
pub(super) struct Interim(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    responses: Mutex<Vec<Response<()>>>,
    some: Notify,
}

impl Interim {
    /// Has what the server sends ahead of its response to `request` come here.
    pub(super) fn listen<B>(&self, request: &mut Request<B>) {
        let interim = self.clone();
        hyper::ext::on_informational(request, move |informational| {
            // RFC 9110 section 7.8: a switch of protocols is between two neighbours.
            if informational.status() != StatusCode::SWITCHING_PROTOCOLS {
                interim.send(informational.status(), informational.headers().clone());
            }
        });
    }

    /// One more; beyond [`WAITING_MAX`] that the client has not taken, none.
    pub(super) fn send(&self, status: StatusCode, mut fields: HeaderMap) {
        headers::remove_servers_own(&mut fields);
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        let mut waiting = self.0.responses.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            waiting.push(response);
            self.0.some.notify_one();
        }
    }

    /// Waits for some.
    pub(super) async fn next(&self) -> Vec<Response<()>> {
        loop {
            let waiting = mem::take(&mut *self.0.responses.lock().unwrap_or_else(PoisonError::into_inner));
            if !waiting.is_empty() {
                return waiting;
            }
            self.0.some.notified().await;
        }
    }
}

/// A server may send any number of them, and a client may take its time.
const WAITING_MAX: usize = 16;
