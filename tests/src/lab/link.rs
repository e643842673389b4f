//! A link of finite speed: what passes takes its time, waits in a queue of finite length, and is
//! lost where the queue is full.

use std::{
    collections::VecDeque,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::wire::Sender;

/// What a link is like, in each direction.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// How long a frame is on its way.
    pub delay: Duration,
    /// Bits a second.
    pub rate: u64,
    /// Frames that may wait.
    pub queue: usize,
}

/// One direction of a link; ended on drop.
pub(super) struct Pipe {
    link: Link,
    frames: mpsc::Sender<(Instant, Vec<u8>)>,
    /// When the frames that wait will have left.
    leaving: VecDeque<Instant>,
}

impl Pipe {
    /// A direction whose end is `sender`.
    pub(super) fn new(link: Link, sender: Sender) -> Self {
        let (frames, arriving) = mpsc::channel::<(Instant, Vec<u8>)>();
        thread::spawn(move || {
            for (due, frame) in arriving {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                // An interface that is gone takes nothing: the frame is lost, as on a cut wire.
                let _ = sender.send(&frame);
            }
        });
        Self { link, frames, leaving: VecDeque::new() }
    }

    /// Puts a frame on its way, or drops it.
    pub(super) fn push(&mut self, frame: Vec<u8>) {
        let now = Instant::now();
        while self.leaving.front().is_some_and(|left| *left <= now) {
            self.leaving.pop_front();
        }
        if self.leaving.len() >= self.link.queue {
            return;
        }
        let bits = frame.len() as u64 * 8;
        let takes = Duration::from_nanos(bits * 1_000_000_000 / self.link.rate);
        let left = self.leaving.back().copied().unwrap_or(now) + takes;
        self.leaving.push_back(left);
        let _ = self.frames.send((left + self.link.delay, frame));
    }
}
