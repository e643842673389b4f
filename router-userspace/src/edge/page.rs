//! The built-in page: what a node without HTTP routes answers, so that a new installation shows
//! at once that it works, and which worker served.

use http::{Request, Response, StatusCode};

use super::{
    Site,
    body::RequestBody,
    reply::{Reply, ReplyError},
};

/// Reads the request to its end, then says who served it.
pub(super) async fn answer(
    site: &Site,
    request: &Request<()>,
    body: &mut RequestBody,
    reply: &mut Reply,
) -> Result<(), ReplyError> {
    let received = body.read_to_end().await?;
    let text = format!(
        "quic-router: no HTTP route is configured, this is the built-in page.\n\
         served by: {}\n\
         request: {} {} with {received} bytes\n",
        site.served_by.description,
        request.method(),
        request.uri().path(),
    );
    let response = Response::builder()
        .status(StatusCode::OK)
        .header("content-type", "text/plain; charset=utf-8")
        .header("cache-control", "no-store")
        .header("content-length", text.len())
        .body(())
        .expect("constant header names and plain values");
    reply.whole(response, text.into()).await
}
