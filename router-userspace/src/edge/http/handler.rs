//! A request becomes a response: the first route that matches says how. The same for every version
//! of HTTP.

use std::{cell::RefCell, sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use httpdate::fmt_http_date;

use super::{
    body::RequestBody,
    headers, names, page, proxy,
    request::Refusal,
    request_context::RequestContext,
    response::{self, ResponseBody, Unanswered},
};
use crate::{
    config::{HeaderRewrite, Redirect},
    edge::{
        Serving,
        access::RequestRecord,
        client::Client,
        http3::early_data::Handshake,
        route::{Action, HttpRoute},
    },
    telemetry::Outcome,
};

const SLOT: HeaderName = HeaderName::from_static("x-quic-router-slot");
/// RFC 8470 section 5.1
const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");

/// Answers `request`, as [`check`](super::request::check) has left and judged it.
///
/// What is awaited here is within the future of the exchange, and moves when it is made. So it is little: a request and
/// what belongs to it are borrowed, and only what waits is a future of its own.
pub(in crate::edge) async fn handle(
    asked: &RequestContext<'_>,
    request: &mut Request<RequestBody>,
    checked: Result<(), Refusal>,
) -> Result<Response<ResponseBody>, Unanswered> {
    let is_head = request.method() == Method::HEAD;
    let received = Arc::clone(request.body().meter());
    let mut entry = Box::new(RequestRecord::begin(&asked.serving.book, request, asked.client, received));
    entry.early_data = asked.early.is_some();
    let allowed = match checked {
        Ok(()) if is_misdirected(asked.serving, request.uri(), asked.client) => Err(MISDIRECTED),
        Ok(()) => {
            // Before routes look at fields, and before they say any themselves.
            names::take_from_head(request.headers_mut());
            early(request, asked.early).await
        }
        Err(refusal) => Err(refusal),
    };
    let route = allowed.and_then(|()| choose(asked, request, &mut entry));
    let mut response = match route.map(|route| route.map(|route| &route.action)) {
        Ok(Some(Action::Servers(upstream))) => proxy::forward(upstream, request, asked, &mut entry).await?,
        Ok(Some(Action::Files(files))) => {
            // What it has of content is read for nothing meanwhile.
            drop(request.body_mut().take());
            let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
            let answered = files.answer(request.method(), target, request.headers(), &asked.serving.memory);
            answered.await.map(ResponseBody::from)
        }
        Ok(Some(Action::Respond(status))) => nothing(*status),
        Ok(Some(Action::Redirect(redirect))) => redirected(redirect, request.uri()),
        Ok(None) => page::answer(asked.site, request).await?,
        Err(refusal) => refuse(refusal, &mut entry),
    };
    if let Some(route) = &entry.route {
        rewrite(response.headers_mut(), &route.response_headers);
    }
    finish(asked.serving, &mut response, entry);
    if is_head {
        response.body_mut().remove_content();
    }
    Ok(response)
}

fn is_misdirected(serving: &Serving, uri: &Uri, client: &Client) -> bool {
    uri.host().is_some_and(|host| serving.shown.is_misdirected(client.listener, client.server_name.as_deref(), host))
}

/// RFC 9110 section 15.5.20.
const MISDIRECTED: Refusal =
    Refusal(StatusCode::MISDIRECTED_REQUEST, "another certificate is for this name: ask on a connection of its own");

/// The answer to a request over HTTP/3 whose head could not be read.
pub(in crate::edge) fn refuse_unread(asked: &RequestContext<'_>, refusal: Refusal) -> Response<ResponseBody> {
    let RequestContext { serving, client, early, .. } = asked;
    let mut entry = Box::new(RequestRecord::unread(&serving.book, client));
    entry.early_data = early.is_some();
    let mut response = refuse(refusal, &mut entry);
    finish(serving, &mut response, entry);
    response
}

/// Gives `response` what every response has, and has `entry` follow it.
fn finish(serving: &Serving, response: &mut Response<ResponseBody>, mut entry: Box<RequestRecord>) {
    let headers = response.headers_mut();
    if let Some(slot) = &serving.slot {
        headers.insert(SLOT, slot.clone());
    }
    // RFC 9110 section 6.6.1
    if !headers.contains_key(header::DATE)
        && let Some(now) = date()
    {
        headers.insert(header::DATE, now);
    }
    entry.respond(response.status());
    response.body_mut().follow(entry);
}

/// The time as HTTP writes it, which it does once a second.
fn date() -> Option<HeaderValue> {
    let now = SystemTime::now();
    let second = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    DATE.with_borrow_mut(|date| match date {
        Some((of, text)) if *of == second => Some(text.clone()),
        _ => {
            let text = HeaderValue::try_from(fmt_http_date(now)).ok()?;
            *date = Some((second, text.clone()));
            Some(text)
        }
    })
}

thread_local! {
    static DATE: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
}

/// The answer to a request that is not served.
fn refuse(Refusal(status, sentence): Refusal, entry: &mut RequestRecord) -> Response<ResponseBody> {
    entry.ends(Outcome::Refused);
    response::sentence(status, sentence)
}

/// The route that answers, which is noted in `entry`; none where there is but the built-in page. The request is then as
/// the route wants it.
fn choose<'r>(
    asked: &RequestContext<'r>,
    request: &mut Request<RequestBody>,
    entry: &mut RequestRecord,
) -> Result<Option<&'r Arc<HttpRoute>>, Refusal> {
    if asked.serving.routes.are_page_only() {
        return Ok(None);
    }
    let Some(route) = asked.serving.routes.http(request, asked.client)? else {
        return Err(Refusal(StatusCode::NOT_FOUND, "no route leads there"));
    };
    entry.route = Some(Arc::clone(route));
    if let Action::Servers(_) = &route.action {
        headers::introduce(request, asked.client);
    }
    rewrite(request.headers_mut(), &route.request_headers);
    Ok(Some(route))
}

