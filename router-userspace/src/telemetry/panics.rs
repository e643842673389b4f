//! What is said of a panic: that there was one, at once; through which functions, when they have
//! names.
//!
//! A worker that panics holds its sockets until its stack is unwound, and its clients wait. To give
//! the frames of a backtrace their names takes seconds where there are many symbols and little CPU
//! time: another thread does that, while the worker is being replaced.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, Write as _},
    panic, thread,
};

/// From now on no thread waits for the names in its backtrace, if `RUST_BACKTRACE` asks for one;
/// but the main one does, with which the process may end.
pub fn say_panics_at_once() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let thread = thread::current();
        let name = match thread.name() {
            Some("main") => return usual(panic),
            name => name.unwrap_or("without a name").to_owned(),
        };
        // A thread that panics has no way to say that the line cannot be written.
        let _ = writeln!(io::stderr(), "thread '{name}' {panic}");
        let frames = Backtrace::capture();
        if frames.status() == BacktraceStatus::Captured {
            let print = move || writeln!(io::stderr(), "backtrace of thread '{name}':\n{frames}");
            let _ = thread::Builder::new().name("backtrace".to_owned()).spawn(print);
        }
    }));
}
