//! `[[route]]`

use std::collections::BTreeMap;

use super::{
    kinds::{OneOf, Other, prose},
    table::table,
};
use crate::config::raw::{At, RawSwitched};

/// `headers` of a route: a value, or whether the field is there at all.
pub(in crate::config) type RawHeaders = BTreeMap<String, At<RawSwitched<String>>>;

/// Fields and their values.
pub(in crate::config) type RawFields = BTreeMap<String, At<String>>;

table! {
    "route", "a table, [[route]]"; ROUTE: RouteKeys, RawRoute;
    whole(config.routes, "routes have changed");
    lists(given);

    /// What it is called in metrics and logs: up to 64 letters, digits, `-`, `_` and `.`, each once. None: what it
    /// matches, `example.com/api/` or `alpn echo`, with ` #2` and so on where several match the same.
    name: Other<String> { takes: prose("a name") } = "-", Reload;

    /// Addresses of listeners as they have them: `["10.0.0.1:443"]`. The route is for clients that come to one of
    /// these. None: any. Without it, a route that is meant for a listener with `client_certificates` is reached by
    /// any other listener too.
    listeners: Other<Vec<At<String>>> { takes: prose("addresses and ports") } = "[]", Reload;

    /// Host name, without port; capitals do not matter. `"*.example.com"` is every name below, one label or more. In
    /// a raw route it is the server name of the TLS handshake (SNI), so never an IP address. None: any.
    host: Other<String> { takes: prose("a host, `*.` and a host") } = "-", Reload;

    /// What the request's path begins with, in whole segments and letter by letter: `"/api"` matches `/api`, `/api/`
    /// and `/api/x`, not `/apis`; `"/api/"` does not match `/api`. Paths are compared in their normal form
    /// ([`path_normalization`](#router)), with each run of slashes as one. Blanks and other letters than ASCII as
    /// requests write them, `%20`. Not in a raw route.
    path: Other<String> { takes: prose("a path") } = "\"/\"", Reload;

    /// Any of these: `["GET", "HEAD"]`; case counts. None: any. `CONNECT` is always refused. Not in a raw route.
    methods: Other<Vec<At<String>>> { takes: prose("methods") } = "[]", Reload;

    /// Fields that a request must have, all of them, with that value or any: `{ x-beta = "1", authorization = true
    /// }`. Not in a raw route.
    headers: Other<RawHeaders> { takes: prose("a table") } = "{}", Reload;

    /// Application protocol of a raw route, 1 to 255 octets; never `"h3"`, which is HTTP/3 already.
    alpn: Other<String> { takes: prose("1 to 255 octets") } = "-", Reload;

    /// Name of an upstream of the route's kind. A route has either this or a `redirect`; a raw route has this.
    upstream: Other<String> { takes: prose("a name") } = "-", Reload;

    /// Answer with another place to ask: a URL that begins with `https://`, `http://` or a slash, in which `{host}`,
    /// `{path}` (with its slash) and `{query}` (with its question mark, or nothing) stand for the request's:
    /// `"https://{host}{path}{query}"`. Not in a raw route.
    redirect: Other<String> { takes: prose("a URL") } = "-", Reload;

    /// The status that the other place is told with. Not in a raw route.
    redirect_status: OneOf { of: &[301, 302, 303, 307, 308] } = 308, Reload;

    /// [Changes](#routerequest_headers-routeresponse_headers) of a request's fields on its way to the server. Not in
    /// a raw route.
    request_headers: Other<RawRewrite> { takes: prose("a table") } = "{}", Reload;

    /// The same for a response's on its way to the client. Not in a raw route.
    response_headers: Other<RawRewrite> { takes: prose("a table") } = "{}", Reload;
}

table! {
    "route.request_headers", "a table { set = { name = \"value\" }, add = { .. }, remove = [\"name\"] }";
    REWRITE: RewriteKeys, RawRewrite;

    /// In place of all fields of the name.
    set: Other<RawFields> { takes: prose("a table") } = "{}", Reload;

    /// Beside those there are.
    add: Other<RawFields> { takes: prose("a table") } = "{}", Reload;

    /// Taken out.
    remove: Other<Vec<At<String>>> { takes: prose("names of fields") } = "[]", Reload;
}
