//! The content of a file on its way out: read in pieces, off the worker's thread, one piece ahead
//! of the one that is being sent and no further.

use std::{
    fs::File,
    io, mem,
    ops::Range,
    os::unix::fs::FileExt as _,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

/// A response's body: a part of a file, or a sentence. Holds at most two pieces of 128 KiB, one
/// of which its reader has.
///
/// It ends in an error if the file can't be read as far as it said, because it became shorter or
/// the disk failed, so that a response that is not whole never looks so.
pub(in crate::edge) struct FileBody {
    /// Octets that were promised and not yet taken.
    remaining: u64,
    next: Next,
}

/// The next piece.
enum Next {
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

/// What is still to be read of a file.
struct Rest {
    file: File,
    /// Never empty.
    part: Range<u64>,
}

impl FileBody {
    /// A part of a file, whose first piece is read here and now: this may block.
    pub(super) fn read(file: File, part: Range<u64>) -> io::Result<Self> {
        if part.is_empty() {
            return Ok(Self::empty());
        }
        let remaining = part.end - part.start;
        Ok(Self { remaining, next: Next::Read(Rest { file, part }.piece()?) })
    }

    pub(super) fn empty() -> Self {
        Self { remaining: 0, next: Next::End }
    }
}

impl From<String> for FileBody {
    fn from(sentence: String) -> Self {
        Self { remaining: sentence.len() as u64, next: Next::Read(Piece { data: sentence.into(), rest: None }) }
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
        let piece = match mem::replace(&mut self.next, Next::End) {
            Next::Read(piece) => Ok(piece),
            Next::Reading(mut reading) => match Pin::new(&mut reading).poll(cx) {
                // A task that was aborted: the runtime ends.
                Poll::Ready(piece) => piece.map_err(io::Error::other).flatten(),
                Poll::Pending => {
                    self.next = Next::Reading(reading);
                    return Poll::Pending;
                }
            },
            Next::End => return Poll::Ready(None),
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
