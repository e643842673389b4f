//! The built-in page: what a node without HTTP routes answers, so that a new installation shows
//! at once that it works, and which worker served.

use http::{HeaderValue, Request, Response, StatusCode, header};

use super::{
    body::RequestBody,
    response::{self, ResponseBody, Unanswered},
};
use crate::edge::Site;

/// Reads the request to its end, then says which worker served it.
pub(in crate::edge) async fn answer(
    site: &Site,
    request: &mut Request<RequestBody>,
) -> Result<Response<ResponseBody>, Unanswered> {
    let received = request.body_mut().read_to_end().await?;
    let text = format!(
        "quic-router: no HTTP route is configured, this is the built-in page.\n\
         served by: {}\n\
         request: {} {} with {received} bytes\n",
        site.served_by.description,
        request.method(),
        request.uri().path(),
    );
    let mut response = response::text(StatusCode::OK, text);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
