//! `servers` of an upstream: each once, all of one kind; or a built-in answer, alone.

use http::StatusCode;

use super::checker::{Checker, Kind};
use crate::config::{
    Server, ServerAddress, Upstream,
    check::places,
    error::Place,
    keys::{RawServer, SERVER},
    raw::At,
    values,
};

impl Checker<'_, '_> {
    /// `files:DIR` or `respond:STATUS`; none: there are servers, or what should be some.
    pub(super) fn built_in(&mut self, raw: &[At<RawServer>]) -> Option<Upstream> {
        let is_built_in = |url: &str| url.starts_with("files:") || url.starts_with("respond:") || is_hq(url);
        let (place, text) = raw.iter().filter_map(url).find(|(_, text)| is_built_in(text))?;
        let key = self.key("servers");
        if raw.len() > 1 {
            self.findings.problem(place, &key, format_args!("\"{text}\" is no server among others: it stands alone"));
            self.findings.hint("an upstream of its own, and a route that leads there");
        }
        if let [At { value: RawServer::Weighted(weighted), .. }] = raw
            && let Some(weight) = &weighted.weight
        {
            self.findings.problem(weight.place, &key, format_args!("\"{text}\" is no server, and has no weight"));
            self.findings.hint(format!("servers = [\"{text}\"]"));
        }
        Some(match text.strip_prefix("files:").or_else(|| text.strip_prefix("hq:")) {
            Some(folder) => self.files(place, folder),
            None => self.respond(place, text),
        })
    }

    fn files(&mut self, place: Place, folder: &str) -> Upstream {
        let key = self.key("servers");
        let path = places::base(place, self.findings.name()).join(folder);
        if folder.is_empty() {
            self.findings.problem(place, &key, "\"files:\" names no folder");
            self.findings.hint("servers = [\"files:/srv/www\"]");
        } else if let Err(error) = path.read_dir() {
            self.findings.problem(place, &key, format_args!("folder {} cannot be read: {error}", path.display()));
        }
        Upstream::Files(path)
    }

    fn respond(&mut self, place: Place, text: &str) -> Upstream {
        let status = text.strip_prefix("respond:").and_then(|status| status.parse::<u16>().ok());
        let status = status.filter(|status| (200..=599).contains(status));
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        if status.is_none() {
            self.findings.problem(place, &self.key("servers"), format_args!("\"{text}\": a status is 200 to 599"));
            self.findings.hint("servers = [\"respond:404\"]");
        }
        Upstream::Respond(status.unwrap_or_default())
    }

    pub(super) fn servers(&mut self, raw: &[At<RawServer>]) -> (Vec<Server>, Kind) {
        let key = self.key("servers");
        let mut servers: Vec<Server> = Vec::new();
        let mut kind = Kind::Either;
        for at in raw {
            let weight = self.weight(at);
            let Some((place, text)) = url(at) else {
                self.findings.problem(at.place, &key, "url is missing");
                self.findings.hint("{ url = \"URL\", weight = 2 }");
                continue;
            };
            let address = match values::server(text) {
                Ok(address) => address,
                Err(why) => {
                    self.findings.problem(place, &key, why);
                    continue;
                }
            };
            let its = kind_of(&address);
            if servers.iter().any(|server| server.address == address) {
                self.findings.problem(place, &key, format_args!("\"{text}\" is listed twice"));
            } else if kind != Kind::Either && its != Kind::Either && kind != its {
                let why = format!("\"{text}\" is of another kind than the servers before it");
                self.findings.problem(place, &key, why);
                self.findings.hint("one upstream for servers of HTTP, another for tcp:// servers");
            } else {
                kind = if kind == Kind::Either { its } else { kind };
                servers.push(Server { address, weight });
            }
        }
        (servers, kind)
    }

    fn weight(&mut self, At { value, .. }: &At<RawServer>) -> u16 {
        match value {
            RawServer::Url(_) => *SERVER.weight.default(),
            RawServer::Weighted(weighted) => self.read(&SERVER.weight, &weighted.weight),
        }
    }
}

/// `hq:DIR`: a folder for HTTP/0.9, which only the endpoint of interoperability tests speaks.
pub(super) fn is_hq(url: &str) -> bool {
    cfg!(feature = "interop") && url.starts_with("hq:")
}

/// What stands for the server, and where.
pub(super) fn url(At { place, value }: &At<RawServer>) -> Option<(Place, &str)> {
    match value {
        RawServer::Url(url) => Some((*place, url)),
        RawServer::Weighted(weighted) => weighted.url.as_ref().map(|at| (at.place, at.value.as_str())),
    }
}

fn kind_of(address: &ServerAddress) -> Kind {
    match address {
        ServerAddress::Http(_) | ServerAddress::Https(_) | ServerAddress::H2c(_) => Kind::Http,
        ServerAddress::Tcp(_) => Kind::Streams,
        ServerAddress::Unix(_) => Kind::Either,
    }
}
