//! A request becomes a response: the first route that matches says how. The same for every version
//! of HTTP.

use std::{cell::RefCell, sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use httpdate::fmt_http_date;

use super::{
    body::RequestBody,
    headers,
    interim::Interim,
    names, page, proxy,
    request::Refusal,
    response::{self, ResponseBody, Unanswered},
};
use crate::{
    config::{HeaderRewrite, Redirect},
    edge::{
        Serving, Site,
        access::RequestRecord,
        client::Client,
        http3::early_data::Handshake,
        memory::Memory,
        route::{Action, HttpRoute},
    },
    telemetry::Outcome,
};

const SLOT: HeaderName = HeaderName::from_static("x-quic-router-slot");
/// RFC 8470 section 5.1
const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");

/// What there is to know of a request beside the request.
pub(in crate::edge) struct RequestContext {
    pub(in crate::edge) client: Client,
    /// Where responses go that come before the response, if the client can be sent any.
    pub(in crate::edge) interim: Option<Interim>,
    /// Of a request that came in 0-RTT: whether the handshake has been completed since.
    pub(in crate::edge) early: Option<Handshake>,
    /// Where what is held for it is counted.
    pub(in crate::edge) memory: Arc<Memory>,
}

/// Answers `request`, as [`check`](super::request::check) has left and judged it.
pub(in crate::edge) async fn handle(
    site: &Site,
    serving: &Serving,
    mut request: Request<RequestBody>,
    checked: Result<(), Refusal>,
    asked: RequestContext,
) -> Result<Response<ResponseBody>, Unanswered> {
    let method = request.method().clone();
    let received = Arc::clone(request.body().meter());
    let mut entry = RequestRecord::begin(&serving.book, &request, (&asked.client, asked.early.is_some()), received);
    let allowed = match checked {
        Ok(()) if is_misdirected(serving, request.uri(), &asked.client) => Err(MISDIRECTED),
        Ok(()) => {
            // Before routes look at fields, and before they say any themselves.
            names::take_from_head(request.headers_mut());
            early(&mut request, asked.early.as_ref()).await
        }
        Err(refusal) => Err(refusal),
    };
    let response = match allowed {
        Ok(()) => choose(site, serving, request, &asked, &mut entry).await?,
        Err(refusal) => refuse(refusal, &mut entry),
    };
    let response = finished(serving, response, entry);
    Ok(if method == Method::HEAD { response.map(ResponseBody::without_content) } else { response })
}

fn is_misdirected(serving: &Serving, uri: &Uri, client: &Client) -> bool {
    uri.host().is_some_and(|host| serving.shown.is_misdirected(client.listener, client.server_name.as_deref(), host))
}

/// RFC 9110 section 15.5.20.
const MISDIRECTED: Refusal =
    Refusal(StatusCode::MISDIRECTED_REQUEST, "another certificate is for this name: ask on a connection of its own");

/// The answer to a request over HTTP/3 whose head could not be read.
pub(in crate::edge) fn refuse_unread(
    serving: &Serving,
    refusal: Refusal,
    asked: &RequestContext,
) -> Response<ResponseBody> {
    let mut entry = RequestRecord::unread(&serving.book, &asked.client, asked.early.is_some());
    let response = refuse(refusal, &mut entry);
    finished(serving, response, entry)
}

/// With what every response has, and `entry` following it.
fn finished(
    serving: &Serving,
    mut response: Response<ResponseBody>,
    mut entry: RequestRecord,
) -> Response<ResponseBody> {
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
    response.map(|body| body.followed_by(entry))
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

async fn choose(
    site: &Site,
    serving: &Serving,
    mut request: Request<RequestBody>,
    asked: &RequestContext,
    entry: &mut RequestRecord,
) -> Result<Response<ResponseBody>, Unanswered> {
    if serving.routes.are_page_only() {
        return page::answer(site, &mut request).await;
    }
    let route = match serving.routes.http(&mut request, &asked.client) {
        Ok(Some(route)) => route,
        Ok(None) => return Ok(refuse(Refusal(StatusCode::NOT_FOUND, "no route leads there"), entry)),
        Err(refusal) => return Ok(refuse(refusal, entry)),
    };
    entry.route = Some(Arc::clone(route));
    if let Action::Servers(_) = &route.action {
        headers::introduce(&mut request, &asked.client);
    }
    rewrite(request.headers_mut(), &route.request_headers);
    let mut response = act(route, request, asked, entry).await?;
    rewrite(response.headers_mut(), &route.response_headers);
    Ok(response)
}

async fn act(
    route: &Arc<HttpRoute>,
    request: Request<RequestBody>,
    asked: &RequestContext,
    entry: &mut RequestRecord,
) -> Result<Response<ResponseBody>, Unanswered> {
    match &route.action {
        Action::Servers(upstream) => proxy::forward(upstream, request, asked, entry).await,
        Action::Files(files) => {
            let (head, body) = request.into_parts();
            drop(body);
            let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
            Ok(files.answer(&head.method, (target, &head.headers), &asked.memory).await.map(ResponseBody::from))
        }
        Action::Respond(status) => Ok(nothing(*status)),
        Action::Redirect(redirect) => Ok(redirected(redirect, request.uri())),
    }
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
