//! The content of a file on its way out: read in pieces, off the worker's thread, one piece ahead
//! of the one that is being sent and no further. A file longer than a piece is opened when its first piece is asked for:
//! clients that take nothing hold no descriptors.

use std::{
    fs::File,
    io, mem,
    ops::Range,
    os::unix::fs::FileExt as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use super::folder::{Folder, Found, RegularFile};
use crate::edge::memory::{Held, Memory};

/// A response's body: a part of a file, or a sentence. Holds at most two pieces of 128 KiB, one
/// of which its reader has.
///
/// It ends in an error if the file can't be read as far as it said, because it became shorter or
/// the disk failed, so that a response that is not whole never looks so.
pub(in crate::edge) struct FileBody {
    /// Octets that were promised and not yet taken.
    remaining: u64,
    next: Next,
    _held: Option<Held>,
}

/// The next piece.
enum Next {
    /// It is of a file that is not open.
    Later(Later),
    Read(Piece),
    Reading(JoinHandle<io::Result<Piece>>),
    /// There is none.
    End,
}

/// A piece, and what comes after it.
struct Piece {
    data: Bytes,
    rest: Option<Rest>,
}

/// A part of a file that was there, under its name.
struct Later {
    folder: Arc<Folder>,
    file: RegularFile,
    part: Range<u64>,
}

/// What is still to be read of a file.
struct Rest {
    file: File,
    /// Never empty.
    part: Range<u64>,
}

impl FileBody {
    /// A part of a file. One of a piece or less is read here and now: this may block. None if `memory` has no room for it.
    pub(super) fn read(
        folder: &Arc<Folder>,
        file: RegularFile,
        part: Range<u64>,
        memory: &Arc<Memory>,
    ) -> io::Result<Option<Self>> {
        let remaining = part.end - part.start;
        if remaining == 0 {
            return Ok(Some(Self::empty()));
        }
        let Some(held) = memory.hold_or_refuse(remaining.min(2 * PIECE as u64)) else { return Ok(None) };
        let next = match remaining <= PIECE as u64 {
            true => Next::Read(Rest { file: file.into_file()?, part }.piece()?),
            false => Next::Later(Later { folder: Arc::clone(folder), file: file.closed(), part }),
        };
        Ok(Some(Self { remaining, next, _held: Some(held) }))
    }

    /// Nothing of it is read yet.
    pub(in crate::edge) fn is_later(&self) -> bool {
        matches!(self.next, Next::Later(_))
    }

    pub(super) fn empty() -> Self {
        Self { remaining: 0, next: Next::End, _held: None }
    }
}

impl From<String> for FileBody {
    fn from(sentence: String) -> Self {
        let remaining = sentence.len() as u64;
        Self { remaining, next: Next::Read(Piece { data: sentence.into(), rest: None }), _held: None }
    }
}

impl Later {
    /// The first piece, if the name stands for the same content as when the response began.
    fn piece(self) -> io::Result<Piece> {
        match self.folder.find(self.file.path())? {
            Found::File(found) if found.is_same(&self.file) => {
                Rest { file: found.into_file()?, part: self.part }.piece()
            }
            Found::File(_) | Found::Folder | Found::Nothing => {
                Err(io::Error::other("the file was replaced before its client took it"))
            }
        }
    }
}

impl Rest {
    fn piece(self) -> io::Result<Piece> {
        let Self { file, part } = self;
        let middle = part.end.min(part.start + PIECE as u64);
        let mut data = vec![0; (middle - part.start) as usize];
        file.read_exact_at(&mut data, part.start)?;
        let rest = (middle < part.end).then(|| Self { file, part: middle..part.end });
        Ok(Piece { data: data.into(), rest })
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = match mem::replace(&mut self.next, Next::End) {
            Next::Later(later) => Next::Reading(spawn_blocking(|| later.piece())),
            next => next,
        };
        let piece = match next {
            Next::Read(piece) => Ok(piece),
            Next::Reading(mut reading) => match Pin::new(&mut reading).poll(cx) {
                // A task that was aborted: the runtime ends.
                Poll::Ready(piece) => piece.map_err(io::Error::other).flatten(),
                Poll::Pending => {
                    self.next = Next::Reading(reading);
                    return Poll::Pending;
                }
            },
            Next::Later(_) | Next::End => return Poll::Ready(None),
        };
        Poll::Ready(Some(piece.map(|Piece { data, rest }| {
            if let Some(rest) = rest {
                self.next = Next::Reading(spawn_blocking(|| rest.piece()));
            }
            self.remaining -= data.len() as u64;
            Frame::data(data)
        })))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.next, Next::End)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

/// Large enough that going to another thread for it costs little.
const PIECE: usize = 128 * 1024;
