//! The access log: a line for each request and each raw stream, written by a thread of its own.
//!
//! ```text
//! worker ─► line ─► queue, bounded in lines and in octets ─► thread ─► file
//! ```
//!
//! A worker never waits: where the queue is full, because the disk or the program that reads the pipe is
//! slow, the line is dropped and counted. The thread gathers what comes within a few milliseconds,
//! so that a busy log costs neither a wake-up nor a system call for each line.

mod date;
mod line;
mod settings;
#[cfg(test)]
mod tests;

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::{self, Thread},
    time::Duration,
};

pub use self::settings::{AccessLogFormat, Destination};
use super::record::Record;

/// An access log. Clones write to the same; with the last of them its thread ends, when it has
/// written what is queued.
#[derive(Clone, Debug)]
pub struct AccessLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    to: Destination,
    format: AccessLogFormat,
    queue: SyncSender<Message>,
    writer: Thread,
    state: Arc<State>,
}

/// What the workers and the thread both see.
#[derive(Debug, Default)]
struct State {
    /// Octets in the queue.
    queued: AtomicUsize,
    dropped: Arc<AtomicU64>,
    /// What the thread is to write to from its next batch on.
    next: Mutex<Option<File>>,
}

enum Message {
    Line(Vec<u8>),
    /// To be answered when all that was queued before is written.
    Flush(SyncSender<()>),
}

impl AccessLog {
    /// Opens the file, or makes it (mode 0640), and starts the thread.
    ///
    /// # Errors
    /// If the file cannot be opened, by its path, or if there is no thread to be had.
    pub fn open(to: Destination, format: AccessLogFormat) -> io::Result<Self> {
        Self::start(to, format, Arc::default())
    }

    /// Another one, in whose place this was: it goes on counting what was dropped.
    ///
    /// # Errors
    /// Like [`Self::open`]; this one stays as it is.
    pub fn successor(&self, to: Destination, format: AccessLogFormat) -> io::Result<Self> {
        Self::start(to, format, Arc::clone(&self.0.state.dropped))
    }

    fn start(to: Destination, format: AccessLogFormat, dropped: Arc<AtomicU64>) -> io::Result<Self> {
        let file = to.open()?;
        let (queue, messages) = sync_channel(LINES_MAX);
        let state = Arc::new(State { dropped, ..State::default() });
        let writer = Writer { messages, file, state: Arc::clone(&state), batch: Vec::new(), fails: false, torn: false };
        let writer = thread::Builder::new().name("access log".to_owned()).spawn(move || writer.run())?;
        Ok(Self(Arc::new(Shared { to, format, queue, writer: writer.thread().clone(), state })))
    }

    /// Whether it writes there, and so.
    pub fn is(&self, to: &Destination, format: AccessLogFormat) -> bool {
        self.0.to == *to && self.0.format == format
    }

    /// Writes a line, or drops it. Never waits.
    pub fn write(&self, record: &Record<'_>) {
        let Shared { format, queue, state, .. } = &*self.0;
        let mut line = Vec::with_capacity(LINE);
        match format {
            AccessLogFormat::Json => line::json(record, &mut line),
            AccessLogFormat::Combined => line::combined(record, &mut line),
        }
        let length = line.len();
        let before = state.queued.fetch_add(length, Relaxed);
        if before + length > QUEUE_MAX || queue.try_send(Message::Line(line)).is_err() {
            state.queued.fetch_sub(length, Relaxed);
            state.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Opens the file again, in place of the one it had, which a rotation may have renamed. What is
    /// written from now on goes to the new one; what is queued may go to either.
    ///
    /// # Errors
    /// If it cannot be opened; the one before stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        let file = self.0.to.open()?;
        *self.0.state.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    /// Waits until what was written before is in the file; whether it was in time.
    pub fn flush(&self, patience: Duration) -> bool {
        let (written, done) = sync_channel(1);
        let asked = self.0.queue.try_send(Message::Flush(written)).is_ok();
        self.0.writer.unpark();
        asked && done.recv_timeout(patience).is_ok()
    }

    /// Lines that were not written, since the first of those it is the successor of.
    pub fn dropped(&self) -> u64 {
        self.0.state.dropped.load(Relaxed)
    }
}

impl Destination {
    fn open(&self) -> io::Result<File> {
        match self {
            // Beside the standard library's buffer: a batch is written whole.
            Self::Stdout => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
            Self::File(path) => {
                let opened = OpenOptions::new().append(true).create(true).mode(MODE).open(path);
                opened.map_err(|e| naming(path, &e))
            }
        }
    }
}

fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The thread.
struct Writer {
    messages: Receiver<Message>,
    file: File,
    state: Arc<State>,
    batch: Vec<u8>,
    /// The last batch was not written, or not whole.
    fails: bool,
    /// The file ends with a part of a line.
    torn: bool,
}

impl Writer {
    fn run(mut self) {
        while let Ok(first) = self.messages.recv() {
            self.take(first);
            let all = loop {
                match self.messages.try_recv() {
                    Ok(message) => self.take(message),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break true,
                }
                if self.batch.len() >= BATCH {
                    break false;
                }
            };
            self.write();
            if all {
                // This thread is not woken for what comes meanwhile.
                thread::park_timeout(NAP);
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Line(line) => {
                self.state.queued.fetch_sub(line.len(), Relaxed);
                self.batch.extend_from_slice(&line);
            }
            Message::Flush(written) => {
                self.write();
                // The caller may have lost patience.
                let _ = written.try_send(());
            }
        }
    }

    fn write(&mut self) {
        if let Some(file) = self.state.next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            (self.file, self.torn) = (file, false);
        }
        let written = match self.write_batch() {
            Ok(()) => {
                self.fails = false;
                self.batch.len()
            }
            Err((written, error)) => {
                if !self.fails {
                    tracing::warn!("access log: {error}; lines are dropped until it can be written");
                }
                self.fails = true;
                written
            }
        };
        let (begun, rest) = self.batch.split_at(written);
        self.torn |= begun.last().is_some_and(|&octet| octet != b'\n');
        let dropped = rest.iter().filter(|&&octet| octet == b'\n').count();
        self.state.dropped.fetch_add(dropped as u64, Relaxed);
        self.batch.clear();
    }

    /// Writes the batch; on an error, how much of it was written.
    fn write_batch(&mut self) -> Result<(), (usize, io::Error)> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if self.torn {
            // What stands there of a line is its own.
            self.file.write_all(b"\n").map_err(|e| (0, e))?;
            self.torn = false;
        }
        let mut written = 0;
        while written < self.batch.len() {
            match self.file.write(&self.batch[written..]) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err((written, e)),
            }
        }
        Ok(())
    }
}

/// Lines that may wait.
const LINES_MAX: usize = 16_384;
/// Octets that may wait.
const QUEUE_MAX: usize = 8 << 20;
/// Octets after which what was gathered is written.
const BATCH: usize = 64 << 10;
/// How long lines are gathered.
const NAP: Duration = Duration::from_millis(20);
/// Octets of most lines.
const LINE: usize = 512;
/// Addresses and paths are the operator's business alone.
const MODE: u32 = 0o640;
