//! The built-in upstream `files:DIR`: the regular files below a folder, by the semantics of
//! RFC 9110, for small sites and for tests.
//!
//! A request goes `target` (what its path names) → `folder` (the file of that name) → `coding`
//! (or its compressed sibling) → `conditions` → `ranges` → `body`. All that touches the disk
//! happens in one call off the worker's thread, the content of a short file included; longer files
//! are opened again when the client takes them, and take more.
//!
//! What is not served is "not found", whatever the reason: a response never tells how the folder
//! is laid out. There are no listings, and names that begin with a dot stay hidden except
//! `/.well-known` (RFC 8615).

mod body;
mod coding;
mod conditions;
mod fields;
mod folder;
mod ranges;
mod target;
#[cfg(test)]
mod tests;

use std::{io, ops::Range, path::Path, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use tokio::task::spawn_blocking;
use tracing::warn;

pub(super) use self::body::FileBody;
use self::{
    coding::{Coding, Codings},
    conditions::{Outcome, Preconditions, Validators},
    fields::{ACCEPT_RANGES, Field, NO_SNIFFING, VARY, printed},
    folder::{Folder, Found, RegularFile},
    ranges::{Ranges, Selection},
    target::Target,
};
use super::memory::Memory;

/// The files below a folder. Cloning it is cheap and shares the folder.
#[derive(Clone, Debug)]
pub(super) struct Files(Arc<Folder>);

impl Files {
    /// Opens the folder once and for all: if another takes its name later, this one is still
    /// served. Fails if there is none, or if it may not be entered.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Folder::open(dir)?)))
    }

    /// The response to a request, complete but for `Date`.
    ///
    /// `uri_path` is the path as the client sent it; with its query, a redirection keeps that.
    /// To HEAD, `Content-Length` says how long the body would be, and the body is empty.
    /// Runs inside a tokio runtime, as does the body.
    pub(super) async fn answer(
        &self,
        method: &Method,
        uri_path: &str,
        headers: &HeaderMap,
        memory: &Arc<Memory>,
    ) -> Response<FileBody> {
        match *method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return allow(empty(StatusCode::NO_CONTENT)),
            _ => return allow(text(StatusCode::METHOD_NOT_ALLOWED)),
        }
        let response = match Target::parse(uri_path) {
            Some(target) => self.find(Question::new(method, target, headers), Arc::clone(memory)).await,
            None => text(StatusCode::NOT_FOUND),
        };
        // RFC 9110 section 9.3.2
        if method == Method::HEAD { response.map(|_| FileBody::empty()) } else { response }
    }

    async fn find(&self, question: Question, memory: Arc<Memory>) -> Response<FileBody> {
        let from = From { folder: self.0.clone(), memory };
        let answered = spawn_blocking(move || {
            question.answer(&from).unwrap_or_else(|error| {
                warn!(path = ?question.target.path(), %error, "cannot serve a file");
                text(StatusCode::INTERNAL_SERVER_ERROR)
            })
        });
        answered.await.unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

/// Where files are, and what may be held of them.
struct From {
    folder: Arc<Folder>,
    memory: Arc<Memory>,
}

/// The content that is selected for what is asked for (RFC 9110 section 3.2).
struct Representation {
    file: RegularFile,
    validators: Validators,
    /// None: as it is.
    coding: Option<Coding>,
}

impl Representation {
    fn new(file: RegularFile, coding: Option<Coding>) -> Self {
        Self { validators: file.validators(), file, coding }
    }
}

/// What a GET or HEAD asks for.
struct Question {
    target: Target,
    content: bool,
    codings: Codings,
    preconditions: Preconditions,
    ranges: Option<Ranges>,
}

impl Question {
    fn new(method: &Method, target: Target, headers: &HeaderMap) -> Self {
        let content = method == Method::GET;
        Self {
            target,
            content,
            codings: Codings::accepted(headers),
            preconditions: Preconditions::new(headers),
            // Range has a meaning for GET alone (RFC 9110 section 14.2).
            ranges: if content { Ranges::asked(headers) } else { None },
        }
    }

    fn answer(&self, from: &From) -> io::Result<Response<FileBody>> {
        let folder = &*from.folder;
        match folder.find(self.target.path())? {
            Found::File(file) => {
                let compressed = self.compressed(folder)?;
                self.respond(from, compressed.unwrap_or_else(|| Representation::new(file, None)))
            }
            Found::Folder => self.redirect(folder),
            Found::Nothing => Ok(text(StatusCode::NOT_FOUND)),
        }
    }

    /// The sibling of the file that the client likes best: `NAME.br` or `NAME.gz`.
    fn compressed(&self, folder: &Folder) -> io::Result<Option<Representation>> {
        for coding in self.codings.by_preference() {
            if let Found::File(file) = folder.find(&coding.sibling(self.target.path()))? {
                return Ok(Some(Representation::new(file, Some(coding))));
            }
        }
        Ok(None)
    }

    /// A folder's index has the folder's name and a slash, so that relative links in it work.
    /// A folder without one looks like nothing.
    fn redirect(&self, folder: &Folder) -> io::Result<Response<FileBody>> {
        let Some((index, location)) = self.target.with_slash() else { return Ok(text(StatusCode::NOT_FOUND)) };
        Ok(match folder.find(&index)? {
            Found::File(_) => with(text(StatusCode::PERMANENT_REDIRECT), [(header::LOCATION, location)]),
            Found::Folder | Found::Nothing => text(StatusCode::NOT_FOUND),
        })
    }

    /// Preconditions first, as they see the whole representation; then the range of it
    /// (RFC 9110 section 13.2.2).
    fn respond(&self, from: &From, selected: Representation) -> io::Result<Response<FileBody>> {
        match self.preconditions.evaluate(&selected.validators) {
            Outcome::Met => {}
            Outcome::NotModified => {
                return Ok(with(empty(StatusCode::NOT_MODIFIED), [(header::ETAG, selected.validators.etag), VARY]));
            }
            Outcome::Failed => return Ok(text(StatusCode::PRECONDITION_FAILED)),
        }
        let ranges = self.ranges.as_ref().filter(|_| self.preconditions.range_applies(&selected.validators));
        let length = selected.file.length();
        match ranges.map_or(Selection::Whole, |ranges| ranges.of(length)) {
            Selection::Whole => self.send(from, selected, 0..length),
            Selection::Part(part) => {
                let range = printed(format!("bytes {}-{}/{length}", part.start, part.end - 1));
                let mut response = self.send(from, selected, part)?;
                if response.status() != StatusCode::OK {
                    return Ok(response);
                }
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                Ok(with(response, [(header::CONTENT_RANGE, range)]))
            }
            Selection::Unsatisfiable => {
                let range = printed(format!("bytes */{length}"));
                Ok(with(text(StatusCode::RANGE_NOT_SATISFIABLE), [(header::CONTENT_RANGE, range), ACCEPT_RANGES]))
            }
        }
    }

    /// A part of a representation, or its description alone if that is what is wanted; 503 if there is no memory for it.
    fn send(&self, from: &From, selected: Representation, part: Range<u64>) -> io::Result<Response<FileBody>> {
        let Representation { file, validators, coding } = selected;
        let length = HeaderValue::from(part.end - part.start);
        let body = match self.content {
            true => FileBody::read(&from.folder, file, part, &from.memory)?,
            false => Some(FileBody::empty()),
        };
        let Some(body) = body else { return Ok(text(StatusCode::SERVICE_UNAVAILABLE)) };
        let mut response = with(
            Response::new(body),
            [
                (header::CONTENT_TYPE, self.target.content_type()),
                (header::CONTENT_LENGTH, length),
                (header::ETAG, validators.etag),
                ACCEPT_RANGES,
                VARY,
                NO_SNIFFING,
            ],
        );
        let modified = validators.modified.map(|modified| printed(httpdate::fmt_http_date(modified)));
        response.headers_mut().extend(modified.map(|modified| (header::LAST_MODIFIED, modified)));
        response.headers_mut().extend(coding.map(|coding| (header::CONTENT_ENCODING, coding.name())));
        Ok(response)
    }
}

/// A status with its name, for the client's user.
fn text(status: StatusCode) -> Response<FileBody> {
    let sentence = format!("{} {}\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let length = HeaderValue::from(sentence.len());
    let response = empty(status).map(|_| FileBody::from(sentence));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    with(response, [(header::CONTENT_TYPE, kind), (header::CONTENT_LENGTH, length), NO_SNIFFING])
}

fn empty(status: StatusCode) -> Response<FileBody> {
    let mut response = Response::new(FileBody::empty());
    *response.status_mut() = status;
    response
}

/// RFC 9110 section 10.2.1
fn allow(response: Response<FileBody>) -> Response<FileBody> {
    with(response, [(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"))])
}

fn with<const N: usize>(mut response: Response<FileBody>, fields: [Field; N]) -> Response<FileBody> {
    response.headers_mut().extend(fields);
    response
}