/// RFC 8470 section 5.2: what is safe to be replayed is served before the handshake is complete,
/// with a word for the upstream; what is not waits.
async fn early(request: &mut Request<RequestBody>, handshake: Option<&Handshake>) -> Result<(), Refusal> {
    let Some(handshake) = handshake else { return Ok(()) };
    if request.method().is_safe() && !handshake.is_completed() {
        request.headers_mut().insert(EARLY_DATA, HeaderValue::from_static("1"));
        return Ok(());
    }
    match handshake.completed().await {
        true => Ok(()),
        false => Err(Refusal(StatusCode::TOO_EARLY, "the handshake was not completed")),
    }
}

fn nothing(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::nothing());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}

fn redirected(redirect: &Redirect, uri: &Uri) -> Response<ResponseBody> {
    let mut response = nothing(redirect.status);
    match HeaderValue::try_from(filled(&redirect.to, uri)) {
        Ok(to) => drop(response.headers_mut().insert(header::LOCATION, to)),
        // Nothing that a URI can hold is refused in a field.
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    response
}

/// The request's own parts in the places that the configuration has for them.
fn filled(template: &str, uri: &Uri) -> String {
    let mut filled = String::with_capacity(template.len() + uri.path().len());
    let mut rest = template;
    while let Some((before, place)) = rest.split_once('{') {
        let (name, after) = place.split_once('}').unwrap_or((place, ""));
        filled.push_str(before);
        match (name, uri.query()) {
            ("host", _) => filled.push_str(uri.host().unwrap_or_default()),
            // What is of the whole server has no path.
            ("path", _) => filled.push_str(if uri.path() == "*" { "/" } else { uri.path() }),
            ("query", Some(query)) => filled.extend(["?", query]),
            // The check of the configuration knows no other name.
            _ => {}
        }
        rest = after;
    }
    filled + rest
}

fn rewrite(headers: &mut HeaderMap, rewrite: &HeaderRewrite) {
    for name in &rewrite.remove {
        headers.remove(name);
    }
    for (name, value) in &rewrite.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &rewrite.add {
        headers.append(name, value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_carries_what_was_asked() {
        let uri: Uri = "https://a.example:8443/x/y?q=1&r={path}".parse().expect("a URI");
        for (to, expected) in [
            ("https://{host}{path}{query}", "https://a.example/x/y?q=1&r={path}"),
            ("/elsewhere{query}", "/elsewhere?q=1&r={path}"),
            ("https://other.example/", "https://other.example/"),
        ] {
            let redirect = Redirect { to: to.to_owned(), status: StatusCode::PERMANENT_REDIRECT };
            assert_eq!(redirected(&redirect, &uri).headers()[header::LOCATION], expected);
        }
    }
}
