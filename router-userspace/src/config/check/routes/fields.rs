//! Header fields of a route: those that requests must have, and changes of them on their way.

use http::{HeaderName, HeaderValue, header};

use crate::config::{
    HeaderMatch, HeaderRewrite,
    error::{Findings, Place},
    keys::{ROUTE, RawFields, RawHeaders, RawRewrite},
    raw::{At, RawSwitched, each},
};

/// Fields of a connection or of a message's framing (RFC 9110 section 7.6.1, RFC 9112 section 6),
/// which are the proxy's own.
const FRAMING: [&str; 8] =
    ["connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// The messages whose fields are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Requests,
    Responses,
}

/// A field's name or value as the configuration has it.
#[derive(Clone, Copy)]
struct Said<'s> {
    place: Place,
    /// The key that it stands under, for errors.
    key: &'s str,
    text: &'s str,
}

pub(super) fn matches(raw: Option<&At<RawHeaders>>, findings: &mut Findings<'_>) -> Vec<HeaderMatch> {
    let key = ROUTE.headers.name();
    let mut matches: Vec<HeaderMatch> = Vec::new();
    for (text, At { place, value }) in raw.into_iter().flat_map(|at| &at.value) {
        let said = Said { place: *place, key, text };
        let Some(name) = name(said, findings) else { continue };
        if name == header::HOST {
            findings.problem(*place, key, "host is not matched here");
            findings.hint("host = \"NAME\" of the route");
        }
        if matches.iter().any(|other| other.name == name) {
            findings.problem(*place, key, format_args!("{text} is there twice: capitals do not matter"));
        }
        let value = match value {
            RawSwitched::Switch(true) => None,
            RawSwitched::Switch(false) => {
                findings.problem(*place, key, format_args!("{text} = false: a field's absence is not matched"));
                findings.hint(format!("a route before this one, with {text} = true"));
                None
            }
            RawSwitched::Value(text) => value_of(Said { text, ..said }, findings),
        };
        matches.push(HeaderMatch { name, value });
    }
    matches
}

pub(super) fn rewrite(raw: Option<&At<RawRewrite>>, of: Of, findings: &mut Findings<'_>) -> HeaderRewrite {
    let Some(At { value: raw, .. }) = raw else { return HeaderRewrite::default() };
    let key = match of {
        Of::Requests => ROUTE.request_headers.name(),
        Of::Responses => ROUTE.response_headers.name(),
    };
    let mut remove: Vec<HeaderName> = Vec::new();
    for At { place, value: text } in each(&raw.remove) {
        let key = format!("{key}.remove");
        let Some(name) = changeable(Said { place: *place, key: &key, text }, of, findings) else { continue };
        if remove.contains(&name) {
            findings.problem(*place, &key, format_args!("{text} is there twice"));
        }
        remove.push(name);
    }
    HeaderRewrite {
        remove,
        set: fields(raw.set.as_ref(), &format!("{key}.set"), of, findings),
        add: fields(raw.add.as_ref(), &format!("{key}.add"), of, findings),
    }
}

fn fields(
    raw: Option<&At<RawFields>>,
    key: &str,
    of: Of,
    findings: &mut Findings<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (text, At { place, value }) in raw.into_iter().flat_map(|at| &at.value) {
        let said = Said { place: *place, key, text };
        let value = value_of(Said { text: value, ..said }, findings);
        let Some(name) = changeable(said, of, findings) else { continue };
        if fields.iter().any(|(other, _)| *other == name) {
            findings.problem(*place, key, format_args!("{text} is there twice: capitals do not matter"));
        }
        fields.extend(value.map(|value| (name, value)));
    }
    fields
}

/// The name of a field that is the configuration's to change.
fn changeable(said: Said<'_>, of: Of, findings: &mut Findings<'_>) -> Option<HeaderName> {
    let name = name(said, findings)?;
    let Said { place, key, text } = said;
    if FRAMING.contains(&name.as_str()) {
        findings.problem(place, key, format_args!("{text} belongs to the connection or to the message's framing"));
        findings.hint("leave it out: what is right there is told anyway");
        return None;
    }
    if name == header::HOST && of == Of::Requests {
        findings.problem(place, key, format_args!("{text} is not changed here"));
        findings.hint("host = \"NAME\" of the upstream");
        return None;
    }
    Some(name)
}

fn name(Said { place, key, text }: Said<'_>, findings: &mut Findings<'_>) -> Option<HeaderName> {
    let name = HeaderName::try_from(text).ok();
    if name.is_none() {
        findings.problem(place, key, format_args!("{text:?} is no field name"));
        if text.starts_with(':') {
            findings.hint("pseudo-headers are no fields: a route has host, path and methods");
        }
    }
    name
}

/// A value as messages carry it (RFC 9110 section 5.5), without blanks around.
fn value_of(Said { place, key, text }: Said<'_>, findings: &mut Findings<'_>) -> Option<HeaderValue> {
    let value = HeaderValue::try_from(text).ok().filter(|_| text.trim_matches([' ', '\t']) == text);
    if value.is_none() {
        findings.problem(place, key, format_args!("{text:?} cannot be a field's value"));
        findings.hint("no line breaks or other control characters, and blanks only between");
    }
    value
}
