//! Responses that come before the response: 100 (Continue), 103 (Early Hints) (RFC 9110 section 15.2).

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, Response, StatusCode};
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

    /// Those that have come.
    pub(super) fn take(&self) -> Vec<Response<()>> {
        mem::take(&mut *self.0.responses.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for some.
    pub(super) async fn next(&self) -> Vec<Response<()>> {
        loop {
            let waiting = self.take();
            if !waiting.is_empty() {
                return waiting;
            }
            self.0.some.notified().await;
        }
    }
}

/// A server may send any number of them, and a client may take its time.
const WAITING_MAX: usize = 16;
