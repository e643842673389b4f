//! Responses that come before the response: 100 (Continue), 103 (Early Hints) (RFC 9110 section 15.2).

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, Response, StatusCode};

use super::headers;

/// On their way to one request's client. What finds some runs in the task that serves the request, which looks here
/// whenever it has been woken.
#[derive(Default)]
pub(in crate::edge) struct Interim(Mutex<Vec<Response<()>>>);

impl Interim {
    /// One more; beyond [`WAITING_MAX`] that the client has not taken, none.
    pub(in crate::edge) fn send(&self, status: StatusCode, mut fields: HeaderMap) {
        headers::remove_servers_own(&mut fields);
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        let mut waiting = self.waiting();
        if waiting.len() < WAITING_MAX {
            waiting.push(response);
        }
    }

    /// Some have come.
    pub(in crate::edge) fn any(&self) -> bool {
        !self.waiting().is_empty()
    }

    /// Those that have come.
    pub(in crate::edge) fn take(&self) -> Vec<Response<()>> {
        mem::take(&mut *self.waiting())
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Response<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server may send any number of them, and a client may take its time.
const WAITING_MAX: usize = 16;
